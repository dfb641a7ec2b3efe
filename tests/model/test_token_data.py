"""Where token numbers come from, and whose they are: imported, kept, or split again; each mismatch is one line."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fmltk.model.config import load_config
from fmltk.model.data import Reading, read_clip_features
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions, run_document
from fmltk.model.tensors import read_tensors
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError, StoreError, TextModelError
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.shards import ClipResult, ClipSequence, ShardFolder
from fmltk.toolkit.interchange.mmsa import import_mmsa
from fmltk.toolkit.text.bert import TextEncoder
from fmltk.toolkit.text.folder import find_text_model
from tests.model.folders import planted, write_clips
from tests.toolkit.interchange.pickles import mmsa_data, write
from tests.toolkit.text.conftest import VOCABULARY, make_bert_folder

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.model.settings import Settings

N_WORDS = len(VOCABULARY)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert_folder(tmp_path_factory.mktemp("models") / "tiny", dimension=24)


def tokens_of(folder: Path, **reading: Any) -> dict[str, list[int]]:
    found = read_clip_features(folder, reading=Reading(tokens=True, whole=True, **reading))
    assert found.text is not None
    ends = found.text.offsets
    return {
        utterance: found.text.steps[ends[row] : ends[row + 1], 0].tolist()
        for row, utterance in enumerate(found.utterance_ids)
    }


def imported(folder: Path, **changes: Any) -> tuple[Path, dict[str, dict[str, Any]]]:
    data = mmsa_data()
    for part in data.values():
        part["text_bert"][:, 0] = part["text_bert"][:, 0] % (N_WORDS - 5) + 5
        part |= {key: change(part) for key, change in changes.items()}
    import_mmsa(write(folder.with_suffix(".pkl"), data), folder)
    return folder, data


def test_imported_token_numbers_are_read_without_their_padding(tmp_path: Path) -> None:
    folder, data = imported(tmp_path / "features")
    found = tokens_of(folder)
    for part in data.values():
        for utterance, (ids, mask, _) in zip(part["id"], part["text_bert"], strict=True):
            assert found[utterance] == ids[mask > 0].tolist()


def test_token_numbers_of_shards_are_read_and_cut_at_L(tmp_path: Path) -> None:
    clips = planted(20, n_videos=10)
    folder = write_clips(clips, tmp_path / "features")
    shards = ShardFolder(folder / "shards")
    numbers = {utterance: np.arange(5 + k % 9, dtype=np.int32) + k for k, utterance in enumerate(clips.ids)}
    for utterance, own in numbers.items():
        row = ClipRow.from_columns({"utterance_id": utterance, "text_status": "ok", "text_length": len(own)})
        shards.write(ClipResult(row, {"text": ClipSequence(np.zeros((len(own), 12), np.float32))}, own), "f" * 16)
    assert tokens_of(folder) == {utterance: own[:8].tolist() for utterance, own in numbers.items()}


def test_transcripts_are_split_again_where_no_numbers_are_kept(tmp_path: Path, bert: Path) -> None:
    folder = write_clips(planted(20, n_videos=10), tmp_path / "features")
    encoder = TextEncoder(str(bert))
    clips = read_clip_features(folder)
    texts = dict(zip(clips.utterance_ids, clips.texts, strict=True))
    expected = {utterance: encoder.token_ids(text)[:8].tolist() for utterance, text in texts.items()}
    assert tokens_of(folder, text_model=str(bert)) == expected


def test_segments_are_refused(tmp_path: Path) -> None:
    one = np.array([[0], [0], [1]], np.float32)
    folder, _ = imported(tmp_path / "features", text_bert=lambda part: part["text_bert"] + one)
    with pytest.raises(StoreError, match=r"text_bert of clip 'video_.*' has segments other than 0; expected one sent"):
        tokens_of(folder)


def test_a_folder_without_token_numbers_and_transcripts_is_one_line(tmp_path: Path) -> None:
    folder, _ = imported(tmp_path / "features", raw_text=lambda part: np.array([""] * len(part["id"])))
    (folder / "mmsa.parquet").unlink()
    with pytest.raises(ConfigError, match=r"neither token numbers nor transcripts, .* encode-text --transc") as refused:
        tokens_of(folder)
    assert "\n" not in str(refused.value)


def config(model: str, *more: str) -> Settings:
    small = ["hid=8"] if model == "misa" else ["fdim=8", "tdim=8", "vhid=8"]
    return load_config("ch-sims", settings=[f"model={model}", "bs=8", "max_epochs=2", *small, *more])


def options(bert: Path | None) -> RunOptions:
    return RunOptions(jobs=0, text_model=None if bert is None else str(bert))


@pytest.mark.parametrize("model", ["misa", "self-mm"])
def test_a_run_keeps_its_bert_and_predicts_the_same_without_the_text_model(
    model: str, tmp_path: Path, bert: Path
) -> None:
    own = make_bert_folder(tmp_path / "own", dimension=24)
    rng = np.random.default_rng(0)
    clips = planted(64, n_videos=16)
    folder = write_clips(clips, tmp_path / "features")
    shards = ShardFolder(folder / "shards")
    for utterance, text in zip(clips.ids, clips.sequences["T"], strict=True):
        assert text is not None
        row = ClipRow.from_columns({"utterance_id": utterance, "text_status": "ok", "text_length": len(text)})
        numbers = rng.integers(5, N_WORDS, len(text)).astype(np.int32)
        shards.write(ClipResult(row, {"text": ClipSequence(text)}, numbers), "f" * 16)
    reporter = Reporter(quiet=True)
    said: list[str] = []
    reporter.say = said.append  # type: ignore[method-assign]
    train(folder, out=tmp_path / "run", config=config(model), options=options(own), reporter=reporter)
    assert any("by one measured step on the CPU: about " in line and "GB per worker" in line for line in said)
    network = run_document(tmp_path / "run")["schema"]["T"]["network"]
    assert network["name"] == "own"
    assert network["sha256"] == find_text_model(str(own)).sha256
    weights, _ = read_tensors(tmp_path / "run" / "seed_0" / "stage_m.safetensors")
    before, _ = read_tensors(own / "model.safetensors")
    name = "encoder.layer.1.output.dense.weight"
    assert not torch.equal(weights[f"net.bert.{name}"], before[name]), "the BERT did not learn"
    shutil.rmtree(own)
    scores = load_model(tmp_path / "run").predict(folder).set_index("utterance_id")["score_M"]
    table = read_predictions(tmp_path / "run", 0).set_index("utterance_id")["pred_M"]
    np.testing.assert_allclose(scores[table.index], table, atol=1e-6)
    load_model(tmp_path / "run").save_pretrained(tmp_path / "saved")
    again = load_model(tmp_path / "saved").predict(folder).set_index("utterance_id")["score_M"]
    np.testing.assert_array_equal(again, scores)


def test_the_text_model_must_be_the_one_of_the_token_numbers(tmp_path: Path, bert: Path) -> None:
    folder, _ = imported(tmp_path / "features")
    with pytest.raises(ConfigError, match=r"do not name the text model of their token numbers; .*--text-model"):
        train(folder, out=tmp_path / "run", config=config("misa"), options=options(None))
    with pytest.raises(TextModelError, match="neither a folder that exists nor a hub name"):
        train(folder, out=tmp_path / "run", config=config("misa"), options=options(tmp_path / "no such"))
    with pytest.raises(ConfigError, match=r"lf-dnn trains no text model; leave out --text-model"):
        train(folder, out=tmp_path / "run", config=load_config(settings=["model=lf-dnn"]), options=options(bert))
    large, _ = imported(
        tmp_path / "large", text_bert=lambda part: part["text_bert"] + np.array([[1000], [0], [0]], np.float32)
    )
    with pytest.raises(
        ConfigError, match=rf"have token number \d+, and text model tiny knows {N_WORDS}; name the model"
    ):
        train(large, out=tmp_path / "run", config=config("misa"), options=options(bert))
    assert not (tmp_path / "run").exists()


def test_another_text_model_than_the_features_name_is_refused(tmp_path: Path, bert: Path) -> None:
    from fmltk.model.token_data import identity_of, text_model_of

    own = find_text_model(str(bert))
    same = {"model": {"name": "tiny", "sha256": own.sha256, "dimension": 24}}
    assert text_model_of(identity_of(same), str(bert)) == own
    other = identity_of({"model": {"name": "bert-base-chinese", "sha256": "ab" * 32}})
    with pytest.raises(ConfigError, match=r"text model tiny is \w{12}, .* made with bert-base-chinese, abababababab"):
        text_model_of(other, str(bert))
    assert identity_of({}, "cd" * 32)["sha256"] == "cd" * 32
    assert identity_of({}) == {}
