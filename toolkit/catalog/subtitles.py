"""Subtitle files: the cues of .srt and .vtt, each spoken word once."""

from __future__ import annotations

import html
import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.rolling import Lines, Word, without_rolling
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmltk.toolkit.io.paths import AnyPath

SUBTITLE_SUFFIXES = (".srt", ".vtt")
SIDECAR_SUFFIXES = (".txt", *SUBTITLE_SUFFIXES)  # the first that exists counts
_TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_TIMING = re.compile(rf"\s*{_TIME}\s*-->\s*{_TIME}(?:\s.*)?")
_COUNTER = re.compile(r"\s*\d+\s*")
_NOT_SPOKEN = re.compile(r"(NOTE|STYLE|REGION)(\s|$)")
_INLINE_TIME = re.compile(rf"<{_TIME}>")
# Only what is known to be mark-up goes: "a < b" and "I <3 you" are words.
_TAG = re.compile(r"</?(?:[bius]|c|v|em|strong|font|lang|ruby|rt|span)(?:[.\s][^<>]*)?>|\{\\[^{}]*\}", re.IGNORECASE)
_BREAK = re.compile(r"<br\s*/?>|\\[Nh]")
_ENTITY = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|\w{1,31});")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: when it is shown, in seconds, and what it says.

    `words` are its words, each with the time in seconds at which it begins, or None where the file does not give it;
    where it gives none of them, as in ordinary subtitles, there are none.
    """

    start_s: float
    end_s: float
    text: str
    words: tuple[tuple[str, float | None], ...] = ()


def read_cues(path: AnyPath, *, encoding: str | None = None) -> list[Cue]:
    """Return the cues of a .srt or .vtt file (see `cues_of`). Raises ConfigError if it cannot be read or holds none."""
    return cues_of(read_text(path, encoding=encoding), path.name)


def cues_of(content: str, name: str) -> list[Cue]:
    r"""Return the cues of a .srt or .vtt file in order of time, mark-up removed, empty ones left out.

    Captions that roll, which repeat lines from cue to cue, are given without the repeats (see `without_rolling`). A cue
    may end before it begins; its words count all the same. Raises ConfigError if the file holds text but no cue.

    >>> [(cue.start_s, cue.text) for cue in cues_of("00:01.000 --> 00:02.500\n<i>Hello</i> &amp; welcome", "a.vtt")]
    [(1.0, 'Hello & welcome')]
    """
    is_vtt = name.lower().endswith(".vtt")
    shown = [
        Lines(start_s, end_s, tuple(_words(lines, start_s, end_s))) for start_s, end_s, lines in _cues(content, is_vtt)
    ]
    if not shown and content.strip() and ("-->" in content or not content.lstrip().startswith("WEBVTT")):
        raise ConfigError(f"{name} holds no subtitle cue; expected times such as 00:00:01,000 --> 00:00:02,500")
    spoken = [cue for cue in shown if cue.lines]
    return [_cue(cue) for cue in without_rolling(sorted(spoken, key=lambda cue: (cue.start_s, cue.end_s)))]


def _cue(cue: Lines) -> Cue:
    words = tuple(itertools.chain.from_iterable(cue.lines))
    text = "".join(word.text if word.is_joined else f" {word.text}" for word in words)
    is_timed = any(word.start_s is not None for word in words)
    return Cue(
        cue.start_s, cue.end_s, text.lstrip(), tuple((word.text, word.start_s) for word in words) if is_timed else ()
    )


def _cues(content: str, is_vtt: bool) -> Iterator[tuple[float, float, list[str]]]:
    """Yield (start, end, lines) of each cue, in the file's order.

    A line between two cues belongs to the first, even after a blank line, unless it is the second's name: a number in
    .srt, anything in .vtt. Notes, styles and what stands before the first cue are not spoken.
    """
    lines: list[str] = []
    span: tuple[float, float] | None = None
    after_blank, in_note = True, False
    for line in re.split(r"\r\n?|\n", content):
        timing = _TIMING.fullmatch(line)
        if timing:
            if lines and (_COUNTER.fullmatch(lines[-1]) or (is_vtt and lines[-2:-1] == [""])):
                lines.pop()
            if span:
                yield *span, lines
            numbers = timing.groups()
            span, lines, in_note = (_seconds(numbers[:4]), _seconds(numbers[4:])), [], False
        elif is_vtt and after_blank and _NOT_SPOKEN.match(line):
            in_note = True
        elif not line:
            in_note = False
            lines.append("")
        elif not in_note:
            lines.append(line)
        after_blank = not line
    if span:
        while lines and (not lines[-1] or (lines[-2:-1] == [""] and _COUNTER.fullmatch(lines[-1]))):
            lines.pop()  # the number of a cue that was cut off
        yield *span, lines


def _seconds(numbers: tuple[str | None, ...]) -> float:
    hours, minutes, seconds, fraction = (number or "0" for number in numbers)
    return (int(hours) * 60 + int(minutes)) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000


def _words(lines: list[str], start_s: float, end_s: float) -> Iterator[tuple[Word, ...]]:
    """Yield the words of each line that has some, with the time of the tag before them; without tags, without times."""
    for line in lines:
        parts = _INLINE_TIME.split(_BREAK.sub(" ", line))  # text, four numbers, text, four numbers, text
        times: list[float | None] = [start_s if len(parts) > 1 else None]
        times += [_seconds(tuple(parts[i : i + 4])) for i in range(1, len(parts), 5)]
        words: list[Word] = []
        after_space = True
        for text, time in zip(map(_plain, parts[::5]), times, strict=True):
            start = time if time is not None and start_s <= time <= end_s else None
            joined = not after_space and not text[:1].isspace()
            words += [Word(word, start, joined and number == 0) for number, word in enumerate(text.split())]
            after_space = text[-1:].isspace() if text else after_space
        if words:
            yield tuple(words)


def _plain(text: str) -> str:
    """Return a text without mark-up, its character references decoded once."""
    return _ENTITY.sub(lambda found: html.unescape(found.group()), _TAG.sub("", text))
