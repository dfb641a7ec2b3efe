"""Pickles as the field has them: padded in front, without a modality, with empty or zero arrays, ids of many kinds."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.interchange.check import check_dataset
from fmltk.toolkit.interchange.mmsa import import_mmsa
from fmltk.toolkit.interchange.mmsa_export import export_mmsa

from .pickles import assert_same, mmsa_data, write

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fmltk.toolkit.interchange.importing import ImportSummary

STEPS = 8


def aligned_data(*, padding: str, n: int = 30, seed: int = 0) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """Return an aligned set whose modalities have 8 steps, and the true lengths by modality and id.

    A third of the clips fill all steps; in one modality a clip may begin and end with zeros of its own.
    """
    rng = np.random.default_rng(seed)
    data: dict[str, Any] = {}
    lengths: dict[str, dict[str, int]] = {"text": {}, "audio": {}, "vision": {}}
    for split in ("train", "valid", "test"):
        true = rng.integers(2, STEPS + 4, n).clip(max=STEPS)
        part: dict[str, Any] = {"id": [f"{split}{k}$_$0" for k in range(n)], "raw_text": np.array(["x"] * n)}
        for name, d in (("text", 5), ("audio", 4), ("vision", 3)):
            values = np.zeros((n, STEPS, d), np.float32)
            for row, length in enumerate(true):
                first = STEPS - length if padding == "front" else 0
                values[row, first : first + length] = rng.normal(2, 0.3, (length, d))
                if name == "vision" and row % 5 == 0:
                    values[row, first] = 0  # no face in the first step, which is a step all the same
                lengths[name][part["id"][row]] = int(length)
            part[name] = values
        part["regression_labels"] = rng.uniform(-1, 1, n).astype(np.float32)
        data[split] = part
    return data, lengths


def imported(tmp_path: Path, data: Any, **options: Any) -> tuple[ImportSummary, Path]:
    return import_mmsa(write(tmp_path / "in.pkl", data), tmp_path / "features", **options), tmp_path / "features"


def stored_lengths(folder: Path, modality: str) -> dict[str, int]:
    table = read_features(folder)[modality]
    return dict(zip(table.utterance_ids, table.lengths.tolist(), strict=True))


# ---- padding


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_padding_in_front_is_moved_to_the_end_and_back(tmp_path: Path, seed: int) -> None:
    data, lengths = aligned_data(padding="front", seed=seed)
    original = pickle.loads(pickle.dumps(data))
    summary, folder = imported(tmp_path, data)
    assert [remark for remark in summary.remarks if "padding in front (text " in remark]
    for modality, true in lengths.items():
        assert stored_lengths(folder, modality) == true
    table = read_features(folder)["audio"]
    features, length = table.features(), lengths["audio"]["train0$_$0"]
    row = table.utterance_ids.index("train0$_$0")
    np.testing.assert_array_equal(features[row, :length], data["train"]["audio"][0, STEPS - length :])
    assert not features[row, length:].any()
    export_mmsa(folder, folder / "labels.parquet", tmp_path / "out.pkl")
    assert_same(pickle.loads((tmp_path / "out.pkl").read_bytes()), original)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_padding_at_the_end_stays_where_it_is(tmp_path: Path, seed: int) -> None:
    data, lengths = aligned_data(padding="end", seed=seed)
    summary, folder = imported(tmp_path, data)
    assert not [remark for remark in summary.remarks if "padding" in remark]
    assert stored_lengths(folder, "text") == lengths["text"]


def test_a_first_step_of_zeros_in_every_clip_is_no_padding(tmp_path: Path) -> None:
    data, lengths = aligned_data(padding="end")
    for part in data.values():  # as where audio and vision are aligned to [CLS]
        part["audio"][:, 0] = part["vision"][:, 0] = part["text"][:, 0] = 0
    summary, folder = imported(tmp_path, data)
    assert not [remark for remark in summary.remarks if "padding" in remark]
    assert stored_lengths(folder, "audio") == lengths["audio"]


@pytest.mark.parametrize("form", [list, np.array, lambda values: [np.array([value]) for value in values]])
def test_stated_lengths_say_on_which_side_the_padding_is(tmp_path: Path, form: Callable[[Any], Any]) -> None:
    for padding in ("front", "end"):
        data, lengths = aligned_data(padding=padding, n=3)
        for part in data.values():
            part["audio_lengths"] = form([lengths["audio"][key] for key in part["id"]])
        folder = tmp_path / padding
        import_mmsa(write(tmp_path / "in.pkl", data), folder)
        assert stored_lengths(folder, "audio") == lengths["audio"]
        values = read_features(folder)["audio"].features()
        assert all(step.any() for step in values[:, 0]), "data begin at the first step"


def test_lengths_that_contradict_the_padding_are_refused(tmp_path: Path) -> None:
    data, lengths = aligned_data(padding="front")
    for part in data.values():
        part["audio_lengths"] = [lengths["audio"][key] for key in part["id"]]
    data["test"]["audio_lengths"][3] = 1
    data["test"]["audio"][3] = 1
    with pytest.raises(StoreError, match="test/audio is padded in front, but in 1 clip its lengths leave out steps"):
        imported(tmp_path, data)


def test_padding_that_is_not_clear_is_refused_and_settled_by_an_option(tmp_path: Path) -> None:
    data, _ = aligned_data(padding="front")
    other, _ = aligned_data(padding="end")
    data = {split: part if split == "train" else other[split] for split, part in data.items()}
    data["valid"] = other["valid"]
    data["test"] = {**aligned_data(padding="front", seed=5)[0]["test"]}
    data["train"] = {**other["train"]}
    data["valid"] = {**aligned_data(padding="front", seed=6)[0]["valid"]}
    data["test"] = {key: value[:10] for key, value in data["test"].items()}
    with pytest.raises(StoreError, match=r"not clear on which side .*; give --padding front or --padding end"):
        imported(tmp_path, data)
    imported(tmp_path, data, padding="front")


def test_a_real_set_padded_in_front_has_its_lengths(tmp_path: Path, test_data: Path) -> None:
    summary = import_mmsa(test_data / "sequences" / "pom_av.pkl", tmp_path / "pom")
    assert "the pickle has no text; the features have none either" in summary.remarks
    assert "vision is missing in 486 of 903 clips: their sequences are zeros or of length 0" in summary.remarks
    lengths = np.array(list(stored_lengths(tmp_path / "pom", "audio").values()))
    assert np.sum(lengths < 20) == 749, "as many clips as begin with zeros"
    values = read_features(tmp_path / "pom")["audio"].features()
    assert values[:, 0].any(axis=1).all()


# ---- what is not there


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (lambda part: part.pop("text"), "the pickle has no text"),
        (lambda part: part.update(audio=part["audio"][:, :, :0]), r"audio is empty, with (steps, d) (7, 0)"),
        (lambda part: part.update(vision=part["vision"][:, :0]), r"vision is empty, with (steps, d) (0, 2)"),
        (lambda part: part.update(text=np.zeros((len(part["id"]), 0))), r"text is empty, with (steps, d) (0,)"),
    ],
)
def test_a_set_without_a_modality_imports_with_the_others(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], remark: str
) -> None:
    data = mmsa_data()
    for part in data.values():
        part.pop("text_bert")
        change(part)
    summary, folder = imported(tmp_path, data)
    assert any(one.startswith(remark) for one in summary.remarks), summary.remarks
    gone = remark.split(maxsplit=1)[0] if "empty" in remark else "text"
    assert list(read_features(folder).modalities) == [one for one in ("text", "audio", "vision") if one != gone]
    row = read_features(folder).manifest().iloc[0]
    assert (row["status"], row[f"{gone}_status"]) == ("ok", "missing")
    said = [finding.what for finding in check_dataset(folder, folder / "labels.parquet")]
    assert f"the folder has no {gone} features" in said
    export_mmsa(folder, folder / "labels.parquet", tmp_path / "out.pkl")
    assert_same(pickle.loads((tmp_path / "out.pkl").read_bytes()), data)


def test_a_set_without_any_modality_is_refused(tmp_path: Path) -> None:
    data = mmsa_data()
    for part in data.values():
        for key in ("text", "audio", "vision", "text_bert"):
            part.pop(key)
    with pytest.raises(StoreError, match=r"holds no features; expected at least one of text, audio, vision"):
        imported(tmp_path, data)


def test_sequences_of_zeros_are_missing_and_counted(tmp_path: Path) -> None:
    data, _ = aligned_data(padding="end", n=6)
    data["train"]["vision"][1] = data["test"]["vision"][[0, 2]] = 0
    summary, folder = imported(tmp_path, data)
    assert "vision is missing in 3 of 18 clips: their sequences are zeros or of length 0" in summary.remarks
    manifest = read_features(folder).manifest().set_index("utterance_id")
    assert (manifest.loc["train1$_$0", "vision_status"], manifest.loc["train1$_$0", "status"]) == ("missing", "ok")
    said = [finding.what for finding in check_dataset(folder, folder / "labels.parquet")]
    assert "vision: 3 of 18 clips have none: test0$_$0, test2$_$0, train1$_$0" in said


def test_zeros_of_a_stated_length_are_named_by_the_check(tmp_path: Path) -> None:
    data = mmsa_data()
    data["train"]["audio"][1] = 0
    _, folder = imported(tmp_path, data)
    said = [finding.what for finding in check_dataset(folder, folder / "labels.parquet")]
    assert "audio: 1 of 8 sequences are all zero: video_0000$_$0001" in said


# ---- kinds of values


def _object_ids(ids: list[str]) -> Any:
    return np.array(ids, dtype=object)


@pytest.mark.parametrize(
    "form",
    [
        _object_ids,
        lambda ids: [one.encode() for one in ids],
        lambda ids: np.array([one.encode() for one in ids]),
        lambda ids: np.array(ids)[:, None],
        lambda ids: [np.array(one) for one in ids],
    ],
)
def test_ids_may_be_bytes_objects_or_a_column(tmp_path: Path, form: Callable[[list[str]], Any]) -> None:
    data = mmsa_data()
    ids = [str(one) for part in data.values() for one in part["id"]]
    for part in data.values():
        part["id"] = form([str(one) for one in part["id"]])
    _, folder = imported(tmp_path, data)
    assert sorted(read_features(folder).manifest()["utterance_id"]) == sorted(ids)


@pytest.mark.parametrize("kind", [">f4", ">f8", "<f8", "<f2", ">i4"])
def test_numbers_of_every_size_and_byte_order_are_read(tmp_path: Path, kind: str) -> None:
    data = mmsa_data()
    for part in data.values():
        part["audio"] = np.round(part["audio"] * 4).astype(kind)
        part["regression_labels"] = (np.sign(part["regression_labels"])).astype(kind)[:, None]
        part.pop("annotations")
        part.pop("audio_lengths")
    _, folder = imported(tmp_path, data)
    table = read_features(folder)["audio"]
    row = table.utterance_ids.index("video_0000$_$0002")
    np.testing.assert_array_equal(table.features()[row], data["train"]["audio"][2].astype(np.float32))
    export_mmsa(folder, folder / "labels.parquet", tmp_path / "out.pkl")
    again = pickle.loads((tmp_path / "out.pkl").read_bytes())
    assert_same(again["train"]["audio"], data["train"]["audio"].astype(np.dtype(kind).newbyteorder("=")))
