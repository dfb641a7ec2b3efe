"""Which of a clip's people is the speaker, and which face tracks count."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.settings import LOOKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.vision.tracks import FaceTracks

# A face counts if it is seen in a tenth of its shot, at most a second, at least five frames: what is shorter is a
# passer-by, or a texture that looks like a face for a moment.
MIN_SHARE, MIN_FRAMES, ENOUGH_FRAMES = 0.1, 5, 30
# Faces that people see have a probability of 0.99 and more. Textures taken for faces reach 0.97 for a moment and had
# 0.87 for seconds; they are small. A profile, or a face half out of the picture, has 0.93, which a close-up may have.
MIN_PROBABILITY, MIN_CLOSE_UP_PROBABILITY = 0.95, 0.9
CLOSE_UP_SHARE = 0.2  # of the picture's height, that the face's box has


def counted_tracks(tracks: FaceTracks) -> NDArray[np.intp]:
    """Return the numbers of the tracks that count: seen in a tenth of their shot or in 30 frames, at least in five.

    A shot shorter than five frames needs the face in all of them. The mean probability must be MIN_PROBABILITY, of a
    close-up MIN_CLOSE_UP_PROBABILITY: of a face that is, on average, a fifth as high as the picture.
    """
    n_frames = np.bincount(tracks.track)
    shot = np.zeros(len(n_frames), np.int32)
    shot[tracks.track] = tracks.shots.of_frame[tracks.frame]
    length = np.array([last - first + 1 for first, last in tracks.shots.bounds], np.int64)[shot]
    needed = np.minimum(np.ceil(MIN_SHARE * length).clip(MIN_FRAMES, ENOUGH_FRAMES), length)
    heights = np.bincount(tracks.track, weights=tracks.boxes[:, 3] - tracks.boxes[:, 1])
    close_up = heights >= CLOSE_UP_SHARE * tracks.height * n_frames
    least = np.where(close_up, MIN_CLOSE_UP_PROBABILITY, MIN_PROBABILITY)
    probable = np.bincount(tracks.track, weights=tracks.probabilities) >= least * n_frames
    return np.flatnonzero((n_frames >= needed) & probable)


def count_people(people: NDArray[np.int32]) -> int:
    """Return how many people the tracks are of, given each track's person (`people.link_people`)."""
    return int(people.max(initial=-1)) + 1


def find_speaker(tracks: FaceTracks, people: NDArray[np.int32], select: str) -> NDArray[np.bool_]:
    """Return which tracks are the speaker's, bool (n_tracks,).

    people : int32, shape (n_tracks,), each track's person, -1 where it does not count (`people.link_people`). Where no
    track counts, each is taken for a person.

    Among the people:

    - ``largest``: the largest area summed over the frames in which the face is present
    - ``longest``: the most frames; of equal ones the largest
    - ``center``: the least mean distance between the box's centre and the frame's, in frame sizes; of equal ones the
      largest
    - ``first``: the earliest first frame; of equal ones the largest

    If some are still equal it is the one of the lower number. Raises ConfigError for any other `select`.
    """
    if select not in LOOKS:
        raise ConfigError(f"a face cannot be chosen by {select!r}; use one of {', '.join(LOOKS)}")
    if not tracks.n_tracks:
        return np.zeros(0, np.bool_)
    if not count_people(people):
        people = np.arange(tracks.n_tracks, dtype=np.int32)
    rows = people[tracks.track] >= 0
    person = people[tracks.track[rows]]
    boxes = tracks.boxes[rows].astype(np.float64)
    n_frames = np.bincount(person)
    areas = np.bincount(person, weights=(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    offset = (boxes[:, :2] + boxes[:, 2:]) / 2 / [tracks.width, tracks.height] - 0.5  # (m, 2)
    distances = np.bincount(person, weights=np.hypot(*offset.T)) / n_frames
    firsts = np.full(len(n_frames), tracks.n_frames)
    np.minimum.at(firsts, person, tracks.frame[rows])
    worst = {"largest": -areas, "longest": -n_frames, "center": distances, "first": firsts}[select]
    best = min(range(len(n_frames)), key=lambda number: (worst[number], -areas[number], number))
    speakers: NDArray[np.bool_] = people == best
    return speakers
