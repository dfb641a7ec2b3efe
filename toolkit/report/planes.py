"""Charts of points in a plane, and of matrices; each says in words what it shows and how to read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.counted import counted
from fmltk.toolkit.report.charts import HEIGHT_IN, WIDE_IN, WIDTH_IN
from fmltk.toolkit.report.svg import CLASSES, SERIES, chart_of, colour, new_figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fmltk.toolkit.report.document import Chart

MAX_POINTS = 3000  # of a scatter; more are thinned out evenly


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
        return chart_of(
            figure,
            title,
            f"{y_label} against {x_label}. {words}.",
            reading=f"Further down is a smaller {y_label}, further left fewer {x_label}; the axis across is "
            "logarithmic.",
            columns=("name", x_label, y_label),
            rows=points,
            wide=True,
        )


def matrix(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: NDArray[np.floating[Any]],
    *,
    texts: Sequence[Sequence[str]],
    row_label: str,
    column_label: str,
    reading: str,
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
        return chart_of(
            figure,
            title,
            f"{row_label} by {column_label}. {words}.",
            reading=reading,
            columns=(f"{row_label} \\ {column_label}", *columns),
            rows=[(name, *own) for name, own in zip(rows, texts, strict=True)],
        )


def _square(corner: tuple[float, float], width: float, height: float, *, alpha: float) -> Any:
    from matplotlib.patches import Rectangle

    return Rectangle(corner, width, height, color=colour("series-1"), alpha=alpha, linewidth=0)


def scatter(
    title: str,
    x: ArrayLike,
    y: ArrayLike,
    *,
    names: Sequence[str],
    wrong: ArrayLike,
    limits: tuple[float, float],
    x_label: str,
    y_label: str,
) -> Chart:
    """Return named points of y against x on equal axes; the `wrong` ones are crosses in the page's warning colour."""
    across, up, bad = np.asarray(x, float), np.asarray(y, float), np.asarray(wrong, bool)
    rows = list(zip(names, across.tolist(), up.tolist(), strict=True))
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
        words = f"{counted(n, 'clip')}, {int(np.asarray(wrong, bool).sum())} with the wrong sign."
        thinned = "" if n <= MAX_POINTS else f" {MAX_POINTS:,} of {n:,} clips are drawn."
        return chart_of(
            figure,
            title,
            f"{y_label} against {x_label}. {words}",
            reading="On the diagonal, prediction and truth are the same; a flat cloud predicts much the same for all."
            + thinned,
            columns=("clip", x_label, y_label),
            rows=rows,
        )


def against_diagonal(
    title: str, x: Sequence[float], y: Sequence[float], *, limits: tuple[float, float], x_label: str, y_label: str
) -> Chart:
    """Return a few points, joined from left to right, on equal axes with their diagonal."""
    with new_figure(WIDTH_IN, HEIGHT_IN + 0.7) as figure:
        axes = figure.add_subplot()
        _square_axes(axes, (min(limits[0], *x, *y), max(limits[1], *x, *y)), x_label, y_label)
        axes.plot(x, y, "o-", color=colour("series-1"), linewidth=1.2, markersize=5)
        words = "; ".join(f"{across:.2f}, {up:.2f}" for across, up in zip(x, y, strict=True))
        return chart_of(
            figure,
            title,
            f"{y_label} against {x_label}; on the diagonal they are the same. {words}.",
            reading="A point is a group of clips with about the same prediction; above the diagonal the truth is "
            "higher than predicted, below it lower.",
            columns=(x_label, y_label),
            rows=list(zip(x, y, strict=True)),
        )


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
    reading: str,
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
                f"{name}: {counted(own.sum(), 'clip')}, {(own & wrong).sum()} {wrong_label}, centre {across:.2f}, "
                f"{up:.2f}"
            )
        axes.plot([], [], "x", color=colour("ink"), label=wrong_label)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        figure.legend(loc="outside upper center", ncols=8, handletextpad=0.2, columnspacing=1)
        return chart_of(
            figure,
            title,
            f"Clips by {labels[0]} and {labels[1]}. {'; '.join(words)}.",
            reading=reading,
            columns=("class", wrong_label, *labels),
            rows=[
                (group, bool(bad), *point)
                for group, bad, point in zip(groups, wrong.tolist(), points.tolist(), strict=True)
            ],
            wide=True,
        )


def _thinned(n: int) -> NDArray[np.int64]:
    """Return which of n points are drawn."""
    return np.linspace(0, n - 1, min(n, MAX_POINTS)).astype(np.int64)
