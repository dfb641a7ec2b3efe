"""The words of a source and the words of a transcript: which is which, and which characters of the transcript each has.

Both are compared as pieces (`text.pieces`): punctuation, case and accents count on neither side.
"""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.words import TimedWord
from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.text.language import is_unspaced
from fmltk.toolkit.text.pieces import pieces_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmltk.toolkit.text.pieces import Piece

_FEWEST_MATCHED = 0.5  # of a transcript's words; fewer are of another clip
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Step:
    """One step of an aligned clip: a word, when it is spoken, and where it stands in the transcript.

    Attributes
    ----------
    start_s, end_s
        On the clip's clock; None where it has no time.
    span
        The characters of the transcript, from and up to; None where the clip has no transcript.
    """

    text: str
    start_s: float | None
    end_s: float | None
    span: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Matched:
    """A clip's steps, and what did not match: the transcript's words by the source's, and those of one side alone."""

    steps: tuple[Step, ...]
    different: tuple[tuple[str, str], ...] = ()
    untimed: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def remarks(self) -> list[str]:
        """Return what did not match, counted and named, for the clip's warnings."""
        pairs = [f"{ours!r} is {theirs!r}" for ours, theirs in self.different]
        cases = (
            (pairs, "words that are others in the source, whose times they have"),
            ([repr(one) for one in self.untimed], "words without a time in the source, which have text alone"),
            ([repr(one) for one in self.left_out], "words of the source that are not in the transcript, left out"),
        )
        return [
            f"{said} ({len(named)}): {', '.join(named[:_EXAMPLES])}{', ...' if len(named) > _EXAMPLES else ''}"
            for named, said in cases
            if named
        ]


def match_words(text: str | None, words: Sequence[TimedWord]) -> Matched:
    """Return a clip's steps: the words of the source, in order, and those of the transcript that the source lacks.

    text : the transcript; None or blank: the steps are the source's words

    Words that stand between matched ones, as many on one side as on the other, are taken for each other.

    Raises FeatureError where fewer than half of the transcript's words match.

    >>> words = [TimedWord("do", 0.0, 0.2), TimedWord("n't", 0.2, 0.3), TimedWord("go", 1.0, 2.0)]
    >>> [(step.text, step.start_s, step.end_s, step.span) for step in match_words("Don't go!", words).steps]
    [("Don't", 0.0, 0.3, (0, 5)), ('go', 1.0, 2.0, (6, 8))]
    """
    ours = list(pieces_of(text or ""))
    if not ours:
        return Matched(tuple(Step(one.text, one.start_s, one.end_s, None) for one in words))
    theirs = [replace(piece, word=number) for number, one in enumerate(words) for piece in pieces_of(one.text)]
    owners, first_of = _owners(ours, theirs)
    steps, keys = _grouped(text or "", ours, owners)
    alone = sorted({number for number in first_of if first_of[number] not in keys})
    n_matched = sum(key is not None for key in keys)
    if n_matched < _FEWEST_MATCHED * len(steps):
        raise FeatureError(
            f"of the {len(steps)} words of its transcript, {n_matched} are among the {len(words)} of the source "
            f"({', '.join(repr(one.text) for one in words[:_EXAMPLES])}, ...); are these the words of this clip?"
        )
    different = []
    for here, there in _gaps(keys, alone):
        for place, number in zip(here, there, strict=True):
            keys[place] = number
            different.append((steps[place].text, words[number].text))
            alone.remove(number)
    one_with: defaultdict[int, list[TimedWord]] = defaultdict(list)
    for number, first in first_of.items():
        one_with[first].append(words[number])
    timed = [step if key is None else _with_times(step, one_with[key]) for step, key in zip(steps, keys, strict=True)]
    untimed = tuple(step.text for step in timed if step.start_s is None)
    return Matched(tuple(timed), tuple(different), untimed, tuple(words[number].text for number in alone))


