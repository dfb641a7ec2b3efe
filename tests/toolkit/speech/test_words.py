"""Tokens that cut words and characters anywhere, as words with their times."""

from __future__ import annotations

import math

import pytest

from fmltk.toolkit.speech.words import heard_words


def words_of_bytes(text: str) -> list[tuple[str, float, float]]:
    """The words of a text whose every byte is a token that lasts a second."""
    data = text.encode()
    found = heard_words(
        data,
        lambda some: bytes(some).decode("utf-8", "replace"),
        times_s=range(len(data) + 1),
        log_probs=[0] * len(data),
    )
    return [(one.text, one.start_s, one.end_s) for one in found]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("go on", [("go", 0, 2), ("on", 3, 5)]),
        (" Don't go!", [("Don't", 1, 6), ("go", 7, 9)]),
        ("很好。", [("很", 0, 3), ("好", 3, 6)]),  # three bytes each
        ("我 ok", [("我", 0, 3), ("ok", 4, 6)]),
        ("é", [("é", 0, 2)]),
        ("... -- ", []),
        ("", []),
    ],
)
def test_words_have_the_times_of_their_tokens(text: str, expected: list[tuple[str, float, float]]) -> None:
    assert words_of_bytes(text) == expected


def test_half_a_character_at_the_end_is_nobodys_word() -> None:
    found = heard_words(
        "a 很".encode()[:-1], lambda some: bytes(some).decode("utf-8", "replace"), times_s=range(5), log_probs=[0] * 4
    )
    assert [one.text for one in found] == ["a"]


def test_times_never_run_backwards_and_probabilities_are_the_tokens_mean() -> None:
    pieces = ["no", " way", " out"]
    logs = [math.log(0.5), math.log(0.25), 0.0]
    found = heard_words(
        [0, 1, 2], lambda some: "".join(pieces[one] for one in some), times_s=[1.0, 3.0, 2.0, 2.5], log_probs=logs
    )
    assert [(one.start_s, one.end_s) for one in found] == [(1.0, 3.0), (3.0, 3.0), (3.0, 3.0)]
    assert [one.probability for one in found] == pytest.approx([0.5, 0.25, 1.0])
