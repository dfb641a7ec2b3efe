"""Magnitude spectra of frames, and what is read from them: mel energies and the tuning.

The definitions are those of librosa 0.11 (ISC licence), which the tests use as the reference. They are written out here
because librosa compiles numba code when it is imported: 0.8 CPU-seconds and 190 MB for every worker, and over ten
CPU-seconds on a machine where that code is not cached yet.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.audio.blocks import N_FFT, frame_blocks
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.settings import AUDIO_RATE_HZ, MEL_SCALES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

N_MELS = 128
MIN_PITCH_HZ, MAX_PITCH_HZ = 150.0, 4000.0  # librosa.piptrack's range
PEAK_THRESHOLD = 0.1  # of the frame's strongest bin (librosa.piptrack)
MIN_POWER = 1e-10  # -100 dB: the floor of librosa.power_to_db
TUNING_BINS_PER_OCTAVE = 36
_TUNING_STEPS = np.linspace(-0.5, 0.5, 101)


def hann_window(size: int) -> NDArray[np.float64]:
    """Return the periodic Hann window, shape (size,)."""
    window: NDArray[np.float64] = 0.5 + 0.5 * np.cos(np.linspace(-np.pi, np.pi, size + 1)[:-1])
    return window


def magnitude_blocks(samples: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yield magnitude spectra of Hann-windowed frames, blocks of shape (n_frames_in_block, 1 + N_FFT // 2)."""
    import scipy.fft

    window = hann_window(N_FFT)
    for frames in frame_blocks(samples):
        spectrum = scipy.fft.rfft(window * frames, axis=1).astype(np.complex64)
        yield np.abs(spectrum)


def _hz_to_mel(hz: float, scale: str) -> float:
    if scale == "htk":
        return float(2595.0 * np.log10(1.0 + hz / 700.0))
    if hz < 1000.0:
        return hz / (200.0 / 3)
    return float(15.0 + np.log(hz / 1000.0) / (np.log(6.4) / 27.0))


def _mel_to_hz(mels: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mels / 2595.0) - 1.0))
    logarithmic = 1000.0 * np.exp(np.log(6.4) / 27.0 * (mels - 15.0))
    return np.where(mels >= 15.0, logarithmic, 200.0 / 3 * mels)


@lru_cache(maxsize=len(MEL_SCALES))
def mel_filters(scale: str) -> NDArray[np.float32]:
    """Return triangular mel filters of equal area from 0 to 11,025 Hz, float32, shape (N_MELS, 1 + N_FFT // 2).

    scale : "htk" (2595 log10(1 + f/700)) or "slaney" (linear below 1 kHz, logarithmic above)

    Raises ConfigError for another scale.
    Source: librosa.filters.mel.
    """
    if scale not in MEL_SCALES:
        raise ConfigError(f"MFCC scale {scale!r} is unknown; expected one of {', '.join(MEL_SCALES)}")
    bins_hz = np.fft.rfftfreq(N_FFT, 1.0 / AUDIO_RATE_HZ)
    edges_mel = np.linspace(0.0, _hz_to_mel(AUDIO_RATE_HZ / 2, scale), N_MELS + 2, dtype=np.float64)
    edges_hz = _mel_to_hz(edges_mel, scale)  # (N_MELS + 2,)
    widths_hz = np.diff(edges_hz)
    distance_hz = edges_hz[:, None] - bins_hz[None, :]  # (N_MELS + 2, n_bins)
    rising = -distance_hz[:-2] / widths_hz[:-1, None]
    falling = distance_hz[2:] / widths_hz[1:, None]
    filters = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    filters *= (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]
    return np.asarray(filters, dtype=np.float32)


def mel_decibels(magnitude: NDArray[np.float32], scale: str) -> NDArray[np.float32]:
    """Return mel energies in dB re 1, at least -100 dB: float32, shape (N_MELS, n_frames).

    magnitude : float32, shape (n_frames, 1 + N_FFT // 2)
    Source: librosa.feature.melspectrogram, librosa.power_to_db without its top_db.
    """
    power = magnitude.T**2
    # The same contraction as librosa's, so that little is rounded in another way.
    energy = np.einsum("ft,mf->mt", power, mel_filters(scale), optimize=True)
    decibels: NDArray[np.float32] = 10.0 * np.log10(np.maximum(MIN_POWER, energy))
    return decibels


def pitch_offsets(magnitude: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return how far every spectral peak lies from the A440 grid of 36 bins per octave, and its magnitude.

    A peak is a local maximum between 150 and 4000 Hz above a tenth of its frame's maximum; its place is refined by a
    parabola through three bins.

    magnitude : float32, shape (n_frames, 1 + N_FFT // 2)

    Returns offsets, uint8, shape (n_peaks,): k for -0.5 + k/100 bins up to the next hundredth; magnitudes, float32.
    Source: librosa.piptrack, librosa.pitch_tuning.
    """
    bins_hz = np.fft.rfftfreq(N_FFT, 1.0 / AUDIO_RATE_HZ)
    low, high = np.searchsorted(bins_hz, [MIN_PITCH_HZ, MAX_PITCH_HZ])
    floor = PEAK_THRESHOLD * magnitude.max(axis=1, keepdims=True)
    around = magnitude[:, low - 1 : high + 1]
    loud = around * (around > floor)
    is_peak = (loud[:, 1:-1] > loud[:, :-2]) & (loud[:, 1:-1] >= loud[:, 2:])
    frame, column = np.nonzero(is_peak)
    centre = low + column
    left, middle, right = (magnitude[frame, centre + offset] for offset in (-1, 0, 1))
    curvature = (left + right).astype(np.float64) - 2 * middle.astype(np.float64)
    slope = (right - left).astype(np.float64) / 2
    inside = np.abs(slope) < np.abs(curvature)
    shift = np.divide(-slope, curvature, out=np.zeros_like(slope), where=inside).astype(np.float32)
    pitch_hz = ((centre + shift) * float(AUDIO_RATE_HZ) / N_FFT).astype(np.float32)
    offset = np.mod(TUNING_BINS_PER_OCTAVE * np.log2(pitch_hz / (440.0 / 16)), 1.0)
    offset[offset >= 0.5] -= 1.0
    steps = np.searchsorted(_TUNING_STEPS, offset, side="right") - 1
    return steps.astype(np.uint8), middle + 0.5 * ((right - left) / 2) * shift


def tuning_of_offsets(offsets: NDArray[np.uint8], magnitudes: NDArray[np.float32]) -> float:
    """Return the commonest offset among the louder half of a clip's peaks, in bins from -0.5 to 0.5.

    offsets, magnitudes : of the whole clip, as `pitch_offsets` gives them, shape (n_peaks,)
    Returns 0.0 without a peak: silence and constant sound have no pitch.
    Source: librosa.estimate_tuning(bins_per_octave=36), as chroma_cqt calls it.
    """
    if len(offsets) == 0:
        return 0.0
    louder = offsets[magnitudes >= np.median(magnitudes)]
    return float(_TUNING_STEPS[np.argmax(np.bincount(louder))])
