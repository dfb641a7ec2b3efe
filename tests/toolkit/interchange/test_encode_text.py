"""The text of an imported data set, encoded again from its transcripts."""

from __future__ import annotations

import csv
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from click.testing import CliRunner

from fmltk.toolkit.catalog.catalog import build_catalog
from fmltk.toolkit.cli.dataset import dataset
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.interchange import encode_text as encoding
from fmltk.toolkit.interchange.encode_text import encode_text
from fmltk.toolkit.interchange.mmsa import import_mmsa
from fmltk.toolkit.interchange.mmsa_export import export_mmsa
from fmltk.toolkit.interchange.safe_pickle import load_pickle
from fmltk.toolkit.run.clip_worker import ClipWorker
from fmltk.toolkit.run.engine import Engine, Outcome, Task, TaskKey
from fmltk.toolkit.run.extract import Run, extract, extract_clips
from fmltk.toolkit.text.bert import TextEncoder
from tests.toolkit.interchange.pickles import mmsa_data, write
from tests.toolkit.text.conftest import make_bert_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

SENTENCES = ["I love this film", "not good", "really bad!", "this film", "我很喜欢", "good, good", "bad", "word."]


class OneProcess(Engine):
    """Runs tasks in the process of the test: a worker's start costs more than these few words."""

    def __init__(self, make_worker: Callable[[], object], *, n_workers: int, forks: bool) -> None:
        self._worker = make_worker()

    def __exit__(self, *_: object) -> None:
        """There is no worker to end."""

    def run(self, tasks: Iterable[Task[TaskKey]]) -> Iterator[Outcome[TaskKey]]:
        for task in tasks:
            yield Outcome(task, getattr(self._worker, task.method)(task.argument))


@pytest.fixture(autouse=True)
def _in_one_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.function is not test_the_command_shows_the_text_alone:
        monkeypatch.setattr("fmltk.toolkit.run.extract.LocalEngine", OneProcess)
        monkeypatch.setattr(
            "fmltk.toolkit.run.extract.limited_worker", lambda settings, paths, _: ClipWorker(settings, paths)
        )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert_folder(tmp_path_factory.mktemp("model") / "bert", dimension=12)


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    data = mmsa_data()
    for split, start in (("train", 0), ("valid", 4), ("test", 6)):
        data[split]["raw_text"] = np.array(SENTENCES[start : start + len(data[split]["id"])])
        data[split]["text"] += 0.5  # beyond the true lengths too, as BERT leaves them
    import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features")
    return tmp_path / "features"


def test_the_text_is_the_model_s_of_each_transcript_and_nothing_else_changes(imported: Path, model: Path) -> None:
    before = {path.name: path.read_bytes() for path in imported.iterdir() if path.is_file()}
    summary = encode_text(imported, text_model=str(model))
    encoder = TextEncoder(str(model))
    texts = read_features(imported).manifest().set_index("utterance_id")["text"]
    table = read_features(imported)["text"]
    assert table.dimension == 12
    assert table.document["model"]["sha256"] == encoder.identity["sha256"]
    assert summary.modalities["text"].counts["ok"] == len(SENTENCES) == len(table.utterance_ids)
    for utterance, values, _ in table.sequences():
        np.testing.assert_allclose(values, encoder.encode(texts[utterance]).features[: table.length], atol=1e-6)
    after = {path.name: path.read_bytes() for path in imported.iterdir() if path.is_file()}
    assert {name for name in after if after[name] != before.get(name)} == {
        "manifest.parquet",
        "text.parquet",
        "mmsa.parquet",
    }
    assert not [path for path in imported.iterdir() if path.is_dir()]


def test_twice_gives_the_same_bytes(imported: Path, model: Path) -> None:
    def files() -> dict[str, bytes]:
        encode_text(imported, text_model=str(model))
        return {path.name: path.read_bytes() for path in imported.iterdir() if path.suffix == ".parquet"}

    assert files() == files()


def test_an_export_holds_the_new_text_and_nothing_of_the_old(imported: Path, model: Path, tmp_path: Path) -> None:
    encode_text(imported, text_model=str(model))
    old, labels = mmsa_data(), imported / "labels.parquet"
    summary = export_mmsa(imported, labels, tmp_path / "out.pkl")
    assert not summary.has_text_bert
    data = load_pickle(tmp_path / "out.pkl")
    table = read_features(imported)["text"]
    lengths = dict(zip(table.utterance_ids, table.lengths.tolist(), strict=True))
    for split, part in data.items():
        assert "text_bert" not in part
        assert part["text"].shape == (len(part["id"]), table.length, 12)
        assert list(part["text_lengths"]) == [lengths[utterance] for utterance in part["id"]]
        for values, n in zip(part["text"], part["text_lengths"], strict=True):
            assert not values[n:].any()
        assert set(part["raw_text"]) <= set(SENTENCES)
        np.testing.assert_array_equal(part["audio"], old[split]["audio"])
    import_mmsa(tmp_path / "out.pkl", tmp_path / "back")
    back = read_features(tmp_path / "back")["text"]
    np.testing.assert_array_equal(back.features(), table.features())
    assert back.lengths.tolist() == table.lengths.tolist()


