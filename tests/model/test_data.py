"""Reading, joining, splits, stand-in labels, standardisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.model.config import Config, load_config
from fmltk.model.data import Reading, read_clip_features, read_clip_names
from fmltk.model.dataset import choose_targets, draw_splits, join
from fmltk.model.prepared import Prepared, prepare
from fmltk.model.registry import model_spec
from fmltk.model.standardise import fit_scaler
from fmltk.toolkit.conditions import MOSI_SCALE
from fmltk.toolkit.errors import ConfigError, StoreError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import labels_on_scale, read_labels
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from tests.model.folders import Clips, planted, write_clips, write_labels

if TYPE_CHECKING:
    from pathlib import Path


def small(n: int = 20) -> Clips:
    return planted(n, n_videos=10)


def test_audio_and_vision_become_means_over_valid_steps_within_l(tmp_path: Path) -> None:
    clips = small()
    clips.lengths["A"] = 4  # longer clips are cut
    first = clips.sequences["V"][0]
    assert first is not None
    valid = np.zeros(len(first), bool)
    valid[1] = True
    clips.masks = {clips.ids[0]: valid}
    found = read_clip_features(write_clips(clips, tmp_path))
    for k, utterance in enumerate(clips.ids):
        row = found.utterance_ids.index(utterance)
        audio, vision = clips.sequences["A"][k], clips.sequences["V"][k]
        assert audio is not None
        assert vision is not None
        np.testing.assert_allclose(found.means["A"][row], audio[:4].mean(axis=0), atol=1e-6)
        expected = first[1] if k == 0 else vision.mean(axis=0)
        np.testing.assert_allclose(found.means["V"][row], expected, atol=1e-6)


def test_text_is_kept_without_padding(tmp_path: Path) -> None:
    clips = small()
    clips.lengths["T"] = 5
    found = read_clip_features(write_clips(clips, tmp_path))
    assert found.text is not None
    for k, utterance in enumerate(clips.ids):
        row = found.utterance_ids.index(utterance)
        steps = found.text.steps[found.text.offsets[row] : found.text.offsets[row + 1]]
        text = clips.sequences["T"][k]
        assert text is not None
        np.testing.assert_array_equal(steps, text[:5])
    assert len(found.text.steps) == sum(min(len(s), 5) for s in clips.sequences["T"] if s is not None)


def test_whole_sequences_are_kept_without_padding_and_a_step_that_is_not_valid_keeps_its_position(
    tmp_path: Path,
) -> None:
    clips = small()
    clips.lengths = {"T": 5, "A": 4, "V": 8}
    vision = clips.sequences["V"][0]
    assert vision is not None
    clips.masks = {clips.ids[0]: np.arange(len(vision)) != 1}
    clips.sequences["A"][3] = None
    found = read_clip_features(write_clips(clips, tmp_path), reading=Reading(whole=True))
    assert not found.means
    for k, utterance in enumerate(clips.ids):
        row = found.utterance_ids.index(utterance)
        for m, length in clips.lengths.items():
            sequences, sequence = found.whole(m), clips.sequences[m][k]
            assert sequences is not None
            kept = sequences.steps[sequences.offsets[row] : sequences.offsets[row + 1]]
            expected = np.zeros((0, kept.shape[1])) if sequence is None else sequence[:length].copy()
            if m == "V" and k == 0:
                expected[1] = np.nan
            np.testing.assert_array_equal(kept, expected)
    assert found.present("A").sum() == 19
    dataset = join(found, read_labels(tmp_path / "labels.parquet"), Config())
    for standardise in (True, False):
        prepared = prepare(dataset, "TAV", Config(standardise=standardise, frames="padded", text_steps="padded"))
        prepared.save(tmp_path / f"arrays_{standardise}")
        inputs = Prepared.open(tmp_path / f"arrays_{standardise}").inputs("cpu")
        batch = inputs.batch(["T_steps", "A_steps", "V_steps"], np.arange(19))
        assert [tuple(one.values.shape) for one in batch.values()] == [(19, 5, 12), (19, 4, 8), (19, 8, 10)]
        first = batch["V_steps"].values[dataset.utterance_ids.index(clips.ids[0])]
        assert (first[1] == 0).all()
        assert (first[0] != 0).all()
        if not standardise:
            np.testing.assert_array_equal(first[2 : len(vision)], vision[2:])


def test_words_without_a_token_stay_in_the_text_where_steps_belong_together(tmp_path: Path) -> None:
    clips = small()
    folder = write_clips(clips, tmp_path)
    table = read_features(folder)["text"]
    text = clips.sequences["T"][0]
    assert text is not None
    spec = ModalitySpec("text", table.dimension, table.length, has_mask=True)
    with ModalityWriter(folder / "text.parquet", spec) as writer:
        for utterance in sorted(clips.ids):
            sequence = clips.sequences["T"][clips.ids.index(utterance)]
            assert sequence is not None
            writer.append(utterance, sequence, np.arange(len(sequence)) != (1 if utterance == clips.ids[0] else -1))
    for reading, expected in (
        (Reading(), np.delete(text, 1, axis=0)),
        (Reading(whole=True, gaps=True), text),
        (Reading(pooled="windows", gaps=True), text),
    ):
        kept = read_clip_features(folder, reading=reading).text
        assert kept is not None
        row = sorted(clips.ids).index(clips.ids[0])
        steps = kept.steps[kept.offsets[row] : kept.offsets[row + 1]]
        assert len(steps) == len(expected)
        np.testing.assert_array_equal(steps[2:], expected[2:])
        assert np.isnan(steps[1]).all() == reading.gaps
    graph = Reading.of(model_spec("graph-mfn"), load_config("ch-sims", settings=["model=graph-mfn"]))
    plain = Reading.of(model_spec("mfn"), load_config("ch-sims", settings=["model=mfn"]))
    assert (graph.gaps, plain.gaps) == (True, False)


def test_a_models_own_length_is_used_for_new_clips(tmp_path: Path) -> None:
    clips = small()
    folder = write_clips(clips, tmp_path)
    found = read_clip_features(folder, lengths={"A": 2})
    audio = clips.sequences["A"][0]
    assert audio is not None
    np.testing.assert_allclose(
        found.means["A"][found.utterance_ids.index(clips.ids[0])], audio[:2].mean(axis=0), atol=1e-6
    )
    assert read_clip_features(folder, lengths={"A": 99}).schema["A"]["length"] == 99
    clips.lengths["A"] = 3
    cut = write_clips(clips, tmp_path / "cut")
    with pytest.raises(StoreError, match=r"keeps 3 steps per clip and \d+ clips were cut, but the model reads 8"):
        read_clip_features(cut, lengths={"A": 8})


def test_a_clip_without_valid_steps_is_missing_with_a_reason(tmp_path: Path) -> None:
    clips = small()
    vision = clips.sequences["V"][0]
    assert vision is not None
    clips.masks = {clips.ids[0]: np.zeros(len(vision), bool)}
    clips.sequences["A"][1] = None
    found = read_clip_features(write_clips(clips, tmp_path))
    assert found.reasons["V"][found.utterance_ids.index(clips.ids[0])] == "vision: no valid step"
    assert found.reasons["A"][found.utterance_ids.index(clips.ids[1])] == "audio missing: no such stream"
    assert found.present("A").sum() == 19


@pytest.mark.parametrize(("modality", "name"), [("T", "text"), ("A", "audio"), ("V", "vision")])
def test_nan_in_features_is_named(tmp_path: Path, modality: str, name: str) -> None:
    clips = small()
    clips.sequences[modality][2][0, 1] = np.nan  # type: ignore[index]
    with pytest.raises(
        StoreError, match=rf"{name}\.parquet: NaN or infinities in the features of 1 clip, the first is 'v002"
    ):
        read_clip_features(write_clips(clips, tmp_path))


def test_padding_and_masked_steps_may_hold_anything(tmp_path: Path) -> None:
    clips = small()
    vision = clips.sequences["V"][0]
    assert vision is not None
    vision[0] = np.nan
    clips.masks = {clips.ids[0]: np.arange(len(vision)) != 0}
    found = read_clip_features(write_clips(clips, tmp_path))
    row = found.utterance_ids.index(clips.ids[0])
    np.testing.assert_allclose(found.means["V"][row], vision[1:].mean(axis=0), atol=1e-6)


def test_what_does_not_join_is_counted_and_named(tmp_path: Path) -> None:
    clips = small()
    folder = write_clips(clips, tmp_path)
    clips.ids[0] = "v000$_$other"
    write_labels(clips, folder / "labels.parquet")
    dataset = join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config())
    assert len(dataset.utterance_ids) == 19
    assert dataset.remarks[:2] == (
        "left out: 1 clip with features but without a row in the labels: 'v000$_$0000'",
        "left out: 1 clip with labels but without features: 'v000$_$other'",
    )
    assert list(dataset.utterance_ids) == sorted(dataset.utterance_ids)


def test_ids_that_never_join_are_an_error(tmp_path: Path) -> None:
    clips = small()
    folder = write_clips(clips, tmp_path)
    clips.ids = [f"x$_${k}" for k in range(20)]
    write_labels(clips, folder / "labels.parquet")
    with pytest.raises(ConfigError, match=r"no clip of the features has a label: the features name .*, the labels"):
        join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config())


def test_labels_follow_their_clips(tmp_path: Path) -> None:
    clips = small()
    folder = write_clips(clips, tmp_path)
    dataset = join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config())
    for k, utterance in enumerate(clips.ids):
        row = dataset.utterance_ids.index(utterance)
        assert dataset.labels["VT"][row] == clips.labels["VT"][k]
        assert dataset.splits[row] == clips.splits[k]


def test_the_manifests_splits_count_where_the_labels_name_none(tmp_path: Path) -> None:
    clips = small()
    told = list(clips.splits)
    clips.splits = [None] * len(told)
    folder = write_clips(clips, tmp_path / "all", manifest_splits=told)
    dataset = join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config())
    assert {u: dataset.splits[row] for row, u in enumerate(dataset.utterance_ids)} == dict(
        zip(clips.ids, told, strict=True)
    )
    assert dataset.remarks == ("the labels name no splits: those of the features' manifest are taken",)
    folder = write_clips(clips, tmp_path / "some", manifest_splits=[None, *told[1:]])
    dataset = join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config())
    assert any("were drawn by video" in remark for remark in dataset.remarks)


def labels_of(n: int = 60) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {c: rng.uniform(-1, 1, n) for c in ("M", "T", "A", "V", "AT", "VT", "AV")}


@pytest.mark.parametrize(("given", "moved"), [("", {"test", "valid"}), ("train", {"valid"})])
def test_missing_splits_are_drawn_by_video(given: str, moved: set[str]) -> None:
    videos = [f"v{k // 4}" for k in range(100)]
    drawn, told = draw_splits([given] * 100, videos, np.linspace(-1, 1, 100), Config())
    assert set(drawn) == {"train"} | moved
    assert all(split in told[0] for split in ("by video", *({"valid": "validation"}.get(one, one) for one in moved)))
    for video in set(videos):
        assert len({split for split, v in zip(drawn, videos, strict=True) if v == video}) == 1
    for split in moved:
        assert 0.18 <= np.mean(drawn == split) <= 0.22
    again, _ = draw_splits([given] * 100, videos, np.linspace(-1, 1, 100), Config())
    other, _ = draw_splits([given] * 100, videos, np.linspace(-1, 1, 100), Config(split_seed=1))
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, other)


def test_splits_that_cannot_be_used_are_refused() -> None:
    y = np.zeros(4)
    with pytest.raises(ConfigError, match="2 clips have no split while others have one"):
        draw_splits(["train", "train", "", ""], list("abcd"), y, Config())
    with pytest.raises(ConfigError, match="no clip is in the train split"):
        draw_splits(["test"] * 4, list("abcd"), y, Config())
    with pytest.raises(ConfigError, match="1 videos cannot be divided into 2 splits by video"):
        draw_splits(["train"] * 4, ["a"] * 4, y, Config())


def test_an_official_split_is_never_changed() -> None:
    given = ["train", "valid", "test", "train"]
    drawn, said = draw_splits(given, list("aabb"), np.zeros(4), Config())
    assert drawn.tolist() == given
    assert [line.split(":")[0] for line in said] == ["2 of 2 videos are in more than one split"]
    assert draw_splits(["train", "train", "valid", "valid"], list("aabb"), np.zeros(4), Config())[1] == ()


def test_stand_in_labels() -> None:
    labels = labels_of()
    nothing = np.full(60, np.nan)
    targets, sources = choose_targets(labels, Config())
    assert set(sources.values()) == {"labels"}
    assert targets["AV"] is labels["AV"]
    targets, sources = choose_targets({**labels, "AV": nothing}, Config())
    assert (sources["AV"], sources["AT"]) == ("multimodal", "labels")
    assert targets["AV"] is labels["M"]
    targets, sources = choose_targets(labels, Config(bimodal="multimodal", unimodal="multimodal"))
    assert all(targets[c] is labels["M"] for c in targets)
    targets, _ = choose_targets(labels, Config(bimodal="mean-unimodal"))
    np.testing.assert_allclose(targets["VT"], (labels["V"] + labels["T"]) / 2)
    with pytest.raises(ConfigError, match="the data has no label_AV; use --bimodal multimodal"):
        choose_targets({**labels, "AV": nothing}, Config(bimodal="labels"))
    with pytest.raises(ConfigError, match="needs label_A"):
        choose_targets({**labels, "A": nothing}, Config(bimodal="mean-unimodal"))


def test_predictions_are_scored_against_own_labels_whatever_was_learned(tmp_path: Path) -> None:
    clips = small()
    clips.labels["AT"][:] = np.nan
    folder = write_clips(clips, tmp_path)
    table = read_labels(folder / "labels.parquet")
    dataset = join(read_clip_features(folder), table, Config(bimodal="multimodal", unimodal="multimodal"))
    np.testing.assert_array_equal(dataset.truths["T"], dataset.labels["T"])
    np.testing.assert_array_equal(dataset.truths["AT"], dataset.labels["M"])


def test_a_guessed_scale_is_told(tmp_path: Path) -> None:
    clips = small()
    folder = write_clips(clips, tmp_path)
    (tmp_path / "labels.csv").write_text(
        "utterance_id,label,split\n"
        + "".join(f"{u},{y},{s}\n" for u, y, s in zip(clips.ids, clips.labels["M"], clips.splits, strict=True))
    )
    dataset = join(read_clip_features(folder), read_labels(tmp_path / "labels.csv"), Config())
    assert dataset.remarks == ("the labels do not state their scale: -1..1 is taken, which all of them fit",)


def test_the_scaler_survives_wild_values_and_constants() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(5, 2, (1000, 3)).astype(np.float32)
    values[3, 0] = 3.8e7
    values[:, 2] = 7.0
    scaler = fit_scaler(values)
    scaled = scaler.transform(values)
    assert np.abs(scaled).max() <= 5.0
    np.testing.assert_allclose(scaled[10:, :2].mean(axis=0), 0, atol=0.1)
    np.testing.assert_allclose(scaled[10:, :2].std(axis=0), 1, atol=0.1)
    assert not scaled[:, 2].any()
    assert not scaler.transform(np.full((1, 3), 1e9, np.float32))[:, 2].any()


def test_standardisation_knows_the_training_split_only(tmp_path: Path) -> None:
    clips = small(40)
    folder = write_clips(clips, tmp_path / "a")
    for k, split in enumerate(clips.splits):
        if split == "test":
            for m in "TAV":
                clips.sequences[m][k] = clips.sequences[m][k] * 1000  # type: ignore[operator]
    wild = write_clips(clips, tmp_path / "b")
    prepared = [
        prepare(join(read_clip_features(f), read_labels(f / "labels.parquet"), Config()), "TAV", Config())
        for f in (folder, wild)
    ]
    for letter in "TAV":
        np.testing.assert_array_equal(prepared[0].scalers[letter].center, prepared[1].scalers[letter].center)
        np.testing.assert_array_equal(prepared[0].scalers[letter].inverse, prepared[1].scalers[letter].inverse)


def test_missing_modalities_are_dropped_or_take_the_mean(tmp_path: Path) -> None:
    clips = small()
    clips.sequences["A"][0] = None
    clips.sequences["T"][1] = None
    folder = write_clips(clips, tmp_path / "features")
    dataset = join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config())
    rows = [dataset.utterance_ids.index(clips.ids[k]) for k in (0, 1)]
    dropped = prepare(dataset, "TAV", Config())
    assert not dropped.usable("A")[rows[0]]
    assert not dropped.usable("VT")[rows[1]]
    assert dropped.usable("TAV").sum() == 18
    filled = prepare(dataset, "TAV", Config(missing="mean"))
    assert filled.usable("TAV").all()
    assert not filled.vectors["A"][rows[0]].any()  # the training mean, once standardised
    start, end = filled.offsets[rows[1]], filled.offsets[rows[1] + 1]
    assert filled.steps is not None
    assert end - start == 1
    assert not filled.steps[start:end].any()
    assert dropped.steps is not None
    other = next(row for row in range(20) if row not in rows)
    np.testing.assert_array_equal(
        filled.steps[filled.offsets[other] : filled.offsets[other + 1]],
        dropped.steps[dropped.offsets[other] : dropped.offsets[other + 1]],
    )


def test_prepared_arrays_come_back_from_disk(tmp_path: Path) -> None:
    folder = write_clips(small(), tmp_path / "features")
    dataset = join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config())
    before = prepare(dataset, "TAV", Config())
    before.save(tmp_path / "prepared")
    after = Prepared.open(tmp_path / "prepared")
    assert before.steps is not None
    assert after.steps is not None
    np.testing.assert_array_equal(after.steps, before.steps)
    np.testing.assert_array_equal(after.vectors["V"], before.vectors["V"])
    np.testing.assert_array_equal(after.targets, before.targets)
    assert after.splits.tolist() == before.splits.tolist()
    assert after.schema == before.schema
    np.testing.assert_array_equal(after.scalers["T"].inverse, before.scalers["T"].inverse)


@pytest.mark.parametrize("codes", [(0, 1), (0, 1, 2, 3), (1, 2, 3)])
def test_numbers_that_may_be_codes_of_classes_are_asked_about(codes: tuple[int, ...], tmp_path: Path) -> None:
    folder = write_clips(planted(30), tmp_path / "features")
    ids = read_clip_names(folder).utterance_ids
    path = tmp_path / "labels.csv"
    path.write_text("utterance_id,label\n" + "".join(f"{one},{codes[k % len(codes)]}\n" for k, one in enumerate(ids)))
    names = read_clip_names(folder)
    asked = rf"for classes \(--scale nominal\) or are numbers on a scale \(--scale={codes[0]}\.\.{codes[-1]}, "
    with pytest.raises(ConfigError, match=asked):
        join(names, read_labels(path), load_config())
    assert join(names, labels_on_scale(folder, path, "-3..3"), load_config()).scale == MOSI_SCALE
    assert join(names, labels_on_scale(folder, path, "nominal"), load_config()).n_classes == len(codes)


@pytest.mark.parametrize(("given", "said"), [("", True), ("train", True), ("named", False)])
def test_clips_that_are_a_video_each_are_said_where_splits_are_drawn(given: str, said: bool) -> None:
    splits = ["train", "valid", "test", "train"] * 5 if given == "named" else [given] * 20
    labels = np.linspace(-1, 1, 20)
    for videos, alone in (([f"v{k}" for k in range(20)], said), ([f"v{k // 2}" for k in range(20)], False)):
        _, remarks = draw_splits(splits, videos, labels, Config())
        assert any("each clip is a video of its own" in remark for remark in remarks) == alone
