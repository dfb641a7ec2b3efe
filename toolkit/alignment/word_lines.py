"""Word times as lines of a few columns: NIST's CTM, and the .align files of the GRID corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.words import TimedWord, timed_word
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GRID_UNITS_PER_S = 25_000  # GRID's times count samples of its sound (Cooke et al. 2006)
_CTM_COLUMNS = (5, 8)  # recording, channel, start, duration, word; confidence; NIST's type and speaker
_GRID_COLUMNS = 3


def ctm_words(lines: Iterable[str], *, name: str) -> dict[str, list[TimedWord]]:
    """Return the words of each recording of a CTM file, by the recording's name.

    Raises ConfigError if a line is not one of a CTM, naming it.

    >>> ctm_words([";; by hand", "talk 1 0.49 0.28 set 0.98"], name="a.ctm")
    {'talk': [TimedWord(text='set', start_s=0.49, end_s=0.77)]}
    """
    found: dict[str, list[TimedWord]] = {}
    for where, parts in _rows(lines, name):
        if parts[0].startswith(";;"):
            continue
        if not _CTM_COLUMNS[0] <= len(parts) <= _CTM_COLUMNS[1]:
            raise ConfigError(
                f"{where} has {len(parts)} columns; expected recording, channel, start, duration, word (and confidence)"
            )
        start_s, duration_s = (_number(one, where, "seconds") for one in parts[2:4])
        if duration_s < 0:
            raise ConfigError(
                f"{where}: {parts[4]!r} lasts {duration_s:g} s; the fourth column is a duration, not an end"
            )
        own = found.setdefault(parts[0], [])
        word = timed_word(parts[4], start_s, round(start_s + duration_s, 6), where=where, error=ConfigError)
        if word is not None:
            own.append(word)
    return found


def grid_words(lines: Iterable[str], *, name: str) -> list[TimedWord]:
    """Return the words of a GRID .align file. Raises ConfigError if a line is not one of those, naming it.

    >>> grid_words(["0 12250 sil", "12250 19250 set"], name="a.align")
    [TimedWord(text='set', start_s=0.49, end_s=0.77)]
    """
    words = []
    for where, parts in _rows(lines, name):
        if len(parts) != _GRID_COLUMNS or not all(one.isascii() and one.isdigit() for one in parts[:2]):
            raise ConfigError(
                f"{where} is not a line of GRID's; expected start and end in samples of 25 kHz and a word, as in "
                "12250 19250 set"
            )
        start_s, end_s = (float(one) / GRID_UNITS_PER_S for one in parts[:2])
        word = timed_word(parts[2], start_s, end_s, where=where, error=ConfigError)
        if word is not None:
            words.append(word)
    return words


def _rows(lines: Iterable[str], name: str) -> Iterator[tuple[str, list[str]]]:
    for number, line in enumerate(lines, start=1):
        parts = line.split()
        if parts:
            yield f"{name} line {number}", parts


def _number(text: str, where: str, unit: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{where}: {text[:40]!r} is not a number of {unit}") from None
