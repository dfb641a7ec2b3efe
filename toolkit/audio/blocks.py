"""Sound read in blocks, so that memory does not grow with the clip.

Frame t is centred on sample ``t * HOP_SAMPLES``, as in librosa with ``center=True``; a clip of n samples has
``1 + n // HOP_SAMPLES`` frames. A block's frames are cut from the samples that they need, so they are the same numbers
as in the whole clip.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from fmltk.toolkit.errors import FeatureError, MissingModalityError
from fmltk.toolkit.settings import AUDIO_RATE_HZ, HOP_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

N_FFT = 2048  # samples per frame, 93 ms
BLOCK_FRAMES = 512  # 11.9 s; one block covers the clips of the field (1-10 s)
MAX_AMPLITUDE = 1e12  # full scale is 1; far above this a frame's power leaves float32


def count_frames(n_samples: int) -> int:
    """Return the number of frames of a clip of `n_samples` samples.

    >>> count_frames(22050)
    44
    """
    return 1 + n_samples // HOP_SAMPLES


def check_samples(samples: NDArray[np.float32], *, rate_hz: int = AUDIO_RATE_HZ) -> None:
    """Refuse sound that has no features.

    samples : float32, shape (n,), mono, full scale 1; may be a numpy.memmap
    rate_hz : samples per second, for the message

    Raises MissingModalityError without a sample, and FeatureError where the array is not one channel of
    float32, or holds NaN, infinity or a magnitude above 1e12: no such sample is replaced by a guess.
    """
    if samples.ndim != 1 or samples.dtype != np.float32:
        raise FeatureError(
            f"audio of shape {samples.shape} and type {samples.dtype}; one channel of float32 was expected: "
            "mix it down to mono and convert it first"
        )
    if len(samples) == 0:
        raise MissingModalityError("the audio has no samples")
    for block in sample_blocks(samples):
        if not np.abs(block.samples).max() <= MAX_AMPLITUDE:  # False for NaN too
            bad = block.start + int(np.argmin(np.abs(block.samples) <= MAX_AMPLITUDE))
            raise FeatureError(
                f"sample {bad} ({bad / rate_hz:.3f} s) of the audio is {samples[bad]}; finite values "
                "around -1 to 1 were expected: the audio is damaged, so re-encode the clip"
            )


class SampleBlock:
    """Consecutive samples of a clip: `start` is the first one's index, `last` is True for the final block."""

    def __init__(self, samples: NDArray[np.float32], start: int, *, last: bool) -> None:
        self.samples = samples
        self.start = start
        self.last = last


def sample_blocks(samples: NDArray[np.float32]) -> Iterator[SampleBlock]:
    """Yield the samples in consecutive blocks of BLOCK_FRAMES hops, each read into memory."""
    size = BLOCK_FRAMES * HOP_SAMPLES
    for start in range(0, len(samples), size):
        yield SampleBlock(np.array(samples[start : start + size]), start, last=start + size >= len(samples))


def frame_blocks(samples: NDArray[np.float32], *, pad_with_edge: bool = False) -> Iterator[NDArray[np.float32]]:
    """Yield all frames in order, at most BLOCK_FRAMES at a time, as views of shape (n_frames_in_block, N_FFT).

    Half a frame is added at both ends of the clip: zeros, or the first and last sample where `pad_with_edge`.
    """
    n_samples, half = len(samples), N_FFT // 2
    n_frames = count_frames(n_samples)
    for first in range(0, n_frames, BLOCK_FRAMES):
        n_block = min(BLOCK_FRAMES, n_frames - first)
        start = first * HOP_SAMPLES - half
        stop = start + (n_block - 1) * HOP_SAMPLES + N_FFT
        inside = np.array(samples[max(start, 0) : min(stop, n_samples)])
        padding = (max(-start, 0), max(stop - n_samples, 0))
        chunk = np.pad(inside, padding, mode="edge") if pad_with_edge else np.pad(inside, padding)
        yield sliding_window_view(chunk, N_FFT)[::HOP_SAMPLES]  # (n_block, N_FFT)
