"""Faces as LR-ASD sees them: grey, 112 x 112 px around the mouth, 25 a second, following the face smoothly."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.settings import FRAME_RATE_HZ
from fmltk.toolkit.vision.active_speaker.network import FACE_SIDE_PX, VIDEO_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.media.pictures import Frame
    from fmltk.toolkit.vision.tracks import FaceTracks

MEDIAN_FRAMES = 13  # half a second: the crop follows the head, not the detector's jitter
ABOVE, BELOW, ASIDE = 1.0, 1.8, 1.4  # how far the crop reaches from the face's centre, in halves of its longer side
RESIZED_PX = 224  # the crop's side, of which the middle is kept
OUTSIDE = 110.0  # grey beyond the picture
GREY = np.array([0.299, 0.587, 0.114])  # of red, green, blue
LONGEST_FRAMES = 60 * VIDEO_RATE_HZ  # a stretch is at most a minute, 19 MB; a multiple of all durations judged


@dataclass(frozen=True)
class FaceStretch:
    """A part of a face track in which the face is looked at.

    Attributes
    ----------
    track
        Its number.
    first
        The first frame, of 25 a second.
    places
        float64, shape (n, 3): x and y of the face's centre, and half its longer side, in pixels.
    faces
        uint8, shape (n, 112, 112), filled as the frames are read.
    """

    track: int
    first: int
    places: NDArray[np.float64]
    faces: NDArray[np.uint8] = field(repr=False, default_factory=lambda: np.zeros((0, 0, 0), np.uint8))

    @property
    def last(self) -> int:
        """The last frame."""
        return self.first + len(self.places) - 1


def face_stretches(tracks: FaceTracks, numbers: Sequence[int] | NDArray[np.intp]) -> list[FaceStretch]:
    """Return the stretches of the tracks of these numbers, sorted by their first frame.

    Boxes of 30 frames a second are taken at 25, between frames by their distance, and median-filtered.
    """
    found = []
    for number in numbers:
        rows = tracks.track == number
        seen, boxes = tracks.frame[rows], tracks.boxes[rows].astype(np.float64)
        first, last = _ends(seen)
        frames = np.arange(first, last + 1)
        at = frames * (FRAME_RATE_HZ / VIDEO_RATE_HZ)  # on the tracks' grid
        half_sides = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]) / 2
        values = ((boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2, half_sides)
        places = np.stack([_median_filtered(np.interp(at, seen, one)) for one in values], axis=1)
        for k in range(0, len(frames), LONGEST_FRAMES):
            found.append(FaceStretch(int(number), int(first + k), places[k : k + LONGEST_FRAMES]))
    return sorted(found, key=lambda one: (one.first, one.track))


def rows_of_stretch(tracks: FaceTracks, stretch: FaceStretch) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which faces of `tracks` a stretch covers, as row numbers, and which of its frames each of them is."""
    rows = np.flatnonzero(tracks.track == stretch.track)
    first, last = _ends(tracks.frame[rows])
    frames = np.round(tracks.frame[rows] * (VIDEO_RATE_HZ / FRAME_RATE_HZ)).clip(first, last).astype(np.intp)
    inside = (frames >= stretch.first) & (frames <= stretch.last)
    return rows[inside], frames[inside] - stretch.first


def _ends(seen: NDArray[np.int32]) -> tuple[int, int]:
    """Return the first and the last of 25 frames a second within the frames in which a face is seen, 30 a second."""
    first = -(-int(seen[0]) * VIDEO_RATE_HZ // FRAME_RATE_HZ)
    return first, max(first, int(seen[-1]) * VIDEO_RATE_HZ // FRAME_RATE_HZ)


def _median_filtered(values: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.ndimage import median_filter

    filtered: NDArray[np.float64] = median_filter(values, size=MEDIAN_FRAMES, mode="nearest")
    return filtered


def cut_faces(frames: Iterable[Frame], stretches: Sequence[FaceStretch]) -> Iterator[FaceStretch]:
    """Yield the stretches with their faces, each as soon as its last frame is read.

    frames : uint8 (height, width, 3) RGB, 25 a second; where they end early, so do the stretches
    stretches : sorted by their first frame
    """
    waiting = list(stretches)
    open_ones: list[tuple[FaceStretch, list[NDArray[np.uint8]]]] = []
    for k, frame in enumerate(frames):
        while waiting and waiting[0].first <= k:
            open_ones.append((waiting.pop(0), []))
        for stretch, faces in open_ones:
            faces.append(cut_face(frame, stretch.places[k - stretch.first]))
        yield from (_filled(*one) for one in open_ones if one[0].last == k)
        open_ones = [one for one in open_ones if one[0].last > k]
        if not waiting and not open_ones:
            return
    yield from (_filled(*one) for one in open_ones)


def _filled(stretch: FaceStretch, faces: list[NDArray[np.uint8]]) -> FaceStretch:
    return FaceStretch(stretch.track, stretch.first, stretch.places[: len(faces)], np.stack(faces))


def cut_face(frame: Frame, place: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return the face at `place` (x, y, half its longer side): uint8 (112, 112), grey.

    A square from the forehead to below the chin is resized bilinearly to 224 px, and its middle is kept. Beyond the
    picture it is grey.

    frame : uint8 (height, width, 3), RGB
    """
    x, y, half = place
    top, bottom = int(np.floor(y - ABOVE * half)), int(np.floor(y + BELOW * half))
    left, right = int(np.floor(x - ASIDE * half)), int(np.floor(x + ASIDE * half))
    rows, columns = _middle(top, max(bottom, top + 1)), _middle(left, max(right, left + 1))
    upper, lefter = np.floor(rows).astype(int), np.floor(columns).astype(int)
    first_row, first_column = upper[0], lefter[0]
    grey = _grey(frame, first_row, upper[-1] + 2, first_column, lefter[-1] + 2)
    down, aside = (rows - upper)[:, None], columns - lefter
    grey = grey[upper - first_row] * (1 - down) + grey[upper - first_row + 1] * down  # (112, w)
    left_ones, right_ones = grey[:, lefter - first_column], grey[:, lefter - first_column + 1]
    face: NDArray[np.uint8] = np.floor(left_ones * (1 - aside) + right_ones * aside + 0.5).astype(np.uint8)
    return face


def _middle(start: int, stop: int) -> NDArray[np.float64]:
    """Return where in the picture the middle 112 of the crop's 224 pixels lie along one axis."""
    margin = (RESIZED_PX - FACE_SIDE_PX) // 2
    pixels = np.arange(margin, margin + FACE_SIDE_PX)
    scale = (stop - start) / RESIZED_PX
    return start + np.clip((pixels + 0.5) * scale - 0.5, 0, stop - start - 1)


def _grey(frame: Frame, top: int, bottom: int, left: int, right: int) -> NDArray[np.float64]:
    """Return the grey values of a rectangle, of whole numbers, float64 (bottom - top, right - left)."""
    inside = frame[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    grey = np.full((bottom - top, right - left), OUTSIDE)
    if inside.size:
        rows = slice(max(-top, 0), max(-top, 0) + inside.shape[0])
        columns = slice(max(-left, 0), max(-left, 0) + inside.shape[1])
        grey[rows, columns] = np.floor(inside @ GREY + 0.5)
    return grey
