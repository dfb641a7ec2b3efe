"""Word times as subtitles: one word per cue (.srt, .vtt), or times within a cue (.vtt)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.words import TimedWord, timed_word
from fmltk.toolkit.catalog.subtitles import cues_of
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmltk.toolkit.catalog.subtitles import Cue


def caption_words(content: str, *, name: str) -> list[TimedWord]:
    r"""Return the words of a subtitle file that gives the time of each.

    Within a cue, a word lasts until the next time in it, the last one until the cue's end; words between two times
    share the time from one to the other.

    Raises ConfigError if it has no cue, or a cue has several words and no times of them.

    >>> caption_words("WEBVTT\n\n00:01.000 --> 00:02.000\n<00:01.000>good<00:01.400> day", name="a.vtt")
    [TimedWord(text='good', start_s=1.0, end_s=1.4), TimedWord(text='day', start_s=1.4, end_s=2.0)]
    """
    found = []
    for cue in cues_of(content, name):
        where = f"{name}, the cue at {cue.start_s:.3f} s"
        if not cue.words and len(cue.text.split()) > 1:
            raise ConfigError(
                f"{where} has several words and no times of them: {cue.text[:40]!r}; expected one word per cue "
                "(whisper --word_timestamps True --max_words_per_line 1), or Whisper's JSON"
            )
        for text, start_s, end_s in _times(cue):
            word = timed_word(text, start_s, end_s, where=where, error=ConfigError)
            if word is not None:
                found.append(word)
    return found


def _times(cue: Cue) -> Iterator[tuple[str, float | None, float | None]]:
    if not cue.words:
        yield cue.text, cue.start_s, cue.end_s
        return
    for place, (text, start_s) in enumerate(cue.words):
        later = (time for _, time in cue.words[place:] if time is not None and start_s is not None and time > start_s)
        yield text, start_s, next(later, cue.end_s)
