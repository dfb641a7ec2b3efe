"""Praat's TextGrids: the words of one interval tier.

Long and short files are one format, by Praat's own rule: only quoted texts, numbers that stand by themselves and flags
in angle brackets count, and everything else is for people. That rule is forty lines here, with the line of every fault;
the package praatio opens files by an encoding of its own choice and does not say where a fault is.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.words import TimedWord, timed_word
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.columns import folded

if TYPE_CHECKING:
    from collections.abc import Iterator

MARK = "ooTextFile"  # how every such file begins, whatever its name
_TOKEN = re.compile(r'"((?:[^"]|"")*)"|(<\w+>)|(?<!\S)([-+]?\d[\d.]*(?:[eE][-+]?\d+)?)(?!\S)|(?<!\S)![^\n]*')
_WORD_TIERS = frozenset("word words wrd ort ortmau orth orthography wordalign 词 单词 字".split())  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class _Interval:
    """An interval of a tier and the line that its text is on."""

    start_s: float
    end_s: float
    text: str
    line: int


def textgrid_words(content: str, *, name: str, tier: str | None = None) -> list[TimedWord]:
    r"""Return the words of a TextGrid's tier of words.

    tier : its name; None: the only interval tier, or the only one that is named as such tiers are

    Raises ConfigError if the content is not a TextGrid, no tier or several may be meant, or an interval is not a word.

    >>> short = 'File type = "ooTextFile"\n"TextGrid"\n0\n1\n<exists>\n1\n"IntervalTier"\n"words"\n0\n1\n2\n'
    >>> textgrid_words(short + '0\n0.4\n""\n0.4\n1\n"hello"', name="a.TextGrid")
    [TimedWord(text='hello', start_s=0.4, end_s=1.0)]
    """
    tokens = _Tokens(content, name)
    if not tokens.text("its kind").startswith(MARK) or tokens.text("its class") != "TextGrid":
        raise ConfigError(f"{name} is not a TextGrid; in Praat, choose Save as text file")
    tokens.number("its start")
    tokens.number("its end")
    n_tiers = tokens.count("the number of tiers") if tokens.flag() == "<exists>" else 0
    tiers: list[tuple[str, list[_Interval]]] = []
    for _ in range(n_tiers):
        kind, tier_name = tokens.text("the class of a tier"), tokens.text("the name of a tier")
        tokens.number("a tier's start")
        tokens.number("a tier's end")
        n_items = tokens.count("the number of a tier's intervals")
        if kind == "IntervalTier":
            tiers.append((tier_name, [tokens.interval() for _ in range(n_items)]))
        elif kind == "TextTier":
            for _ in range(n_items):
                tokens.number("the time of a point")
                tokens.text("the mark of a point")
        else:
            raise ConfigError(f"{name}: {kind!r} is not a class of tiers; expected IntervalTier or TextTier")
    found = (
        timed_word(one.text, one.start_s, one.end_s, where=f"{name} line {one.line}", error=ConfigError)
        for one in _chosen(tiers, tier, name)
    )
    return [word for word in found if word is not None]


def _chosen(tiers: list[tuple[str, list[_Interval]]], tier: str | None, name: str) -> list[_Interval]:
    if tier is not None:
        fitting = [intervals for own, intervals in tiers if own == tier]
    elif len(tiers) == 1:
        fitting = [tiers[0][1]]
    else:  # Montreal's aligner names the tiers of a speaker "anna - words"
        fitting = [intervals for own, intervals in tiers if folded(own.rpartition(" - ")[2]) in _WORD_TIERS]
    if len(fitting) == 1:
        return fitting[0]
    names = ", ".join(repr(own) for own, _ in tiers) or "none"
    wanted = "one tier that may be of words" if tier is None else f"one tier named {tier!r}"
    raise ConfigError(f"{name}: its interval tiers are {names}, expected {wanted}; name the tier of words with --tier")


class _Tokens:
    """The texts, flags and numbers of a TextGrid, one after the other."""

    def __init__(self, content: str, name: str) -> None:
        self._content, self._name = content, name
        self._found: Iterator[re.Match[str]] = (one for one in _TOKEN.finditer(content) if one.lastindex)
        self._line, self._seen = 1, 0

    def _next(self, group: int, what: str) -> str:
        token = next(self._found, None)
        if token is None:
            raise ConfigError(f"{self._name} ends before {what}: it is cut off; save it again")
        self._line += self._content.count("\n", self._seen, token.start())
        self._seen = token.start()
        if token.lastindex != group:
            kind = ("", "a text in quotes", "a flag", "a number")[group]
            written = " ".join(token[0][:40].split())
            raise ConfigError(f"{self._name} line {self._line}: {written} is not {kind}, expected {what}")
        return token[group]

    def text(self, what: str) -> str:
        return self._next(1, what).replace('""', '"')

    def flag(self) -> str:
        return self._next(2, "<exists>")

    def number(self, what: str) -> float:
        written = self._next(3, what)
        try:
            return float(written)
        except ValueError:
            raise ConfigError(f"{self._name} line {self._line}: {written} is not a number, expected {what}") from None

    def count(self, what: str) -> int:
        value = self.number(what)
        if not value.is_integer() or value < 0:
            raise ConfigError(f"{self._name} line {self._line}: {value:g} is not a whole number, expected {what}")
        return int(value)

    def interval(self) -> _Interval:
        start_s, end_s = self.number("the start of an interval"), self.number("the end of an interval")
        text = self.text("the text of an interval")
        return _Interval(start_s, end_s, text, self._line)
