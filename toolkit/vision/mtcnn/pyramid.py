"""The pyramid of pictures that PNet looks at, computed exactly, for a whole frame or for a window of it.

A level of scale s has ``int(H * s + 1) x int(W * s + 1)`` cells; cell i is the mean of the pixel rows
``floor(i * H / h) .. ceil((i + 1) * H / h)`` (and columns alike): area interpolation as torch does it. One
integral image gives every level and every crop of a frame, and a window's cells equal the whole frame's cells there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from cv2 import integral

from fmltk.toolkit.settings import MIN_FACE_PX

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.media.pictures import Frame

FIELD = MIN_FACE_PX  # cells: the side of the field that PNet judges
STRIDE = 2  # cells between two fields
FACTOR = 0.709  # from one level to the next: half the area; facenet-pytorch's default
LARGEST_SUM = 2**31 - 1  # of OpenCV's integral images: 8.4 megapixels of white


@dataclass(frozen=True)
class Level:
    """One level of the pyramid of a frame: its scale and its size in cells."""

    scale: float
    rows: int
    columns: int


def pyramid_levels(height: int, width: int, *, min_face_px: float) -> list[Level]:
    """Return the levels of a frame's pyramid, the finest first.

    The finest maps a face of `min_face_px` to PNet's field; the coarsest still holds one field.
    Source: facenet-pytorch 2.5.3, detect_face.

    >>> [(level.rows, level.columns) for level in pyramid_levels(40, 60, min_face_px=20)]
    [(25, 37), (18, 26), (13, 19)]
    """
    levels = []
    scale = FIELD / min_face_px
    shorter = min(height, width) * scale
    while shorter >= FIELD:
        levels.append(Level(scale, int(height * scale + 1), int(width * scale + 1)))
        scale *= FACTOR
        shorter *= FACTOR
    return levels


@dataclass(frozen=True)
class CellWindow:
    """A rectangle of a level's cells: rows top..bottom, columns left..right, ends excluded."""

    level: Level
    top: int
    bottom: int
    left: int
    right: int


class IntegralImage:
    """Sums over any rectangle of a piece of a frame, exact in integers.

    Parameters
    ----------
    frame : uint8, shape (H, W, 3), or a `Picture`
    top, bottom, left, right : the piece, in pixels, ends excluded; by default the whole frame
    """

    def __init__(
        self,
        frame: Frame,
        *,
        top: int = 0,
        bottom: int | None = None,
        left: int = 0,
        right: int | None = None,
    ) -> None:
        self.height, self.width = frame.shape[:2]
        piece = frame[top:bottom, left:right]
        self.top, self.left = top, left
        self.bottom, self.right = top + piece.shape[0], left + piece.shape[1]
        self._sums = _sums(piece)

    def cells(self, window: CellWindow) -> NDArray[np.float32]:
        """Return the cells of a level's window, float32, shape (rows, columns, 3), 0..255.

        The window's pixels must lie inside this piece of the frame.
        """
        top, bottom = level_bins(window.level.rows, self.height)[:, window.top : window.bottom]
        left, right = level_bins(window.level.columns, self.width)[:, window.left : window.right]
        first, last = int(left[0]) - self.left, int(right[-1]) - self.left
        rows = self._sums[bottom - self.top, first : last + 1]
        rows -= self._sums[top - self.top, first : last + 1]  # (rows, columns of pixels + 1, 3)
        sums = rows.take(right - left[0], axis=1)
        sums -= rows.take(left - left[0], axis=1)  # (rows, columns, 3)
        return _means(sums, bottom - top, right - left)

    def crops(self, rectangles: NDArray[np.int64], size: int) -> NDArray[np.float32]:
        """Return crops resized to size x size cells by area, float32, shape (n, size, size, 3), 0..255.

        rectangles : int64, shape (n, 4): left top right bottom in the frame's pixels, ends excluded, inside this piece.
        """
        steps = np.arange(size + 1)
        left, top, right, bottom = (rectangles[:, i, None] for i in range(4))
        y1, y2 = top + steps[:-1] * (bottom - top) // size, top - (-steps[1:] * (bottom - top) // size)  # (n, size)
        x1, x2 = left + steps[:-1] * (right - left) // size, left - (-steps[1:] * (right - left) // size)
        heights, widths = y2 - y1, x2 - x1
        line = self._sums.shape[1]
        y1, y2, x1, x2 = (y1 - self.top) * line, (y2 - self.top) * line, x1 - self.left, x2 - self.left
        y1, y2, x1, x2 = y1[:, :, None], y2[:, :, None], x1[:, None, :], x2[:, None, :]
        pixels = self._sums.reshape(-1, 3)
        sums = pixels.take(y2 + x2, axis=0)  # (n, size, size, 3)
        sums -= pixels.take(y1 + x2, axis=0)
        sums -= pixels.take(y2 + x1, axis=0)
        sums += pixels.take(y1 + x1, axis=0)
        return _means(sums, heights, widths)


def _sums(piece: NDArray[np.uint8]) -> NDArray[np.uint32]:
    """Return the sums of all pixels above and left of each corner, shape (height + 1, width + 1, 3), modulo 2**32.

    OpenCV's sums are signed and of 32 bits: a piece that would go beyond them is summed in bands. Unsigned sums may
    wrap, their differences do not.
    """
    height, width = piece.shape[:2]
    step = max(LARGEST_SUM // max(255 * width, 1), 1)
    if 0 < height <= step and width:
        return integral(piece).view(np.uint32)
    sums = np.zeros((height + 1, width + 1, 3), np.uint32)
    for top in range(0, height if width else 0, step):
        band = integral(piece[top : top + step]).view(np.uint32)[1:]
        np.add(band, sums[top], out=sums[top + 1 : top + 1 + len(band)])
    return sums


def _means(sums: NDArray[np.uint32], heights: NDArray[np.int64], widths: NDArray[np.int64]) -> NDArray[np.float32]:
    """Turn sums over bins into means, rounded as torch's area interpolation rounds: one division after the other.

    sums : shape (..., rows, columns, 3); heights, widths : of the bins in pixels, shapes (..., rows), (..., columns)
    """
    means = sums.astype(np.float32, order="C").reshape(*heights.shape, 3 * widths.shape[-1])  # one long run a row
    means /= heights.astype(np.float32)[..., None]
    means /= np.repeat(widths.astype(np.float32), 3, axis=-1)[..., None, :]
    return means.reshape(sums.shape)


@lru_cache(maxsize=64)
def level_bins(n_cells: int, n_pixels: int) -> NDArray[np.int64]:
    """Return the first pixel of each of n_cells over n_pixels, and one past its last, shape (2, n_cells); read-only.

    >>> level_bins(3, 7).tolist()
    [[0, 2, 4], [3, 5, 7]]
    """
    cells = np.arange(n_cells, dtype=np.int64)
    bins = np.stack([cells * n_pixels // n_cells, -(-(cells + 1) * n_pixels // n_cells)])
    bins.setflags(write=False)
    return bins
