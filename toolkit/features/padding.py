"""The padding rule: one length per modality, mean + 3 sigma of the true lengths.

Source: paper, section 4.1.1, eqs. 1-2.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import FeatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def padded_length(lengths: Sequence[int] | NDArray[np.integer], *, n_sigmas: float = 3.0) -> int:
    """Return the common sequence length: mean + n_sigmas standard deviations, truncated to an integer.

    Parameters
    ----------
    lengths : int array, shape (n_clips,), steps per clip, each > 0
    n_sigmas : the paper's lambda

    Raises FeatureError if `lengths` is empty or holds a length below 1, or `n_sigmas` is negative or infinite.

    Source: paper, eqs. 1-2 (population standard deviation).

    >>> padded_length([10, 10, 40])
    62
    """
    values = np.asarray(lengths, dtype=np.int64)
    if values.size == 0:
        raise FeatureError("no clip has this modality, so no length to pad to is known")
    if values.min() < 1:
        raise FeatureError(f"a sequence of {values.min()} steps has no length; every length must be at least 1")
    if not (math.isfinite(n_sigmas) and n_sigmas >= 0):
        raise FeatureError(f"lambda is {n_sigmas}; it must be a number of 0 or more (the paper's value is 3)")
    # Integer moments: exact and independent of the order of the clips.
    n, total, squares = values.size, int(values.sum()), int((values * values).sum())
    sigma = math.sqrt(n * squares - total * total) / n
    # The tolerance undoes rounding where the exact value is a whole number (10 + 3*10 must not become 39).
    return math.floor(total / n + n_sigmas * sigma + 1e-9)


def pad_sequence(sequence: NDArray[np.generic], length: int) -> NDArray[np.generic]:
    """Return the first `length` steps, zeros appended at the end where there are fewer.

    sequence : shape (n_steps, ...); the result has shape (length, ...) and the same dtype.
    Source: paper, section 4.1.1.

    >>> pad_sequence(np.array([[1.0], [2.0]]), 3).tolist()
    [[1.0], [2.0], [0.0]]
    """
    kept = min(len(sequence), length)
    padded = np.zeros((length, *sequence.shape[1:]), dtype=sequence.dtype)
    padded[:kept] = sequence[:kept]
    return padded


def pool_sequence(
    features: NDArray[np.float32],
    *,
    window: int,
    valid: NDArray[np.bool_] | None = None,
    shot_starts: NDArray[np.int32] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Average every `window` steps, over the valid ones only; the last window may be partial.

    A window that holds a cut is the mean of one shot's steps: of the shot with the most valid ones, else the earlier.

    features : float32, shape (n_steps, d); valid : bool, shape (n_steps,), or None where every step is valid;
    shot_starts : int32, the first step of each shot, or None where there is one.
    Returns features of shape (ceil(n_steps / window), d) and their mask; a window with no valid step is zeros, invalid.

    >>> pool_sequence(np.array([[1.0], [3.0], [7.0]], np.float32), window=2)[0].tolist()
    [[2.0], [7.0]]
    """
    if window < 1:
        raise FeatureError(f"a pooling window of {window} steps is not possible; it must be 1 or more")
    if window == 1 or len(features) == 0:
        return features, valid
    starts = np.arange(0, len(features), window)
    weights = np.ones(len(features)) if valid is None else valid.astype(np.float64)
    if shot_starts is not None and len(shot_starts) > 1:
        _keep_one_shot(weights, window, shot_starts)
    sums = np.add.reduceat(np.where(weights[:, None] > 0, features, 0).astype(np.float64), starts, axis=0)
    counts = np.add.reduceat(weights, starts)
    pooled = (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)
    return pooled, None if valid is None else counts > 0


def _keep_one_shot(weights: NDArray[np.float64], window: int, shot_starts: NDArray[np.int32]) -> None:
    """Set the weights (n_steps,) of all but one shot to 0 in each window that holds a cut."""
    shot = np.searchsorted(shot_starts, np.arange(len(weights)), side="right")
    for first in np.unique(shot_starts // window * window):
        steps = slice(first, first + window)
        best = np.argmax(np.bincount(shot[steps], weights=weights[steps]))
        weights[steps][shot[steps] != best] = 0.0