@pytest.mark.parametrize(
    ("rows", "warning"),
    [
        ([], None),
        ([("stranger", "1", "good")], "rows of label.csv that name no clip (1): stranger$_$1"),
    ],
)
def test_a_table_of_transcripts_counts_before_the_imported_texts(
    imported: Path, model: Path, tmp_path: Path, rows: list[tuple[str, str, str]], warning: str | None
) -> None:
    ids = read_features(imported).manifest()[["video_id", "clip_id"]].to_numpy().tolist()
    given = [(*ids[0], "really really good"), (*ids[1], "bad film"), *rows]
    with (tmp_path / "label.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("video_id", "clip_id", "text"), *given])
    reporter = Reporter(quiet=True)
    encode_text(
        imported,
        text_model=str(model),
        transcripts=tmp_path / "label.csv",
        reporter=reporter,
    )
    texts = read_features(imported).manifest()["text"].tolist()
    assert texts[:2] == ["really really good", "bad film"]
    assert set(texts[2:]) <= set(SENTENCES)
    assert [one for one in reporter.warnings if "label.csv" in one] == ([warning] if warning else [])


def test_a_clip_without_a_word_is_missing_with_the_reason(imported: Path, model: Path, tmp_path: Path) -> None:
    ids = read_features(imported).manifest()[["video_id", "clip_id"]].to_numpy().tolist()
    table = tmp_path / "t.jsonl"
    table.write_text(f'{{"video_id": "{ids[0][0]}", "clip_id": "{ids[0][1]}", "text": "\\u0001"}}\n', encoding="utf-8")
    summary = encode_text(imported, text_model=str(model), transcripts=table)
    first = read_features(imported).manifest().iloc[0]
    assert (first["text_status"], first["text_error_message"]) == ("missing", "the transcript holds no word")
    assert first["status"] == "ok"  # audio and vision are there
    assert summary.modalities["text"].counts["missing"] == 1
    assert first["utterance_id"] not in read_features(imported)["text"].utterance_ids


def test_a_stopped_run_is_continued_and_another_model_starts_again(
    imported: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(run: Run) -> None:
        extract_clips(run)
        raise KeyboardInterrupt

    before = (imported / "text.parquet").read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(encoding, "extract_clips", stopped)
        with pytest.raises(KeyboardInterrupt):
            encode_text(imported, text_model=str(model))
    assert (imported / "text.parquet").read_bytes() == before
    reporter = Reporter(quiet=True)
    said: list[str] = []
    monkeypatch.setattr(reporter, "say", said.append)
    with monkeypatch.context() as patched:
        patched.setattr(encoding, "extract_clips", stopped)
        with pytest.raises(KeyboardInterrupt):
            encode_text(imported, text_model=str(model), reporter=reporter)
    assert f"{len(SENTENCES)} of {len(SENTENCES)} clips are extracted already" in said
    other = make_bert_folder(tmp_path / "other", dimension=24)
    encode_text(imported, text_model=str(other))
    assert read_features(imported)["text"].dimension == 24
    assert not list(imported.glob("encoding-*"))


def test_what_cannot_be_encoded_is_refused_in_one_line(imported: Path, model: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("has no manifest.parquet; expected a folder that")):
        encode_text(tmp_path, text_model=str(model))
    (tmp_path / "t.csv").write_text("video_id,clip_id,text\na,1,good\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="none of its 1 rows names a clip"):
        encode_text(imported, text_model=str(model), transcripts=tmp_path / "t.csv")
    ids = read_features(imported).manifest()[["video_id", "clip_id"]].to_numpy().tolist()[0]
    twice = "".join(f"{ids[0]},{ids[1]},{text}\n" for text in ("good", "bad"))
    (tmp_path / "twice.csv").write_text(f"video_id,clip_id,text\n{twice}", encoding="utf-8")
    with pytest.raises(ConfigError, match="with another content; keep one of the two"):
        encode_text(imported, text_model=str(model), transcripts=tmp_path / "twice.csv")
    clips = tmp_path / "extracted"
    extract(tmp_path / "t.csv", clips, modalities=("text",), text_model=str(model))
    with pytest.raises(ConfigError, match="was made by `fmltk extract`"):
        encode_text(clips, text_model=str(model))


def test_the_command_shows_the_text_alone(imported: Path, model: Path) -> None:
    result = CliRunner().invoke(dataset, ["encode-text", str(imported), "--text-model", str(model), "--workers", "1"])
    assert result.exit_code == 0, result.output
    assert "text" in result.output
    assert "vision" not in result.output


def test_a_table_of_transcripts_alone_gives_text(model: Path, tmp_path: Path) -> None:
    """`fmltk extract label.csv --modalities text`: no video is needed, and none is looked for."""
    (tmp_path / "label.csv").write_text(
        "video_id,clip_id,text,mode\na,0001,I love this film,train\na,0002,,train\nb,1,bad,test\n", encoding="utf-8"
    )
    summary = extract(tmp_path / "label.csv", tmp_path / "out", modalities=("text",), text_model=str(model))
    assert summary.modalities["text"].counts == {"ok": 2, "missing": 1, "failed": 0, "skipped": 0}
    manifest = read_features(tmp_path / "out").manifest().set_index("utterance_id")
    assert manifest["split"].to_dict() == {"a$_$0001": "train", "a$_$0002": "train", "b$_$1": "test"}
    assert manifest["sha256"].isna().all()
    assert manifest.loc["a$_$0002", "text_error_message"] == "the clip has no transcript"
    expected = TextEncoder(str(model)).encode("I love this film").features
    first = next(values for utterance, values, _ in read_features(tmp_path / "out")["text"].sequences())
    np.testing.assert_allclose(first, expected, atol=1e-6)


def test_padding_again_keeps_text_that_has_no_file(model: Path, tmp_path: Path) -> None:
    from fmltk.toolkit.run.pad import pad, recorded_padding

    (tmp_path / "t.csv").write_text("utterance_id,text\na,good film\nb,bad\n", encoding="utf-8")
    extract(tmp_path / "t.csv", tmp_path / "out", modalities=("text",), text_model=str(model))
    pad(tmp_path / "out", replace(recorded_padding(tmp_path / "out"), fixed={"text": 2}))
    table = read_features(tmp_path / "out")["text"]
    assert (table.length, table.utterance_ids) == (2, ["a$_$0", "b$_$0"])


def test_other_modalities_still_need_a_table_of_files(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("utterance_id,text\na,good film\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="names no clip: its columns are 'utterance_id', 'text'"):
        build_catalog(tmp_path / "t.csv")
    assert [clip.utterance_id for clip in build_catalog(tmp_path / "t.csv", text_alone=True).clips] == ["a$_$0"]


def test_a_text_is_added_next_to_what_was_imported(imported: Path, model: Path) -> None:
    before = {path.name: path.read_bytes() for path in imported.iterdir() if path.suffix == ".parquet"}
    summary = encode_text(imported, text_model=str(model), add=True)
    encode_text(imported, text_set=f"again={model}", add=True)
    after = {path.name: path.read_bytes() for path in imported.iterdir() if path.suffix == ".parquet"}
    added = {"text.bert.parquet", "text.again.parquet"}
    assert set(after) == set(before) | added
    assert {name for name in before if before[name] != after[name]} == {"manifest.parquet"}
    features = read_features(imported)
    assert summary.modalities["text.bert"].counts["ok"] == len(features["text.bert"].utterance_ids) > 0
    manifest = features.manifest()
    assert manifest["text.bert_status"].tolist() == manifest["text.again_status"].tolist()
    encoder = TextEncoder(str(model))
    for key in ("text.bert", "text.again"):
        for utterance, values, _ in features[key].sequences():
            text = manifest.set_index("utterance_id").loc[utterance, "text"]
            np.testing.assert_allclose(values, encoder.encode(text).features[: len(values)], atol=1e-6)


def test_a_text_that_cannot_be_added_is_refused_and_a_new_first_text_keeps_the_added(
    imported: Path, model: Path
) -> None:
    with pytest.raises(ConfigError, match="--add needs the text set to add"):
        encode_text(imported, add=True)
    encode_text(imported, text_model=str(model), add=True)
    with pytest.raises(ConfigError, match=r"has a set text\.bert; give yours another name: --text NAME="):
        encode_text(imported, text_model=str(model), add=True)
    held = (imported / "text.bert.parquet").read_bytes()
    encode_text(imported, text_model=str(model))
    assert (imported / "text.bert.parquet").read_bytes() == held
    assert set(read_features(imported).modalities) == {"text", "text.bert", "audio", "vision"}
