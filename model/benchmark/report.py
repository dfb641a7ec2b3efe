"""The part of a report on a benchmark: its tables, accuracy against cost, and every seed's score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.benchmark.result_file import RESULT_FILE, read_results
from fmltk.toolkit.report import charts, planes
from fmltk.toolkit.report.document import (
    CHECK,
    KNOW,
    SPOILS,
    Contribution,
    Finding,
    Heading,
    Section,
    Source,
    Table,
    contribute,
)
from fmltk.toolkit.table_files import ResultTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fmltk.toolkit.report.document import Block, Chart, ReportRequest

BENCHMARK_ORDER = 45
OPEN_TABLES = ("systems", "published", "remarks")  # the others are folded
NAMED = 5  # systems, in a finding
PLOTTED = {"ch-sims": "Acc-2", "mosi": "Acc-2 Non0"}  # next to MAE


def benchmark_sections(request: ReportRequest) -> Contribution:
    """Return a section on every benchmark among the paths."""
    return contribute(request, lambda path: (path / RESULT_FILE).is_file(), _contribution)


def _contribution(path: Path) -> Contribution:
    document = read_results(path)
    tables = [_report_table(table) for table in document["tables"]]
    blocks: list[Block] = [*tables[:1], Heading("Scores, intervals and cost"), *_charts(document), *tables[1:]]
    facts = {name: str(document[name]) for name in ("split", "n_clips", "family", "preset") if document.get(name)}
    return Contribution(
        sources=[Source(path, "benchmark", path / RESULT_FILE, {"systems": str(len(document["systems"])), **facts})],
        findings=_findings(path, document, tables[0]),
        sections=[Section(f"Benchmark: {path.name}", BENCHMARK_ORDER, blocks)],
    )


def _findings(path: Path, document: Mapping[str, Any], table: Table) -> list[Finding]:
    """Return what did not train, and whether the clips tell the best system from the others."""
    found = [
        Finding(f"{path.name}: {name} has no result: {why}.", SPOILS, table)
        for name, why in document["left_out"].items()
    ]
    found += [
        Finding(f"{path.name}: {name} predicts constants, so it learned nothing.", SPOILS, table)
        for name in document["collapsed"]
    ]
    metric = "MAE" if "MAE" in document["systems"][0]["metrics"] else next(iter(document["systems"][0]["metrics"]))
    sign = 1 if metric == "MAE" else -1
    ranked = sorted(
        (system for system in document["systems"] if system["metrics"][metric]["mean"] is not None),
        key=lambda system: sign * system["metrics"][metric]["mean"],
    )
    if len(ranked) < 2:
        return found
    best = ranked[0]["metrics"][metric]
    alike = [one["name"] for one in ranked[1:] if _overlap(best, one["metrics"][metric])]
    text = f"{path.name}: {ranked[0]['name']} has the best {metric}, {best['mean']:.3f}"
    if alike:
        text += f"; the {document['n_clips']} clips do not tell it from {', '.join(alike[:NAMED])}"
        text += f" and {len(alike) - NAMED} more" if len(alike) > NAMED else ""
    return [*found, Finding(f"{text}.", CHECK if alike else KNOW, table)]


def _overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether the intervals of two scores overlap; also where one is not known."""
    ends = [one["low"], one["high"], other["low"], other["high"]]
    return None in ends or (ends[0] <= ends[3] and ends[2] <= ends[1])


def _unit(metric: str) -> str:
    return "mean absolute error" if metric == "MAE" else f"{metric}, 0 to 1"


def _report_table(found: Mapping[str, Any]) -> Table:
    table = ResultTable(**{**found, "bold": {tuple(place) for place in found["bold"]}})
    return Table(
        table.title, table.columns, table.marked_rows(" *"), note=table.note, folded=table.key not in OPEN_TABLES
    )


def _charts(document: Mapping[str, Any]) -> list[Block]:
    systems = document["systems"]
    blocks: list[Block] = []
    for metric in ("MAE", PLOTTED.get(document["family"], "")):
        rows = [_dots(system, metric) for system in systems if metric in system["metrics"]]
        if rows:
            what = "the 95 % bootstrap interval over clips"
            blocks.append(charts.dots(f"{metric} by seed", rows, unit=_unit(metric), interval=what, dot="a seed"))
    cost = _cost_chart(systems)
    return blocks if cost is None else [*blocks, cost]


def _dots(system: Mapping[str, Any], metric: str) -> tuple[str, list[float], float, float]:
    scores = system["metrics"][metric]
    low, high = _numbers([scores["low"], scores["high"]])
    return system["name"], _numbers(scores["values"]), low, high


def _numbers(values: list[float | None]) -> list[float]:
    return [float("nan") if value is None else float(value) for value in values]


def _cost_chart(systems: list[Mapping[str, Any]]) -> Chart | None:
    points = [
        (system["name"], float(system["seconds_per_epoch"]), system["metrics"]["MAE"]["mean"])
        for system in systems
        if system.get("seconds_per_epoch")
    ]
    if len(points) < 2 or not np.isfinite([error for *_, error in points]).all():
        return None
    return planes.named_points(
        "Error against cost", points, x_label="seconds per epoch, one thread", y_label="mean absolute error"
    )
