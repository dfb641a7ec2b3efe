"""What a report shows of a search: every trial's error, what matters, and the best settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.model.tuning.result_file import RESULT_FILE, read_tuning
from fmltk.toolkit.report import charts
from fmltk.toolkit.report.document import Contribution, Remark, Section, Table, Tile

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.toolkit.report.document import Block, ReportRequest

TUNING_ORDER = 46


def tuning_sections(request: ReportRequest) -> Contribution:
    """Return a section on every search among the paths."""
    contribution = Contribution()
    for path in request.paths:
        if (path / RESULT_FILE).is_file():
            contribution.used.append(path)
            contribution.sections.append(_section(path))
    return contribution


def _section(path: Path) -> Section:
    document = read_tuning(path)
    trials = document["trials"]
    complete = [trial for trial in trials if trial["value"] is not None]
    best = next(trial for trial in trials if trial["number"] == document["best"])
    blocks: list[Block] = [
        Tile("trials", str(len(trials))),
        Tile("complete", str(len(complete))),
        Tile("validation MAE", f"{best['value']:.4f}"),
        *(Remark(text, "bad") for text in document["remarks"]),
        Table("The best settings", ("setting", "value"), [(name, str(one)) for name, one in best["settings"].items()]),
    ]
    numbers = np.array([trial["number"] for trial in complete])
    values = np.array([trial["value"] for trial in complete], float)
    series = [
        charts.Line("trial", numbers, values, dashed=True),
        charts.Line("best so far", numbers, np.minimum.accumulate(values), colour=1),
    ]
    blocks.append(charts.lines("Validation error by trial", series, x_label="trial", y_label="mean absolute error"))
    importances = [(name, float(share), 0.0, float(share)) for name, share in document["importances"].items()]
    if importances:
        blocks.append(
            charts.intervals(
                "What the settings explain",
                importances,
                unit="share of the differences between trials",
                describe="PED-ANOVA over the complete trials",
            )
        )
    rows = [
        (trial["number"], trial["state"], "" if trial["value"] is None else f"{trial['value']:.4f}",
         ", ".join(f"{name} {value}" for name, value in trial["settings"].items()))
        for trial in trials
    ]  # fmt: skip
    blocks.append(Table("Every trial", ("trial", "state", "validation MAE", "settings"), rows, folded=True))
    return Section(f"Search: {path.name}, {document['model']}", TUNING_ORDER, blocks)
