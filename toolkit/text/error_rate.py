"""How far a recognised text is from the transcript: word error rate, and character error rate of unspaced scripts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.text.language import is_unspaced
from fmltk.toolkit.text.pieces import pieces_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOSTLY = 0.5  # of the transcript's words, to be counted in characters


@dataclass(frozen=True, slots=True)
class ErrorRate:
    """Substitutions, deletions and insertions per word or character of the transcript; more than 1 where many are new.

    unit : "word" or "character"
    """

    rate: float
    unit: str


def error_rate(given: str, heard: str) -> ErrorRate | None:
    """Return the error rate of what was heard against what is given; None where no word is given.

    >>> error_rate("I don't like it.", "i dont like that it")
    ErrorRate(rate=0.25, unit='word')
    >>> error_rate("很好!", "很坏")
    ErrorRate(rate=0.5, unit='character')
    """
    ours, theirs = _words(given), _words(heard)
    if not ours:
        return None
    n_unspaced = sum(is_unspaced(letters[0]) for letters in ours)
    unit = "character" if n_unspaced > _MOSTLY * len(ours) else "word"
    return ErrorRate(edit_distance(ours, theirs) / len(ours), unit)


def _words(text: str) -> list[str]:
    """Return the words that are compared: "don't" is "dont"."""
    words: dict[int, str] = {}
    for piece in pieces_of(text):
        words[piece.word] = words.get(piece.word, "") + piece.letters
    return list(words.values())


def edit_distance(ours: Sequence[str], theirs: Sequence[str]) -> int:
    """Return the fewest substitutions, deletions and insertions that turn one sequence into the other.

    >>> edit_distance("kitten", "sitting")
    3
    """
    numbers = {one: number for number, one in enumerate(dict.fromkeys([*ours, *theirs]))}
    across = np.array([numbers[one] for one in theirs], np.int64)
    steps = np.arange(len(theirs) + 1)
    costs = steps.copy()
    for row, one in enumerate(ours, start=1):
        changed = costs[:-1] + (across != numbers[one])
        best = np.concatenate([[row], np.minimum(changed, costs[1:] + 1)])
        costs = np.minimum.accumulate(best - steps) + steps  # insertions
    return int(costs[-1])
