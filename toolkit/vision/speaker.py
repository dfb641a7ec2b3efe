"""Which of a clip's faces is the speaker's, and how many faces count."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.settings import LOOKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.vision.tracks import FaceTracks

# A face counts if it is seen in a tenth of the clip, at most a second, at least five frames: what is shorter is a
# passer-by, or a texture that looks like a face for a moment.
MIN_SHARE, MIN_FRAMES, ENOUGH_FRAMES = 0.1, 5, 30
MIN_PROBABILITY = 0.95  # faces that people see have 0.99 and more; a texture taken for a face for seconds had 0.87


def counted_tracks(tracks: FaceTracks) -> NDArray[np.intp]:
    """Return the numbers of the tracks that count: seen in a tenth of the clip or in 30 frames, at least in five.

    A clip shorter than five frames needs the face in all of them. The mean probability must be MIN_PROBABILITY.
    """
    needed = min(max(MIN_FRAMES, min(math.ceil(MIN_SHARE * tracks.n_frames), ENOUGH_FRAMES)), tracks.n_frames)
    n_frames = np.bincount(tracks.track)
    probable = np.bincount(tracks.track, weights=tracks.probabilities) >= MIN_PROBABILITY * n_frames
    return np.flatnonzero((n_frames >= needed) & probable)


def count_faces(tracks: FaceTracks) -> int:
    """Return how many faces count; see `counted_tracks`."""
    return len(counted_tracks(tracks))


def person_per_track(tracks: FaceTracks) -> NDArray[np.int32]:
    """Return each track's person, int32 (n_tracks,): each track that counts is a person of its own, others are -1."""
    numbers = counted_tracks(tracks)
    people = np.full(tracks.n_tracks, -1, np.int32)
    people[numbers] = np.arange(len(numbers))
    return people


def find_speaker(tracks: FaceTracks, select: str) -> int | None:
    """Return the number of the speaker's track, None if no face was found.

    Of the tracks that count (of all, where none does):

    - ``largest``: the largest area summed over the frames in which the face is present
    - ``longest``: the most frames; of equal ones the largest
    - ``center``: the least mean distance between the box's centre and the frame's, in frame sizes; of equal ones the
      largest
    - ``first``: the earliest first frame; of equal ones the largest

    What is still equal goes to the lower number. Raises ConfigError for any other `select`.
    """
    if select not in LOOKS:
        raise ConfigError(f"a face cannot be chosen by {select!r}; use one of {', '.join(LOOKS)}")
    if not tracks.n_tracks:
        return None
    numbers = counted_tracks(tracks)
    if not len(numbers):
        numbers = np.arange(tracks.n_tracks)
    boxes = tracks.boxes.astype(np.float64)
    n_frames = np.bincount(tracks.track)
    areas = np.bincount(tracks.track, weights=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    offset = (boxes[:, :2] + boxes[:, 2:]) / 2 / [tracks.width, tracks.height] - 0.5  # (m, 2)
    distances = np.bincount(tracks.track, weights=np.hypot(*offset.T)) / n_frames
    firsts = np.full(tracks.n_tracks, tracks.n_frames)
    np.minimum.at(firsts, tracks.track, tracks.frame)
    worst = {"largest": -areas, "longest": -n_frames, "center": distances, "first": firsts}[select]
    return int(min(numbers, key=lambda number: (worst[number], -areas[number], number)))
