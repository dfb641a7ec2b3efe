"""Faces of a stretch of one shot, most frames searched only where a face was in the frame before.

A full detection runs on the first and the last frame, at least every 60 frames (fewer in large frames, so that the
frames since the last one can be held), and where a face that was followed is lost. In between, each face is searched
for in the neighbourhood of its last box. A face that is new in a full detection is followed backwards through the held
frames to where it began.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.vision.mtcnn.cascade import (
    NO_FACES,
    ONET_MIN,
    STAGE_OVERLAP,
    Detections,
    best_faces,
    squared,
)
from fmltk.toolkit.vision.mtcnn.detector import same_picture
from fmltk.toolkit.vision.mtcnn.pyramid import IntegralImage
from fmltk.toolkit.vision.mtcnn.suppression import overlap_matrix
from fmltk.toolkit.vision.tracks import LINK_OVERLAP, MAX_GAP_FRAMES, match
from fmltk.toolkit.vision.windows import neighbourhood

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from fmltk.toolkit.media.pictures import Frame
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
    from fmltk.toolkit.vision.mtcnn.pyramid import Level

FULL_EVERY_FRAMES = 60  # two seconds: the full detections then cost less than the search in between
FULL_EVERY_AT_LEAST = 30  # in large frames; what is held is thinned out where even so many do not fit
HELD_BYTES = 240 * 2**20  # frames held since the last full detection: 60 of 1.4 megapixels as RGB, of 2.8 as decoded
FULL_APART_FRAMES = 10  # a loss sooner after a full detection waits: flicker must not cost one per frame
SETTLED_FRAMES = 10  # a face seen for shorter may vanish without a full detection: it may be a texture
SEEN_OVERLAP = 0.8  # with which the last network must see a face half way between its boxes
SEARCH_CELLS = 35_000  # a neighbourhood's search costs as much as a full detection of so many pyramid cells


@dataclass(frozen=True)
class Target:
    """A face being followed: its last box, and the frames where it was first and last seen."""

    box: NDArray[np.float32]
    since: int
    seen: int


@dataclass
class HeldFrame:
    """A frame since the last full detection, thinned out by a whole factor, and the faces found in it."""

    picture: Frame
    faces: Detections


def follow_faces(frames: Iterable[Frame], detector: FaceDetector, *, every: int = 1) -> Iterator[Detections]:
    """Yield the faces of each frame, the largest first, in order but up to 60 frames late.

    frames : uint8, each of the same shape (H, W, 3), RGB, or `Picture`. At most 240 MB of them are held.
    every : 1, or 2 to search every second frame and look between with `faces_between`
    """
    iterator = iter(frames)
    frame = next(iterator, None)
    follower = None
    while frame is not None:
        follower = follower or Follower(detector, frame, every=every)
        following = next(iterator, None)
        yield from follower.take(frame, last=following is None)
        frame = following


class Follower:
    """The state of `follow_faces`: feed it frames of one shape, it returns faces once they are settled."""

    def __init__(self, detector: FaceDetector, frame: Frame, *, every: int = 1) -> None:
        self._detector = detector
        self._skips = every > 1
        self._n_skipped = 0  # how many frames before the current one show one picture that has not been searched yet
        self._levels = detector.levels(frame)
        n_bytes = frame.nbytes
        if thinning_factor(n_bytes) > 1:
            n_bytes = math.prod(frame.shape)  # what is thinned out is RGB
        self._factor = thinning_factor(n_bytes)
        self._full_every = full_detection_period(n_bytes)
        self._most_targets = sum(level.rows * level.columns for level in self._levels) / SEARCH_CELLS
        self._targets: list[Target] = []
        self._held: list[HeldFrame] = []
        self._k = self._before = -1  # the current frame, and the last one before it that was not skipped
        self._last_full = -self._full_every  # the frame of the last full detection
        self._full_picture: Frame | None = None  # and its picture
        self._wants_full = False
        self._previous: Frame | None = None
        self._previous_faces = NO_FACES

    def take(self, frame: Frame, *, last: bool) -> list[Detections]:
        """Take the next frame; return the faces of all frames that are settled by it, in order."""
        self._k += 1
        repeated = self._previous is not None and same_picture(self._previous, frame)
        if repeated and self._previous is not None:
            frame = self._previous
        known = frame is self._full_picture  # repeated since a full detection: another one would find the same
        due = self._full_is_due(last=last)
        if self._skips and not due and repeated == (self._n_skipped > 0):
            self._held.append(HeldFrame(self._thinned(frame), NO_FACES))
            self._previous = frame
            self._n_skipped += 1
            return []
        if not due or known:
            faces = self._previous_faces if repeated and not self._n_skipped else self._search(frame)
            self._update_targets(faces)
            due = due or self._full_is_due(last=last)
        if due and not known:
            faces = self._detector.detect_frame(frame)
        self._look_between(faces, shown=repeated)
        if due and not known:
            self._trace_newcomers(faces)
            self._update_targets(faces)
        settled = self._settle(frame, faces, due=due)
        self._previous, self._previous_faces, self._before = frame, faces, self._k
        return settled

    def _look_between(self, faces: Detections, *, shown: bool) -> None:
        """Find the faces of the picture that was skipped: between those before it and the current frame's `faces`.

        shown : the current frame shows that very picture
        """
        if self._n_skipped and self._previous is not None:
            between: Detections | None = faces
            if not shown:
                between = faces_between(self._previous_faces, faces, self._previous, self._detector)
            if between is None:
                boxes = np.concatenate([self._previous_faces.boxes, faces.boxes])
                near = [self._search_near(self._previous, box, self._levels) for box in boxes]
                between = best_faces(join_faces(near))
            for held in self._held[-self._n_skipped :]:
                held.faces = between
            self._n_skipped = 0

    def _settle(self, frame: Frame, faces: Detections, *, due: bool) -> list[Detections]:
        """Hold the frame, or give out all held ones where it was detected fully."""
        if not due:
            self._held.append(HeldFrame(self._thinned(frame), faces))
            return []
        self._last_full, self._full_picture, self._wants_full = self._k, frame, False
        settled = [*(held.faces for held in self._held), faces]
        self._held.clear()
        return settled

    def _full_is_due(self, *, last: bool) -> bool:
        elapsed = self._k - self._last_full
        wanted = self._wants_full and elapsed >= FULL_APART_FRAMES
        return last or wanted or elapsed >= self._full_every or len(self._targets) > self._most_targets

    def _search(self, frame: Frame) -> Detections:
        """Return the faces in the targets' neighbourhoods, the largest first."""
        found = [self._search_near(frame, target.box, self._levels) for target in self._targets]
        return found[0] if len(found) == 1 else best_faces(join_faces(found))

    def _search_near(self, frame: Frame, box: NDArray[np.float32], levels: list[Level]) -> Detections:
        around = neighbourhood(box, levels, height=frame.shape[0], width=frame.shape[1])
        return self._detector.search(around.image(frame), around.windows)

    def _update_targets(self, faces: Detections) -> None:
        """Follow the faces of the current frame, and for half a second more those that it lacks."""
        pairs = match(self._overlaps(faces), at_least=LINK_OVERLAP)
        renewed = dict(pairs)
        followed = []
        for i, target in enumerate(self._targets):
            if i in renewed:
                followed.append(Target(faces.boxes[renewed[i]], target.since, self._k))
            elif self._k - target.seen <= MAX_GAP_FRAMES:
                followed.append(target)
                just_lost = target.seen == self._before
                self._wants_full |= just_lost and self._k - target.since >= SETTLED_FRAMES
        newcomers = sorted(set(range(len(faces))) - set(renewed.values()))
        self._targets = followed + [Target(faces.boxes[j], self._k, self._k) for j in newcomers]

    def _overlaps(self, faces: Detections) -> NDArray[np.float32]:
        boxes = [target.box for target in self._targets]
        return overlap_matrix(np.stack(boxes) if boxes else NO_FACES.boxes, faces.boxes)

    def _trace_newcomers(self, faces: Detections) -> None:
        """Follow faces that no target led to backwards through the held frames."""
        known = {j for _, j in match(self._overlaps(faces), at_least=LINK_OVERLAP)}
        for j in range(len(faces)):
            if j not in known:
                self._trace(faces.boxes[j])

    def _trace(self, box: NDArray[np.float32]) -> None:
        """Add one face to the held frames, from the latest to the first in which it is found.

        It ends where the face was known already, or has been away for half a second.
        """
        scale = np.float32(self._factor)
        levels, picture, nearest = None, None, NO_FACES
        n_missed = 0
        for held in reversed(self._held):
            if held.picture is not picture:
                picture = held.picture
                levels = levels or self._detector.levels(picture)
                near = scaled(self._search_near(picture, box / scale, levels), scale)
                nearest = near.take(np.argsort(-overlap_matrix(box[None], near.boxes)[0], kind="stable")[:1])
            if not len(nearest) or overlap_matrix(box[None], nearest.boxes)[0, 0] < LINK_OVERLAP:
                n_missed += 1
                if n_missed > MAX_GAP_FRAMES:
                    return
                continue
            if (overlap_matrix(nearest.boxes, held.faces.boxes, over="smaller", edge=1.0) > STAGE_OVERLAP).any():
                return
            n_missed, box = 0, nearest.boxes[0]
            held.faces = best_faces(join_faces([held.faces, nearest]))

    def _thinned(self, frame: Frame) -> Frame:
        if self._factor == 1:
            return frame
        if self._held and frame is self._previous:
            return self._held[-1].picture
        return frame[:: self._factor, :: self._factor].copy()


