"""Twelve pitch classes per frame from a constant-Q transform that streams through the clip.

The constant-Q transform works octave by octave: the top octave at the full rate, each lower one after halving it. Each
halving is one stateful resampler that the whole clip flows through, so a long clip gives the same numbers in blocks as
at once, with no overlap to recompute, and every octave keeps only the samples of its unfinished frames.

The definitions are those of librosa 0.11's chroma_cqt (ISC licence), which the tests use as the reference.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fmltk.toolkit.audio.blocks import count_frames, sample_blocks
from fmltk.toolkit.audio.spectrum import hann_window
from fmltk.toolkit.settings import AUDIO_RATE_HZ, HOP_SAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

N_CHROMA = 12
N_OCTAVES = 7
BINS_PER_OCTAVE = 36
N_BINS = N_OCTAVES * BINS_PER_OCTAVE
C1_HZ = 440.0 * 2.0 ** ((24 - 69) / 12)
DROPPED_SHARE = 0.01  # of a filter's magnitude, its smallest coefficients (librosa's sparsity)


class _Filters:
    """Constant-Q filters at one tuning.

    basis : complex64, sparse, shape (BINS_PER_OCTAVE, 1 + n_fft // 2): one octave's filters in the frequency domain.
        All octaves share it, as each works at its own rate.
    lengths : float64, shape (N_BINS,): filter lengths at the full rate, in samples, lowest bin first
    n_fft : length of the filters' frames, in samples
    """

    def __init__(self, basis: csr_matrix, lengths: NDArray[np.float64], n_fft: int) -> None:
        self.basis = basis
        self.lengths = lengths
        self.n_fft = n_fft


@lru_cache(maxsize=101)  # the tuning takes 101 values; one entry is 10 KB
def _constant_q_filters(tuning: float) -> _Filters:
    import scipy.fft
    from scipy.sparse import csr_matrix

    grid = 2.0 ** (np.arange(BINS_PER_OCTAVE, dtype=np.float64) / BINS_PER_OCTAVE)
    frequencies = np.multiply.outer(2.0 ** np.arange(N_OCTAVES), grid).ravel() * (
        C1_HZ * 2.0 ** (tuning / BINS_PER_OCTAVE)
    )  # (N_BINS,)
    lengths = AUDIO_RATE_HZ / (_relative_bandwidths(frequencies) * frequencies)
    top = slice(N_BINS - BINS_PER_OCTAVE, None)
    n_fft = int(2.0 ** np.ceil(np.log2(lengths[top].max())))
    filters = np.zeros((BINS_PER_OCTAVE, n_fft), dtype=np.complex64)
    for row, (length, frequency) in enumerate(zip(lengths[top], frequencies[top], strict=True)):
        angles = np.arange(-length // 2, length // 2) * 2 * np.pi * frequency / AUDIO_RATE_HZ
        wave = (np.cos(angles) + 1j * np.sin(angles)) * hann_window(len(angles))
        wave /= np.abs(wave).sum()
        before = (n_fft - len(wave)) // 2
        filters[row, before : before + len(wave)] = wave
    filters *= lengths[top, None] / float(n_fft)
    spectra = scipy.fft.fft(filters, axis=1)[:, : n_fft // 2 + 1]
    return _Filters(csr_matrix(_without_smallest(spectra)), lengths, n_fft)


def _relative_bandwidths(frequencies: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return bandwidth / frequency of each bin from the distance to its neighbours, shape (n_bins,)."""
    octaves = np.log2(frequencies)
    per_octave = np.empty_like(octaves)
    per_octave[1:-1] = 2 / (octaves[2:] - octaves[:-2])
    per_octave[0] = 1 / (octaves[1] - octaves[0])
    per_octave[-1] = 1 / (octaves[-1] - octaves[-2])
    ratio = 2.0 ** (2 / per_octave)
    return np.asarray((ratio - 1) / (ratio + 1))


def _without_smallest(spectra: NDArray[np.complex64]) -> NDArray[np.complex64]:
    """Return the spectra with the coefficients zeroed that make up the smallest DROPPED_SHARE of each row."""
    magnitudes = np.abs(spectra)
    ordered = np.sort(magnitudes, axis=1)
    share = np.cumsum(ordered / magnitudes.sum(axis=1, keepdims=True), axis=1)
    smallest_kept = np.take_along_axis(ordered, np.argmin(share < DROPPED_SHARE, axis=1)[:, None], axis=1)
    return np.where(magnitudes >= smallest_kept, spectra, 0)


class _Octave:
    """One octave of the transform; samples at its rate go in, finished frames come out."""

    def __init__(self, filters: _Filters, level: int) -> None:
        self._basis = (filters.basis * np.sqrt(2.0**level)).astype(np.complex64)
        bins = slice(N_BINS - BINS_PER_OCTAVE * (level + 1), N_BINS - BINS_PER_OCTAVE * level)
        self._scale = np.sqrt(filters.lengths[bins])
        self._n_fft = filters.n_fft
        self._hop = HOP_SAMPLES >> level
        self._pending: NDArray[np.float32] = np.zeros(filters.n_fft // 2, dtype=np.float32)

    def push(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        """Take the next samples; return magnitudes of the frames they finish, shape (BINS_PER_OCTAVE, n)."""
        import scipy.fft

        ending = np.zeros(self._n_fft // 2 if last else 0, dtype=np.float32)
        signal = np.concatenate([self._pending, samples, ending])
        n_frames = max(1 + (len(signal) - self._n_fft) // self._hop, 0)
        self._pending = signal[n_frames * self._hop :]
        if n_frames == 0:
            return np.empty((BINS_PER_OCTAVE, 0), dtype=np.float32)
        frames = sliding_window_view(signal, self._n_fft)[:: self._hop].astype(np.float64)
        spectrum = scipy.fft.rfft(frames, axis=1).astype(np.complex64)
        response = self._basis.dot(spectrum.T)  # (BINS_PER_OCTAVE, n)
        response /= self._scale[:, None]
        return np.asarray(np.abs(response), dtype=np.float32)


class _Halver:
    """Halves the sample rate of a signal that arrives in pieces."""

    def __init__(self, n_samples: int) -> None:
        import soxr

        self._stream = soxr.ResampleStream(2, 1, 1, dtype="float32", quality="HQ")
        self._due = -(-n_samples // 2)

    def push(self, samples: NDArray[np.float32], *, last: bool) -> NDArray[np.float32]:
        halved: NDArray[np.float32] = self._stream.resample_chunk(samples, last)[: self._due]
        if last:
            halved = np.pad(halved, (0, self._due - len(halved)))
        self._due -= len(halved)
        return np.asarray(halved / np.sqrt(0.5), dtype=np.float32)


def chroma(samples: NDArray[np.float32], *, tuning: float) -> NDArray[np.float32]:
    """Return the energy of the pitch classes C, C#, ..., B over seven octaves from C1, each frame's largest being 1.

    samples : float32, shape (n,), mono at 22,050 Hz
    tuning : of the whole clip, in bins of a 36th of an octave

    Returns float32, shape (1 + n // 512, 12), from 0 to 1; a frame of digital silence is all 0.
    Source: librosa.feature.chroma_cqt.
    """
    filters = _constant_q_filters(tuning)
    octaves = [_Octave(filters, level) for level in range(N_OCTAVES)]
    halvers = [_Halver(-(-len(samples) // 2**level)) for level in range(N_OCTAVES - 1)]
    waiting: list[NDArray[np.float32]] = [np.empty((BINS_PER_OCTAVE, 0), dtype=np.float32)] * N_OCTAVES
    result = np.empty((count_frames(len(samples)), N_CHROMA), dtype=np.float32)
    done = 0
    for block in sample_blocks(samples):
        signal = block.samples
        for level, octave in enumerate(octaves):
            if level > 0:
                signal = halvers[level - 1].push(signal, last=block.last)
            waiting[level] = np.concatenate([waiting[level], octave.push(signal, last=block.last)], axis=1)
        n_ready = min(*(columns.shape[1] for columns in waiting), len(result) - done)
        lowest_first = np.concatenate([columns[:, :n_ready] for columns in reversed(waiting)])  # (N_BINS, n_ready)
        waiting = [columns[:, n_ready:] for columns in waiting]
        result[done : done + n_ready] = _fold_octaves(lowest_first).T
        done += n_ready
    return result


@lru_cache(maxsize=1)
def _chroma_of_bins() -> NDArray[np.float32]:
    """Return which bins belong to which pitch class: the three nearest to each semitone, shape (N_CHROMA, N_BINS)."""
    bins_per_class = BINS_PER_OCTAVE // N_CHROMA
    one_octave = np.roll(np.repeat(np.eye(N_CHROMA), bins_per_class, axis=1), -(bins_per_class // 2), axis=1)
    return np.tile(one_octave, N_OCTAVES).astype(np.float32)


def _fold_octaves(magnitudes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return pitch classes whose largest is 1 in each frame: (N_BINS, n) -> (N_CHROMA, n)."""
    energy = np.einsum("cf,ft->ct", _chroma_of_bins(), magnitudes, optimize=True)
    largest = energy.max(axis=0).astype(np.float64)
    largest[largest < np.finfo(np.float32).tiny] = 1.0
    return np.asarray(energy / largest, dtype=np.float32)
