"""What a trained model does where a modality is missing or noisy, and tables in the formats of papers."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.model.config import load_config
from fmltk.model.data import Ragged, read_clip_features
from fmltk.model.options import RunOptions
from fmltk.model.predict import TrainedModel
from fmltk.model.robustness import Disturbance, _disturb_steps, disturbances, disturbed, robustness_table
from fmltk.model.run import train
from fmltk.toolkit.errors import ConfigError
from tests.model.folders import planted, write_clips
from tests.program import fmltk_here

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(planted(120), tmp_path_factory.mktemp("clips") / "features")


@pytest.fixture(scope="module")
def run(features: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    config = load_config(settings=["model=late-fusion", "max_epochs=15", "lr=0.01"])
    train(features, out=out, config=config, options=RunOptions(seeds=(0, 1), jobs=0))
    return out


def test_the_first_row_is_what_evaluate_says(run: Path) -> None:
    table, document = robustness_table(run, drops=["A", "V,T"], noises=[1.0], split="test")
    done = fmltk_here("evaluate", run, "--json")
    own = list(json.loads(done.stdout)["tasks"].values())[-1]
    assert document["rows"][0]["metrics"]["MAE"] == pytest.approx(own["metrics"]["MAE"]["values"], abs=1e-6)
    assert [row[0] for row in table.rows] == [
        *("as it is", "without audio", "without text and vision"),
        *(f"{name} with noise of 1 sd" for name in ("text", "audio", "vision")),
    ]
    errors = [float(np.mean(row["metrics"]["MAE"])) for row in document["rows"]]
    assert errors[0] < errors[1] < errors[2]  # each modality carries a signal of its own


def test_a_missing_modality_is_the_training_mean(run: Path, features: Path) -> None:
    """By hand: every clip's audio is the mean of the training clips', and the model reads that."""
    model = TrainedModel.from_run(run, seed=0)
    clips = model.read(features)
    is_train = np.arange(len(clips.utterance_ids)) % 2 == 0
    changed = disturbed(clips, Disturbance(("A",)), is_train)
    assert changed.means["A"] == pytest.approx(np.tile(clips.means["A"][is_train].mean(axis=0), (120, 1)), abs=1e-6)
    assert changed.means["V"] is clips.means["V"]
    assert changed.text is clips.text
    without_text = disturbed(clips, Disturbance(("T",)), is_train).text
    assert without_text is not None
    assert clips.text is not None
    assert without_text.lengths.tolist() == [1] * 120
    of_train = np.repeat(is_train, clips.text.lengths)
    assert without_text.steps[7] == pytest.approx(clips.text.steps[of_train].mean(axis=0), abs=1e-5)


def test_noise_has_the_size_that_is_asked_for(features: Path) -> None:
    clips = read_clip_features(features)
    is_train = np.ones(120, bool)
    changed = disturbed(clips, Disturbance(("V",), 2.0), is_train).means["V"] - clips.means["V"]
    assert changed.std(axis=0) / clips.means["V"].std(axis=0) == pytest.approx(np.full(10, 2.0), rel=0.25)
    again = disturbed(clips, Disturbance(("V",), 2.0), is_train).means["V"]
    assert np.array_equal(again - clips.means["V"], changed)


def test_a_clip_that_lacks_a_modality_still_lacks_it() -> None:
    steps = Ragged(np.ones((3, 2), np.float32), np.array([0, 2, 2, 3]))
    draw = np.random.default_rng(0)
    changed = _disturb_steps(steps, 0.0, np.ones(3, bool), draw)
    assert changed.lengths.tolist() == [1, 0, 1]
    tokens = Ragged(np.array([[101], [7], [8], [102], [101], [102]], np.int32), np.array([0, 4, 4, 6]))
    assert _disturb_steps(tokens, 0.0, np.ones(3, bool), draw).steps[:, 0].tolist() == [101, 102, 101, 102]
    with pytest.raises(ConfigError, match="token numbers, which have no noise"):
        _disturb_steps(tokens, 0.5, np.ones(3, bool), draw)


@pytest.mark.parametrize(
    ("drops", "words"),
    [(["X"], "'X' is not one of"), (["T,A,V"], "nothing would be left"), (["T"], "does not read text")],
)
def test_what_cannot_be_dropped_is_one_line(drops: list[str], words: str) -> None:
    letters = ["A", "V"] if drops == ["T"] else ["T", "A", "V"]
    with pytest.raises(ConfigError, match=words):
        disturbances(drops, [], letters)


def test_tables_go_to_files_and_the_report_shows_the_last_call(run: Path, tmp_path: Path) -> None:
    done = fmltk_here("evaluate", run, "--drop", "A", "--latex", tmp_path / "t.tex", "--csv", tmp_path / "t.csv")
    assert done.returncode == 0, done.stderr
    with (tmp_path / "t.csv").open(newline="") as file:
        assert [row[0] for row in csv.reader(file)] == ["features", "as it is", "without audio"]
    assert "\\toprule" in (tmp_path / "t.tex").read_text()
    done = fmltk_here("report", run, "-o", tmp_path / "report.html")
    assert done.returncode == 0, done.stderr
    assert "M where features are missing or noisy" in (tmp_path / "report.html").read_text()
    done = fmltk_here("evaluate", run, "--csv", tmp_path / "all.csv")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "all.csv").read_text().startswith("stage,task,labels,n,Acc-2")


def test_features_that_moved_are_named(run: Path, features: Path, tmp_path: Path) -> None:
    document = json.loads((run / "training.json").read_text())
    document["features"] = str(tmp_path / "gone")
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    (moved / "training.json").write_text(json.dumps(document))
    done = fmltk_here("evaluate", moved, "--drop", "A")
    assert done.returncode == 1
    assert "gone" in done.stderr
    assert fmltk_here("evaluate", moved, "--drop", "A", "--features", features).returncode == 0
