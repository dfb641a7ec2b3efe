"""When somebody speaks, by loudness and by silero-vad."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.audio import speech_activity as module
from fmltk.toolkit.audio.speech_activity import resolve_speech, speech_activity
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.settings import SPEECH_RATE_HZ

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

METHODS = [
    "energy",
    pytest.param(
        "silero",
        marks=pytest.mark.skipif(importlib.util.find_spec("silero_vad") is None, reason="silero-vad is not installed"),
    ),
]


@pytest.fixture(scope="module")
def speech(test_data: Path) -> NDArray[np.float32]:
    """Two seconds in which somebody speaks throughout."""
    path = test_data / "videos/latentsync_demo1.mp4"
    return read_audio(path, info=probe_media(path), rate_hz=SPEECH_RATE_HZ).samples[:32_000]


@pytest.mark.parametrize("method", METHODS)
def test_speech_between_silence_is_found(speech: NDArray[np.float32], method: str) -> None:
    heard = np.concatenate([np.zeros(32_000, np.float32), speech, np.zeros(32_000, np.float32)])
    activity = speech_activity(heard, steps_hz=30, n_steps=180, method=method)
    assert activity[60:120].mean() > 0.8
    assert not activity[:50].any()
    assert not activity[140:].any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_samples", [0, 100, 16_000])
def test_silence_and_what_follows_the_sound_are_silent(method: str, n_samples: int) -> None:
    activity = speech_activity(np.zeros(n_samples, np.float32), steps_hz=30, n_steps=45, method=method)
    assert activity.shape == (45,)
    assert not activity.any()
    assert speech_activity(np.zeros(n_samples, np.float32), steps_hz=30, n_steps=0, method=method).shape == (0,)


@pytest.mark.parametrize("method", METHODS)
def test_noise_is_loud_and_no_speech(method: str) -> None:
    noise = (0.1 * np.random.default_rng(0).standard_normal(32_000)).astype(np.float32)
    assert speech_activity(noise, steps_hz=30, n_steps=60, method=method).any() == (method == "energy")


def test_short_pauses_are_part_of_speech() -> None:
    tone = np.sin(np.arange(8_000, dtype=np.float32))
    heard = np.concatenate([tone, np.zeros(4_800, np.float32), tone, np.zeros(16_000, np.float32)])
    activity = speech_activity(heard, steps_hz=30, n_steps=69, method="energy")
    assert activity[:39].all()  # 0.3 s without a sound are bridged
    assert not activity[46:].any()


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PACKAGE", "no_such_package")
    assert resolve_speech("auto") == resolve_speech("energy") == "energy"
    with pytest.raises(ConfigError, match=r"silero-vad is not installed; pip install 'fmltk\[speech\]'"):
        resolve_speech("silero")
