"""Crops of a face: aligned by its landmarks, or upright and following it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.vision.mtcnn.detector import check_frame

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.vision.tracks import FaceTrack

# The five landmarks in an aligned crop of 112 x 112 px: eyes, nose, corners of the mouth; left in the picture
# first. Source: the positions that face recognition has used since Deng et al., "ArcFace", CVPR 2019.
TEMPLATE_PX = np.array(
    [(38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041)], np.float64
)
TEMPLATE_SIZE_PX = 112

WINDOW_SIDES = 2.0  # an upright window's side over the longest side of the face's boxes: OpenFace looks beyond the box
SMOOTHING_FRAMES = 15  # half a second: the window follows the head, not the detector's jitter


def align_face(frame: NDArray[np.uint8], landmarks: NDArray[np.float32], size: int) -> NDArray[np.uint8]:
    """Return the face turned and scaled so that its landmarks lie on the template, uint8, shape (size, size, 3).

    The map is the similarity (rotation, one scale, shift) with the least squared distance to the template; pixels are
    interpolated bilinearly; what lies outside the frame is black.

    Parameters
    ----------
    frame : uint8, shape (H, W, 3), RGB
    landmarks : float32, shape (5, 2): x y in pixels, finite, in MTCNN's order
    size : side of the crop in pixels; the template is scaled with it

    Raises FeatureError if the landmarks are not five different finite points or `size` is below 1.
    """
    check_frame(frame)
    turn, shift = similarity(landmarks, TEMPLATE_PX * (size / TEMPLATE_SIZE_PX))
    x = np.arange(size, dtype=np.float64)
    source = (x[None, :] + 1j * x[:, None] - shift) / turn  # (size, size): where each pixel comes from
    return _bilinear(frame, source.real, source.imag)


def similarity(points: NDArray[np.float32], targets: NDArray[np.float64]) -> tuple[complex, complex]:
    """Return (a, b) of the map z -> a * z + b, x + iy, that takes `points` nearest to `targets` in the least squares.

    points, targets : shape (n, 2).

    >>> similarity(np.array([[0, 0], [1, 0]], np.float32), np.array([[5.0, 5.0], [5.0, 7.0]]))
    (2j, (5+5j))
    """
    z = np.asarray(points, np.float64)
    if z.shape != targets.shape or not np.isfinite(z).all():
        raise FeatureError(
            f"the face cannot be aligned: its landmarks are {np.asarray(points).tolist()}; expected {len(targets)} "
            "finite points (x, y), as detected in a frame where the face is present"
        )
    if not len(targets) or np.ptp(targets) == 0:
        raise FeatureError("the face cannot be aligned to a picture of no size; use a size of 112 or 224 px")
    source, target = z[:, 0] + 1j * z[:, 1], targets[:, 0] + 1j * targets[:, 1]
    centred = source - source.mean()
    spread = float((np.abs(centred) ** 2).sum())
    if spread < 1e-6:
        raise FeatureError(f"the face cannot be aligned: its landmarks are all at {z[0].tolist()}")
    turn = complex((centred.conj() * (target - target.mean())).sum() / spread)
    return turn, complex(target.mean() - turn * source.mean())


def _bilinear(frame: NDArray[np.uint8], x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Values of the frame at x, y (h, w), black outside."""
    height, width = frame.shape[:2]
    left, top = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
    right_share, bottom_share = x - left, y - top
    total = np.zeros((*x.shape, 3))
    for columns, column_share in ((left, 1 - right_share), (left + 1, right_share)):
        for rows, row_share in ((top, 1 - bottom_share), (top + 1, bottom_share)):
            inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
            values = frame[np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)]  # (h, w, 3)
            total += values * (inside * column_share * row_share)[..., None]
    return np.floor(total + 0.5).astype(np.uint8)


class Window(NamedTuple):
    """A rectangle of a frame in pixels, ends excluded, wholly inside the frame."""

    left: int
    top: int
    right: int
    bottom: int


def upright_windows(track: FaceTrack) -> list[Window]:
    """Return one window per frame, all of one even size, that follow the face smoothly and never turn or zoom.

    The side is twice the longest side of the face's boxes over the clip, at most the frame's. The centre is the
    box's, interpolated where the face is absent and averaged over half a second, each shot by itself; in a shot without
    the face it is the frame's. Windows are shifted into the frame.

    Raises FeatureError if the face is present in no frame.
    """
    if not track.present.any():
        raise FeatureError("a face that is present in no frame has no window to follow")
    boxes = track.boxes[track.present].astype(np.float64)
    side = math.ceil(WINDOW_SIDES * float((boxes[:, 2:] - boxes[:, :2]).max()))
    width, height = (max(min(side, limit) // 2 * 2, 1) for limit in (track.width, track.height))
    windows = []
    for x, y in _centres(track):
        left = min(max(round(x - width / 2), 0), track.width - width)
        top = min(max(round(y - height / 2), 0), track.height - height)
        windows.append(Window(left, top, left + width, top + height))
    return windows


def _centres(track: FaceTrack) -> NDArray[np.float64]:
    """Return the middle of the window in each frame before it is shifted into it, float64 (n_frames, 2)."""
    centres = np.tile([track.width / 2, track.height / 2], (len(track.present), 1))
    middles = (track.boxes[:, :2].astype(np.float64) + track.boxes[:, 2:].astype(np.float64)) / 2
    for first, last in track.shots.bounds:
        frames = np.arange(first, last + 1)
        known = frames[track.present[frames]]
        if len(known):
            for axis in (0, 1):
                centres[frames, axis] = _smoothed(np.interp(frames, known, middles[known, axis]))
    return centres


def crop_frame(frame: NDArray[np.uint8], window: Window) -> NDArray[np.uint8]:
    """Return the window of a frame, uint8, shape (bottom - top, right - left, 3); its pixels are copied unchanged."""
    return np.ascontiguousarray(frame[window.top : window.bottom, window.left : window.right])


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over a sliding window, the ends continued by their last value."""
    reach = SMOOTHING_FRAMES // 2
    padded = np.pad(values, reach, mode="edge")
    sums = np.cumsum(np.concatenate([[0.0], padded]))
    result: NDArray[np.float64] = (sums[SMOOTHING_FRAMES:] - sums[:-SMOOTHING_FRAMES]) / SMOOTHING_FRAMES
    return result
