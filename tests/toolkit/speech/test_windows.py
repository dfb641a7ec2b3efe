"""Tokens of a window whose segments are known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.speech.windows import LEAST_ADVANCE_S, Segment, split_tokens

ZERO = 100  # the token of 0.00 s; 150 is 1 s later


@pytest.mark.parametrize(
    ("tokens", "segments", "advance_s"),
    [
        ([100, 5, 6, 150], [Segment(1, 3, 0.0, 1.0)], 30.0),  # one segment, ended: the rest is silent
        ([100, 5, 150, 150, 6, 250], [Segment(1, 2, 0.0, 1.0), Segment(4, 5, 1.0, 3.0)], 30.0),
        ([100, 5, 200, 200, 6, 7], [Segment(1, 2, 0.0, 2.0)], 2.0),  # cut off: heard again from 2 s on
        ([100, 5, 200, 210], [Segment(1, 2, 0.0, 2.0)], 2.0),
        ([5, 6], [Segment(0, 2, 0.0, 30.0)], 30.0),  # without a stamp: the window is one segment
        ([110, 5, 6], [Segment(1, 3, 0.2, 30.0)], 30.0),
        ([], [], 30.0),
        ([100], [], 30.0),
        ([100, 100], [], LEAST_ADVANCE_S),  # a model that stamps without a word still comes to the end
    ],
)
def test_time_stamps_part_a_window(tokens: list[int], segments: list[Segment], advance_s: float) -> None:
    assert split_tokens(tokens, first_stamp=ZERO, window_s=30.0) == (segments, advance_s)


def test_no_segment_lies_beyond_the_sound() -> None:
    segments, advance_s = split_tokens([100, 5, 1500], first_stamp=ZERO, window_s=4.2)
    assert segments == [Segment(1, 2, 0.0, 4.2)]
    assert advance_s == 4.2


@given(st.lists(st.integers(90, 160), max_size=40), st.floats(0.1, 30.0))
def test_any_tokens_lead_on_and_lose_no_word_between_stamps(tokens: list[int], window_s: float) -> None:
    segments, advance_s = split_tokens(tokens, first_stamp=ZERO, window_s=window_s)
    assert min(LEAST_ADVANCE_S, window_s) <= advance_s <= window_s
    covered = [place for one in segments for place in range(one.first, one.last)]
    assert covered == sorted(set(covered))
    words = [place for place, token in enumerate(tokens) if token < ZERO]
    last = max(covered, default=-1)
    assert [place for place in words if place <= last] == [place for place in covered if tokens[place] < ZERO]
    assert all(0 <= one.start_s <= one.end_s <= window_s for one in segments)
