"""What a report shows of runs."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.model.evaluation import evaluation_rows
from fmltk.model.report import run_sections
from fmltk.model.run_folder import best_seed, read_predictions
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.report.document import ReportRequest

if TYPE_CHECKING:
    from pathlib import Path


def contribution(*paths: Path) -> Any:
    return run_sections(ReportRequest(paths, Reporter(quiet=True)))


@pytest.fixture(scope="module")
def shown(features: Path, run: Path) -> Any:
    """What a report of a features folder and a run shows of the run: its charts take seconds to draw."""
    return contribution(features, run)


def blocks(section: Any, kind: str) -> dict[str, Any]:
    return {block.title: block for block in section.blocks if block.kind == kind}


def test_the_scores_are_those_of_evaluate(run: Path, shown: Any) -> None:
    (section,) = shown.sections
    table = blocks(section, "table")["Scores on the test split (the paper's tables 7 and 8)"]
    columns, rows, _ = evaluation_rows(run, "test")
    assert (table.columns, table.rows) == (columns, rows)
    seeds = blocks(section, "table")["M by seed"].rows
    metrics = [json.loads((run / f"seed_{seed}" / "metrics.json").read_text()) for seed in (0, 1)]
    wanted = [one["tasks"]["fusion_M"]["splits"]["test"]["metrics"]["MAE"] for one in metrics]
    assert [float(row[6]) for row in seeds] == pytest.approx(wanted, abs=5e-4)


def test_every_stage_has_its_learning_curve_of_every_seed(shown: Any) -> None:
    (section,) = shown.sections
    curves = [chart for title, chart in blocks(section, "chart").items() if title.startswith("Learning: stage")]
    assert len(curves) == 4
    assert all("validation, seed 0" in chart.svg and "validation, seed 1" in chart.svg for chart in curves)


def test_the_confusions_count_the_clips_of_the_best_seed(run: Path, shown: Any) -> None:
    (section,) = shown.sections
    frame = read_predictions(run, best_seed(run))
    part = frame[(frame["split"] == "test") & frame["truth_M"].notna() & frame["pred_M"].notna()]
    true, predicted = part["truth_M"].to_numpy(float), part["pred_M"].to_numpy(float)
    both = int(np.sum((true <= -0.7 - 1e-9) & (predicted <= -0.7)))
    chart = blocks(section, "chart")["M: true class against predicted class"]
    cells = dict(cell.split(": ") for cell in chart.description.rstrip(".").split(". ")[1].split("; "))
    assert int(cells.get("NG, NG", 0)) == both
    assert sum(map(int, cells.values())) == len(part)
    scatter = [chart for title, chart in blocks(section, "chart").items() if title.startswith("M: truth against")]
    wrong = int(np.sum((true > 0) != (predicted > 0)))
    assert scatter[0].description.endswith(f"{len(part)} clips, {wrong} with the wrong sign.")


def test_clips_become_cases_that_name_what_is_wrong(run: Path, shown: Any) -> None:
    frame = read_predictions(run, best_seed(run))
    cases = {case.utterance_id: case for case in shown.cases}
    assert len(cases) == len(frame) == 240
    for row in frame.to_dict("records"):
        case = cases[row["utterance_id"]]
        if np.isfinite(row["pred_M"] if row["pred_M"] is not None else np.nan):
            assert case.predictions["M"] == row["pred_M"]
            assert ("M" in case.wrong) == ((row["truth_M"] > 0) != (row["pred_M"] > 0))
        else:
            assert "M" not in case.predictions
            assert case.reason


def test_two_runs_are_compared_on_the_same_clips(run: Path, tmp_path: Path) -> None:
    other = tmp_path / "second"
    shutil.copytree(run, other)
    found = contribution(run, other)
    assert [section.title for section in found.sections] == ["Run: first", "Run: second", "Runs compared"]
    scores, tests = blocks(found.sections[-1], "table").values()
    assert scores.rows[0][1:-1] == scores.rows[1][1:-1]
    assert {row[3] for row in tests.rows} <= {"+0.0000", "–"}


def test_what_is_no_run_is_left_to_others(features: Path, run: Path, shown: Any) -> None:
    assert contribution(features, features / "labels.parquet").used == []
    assert shown.used == [run]
