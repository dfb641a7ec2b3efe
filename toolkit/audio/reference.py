"""The 33 acoustic features by librosa itself, on the whole clip: the definition that acoustic.py is held to.

``fmltk extract --acoustics librosa`` uses it where a study wants librosa's own code to have run: the same numbers, at
three times the time and, for a clip of 20 minutes, 1.9 GB of memory.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.audio.acoustic import N_MFCC
from fmltk.toolkit.audio.blocks import N_FFT, check_samples
from fmltk.toolkit.audio.spectrum import mel_filters
from fmltk.toolkit.settings import AUDIO_RATE_HZ, HOP_SAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray


def librosa_sequence(samples: NDArray[np.float32], *, mfcc_scale: str = "htk") -> NDArray[np.float32]:
    """Return what `acoustic.acoustic_sequence` returns, by direct calls of librosa; same arguments, same errors."""
    mel_filters(mfcc_scale)  # refuses an unknown scale
    check_samples(samples)
    import librosa

    samples = np.asarray(samples)
    with warnings.catch_warnings():
        # librosa warns of short and of silent sound; its values for them are documented.
        warnings.simplefilter("ignore")
        parts = [
            librosa.feature.zero_crossing_rate(samples, frame_length=N_FFT, hop_length=HOP_SAMPLES),
            librosa.feature.mfcc(
                y=samples, sr=AUDIO_RATE_HZ, n_mfcc=N_MFCC, n_fft=N_FFT, hop_length=HOP_SAMPLES, htk=mfcc_scale == "htk"
            ),
            librosa.feature.chroma_cqt(y=samples, sr=AUDIO_RATE_HZ, hop_length=HOP_SAMPLES),
        ]
    features: NDArray[np.float32] = np.concatenate(parts).T.astype(np.float32)  # (33, n_frames) -> (n_frames, 33)
    return features
