"""Word times as JSON: Whisper's and whisperX's own files, and what other programs make of them.

Words stand in a list of `segments`, in a list of `words` (OpenAI's interface, Gentle) or of `chunks` (transformers). A
word without times, as whisperX writes numerals, stays a word without times.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.alignment.words import TimedWord, timed_word
from fmltk.toolkit.errors import ConfigError

_MOST_S = 10**9  # no sound lasts thirty years

if TYPE_CHECKING:
    from collections.abc import Iterator


def json_words(document: Any, *, name: str) -> list[TimedWord]:
    """Return the words of a document, with the times that it gives them.

    Raises ConfigError if the document has no list of words, or none of its words has a time.

    >>> words = [{"word": " In", "start": 0.1, "end": 0.3}, {"word": " 2014"}]
    >>> json_words({"segments": [{"text": " In 2014", "words": words}]}, name="a.json")
    [TimedWord(text='In', start_s=0.1, end_s=0.3), TimedWord(text='2014', start_s=None, end_s=None)]
    """
    found = []
    for where, entry in _entries(document, name):
        text = next((entry[key] for key in ("word", "text") if isinstance(entry.get(key), str)), None)
        if text is None:
            raise ConfigError(f"{where} has no text; expected an object with word, start and end")
        times = entry.get("timestamp")
        given = times if isinstance(times, list) and len(times) == 2 else [entry.get("start"), entry.get("end")]
        start_s, end_s = (_seconds(one, where, text) for one in given)
        word = timed_word(text, start_s, end_s, where=where, error=ConfigError)
        if word is not None:
            found.append(word)
    if found and not any(word.is_timed for word in found):
        raise ConfigError(f"{name}: none of its {len(found)} words has a time; expected start and end, in seconds")
    return found


def _entries(document: Any, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield where each word of a document stands, and the object that holds it."""
    if isinstance(document, list):
        of_segments = any(isinstance(one, dict) and "words" in one for one in document)
        document = {"segments" if of_segments else "words": document}
    if not isinstance(document, dict):
        raise ConfigError(f"{name} is not a file of words; expected segments with words, as Whisper writes them")
    segments = document.get("segments")
    if isinstance(segments, list) and any(isinstance(one, dict) and one.get("words") for one in segments):
        for number, segment in enumerate(segments, start=1):
            yield from _of_segment(segment, f"{name} segment {number}")
        return
    words = next((document[key] for key in ("words", "word_segments", "chunks") if document.get(key)), None)
    if not isinstance(words, list):
        raise ConfigError(
            f"{name} gives no times of words; run whisper with --word_timestamps True, or give a whisperX file"
        )
    yield from _objects(words, name)


def _of_segment(segment: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the words of a segment; one that could not be aligned has its text alone."""
    if not isinstance(segment, dict):
        raise ConfigError(f"{where} is not an object with words")
    words = segment.get("words")
    if not words:
        words = [{"word": word} for word in str(segment.get("text") or "").split()]
    if not isinstance(words, list):
        raise ConfigError(f"{where}: its words are not a list")
    yield from _objects(words, where)


def _objects(words: list[Any], where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, entry in enumerate(words, start=1):
        if not isinstance(entry, dict):
            raise ConfigError(f"{where} word {number} is not an object with word, start and end")
        yield f"{where} word {number}", entry


def _seconds(value: Any, where: str, text: str) -> float | None:
    """Return a time; None where there is none, which is also how NaN is meant."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ConfigError(f"{where}: a time of {text!r} is {str(value)[:40]!r}, expected a number of seconds")
    if isinstance(value, int):
        return float(min(value, _MOST_S))  # a number of any length
    return None if math.isnan(value) else value
