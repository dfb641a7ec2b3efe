"""The 33 acoustic features of every frame: zero-crossing rate 1, MFCC 20, chroma 12.

Sound is mono at 22,050 Hz. Frames are 2048 samples long, 512 apart and centred: 43.07 per second, frame t at
t * 512 / 22050 s. The values are those of ``librosa.feature.zero_crossing_rate``, ``mfcc`` and ``chroma_cqt`` (librosa
0.11) on the whole clip, the same to 1e-5 (of their size where that is above 1) on every processor.

Rules for unusual sound:

- No sample: the clip has no audio (MissingModalityError).
- NaN, infinity or a magnitude above 1e12: FeatureError; nothing is replaced by a guess.
- Shorter than a frame or than a filter, down to one sample: silence surrounds the sound, as at the ends of any clip.
- Digital silence: zero-crossing rate 0, mel energies at the floor of -100 dB, chroma 0, tuning 0.
- Constant sound: no crossings; its mel and chroma values are those of its edges and of its mean, as librosa's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.audio.blocks import N_FFT, check_samples, frame_blocks
from fmltk.toolkit.audio.chroma import chroma
from fmltk.toolkit.audio.spectrum import magnitude_blocks, mel_decibels, mel_filters, pitch_offsets, tuning_of_offsets

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

N_MFCC = 20
TOP_DB = 80.0  # mel energies more than this below the clip's maximum are raised to it (librosa.power_to_db)
ZERO_MAGNITUDE = -1e-10  # a sample above this is not negative (librosa.zero_crossings)
_PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")

ACOUSTIC_FEATURES: tuple[tuple[str, str, str], ...] = (
    ("zcr", "crossings per sample", "share of neighbouring samples that differ in sign"),
    *(
        (f"mfcc_{k}", "dB", f"coefficient {k} of the discrete cosine transform of 128 mel energies")
        for k in range(N_MFCC)
    ),
    *(
        (f"chroma_{name}", "relative to the frame's largest", f"energy of the pitch class {name}")
        for name in _PITCH_CLASSES
    ),
)


def acoustic_sequence(samples: NDArray[np.float32], *, mfcc_scale: str = "htk") -> NDArray[np.float32]:
    """Return the 33 acoustic features of every frame, in the order of ACOUSTIC_FEATURES.

    samples : float32, shape (n,), mono at 22,050 Hz, full scale 1; may be a numpy.memmap, which is read in blocks
    mfcc_scale : "htk" (as the published CH-SIMS features) or "slaney" (librosa's default)

    Returns float32, shape (1 + n // 512, 33).

    Raises MissingModalityError for a sound without samples, FeatureError for one that is not finite, ConfigError for an
    unknown scale.
    Source: paper, section 4.1.2.

    >>> acoustic_sequence(np.zeros(22050, np.float32)).shape
    (44, 33)
    """
    mel_filters(mfcc_scale)
    check_samples(samples)
    decibels, peaks = [], []
    for magnitude in magnitude_blocks(samples):
        decibels.append(mel_decibels(magnitude, mfcc_scale))
        peaks.append(pitch_offsets(magnitude))
    tuning = pooled_tuning(peaks)
    del peaks  # memory: what is done with is given back, for clips of many minutes
    cepstrum = _cepstrum(decibels)
    del decibels
    return np.concatenate([zero_crossing_rate(samples), cepstrum, chroma(samples, tuning=tuning)], axis=1)


def zero_crossing_rate(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the share of samples in each frame whose sign differs from the one before, shape (n_frames, 1), float32.

    samples : float32, shape (n,); the first and last sample are repeated beyond the ends
    Source: librosa.feature.zero_crossing_rate.
    """
    rates = []
    for frames in frame_blocks(samples, pad_with_edge=True):
        negative = frames < np.float32(ZERO_MAGNITUDE)
        rates.append((negative[:, 1:] != negative[:, :-1]).sum(axis=1, keepdims=True) / N_FFT)
    return np.concatenate(rates, dtype=np.float32)


def _cepstrum(decibels: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the coefficients of mel energies given in blocks of shape (N_MELS, n): shape (n_frames, N_MFCC)."""
    import scipy.fft

    floor = max(block.max() for block in decibels) - np.float32(TOP_DB)
    coefficients = [scipy.fft.dct(np.maximum(block, floor), axis=0, norm="ortho")[:N_MFCC] for block in decibels]
    return np.asarray(np.concatenate(coefficients, axis=1).T, dtype=np.float32)


def pooled_tuning(peaks: Sequence[tuple[NDArray[np.uint8], NDArray[np.float32]]]) -> float:
    """Return the tuning of a clip, in bins of a 36th of an octave, from what `pitch_offsets` gives of its blocks."""
    return tuning_of_offsets(
        np.concatenate([offsets for offsets, _ in peaks]), np.concatenate([magnitudes for _, magnitudes in peaks])
    )