def split_characters(words: Sequence[TimedWord]) -> list[TimedWord]:
    """Return words of scripts without spaces as characters, each with an equal share of its word's time.

    >>> split_characters([TimedWord("很好", 1.0, 2.0), TimedWord("good", 2.0, 3.0)])[:2]
    [TimedWord(text='很', start_s=1.0, end_s=1.5), TimedWord(text='好', start_s=1.5, end_s=2.0)]
    """
    found = []
    for word in words:
        pieces = list(pieces_of(word.text))
        if len(pieces) < 2 or not any(map(is_unspaced, word.text)):
            found.append(word)
            continue
        for number, piece in enumerate(pieces):
            times: list[float | None] = [None, None]
            if word.start_s is not None and word.end_s is not None:
                share_s = (word.end_s - word.start_s) / len(pieces)
                times = [round(word.start_s + (number + one) * share_s, 6) for one in (0, 1)]
            found.append(TimedWord(word.text[piece.start : piece.end], *times))
    return found


def _owners(ours: Sequence[Piece], theirs: Sequence[Piece]) -> tuple[list[int | None], dict[int, int]]:
    """Return (the source's word that each piece of the transcript is of, the first of the words that are one with it).

    Words are numbers, None where a piece is of none. Words of the source that cut a piece in two are one: "do", "n't".
    """
    owners: list[int | None] = [None] * len(ours)
    first_of = {one.word: one.word for one in theirs}
    matcher = difflib.SequenceMatcher(
        None, [one.letters for one in ours], [one.letters for one in theirs], autojunk=False
    )
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            owners[a:b] = [one.word for one in theirs[c:d]]
        elif kind == "replace" and _joined(ours[a:b]) == _joined(theirs[c:d]):  # "do n't" and "don't"
            of_letter = iter([one.word for one in theirs[c:d] for _ in one.letters])
            for number in range(a, b):
                first, *others = [next(of_letter) for _ in ours[number].letters]
                owners[number] = first_of[first]
                first_of |= dict.fromkeys(others, first_of[first])
    return _with_whole_words(ours, [None if one is None else first_of[one] for one in owners]), first_of


def _with_whole_words(ours: Sequence[Piece], owners: Sequence[int | None]) -> list[int | None]:
    """Return owners where a piece without one has that of the pieces next to it in its word: the 's of "it's"."""
    found = list(owners)
    for places in (range(1, len(ours)), range(len(ours) - 2, -1, -1)):
        for place in places:
            neighbour = place - places.step
            if found[place] is None and ours[place].word == ours[neighbour].word:
                found[place] = found[neighbour]
    return found


def _with_times(step: Step, own: Sequence[TimedWord]) -> Step:
    """Return a step with the time from the first to the last of its words, which are one in the transcript."""
    starts = [one.start_s for one in own if one.start_s is not None]
    ends = [one.end_s for one in own if one.end_s is not None]
    return replace(step, start_s=min(starts), end_s=max(ends)) if starts else step


def _joined(pieces: Sequence[Piece]) -> str:
    return "".join(one.letters for one in pieces)


def _grouped(text: str, ours: Sequence[Piece], owners: Sequence[int | None]) -> tuple[list[Step], list[int | None]]:
    """Return the transcript's pieces as steps, one per word of the source, else of its own, and the source's words."""
    steps: list[Step] = []
    keys: list[int | None] = []
    last: tuple[int | None, int | None] = (None, None)
    for piece, owner in zip(ours, owners, strict=True):
        key = (owner, None) if owner is not None else (None, piece.word)
        if steps and key == last:
            start = (steps[-1].span or (0, 0))[0]
            steps[-1] = Step(text[start : piece.end], None, None, (start, piece.end))
        else:
            steps.append(Step(text[piece.start : piece.end], None, None, (piece.start, piece.end)))
            keys.append(owner)
        last = key
    return steps, keys


def _gaps(keys: Sequence[int | None], alone: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """Return (places of steps without a word, words without a step) between matched words, where they are as many."""
    gaps = []
    here: list[int] = []
    last = -1
    for place, key in enumerate([*keys, None]):
        is_end = place == len(keys)
        if key is None and not is_end:
            here.append(place)
            continue
        there = [number for number in alone if last < number and (is_end or number < (key or 0))]
        if here and len(here) == len(there):
            gaps.append((here, there))
        here, last = [], last if is_end else (key or 0)
    return gaps
