"""What a report shows of a benchmark: its tables, accuracy against cost, and every seed's score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.benchmark.result_file import RESULT_FILE, read_results
from fmltk.toolkit.report import charts
from fmltk.toolkit.report.document import Contribution, Section, Table
from fmltk.toolkit.table_files import ResultTable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fmltk.toolkit.report.document import Block, Chart, ReportRequest

BENCHMARK_ORDER = 45
OPEN_TABLES = ("systems", "published", "remarks")  # the others are folded
PLOTTED = {"ch-sims": "Acc-2", "mosi": "Acc-2 Non0"}  # next to MAE


def benchmark_sections(request: ReportRequest) -> Contribution:
    """Return a section on every benchmark among the paths."""
    contribution = Contribution()
    for path in request.paths:
        if (path / RESULT_FILE).is_file():
            contribution.used.append(path)
            contribution.sections.append(_section(path))
    return contribution


def _section(path: Path) -> Section:
    document = read_results(path)
    tables = [_report_table(table) for table in document["tables"]]
    return Section(f"Benchmark: {path.name}", BENCHMARK_ORDER, [*tables[:1], *_charts(document), *tables[1:]])


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
            what = "95 % bootstrap intervals over clips"
            blocks.append(charts.dots(f"{metric} by seed", rows, unit=metric, describe=what, dot="a seed"))
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
    return charts.named_points(
        "Error against cost", points, x_label="seconds per epoch, one thread", y_label="mean absolute error"
    )
