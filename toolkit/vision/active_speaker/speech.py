"""LR-ASD's audio: 13 MFCC a hundred times a second, as python_speech_features 0.6 (MIT licence) defines them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.settings import SPEECH_RATE_HZ
from fmltk.toolkit.vision.active_speaker.network import N_COEFFICIENTS

if TYPE_CHECKING:
    from numpy.typing import NDArray

WINDOW_SAMPLES, STEP_SAMPLES = 400, 160  # 25 ms every 10 ms, without a window function
N_FFT = 512
N_FILTERS = 26
PRE_EMPHASIS = 0.97
LIFTER = 22
FULL_SCALE = 32_768  # of 16-bit samples: the level that the network was trained on
BLOCK_STEPS = 6_000  # a minute at a time: memory stays flat in long clips


def speech_coefficients(samples: NDArray[np.float32], n_steps: int) -> NDArray[np.float32]:
    """Return `n_steps` rows of 13 coefficients, float32; step k hears the 25 ms from k/100 s on.

    samples : float32, shape (n,), full scale 1, at 16,000 Hz; silence follows where they end

    Coefficient 0 is the logarithm of the window's energy, the others are the discrete cosine transform of 26 mel
    energies' logarithms, liftered.

    >>> speech_coefficients(np.zeros(16_000, np.float32), 100).shape
    (100, 13)
    """
    blocks = [_block(samples, first, min(BLOCK_STEPS, n_steps - first)) for first in range(0, n_steps, BLOCK_STEPS)]
    return np.concatenate([np.zeros((0, N_COEFFICIENTS), np.float32), *blocks])


def _block(samples: NDArray[np.float32], first: int, n_steps: int) -> NDArray[np.float32]:
    import scipy.fft

    windows = _windows(samples, first, n_steps)
    power = np.abs(np.fft.rfft(windows, N_FFT, axis=1)) ** 2 / N_FFT  # (n_steps, 257)
    energies = _above_zero(power @ _filters().T)  # (n_steps, 26)
    coefficients = scipy.fft.dct(np.log(energies), type=2, norm="ortho", axis=1)[:, :N_COEFFICIENTS]
    coefficients *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(N_COEFFICIENTS) / LIFTER)
    coefficients[:, 0] = np.log(_above_zero(power.sum(axis=1)))
    result: NDArray[np.float32] = coefficients.astype(np.float32)
    return result


def _windows(samples: NDArray[np.float32], first: int, n_steps: int) -> NDArray[np.float64]:
    """Return the windows of some steps, emphasised: float64, shape (n_steps, 400), as 16-bit samples."""
    start = first * STEP_SAMPLES
    stop = start + (n_steps - 1) * STEP_SAMPLES + WINDOW_SAMPLES
    before = max(start - 1, 0)  # the sample before the block counts; before the first there is silence
    heard = samples[before:stop]
    whole = np.clip(np.round(heard.astype(np.float64) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    emphasised = whole.copy()
    emphasised[1:] -= PRE_EMPHASIS * whole[:-1]
    emphasised = emphasised[start - before :]
    emphasised = np.pad(emphasised, (0, stop - start - len(emphasised)))
    return np.lib.stride_tricks.sliding_window_view(emphasised, WINDOW_SAMPLES)[::STEP_SAMPLES]


def _above_zero(energies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return energies with the smallest step of a float where they are 0, for the logarithm."""
    return np.where(energies == 0, np.finfo(np.float64).eps, energies)


@lru_cache(maxsize=1)
def _filters() -> NDArray[np.float64]:
    """Return triangles of height 1 whose corners are FFT bins evenly spaced in mel, float64, shape (26, 257)."""
    highest_mel = 2595 * np.log10(1 + SPEECH_RATE_HZ / 2 / 700)
    corners_hz = 700 * (10 ** (np.linspace(0, highest_mel, N_FILTERS + 2) / 2595) - 1)
    corners = np.floor((N_FFT + 1) * corners_hz / SPEECH_RATE_HZ)
    bins = np.arange(N_FFT // 2 + 1)
    left, top, right = (corners[i : i + N_FILTERS, None] for i in range(3))  # (26, 1)
    rising, falling = (bins - left) / (top - left), (right - bins) / (right - top)
    return np.where((bins >= left) & (bins < top), rising, np.where((bins >= top) & (bins < right), falling, 0.0))
