"""The charts of a report, one function per kind; each says in words what it shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.report.svg import CLASSES, SERIES, chart_of, colour, new_figure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from fmltk.toolkit.report.document import Chart

WIDTH_IN, HEIGHT_IN, WIDE_IN = 4.4, 2.6, 8.8
N_BINS = 24
MAX_POINTS = 3000  # of a scatter; more are thinned out evenly


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
    with new_figure(WIDTH_IN, HEIGHT_IN) as figure:
        axes = figure.add_subplot()
        axes.hist(known, bins=N_BINS, range=limits, color=colour("series-1"))
        axes.set_xlabel(unit)
        axes.set_ylabel(what)
        axes.grid(visible=False, axis="x")
        axes.yaxis.get_major_locator().set_params(integer=True)
        description = _spread_in_words(known, unit)
        if reference is not None:
            value, name = reference
            axes.axvline(value, color=colour("bad"), linewidth=1.4, linestyle=(0, (4, 2)))
            side = "right" if len(known) and value > np.mean([known.min(), known.max()]) else "left"
            shift = -3 if side == "right" else 3
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
            description += f" {name} is at {value:.4g}."
        return chart_of(figure, title, description)


def small_histograms(title: str, names: Sequence[str], columns: Sequence[NDArray[np.floating[Any]]]) -> Chart:
    """Return one small histogram per feature, side by side; the extreme half percent on each side is left out."""
    across = 6
    down = -(-len(names) // across)
    with new_figure(WIDE_IN, 0.95 * down) as figure:
        grid = figure.subplots(down, across, squeeze=False)
        for axes in grid.flat:
            axes.set_axis_off()
        for axes, name, values in zip(grid.flat, names, columns, strict=False):
            known = _known(values)
            axes.set_title(name, pad=2, fontsize=8)
            if len(known):
                low, high = np.percentile(known, [0.5, 99.5])
                counts, edges = np.histogram(known, bins=20, range=(low, high) if low < high else None)
                axes.stairs(counts, edges, fill=True, color=colour("series-1"))
                axes.hlines(0, edges[0], edges[-1], color=colour("grid"), linewidth=0.8)
        words = "; ".join(
            f"{name}: median {np.median(_known(values)):.3g}"
            for name, values in zip(names, columns, strict=True)
            if len(_known(values))
        )
        return chart_of(figure, title, f"Distribution of each feature over valid steps. {words}.", wide=True)


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
        return chart_of(figure, title, f"Clips per class. {words}.", wide=wide)


def intervals(
    title: str,
    rows: Sequence[tuple[str, float, float, float]],
    *,
    unit: str,
    limits: tuple[float, float] | None = None,
    describe: str = "with 95 % intervals",
) -> Chart:
    """Return a value with its interval per row: (name, value, low, high)."""
    with new_figure(WIDTH_IN, 0.75 + 0.27 * len(rows)) as figure:
        axes = figure.add_subplot()
        for height, (_, value, low, high) in enumerate(reversed(rows)):
            axes.plot([low, high], [height, height], color=colour("series-1"), linewidth=2, solid_capstyle="round")
            axes.plot([value], [height], "o", color=colour("series-1"), markersize=5)
        axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(unit)
        if limits is not None:
            axes.set_xlim(*limits)
        words = "; ".join(
            f"{name}: {value:.3f}" + (f" ({low:.3f} to {high:.3f})" if high > low else "")
            for name, value, low, high in rows
        )
        return chart_of(figure, title, f"{unit}, {describe}. {words}.")


def dots(
    title: str, rows: Sequence[tuple[str, ArrayLike, float, float]], *, unit: str, describe: str, dot: str
) -> Chart:
    """Return several values of each row as dots on its interval: (name, values, low, high); `dot` says what one is."""
    with new_figure(WIDTH_IN, 0.75 + 0.27 * len(rows)) as figure:
        axes = figure.add_subplot()
        words = []
        for height, (name, values, low, high) in enumerate(reversed(rows)):
            known = _known(values)
            axes.plot([low, high], [height, height], color=colour("grid"), linewidth=4, solid_capstyle="round")
            axes.plot(known, np.full(len(known), height), "o", color=colour("series-1"), alpha=0.7, markersize=4)
            if len(known):
                words.append(f"{name}: mean {known.mean():.3f} ({low:.3f} to {high:.3f})")
        axes.set_yticks(range(len(rows)), [name for name, *_ in reversed(rows)])
        axes.set_ylim(-0.6, len(rows) - 0.4)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(unit)
        return chart_of(figure, title, f"{unit}, {describe}; a dot is {dot}. {'; '.join(reversed(words))}.")


def named_points(title: str, points: Sequence[tuple[str, float, float]], *, x_label: str, y_label: str) -> Chart:
    """Return named points (name, x, y); x is on a logarithmic axis, and positive."""
    with new_figure(WIDE_IN, HEIGHT_IN + 0.7) as figure:
        axes = figure.add_subplot()
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        for name, x, y in points:
            axes.plot([x], [y], "o", color=colour("series-1"), markersize=5)
            axes.annotate(name, (x, y), xytext=(5, 4), textcoords="offset points", fontsize=8)
        axes.margins(x=0.12, y=0.12)
        axes.set_xlabel(x_label)
        axes.set_ylabel(y_label)
        words = "; ".join(f"{name}: {x:.3g}, {y:.3g}" for name, x, y in points)
        return chart_of(figure, title, f"{y_label} against {x_label}. {words}.", wide=True)


def lines(title: str, series: Sequence[Line], *, x_label: str, y_label: str) -> Chart:
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
        figure.legend(loc="outside upper center", ncols=3, handlelength=1.6, columnspacing=1.2)
        return chart_of(figure, title, f"{y_label} by {x_label}. {'; '.join(words)}.")


def matrix(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: NDArray[np.floating[Any]],
    *,
    texts: Sequence[Sequence[str]],
    row_label: str,
    column_label: str,
) -> Chart:
    """Return a matrix whose cells are shaded by `values` (0 to 1) and hold `texts`."""
    with new_figure(WIDTH_IN, max(1.6, 0.72 + 0.32 * len(rows))) as figure:
        axes = figure.add_subplot()
        for row, column in np.ndindex(values.shape):
            share = values[row, column]
            if np.isfinite(share):
                box = (column - 0.48, row - 0.46)
                axes.add_patch(_square(box, 0.96, 0.92, alpha=0.08 + 0.6 * float(np.clip(share, 0, 1))))
            axes.text(column, row, texts[row][column], ha="center", va="center", fontsize=8.5)
        axes.set_xlim(-0.5, len(columns) - 0.5)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xticks(range(len(columns)), columns)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(column_label)
        axes.set_ylabel(row_label)
        words = "; ".join(
            f"{rows[row]}, {columns[column]}: {texts[row][column]}"
            for row, column in np.ndindex(values.shape)
            if texts[row][column]
        )
        return chart_of(figure, title, f"{row_label} by {column_label}. {words}.")


def _square(corner: tuple[float, float], width: float, height: float, *, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, color=colour("series-1"), alpha=alpha, linewidth=0)


def scatter(
    title: str, x: ArrayLike, y: ArrayLike, *, wrong: ArrayLike, limits: tuple[float, float], x_label: str, y_label: str
) -> Chart:
    """Return points of y against x on equal axes; those that are `wrong` are crosses in the page's warning colour."""
    across, up, bad = np.asarray(x, float), np.asarray(y, float), np.asarray(wrong, bool)
    n = len(across)
    kept = _thinned(n)
    across, up, bad = across[kept], up[kept], bad[kept]
    with new_figure(WIDTH_IN, HEIGHT_IN + 0.7) as figure:
        axes = figure.add_subplot()
        _square_axes(axes, limits, x_label, y_label)
        alpha = 0.8 if n < 200 else 0.45
        axes.plot(
            across[~bad], up[~bad], "o", color=colour("series-1"), alpha=alpha, markersize=3.5, label="right sign"
        )
        axes.plot(across[bad], up[bad], "x", color=colour("bad"), alpha=alpha, markersize=4, label="wrong sign")
        figure.legend(loc="outside upper center", ncols=2, handletextpad=0.3)
        words = f"{n} clips, {int(np.asarray(wrong, bool).sum())} with the wrong sign."
        return chart_of(figure, title, f"{y_label} against {x_label}. {words}")


