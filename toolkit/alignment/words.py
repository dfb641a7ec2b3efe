"""A word and when it is spoken: what every reader of word times gives, and what no reader lets through."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.text.language import is_unspaced

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmltk.toolkit.errors import MakeError

# Programs write these for silence, whole and in small letters: they are not words.
_SILENCE = frozenset(("sil", "sp", "<sil>", "!sil", "<eps>", "<p:>", "<s>", "</s>"))
_LONGEST_UNSPACED = 8  # characters of a word in a script without spaces; more are a sentence


@dataclass(frozen=True, slots=True)
class TimedWord:
    """A word and when it is spoken, in seconds; both times are None where its file does not say it."""

    text: str
    start_s: float | None
    end_s: float | None

    @property
    def is_timed(self) -> bool:
        """Whether its file says when it is spoken."""
        return self.start_s is not None


def timed_word(
    text: str, start_s: float | None, end_s: float | None, *, where: str, error: MakeError
) -> TimedWord | None:
    """Return a word with its times checked; None for silence and for what has no letter.

    where : the file and line, for messages

    Raises `error` where the times are negative, not finite or reversed, or the text is more than one word.

    >>> from fmltk.toolkit.errors import ConfigError
    >>> timed_word(" Set ", 0.49, 0.77, where="a.ctm line 1", error=ConfigError)
    TimedWord(text='Set', start_s=0.49, end_s=0.77)
    >>> timed_word("sil", 0.0, 0.49, where="a.ctm line 1", error=ConfigError) is None
    True
    """
    text = text.strip()
    if text.lower() in _SILENCE or not any(one.isalnum() for one in text):
        return None
    if len(text.split()) > 1 or sum(map(is_unspaced, text)) > _LONGEST_UNSPACED:
        raise error(
            f"{where}: {text[:40]!r} is more than one word; expected the time of each word, not of a sentence or line"
        )
    if start_s is None or end_s is None:
        return TimedWord(text, None, None)
    if not (math.isfinite(start_s) and math.isfinite(end_s)) or start_s < 0:
        raise error(f"{where}: {text!r} is from {start_s:g} to {end_s:g} s; expected times of 0 s or later")
    if end_s < start_s:
        raise error(
            f"{where}: {text!r} ends at {end_s:g} s, before it begins at {start_s:g} s; exchange or correct them"
        )
    return TimedWord(text, start_s, end_s)


def in_order(words: Iterable[TimedWord]) -> list[TimedWord]:
    """Return words in the order in which they begin; one without a time stays after the word that it followed.

    >>> [one.text for one in in_order([TimedWord("b", 1.0, 2.0), TimedWord("c", None, None), TimedWord("a", 0.0, 1.0)])]
    ['a', 'b', 'c']
    """
    keyed: list[tuple[float, TimedWord]] = []
    last_s = -math.inf
    for word in words:
        last_s = last_s if word.start_s is None else word.start_s
        keyed.append((last_s, word))
    return [word for _, word in sorted(keyed, key=lambda one: one[0])]


def n_overlapping(words: Iterable[TimedWord]) -> int:
    """Return how many words begin before one before them has ended, by more than a millisecond."""
    n, last_s = 0, -math.inf
    for word in words:
        if word.start_s is not None and word.end_s is not None:
            n += word.start_s < last_s - 0.001
            last_s = max(last_s, word.end_s)
    return n
