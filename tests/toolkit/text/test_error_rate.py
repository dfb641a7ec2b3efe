"""Error rates that can be counted by hand, and the edit distance against one that tries everything."""

from __future__ import annotations

import functools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.text.error_rate import ErrorRate, edit_distance, error_rate


@pytest.mark.parametrize(
    ("given", "heard", "expected"),
    [
        ("so good", "so good", ErrorRate(0.0, "word")),
        ("So, GOOD!", "so good", ErrorRate(0.0, "word")),
        ("café", "cafe", ErrorRate(0.0, "word")),
        ("a b c d", "a x c", ErrorRate(0.5, "word")),
        ("yes", "", ErrorRate(1.0, "word")),
        ("yes", "no no no", ErrorRate(3.0, "word")),
        ("我喜欢", "我不喜欢", ErrorRate(1 / 3, "character")),
        ("我喜欢 ok", "我喜欢", ErrorRate(0.25, "character")),
        ("...", "yes", None),
        ("", "", None),
    ],
)
def test_errors_are_counted_per_word_or_character(given: str, heard: str, expected: ErrorRate | None) -> None:
    assert error_rate(given, heard) == expected


@given(st.text("abc", max_size=7), st.text("abc", max_size=7))
def test_the_edit_distance_is_the_fewest_changes(ours: str, theirs: str) -> None:
    @functools.cache
    def fewest(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        changed = fewest(i - 1, j - 1) + (ours[i - 1] != theirs[j - 1])
        return min(changed, fewest(i - 1, j) + 1, fewest(i, j - 1) + 1)

    assert edit_distance(ours, theirs) == fewest(len(ours), len(theirs))
