"""From shards to tables: the length, its warnings, rows without a shard; nothing depends on the order of work."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.errors import FmltkError
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.shards import ClipResult, ClipSequence, ShardFolder
from fmltk.toolkit.run import assemble as module
from fmltk.toolkit.run.assemble import Entry, assemble
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings
from tests.entries import HeldEntries

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.toolkit.run.summary import Summary

RUN = {"settings": ExtractSettings().document(), "versions": {}, "text_model": {}}


def result(name: str, n_audio: int | None) -> ClipResult:
    row: dict[str, object] = {
        "utterance_id": name, "video_id": name, "clip_id": "0", "status": "ok", "warnings": [],
        "text_status": "missing", "vision_status": "missing", "audio_status": "ok", "audio_length": n_audio,
    }  # fmt: skip
    features = np.random.default_rng(len(name)).normal(size=(n_audio or 0, 33)).astype(np.float32)
    return ClipResult(ClipRow.from_columns(row), {"audio": ClipSequence(features)})


def made(folder: Path, lengths: dict[str, int], *, order: list[str] | None = None, **padding: object) -> Summary:
    shards = ShardFolder(folder / "shards")
    names = {name: shards.write(result(name, lengths[name]), "0" * 16) for name in order or list(lengths)}
    entries = {name: Entry(ClipRow(utterance_id=name), names[name]) for name in sorted(lengths)}
    return assemble(folder, shards, HeldEntries(entries.values()), padding=PaddingSettings(**padding), run=RUN)  # type: ignore[arg-type]


def test_the_length_is_the_mean_and_three_standard_deviations(tmp_path: Path) -> None:
    summary = made(tmp_path, {"a": 10, "b": 10, "c": 40})
    assert summary.modalities["audio"].length == 62  # 20 + 3 * sqrt(200) = 62.4
    table = read_features(tmp_path)["audio"]
    assert table.features().shape == (3, 62, 33)
    assert (table.features()[0, 10:] == 0).all()
    assert table.mask().sum(axis=1).tolist() == [10, 10, 40]


def test_tables_do_not_depend_on_the_order_in_which_clips_finished(tmp_path: Path) -> None:
    lengths = {f"clip{number:02d}": 5 + number for number in range(20)}
    shuffled = list(lengths)
    random.Random(1).shuffle(shuffled)
    made(tmp_path / "a", lengths)
    made(tmp_path / "b", lengths, order=shuffled)
    for name in ("manifest", "audio", "faces/faces"):
        assert (tmp_path / "a" / f"{name}.parquet").read_bytes() == (tmp_path / "b" / f"{name}.parquet").read_bytes()


def test_a_few_long_clips_that_stretch_all_are_named_with_what_to_do(tmp_path: Path) -> None:
    lengths = {f"clip{number:03d}": 10 for number in range(119)} | {"lecture": 3000}
    summary = made(tmp_path, lengths)
    (warning,) = summary.warnings
    assert "lecture" in warning
    assert "--max-length audio=N" in warning
    assert made(tmp_path, lengths, max_length={"audio": 12}).warnings == []
    assert read_features(tmp_path)["audio"].truncated.max() == 2988


@pytest.mark.parametrize(
    "padding", [{"fixed": {"audio.two": 3}}, {"max_length": {"text.g": 4}}, {"fixed": {"audio": 9, "vision.csv": 2}}]
)
def test_a_length_of_a_set_that_is_not_there_is_said(tmp_path: Path, padding: dict[str, dict[str, int]]) -> None:
    (warning,) = made(tmp_path, {"a": 10, "b": 12}, **padding).warnings
    stranger = next(key for lengths in padding.values() for key in lengths if "." in key)
    assert warning.startswith(f"a length was given of {stranger}, which the folder does not have; it has text, audio")
    assert made(tmp_path, {"a": 10, "b": 12}, fixed={"text": 1, "audio": 9, "vision": 3}).warnings == []


def test_tables_that_would_be_huge_are_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SIZE_WARNING_BYTES", 1000)
    (warning,) = made(tmp_path, {"a": 10, "b": 12}).warnings
    assert "GB" in warning
    assert "--max-length audio=N" in warning


def test_lengths_from_a_training_split_that_no_clip_is_in_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(FmltkError, match="no clip with audio is in the training split"):
        made(tmp_path, {"a": 3}, lengths_from="train")


def test_a_modality_that_no_clip_has_any_more_leaves_no_old_table(tmp_path: Path) -> None:
    (tmp_path / "vision.parquet").write_bytes(b"old")
    made(tmp_path, {"a": 3})
    assert not (tmp_path / "vision.parquet").exists()


def test_rows_without_a_shard_are_in_the_manifest_in_order(tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path / "shards")
    row = ClipRow(utterance_id="b", status="skipped", error_message="excluded: noise")
    shard = shards.write(result("a", 4), "0" * 16)
    entries = {"a": Entry(ClipRow(utterance_id="a", split="train"), shard), "b": Entry(row)}
    summary = assemble(tmp_path, shards, HeldEntries(entries.values()), padding=PaddingSettings(), run=RUN)
    manifest = read_features(tmp_path).manifest()
    assert list(manifest["utterance_id"]) == ["a", "b"]
    assert list(manifest["status"]) == ["ok", "skipped"]
    assert manifest["split"].iloc[0] == "train"
    assert summary.counts == {"ok": 1, "skipped": 1}
