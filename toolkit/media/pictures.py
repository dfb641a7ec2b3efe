"""A frame as the decoder made it, which becomes RGB only where it is looked at.

Most videos hold brightness for each pixel and colour for each 2 x 2 of them (YUV 4:2:0). To turn a large frame into RGB
costs as much as to decode it, and a search near a face looks at a small part. The numbers are those of ffmpeg's own
conversion of whole frames: the same code of the same library, which treats a pixel alike wherever it lies.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

if TYPE_CHECKING:
    from typing import TypeAlias

    from numpy.typing import NDArray

    from fmltk.toolkit.media.probe import MediaInfo

PIXEL_FORMATS = ("yuv420p", "yuvj420p")  # 8 bits per number; the second names what the colour range of the first says
MIN_PIXELS = 400_000  # smaller frames are turned into RGB as quickly as they are looked at in parts
# ffmpeg's numbers of the colour spaces that its quick conversion knows (8 and 10 to 18 are of other kinds), and of the
# ranges: not said, 16 to 235, and all 256.
COLOUR_SPACES, COLOUR_RANGES = frozenset({0, 1, 2, 4, 5, 6, 7, 9}), frozenset({0, 1, 2})
# Sizes converted are rounded up to these, so that few differ; 16 columns go at once.
WIDTH_STEP, HEIGHT_STEP = 64, 32
BAND_ROWS = 256  # converted at once: 0.7 MB of 1080p


class Picture:
    """One frame of a video; it answers to slices, as an array of shape (H, W, 3) does, with RGB.

    Parameters
    ----------
    stored : uint8, shape (H * W * 3 / 2,): brightness by row, then the two colour differences of each 2 x 2 pixels;
        H and W are even
    height, width : of the frame in pixels
    colours : ffmpeg's numbers of the colour space and of the range, as the file has them

    >>> grey = Picture(np.full(64 * 64 * 3 // 2, 128, np.uint8), 64, 64, colours=(1, 1))
    >>> grey[:2, ::32].tolist()
    [[[130, 130, 130], [130, 130, 130]], [[130, 130, 130], [130, 130, 130]]]
    """

    def __init__(self, stored: NDArray[np.uint8], height: int, width: int, *, colours: tuple[int, int]) -> None:
        self._stored = stored
        self.shape = (height, width, 3)
        self._colours = colours
        n_pixels = height * width
        self._light = stored[:n_pixels].reshape(height, width)
        self._colour = stored[n_pixels:].reshape(2, height // 2, width // 2)

    @property
    def rows(self) -> NDArray[np.uint8]:
        """What is stored, uint8, shape (H * 3 / 2, W)."""
        return self._stored.reshape(-1, self.shape[1])

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return self._stored.nbytes

    def __getitem__(self, part: tuple[slice, slice]) -> NDArray[np.uint8]:
        """Return the rows and columns of two slices, of positive steps, as RGB, uint8 (rows, columns, 3)."""
        (top, bottom, row_step), (left, right, column_step) = (
            one.indices(size) for one, size in zip(part, self.shape, strict=False)
        )
        if min(row_step, column_step) < 1:
            raise ValueError(f"a picture is not read backwards: {part}")
        first_column = left - left % 2
        columns, colour_columns = slice(first_column, right), slice(first_column // 2, (right + 1) // 2)
        if row_step <= 2:
            first_row = top - top % 2
            light = self._light[first_row:bottom, columns]
            colour = self._colour[:, first_row // 2 : (bottom + 1) // 2, colour_columns]
            rgb = self._converted(light, colour)[top - first_row :: row_step]
        else:  # few rows of many: each with the colours of its own
            rows = np.arange(top, bottom, row_step)
            light = self._light[rows, columns]
            rgb = self._converted(light, self._colour[:, rows // 2, colour_columns], apart=2)
        return rgb[:, left - first_column :: column_step]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Return the whole frame as RGB."""
        if copy is False:
            raise ValueError("the RGB of a picture is made when it is asked for: there is nothing to share")
        return self[:, :].astype(dtype or np.uint8, copy=False)

    def _converted(self, light: NDArray[np.uint8], colour: NDArray[np.uint8], *, apart: int = 1) -> NDArray[np.uint8]:
        """Return rows of brightness with their colours as RGB; with `apart` 2, each row has colours of its own."""
        rows, width = light.shape
        rgb = np.empty((rows, 3 * width), np.uint8)
        step = BAND_ROWS // apart
        for first in range(0, rows if width else 0, step):
            last = min(first + step, rows)
            height = apart * (last - first)
            size = (-(-width // WIDTH_STEP) * WIDTH_STEP, -(-height // HEIGHT_STEP) * HEIGHT_STEP)
            canvas, planes, reformatter = _canvas(*size, self._colours)
            planes[0][:height:apart, :width] = light[first:last]
            part = colour[:, first * apart // 2 : (last * apart + 1) // 2]
            for plane, values in zip(planes[1:], part, strict=True):
                plane[: values.shape[0], : values.shape[1]] = values
            made: Any = reformatter.reformat(canvas, format="rgb24", interpolation="BICUBIC", threads=1)
            lines = np.frombuffer(made.planes[0], np.uint8).reshape(-1, made.planes[0].line_size)
            rgb[first:last] = lines[:height:apart, : 3 * width]
        return rgb.reshape(rows, width, 3)


if TYPE_CHECKING:
    Frame: TypeAlias = NDArray[np.uint8] | Picture  # uint8 (H, W, 3) RGB, or what answers to slices as that does


@lru_cache(maxsize=16)
def _canvas(
    width: int, height: int, colours: tuple[int, int]
) -> tuple[av.VideoFrame, list[NDArray[np.uint8]], VideoReformatter]:
    """Return a frame to be filled again and again, by one thread, its planes as arrays, and what converts it."""
    frame: Any = av.VideoFrame(width, height, "yuv420p")
    frame.colorspace, frame.color_range = colours
    planes: Any = [np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size) for plane in frame.planes]
    return frame, planes, VideoReformatter()


def stays_yuv(info: MediaInfo) -> bool:
    """Return whether a file's frames are kept as the decoder makes them: large, of the usual kind, and not scaled."""
    known = info.colours[0] in COLOUR_SPACES and info.colours[1] in COLOUR_RANGES
    whole = info.width % 2 == 0 and info.height % 2 == 0 and info.stored_size == (info.width, info.height)
    return known and whole and info.pixel_format in PIXEL_FORMATS and info.width * info.height >= MIN_PIXELS
