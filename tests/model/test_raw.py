"""Raw clips on their way to scores: what extraction is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import fmltk
from fmltk.model.raw import predict_clips, predict_source
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.run.summary import Summary
from fmltk.toolkit.settings import ExtractSettings
from fmltk.toolkit.speech.settings import TranscriptionSettings

if TYPE_CHECKING:
    from pathlib import Path

WHISPER = TranscriptionSettings(model="hf:tiny", spoken_language="en")


@pytest.fixture
def model() -> Any:
    settings = ExtractSettings(modalities=("text",), text_model="minilm").document()
    schema = {"T": {"length": 5, "dimension": 4, "settings": settings}}
    return SimpleNamespace(schema=schema, predict=lambda folder, **how: "scores")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def extract(_: Path, folder: Path, **how: Any) -> Summary:
        found.append(how)
        summary = Summary(folder)
        summary.modalities["text"].counts["ok"] = 1
        return summary

    monkeypatch.setattr("fmltk.toolkit.run.extract.extract", extract)
    return found


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "talk.mp4").write_bytes(b"a film")
    return tmp_path / "videos"


def test_clips_without_a_transcript_are_listened_to(model: Any, videos: Path, asked: list[dict[str, Any]]) -> None:
    assert predict_clips(model, videos, transcription=WHISPER) == "scores"
    assert [one["transcription"] for one in asked] == [WHISPER]


def test_python_may_ask_for_a_whisper_too(
    model: Any, videos: Path, asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmltk._models.load_model", lambda run, *, seed: model)
    assert fmltk.predict("run", videos, transcription=WHISPER) == "scores"
    assert [one["transcription"] for one in asked] == [WHISPER]


@pytest.mark.parametrize("transcription", [None, TranscriptionSettings()])
def test_without_a_whisper_they_are_refused_before_any_work(
    model: Any, videos: Path, asked: list[dict[str, Any]], transcription: TranscriptionSettings | None
) -> None:
    with pytest.raises(ConfigError, match="give --transcripts, or --transcribe hf:MODEL"):
        predict_clips(model, videos, transcription=transcription)
    assert asked == []


def test_a_feature_folder_is_not_listened_to(model: Any, tmp_path: Path) -> None:
    (tmp_path / "manifest.parquet").write_bytes(b"")
    with pytest.raises(ConfigError, match="go with raw clips"):
        predict_source(model, tmp_path, transcription=WHISPER)


@pytest.mark.parametrize("file", ["gone.mp4", "folder/Clip 1", "talk.mp4"])
def test_where_no_clip_can_be_read_the_reason_is_the_file_s(model: Any, file: str, videos: Path) -> None:
    model.schema = {"A": {**model.schema["T"], "settings": ExtractSettings(modalities=("audio",)).document()}}
    table = videos / "new.csv"
    table.write_text(f"file,text\n{file},so\n")
    why = "does not exist" if file != "talk.mp4" else ".+"
    with pytest.raises(
        ConfigError, match=rf"no clip of .*new\.csv has features, so there is nothing to predict: .*{why}"
    ):
        predict_clips(model, table)
