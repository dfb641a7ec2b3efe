"""Which words of a table of word vectors a text is made of.

A text is cut at white space. A piece that the table has is a word; of others, punctuation at both ends is cut off, then
English contractions (do n't, it 's), then what lies between hyphens and other signs. If words are written without
spaces (Chinese, Japanese, Thai) the longest word of the table that comes next is taken, else one character. Signs that
the table does not have are left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from fmltk.toolkit.text.language import is_unspaced

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE = re.compile(r"\S+")
_CONTRACTION = re.compile(r"(.+?)(n[’']t|[’'](?:s|re|ve|ll|d|m))", re.IGNORECASE)
_PART = re.compile(r"\w+|[^\w\s]")
_LONGEST_UNSPACED = 8  # characters of a word


class Word(NamedTuple):
    """A word as the table has it, and its characters in the text, from and up to; row: -1 where it has none."""

    written: str
    start: int
    end: int
    row: int


def words_of(text: str, find: Callable[[str], int], *, keep_case: bool) -> list[Word]:
    """Return a text's words.

    find : which row of the table a word is, -1 for none
    keep_case : whether the table knows capitals; a word that it does not have is looked for in lower case then. A text
        that is all in capitals is lowered in any case, as transcripts of speech often are.

    >>> table = {"do": 0, "n't": 1, "喜欢": 2, "!": 3}
    >>> [word.written for word in words_of("Don't! 我喜欢…", lambda word: table.get(word, -1), keep_case=False)]
    ['do', "n't", '!', '我', '喜欢']
    """
    keep_case = keep_case and not text.isupper()

    def look(start: int, end: int) -> Word:
        written = text[start:end].replace("’", "'")
        row = find(written) if keep_case else -1
        if row < 0:
            lowered = written.lower()
            row = find(lowered)
            written = lowered if row >= 0 or not keep_case else written
        return Word(written, start, end, row)

    found = (word for piece in _PIECE.finditer(text) for word in _cut(text, *piece.span(), look))
    return [word for word in found if word.row >= 0 or any(letter.isalnum() for letter in word.written)]


def _cut(text: str, start: int, end: int, look: Callable[[int, int], Word]) -> Iterator[Word]:
    """Yield the words of a piece without white space."""
    whole = look(start, end)
    if whole.row >= 0 or start >= end:
        if start < end:
            yield whole
        return
    if any(map(is_unspaced, text[start:end])):
        yield from _cut_unspaced(text, start, end, look)
        return
    first, last = start, end
    while first < last and not text[first].isalnum():
        first += 1
    while last > first and not text[last - 1].isalnum():
        last -= 1
    if (first, last) != (start, end):
        yield from (look(place, place + 1) for place in range(start, first))
        yield from _cut(text, first, last, look)
        yield from (look(place, place + 1) for place in range(last, end))
        return
    if contraction := _CONTRACTION.fullmatch(text, start, end):
        yield from _cut(text, *contraction.span(1), look)
        yield look(*contraction.span(2))
        return
    parts = list(_PART.finditer(text, start, end))
    yield from (look(*part.span()) for part in parts)


def _cut_unspaced(text: str, start: int, end: int, look: Callable[[int, int], Word]) -> Iterator[Word]:
    while start < end:
        if not is_unspaced(text[start]):  # a borrowed word, a sign
            stop = start + 1
            while stop < end and not is_unspaced(text[stop]):
                stop += 1
            yield from _cut(text, start, stop, look)
        else:
            longest = min(end, start + _LONGEST_UNSPACED)
            candidates = (look(start, stop) for stop in range(longest, start, -1))
            word = next((word for word in candidates if word.row >= 0), look(start, start + 1))
            yield word
            stop = word.end
        start = stop
