"""The paper's table 2 and figure 2 of a set of labels, as tables for papers and spreadsheets and as drawings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmltk.annotation.summary import NUMBER_FIGURES
from fmltk.toolkit.table_files import ResultTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fmltk.toolkit.report.document import Chart


@dataclass(frozen=True)
class Figure:
    """A table, and the same as a drawing where it has one; the table's key is the name of their files."""

    table: ResultTable
    chart: Chart | None = None


def figures_of(summary: Mapping[str, Any]) -> Iterator[Figure]:
    """Yield table 2 (clips per class) and figure 2 (the same per split) of each set of classes, then the numbers.

    summary : what `summarise_labels` returns

    Conditions of one set of classes are in one table; a second set has files of its own, called table2-2 and figure2-2.
    """
    by_names: dict[tuple[str, ...], list[str]] = {}
    for condition, counts in summary["classes"].items():
        if counts:
            by_names.setdefault(tuple(counts), []).append(condition)
    for number, (names, conditions) in enumerate(by_names.items(), start=1):
        ending = "" if number == 1 else f"-{number}"
        yield _table_2(f"table2{ending}", summary, names, conditions)
        if any(part != "none" for part in summary["by_split"]):
            yield _figure_2(f"figure2{ending}", summary["by_split"], names, conditions)
    if summary["numbers"]:
        rows = [
            [condition, summary["scales"][condition], *map(_number, own.values()), str(summary["null"][condition])]
            for condition, own in summary["numbers"].items()
        ]
        columns = ["Condition", "Scale", *NUMBER_FIGURES, "no label"]
        yield Figure(ResultTable("numbers", "Labels on scales without classes", columns, rows))


def _table_2(key: str, summary: Mapping[str, Any], names: Sequence[str], conditions: Sequence[str]) -> Figure:
    from fmltk.toolkit.report import charts

    counts = {condition: summary["classes"][condition] for condition in conditions}
    rows = [
        [condition, *(str(own[name]) for name in names), str(summary["null"][condition])]
        for condition, own in counts.items()
    ]
    title = "Clips per class and condition"
    table = ResultTable(key, title, ["Condition", *names, "no label"], rows)
    return Figure(table, charts.stacked_shares(title, counts))


def _figure_2(
    key: str, by_split: Mapping[str, Mapping[str, Mapping[str, int]]], names: Sequence[str], conditions: Sequence[str]
) -> Figure:
    from fmltk.toolkit.report import charts

    counts = {(part, condition): own[condition] for part, own in by_split.items() for condition in conditions}
    rows = [[part, condition, *(str(own[name]) for name in names)] for (part, condition), own in counts.items()]
    title = "Clips per class and condition in each split"
    table = ResultTable(key, title, ["Split", "Condition", *names], rows)
    drawn = {f"{part} {condition}": own for (part, condition), own in counts.items()}
    return Figure(table, charts.stacked_shares(title, drawn))


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
