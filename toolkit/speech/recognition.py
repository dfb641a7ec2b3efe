"""Recognised speech of a clip: text, when it is spoken, how sure, and what was dropped; as an object and as JSON."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Self

from fmltk.toolkit.features.clip_row import OK
from fmltk.toolkit.speech.words import HeardWord

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.features.clip_row import ModalityStatus


@dataclass(frozen=True, slots=True)
class HeardSegment:
    """A stretch of speech as the model cuts it: its text, and from when to when, in seconds of the clip."""

    text: str
    start_s: float
    end_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognition:
    """Recognised speech of a clip.

    Attributes
    ----------
    status, error_class, error_message
        "ok" where the clip was listened to, whether somebody speaks or not; "missing" without sound; "failed".
    text
        None where nothing is said.
    language
        A code; None where nothing is said.
    avg_log_prob
        The mean log-probability of the tokens that the text is of.
    no_speech
        The model's probability that nobody speaks, the least of the windows that it heard.
    compression
        The factor by which zlib compresses a window's text, the most of them.
    speech_share
        Share of the audio with speech, found before anything is recognised, 0 to 1.
    segments, words
        The text in time; words is None where the model does not say when each is spoken.
    notes
        Oddities: nobody speaks, text that was dropped, text that is unsure.
    """

    status: str = OK
    error_class: str | None = None
    error_message: str | None = None
    text: str | None = None
    language: str | None = None
    avg_log_prob: float | None = None
    no_speech: float | None = None
    compression: float | None = None
    speech_share: float | None = None
    segments: tuple[HeardSegment, ...] = ()
    words: tuple[HeardWord, ...] | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def without(cls, reason: ModalityStatus) -> Self:
        """Return that a clip could not be listened to."""
        return cls(status=str(reason.status), error_class=reason.error_class, error_message=reason.error_message)

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """Return what `document` wrote down. Raises KeyError or TypeError where it is something else."""
        words = document["words"]
        return cls(
            **{
                **document,
                "segments": tuple(HeardSegment(**one) for one in document["segments"]),
                "words": None if words is None else tuple(HeardWord(**one) for one in words),
                "notes": tuple(document["notes"]),
            }
        )

    def document(self) -> dict[str, Any]:
        """Return the recognition as JSON holds it."""
        return asdict(self)


def compression_of(text: str) -> float:
    """Return the factor by which zlib compresses a text: more than about 2.4 where it repeats itself.

    >>> compression_of("a b c d e") < 1, compression_of("no " * 100) > 10
    (True, True)
    """
    data = text.encode("utf-8", "replace")
    return len(data) / len(zlib.compress(data))
