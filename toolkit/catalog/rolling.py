"""Captions that roll: a window of lines moves on line by line, so that each line stands in two cues and more.

Services that caption by machine write such files, and tools make .srt of them: a new line joins the last one or two,
and "hold" cues of 10 ms show what is left of the window. In live captions the last line grows word by word instead.
Read as it is, such a file has every word twice and more.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import NamedTuple

HOLD_S = 0.05  # a cue this short only holds the window between two lines; nobody reads it
_ROLLING_SHARE = 0.6  # of the pairs of neighbours; in ordinary subtitles a few in a hundred look like it
_FEW_PAIRS = 3  # below this, only inline times or hold cues tell rolling captions from a repeated line


class Word(NamedTuple):
    """A word, when it is spoken in seconds where the file says so, and whether no space is before it."""

    text: str
    start_s: float | None = None
    is_joined: bool = False


@dataclass(frozen=True, slots=True)
class Lines:
    """A cue as it is shown: its lines, each of them words."""

    start_s: float
    end_s: float
    lines: tuple[tuple[Word, ...], ...]

    @property
    def is_hold(self) -> bool:
        """Whether the cue is too short to be read."""
        return 0 <= self.end_s - self.start_s <= HOLD_S

    @property
    def texts(self) -> list[list[str]]:
        """The words of each line."""
        return [[word.text for word in line] for line in self.lines]

    @property
    def n_untimed(self) -> int:
        """How many lines stand before the first with times, which is new: lines repeated have none."""
        return sum(1 for _ in itertools.takewhile(lambda line: all(word.start_s is None for word in line), self.lines))


def without_rolling(cues: list[Lines]) -> list[Lines]:
    """Return cues that roll with each line once, where it is first shown; other cues as they are.

    Whether a file rolls is judged by the whole of it: in most pairs of neighbours the second begins with the last lines
    of the first and either adds to them or drops one. A repeated line in ordinary subtitles does not make it so, and in
    captions that roll a line that is spoken twice stands twice.

    >>> windows = [["we", "walked"], ["we", "walked", "home"], ["home", "late"], ["late", "again"]]
    >>> cues = [Lines(i, i + 1.0, tuple((Word(word),) for word in lines)) for i, lines in enumerate(windows)]
    >>> [" ".join(line[0] for line in cue.texts) for cue in without_rolling(cues)]
    ['we walked', 'home', 'late', 'again']
    """
    grows = not _is_rolling(cues, grows=False)
    if grows and not _is_rolling(cues, grows=True):
        return cues
    kept = cues[:1]
    for previous, cue in itertools.pairwise(_without_holds(cues)):
        first, last = previous.texts, kept[-1]
        n = _n_shared(first, cue.texts, _most_shared(previous, cue), grows=grows)
        grown = cue.lines[n - 1][len(first[-1]) :] if n else ()
        if grown:
            lines = (*last.lines[:-1], (*last.lines[-1], *grown))
            kept[-1] = last = replace(last, lines=lines, end_s=max(last.end_s, cue.end_s))
        if cue.lines[n:]:
            if last.start_s < cue.start_s < last.end_s:
                kept[-1] = replace(last, end_s=cue.start_s)
            kept.append(replace(cue, lines=cue.lines[n:]))
    return kept


def _without_holds(cues: list[Lines]) -> list[Lines]:
    """Return cues without those that only hold the last lines of the one before."""
    pairs = itertools.pairwise(cues)
    return [
        *cues[:1],
        *(cue for last, cue in pairs if not (cue.is_hold and cue.texts == last.texts[-len(cue.lines) :])),
    ]


def _is_rolling(cues: list[Lines], *, grows: bool) -> bool:
    pairs = [(first.texts, second.texts, second.is_hold) for first, second in itertools.pairwise(cues)]
    # A cue that says the same once more tells nothing, unless it is a hold.
    moving = [(first, second) for first, second, is_hold in pairs if is_hold or first != second]
    n_rolling = sum(_n_shared(first, second, len(second), grows=grows) > 0 for first, second in moving)
    if n_rolling < max(1, _ROLLING_SHARE * len(moving)):
        return False
    has_holds = any(cue.is_hold for cue in cues)
    has_times = any(cue.n_untimed < len(cue.lines) for cue in cues)
    return n_rolling >= _FEW_PAIRS or has_holds or has_times


def _most_shared(previous: Lines, cue: Lines) -> int:
    """Return how many of a cue's lines may be repeated: lines with times are new."""
    if len(cue.lines) > 1 and previous.texts == cue.texts:
        return min(cue.n_untimed, len(cue.lines) - 1)  # the window has moved on by a line that equals the one before
    return cue.n_untimed


def _n_shared(first: list[list[str]], second: list[list[str]], most: int, *, grows: bool) -> int:
    """Return how many lines at the end of the first cue begin the second; if captions grow, the last may be longer."""
    for n in range(min(len(first), most), 0, -1):
        last, same = first[-1], second[n - 1]
        if first[-n:-1] == second[: n - 1] and last == (same[: len(last)] if grows else same):
            return n
    return 0
