"""People: face tracks linked across the shots of a clip by what the faces look like."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from fmltk.toolkit.media.pictures import Frame
    from fmltk.toolkit.vision.looks import Looks
    from fmltk.toolkit.vision.tracks import FaceTracks

FACES_PER_TRACK = 3  # looked at: of each third of the track the surest; 0.12 CPU-s each with dlib


def link_people(
    tracks: FaceTracks,
    counted: NDArray[np.intp],
    frames: Callable[[], Iterable[Frame]],
    looks: Looks | None,
) -> NDArray[np.int32]:
    """Return the number of each track's person, int32 (n_tracks,), from 0 by first appearance; -1 where none counts.

    Groups of tracks are joined, the two that look most alike first, as long as the mean distance of their faces is at
    most the looks' threshold. Two faces in one frame are two people. At equal distances the lower numbers are joined
    first.

    Parameters
    ----------
    tracks : FaceTracks
    counted : the numbers of the tracks that count (`speaker.counted_tracks`)
    frames : gives the clip's frames uint8 (H, W, 3) once more; called only where two tracks may be one person's
    looks : how faces are compared; None: each track is a person
    """
    people = np.full(tracks.n_tracks, -1, np.int32)
    groups = [[k] for k in range(len(counted))]
    if looks is not None and may_be_linked(tracks, counted):
        together = _seen_together(tracks, counted)
        faces = _looks_of_tracks(tracks, counted, frames(), looks)
        distances = np.full(together.shape, np.inf)
        for a, b in combinations(range(len(counted)), 2):
            if not together[a, b]:
                distances[a, b] = distances[b, a] = _mean_distance(faces[a], faces[b], looks)
        groups = _joined(distances, threshold=looks.threshold)
    for number, group in enumerate(sorted(groups, key=min)):  # tracks are numbered by first appearance
        people[counted[group]] = number
    return people


def may_be_linked(tracks: FaceTracks, counted: NDArray[np.intp]) -> bool:
    """Return whether two of the counted tracks may be one person's: they share no frame."""
    return not _seen_together(tracks, counted)[np.triu_indices(len(counted), 1)].all()


def _seen_together(tracks: FaceTracks, counted: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which of the counted tracks share a frame, bool (n, n)."""
    present = np.zeros((len(counted), tracks.n_frames), np.float32)
    for k, number in enumerate(counted):
        present[k, tracks.frame[tracks.track == number]] = 1.0
    shared: NDArray[np.float32] = present @ present.T  # frames that each two share
    return shared > 0


def sampled_rows(tracks: FaceTracks, number: int) -> list[int]:
    """Return the rows of a track's faces that stand for it: of each third of it the surest, the first of equals.

    They are fewer where the track has fewer than three faces.
    """
    rows = np.flatnonzero(tracks.track == number)
    parts = np.array_split(rows, min(FACES_PER_TRACK, len(rows)))
    return [int(part[np.argmax(tracks.probabilities[part])]) for part in parts]


def _looks_of_tracks(
    tracks: FaceTracks, counted: NDArray[np.intp], frames: Iterable[Frame], looks: Looks
) -> list[list[NDArray[np.float32]]]:
    """Return what a few faces of each counted track look like."""
    found: list[list[NDArray[np.float32]]] = [[] for _ in counted]
    wanted: dict[int, list[tuple[int, int]]] = {}
    for k, number in enumerate(counted):
        for row in sampled_rows(tracks, int(number)):
            wanted.setdefault(int(tracks.frame[row]), []).append((k, row))
    last = max(wanted)
    for number, frame in enumerate(frames):
        if number in wanted:
            whole = np.asarray(frame)
            for k, row in wanted[number]:
                found[k].append(looks.describe(whole, tracks.boxes[row]))
        if number == last:
            break
    return found


def _mean_distance(first: list[NDArray[np.float32]], second: list[NDArray[np.float32]], looks: Looks) -> float:
    return float(np.mean([looks.distance(a, b) for a in first for b in second]))


def _joined(distances: NDArray[np.float64], *, threshold: float) -> list[list[int]]:
    """Return groups of tracks by average linkage up to the threshold.

    distances : shape (n, n), inf for two that are never joined, such as a track and itself
    """
    groups = {k: [k] for k in range(len(distances))}
    between = distances.copy()  # of the groups named by their first tracks
    while True:
        first, second = divmod(int(np.argmin(between)), len(between))  # first < second: of equals the lower is found
        if between[first, second] > threshold:
            return list(groups.values())
        sizes = len(groups[first]), len(groups[second])
        joined = (between[first] * sizes[0] + between[second] * sizes[1]) / sum(sizes)
        between[first] = between[:, first] = joined
        between[second] = between[:, second] = between[first, first] = np.inf
        groups[first] += groups.pop(second)
