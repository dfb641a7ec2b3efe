"""Training and prediction as a user of Python calls them: texts, frames and feature sets, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import fmltk
from fmltk.model.predict import FmlMSN, TrainedModel, load_model
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError
from tests.model.folders import planted, small_settings, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk._models import TrainedRun

SETTINGS: dict[str, Any] = {
    name: int(value) for name, value in (setting.split("=") for setting in small_settings("bs=16"))
} | {"lr": 0.01, "max_epochs": 12}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty clips with features, labels and splits; one has no sound."""
    clips = planted(60, n_videos=20)
    clips.sequences["A"][3] = None
    return write_clips(clips, tmp_path_factory.mktemp("features"))


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    out = tmp_path_factory.mktemp("runs") / "first"
    with pytest.warns(UserWarning, match="1 clip without a modality") as warned:
        run = fmltk.train(str(folder), str(folder / "labels.parquet"), str(out), config=SETTINGS, seeds=2)
    assert {one.filename for one in warned} == {__file__}
    return run


@pytest.mark.filterwarnings("ignore:1 clip without a modality", "ignore:the labels do not state their scale")
def test_paths_feature_sets_and_frames_train_the_same(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    labels = pd.read_parquet(folder / "labels.parquet")
    again = fmltk.train(fmltk.read_features(folder), labels, tmp_path / "again", config=SETTINGS, seeds=[0, 1])
    found = fmltk.train(folder, None, tmp_path / "found", config=SETTINGS, seeds=[1])
    pd.testing.assert_frame_equal(fmltk.predict(again, folder), fmltk.predict(run, folder))
    pd.testing.assert_frame_equal(fmltk.predict(found, folder), fmltk.predict(run, folder, seed=1))


def test_a_run_is_continued_and_shows_its_scores(run: TrainedRun, folder: Path) -> None:
    again = fmltk.train(folder, folder / "labels.parquet", run, config=SETTINGS, seeds=2, reporter=Reporter(quiet=True))
    scores = again.scores()
    assert scores[["stage", "task"]].iloc[-1].tolist() == ["fusion", "M"]
    assert scores["n"].max() == 12
    assert 0 < scores["MAE"].min() < 2
    assert "seeds 0, 1" in repr(again)
    assert f"{scores['MAE'].iloc[-1]:.3f}" in again._repr_html_()
    assert again.scores("train")["n"].max() == 36


def test_a_run_a_path_a_model_and_a_saved_model_predict_the_same(run: TrainedRun, folder: Path, tmp_path: Path) -> None:
    scores = fmltk.predict(run, fmltk.read_features(folder))
    assert scores["score_M"].isna().sum() == 1
    assert "audio missing" in scores["reason"].dropna().item()
    model = run.model()
    model.save_pretrained(tmp_path / "saved")
    for same in (str(run.path), model, tmp_path / "saved", fmltk.FmlMSN.from_run(run)):
        pd.testing.assert_frame_equal(fmltk.predict(same, str(folder)), scores)


def test_a_model_says_in_three_lines_what_it_is(run: TrainedRun, tmp_path: Path) -> None:
    model = run.model()
    assert isinstance(model, FmlMSN)
    what, reads, learned = repr(model).splitlines()
    assert what == "FmlMSN: stages AV, AT, VT, fusion; scores M, T, A, V, AT, VT, AV on -1..1"
    inputs = "text of 12 features x 8 steps, audio of 8 features x 8 steps, vision of 10 features x 8 steps"
    assert reads.strip() == f"reads {inputs}"
    n_weights = sum(p.numel() for stage in model.stages.values() for p in stage.net.parameters())
    assert learned.strip() == f"{n_weights:,} weights; clips: 36 train, 12 valid, 12 test"
    model.save_pretrained(tmp_path)
    assert repr(load_model(tmp_path)) == repr(model)
    assert repr(TrainedModel.from_pretrained(tmp_path)).startswith("TrainedModel fmlmsn: ")


def test_what_a_config_cannot_be_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'chsims' is neither a preset nor a file; the nearest is 'ch-sims'"):
        fmltk.train(folder, None, tmp_path / "run", config="chsims")
    with pytest.raises(ConfigError, match="fmlmsn has no setting 'learning_rate'"):
        fmltk.train(folder, None, tmp_path / "run", config={"learning_rate": 1})
    with pytest.raises(ConfigError, match=r"no-such\.toml"):
        fmltk.train(folder, None, tmp_path / "run", config=tmp_path / "no-such.toml")
    assert not (tmp_path / "run").exists()
