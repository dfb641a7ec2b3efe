"""The paper's tables 4 to 11 of one data set, from scored systems and their run folders."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.benchmark.analysis import best_by_metric
from fmltk.model.benchmark.entries import MAIN, MULTIMODAL_LABELS, REFERENCES, SAVED_HIDDEN
from fmltk.model.benchmark.published import published_figures, published_table
from fmltk.model.evaluation import evaluation_rows, format_score, spread_note
from fmltk.model.metrics import metric_names
from fmltk.model.significance import p_text
from fmltk.toolkit.table_files import ResultTable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.model.benchmark.analysis import Against, Scored
    from fmltk.model.metrics import Family


@dataclass(frozen=True)
class Results:
    """The results of a benchmark.

    scored : the systems, the first of them the one that the others are tested against; the references come last
    costs : by system, seconds_per_epoch, cpu_s, peak_mb, n_weights, as far as they are known
    runs : by system, its run folders: one, or one per fold
    left_out : by name, why a system has no result; collapsed : by name, what is constant
    n_labelled : clips with a label, of which n_clips are predicted by all
    """

    scored: Sequence[Scored]
    tests: Sequence[Against]
    costs: Mapping[str, Mapping[str, float]]
    runs: Mapping[str, Sequence[Path]]
    left_out: Mapping[str, str]
    collapsed: Mapping[str, Sequence[str]]
    family: Family
    preset: str
    split: str
    n_clips: int
    n_labelled: int


def result_tables(results: Results, *, with_published: bool) -> list[ResultTable]:
    """Return every table that the data and the systems allow, the comparison of all systems first."""
    tables = [_systems(results), _intervals(results)]
    if results.tests:
        tables.append(_tests(results))
    if with_published:
        tables.append(_published(results))
    for key, title, names in (
        ("labels", "FmlMSN with and without fine-grained labels (the paper's table 6)", (MAIN, MULTIMODAL_LABELS)),
        ("saved-hidden", "Two-step training and training on saved H (table 9)", (MAIN, SAVED_HIDDEN)),
    ):
        if all(_named(results, name) for name in names):
            tables.append(_some(results, key, title, names))
    tables += [_tasks(results, name) for name in (MAIN, MULTIMODAL_LABELS) if len(results.runs.get(name, ())) == 1]
    tables.append(_costs(results))
    if results.left_out or results.collapsed:
        tables.append(_remarks(results))
    return tables


def _named(results: Results, name: str) -> list[Scored]:
    return [one for one in results.scored if one.system.name == name]


def _cells(one: Scored, metrics: Sequence[str]) -> list[str]:
    return [format_score(metric, one.mean(metric), one.deviation(metric)) for metric in metrics]


def _label(one: Scored) -> str:
    name, model = one.system.name, one.system.model
    return model if model.startswith(f"{name} (") else name  # such as lmf (published)


def _is_reference(one: Scored) -> bool:
    return one.system.name.split()[0] in REFERENCES


def _n_seeds(one: Scored) -> str:
    return "" if _is_reference(one) else str(len(one.system.seeds))


def _clips(results: Results) -> str:
    left = results.n_labelled - results.n_clips
    others = f"; {left} other labelled clips are not predicted by every system" if left else ""
    return f"{results.n_clips} {results.split} clips that every system predicts{others}."


def _systems(results: Results) -> ResultTable:
    metrics = metric_names(results.family)
    best = best_by_metric(results.scored, results.family)
    rows = [[_label(one), _n_seeds(one), *_cells(one, metrics)] for one in results.scored]
    bold = {(row, 2 + list(metrics).index(metric)) for metric, row in best.items()}
    first = results.scored[0].system.name
    if results.tests:
        rows.append([f"t-test of {first}", "", *(p_text(_largest(results, metric)) for metric in metrics)])
    note = (
        f"{spread_note(metrics)} The best is marked where its 95 % bootstrap interval over clips and every other's "
        f"part. {_clips(results)}"
    )
    if results.tests:
        note += (
            f" Last row: p of the paired t-test over seeds of {first} against each other trained system but its own "
            "variants, after Holm's correction; the largest of them."
        )
    return ResultTable(
        "systems", "Systems compared (the paper's tables 4, 5, 10 and 11)", *_columns(metrics, rows), bold, note
    )


def _columns(metrics: Sequence[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    return ["system", "seeds", *metrics], rows


def _largest(results: Results, metric: str) -> float:
    """Return the largest p of the first system against the others, its own variants apart where there are others."""
    model = {one.system.name: one.system.model for one in results.scored}
    first = results.scored[0].system.model
    others = [test for test in results.tests if model[test.name] != first] or results.tests
    return max((test.holm[metric] for test in others if np.isfinite(test.holm[metric])), default=float("nan"))


def _intervals(results: Results) -> ResultTable:
    metrics = metric_names(results.family)
    rows = [[_label(one), *(_interval(m, one.low[m], one.high[m]) for m in metrics)] for one in results.scored]
    note = f"95 % bootstrap intervals over clips of the mean over the seeds. {_clips(results)}"
    return ResultTable("intervals", "Intervals over clips", ["system", *metrics], rows, note=note)


def _interval(metric: str, low: float, high: float) -> str:
    return f"{format_score(metric, low)} to {format_score(metric, high)}" if np.isfinite(low) else "–"


def _tests(results: Results) -> ResultTable:
    first = results.scored[0].system.name
    rows = [
        [test.name, metric, _signed(metric, test.difference[metric]), p_text(test.p[metric]), p_text(test.holm[metric])]
        for test in results.tests
        for metric in metric_names(results.family)
    ]
    columns = ["system", "metric", f"{first} minus it", "p", "p after Holm"]
    note = "Paired t-tests over the common seeds; Holm's correction over the systems of one metric."
    return ResultTable("tests", f"{first} against each other system", columns, rows, note=note)


def _signed(metric: str, difference: float) -> str:
    text = format_score(metric, difference)
    return text if text.startswith(("-", "nan")) else f"+{text}"


def _published(results: Results) -> ResultTable:
    figures = published_figures(results.preset)
    number = published_table(results.preset)
    metrics = [m for m in metric_names(results.family) if any(m in row for row in figures.values())]
    rows = []
    for one in results.scored:
        own = figures.get(one.system.name, {})
        rows.append(
            [_label(one), *(cell for m in metrics for cell in (_cells(one, [m])[0], _as_printed(m, own.get(m))))]
        )
    measured = {one.system.name for one in results.scored}
    for name, own in figures.items():
        if name not in measured:
            rows.append([name, *(cell for m in metrics for cell in ("", _as_printed(m, own.get(m))))])
    columns = ["system", *(name for m in metrics for name in (m, f"{m} (paper)"))]
    note = (
        f"Columns (paper): the figures printed in the paper's table {number}, of its own features and splits; they "
        "were not measured here and are not comparable where your data differs."
    )
    return ResultTable("published", f"Measured here, and the paper's table {number}", columns, rows, note=note)


def _as_printed(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.2f}" if metric.startswith(("Acc", "F1")) else f"{value:.3f}"


def _some(results: Results, key: str, title: str, names: Sequence[str]) -> ResultTable:
    metrics = metric_names(results.family)
    rows = []
    for name in names:
        (one,) = _named(results, name)
        rows.append([_label(one), *_cells(one, metrics), _seconds(results.costs.get(name, {}))])
    return ResultTable(key, title, ["system", *metrics, "s/epoch"], rows, note=_clips(results))


def _tasks(results: Results, name: str) -> ResultTable:
    columns, rows, _ = evaluation_rows(results.runs[name][0], results.split)
    number = 8 if name == MULTIMODAL_LABELS else 7
    note = "Each task on the clips that it predicts; M on all of them, so that it may differ from the comparison above."
    return ResultTable(f"tasks-{name}", f"Every task of {name} (the paper's table {number})", columns, rows, note=note)


def _seconds(cost: Mapping[str, float]) -> str:
    value = cost.get("seconds_per_epoch")
    return "" if value is None else f"{value:.3f}"


def _costs(results: Results) -> ResultTable:
    rows = []
    for one in results.scored:
        if _is_reference(one):
            continue
        cost = results.costs.get(one.system.name, {})
        weights, cpu, peak = (cost.get(key) for key in ("n_weights", "cpu_s", "peak_mb"))
        rows.append(
            [
                _label(one),
                "" if weights is None else f"{weights:,.0f}",
                _seconds(cost),
                "" if cpu is None else f"{cpu:,.0f}",
                "" if peak is None else f"{peak:,.0f}",
            ]
        )
    columns = ["system", "weights", "s/epoch", "CPU-s", "MB"]
    note = (
        "s/epoch: seconds of one epoch of every stage, validation included, in one thread. CPU-s: of all seeds, "
        "reading included. MB: the largest memory of the process that trained it."
    )
    return ResultTable("costs", "What each costs", columns, rows, note=note)


def _remarks(results: Results) -> ResultTable:
    rows = [[name, reason] for name, reason in results.left_out.items()]
    rows += [[name, f"constant predictions: {', '.join(what)}"] for name, what in results.collapsed.items()]
    return ResultTable("remarks", "Systems without a result, or with constant predictions", ["system", "why"], rows)


def as_document(results: Results, *, with_published: bool) -> dict[str, Any]:
    """Return the results and their tables as JSON holds them."""
    tables = result_tables(results, with_published=with_published)
    return {
        "tables": [{**asdict(table), "bold": sorted(map(list, table.bold))} for table in tables],
        "split": results.split,
        "family": results.family,
        "preset": results.preset,
        "n_clips": results.n_clips,
        "n_labelled": results.n_labelled,
        "systems": [
            {
                "name": one.system.name,
                "model": one.system.model,
                "seeds": list(one.system.seeds),
                "metrics": {
                    m: {
                        "mean": one.mean(m),
                        "std": one.deviation(m),
                        "low": one.low[m],
                        "high": one.high[m],
                        "values": one.scores[m].tolist(),
                    }
                    for m in metric_names(results.family)
                },
                **results.costs.get(one.system.name, {}),
            }
            for one in results.scored
        ],
        "tests": [
            {"a": results.scored[0].system.name, "b": t.name, "difference": t.difference, "p": t.p, "holm": t.holm}
            for t in results.tests
        ],
        "left_out": dict(results.left_out),
        "collapsed": {name: list(what) for name, what in results.collapsed.items()},
    }
