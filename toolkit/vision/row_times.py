"""From rows at their own times to the frames of a clip's grid: which row is which frame's.

The rules are the same for OpenFace's rows and for those of any other program.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLOCK_TOLERANCE_S = 0.002  # OpenFace rounds its timestamps to a thousandth
TIE_S = 1e-6  # two rows as near as this to a grid frame are equally near
DURATION_TOLERANCE_S = 0.5  # decoders disagree on the last frames, and VFR timestamps drift (0.36 s seen)


def nearest_rows(
    grid: NDArray[np.float64],
    times: NDArray[np.float64],
    interval_s: float,
    frame_times_s: NDArray[np.float64] | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return for each grid time the index of the nearest of `times`, and whether that is near enough.

    If two are equally near it is the earlier. Near enough is half the interval from row to row; after the last row,
    whose picture stays on screen, a whole one.

    grid, times : seconds, ascending
    frame_times_s : when each picture of a video of variable frame rate is shown: near enough is the row of the very
        picture that is shown

    >>> nearest_rows(np.array([0.0, 0.1, 0.2]), np.array([0.0, 0.22]), 0.04)
    (array([0, 0, 1]), array([ True, False,  True]))
    """
    nearest, distance = _nearest_of(grid, times)
    limit = np.where(grid > times[-1], interval_s, interval_s / 2) + CLOCK_TOLERANCE_S
    if frame_times_s is not None:  # frames last unequally
        _, to_any_frame = _nearest_of(grid, frame_times_s)
        limit = np.where(grid < frame_times_s[0], limit, to_any_frame + TIE_S)
    return nearest, distance <= limit


def _nearest_of(grid: NDArray[np.float64], times: NDArray[np.float64]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    right = np.searchsorted(times, grid).clip(0, len(times) - 1)
    left = (right - 1).clip(0)
    nearest = np.where(np.abs(times[right] - grid) < np.abs(grid - times[left]) - TIE_S, right, left)
    return nearest, np.abs(times[nearest] - grid)
