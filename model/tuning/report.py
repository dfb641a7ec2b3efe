"""The part of a report on a search: every trial's error, what matters, and the best settings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.tuning.result_file import RESULT_FILE, read_tuning
from fmltk.toolkit.report import charts
from fmltk.toolkit.report.document import (
    SPOILS,
    Contribution,
    Finding,
    Heading,
    Remark,
    Section,
    Source,
    Table,
    Tile,
    contribute,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.toolkit.report.document import Block, ReportRequest

TUNING_ORDER = 46


def tuning_sections(request: ReportRequest) -> Contribution:
    """Return a section on every search among the paths."""
    return contribute(request, lambda path: (path / RESULT_FILE).is_file(), _contribution)


def _contribution(path: Path) -> Contribution:
    document = read_tuning(path)
    remarks = [Remark(text, "bad") for text in document["remarks"]]
    facts = {"model": document["model"], "trials": str(len(document["trials"]))}
    return Contribution(
        sources=[Source(path, "search for settings", path / RESULT_FILE, facts)],
        findings=[Finding(f"{path.name}: {remark.text}", SPOILS, remark) for remark in remarks],
        sections=[_section(path, document, remarks)],
    )


def _section(path: Path, document: Mapping[str, Any], remarks: Sequence[Remark]) -> Section:
    trials = document["trials"]
    complete = [trial for trial in trials if trial["value"] is not None]
    best = next(trial for trial in trials if trial["number"] == document["best"])
    blocks: list[Block] = [
        Tile("trials", str(len(trials))),
        Tile("complete", str(len(complete))),
        Tile("validation MAE", f"{best['value']:.4f}"),
        *remarks,
        Table("The best settings", ("setting", "value"), [(name, str(one)) for name, one in best["settings"].items()]),
    ]
    numbers = np.array([trial["number"] for trial in complete])
    values = np.array([trial["value"] for trial in complete], float)
    series = [
        charts.Line("trial", numbers, values, dashed=True),
        charts.Line("best so far", numbers, np.minimum.accumulate(values), colour=1),
    ]
    blocks += [
        Heading("How the search went"),
        charts.lines(
            "Validation error by trial",
            series,
            x_label="trial",
            y_label="mean absolute error",
            reading="Lower is better. If the solid line has long been flat, more trials are unlikely to find better.",
        ),
    ]
    importances = [charts.Row(name, float(share), 0.0, float(share)) for name, share in document["importances"].items()]
    if importances:
        blocks.append(
            charts.intervals(
                "Effect of the settings",
                importances,
                unit="share of the differences between trials, 0 to 1",
                limits=(0, 1),
                reading="How much of the differences between the complete trials each setting explains (PED-ANOVA); "
                "what is near 0 hardly matters.",
            )
        )
    rows = [
        (trial["number"], trial["state"], "" if trial["value"] is None else f"{trial['value']:.4f}",
         ", ".join(f"{name} {value}" for name, value in trial["settings"].items()))
        for trial in trials
    ]  # fmt: skip
    blocks.append(Table("Every trial", ("trial", "state", "validation MAE", "settings"), rows, folded=True))
    return Section(f"Search: {path.name}, {document['model']}", TUNING_ORDER, blocks)
