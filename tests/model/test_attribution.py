"""What each modality adds to the prediction of M of single clips."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.model.attribution import clip_attributions, read_attribution, write_attribution
from fmltk.model.config import load_config
from fmltk.model.options import RunOptions
from fmltk.model.predict import TrainedModel
from fmltk.model.report import run_sections
from fmltk.model.run import train
from fmltk.model.run_folder import best_seed, read_predictions
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import ConfigError, StoreError
from fmltk.toolkit.report.cases import case_document, merge_cases
from fmltk.toolkit.report.document import ReportRequest
from tests.model.folders import planted, write_clips
from tests.program import fmltk_here

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def linear(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(features, run): late fusion of 60 clips, one without sound."""
    clips = planted(60)
    clips.sequences["A"][0] = None
    features = write_clips(clips, tmp_path_factory.mktemp("clips") / "features")
    out = tmp_path_factory.mktemp("runs") / "run"
    config = load_config(settings=["model=late-fusion", "max_epochs=10", "lr=0.01"])
    train(features, out=out, config=config, options=RunOptions(seeds=(0, 1), jobs=0))
    return features, out


@pytest.mark.parametrize("letter", ["T", "A", "V"])
def test_a_share_is_what_the_prediction_loses_without_the_modality(linear: tuple[Path, Path], letter: str) -> None:
    """By hand: the modality of every clip is written over with the training mean, and the folder predicted again."""
    features, run = linear
    shares = clip_attributions(run, seed=1, split="test")
    saved = read_predictions(run, 1).set_index("utterance_id")
    model = TrainedModel.from_run(run, seed=1)
    clips = model.read(features)
    is_train = (saved["split"].reindex(clips.utterance_ids) == "train").to_numpy()
    if letter == "T":
        assert clips.text is not None
        mean = clips.text.steps[np.repeat(is_train, clips.text.lengths)].mean(axis=0)
        clips.text.steps[:] = mean
        clips.text.offsets[:] = np.arange(len(clips.text.offsets))
    else:
        own = clips.means[letter]
        own[np.isfinite(own).all(axis=1)] = np.nanmean(own[is_train], axis=0)
    (predicted,) = model.predict_features(clips).values()
    without = dict(zip(clips.utterance_ids, predicted, strict=True))
    assert sorted(shares) == sorted(saved.index[saved["split"] == "test"])
    for clip, found in shares.items():
        wanted = saved.loc[clip, "pred_M"] - without[clip]
        assert found[letter] == pytest.approx(wanted, abs=1e-5, nan_ok=True)
    assert np.nanstd([found[letter] for found in shares.values()]) > 1e-3


def test_the_modality_that_a_label_follows_adds_the_most(linear: tuple[Path, Path]) -> None:
    shares = clip_attributions(linear[1], seed=0, split="train")
    frame = read_predictions(linear[1], 0).set_index("utterance_id")
    for letter in "TAV":
        own = [(found[letter], frame.loc[clip, f"truth_{letter}"]) for clip, found in shares.items()]
        added, truth = np.array([pair for pair in own if np.isfinite(pair).all()]).T
        assert np.corrcoef(added, truth)[0, 1] > 0.5


def test_the_command_adds_columns_and_the_report_shows_the_best_seeds(
    linear: tuple[Path, Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(linear[1], run)
    done = fmltk_here("cases", run, "--attribution", "-n", 100)
    assert done.returncode == 0, done.stderr
    assert "T adds" in done.stdout
    document = json.loads(fmltk_here("cases", run, "--attribution", "-n", 100, "--json").stdout)
    kept = read_attribution(run)
    assert kept is not None
    assert {case["utterance_id"]: case["attribution"] for case in document} == kept["clips"]
    shown = {
        case.utterance_id: case_document(case, None)
        for case in merge_cases(run_sections(ReportRequest([run], Reporter(quiet=True))).cases)
    }
    for clip, own in kept["clips"].items():
        assert shown[clip].get("adds", {}) == {k: round(v, 3) for k, v in own.items() if v is not None}
    other = 1 - best_seed(run)
    write_attribution(run, seed=other, split="test")
    assert not any(case.shares for case in run_sections(ReportRequest([run], Reporter(quiet=True))).cases)


@pytest.mark.parametrize(
    ("change", "words"),
    [("values", "is not what the run was trained on"), ("fewer", "lacks 20 of the run's 60 clips"), ("gone", "gone")],
)
def test_features_of_another_run_are_refused(
    linear: tuple[Path, Path], tmp_path: Path, change: str, words: str
) -> None:
    other = tmp_path / "gone"
    if change != "gone":
        write_clips(planted(60, seed=3) if change == "values" else planted(40), other)
    done = fmltk_here("cases", linear[1], "--attribution", "--features", other)
    assert done.returncode == 1
    assert words in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("text", ["{", '{"seed": "x", "clips": {}}', '{"seed": 0, "clips": {"a": {"T": "much"}}}'])
def test_a_damaged_file_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "attribution.json").write_text(text)
    with pytest.raises(StoreError, match=r"attribution\.json.*run the same `fmltk cases --attribution` again"):
        read_attribution(tmp_path)


def test_a_device_that_is_not_there_is_said_first(linear: tuple[Path, Path]) -> None:
    with pytest.raises(ConfigError, match="meta"):
        clip_attributions(linear[1], seed=0, split="test", device="meta")
