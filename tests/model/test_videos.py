"""Training on whole videos: the order of clips, batches, splits, context that is not there, and continuing."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fmltk.model.config import load_config
from fmltk.model.data import read_clip_features
from fmltk.model.inputs import StageInputs, evaluation_batches, predict_stage
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.registry import VIDEOS, StageSpec, model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from fmltk.model.settings import Settings
from fmltk.model.training import StageData, draw_batches, train_stage
from fmltk.model.videos import Videos, clip_positions, split_videos
from fmltk.toolkit.clip import utterance_id
from fmltk.toolkit.errors import ConfigError, TrainingError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.io.parquet import write_table
from tests.model.folders import planted, write_clips
from tests.model.killed import run_and_kill
from tests.model.listener import Listener

if TYPE_CHECKING:
    from pathlib import Path

SMALL = ["units=6", "hid=5", "fdim=7", "xdrp=0", "drp=0", "hdrp=0", "fxdrp=0", "standardise=true"]


class Before(nn.Module):
    """A clip's number is its own feature, plus that of the clip before it in its video, times a weight."""

    def __init__(self, dims: Any, settings: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        own = inputs["A"][:, 0]
        firsts = torch.cumsum(inputs[VIDEOS], 0) - inputs[VIDEOS]
        before = torch.cat([own.new_zeros(1), own[:-1]])
        before[firsts] = 0
        y = self.weight * (own + 1000 * before)
        return {"M": y}, y[:, None]


SPEC = StageSpec("M", ("A", VIDEOS), ("M",), Before)
# Four videos of 4, 3, 2 and 1 clips, mixed; clip k has the feature k.
NUMBERS = np.array([0, 1, 0, 2, 1, 0, 3, 2, 1, 0])
POSITIONS = np.array([3, 1, 0, 1, 0, 2, 0, 0, 2, 1])


def inputs(videos: Videos | None) -> StageInputs:
    n = len(NUMBERS)
    return StageInputs({"A": torch.arange(n).float()[:, None]}, None, np.zeros(n + 1, np.int64), videos=videos)


@pytest.mark.parametrize(
    ("clips", "starts", "expected"),
    [
        (["10", "9", "1"], [np.nan] * 3, ["1", "9", "10"]),
        (["0010", "0009", "1"], [np.nan] * 3, ["1", "0009", "0010"]),
        (["c", "b", "a"], [0.5, 2.0, 7.25], ["c", "b", "a"]),
        (["2", "10", "1"], [0.0, 0.0, 0.0], ["1", "2", "10"]),
        (["2", "3", "1"], [9.0, np.nan, 30.0], ["1", "2", "3"]),
        (["intro", "part 12", "part 2"], [np.nan] * 3, ["intro", "part 2", "part 12"]),
    ],
)
def test_clips_are_in_the_order_in_which_they_are_said(
    clips: list[str], starts: list[float], expected: list[str]
) -> None:
    others = ["7", "5"]  # of another video, which is timed
    positions = clip_positions(["v"] * 3 + ["w"] * 2, [*clips, *others], np.array([*starts, 2.0, 8.0]))
    assert [clips[row] for row in np.argsort(positions[:3])] == expected
    assert positions[3] < positions[4]


def test_the_manifest_says_the_order(tmp_path: Path) -> None:
    clips = planted(6, n_videos=1)
    folder = write_clips(clips, tmp_path / "features")
    features = read_clip_features(folder)
    order = [features.utterance_ids[row] for row in np.argsort(features.positions)]
    assert order == sorted(clips.ids)
    manifest = read_features(folder).manifest()
    manifest["start_s"] = np.arange(6)[::-1] * 1.5
    replace_manifest(folder, manifest)
    features = read_clip_features(folder)
    assert [features.utterance_ids[row] for row in np.argsort(features.positions)] == sorted(clips.ids)[::-1]


def replace_manifest(folder: Path, frame: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pq.read_schema(folder / "manifest.parquet")
    write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), folder / "manifest.parquet")


