"""A feature folder in the forms that other libraries read: HTML, NumPy, torch, Hugging Face."""

from __future__ import annotations

import os
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import DataLoader

from fmltk.toolkit.errors import ConfigError, FmltkError, StoreError
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalityTable
from tests.model.folders import planted, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.toolkit.features.feature_set import FeatureSet


@pytest.fixture
def features(tmp_path: Path) -> FeatureSet:
    """Twelve clips; the third has no sound, the fifth no face, and every second step of the first one's is invalid."""
    clips = planted(12, n_videos=4)
    clips.sequences["A"][2] = None
    clips.sequences["V"][4] = None
    clips.labels["M"][7] = np.nan
    clips.masks[clips.ids[0]] = np.arange(len(clips.sequences["V"][0])) % 2 == 0
    return read_features(write_clips(clips, tmp_path))


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the features lie in row groups of two clips."""
    monkeypatch.setattr("fmltk.toolkit.features.sequences.MAX_ROWS_PER_GROUP", 2)


def sequences(features: FeatureSet, modality: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {utterance: (values, valid) for utterance, values, valid in features[modality].sequences()}


class _Page(HTMLParser):
    """Collects the rows of a page's tables, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_data(self, data: str) -> None:
        if self.rows and data.strip():
            self.rows[-1].append(data.strip())


# ---- what it is


def test_a_feature_set_has_as_many_clips_as_its_manifest(features: FeatureSet) -> None:
    assert len(features) == len(features.manifest()) == 12


def test_a_feature_set_stands_for_its_folder(features: FeatureSet) -> None:
    assert os.fspath(features) == str(features.path)
    assert read_features(features).path == features.path


def test_the_html_tells_clips_modalities_lengths_and_dimensions(features: FeatureSet) -> None:
    page = _Page(features._repr_html_())
    lengths = features["audio"].lengths
    span = f"{lengths.min()} to {lengths.max()}, mean {lengths.mean():.1f}"
    assert page.rows[0] == ["modality", "ok", "missing", "failed", "skipped", "dimension", "L", "lengths", "cut off"]
    assert page.rows[2] == ["audio", "11", "1", "0", "0", "8", "8", span, "0"]
    assert "12 clips (12 ok)" in features._repr_html_()


def test_the_html_names_what_failed_and_escapes_what_files_said(tmp_path: Path) -> None:
    folder = tmp_path / "<b>features"
    folder.mkdir()
    with ManifestWriter(folder / "manifest.parquet", {}) as manifest:
        for number in range(12):
            row = {"utterance_id": f"<script>{number}</script>", "status": "ok"}
            row |= {f"{name}_status": "skipped" for name in ("text", "audio", "vision")}
            row |= {"audio_status": "failed", "audio_error_class": "MediaError", "audio_error_message": "<i>no & sound"}
            manifest.append(ClipRow.from_columns(row))
    html = read_features(folder)._repr_html_()
    page = _Page(html)
    assert page.tags.isdisjoint({"script", "b", "i"})
    assert page.rows[5] == ["<script>0</script>", "audio", "MediaError", "<i>no & sound"]
    assert "clips that failed: 12" in html
    assert "and 2 more" in html


def test_a_folder_without_clips_has_html_too(tmp_path: Path) -> None:
    with ManifestWriter(tmp_path / "manifest.parquet", {}):
        pass
    features = read_features(tmp_path)
    assert len(features) == 0
    assert "0 clips (none)" in features._repr_html_()


# ---- NumPy


def test_arrays_are_those_of_the_clips_that_have_the_modality(features: FeatureSet) -> None:
    X, mask, ids = features.to_numpy("vision")
    expected = sequences(features, "vision")
    assert (X.dtype, mask.dtype, ids.tolist()) == (np.float32, bool, list(expected))
    for row, (values, valid) in enumerate(expected.values()):
        np.testing.assert_array_equal(X[row, : len(values)], values)
        np.testing.assert_array_equal(mask[row, : len(valid)], valid)
        assert not mask[row, len(valid) :].any()
        assert not X[row, len(values) :].any()
    assert mask.sum() < sum(len(values) for values, _ in expected.values())  # the first clip's invalid steps


