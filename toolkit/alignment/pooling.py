"""Features averaged over the time of each word.

Source: paper, section 1 ("visual and acoustic features are averaged across the time interval to align with each word").

Step k of a modality is at k / rate seconds. A word has the steps from its start to before its end; where there is
none, the step next to its middle, if that is at most half a step away. The valid ones of these count; where there is
none, the word has no features of this modality: its step is zeros and its mask is off.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ROUNDING = 1e-6  # steps: a time of three decimals is not cut off from the step that it names


def step_range(start_s: float, end_s: float, *, rate_hz: float, n_steps: int) -> tuple[int, int]:
    """Return the first of a word's steps and the one after its last; equal where it has none.

    >>> step_range(0.1, 0.2, rate_hz=30, n_steps=90), step_range(0.11, 0.12, rate_hz=30, n_steps=90)
    ((3, 6), (3, 4))
    >>> step_range(3.1, 3.2, rate_hz=30, n_steps=90)
    (90, 90)
    """
    first, last = math.ceil(start_s * rate_hz - _ROUNDING), math.ceil(end_s * rate_hz - _ROUNDING)
    if first >= last:
        first = math.ceil((start_s + end_s) / 2 * rate_hz - 0.5 - _ROUNDING)  # of two equally near, the earlier
        last = first + 1
    return min(max(first, 0), n_steps), min(max(last, 0), n_steps)


def mean_of_ranges(
    features: NDArray[np.float32], valid: NDArray[np.bool_] | None, ranges: Sequence[tuple[int, int]]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the mean of the valid steps of each range, float32 (n, d), and which ranges have one, bool (n,).

    features : float32 (n_steps, d); valid : bool (n_steps,), None where every step is; ranges : (first, after last)

    A range without a valid step is zeros, and not valid.

    >>> values = np.array([[1.0], [3.0], [9.0]], np.float32)
    >>> means, has = mean_of_ranges(values, np.array([True, True, False]), [(0, 2), (1, 3), (2, 3)])
    >>> means.tolist(), has.tolist()
    ([[2.0], [3.0], [0.0]], [True, True, False])
    """
    means = np.zeros((len(ranges), features.shape[1]), np.float32)
    has = np.zeros(len(ranges), bool)
    for number, (first, last) in enumerate(ranges):
        steps = features[first:last]
        if valid is not None:
            steps = steps[valid[first:last]]
        if len(steps):
            means[number] = steps.mean(axis=0, dtype=np.float64)
            has[number] = True
    return means, has


def tokens_of_spans(token_spans: NDArray[np.int32], spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return, for each word's characters, its first token and the one after its last; equal where it has none.

    token_spans : int32 (n_tokens, 2), the characters of each token; special tokens have none

    A token belongs to every word that it shares a character with.

    >>> tokens_of_spans(np.array([[0, 0], [0, 4], [4, 5], [6, 9], [0, 0]]), [(0, 5), (6, 9), (10, 12)])
    [(1, 3), (3, 4), (5, 5)]
    """
    own = np.flatnonzero(token_spans[:, 1] > token_spans[:, 0])
    starts, ends = token_spans[own, 0], token_spans[own, 1]
    n = len(token_spans)
    found = []
    for start, end in spans:
        shared = own[(starts < end) & (ends > start)]
        found.append((int(shared[0]), int(shared[-1]) + 1) if len(shared) else (n, n))
    return found
