"""Shots: where the picture of a clip is cut, found while its frames pass by.

Frames are compared as small pictures that are brought to one brightness and contrast, so that darkness, a fade, a
lamp or a flash changes little and another view changes much. The rule is written at `numbered_frames`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import NDArray

    from fmltk.toolkit.media.pictures import Frame

PICTURE_ROWS, PICTURE_COLUMNS = 36, 64  # of the small picture, at least
COUNTED_SHARE = 0.75  # of the height, from above: below it subtitles come and go
BLANK_CONTRAST = 1.5  # standard deviation (0..255) up to which a picture shows nothing: black, white, one colour
# Differences are means of |a - b| in standard deviations. At composed cuts they are 0.38 to 1.4, also in the dark and
# between two people at one place; people who talk reach 0.18, a camera that is swung 1.1, but for several frames.
MIN_CUT = 0.18
MOTION_RATIO = 2.5  # a cut changes this many times as much as each of the changes next to it
MOTION_CHANGES = 3  # how many changes before and after it are looked at; a repeated frame is none
MIN_CHANGE = 0.002  # what compression makes of a repeated frame
FLASH_FRAMES = 7  # what is over within a quarter of a second, and leaves the view as it was, is not a shot
LOOK_BYTES = 192 * 2**20  # frames looked at ahead: 7 up to 4K, fewer beyond


@dataclass(frozen=True)
class Shots:
    """The shots of a clip: stretches of frames without a cut.

    starts : int32, shape (n_shots,), each shot's first frame, the first 0; empty without frames
    n_frames : of the clip

    >>> shots = Shots(np.array([0, 4], np.int32), 6)
    >>> shots.n_shots, shots.bounds, shots.of_frame.tolist()
    (2, [(0, 3), (4, 5)], [0, 0, 0, 0, 1, 1])
    """

    starts: NDArray[np.int32]
    n_frames: int

    @property
    def n_shots(self) -> int:
        """How many shots there are."""
        return len(self.starts)

    @property
    def bounds(self) -> list[tuple[int, int]]:
        """Each shot's first and last frame."""
        edges = [*self.starts.tolist(), self.n_frames]
        return [(first, following - 1) for first, following in pairwise(edges)]

    @property
    def of_frame(self) -> NDArray[np.int32]:
        """The number of each frame's shot, int32 (n_frames,)."""
        return np.searchsorted(self.starts, np.arange(self.n_frames), side="right").astype(np.int32) - np.int32(1)


def one_shot(n_frames: int) -> Shots:
    """Return the shots of a clip that is not cut."""
    return Shots(np.zeros(min(n_frames, 1), np.int32), n_frames)


class NumberedFrame(NamedTuple):
    """A frame, uint8 (H, W, 3) or a `Picture`, and the number of its shot, from 0."""

    frame: Frame
    shot: int


def numbered_frames(frames: Iterable[Frame]) -> Iterator[NumberedFrame]:
    """Yield each frame with the number of its shot.

    A shot begins where the picture differs from the one before by at least MIN_CUT, and at least twice as much as by
    each of the three changes before and after it (a moving camera changes every frame), unless the view from before is
    back within FLASH_FRAMES. Blank pictures belong to the shot before them: what is before them is compared with what
    follows, so that a fade to black and back is not a cut, and one to another view is.

    frames : uint8, shape (H, W, 3), RGB. At most FLASH_FRAMES of them are held, and only where a cut is suspected.

    >>> dark, light = np.zeros((2, 90, 160, 3), np.uint8)
    >>> light[:, 40:] = 90
    >>> [shot for _, shot in numbered_frames([dark, light, light])]
    [0, 0, 0]
    >>> [shot for _, shot in numbered_frames([light, light, light[:, ::-1], light[:, ::-1]])]
    [0, 0, 1, 1]
    """
    ahead = _Ahead(frames)
    cuts = _CutFinder()
    shot = 0
    while (passed := ahead.next()) is not None:
        frame, view = passed
        if view is not None:
            shot += cuts.begins_shot(view, ahead.look)
        yield NumberedFrame(frame, shot)


class _Ahead:
    """Frames with their small pictures, some of them looked at before they pass."""

    def __init__(self, frames: Iterable[Frame]) -> None:
        self._frames = iter(frames)
        self._waiting: deque[tuple[Frame, NDArray[np.float32] | None]] = deque()

    def next(self) -> tuple[Frame, NDArray[np.float32] | None] | None:
        self._fill(1)
        return self._waiting.popleft() if self._waiting else None

    def look(self) -> list[NDArray[np.float32]]:
        """Return the pictures of the next frames, without blank ones."""
        self._fill(1)
        if self._waiting:
            self._fill(max(1, min(FLASH_FRAMES, LOOK_BYTES // math.prod(self._waiting[0][0].shape))))
        return [view for _, view in self._waiting if view is not None]

    def _fill(self, n: int) -> None:
        while len(self._waiting) < n and (frame := next(self._frames, None)) is not None:
            self._waiting.append((frame, small_picture(frame)))


class _CutFinder:
    """The rule's memory of the frames that have passed."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None  # what was seen last, before any flash
        self._motion: deque[float] = deque(maxlen=MOTION_CHANGES)
        self._n_flash = 0  # how many of the pictures to come are part of a flash

    def begins_shot(self, view: NDArray[np.float32], look: Callable[[], list[NDArray[np.float32]]]) -> bool:
        """Return whether the next picture begins a shot; `look` gives those that follow it."""
        if self._n_flash:
            self._n_flash -= 1
            return False
        change = 0.0 if self._last is None else difference(self._last, view)
        cut = False
        if self._last is not None and change >= max(MIN_CUT, MOTION_RATIO * max(self._motion, default=0.0)):
            following = look()
            back = [difference(self._last, one) < difference(view, one) for one in following]
            if any(back):
                self._n_flash = back.index(True)
                return False
            steps = [difference(a, b) for a, b in pairwise([view, *following])]
            next_motion = [step for step in steps if step > MIN_CHANGE][:MOTION_CHANGES]
            cut = change >= MOTION_RATIO * max(next_motion, default=0.0)
        self._last = view
        if cut:
            self._motion.clear()
        elif change > MIN_CHANGE:
            self._motion.append(change)
        return cut


def small_picture(frame: Frame) -> NDArray[np.float32] | None:
    """Return samples of the upper three quarters of a frame, float32 (rows, columns, 3), or None if it is blank.

    Each colour's mean is 0; the standard deviation of all numbers is 1.
    """
    height = math.ceil(frame.shape[0] * COUNTED_SHARE)
    row_step, column_step = max(height // PICTURE_ROWS, 1), max(frame.shape[1] // PICTURE_COLUMNS, 1)
    picture = frame[:height:row_step, ::column_step].astype(np.float32)
    picture -= picture.reshape(-1, 3).mean(axis=0)
    contrast = math.sqrt(float(np.vdot(picture, picture)) / picture.size)
    return None if contrast <= BLANK_CONTRAST else picture / np.float32(contrast)


def difference(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Return the mean difference of two small pictures in standard deviations: 0 (the same) to about 1.6."""
    return float(np.abs(a - b).mean())
