"""Tokens with times as words with times; scripts without spaces by character."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.text.pieces import word_places

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_HALF = "\ufffd"  # what the bytes of half a character are decoded to


@dataclass(frozen=True, slots=True)
class HeardWord:
    """A word, when it is spoken in seconds, and how sure the model was of it, 0 to 1."""

    text: str
    start_s: float
    end_s: float
    probability: float


def heard_words(
    tokens: Sequence[int],
    decode: Callable[[Sequence[int]], str],
    *,
    times_s: Sequence[float],
    log_probs: Sequence[float],
) -> list[HeardWord]:
    """Return the words of a segment's tokens.

    decode : the text of tokens
    times_s : when each token begins, and when the last one ends: one more than there are tokens
    log_probs : of each token

    >>> pieces = [" he", "llo", " you"]
    >>> words = heard_words(
    ...     [0, 1, 2], lambda some: "".join(pieces[one] for one in some), times_s=[1, 1.2, 2, 2.5], log_probs=[0, 0, 0]
    ... )
    >>> [(word.text, word.start_s, word.end_s) for word in words]
    [('hello', 1.0, 2.0), ('you', 2.0, 2.5)]
    """
    text, owners = _owners(tokens, decode)
    latest = np.maximum.accumulate(np.asarray(times_s, float))
    words = []
    for start, end in word_places(text):
        first, last = owners[start][0], owners[end - 1][1]
        words.append(
            HeardWord(
                text[start:end],
                float(latest[first]),
                float(latest[last + 1]),
                float(np.exp(np.mean(log_probs[first : last + 1]))),
            )
        )
    return words


def _owners(tokens: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[str, list[tuple[int, int]]]:
    """Return the text, and the first and the last token that each of its characters is made of."""
    text = decode(tokens)
    owners: list[tuple[int, int]] = []
    first = 0
    for number in range(len(tokens)):
        is_last = number == len(tokens) - 1
        so_far = text if is_last else decode(tokens[: number + 1]).rstrip(_HALF)
        if len(so_far) > len(owners):
            owners += [(first, number)] * (len(so_far) - len(owners))
            first = number + 1
    return text, owners[: len(text)]
