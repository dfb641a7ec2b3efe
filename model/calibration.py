"""Whether M's intensities can be taken at their word: the mean truth of clips with about the same prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.evaluation import pairs_of_m
from fmltk.toolkit.report import planes

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.report.document import Block

MAX_GROUPS = 10
CALIBRATION_COLUMNS = ("group", "n", "mean prediction", "mean truth")


def calibration(predicted: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, Any]:
    """Return n, slope and offset of truth on prediction (least squares), and groups of clips from low to high.

    predicted, truth : finite, shape (n,). A group has n, the mean prediction and the mean truth; there are up to ten of
    equal size, as many as there are different predictions. Slope and offset are NaN where all predictions are the same.

    >>> found = calibration(np.array([-0.5, 0.0, 0.5]), np.array([-1.0, 0.1, 1.2]))
    >>> round(found["slope"], 2), round(found["offset"], 2), found["groups"][0]
    (2.2, 0.1, {'n': 1, 'prediction': -0.5, 'truth': -1.0})
    """
    slope = offset = float("nan")
    if len(predicted) and np.ptp(predicted) > 0:
        apart = predicted - predicted.mean()
        slope = float(apart @ truth / (apart @ apart))
        offset = float(truth.mean() - slope * predicted.mean())
    ascending = np.argsort(predicted, kind="stable")
    n_groups = min(MAX_GROUPS, len(np.unique(predicted)))
    groups = [
        {"n": len(rows), "prediction": float(predicted[rows].mean()), "truth": float(truth[rows].mean())}
        for rows in (np.array_split(ascending, n_groups) if n_groups else [])
    ]
    return {"n": len(predicted), "slope": slope, "offset": offset, "groups": groups}


def calibration_rows(found: Mapping[str, Any]) -> list[list[str]]:
    """Return the rows of a table of `CALIBRATION_COLUMNS`."""
    return [
        [str(number), str(group["n"]), f"{group['prediction']:.3f}", f"{group['truth']:.3f}"]
        for number, group in enumerate(found["groups"], 1)
    ]


def describe_calibration(found: Mapping[str, Any]) -> str:
    """Return slope and offset as a formula.

    >>> describe_calibration({"slope": 1.25, "offset": -0.1})
    'truth = 1.25 x prediction - 0.10'
    """
    slope, offset = found["slope"], found["offset"]
    if not np.isfinite(slope):
        return "all predictions are the same"
    return f"truth = {slope:.2f} x prediction {'-' if offset < 0 else '+'} {abs(offset):.2f}"


def calibration_blocks(run: Path, split: str, scale: Scale) -> list[Block]:
    """Return the chart of a run of intensities; nothing where no clip has a truth and a prediction."""
    found = calibration(*pairs_of_m(run, split))
    if not found["groups"]:
        return []
    return [
        planes.against_diagonal(
            f"Calibration of M, {split}, all seeds: {describe_calibration(found)}",
            [group["prediction"] for group in found["groups"]],
            [group["truth"] for group in found["groups"]],
            limits=(float(scale.low), float(scale.high)),
            x_label="mean prediction of a group of clips",
            y_label="mean truth",
        )
    ]
