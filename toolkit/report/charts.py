"""Charts of distributions, of rows with intervals, and of curves; each says what it shows and how to read it."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.report.svg import CLASSES, SERIES, chart_of, colour, new_figure

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from fmltk.toolkit.report.document import Chart

WIDTH_IN, HEIGHT_IN, WIDE_IN = 3.9, 2.4, 8.8
N_BINS = 24
SMALL_ACROSS, SMALL_HEIGHT_IN = 6, 1.0  # of small histograms next to each other
LONG_NAME = 14  # letters of a legend
FEW_VALUES = 30  # of a histogram: each is a line of its own, too


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a chart: its name, x and y, and whether it is dashed; `colour` counts the series' colours.

    `point` is drawn on the line.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    dashed: bool = False
    colour: int = 0
    point: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A value with its interval; both ends are the value where there is none."""

    name: str
    value: float
    low: float
    high: float


def histogram(
    title: str,
    values: ArrayLike,
    *,
    unit: str,
    reference: tuple[float, str] | None = None,
    what: str = "clips",
    limits: tuple[float, float] | None = None,
) -> Chart:
    """Return how often values fall where; `reference` is a named line; `limits` bound the axis."""
    known = _known(values)
    counts, edges = np.histogram(known, bins=N_BINS, range=limits)
    with new_figure(WIDTH_IN, HEIGHT_IN) as figure:
        axes = figure.add_subplot()
        axes.stairs(counts, edges, fill=True, color=colour("series-1"))
        if 0 < len(known) <= FEW_VALUES:
            axes.plot(known, np.zeros(len(known)), "|", color=colour("ink"), markersize=9, clip_on=False)
        axes.set_xlabel(unit)
        axes.set_ylabel(f"number of {what}")
        axes.set_ylim(bottom=0)
        axes.grid(visible=False, axis="x")
        axes.yaxis.get_major_locator().set_params(integer=True)
        description = _spread_in_words(known, unit)
        if reference is not None:
            _reference_line(axes, reference)
            description += f" {reference[1]} is at {reference[0]:.4g}."
        each = f"; each short line is one of the {len(known)} {what}" if 0 < len(known) <= FEW_VALUES else ""
        dashed = "" if reference is None else f" The dashed line is {reference[1]}."
        return chart_of(
            figure,
            title,
            description,
            reading=f"A bar is as high as there are {what} in its range of {unit}{each}.{dashed}",
            columns=(f"{unit} from", "to", what),
            rows=list(zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)),
        )


def _reference_line(axes: Any, reference: tuple[float, str]) -> None:
    """Draw a named line across the axes, its name on the side that has room."""
    value, name = reference
    low, high = axes.get_xlim()
    axes.axvline(value, color=colour("bad"), linewidth=1.4, linestyle=(0, (4, 2)))
    axes.set_xlim(min(low, value), max(high, value))
    side, shift = ("right", -3) if value > (low + high) / 2 else ("left", 3)
    axes.annotate(
        name,
        (value, 1),
        xycoords=("data", "axes fraction"),
        xytext=(shift, -2),
        textcoords="offset points",
        ha=side,
        va="top",
        color=colour("bad"),
    )


