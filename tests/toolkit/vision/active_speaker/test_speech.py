"""The coefficients are those of python_speech_features."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.vision.active_speaker.speech import speech_coefficients

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _by_definition(samples: NDArray[np.int16], n_steps: int) -> NDArray[np.float64]:
    """The definition, number by number."""

    def mel(hz: float) -> float:
        return 2595 * math.log10(1 + hz / 700)

    corners = [math.floor(513 * 700 * (10 ** (i * mel(8000) / 27 / 2595) - 1) / 16000) for i in range(28)]
    signal = np.concatenate([samples, np.zeros(1000)])
    signal = np.concatenate([signal[:1], signal[1:] - 0.97 * signal[:-1]])
    signal[len(samples) :] = 0
    rows = []
    for k in range(n_steps):
        window = np.pad(signal[160 * k : 160 * k + 400], (0, 112))
        power = np.abs(np.fft.fft(window)[:257]) ** 2 / 512
        energies = []
        for low, top, high in zip(corners, corners[1:], corners[2:], strict=False):
            rising = sum(power[b] * (b - low) / (top - low) for b in range(low, top))
            energies.append(rising + sum(power[b] * (high - b) / (high - top) for b in range(top, high)))
        logs = [math.log(one or np.finfo(float).eps) for one in energies]
        row = [math.log(power.sum() or np.finfo(float).eps)]
        for c in range(1, 13):
            cosine = sum(one * math.cos(math.pi * c * (2 * m + 1) / 52) for m, one in enumerate(logs))
            row.append(cosine * math.sqrt(2 / 26) * (1 + 11 * math.sin(math.pi * c / 22)))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("kind", ["noise", "silence", "loud", "short"])
def test_coefficients_follow_the_definition(kind: str) -> None:
    draw = np.random.default_rng(1)
    n_samples, n_steps = (300, 4) if kind == "short" else (1600, 12)
    level = {"noise": 0.1, "silence": 0.0, "loud": 2.0, "short": 0.01}[kind]
    samples = (level * draw.standard_normal(n_samples)).astype(np.float32)
    whole = np.clip(np.round(samples.astype(np.float64) * 32768), -32768, 32767).astype(np.int16)
    np.testing.assert_allclose(speech_coefficients(samples, n_steps), _by_definition(whole, n_steps), atol=2e-5)


def test_coefficients_are_those_that_python_speech_features_printed() -> None:
    t = np.arange(4000) / 16000
    coefficients = speech_coefficients((0.3 * np.sin(2 * np.pi * (200 + 2000 * t) * t)).astype(np.float32), 24)
    printed = {  # rounded
        0: "18.4374 27.1287 17.8305 9.5 -0.0455 -10.0723 -17.6914 -23.188 -24.988 -23.91 -19.932 -14.823 -9.286",
        10: "20.2471 21.2657 -4.9374 -26.9587 -33.2999 -20.5309 3.5998 21.526 23.462 9.337 -8.394 -18.714 -16.218",
    }
    for step, row in printed.items():
        np.testing.assert_allclose(coefficients[step], [float(one) for one in row.split()], atol=1e-3)


def test_a_long_sound_is_the_same_in_blocks() -> None:
    samples = (0.1 * np.random.default_rng(2).standard_normal(16000 * 61)).astype(np.float32)
    whole = speech_coefficients(samples, 6100)
    assert whole.shape == (6100, 13)
    np.testing.assert_allclose(whole[6000:6050], speech_coefficients(samples[16000 * 60 - 160 :], 51)[1:], atol=1e-5)
