"""Who of several people is the speaker, from who speaks when; and when that cannot be said.

Each source (turns, LR-ASD, mouth motion) says for each person and frame whether they speak. From it follows the
same for all: the person who speaks most is the speaker, unless two speak at once, the second speaks nearly as much, or
nobody in view speaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.vision.tracks import FaceTracks

TURNS, ASD, MOUTH = "turns", "asd", "mouth"  # sources, the best first
UNSURE = "unsure"
LEAST_MARGIN = 0.2  # of the frames in which somebody speaks: a person in 60 % against one in 40 % is a speaker
MOST_OVERLAP = 0.25  # of these frames, how many may have a second speaker
LEAST_SPOKEN = 0.2  # of the frames with speech, how many must have somebody in view who speaks
FAINT = 0.4  # mouths that move less than this share of the most moving one in the frame do not speak


@dataclass(frozen=True)
class Speaker:
    """Who speaks, and how clearly.

    Attributes
    ----------
    person
        The face that counts in each frame, int32 (n_frames,); -1: nobody's. With one speaker it is the same in all
        frames.
    share
        The speaker's share of the frames in which somebody speaks, 0 to 1.
    margin
        How much larger that share is than the next person's.
    doubt
        Why the speaker is unsure, in words; empty where it is sure.
    """

    person: NDArray[np.int32]
    share: float
    margin: float
    doubt: str = ""


def people_in_view(tracks: FaceTracks, person_of_track: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return who is in view, bool (n_people, n_frames).

    person_of_track : int32 (n_tracks,), from 0; -1: the track counts for nobody
    """
    return scored_people(tracks, person_of_track, np.ones(len(tracks.frame), np.float32)) > 0


def scored_people(
    tracks: FaceTracks, person_of_track: NDArray[np.int32], scores: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return each person's score in each frame, float32 (n_people, n_frames); minus infinity where they have none.

    scores : float32 (m,), of each face and frame of `tracks`; NaN where there is none
    """
    n_people = int(person_of_track.max(initial=-1)) + 1
    found = np.full((n_people, tracks.n_frames), -np.inf, np.float32)
    person = person_of_track[tracks.track]
    counts = (person >= 0) & np.isfinite(scores)
    np.maximum.at(found, (person[counts], tracks.frame[counts]), scores[counts])
    return found


def moving_mouths(motion: NDArray[np.float32], *, threshold: float, speech: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return who speaks by the motion of their mouths, bool (n_people, n_frames).

    motion : float32 (n_people, n_frames), minus infinity where a person is not seen
    threshold : what a mouth moves at least that speaks
    speech : bool (n_frames,), where somebody is heard
    """
    most = np.maximum(motion.max(axis=0, initial=0.0), 0.0)
    moving: NDArray[np.bool_] = (motion > threshold) & (motion >= FAINT * most) & speech
    return moving


def choose_speaker(speaks: NDArray[np.bool_], *, n_speech: int) -> Speaker:
    """Return the one person who speaks most of the clip.

    speaks : bool (n_people, n_frames); n_speech : the number of frames in which somebody is heard

    If two speak equally long, the first one is named, and unsure.

    >>> speaks = np.array([[1, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1, 0, 0]], bool)
    >>> speaker = choose_speaker(speaks, n_speech=6)
    >>> int(speaker.person[0]), speaker.share, speaker.margin, speaker.doubt
    (0, 0.75, 0.5, '')
    """
    totals = _Totals.of(speaks)
    person = np.full(speaks.shape[1], totals.best, np.int32)
    return Speaker(person, totals.share, totals.margin, totals.doubt(n_speech))


def choose_active(speaks: NDArray[np.bool_], starts: Sequence[int], *, n_speech: int) -> Speaker:
    """Return who speaks most of each shot; -1 in shots in which nobody in view speaks.

    starts : the first frame of each shot, from 0
    Share, margin and doubt are of the shots taken together.
    """
    n_frames = speaks.shape[1]
    person = np.full(n_frames, -1, np.int32)
    totals = _Totals(0, 0, 0, 0, 0)
    for first, last in zip(starts, [*starts[1:], n_frames], strict=True):
        shot = _Totals.of(speaks[:, first:last])
        if shot.spoken:
            person[first:last] = shot.best
        totals = totals.with_shot(shot)
    return Speaker(person, totals.share, totals.margin, totals.doubt(n_speech))


@dataclass(frozen=True)
class _Totals:
    """The person who speaks most, and frames: theirs, the second's, with both at once, with anybody."""

    best: int
    first: int
    second: int
    overlap: int
    spoken: int

    @classmethod
    def of(cls, speaks: NDArray[np.bool_]) -> _Totals:
        frames = speaks.sum(axis=1)
        best = int(np.argmax(frames))
        others = np.delete(speaks, best, axis=0)
        return cls(
            best,
            first=int(frames[best]),
            second=int(others.sum(axis=1).max(initial=0)),
            overlap=int((speaks.sum(axis=0) > 1).sum()),
            spoken=int(speaks.any(axis=0).sum()),
        )

    def with_shot(self, shot: _Totals) -> _Totals:
        return _Totals(
            self.best,
            self.first + shot.first,
            self.second + shot.second,
            self.overlap + shot.overlap,
            self.spoken + shot.spoken,
        )

    @property
    def share(self) -> float:
        return self.first / self.spoken if self.spoken else 0.0

    @property
    def margin(self) -> float:
        return (self.first - self.second) / self.spoken if self.spoken else 0.0

    def doubt(self, n_speech: int) -> str:
        if not self.spoken:
            return "nobody in view is seen to speak"
        if self.spoken < LEAST_SPOKEN * n_speech:
            return f"somebody in view speaks in only {self.spoken} of the {n_speech} frames with speech"
        if self.overlap > MOST_OVERLAP * self.spoken:
            return f"two people speak at once in {self.overlap} of {self.spoken} frames"
        if self.margin < LEAST_MARGIN:
            return f"two people speak nearly as much, in {self.first} and {self.second} frames"
        return ""


def tie_names(
    turns: Mapping[str, NDArray[np.bool_]],
    speaks: NDArray[np.bool_],
    in_view: NDArray[np.bool_],
    *,
    taken: Collection[int] = (),
) -> dict[str, int]:
    """Return which person each name of the turns is, by who speaks or is in view while it is their turn.

    turns : by name, bool (n_frames,); speaks, in_view : bool (n_people, n_frames); taken : people with a name already

    A name goes with the person who is seen to speak in most of its turns, else with the one who is in view in them and
    out of view in the others'. A name whose second-best person is nearly as likely, and one whose person is another
    name's already, is left out.
    """
    if not len(in_view):
        return {}
    evidence = {}
    for name, turn in turns.items():
        others = np.any([other for one, other in turns.items() if one != name] or [np.zeros_like(turn)], axis=0)
        seen = np.array([_share(view, turn) - (_share(view, others) if others.any() else 0.0) for view in in_view])
        spoken = np.array([_share(lips, turn) for lips in speaks])
        evidence[name] = spoken if spoken.max() >= LEAST_SPOKEN else seen
    tied: dict[str, int] = {}
    for name in sorted(evidence, key=lambda name: (-evidence[name].max(), name)):
        likely = evidence[name]
        person = int(np.argmax(likely))
        next_best = np.delete(likely, person).max(initial=0.0)
        if likely[person] - max(next_best, 0.0) >= LEAST_MARGIN and person not in {*taken, *tied.values()}:
            tied[name] = person
    return tied


def _share(some: NDArray[np.bool_], of: NDArray[np.bool_]) -> float:
    return float((some & of).sum() / of.sum()) if of.any() else 0.0