def small_histograms(
    title: str, names: Sequence[str], columns: Sequence[NDArray[np.floating[Any]]], *, unit: str
) -> Chart:
    """Return one small histogram per feature, all on the same two axes; the extreme half percents are left out."""
    known = [_known(values) for values in columns]
    ends = [np.percentile(values, [0.5, 99.5]) for values in known if len(values)]
    low, high = (min(one[0] for one in ends), max(one[1] for one in ends)) if ends else (0.0, 1.0)
    edges = np.linspace(low, high, N_BINS + 1) if low < high else np.linspace(low - 0.5, low + 0.5, N_BINS + 1)
    shares = [100 * np.histogram(values, edges)[0] / max(1, len(values)) for values in known]
    across = min(len(names), SMALL_ACROSS)
    down = -(-len(names) // across)
    width = max(WIDTH_IN, WIDE_IN * across / SMALL_ACROSS)
    with new_figure(width, 0.6 + SMALL_HEIGHT_IN * down + (0.8 if across < 3 else 0)) as figure:
        grid = figure.subplots(down, across, squeeze=False, sharex=True, sharey=True)
        for axes in list(grid.flat)[len(names) :]:
            axes.set_axis_off()
        for place, (axes, name, share) in enumerate(zip(grid.flat, names, shares, strict=False)):
            axes.set_title(name, pad=2, fontsize=8)
            axes.stairs(share, edges, fill=True, color=colour("series-1"))
            axes.tick_params(labelsize=7, labelbottom=place + across >= len(names))
            axes.locator_params(nbins=3)
        figure.supxlabel(unit, fontsize=8.5, color=colour("faint"))
        figure.supylabel("% of steps", fontsize=8.5, color=colour("faint"))
        words = "; ".join(
            f"{name}: median {np.median(values):.3g}" for name, values in zip(names, known, strict=True) if len(values)
        )
        return chart_of(
            figure,
            title,
            f"Distribution of each feature over valid steps. {words}.",
            reading="All on the same two axes, so their places and widths compare; the outer 0.5 % on each side are "
            "left out. A single high bar is a feature that hardly changes.",
            columns=("feature", f"{unit} from", "to", "% of steps"),
            rows=[
                (name, *one)
                for name, share in zip(names, shares, strict=True)
                for one in zip(edges[:-1].tolist(), edges[1:].tolist(), share.tolist(), strict=True)
            ],
            wide=across > SMALL_ACROSS // 2,
        )


def stacked_shares(title: str, rows: Mapping[str, Mapping[str, int]], *, wide: bool = False) -> Chart:
    """Return one bar per row that shows how it is divided among its classes, from negative to positive."""
    names = list(next(iter(rows.values())))
    colours = CLASSES.get(len(names), SERIES)
    with new_figure(WIDE_IN if wide else WIDTH_IN, 0.75 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        labels = list(rows)[::-1]
        left = np.zeros(len(labels))
        for index, name in enumerate(names):
            totals = np.array([max(sum(rows[label].values()), 1) for label in labels])
            shares = np.array([rows[label].get(name, 0) for label in labels]) / totals * 100
            shade = colour(colours[index % len(colours)])
            edge = {"edgecolor": colour("surface"), "linewidth": 0.8}
            axes.barh(labels, shares, left=left, facecolor=shade, label=name, **edge)
            left += shares
        axes.set_xlim(0, 100)
        axes.set_xlabel("share of clips, %")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        figure.legend(loc="outside upper center", ncols=len(names), handlelength=1, columnspacing=1)
        words = "; ".join(
            f"{label}: " + ", ".join(f"{count} {name}" for name, count in counts.items())
            for label, counts in rows.items()
        )
        return chart_of(
            figure,
            title,
            f"Clips per class. {words}.",
            reading="Each bar is all clips of one row, divided by class; the longest part is the commonest class.",
            columns=("", *names),
            rows=[(label, *(counts.get(name, 0) for name in names)) for label, counts in rows.items()],
            wide=wide,
        )


def intervals(
    title: str,
    rows: Sequence[Row],
    *,
    unit: str,
    reading: str,
    limits: tuple[float, float] | None = None,
    reference: tuple[float, str] | None = None,
) -> Chart:
    """Return a value with its interval per row; `reading` says what the interval is, `reference` is a named line."""
    with _row_figure([row.name for row in rows], unit) as (figure, axes):
        for height, row in enumerate(reversed(rows)):
            axes.plot(
                [row.low, row.high], [height, height], color=colour("series-1"), linewidth=2, solid_capstyle="round"
            )
            axes.plot([row.value], [height], "o", color=colour("series-1"), markersize=5)
        if limits is not None:
            axes.set_xlim(*limits)
        line = ""
        if reference is not None:
            _reference_line(axes, reference)
            line = f" The dashed line, {reference[1]}, is at {reference[0]:.4g}."
        words = "; ".join(
            f"{row.name}: {row.value:.3f}" + (f" ({row.low:.3f} to {row.high:.3f})" if row.high > row.low else "")
            for row in rows
        )
        return chart_of(
            figure,
            title,
            f"{unit}. {words}.{line}",
            reading=f"{reading}{line}",
            columns=("", unit, "low", "high"),
            rows=[(row.name, row.value, row.low, row.high) for row in rows],
        )


def dots(
    title: str, rows: Sequence[tuple[str, ArrayLike, float, float]], *, unit: str, interval: str, dot: str
) -> Chart:
    """Return several values of each row as dots on its interval: (name, values, low, high).

    interval, dot : what they are, such as "the 95 % interval over clips" and "a seed"
    """
    with _row_figure([name for name, *_ in rows], unit) as (figure, axes):
        words = []
        for height, (name, values, low, high) in enumerate(reversed(rows)):
            known = _known(values)
            axes.plot([low, high], [height, height], color=colour("grid"), linewidth=4, solid_capstyle="round")
            axes.plot(known, np.full(len(known), height), "o", color=colour("series-1"), alpha=0.7, markersize=4)
            if len(known):
                words.append(f"{name}: mean {known.mean():.3f} ({low:.3f} to {high:.3f})")
        return chart_of(
            figure,
            title,
            f"{unit}. {'; '.join(reversed(words))}.",
            reading=f"A dot is {dot}, the bar {interval}. If bars overlap far, the clips do not tell the rows apart.",
            columns=("", unit, "low", "high"),
            rows=[(name, value, low, high) for name, values, low, high in rows for value in _known(values).tolist()],
        )


@contextmanager
def _row_figure(names: Sequence[str], unit: str) -> Iterator[tuple[Any, Any]]:
    """Give a figure and its axes with one line of height per name, the first on top."""
    with new_figure(WIDTH_IN, 0.75 + 0.27 * len(names)) as figure:
        axes = figure.add_subplot()
        axes.set_yticks(range(len(names)), list(reversed(names)))
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(unit)
        yield figure, axes


def lines(title: str, series: Sequence[Line], *, x_label: str, y_label: str, reading: str) -> Chart:
    """Return lines over a common x; a line's `point` is drawn on it."""
    with new_figure(WIDTH_IN, HEIGHT_IN) as figure:
        axes = figure.add_subplot()
        words = []
        for line in series:
            shade = colour(SERIES[line.colour % len(SERIES)])
            y = np.asarray(line.y, float)
            axes.plot(line.x, y, color=shade, linewidth=1.5, linestyle="--" if line.dashed else "-", label=line.name)
            if line.point is not None:
                axes.plot(*line.point, "o", color=shade, markersize=5)
            if len(y):
                words.append(f"{line.name}: from {y[0]:.3g} to {y[-1]:.3g}, least {np.nanmin(y):.3g}")
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        axes.xaxis.get_major_locator().set_params(integer=True)
        ncols = 2 if any(len(line.name) > LONG_NAME for line in series) else 3
        figure.legend(loc="outside upper center", ncols=ncols, handlelength=1.6, columnspacing=1.2)
        return chart_of(
            figure,
            title,
            f"{y_label} by {x_label}. {'; '.join(words)}.",
            reading=reading,
            columns=("line", x_label, y_label),
            rows=[
                (line.name, x, y)
                for line in series
                for x, y in zip(np.asarray(line.x).tolist(), np.asarray(line.y, float).tolist(), strict=True)
            ],
        )


def _known(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64).reshape(-1)
    known: NDArray[np.float64] = array[np.isfinite(array)]
    return known


def _spread_in_words(values: NDArray[np.float64], unit: str) -> str:
    if not len(values):
        return "No values."
    low, median, high = np.percentile(values, [0, 50, 100])
    return f"{len(values)} values from {low:.4g} to {high:.4g} {unit}, median {median:.4g}."
