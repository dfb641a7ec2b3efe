"""From a clip's sound to what is said in it, a window at a time, so that memory does not grow with the clip.

No text is made up where nobody speaks: silence and music are left out before and after the model hears them, by when
speech is heard (silero-vad, or how loud it is) and by the model's own probabilities; a text that repeats itself is
dropped. The result says what is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.audio.speech_activity import speech_activity
from fmltk.toolkit.settings import SILERO, SPEECH_RATE_HZ
from fmltk.toolkit.speech.recognition import HeardSegment, Recognition, compression_of
from fmltk.toolkit.speech.windows import split_tokens
from fmltk.toolkit.speech.words import HeardWord, heard_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.speech.settings import TranscriptionSettings
    from fmltk.toolkit.speech.whisper import Heard, Whisper
    from fmltk.toolkit.speech.windows import Segment

ACTIVITY_HZ = 10  # steps per second in which speech is looked for
LEAST_SAMPLES = SPEECH_RATE_HZ // 10  # nobody says anything in what is left after the last segment
_NAMED = 3  # stretches that a note names
_HEARD_BY = {SILERO: "silero-vad hears no speech", "energy": "it is quiet"}


@dataclass
class _Findings:
    """The findings so far, window by window."""

    segments: list[HeardSegment] = field(default_factory=list)
    words: list[HeardWord] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    no_speech: list[float] = field(default_factory=list)
    compression: list[float] = field(default_factory=list)
    dropped: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    language: str | None = None
    speech_s: float = 0.0

    def drop(self, why: str, start_s: float, end_s: float) -> None:
        self.dropped.setdefault(why, []).append((start_s, end_s))


def listen(
    samples: NDArray[np.float32], whisper: Whisper, settings: TranscriptionSettings, *, speech: str
) -> Recognition:
    """Return what is said in a clip.

    samples : float32 (n,), 16,000 a second, one channel, full scale 1; a memory map is read a window at a time
    speech : "silero" or "energy": what hears where somebody may be speaking
    """
    found = _Findings(language=settings.spoken_language or None)
    start = 0
    while start == 0 or len(samples) - start >= LEAST_SAMPLES:
        window = np.asarray(samples[start : start + whisper.window_samples], np.float32)
        seconds = len(window) / SPEECH_RATE_HZ
        advance_s = _hear_window(found, window, start / SPEECH_RATE_HZ, whisper, settings, speech)
        start += len(window) if advance_s >= seconds else max(round(advance_s * SPEECH_RATE_HZ), 1)
    return _recognition(found, len(samples) / SPEECH_RATE_HZ, whisper, settings, speech)


def _hear_window(
    found: _Findings,
    window: NDArray[np.float32],
    start_s: float,
    whisper: Whisper,
    settings: TranscriptionSettings,
    speech: str,
) -> float:
    """Add what is said in a window; return after how many seconds the next one begins."""
    seconds = len(window) / SPEECH_RATE_HZ
    n_steps = max(int(seconds * ACTIVITY_HZ), 1)
    active = speech_activity(window, steps_hz=ACTIVITY_HZ, n_steps=n_steps, method=speech)
    if not active.any():
        return seconds
    heard = whisper.hear(window, found.language)
    segments, advance_s = split_tokens(heard.tokens, first_stamp=whisper.first_stamp, window_s=seconds)
    found.speech_s += float(active[: max(round(advance_s * ACTIVITY_HZ), 1)].sum()) / ACTIVITY_HZ
    found.no_speech.append(heard.no_speech)
    log_prob = float(np.mean(heard.log_probs))
    if heard.no_speech > settings.no_speech and log_prob < settings.log_probability:
        found.drop("the model hears no speech", start_s, start_s + advance_s)
        return advance_s
    texts = [whisper.decode(heard.tokens[one.first : one.last]) for one in segments]
    compression = compression_of("".join(texts))
    found.compression.append(compression)
    if compression > settings.compression:
        found.drop(
            f"text repeats itself (compressed by more than {settings.compression:g})", start_s, start_s + advance_s
        )
        return advance_s
    for segment, text in zip(segments, texts, strict=True):
        if text.strip():
            _add_segment(found, segment, text, heard, start_s, active, whisper, speech)
    return advance_s


def _add_segment(
    found: _Findings,
    segment: Segment,
    text: str,
    heard: Heard,
    start_s: float,
    active: NDArray[np.bool_],
    whisper: Whisper,
    speech: str,
) -> None:
    """Add a segment's text and words, or that nobody speaks where it would be."""
    begin_s, end_s = round(start_s + segment.start_s, 3), round(start_s + segment.end_s, 3)
    first_step = min(int(segment.start_s * ACTIVITY_HZ), len(active) - 1)
    if not active[first_step : max(int(np.ceil(segment.end_s * ACTIVITY_HZ)), first_step + 1)].any():
        found.drop(f"text where {_HEARD_BY[speech]}", begin_s, end_s)
        return
    found.language = found.language or heard.language
    place = slice(segment.first, segment.last)
    found.segments.append(HeardSegment(text, begin_s, end_s))
    found.log_probs += heard.log_probs[place]
    if heard.times_s:
        times = np.clip(np.nan_to_num(heard.times_s[segment.first : segment.last + 1]), segment.start_s, segment.end_s)
        found.words += heard_words(
            heard.tokens[place],
            whisper.decode,
            times_s=(times + start_s).round(3).tolist(),
            log_probs=heard.log_probs[place],
        )


def _recognition(
    found: _Findings, duration_s: float, whisper: Whisper, settings: TranscriptionSettings, speech: str
) -> Recognition:
    text = " ".join("".join(one.text for one in found.segments).split())
    log_prob = float(np.mean(found.log_probs)) if text else None
    notes = [
        f"{why} is dropped: {_stretches(places)}" if why.startswith("text") else f"no text, {why}: {_stretches(places)}"
        for why, places in found.dropped.items()
    ]
    if not text and not found.dropped:
        notes.append(f"no text, {_HEARD_BY[speech]}" if not found.no_speech else "no text, the model writes none")
    if log_prob is not None and log_prob < settings.log_probability:
        notes.append(
            f"the text is unsure: its average log-probability is {log_prob:.2f}, usually above "
            f"{settings.log_probability:g}"
        )
    return Recognition(
        text=text or None,
        language=found.language if text else None,
        avg_log_prob=log_prob,
        no_speech=min(found.no_speech, default=None),
        compression=max(found.compression, default=None),
        speech_share=min(found.speech_s / duration_s, 1.0) if duration_s else 0.0,
        segments=tuple(HeardSegment(one.text.strip(), one.start_s, one.end_s) for one in found.segments),
        words=tuple(found.words) if whisper.has_word_times else None,
        notes=tuple(notes),
    )


def _stretches(places: list[tuple[float, float]]) -> str:
    named = ", ".join(f"{start:.1f} to {end:.1f} s" for start, end in places[:_NAMED])
    return named + (f" and {len(places) - _NAMED} more" if len(places) > _NAMED else "")