def faces_between(before: Detections, after: Detections, frame: Frame, detector: FaceDetector) -> Detections | None:
    """Return the faces of a frame from those of its two neighbours, or None where it has to be searched.

    Each face, its landmarks and its probability are put half way, and the last network looks there: it must see a
    face, whose box must overlap by 0.8.
    """
    pairs = match(overlap_matrix(before.boxes, after.boxes), at_least=LINK_OVERLAP)
    if not len(before) == len(after) == len(pairs):
        return None
    if not pairs:
        return NO_FACES
    first, second = (np.array(index) for index in zip(*sorted(pairs), strict=True))
    half_way = Detections(
        (before.boxes[first] + after.boxes[second]) / 2,
        (before.probabilities[first] + after.probabilities[second]) / 2,
        (before.landmarks[first] + after.landmarks[second]) / 2,
    )
    squares = squared(half_way.boxes)
    corners = np.trunc(np.concatenate([squares[:, :2].min(axis=0) - 2, squares[:, 2:].max(axis=0) + 2])).astype(int)
    left, top, right, bottom = np.maximum(corners, 0).tolist()
    seen = detector.judge(IntegralImage(frame, top=top, bottom=bottom, left=left, right=right), squares)
    if len(seen) < len(squares) or (seen.probabilities <= ONET_MIN).any():
        return None
    if (np.diag(overlap_matrix(seen.boxes, half_way.boxes)) < SEEN_OVERLAP).any():
        return None
    return best_faces(half_way)


