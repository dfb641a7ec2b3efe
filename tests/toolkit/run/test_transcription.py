"""Recognised text in a run: next to given transcripts, kept as it goes, refused where it would be another's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from fmltk.toolkit.catalog.catalog import Catalog
from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.clip import Clip
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ClipTimeoutError, ConfigError, FmltkError, MediaError, StoreError, WorkerDiedError
from fmltk.toolkit.hf_folder import ModelFolder
from fmltk.toolkit.run.engine import Engine, Outcome
from fmltk.toolkit.run.tasks import RunPaths
from fmltk.toolkit.run.transcription import recognise, resolve_transcription
from fmltk.toolkit.settings import RunOptions
from fmltk.toolkit.speech.model import SpeechModel
from fmltk.toolkit.speech.recognition import HeardSegment, Recognition
from fmltk.toolkit.speech.settings import TranscriptionSettings
from fmltk.toolkit.speech.transcription import Transcription
from fmltk.toolkit.speech.words import HeardWord
from tests.ffmpeg import run_ffmpeg
from tests.program import fmltk_here
from tests.toolkit.speech.whisper_folder import write_whisper

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fmltk.toolkit.run.engine import Task

MODEL = SpeechModel(ModelFolder("tiny", Path("tiny"), None, "ab" * 32), ("de", "en", "zh"), True)
SAID = Recognition(
    text="so good",
    language="en",
    avg_log_prob=-0.25,
    no_speech=0.1,
    compression=0.7,
    speech_share=0.9,
    segments=(HeardSegment("so good", 0.1, 1.0),),
    words=(HeardWord("so", 0.1, 0.4, 0.9), HeardWord("good", 0.5, 1.0, 0.8)),
)
SILENT = Recognition(speech_share=0.0, words=(), notes=("no text, it is quiet",))


@dataclass
class Ears(Engine):
    """An engine whose one worker knows the answers."""

    answers: dict[str, Recognition | FmltkError]
    cost: float = 0.0
    listened: list[str] = field(default_factory=list)

    def __exit__(self, *error: object) -> None:
        pass

    def run(self, tasks: Iterable[Task[Any]]) -> Iterator[Outcome[Any]]:
        for task in tasks:
            if task.method != "transcribe":
                yield Outcome(task, value=self.cost if task.method == "listening_cost" else 1.5)
                continue
            self.listened.append(task.key)
            answer = self.answers[task.key]
            yield Outcome(task, error=answer) if isinstance(answer, FmltkError) else Outcome(task, value=answer)


def clip(folder: Path, name: str, **given: Any) -> Clip:
    path = folder / f"{name}.mp4"
    path.write_bytes(name.encode())
    return Clip(name, "0", path, source=path.name, **given)


def heard(folder: Path, clips: list[Clip], ears: Ears, **options: Any) -> tuple[dict[str, Clip], Catalog, Reporter]:
    how = Transcription(MODEL, TranscriptionSettings(model="hf:tiny", **options.pop("settings", {})), "energy")
    reporter = Reporter(quiet=True)
    problems = tuple(Problem("no-transcript", one.utterance_id, "text is missing") for one in clips if not one.text)
    found = recognise(
        Catalog(ClipList(clips), problems),
        RunPaths(folder / "features", transcription=how),
        RunOptions(**options),
        make_engine=lambda n_tasks: ears,
        reporter=reporter,
    )
    return {one.video_id: one for one in found.clips}, found, reporter


def table(folder: Path, name: str = "transcribed") -> pd.DataFrame:
    return pd.read_parquet(folder / "features" / f"{name}.parquet").set_index("utterance_id")


@pytest.mark.parametrize("text", [None, "", "  \n"])
def test_a_clip_without_a_transcript_has_the_recognised_text(tmp_path: Path, text: str | None) -> None:
    clips, catalog, reporter = heard(tmp_path, [clip(tmp_path, "a", text=text)], Ears({"a$_$0": SAID}))
    assert (clips["a"].text, clips["a"].text_source, clips["a"].language) == ("so good", "recognised", "en")
    assert clips["a"].text_notes == ("transcript: recognised by tiny (en, average log-probability -0.25)",)
    assert catalog.problems == ()
    assert "the text of 1 clip is recognised by tiny" in reporter.warnings[0]


@pytest.mark.parametrize("text", ["Not so good.", "很好", "?"])
def test_a_transcript_that_is_given_stays_and_the_recognised_text_lies_next_to_it(tmp_path: Path, text: str) -> None:
    given = clip(tmp_path, "a", text=text, language="zh")
    clips, _, reporter = heard(tmp_path, [given], Ears({"a$_$0": SAID}))
    assert clips["a"] == given
    assert reporter.warnings == []
    row = table(tmp_path).loc["a$_$0"]
    assert (row["text"], row["language"], row["used"]) == ("so good", "en", False)
    assert row["segments"][0] == {"text": "so good", "start_s": 0.1, "end_s": 1.0}
    words = table(tmp_path, "transcribed_words")
    assert words["word"].tolist() == ["so", "good"]
    assert words["start_s"].tolist() == [0.1, 0.5]


@pytest.mark.parametrize(
    ("answer", "status", "note"),
    [
        (SILENT, "ok", "transcript: no text, it is quiet"),
        (Recognition(status="missing", error_class="MissingModalityError", error_message="no sound"), "missing",
         "transcript: not recognised: no sound"),
        (WorkerDiedError("the worker process was killed"), "failed", "transcript: not recognised: the worker process"),
        (ClipTimeoutError("took longer than 3 s"), "failed", "transcript: not recognised: took longer"),
        (MediaError("the file is damaged"), "failed", "transcript: not recognised: the file is damaged"),
    ],
)  # fmt: skip
def test_a_clip_without_recognised_text_says_why(
    tmp_path: Path, answer: Recognition | FmltkError, status: str, note: str
) -> None:
    clips, catalog, reporter = heard(
        tmp_path, [clip(tmp_path, "a"), clip(tmp_path, "b")], Ears({"a$_$0": answer, "b$_$0": SAID})
    )
    assert clips["a"].text is None
    assert clips["a"].text_notes[0].startswith(note)
    assert [one.where for one in catalog.problems] == ["a$_$0"]
    assert any("1 clip has no transcript and no recognised text" in one for one in reporter.warnings)
    assert table(tmp_path)["status"].tolist() == [status, "ok"]


def test_what_is_not_the_clips_fault_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="full"):
        heard(tmp_path, [clip(tmp_path, "a")], Ears({"a$_$0": StoreError("the disk is full")}))


def test_a_run_that_was_stopped_listens_to_the_rest_alone(tmp_path: Path) -> None:
    clips = [clip(tmp_path, name) for name in "abc"]
    stopped = Ears({"a$_$0": SAID, "b$_$0": SILENT, "c$_$0": StoreError("stopped")})
    with pytest.raises(StoreError):
        heard(tmp_path, clips, stopped)
    ears = Ears({"c$_$0": SAID})
    found, _, _ = heard(tmp_path, clips, ears)
    assert ears.listened == ["c$_$0"]
    assert [found[name].text for name in "abc"] == ["so good", None, "so good"]
    assert found["b"].text_notes == ("transcript: no text, it is quiet",)


@pytest.mark.parametrize(
    "spoil", [lambda file: file.write_text("{"), lambda file: file.write_text("{}"), lambda file: file.unlink()]
)
def test_what_is_damaged_is_done_again(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    clips = [clip(tmp_path, "a"), clip(tmp_path, "b")]
    heard(tmp_path, clips, Ears({"a$_$0": SAID, "b$_$0": SAID}))
    before = (tmp_path / "features" / "transcribed.parquet").read_bytes()
    spoil(sorted((tmp_path / "features" / "transcripts").glob("*/*.json"))[0])
    ears = Ears({"a$_$0": SAID, "b$_$0": SAID})
    heard(tmp_path, clips, ears)
    assert len(ears.listened) == 1
    assert (tmp_path / "features" / "transcribed.parquet").read_bytes() == before


def test_a_file_that_changed_is_listened_to_again(tmp_path: Path) -> None:
    heard(tmp_path, [clip(tmp_path, "a")], Ears({"a$_$0": SILENT}))
    changed = clip(tmp_path, "a")
    (tmp_path / "a.mp4").write_bytes(b"another film")
    found, _, _ = heard(tmp_path, [changed], Ears({"a$_$0": SAID}))
    assert found["a"].text == "so good"


def test_failures_are_tried_again_when_that_is_asked_for(tmp_path: Path) -> None:
    clips = [clip(tmp_path, "a"), clip(tmp_path, "b")]
    heard(tmp_path, clips, Ears({"a$_$0": ClipTimeoutError("too long"), "b$_$0": SILENT}))
    ears = Ears({"a$_$0": SAID})
    heard(tmp_path, clips, ears)
    assert ears.listened == []
    found, _, _ = heard(tmp_path, clips, ears, retry_failed=True)
    assert ears.listened == ["a$_$0"]
    assert found["a"].text == "so good"


def test_clips_that_take_no_part_are_not_listened_to(tmp_path: Path) -> None:
    clips = [
        clip(tmp_path, "a", exclude_reason="noisy"),
        clip(tmp_path, "b", fault=("ConfigError", "two files claim this id")),
        Clip("c", "0", None, text="no film"),
        clip(tmp_path, "d"),
    ]
    ears = Ears({"d$_$0": SAID})
    found, _, _ = heard(tmp_path, clips, ears)
    assert ears.listened == ["d$_$0"]
    assert found["a"] == clips[0]
    with pytest.raises(ConfigError, match="none of the clips has one"):
        heard(tmp_path, clips[:3], ears)


@pytest.mark.parametrize(("cost", "said"), [(0.1, ""), (360.0, "take about 0.3 CPU-hours (360.00 CPU-s per second")])
def test_the_cost_of_a_long_run_is_said_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cost: float, said: str
) -> None:
    how = Transcription(MODEL, TranscriptionSettings(model="hf:tiny"), "energy")
    recognise(
        Catalog(ClipList((clip(tmp_path, "a"), clip(tmp_path, "b")))),
        RunPaths(tmp_path / "features", transcription=how),
        RunOptions(),
        make_engine=lambda n_tasks: Ears({"a$_$0": SAID, "b$_$0": SAID}, cost=cost),
        reporter=Reporter(),
    )
    shown = capsys.readouterr().err
    assert said in shown
    assert bool(said) == ("CPU-hours" in shown)


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_whisper(tmp_path_factory.mktemp("whisper") / "tiny")


@pytest.mark.parametrize(
    ("given", "known"), [("en", "en"), ("English", "en"), ("zh-Hans", "zh"), ("DE", "de"), ("", "")]
)
def test_a_language_is_understood_however_it_is_written(whisper_folder: Path, given: str, known: str) -> None:
    settings = TranscriptionSettings(model=f"hf:{whisper_folder}", spoken_language=given)
    assert resolve_transcription(settings, "energy", Reporter(quiet=True)).settings.spoken_language == known


@pytest.mark.parametrize("given", ["fr", "klingon", "French"])
def test_a_language_that_the_model_does_not_know_is_refused(whisper_folder: Path, given: str) -> None:
    settings = TranscriptionSettings(model=f"hf:{whisper_folder}", spoken_language=given)
    with pytest.raises(ConfigError, match=f"{given}: this Whisper knows de, en, zh"):
        resolve_transcription(settings, "energy", Reporter(quiet=True))


OPTIONS = ("--text-model", "minilm", "--openface", "none", "--modalities", "text,audio", "--speech", "energy")
OFF = ("--transcribe-no-speech", 1, "--transcribe-logprob", -100, "--transcribe-compression", 100)


def test_text_recognised_later_redoes_no_sound_and_leads_to_aligned_features(
    tmp_path: Path, cut: Callable[..., None], whisper_folder: Path
) -> None:
    videos, features = tmp_path / "videos", tmp_path / "features"
    cut(videos / "heard.mp4", 0.2, 1.1)
    cut(videos / "given.mp4", 0.2, 0.8, "video_0002/0001")
    (videos / "given.txt").write_text("I like it.")
    run_ffmpeg("-f", "lavfi", "-i", "color=s=64x64:d=1", "-f", "lavfi", "-i", "anullsrc=r=16000", "-shortest",
               videos / "quiet.mp4")  # fmt: skip
    run_ffmpeg("-f", "lavfi", "-i", "color=s=64x64:d=1", videos / "soundless.mp4")
    extract = ("extract", videos, "-o", features, *OPTIONS)
    assert fmltk_here(*extract).returncode == 0
    audio, shards = (features / "audio.parquet").read_bytes(), sorted(features.glob("shards/*/*"))

    again = (*extract, "--transcribe", f"hf:{whisper_folder}", *OFF)
    done = fmltk_here(*again)
    assert done.returncode == 0, done.stderr
    assert "1 clip has another transcript: the text alone is done again" in done.stderr
    assert "the text of 1 clip is recognised by tiny" in done.stderr
    assert (features / "audio.parquet").read_bytes() == audio
    assert len(set(shards) - set(features.glob("shards/*/*"))) == 1
    manifest = pd.read_parquet(features / "manifest.parquet").set_index("video_id")
    assert manifest["text_source"].dropna().to_dict() == {"given": "given", "heard": "recognised"}
    assert manifest["text_status"].to_dict() == {
        "given": "ok", "heard": "ok", "quiet": "missing", "soundless": "missing"
    }  # fmt: skip
    assert manifest.loc["given", "text"] == "I like it."
    assert list(manifest.loc["given", "warnings"]) == []
    notes = {name: "; ".join(row) for name, row in manifest["warnings"].items()}
    assert "transcript: recognised by tiny" in notes["heard"]
    assert "transcript: no text, it is quiet" in notes["quiet"]
    assert "transcript: not recognised: 'soundless.mp4': the file has no audio" in notes["soundless"]
    transcribed = pd.read_parquet(features / "transcribed.parquet").set_index("video_id")
    assert transcribed.loc["heard", "text"] == manifest.loc["heard", "text"]
    assert transcribed.loc["given", "text"]
    assert json.loads((features / "run.json").read_text())["transcription"]["sha256"]

    held = {one.name: one.read_bytes() for one in features.glob("*.parquet")}
    done = fmltk_here(*again)
    assert "4 of 4 clips were listened to already" in done.stderr
    assert {one.name: one.read_bytes() for one in features.glob("*.parquet")} == held
    assert fmltk_here("pad", features).returncode == 0
    assert (features / "manifest.parquet").read_bytes() == held["manifest.parquet"]

    for other in ((), ("--transcribe", f"hf:{whisper_folder}")):
        refused = fmltk_here(*extract, *other)
        assert refused.returncode == 1
        assert len(refused.stderr.strip().splitlines()) == 1
        assert ("no transcript now" if not other else "made with other settings") in refused.stderr

    words = pd.read_parquet(features / "transcribed_words.parquet")
    assert set(words["utterance_id"]) >= {"heard$_$0"}
    aligned = fmltk_here("align", features, "--words", features / "transcribed_words.parquet", "-o", tmp_path / "words")
    assert aligned.returncode in (0, 3), aligned.stderr
    manifest = pd.read_parquet(tmp_path / "words" / "manifest.parquet").set_index("video_id")
    assert manifest.loc["heard", "text_length"] == (words["utterance_id"] == "heard$_$0").sum()
