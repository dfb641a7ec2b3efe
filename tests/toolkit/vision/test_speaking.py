"""Who is the speaker, from who speaks when: a rule on tables of people and frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.vision.shots import one_shot
from fmltk.toolkit.vision.speaking import choose_active, choose_speaker, moving_mouths, scored_people, tie_names
from fmltk.toolkit.vision.tracks import FaceTracks

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _rows(*rows: str) -> NDArray[np.bool_]:
    """Return who speaks: a row per person, "x" where they do."""
    return np.array([[one == "x" for one in row] for row in rows])


@pytest.mark.parametrize(
    ("speaks", "person", "share", "margin", "doubt"),
    [
        (_rows("xxxxxxxx..", ".........."), 0, 1.0, 1.0, ""),
        (_rows("xx........", "..xxxxxxxx"), 1, 0.8, 0.6, ""),
        (_rows("xxxxxx....", "......xxxx"), 0, 0.6, 0.2, ""),  # A-B-A-B with 60 and 40 %
        (_rows("xxxxx.....", ".....xxxxx"), 0, 0.5, 0.0, "nearly as much, in 5 and 5 frames"),
        (_rows("xxxxxxxxxx", "xxxxxxxxxx"), 0, 1.0, 0.0, "at once in 10 of 10 frames"),
        (_rows("xxxxxxxxxx", "...xxx...."), 0, 1.0, 0.7, "at once in 3 of 10 frames"),
        (_rows("..........", ".........."), 0, 0.0, 0.0, "nobody in view is seen to speak"),
        (_rows("x.........", ".........."), 0, 1.0, 1.0, "in only 1 of the 10 frames"),
        (_rows("xxxx......", "....xxx...", ".......xxx"), 0, 0.4, 0.1, "nearly as much"),
    ],
)
def test_who_speaks_most_is_the_speaker_or_nobody_can_say(
    speaks: NDArray[np.bool_], person: int, share: float, margin: float, doubt: str
) -> None:
    speaker = choose_speaker(speaks, n_speech=10)
    assert (speaker.person == person).all()
    assert (speaker.share, speaker.margin) == pytest.approx((share, margin))
    assert doubt in speaker.doubt
    assert bool(doubt) == bool(speaker.doubt)


def test_the_active_one_is_chosen_shot_by_shot() -> None:
    speaks = _rows("xxx....x..", "...xxx..xx")
    speaker = choose_active(speaks, [0, 3, 6, 7], n_speech=9)
    assert speaker.person.tolist() == [0, 0, 0, 1, 1, 1, -1, 1, 1, 1]
    assert speaker.share == pytest.approx(8 / 9)
    assert speaker.margin == pytest.approx(7 / 9)
    assert not speaker.doubt


def test_two_at_once_are_unsure_also_shot_by_shot() -> None:
    assert "at once" in choose_active(_rows("xxxxxx", "xxxxxx"), [0, 3], n_speech=6).doubt


def test_a_person_has_the_best_score_of_their_faces() -> None:
    frame = np.array([0, 0, 1, 1, 2], np.int32)
    track = np.array([0, 1, 0, 2, 3], np.int32)
    nothing = np.zeros(5, np.float32)
    tracks = FaceTracks(
        4, 8, 8, frame, track, np.zeros((5, 4), np.float32), nothing, np.zeros((5, 5, 2), np.float32), one_shot(4)
    )
    scores = np.array([1.0, 2.0, np.nan, 0.5, 9.0], np.float32)
    people = scored_people(tracks, np.array([0, 1, 0, -1], np.int32), scores)
    assert people.tolist() == [[1.0, 0.5, *[-np.inf] * 2], [2.0, *[-np.inf] * 3]]


def test_a_mouth_that_moves_little_beside_another_does_not_speak() -> None:
    motion = np.array([[0.2, 0.2, 0.2, -np.inf], [0.05, 0.1, 0.0, 0.05]], np.float32)
    speech = np.array([True, True, False, True])
    moving = moving_mouths(motion, threshold=0.02, speech=speech)
    assert moving.tolist() == [[True, True, False, False], [False, True, False, True]]


def test_names_go_with_the_lips_that_move_in_their_turns() -> None:
    turns = {"ann": _rows("xxxx....")[0], "bob": _rows("....xxxx")[0]}
    both = _rows("xxxxxxxx", "xxxxxxxx")
    assert tie_names(turns, _rows("....xxx.", "xxx....."), both) == {"ann": 1, "bob": 0}


def test_names_go_with_who_is_in_view_where_no_lips_are_seen() -> None:
    turns = {"ann": _rows("xxxx....")[0], "bob": _rows("....xxxx")[0]}
    nobody = _rows("........", "........")
    assert tie_names(turns, nobody, _rows("....xxxx", "xxxx....")) == {"ann": 1, "bob": 0}


@pytest.mark.parametrize(
    ("speaks", "in_view"),
    [
        (_rows("........", "........"), _rows("xxxxxxxx", "xxxxxxxx")),  # both in view all the time
        (_rows("xxxx....", "xxxx...."), _rows("xxxxxxxx", "xxxxxxxx")),  # both seem to speak
        (np.zeros((0, 8), np.bool_), np.zeros((0, 8), np.bool_)),
    ],
)
def test_names_that_may_be_either_are_tied_to_nobody(speaks: NDArray[np.bool_], in_view: NDArray[np.bool_]) -> None:
    assert tie_names({"ann": _rows("xxxx....")[0]}, speaks, in_view) == {}


def test_two_names_are_never_one_person() -> None:
    turns = {"ann": _rows("xxxx....")[0], "bob": _rows("....xxxx")[0]}
    tied = tie_names(turns, _rows("xxxxxxx.", "........"), _rows("xxxxxxxx", "xxxxxxxx"))
    assert tied == {"ann": 0}
    assert tie_names(turns, _rows("xxxxxxx.", "........"), _rows("xxxxxxxx", "xxxxxxxx"), taken=[0]) == {}
