"""How M's classes fare, and whether its intensities can be taken at their word."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import stats
from sklearn.metrics import classification_report, confusion_matrix

from fmltk.model import commands
from fmltk.model.calibration import calibration, calibration_blocks, describe_calibration
from fmltk.model.evaluation import confusion_of_m, evaluation_rows, pairs_of_m
from fmltk.model.run_folder import read_predictions
from fmltk.toolkit.classes import BINS, SEVEN, classes_of_values
from fmltk.toolkit.conditions import CH_SIMS_SCALE, MOSI_SCALE, Scale

if TYPE_CHECKING:
    from pathlib import Path


def invoke(*arguments: object) -> Any:
    return CliRunner().invoke(commands.evaluate, [str(argument) for argument in arguments])


def predicted_run(folder: Path, scale: Scale, pairs: list[tuple[Any, Any]]) -> Path:
    """A run of one seed that says these (truth, prediction) of its test clips; no more than is read here."""
    (folder / "seed_0").mkdir(parents=True)
    document = {"scale": str(scale), "family": "mosi", "splits": {}, "label_sources": {}, "device": "cpu", "torch": ""}
    document |= {"reuse": None, "schema": {}, "fingerprint": ""}
    (folder / "training.json").write_text(json.dumps(document))
    (folder / "seed_0" / "metrics.json").write_text("{}")
    truth, predicted = zip(*pairs, strict=True)
    frame = pd.DataFrame({"split": "test", "truth_M": truth, "pred_M": predicted})
    frame.to_parquet(folder / "seed_0" / "predictions.parquet")
    return folder


def test_the_classes_of_a_run_are_scikit_learns(run: Path) -> None:
    document = json.loads(invoke(run, "--classes", "--json").stdout)
    frames = [read_predictions(run, seed) for seed in (0, 1)]
    both = pd.concat([frame[(frame["split"] == "test") & frame["pred_M"].notna()] for frame in frames])
    truth, predicted = (classes_of_values(both[name], CH_SIMS_SCALE).astype(str) for name in ("truth_M", "pred_M"))
    report = classification_report(truth, predicted, labels=BINS, output_dict=True, zero_division=np.nan)
    for row in document["classes"]:
        wanted = report[row["class"]]
        assert row["n"] == wanted["support"]
        for name, key in (("precision", "precision"), ("recall", "recall"), ("F1", "f1-score")):
            assert (np.nan if row[name] is None else row[name]) == pytest.approx(wanted[key], nan_ok=True), row
    assert document["confusion"] == confusion_matrix(truth, predicted, labels=BINS).tolist()
    accuracy = np.trace(document["confusion"]) / len(both)
    assert accuracy == pytest.approx(document["tasks"]["fusion_M"]["metrics"]["Acc-5"]["mean"])


@pytest.mark.parametrize(
    ("scale", "names"), [(MOSI_SCALE, SEVEN), (CH_SIMS_SCALE, BINS), (Scale.nominal(["a", "b"]), ("a", "b"))]
)
def test_every_scale_with_classes_has_a_confusion(tmp_path: Path, scale: Scale, names: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    draw = [(n, n) for n in names] if scale.names else rng.uniform(scale.low - 1, scale.high + 1, (40, 2)).tolist()
    missing = None if scale.names else float("nan")
    run = predicted_run(tmp_path, scale, [*draw, (missing, draw[0][1]), (draw[0][0], missing)])
    found, confusion = confusion_of_m(run, "test")
    assert found == names
    of_class = draw if scale.names else [classes_of_values(pair, scale) for pair in draw]
    truth, predicted = zip(*of_class, strict=True)
    assert confusion == confusion_matrix(list(truth), list(predicted), labels=names).tolist()


@pytest.mark.parametrize("seed", range(3))
def test_calibration_by_hand(seed: int) -> None:
    rng = np.random.default_rng(seed)
    predicted = rng.permutation(np.linspace(-1, 1, 40 + seed))
    truth = 1.5 * predicted - 0.2 + rng.normal(0, 0.1, len(predicted))
    found = calibration(predicted, truth)
    line = stats.linregress(predicted, truth)
    assert (found["slope"], found["offset"]) == pytest.approx((line.slope, line.intercept))
    assert sum(group["n"] for group in found["groups"]) == found["n"] == 40 + seed
    assert {group["n"] for group in found["groups"]} <= {4, 5}
    assert len(found["groups"]) == 10
    order = np.sort(predicted)
    first = found["groups"][0]["n"]
    assert found["groups"][0]["prediction"] == pytest.approx(order[:first].mean())
    assert found["groups"][0]["truth"] == pytest.approx(truth[predicted <= order[first - 1]].mean())


@pytest.mark.parametrize(
    ("predicted", "n_groups", "words"),
    [
        ([0.3] * 12, 1, "all predictions are the same"),
        ([], 0, "all predictions are the same"),
        ([0.1, 0.2, 0.3], 3, "truth = 1.00 x prediction + 0.00"),
        ([0.1, 0.2] * 10, 2, "truth = 1.00 x prediction + 0.00"),
    ],
)
def test_few_or_equal_predictions_have_fewer_groups(predicted: list[float], n_groups: int, words: str) -> None:
    found = calibration(np.array(predicted, float), np.array(predicted, float))
    assert len(found["groups"]) == n_groups
    assert describe_calibration(found) == words


def test_the_chart_says_the_groups(run: Path) -> None:
    found = calibration(*pairs_of_m(run, "test"))
    (chart,) = calibration_blocks(run, "test", CH_SIMS_SCALE)
    assert describe_calibration(found) in chart.title
    for group in found["groups"]:
        assert f"{group['prediction']:.2f}, {group['truth']:.2f}" in chart.description


def test_the_command_prints_and_writes_the_classes(run: Path, tmp_path: Path) -> None:
    result = invoke(run, "--classes", "--csv", tmp_path / "c.csv", "--latex", tmp_path / "c.tex")
    assert result.exit_code == 0, result.output
    for title in ("Classes of M", "Confusion of M", "Calibration of M", evaluation_rows(run, "test")[0][0]):
        assert title in result.stdout
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["class", *BINS]
    assert "\\toprule" in (tmp_path / "c.tex").read_text()
    assert "Classes of M" not in invoke(run).stdout
    refused = invoke(run, "--classes", "--drop", "A")
    assert refused.exit_code == 2
    assert "--classes is about the predictions as they are" in refused.output


def test_a_scale_without_classes_has_its_calibration_alone(tmp_path: Path) -> None:
    run = predicted_run(tmp_path, Scale.parse("0..100:continuous"), [(20.0, 10.0), (60.0, 50.0), (90.0, 80.0)])
    assert confusion_of_m(run, "test") == ((), [])
    assert calibration(*pairs_of_m(run, "test"))["slope"] == pytest.approx(1.0)
