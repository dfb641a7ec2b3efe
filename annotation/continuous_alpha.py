"""Krippendorff's alpha for interval data, of ratings that are any numbers.

With squared distances the pairs of n ratings add up to 2 (n sum(v^2) - sum(v)^2), so that sums over each clip's ratings
suffice where `agreement.krippendorff_alpha` counts every pair of values. Source: Krippendorff, Content Analysis, 2004,
chapter 11.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.annotation.settings import N_BOOTSTRAP

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROUNDING = 1e-12  # a variance below this share of its sums is none


def continuous_alphas(
    clip: NDArray[np.int64], value: NDArray[np.float64], *, n_bootstrap: int = N_BOOTSTRAP, seed: int = 0
) -> tuple[float, NDArray[np.float64]]:
    """Return alpha, and the alphas of resampled clips, shape (n_bootstrap,); NaN where nothing varies or is paired.

    clip, value : shape (n_ratings,), the number of each rating's clip, and the rating

    >>> alpha, _ = continuous_alphas(np.array([0, 0, 1, 1]), np.array([0.0, 1.0, 8.0, 9.0]))
    >>> round(alpha, 4)
    0.9769
    """
    paired = np.bincount(clip)[clip] >= 2
    if not paired.any():
        return float("nan"), np.full(n_bootstrap, np.nan)
    clip, value = np.unique(clip[paired], return_inverse=True)[1], value[paired] - value[paired][0]
    n = np.bincount(clip).astype(np.float64)
    total = np.bincount(clip, weights=value)
    within = np.bincount(clip, weights=(value - (total / n)[clip]) ** 2) * n / (n - 1)
    sums = np.stack([n, total, np.bincount(clip, weights=value**2), within], axis=1)  # (n_clips, 4)
    generator = np.random.default_rng(seed)
    n_clips = len(n)
    drawn = [np.bincount(generator.integers(0, n_clips, n_clips), minlength=n_clips) @ sums for _ in range(n_bootstrap)]
    return float(_alpha_of_sums(sums.sum(axis=0))), _alpha_of_sums(np.array(drawn))


def _alpha_of_sums(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return alpha of the number of ratings, their sum and sum of squares, and the disagreement within clips."""
    n, total, squares, within = np.moveaxis(sums, -1, 0)
    expected = n * squares - total**2
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > ROUNDING * n * squares, 1 - (n - 1) * within / expected, np.nan)