def test_every_batch_is_whole_videos() -> None:
    videos = Videos(NUMBERS, POSITIONS)
    data = StageData(inputs(videos), {}, train=np.arange(10), valid=np.arange(0))
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        drawn = draw_batches(SPEC, Settings(bs=2), data)
        seen.add(tuple(int(NUMBERS[batch[0]]) for batch in drawn))
        assert [len(set(NUMBERS[batch])) for batch in drawn] == [2, 2]
        assert sorted(np.concatenate(drawn)) == list(range(10))
        for batch in drawn:
            parts = np.split(batch, np.cumsum(videos.lengths(batch))[:-1])
            assert all(list(np.diff(POSITIONS[part])) == [1] * (len(part) - 1) for part in parts)
    assert len(seen) > 5, "they are not shuffled"


@pytest.mark.parametrize("evaluation_batch", [1, 5, 100])
@pytest.mark.parametrize("rows", [np.arange(10), np.array([9, 2, 7, 3, 0]), np.array([6])])
def test_predictions_are_in_the_order_of_the_rows(evaluation_batch: int, rows: Any) -> None:
    spec = replace(SPEC, evaluation_batch=evaluation_batch)
    data = inputs(Videos(NUMBERS, POSITIONS))
    predictions, hidden = predict_stage(Before({}, None), spec, data, rows)
    for row, y in zip(rows, predictions["M"].tolist(), strict=True):
        earlier = [k for k in rows if NUMBERS[k] == NUMBERS[row] and POSITIONS[k] < POSITIONS[row]]
        before = max(earlier, key=lambda k: POSITIONS[k], default=0)
        assert y == row + 1000 * before
    assert torch.equal(hidden[:, 0], predictions["M"])
    parts = evaluation_batches(spec, data, rows)
    assert all(set(NUMBERS[a]).isdisjoint(NUMBERS[b]) for k, a in enumerate(parts) for b in parts[:k])


def test_the_clips_of_another_split_are_not_read() -> None:
    splits = np.array(["train", "test"])[np.array([0, 0, 1, 0, 1, 0, 1, 1, 0, 1])]
    videos = Videos.of([f"v{number}" for number in NUMBERS], POSITIONS, splits)
    data = inputs(videos)
    before = predict_stage(Before({}, None), SPEC, data, np.arange(10))[0]["M"]
    spoiled = data.vectors["A"].clone()
    spoiled[torch.from_numpy(splits == "train")] = 77.0
    after = predict_stage(Before({}, None), SPEC, replace(data, vectors={"A": spoiled}), np.arange(10))[0]["M"]
    test = torch.from_numpy(splits == "test")
    assert torch.equal(after[test], before[test])
    assert not torch.equal(after[~test], before[~test])
    assert split_videos([f"v{number}" for number in NUMBERS], splits) == ["v0", "v1", "v2"]


