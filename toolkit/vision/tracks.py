"""Tracks: faces of single frames linked over time by one written rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.vision.mtcnn.cascade import NO_FACES, Detections
from fmltk.toolkit.vision.mtcnn.suppression import overlap_matrix
from fmltk.toolkit.vision.shots import Shots, one_shot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

LINK_OVERLAP = 0.3  # intersection over union that joins a face to a track: at 30 Hz a face moves far less than its size
MAX_GAP_FRAMES = 15  # half a second without the face ends its track: a hand before the face, a glance aside


@dataclass(frozen=True)
class FaceTracks:
    """Every face of a clip, one row per face and frame, sorted by frame, then track.

    n_frames, width, height : of the clip, width and height in pixels
    frame : int32, shape (m,), 0-based; track : int32, shape (m,), numbered from 0 by first appearance
    boxes : float32, shape (m, 4): x1 y1 x2 y2 in pixels
    probabilities : float32, shape (m,), in 0.7..1
    landmarks : float32, shape (m, 5, 2): x y in pixels; left eye, right eye (left in the picture first), nose, corners
        of the mouth
    shots : of the clip; a track lies within one
    """

    n_frames: int
    width: int
    height: int
    frame: NDArray[np.int32]
    track: NDArray[np.int32]
    boxes: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    shots: Shots

    @property
    def n_tracks(self) -> int:
        """How many tracks there are, however short."""
        return int(self.track.max()) + 1 if len(self.track) else 0


@dataclass(frozen=True)
class FaceTrack:
    """One face over a whole clip; NaN where it is absent.

    width, height : of the clip's frames in pixels
    present : bool, shape (n_frames,)
    boxes : float32, shape (n_frames, 4); probabilities : float32, shape (n_frames,)
    landmarks : float32, shape (n_frames, 5, 2)
    shots : of the clip: what changes from one to the next is not motion
    """

    width: int
    height: int
    present: NDArray[np.bool_]
    boxes: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    shots: Shots


def link_faces(found: Sequence[Detections], *, width: int, height: int, shots: Shots | None = None) -> FaceTracks:
    """Link the faces found in each frame of a clip into tracks.

    The rule: frame by frame, a face joins the open track whose last box overlaps it most, if by at least 0.3
    (intersection over union); a track takes one face per frame. The pair with the largest overlap is joined first; of
    equal ones that of the older track, then of the larger face. A face that joins none begins a track; tracks begun in
    one frame are numbered from the largest face down. A track is open until its face has been away for more than
    15 frames (half a second), or its shot ends.

    found : one entry per frame, its faces sorted by size, the largest first; width, height : of the frames in pixels;
    shots : of the clip; None: it is one shot.
    """
    shots = shots or one_shot(len(found))
    begins = set(shots.starts.tolist())
    numbers: list[NDArray[np.int32]] = []
    last_box: dict[int, NDArray[np.float32]] = {}  # open tracks, the oldest first
    last_frame: dict[int, int] = {}
    n_tracks = 0
    for k, faces in enumerate(found):
        for number in [number for number, seen in last_frame.items() if k - seen > MAX_GAP_FRAMES + 1]:
            del last_box[number], last_frame[number]
        if k in begins:
            last_box, last_frame = {}, {}
        joined = np.full(len(faces), -1, np.int32)
        open_tracks = list(last_box)
        if open_tracks and len(faces):
            overlaps = overlap_matrix(np.stack(list(last_box.values())), faces.boxes)
            for i, j in match(overlaps, at_least=LINK_OVERLAP):
                joined[j] = open_tracks[i]
        for j in range(len(faces)):
            if joined[j] < 0:
                joined[j] = n_tracks
                n_tracks += 1
            last_box[int(joined[j])], last_frame[int(joined[j])] = faces.boxes[j], k
        numbers.append(joined)
    return _table(found, numbers, (width, height), shots)


def match(overlaps: NDArray[np.float32], *, at_least: float) -> list[tuple[int, int]]:
    """Pair rows with columns, the largest overlap first; of equal ones the lower row, then the lower column.

    >>> match(np.array([[0.9, 0.8], [0.85, 0.1]], np.float32), at_least=0.3)
    [(0, 0)]
    """
    pairs: list[tuple[int, int]] = []
    rows, columns = set(), set()
    for flat in np.argsort(-overlaps, axis=None, kind="stable"):
        i, j = divmod(int(flat), overlaps.shape[1])
        if overlaps[i, j] < at_least:
            break
        if i not in rows and j not in columns:
            pairs.append((i, j))
            rows.add(i)
            columns.add(j)
    return pairs


def _table(
    found: Sequence[Detections], numbers: Sequence[NDArray[np.int32]], size: tuple[int, int], shots: Shots
) -> FaceTracks:
    frame = np.repeat(np.arange(len(found), dtype=np.int32), [len(faces) for faces in found])
    track = np.concatenate([np.zeros(0, np.int32), *numbers])
    sorted_rows = np.lexsort((track, frame))
    parts = [NO_FACES, *found]
    return FaceTracks(
        n_frames=len(found),
        width=size[0],
        height=size[1],
        frame=frame[sorted_rows],
        track=track[sorted_rows],
        boxes=np.concatenate([faces.boxes for faces in parts])[sorted_rows],
        probabilities=np.concatenate([faces.probabilities for faces in parts])[sorted_rows],
        landmarks=np.concatenate([faces.landmarks for faces in parts])[sorted_rows],
        shots=shots,
    )


def one_person(tracks: FaceTracks, person_of_track: NDArray[np.int32], person: int) -> FaceTrack:
    """Return the tracks of one person joined, as `join_tracks` does.

    person_of_track : int32, shape (n_tracks,), the number of each track's person (`people.link_people`)

    Raises FeatureError if no track is that person's.
    """
    chosen = person_of_track == person
    if not chosen.any():
        n_people = int(person_of_track.max(initial=-1)) + 1
        raise FeatureError(f"the clip has no person {person}; it has {n_people}")
    return join_tracks(tracks, chosen)


def join_tracks(tracks: FaceTracks, chosen: NDArray[np.bool_]) -> FaceTrack:
    """Return some tracks joined, frame by frame; of two faces in a frame the larger one counts.

    chosen : bool, shape (n_tracks,)
    """
    rows = np.flatnonzero(chosen[tracks.track])
    sides = tracks.boxes[rows, 2:] - tracks.boxes[rows, :2]
    smallest_first = np.argsort(sides.prod(axis=1), kind="stable")
    return _over_clip(tracks, rows[smallest_first])


def _over_clip(tracks: FaceTracks, rows: NDArray[np.intp]) -> FaceTrack:
    """Return some rows of the table as one face; of several in a frame the last one stays."""
    frames = tracks.frame[rows]

    def spread(values: NDArray[np.float32]) -> NDArray[np.float32]:
        whole = np.full((tracks.n_frames, *values.shape[1:]), np.nan, np.float32)
        whole[frames] = values[rows]
        return whole

    present = np.zeros(tracks.n_frames, np.bool_)
    present[frames] = True
    return FaceTrack(
        width=tracks.width,
        height=tracks.height,
        present=present,
        boxes=spread(tracks.boxes),
        probabilities=spread(tracks.probabilities),
        landmarks=spread(tracks.landmarks),
        shots=tracks.shots,
    )
