"""The words of a text as they are compared: without punctuation, case and accents; unspaced scripts by character."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.text.language import is_unspaced

if TYPE_CHECKING:
    from collections.abc import Iterator

_COUNTED = "LN"  # Unicode's letters and numbers; marks are accents, which do not count


@dataclass(frozen=True, slots=True)
class Piece:
    """Letters that are compared, the characters that they stand for, and the number of the word that they are of."""

    letters: str
    start: int
    end: int
    word: int


def words_of(text: str) -> list[str]:
    """Return the words of a text as they are written, without punctuation around; scripts without spaces by letter.

    >>> words_of("Don't go -- 很好!")
    ["Don't", 'go', '很', '好']
    """
    return [text[start:end] for start, end in word_places(text)]


def word_places(text: str) -> list[tuple[int, int]]:
    """Return where each word of a text begins and ends.

    >>> word_places("Go, 很好!")
    [(0, 2), (4, 5), (5, 6)]
    """
    places: dict[int, tuple[int, int]] = {}
    for piece in pieces_of(text):
        places[piece.word] = (places.get(piece.word, (piece.start, 0))[0], piece.end)
    return list(places.values())


def pieces_of(text: str) -> Iterator[Piece]:
    """Yield the pieces of a text, with the number of the run between white space that each is of.

    A piece is a run of letters and digits, or one character of a script that is written without spaces.

    >>> [piece.letters for piece in pieces_of("Don't, 很好!")]
    ['don', 't', '很', '好']
    """
    letters, start, word, own = "", 0, 0, 0
    for place, one in enumerate(text):
        counted = "".join(
            part for part in unicodedata.normalize("NFKD", one).casefold() if unicodedata.category(part)[0] in _COUNTED
        )
        is_mark = unicodedata.category(one)[0] == "M"
        if letters and not is_mark and (not counted or is_unspaced(one) or is_unspaced(text[place - 1])):
            yield Piece(letters, start, place, own)
            letters = ""
        word += is_unspaced(one)
        if counted:
            start, own = (start, own) if letters else (place, word)
            letters += counted
        word += is_unspaced(one) or one.isspace()
    if letters:
        yield Piece(letters, start, len(text), own)
