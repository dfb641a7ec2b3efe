"""Windows in which a face is searched for once its position in the frame before is known.

The numbers come from the full detector's own choices on real clips: a face's final box comes from a PNet field of 0.37
to 1.83 times the face's longer side, whose centre lies within 0.47 sides of the face's centre. The windows below hold
such fields, with room for motion, and since their cells are those of the whole frame's pyramid, the result is mostly
the very box that a full detection gives.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.vision.mtcnn.pyramid import FIELD, STRIDE, CellWindow, IntegralImage, Level

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.toolkit.media.pictures import Frame

# In multiples of the longer side of the face in the frame before:
SMALLEST_FIELD, LARGEST_FIELD = 0.3, 2.3  # fields searched: what the clips needed, and a level more on each side
FIELD_OFFSET = 0.45  # how far a field's centre may lie from the face's centre, motion included
CROP_REACH = 0.9  # half the side of the square that crops for RNet and ONet may use, at least


@dataclass(frozen=True)
class Neighbourhood:
    """A piece of the frame, in pixels (ends excluded), and the windows of pyramid levels to search in it."""

    top: int
    bottom: int
    left: int
    right: int
    windows: tuple[CellWindow, ...]

    @property
    def n_cells(self) -> int:
        """How many cells PNet looks at."""
        return sum((window.bottom - window.top) * (window.right - window.left) for window in self.windows)

    def image(self, frame: Frame) -> IntegralImage:
        """Return the integral image of the piece."""
        return IntegralImage(frame, top=self.top, bottom=self.bottom, left=self.left, right=self.right)


def neighbourhood(box: NDArray[np.float32], levels: Sequence[Level], *, height: int, width: int) -> Neighbourhood:
    """Return where to look for the face that was at `box`, float32 (4,): x1 y1 x2 y2, in a frame of the same size."""
    x1, y1, x2, y2 = (float(value) for value in box)
    side = max(x2 - x1, y2 - y1)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    windows = []
    for level in levels:
        field = FIELD / level.scale
        if SMALLEST_FIELD * side <= field <= LARGEST_FIELD * side:
            reach = field / 2 + FIELD_OFFSET * side
            top, bottom = _even_cells(y - reach, y + reach, level.rows, height)
            left, right = _even_cells(x - reach, x + reach, level.columns, width)
            if min(bottom - top, right - left) >= FIELD:
                windows.append(CellWindow(level, top, bottom, left, right))
    reach = CROP_REACH * side
    return Neighbourhood(
        top=max(0, min([int(y - reach), *(w.top * height // w.level.rows for w in windows)])),
        bottom=min(height, max([int(y + reach) + 1, *(-(-w.bottom * height // w.level.rows) for w in windows)])),
        left=max(0, min([int(x - reach), *(w.left * width // w.level.columns for w in windows)])),
        right=min(width, max([int(x + reach) + 1, *(-(-w.right * width // w.level.columns) for w in windows)])),
        windows=tuple(windows),
    )


def _even_cells(low: float, high: float, n_cells: int, n_pixels: int) -> tuple[int, int]:
    """First cell and one past the last cell between two pixel positions, both even: PNet looks at every second cell."""
    first = max(0, int(low * n_cells / n_pixels)) // STRIDE * STRIDE
    last = min(n_cells, int(high * n_cells / n_pixels) + STRIDE) // STRIDE * STRIDE
    return first, last