def thinning_factor(n_bytes: int) -> int:
    """Return the whole factor by which held frames of `n_bytes` are thinned out, so that 30 of them fit.

    >>> thinning_factor(1920 * 1080 * 3), thinning_factor(3840 * 2160 * 3)
    (1, 2)
    """
    factor = 1
    while n_bytes / factor**2 * FULL_EVERY_AT_LEAST > HELD_BYTES:
        factor += 1
    return factor


def full_detection_period(n_bytes: int) -> int:
    """Return the largest number of frames from one full detection to the next, for frames of `n_bytes`.

    >>> full_detection_period(1280 * 720 * 3), full_detection_period(1920 * 1080 * 3)
    (60, 40)
    """
    held_each = n_bytes / thinning_factor(n_bytes) ** 2
    return min(int(HELD_BYTES / held_each), FULL_EVERY_FRAMES)


def join_faces(parts: list[Detections]) -> Detections:
    """Return the faces of several searches of one frame as they come."""
    parts = [NO_FACES, *parts]
    return Detections(
        np.concatenate([faces.boxes for faces in parts]),
        np.concatenate([faces.probabilities for faces in parts]),
        np.concatenate([faces.landmarks for faces in parts]),
    )


def scaled(faces: Detections, scale: np.float32) -> Detections:
    """Return faces found in a frame thinned out by `scale` at their place in the frame."""
    return Detections(faces.boxes * scale, faces.probabilities, faces.landmarks * scale)