def test_arrays_of_a_modality_that_is_not_there_are_refused(tmp_path: Path, features: FeatureSet) -> None:
    (tmp_path / "audio.parquet").unlink()
    with pytest.raises(StoreError, match=r"has no audio features \(it has: text, vision\)"):
        read_features(features).to_numpy("audio")


# ---- torch


@pytest.mark.usefixtures("small_groups")
def test_items_have_true_lengths_and_are_read_when_they_are_asked_for(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[tuple[str, int]] = []
    read_group = ModalityTable.read_group

    def counted(table: ModalityTable, group: int, start: int) -> object:
        read.append((table.path.stem, group))
        return read_group(table, group, start)

    monkeypatch.setattr(ModalityTable, "read_group", counted)
    dataset = features.torch_dataset(modalities=["text", "audio"])
    assert len(dataset) == 11
    assert dataset.left_out == {"audio": 1}
    assert read == []
    for modality in ("text", "audio"):
        expected = sequences(features, modality)
        for index, utterance in enumerate(dataset.utterance_ids):
            np.testing.assert_array_equal(dataset[index][modality].numpy(), expected[utterance][0])
            np.testing.assert_array_equal(dataset[index][f"{modality}_mask"].numpy(), expected[utterance][1])
    assert len(read) == len(set(read))


def test_what_a_user_does_to_an_item_does_not_reach_the_next_reading(features: FeatureSet) -> None:
    dataset = features.torch_dataset()
    dataset[0]["audio"].zero_()
    assert dataset[0]["audio"].abs().sum() > 0


@pytest.mark.usefixtures("small_groups")
def test_no_more_is_held_than_the_cache_may_hold(features: FeatureSet) -> None:
    wide, narrow = features.torch_dataset(), features.torch_dataset(cache_bytes=500)
    order = np.random.default_rng(0).permutation(len(wide)).tolist() * 2
    for index in order:
        one, other = wide[index], narrow[index]
        assert one.pop("utterance_id") == other.pop("utterance_id")
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert wide._groups._n_bytes == sum(
        values.nbytes + valid.nbytes
        for name in features.modalities
        for values, valid in sequences(features, name).values()
    )
    assert narrow._groups._n_bytes <= 500
    assert len(narrow._groups._held) >= 1


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_data_loader_pads_to_the_longest_clip_of_the_batch(
    features: FeatureSet, tmp_path: Path, n_workers: int
) -> None:
    dataset = features.torch_dataset(tmp_path / "labels.parquet", conditions=("M", "AT"))
    assert len(dataset) == 9
    assert dataset.left_out == {"audio": 1, "vision": 1, "label_M": 1}
    options = {"num_workers": n_workers, "multiprocessing_context": "spawn" if n_workers else None}
    seen = []
    for batch in DataLoader(dataset, batch_size=4, collate_fn=dataset.collate, **options):
        n, longest = len(batch["utterance_id"]), int(batch["audio_lengths"].max())
        assert batch["audio"].shape == (n, longest, 8)
        assert batch["label_M"].shape == batch["label_AT"].shape == (n,)
        assert batch["vision_mask"].shape == batch["vision"].shape[:2]
        for row, length in enumerate(batch["audio_lengths"]):
            item = dataset[len(seen)]
            torch.testing.assert_close(batch["audio"][row, :length], item["audio"])
            assert not batch["audio"][row, length:].any()
            assert batch["label_M"][row] == item["label_M"]
            seen.append(batch["utterance_id"][row])
    assert seen == dataset.utterance_ids


def test_a_split_is_the_labels_own(features: FeatureSet, tmp_path: Path) -> None:
    parts = {
        split: features.torch_dataset(tmp_path / "labels.parquet", split=split) for split in ("train", "valid", "test")
    }
    assert sum(len(part) for part in parts.values()) == len(features.torch_dataset(tmp_path / "labels.parquet"))
    assert {utterance[:4] for utterance in parts["test"].utterance_ids} == {"v000"}
    with pytest.raises(ConfigError, match="no clip is left"):
        features.torch_dataset(split="train")  # the manifest names no split


def test_unknown_names_are_refused(features: FeatureSet, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'X' is not a condition"):
        features.torch_dataset(tmp_path / "labels.parquet", conditions=["X"])
    with pytest.raises(ConfigError, match="'dev' is not a split"):
        features.torch_dataset(split="dev")
    with pytest.raises(StoreError, match="has no smell features"):
        features.torch_dataset(modalities=["smell"])


# ---- Hugging Face


def test_a_hugging_face_dataset_has_the_manifest_and_true_sequences(features: FeatureSet) -> None:
    dataset = features.to_datasets()
    manifest = features.manifest()
    assert dataset["utterance_id"][:] == manifest["utterance_id"].tolist()
    assert dataset["audio_status"][:] == manifest["audio_status"].tolist()
    for modality in features.modalities:
        expected = sequences(features, modality)
        for row in dataset:
            found = row[f"{modality}_features"]
            if row["utterance_id"] not in expected:
                assert found is None
                continue
            values, valid = expected[row["utterance_id"]]
            np.testing.assert_array_equal(np.array(found, np.float32), values)
            if modality == "vision":
                assert row["vision_mask"] == valid.tolist()


def test_without_the_package_datasets_one_line_says_what_to_install(
    features: FeatureSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigError, match=r"to_datasets needs the package datasets: pip install datasets"):
        features.to_datasets()


@pytest.mark.parametrize("write", ["{}.mp4", "{}.MOV", "D:\\clips\\{}"])
def test_labels_join_clips_whose_ids_are_written_in_another_way(
    write: str, features: FeatureSet, tmp_path: Path
) -> None:
    ids = features.manifest(["utterance_id"])["utterance_id"].tolist()
    rows = "".join(f"{write.format(name) if k % 2 else name},{k / 100}\n" for k, name in enumerate(ids))
    (tmp_path / "t.csv").write_text("utterance_id,label\n" + rows)
    with pytest.warns(UserWarning, match=rf"labels: {len(ids) // 2} ids match once"):
        dataset = features.torch_dataset(tmp_path / "t.csv")
    found = {dataset[k]["utterance_id"]: float(dataset[k]["label_M"]) for k in range(len(dataset))}
    assert found == {name: pytest.approx(ids.index(name) / 100) for name in dataset.utterance_ids}
    assert "label_M" not in dataset.left_out


@pytest.mark.parametrize("write", ["other {}", "x{}", "{}-2"])
def test_labels_of_clips_that_the_folder_does_not_have_are_said(
    write: str, features: FeatureSet, tmp_path: Path
) -> None:
    ids = features.manifest(["utterance_id"])["utterance_id"].tolist()
    rows = "".join(f"{write.format(name) if k % 2 else name},{k / 100}\n" for k, name in enumerate(ids))
    (tmp_path / "t.csv").write_text("utterance_id,label\n" + rows)
    with pytest.warns(
        UserWarning, match=rf"{len(ids) // 2} of {len(ids)} clips of the labels are not in .*write ids as"
    ):
        dataset = features.torch_dataset(tmp_path / "t.csv")
    assert len(dataset) <= len(ids) - len(ids) // 2


@pytest.mark.parametrize("scale", ["1..5", "0..10", "-6..6"])
def test_labels_on_a_scale_that_a_user_states_are_items(scale: str, features: FeatureSet, tmp_path: Path) -> None:
    ids = features.manifest(["utterance_id"])["utterance_id"].tolist()
    table = tmp_path / "t.csv"
    table.write_text("utterance_id,label\n" + "".join(f"{name},{k % 5 + 1}\n" for k, name in enumerate(ids)))
    with pytest.raises(FmltkError, match="--scale"):
        features.torch_dataset(table)
    for labels in (table, pd.read_csv(table)):
        dataset = features.torch_dataset(labels, scale=scale)
        assert max(float(dataset[k]["label_M"]) for k in range(len(dataset))) == 5


@pytest.mark.parametrize("words", [("good", "bad"), ("yes", "no"), ("★", "★★")])
def test_labels_that_are_words_are_not_numbers_of_items(
    words: tuple[str, str], features: FeatureSet, tmp_path: Path
) -> None:
    ids = features.manifest(["utterance_id"])["utterance_id"].tolist()
    table = tmp_path / "t.csv"
    table.write_text("utterance_id,label\n" + "".join(f"{name},{words[k % 2]}\n" for k, name in enumerate(ids)))
    with pytest.raises(ConfigError, match=r"label_M has the classes .*, and an item holds a number"):
        features.torch_dataset(table)