def test_clips_without_a_label_are_the_context_of_the_others() -> None:
    truths = torch.tensor([float("nan") if NUMBERS[k] == 1 or POSITIONS[k] == 0 else 1.0 for k in range(10)])
    rows: list[Any] = []

    class Kept(Before):
        def forward(self, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
            rows.append(inputs["A"][:, 0].int().tolist())
            return super().forward(inputs)

    data = StageData(inputs(Videos(NUMBERS, POSITIONS)), {"M": truths}, train=np.arange(10), valid=np.arange(10))
    train_stage(replace(SPEC, build=Kept), Settings(bs=4, max_epochs=1), data, seed=0)
    learned, validated = rows
    assert sorted(learned) == sorted(validated) == [0, 2, 3, 5, 7, 9]  # videos 1 and 3 have no label at all


@pytest.mark.parametrize(
    ("modalities", "names"), [("AV", ["A", "V", "fusion"]), ("T", ["T", "fusion"]), ("TV", ["T", "V", "fusion"])]
)
def test_fewer_modalities_leave_out_stages_and_keep_the_videos(modalities: str, names: list[str]) -> None:
    model = model_spec("bc-lstm").within(modalities)
    assert [stage.name for stage in model.stages] == names
    assert all(stage.inputs[-1] == VIDEOS for stage in model.stages)
    assert model_spec("mmmu-ba").within(modalities).stages[0].letters == tuple(m for m in "TAV" if m in modalities)


def test_data_that_names_no_videos_is_refused() -> None:
    with pytest.raises(TrainingError, match="the data does not say which clips are of one video"):
        predict_stage(Before({}, None), SPEC, inputs(None), np.arange(3))


def run(folder: Path, out: Path, *settings: str, **options: Any) -> tuple[Any, Listener]:
    listener = Listener()
    config = load_config("ch-sims", settings=["model=bc-lstm", *SMALL, "max_epochs=3", *settings])
    summary = train(folder, out=out, config=config, options=RunOptions(jobs=0, **options), reporter=listener)
    return summary, listener


@pytest.mark.parametrize(
    ("n_videos", "by_clip", "warned"),
    [
        (15, False, ""),
        (15, True, "15 videos have clips in more than one split ('v000', 'v001', 'v002', ...)"),
        (60, False, "each video has one clip, so it is read without context"),
    ],
)
def test_a_run_says_what_context_there_is(n_videos: int, by_clip: bool, warned: str, tmp_path: Path) -> None:
    clips = planted(60, n_videos=n_videos)
    if by_clip:
        clips.splits = [("train", "train", "valid", "test")[k // 15] for k in range(60)]
    _, listener = run(write_clips(clips, tmp_path / "features"), tmp_path / "run")
    assert f"a batch is whole videos, of {n_videos}; their clips are in the order of" in " ".join(listener.said)
    assert (warned in " ".join(listener.warned)) if warned else not listener.warned


def test_a_clip_alone_is_scored_with_what_context_there_is(tmp_path: Path) -> None:
    clips = planted(60, n_videos=15)
    folder = write_clips(clips, tmp_path / "features")
    run(folder, tmp_path / "run", "lr=0.01", "optimiser=adam")
    model = load_model(tmp_path / "run")
    scores = model.predict(folder).set_index("utterance_id")["score_M"]
    held = read_predictions(tmp_path / "run", 0).set_index("utterance_id")["pred_M"]
    np.testing.assert_allclose(scores[held.index], held, atol=1e-5)
    row = clips.ids.index(utterance_id("v003", "0018"))
    for name, values in clips.sequences.items():
        clips.sequences[name] = [values[row]]
    clips.ids, clips.splits = [clips.ids[row]], [None]
    clips.labels = {c: values[row : row + 1] for c, values in clips.labels.items()}
    alone = model.predict(write_clips(clips, tmp_path / "one"))
    assert np.isfinite(alone["score_M"][0])
    assert abs(alone["score_M"][0] - scores[clips.ids[0]]) > 1e-4


@pytest.mark.parametrize("retrain", ["never", "auto"])
def test_saved_activations_are_fused_video_by_video(retrain: str, tmp_path: Path) -> None:
    folder = write_clips(planted(60, n_videos=15), tmp_path / "features")
    adam = ("lr=0.01", "optimiser=adam")
    run(folder, tmp_path / "first", *adam)
    run(folder, tmp_path / "again", *adam, f"retrain={retrain}", "retrain_threshold=0.0", reuse=tmp_path / "first")
    first, again = (read_predictions(tmp_path / name, 0)["pred_M"] for name in ("first", "again"))
    np.testing.assert_allclose(again, first, atol=1e-6)


def test_another_order_of_the_clips_is_another_run(tmp_path: Path) -> None:
    folder = write_clips(planted(60, n_videos=15), tmp_path / "features")
    run(folder, tmp_path / "run")
    manifest = read_features(folder).manifest()
    manifest["start_s"] = np.arange(60)[::-1] * 1.0
    replace_manifest(folder, manifest)
    with pytest.raises(ConfigError, match="the features or the labels changed"):
        run(folder, tmp_path / "run", seeds=(0, 1))


def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    features = write_clips(planted(60, n_videos=15), tmp_path / "features")

    settings = ["model=bc-lstm", *SMALL, "max_epochs=4", "drp=0.3"]
    assert run_and_kill(features, tmp_path / "whole", settings) == 0
    killed = run_and_kill(features, tmp_path / "killed", settings, file="progress_fusion.safetensors", epoch=2)
    assert killed == -signal.SIGKILL
    assert run_and_kill(features, tmp_path / "killed", settings) == 0
    names = [f"stage_{stage.name.lower()}.safetensors" for stage in model_spec("bc-lstm").stages]
    for name in (*names, "predictions.parquet", "bimodal.parquet"):
        whole, killed = (tmp_path / run / "seed_0" / name for run in ("whole", "killed"))
        assert whole.read_bytes() == killed.read_bytes(), name