def against_diagonal(
    title: str, x: Sequence[float], y: Sequence[float], *, limits: tuple[float, float], x_label: str, y_label: str
) -> Chart:
    """Return a few points, joined from left to right, on equal axes with their diagonal."""
    with new_figure(WIDTH_IN, HEIGHT_IN + 0.7) as figure:
        axes = figure.add_subplot()
        _square_axes(axes, (min(limits[0], *x, *y), max(limits[1], *x, *y)), x_label, y_label)
        axes.plot(x, y, "o-", color=colour("series-1"), linewidth=1.2, markersize=5)
        words = "; ".join(f"{across:.2f}, {up:.2f}" for across, up in zip(x, y, strict=True))
        return chart_of(figure, title, f"{y_label} against {x_label}; on the diagonal they are the same. {words}.")


def _square_axes(axes: Any, limits: tuple[float, float], x_label: str, y_label: str) -> None:
    """Draw the diagonal, and give both axes the same limits."""
    axes.plot(limits, limits, color=colour("grid"), linewidth=1)
    margin = 0.06 * (limits[1] - limits[0])
    axes.set_xlim(limits[0] - margin, limits[1] + margin)
    axes.set_ylim(limits[0] - margin, limits[1] + margin)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)


def class_map(
    title: str,
    points: NDArray[np.float64],
    *,
    names: Sequence[str],
    groups: Sequence[str],
    wrong: NDArray[np.bool_],
    wrong_label: str,
    labels: Sequence[str],
) -> Chart:
    """Return points (n, 2) in the colours of their groups, which are among `names`; the `wrong` ones are crosses."""
    colours = CLASSES.get(len(names), SERIES)
    of_group = np.array(groups, dtype=object)
    kept = np.zeros(len(points), bool)
    kept[_thinned(len(points))] = True
    with new_figure(WIDE_IN, HEIGHT_IN + 1.6) as figure:
        axes = figure.add_subplot()
        words = []
        for number, name in enumerate(names):
            own = of_group == name
            if not own.any():
                continue
            shade = colour(colours[number % len(colours)])
            for marker, some in (("o", own & ~wrong & kept), ("x", own & wrong & kept)):
                axes.plot(*points[some].T, marker, color=shade, alpha=0.8, markersize=4 if marker == "o" else 6)
            axes.plot([], [], "o", color=shade, label=name)
            across, up = points[own].mean(axis=0)
            words.append(
                f"{name}: {own.sum()} clips, {(own & wrong).sum()} {wrong_label}, centre {across:.2f}, {up:.2f}"
            )
        axes.plot([], [], "x", color=colour("ink"), label=wrong_label)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        figure.legend(loc="outside upper center", ncols=8, handletextpad=0.2, columnspacing=1)
        return chart_of(figure, title, f"Clips by {labels[0]} and {labels[1]}. {'; '.join(words)}.", wide=True)


def _thinned(n: int) -> NDArray[np.int64]:
    """Return which of n points are drawn."""
    return np.linspace(0, n - 1, min(n, MAX_POINTS)).astype(np.int64)


def _known(values: ArrayLike) -> NDArray[np.float64]:
    array = np.asarray(values, np.float64).reshape(-1)
    known: NDArray[np.float64] = array[np.isfinite(array)]
    return known


def _spread_in_words(values: NDArray[np.float64], unit: str) -> str:
    if not len(values):
        return "No values."
    low, median, high = np.percentile(values, [0, 50, 100])
    return f"{len(values)} values from {low:.4g} to {high:.4g} {unit}, median {median:.4g}."
