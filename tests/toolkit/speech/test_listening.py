"""What becomes of a clip's windows: kept, dropped with the reason, heard again; with a model whose words are known."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.toolkit.speech.listening import listen
from fmltk.toolkit.speech.settings import TranscriptionSettings
from fmltk.toolkit.speech.whisper import Heard

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

ZERO = 100  # the token of 0.00 s
RATE = 16_000


@dataclass
class Parrot:
    """A Whisper that says a word for each token, the same in every window unless it is told otherwise."""

    tokens: Sequence[int] = (ZERO, 1, 2, ZERO + 100)
    words: Sequence[str] = ("", " good", " day", " no")
    log_prob: float = -0.2
    no_speech: float = 0.0
    language: str | None = "en"
    has_word_times: bool = True
    window_samples: int = 30 * RATE
    first_stamp: int = ZERO
    heard: list[tuple[int, str | None]] = field(default_factory=list)

    def hear(self, samples: NDArray[np.float32], language: str | None) -> Heard:
        self.heard.append((len(samples), language))
        times = tuple(np.linspace(0, 2, len(self.tokens) + 1)) if self.has_word_times else ()
        log_probs = (self.log_prob,) * (len(self.tokens) + 1)
        return Heard(tuple(self.tokens), times, log_probs, self.no_speech, language or self.language)

    def decode(self, tokens: Sequence[int]) -> str:
        return "".join(self.words[one] for one in tokens if one < ZERO)


def loud(seconds: float) -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(scale=0.2, size=round(RATE * seconds)).astype(np.float32)


def quiet(seconds: float) -> NDArray[np.float32]:
    return np.zeros(round(RATE * seconds), np.float32)


def hear(parrot: Parrot, *sound: NDArray[np.float32], speech: str = "energy", **settings: Any) -> Any:
    model: Any = parrot
    return listen(np.concatenate(sound), model, TranscriptionSettings(**settings), speech=speech)


def test_what_is_said_is_kept_with_its_times() -> None:
    found = hear(Parrot(), loud(3))
    assert (found.status, found.text, found.language) == ("ok", "good day", "en")
    assert [(one.text, one.start_s, one.end_s) for one in found.segments] == [("good day", 0.0, 2.0)]
    assert [(one.text, one.start_s, one.end_s) for one in found.words] == [("good", 0.5, 1.0), ("day", 1.0, 1.5)]
    assert found.avg_log_prob == pytest.approx(-0.2)
    assert found.notes == ()


def test_a_long_clip_is_heard_window_by_window_on_its_own_clock() -> None:
    parrot = Parrot()
    found = hear(parrot, loud(70))
    assert [n for n, _ in parrot.heard] == [30 * RATE, 30 * RATE, 10 * RATE]
    assert [language for _, language in parrot.heard] == [None, "en", "en"]  # one language for the clip
    assert [one.start_s for one in found.segments] == [0.0, 30.0, 60.0]
    assert [one.start_s for one in found.words if one.text == "day"] == [1.0, 31.0, 61.0]
    assert found.text == "good day good day good day"


def test_a_window_that_is_cut_off_is_heard_again_from_there() -> None:
    parrot = Parrot(tokens=(ZERO, 1, ZERO + 600, ZERO + 600, 2))  # the word from 12 s on is not ended
    hear(parrot, loud(40))
    assert [n for n, _ in parrot.heard] == [30 * RATE, 28 * RATE, 16 * RATE, 4 * RATE]


@pytest.mark.parametrize(
    ("sound", "speech", "note"),
    [
        (quiet(3), "energy", "no text, it is quiet"),
        (quiet(65), "energy", "no text, it is quiet"),
        (quiet(3), "silero", "no text, silero-vad hears no speech"),
        (np.sin(np.arange(3 * RATE) * 0.17).astype(np.float32), "silero", "no text, silero-vad hears no speech"),
        (loud(3), "silero", "no text, silero-vad hears no speech"),
    ],
)
def test_silence_music_and_noise_are_not_heard_at_all(sound: NDArray[np.float32], speech: str, note: str) -> None:
    if speech == "silero":
        pytest.importorskip("silero_vad")
    parrot = Parrot()
    found = hear(parrot, sound, speech=speech)
    assert (found.text, found.language, found.words, found.notes) == (None, None, (), (note,))
    assert found.status == "ok"
    assert not parrot.heard


def test_text_in_the_silent_part_of_a_window_is_dropped_and_said() -> None:
    found = hear(Parrot(tokens=(ZERO, 1, ZERO + 100, ZERO + 1000, 2, ZERO + 1100)), loud(3), quiet(22))
    assert found.text == "good"
    assert found.notes == ("text where it is quiet is dropped: 20.0 to 22.0 s",)


@pytest.mark.parametrize(
    ("log_prob", "no_speech", "text", "note"),
    [
        (-1.5, 0.9, None, "no text, the model hears no speech: 0.0 to 3.0 s"),
        (-0.5, 0.9, "good day", None),  # sure of the words
        (-1.5, 0.1, "good day", "the text is unsure: its average log-probability is -1.50, usually above -1"),
        (-0.5, 0.1, "good day", None),
    ],
)
def test_the_models_own_probabilities_decide(
    log_prob: float, no_speech: float, text: str | None, note: str | None
) -> None:
    found = hear(Parrot(log_prob=log_prob, no_speech=no_speech), loud(3))
    assert found.text == text
    assert found.notes == ((note,) if note else ())


@pytest.mark.parametrize("loop", [(1,) * 60, (1, 2) * 30, (3,) * 90])
def test_text_that_repeats_itself_is_dropped_and_said(loop: tuple[int, ...]) -> None:
    parrot = Parrot(tokens=(ZERO, *loop))
    found = hear(parrot, loud(40))
    assert found.text is None
    assert found.notes == (
        "text repeats itself (compressed by more than 2.4) is dropped: 0.0 to 30.0 s, 30.0 to 40.0 s",
    )
    assert found.compression > 2.4
    assert hear(parrot, loud(3), compression=1000).text is not None


def test_a_language_that_is_given_is_not_detected() -> None:
    parrot = Parrot()
    assert hear(parrot, loud(3), spoken_language="zh").language == "zh"
    assert parrot.heard == [(3 * RATE, "zh")]


def test_a_window_without_a_word_settles_no_language() -> None:
    parrot = Parrot(tokens=(ZERO,), language="de")
    found = hear(parrot, loud(31))
    assert [language for _, language in parrot.heard] == [None, None]
    assert (found.text, found.language, found.notes) == (None, None, ("no text, the model writes none",))


def test_without_word_times_there_are_segments() -> None:
    found = hear(Parrot(has_word_times=False), loud(3))
    assert found.words is None
    assert len(found.segments) == 1


@pytest.mark.parametrize("n_samples", [16, 200, 1599])
def test_the_shortest_clips_are_heard_once(n_samples: int) -> None:
    parrot = Parrot()
    hear(parrot, loud(1)[:n_samples])
    assert [n for n, _ in parrot.heard] == [n_samples]


def test_twenty_minutes_take_no_more_memory_than_a_few_windows(tmp_path: Path) -> None:
    sound: Any = np.memmap(tmp_path / "sound", np.float32, "w+", shape=(20 * 60 * RATE,))
    for start in range(0, len(sound), RATE):
        sound[start : start + RATE] = 0.1
    model: Any = Parrot()
    tracemalloc.start()
    try:
        found = listen(sound, model, TranscriptionSettings(), speech="energy")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(found.segments) == 40
    assert peak < 12 * model.window_samples * sound.itemsize  # of 77 MB of sound
