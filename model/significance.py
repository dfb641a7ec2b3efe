"""Whether one system is better than another: paired t-tests and confidence intervals.

Source: paper, section 5.2 (paired t-test, table 5's last row).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

Z_95 = 1.959964  # standard errors on each side of a 95 % interval
SMALLEST_P = 0.001


@dataclass(frozen=True, slots=True)
class PairedTest:
    """The mean of paired differences a - b, its confidence interval, and the two-sided p of a paired t-test.

    With fewer than two pairs `low`, `high` and `p` are NaN. With differences that are all the same p is 0 (1 where
    they are all 0), and the interval is that one value.
    """

    n: int
    difference: float
    low: float
    high: float
    p: float


def paired_test(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> PairedTest:
    """Compare two systems over the same seeds, or over the same clips.

    a, b : float arrays, shape (n_pairs,); NaN in either leaves that pair out.
    Raises ConfigError if the shapes differ.

    >>> test = paired_test([1.0, 2.0, 3.0], [0.5, 1.0, 2.0])
    >>> test.n, round(test.difference, 3), round(test.p, 3)
    (3, 0.833, 0.038)
    """
    from scipy import stats

    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape or left.ndim != 1:
        raise ConfigError(f"pairs are needed: {left.shape} values cannot be paired with {right.shape}")
    differences = left - right
    differences = differences[np.isfinite(differences)]
    n = len(differences)
    mean = float(differences.mean()) if n else float("nan")
    if n < 2:
        return PairedTest(n, mean, float("nan"), float("nan"), float("nan"))
    error = float(differences.std(ddof=1) / np.sqrt(n))
    if error == 0:
        return PairedTest(n, mean, mean, mean, 1.0 if mean == 0 else 0.0)
    half = float(stats.t.ppf((1 + confidence) / 2, n - 1)) * error
    p = float(2 * stats.t.sf(abs(mean / error), n - 1))
    return PairedTest(n, mean, mean - half, mean + half, p)


def p_text(p: float) -> str:
    """Return a p as papers print it.

    >>> p_text(0.0192), p_text(0.00004), p_text(float("nan"))
    ('0.019', '< 0.001', '')
    """
    if p != p:  # noqa: PLR0124 - NaN is not itself
        return ""
    return f"< {SMALLEST_P}" if p < SMALLEST_P else f"{p:.3f}"


def share_interval(share: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a share of n clips (Wilson's).

    >>> low, high = share_interval(1.0, 1)
    >>> round(low, 2), round(high, 2)
    (0.21, 1.0)
    """
    middle, half = share + Z_95**2 / (2 * n), Z_95 * np.sqrt(share * (1 - share) / n + Z_95**2 / (4 * n**2))
    return float((middle - half) / (1 + Z_95**2 / n)), float((middle + half) / (1 + Z_95**2 / n))


def correlation_interval(r: float, n: int) -> tuple[float, float]:
    """Return the 95 % interval of a correlation over n clips (Fisher's); up to three clips it is all there is.

    >>> correlation_interval(0.9, 3)
    (-1.0, 1.0)
    >>> low, high = correlation_interval(0.5, 30)
    >>> round(low, 2), round(high, 2)
    (0.17, 0.73)
    """
    if n <= 3 or abs(r) >= 1:
        return (-1.0, 1.0) if n <= 3 else (r, r)
    half = Z_95 / np.sqrt(n - 3)
    return float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p of several tests after Holm's correction, in their order; NaN stays NaN and counts for nothing.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    known = sorted((p, place) for place, p in enumerate(p_values) if np.isfinite(p))
    corrected, highest = [float("nan")] * len(p_values), 0.0
    for rank, (p, place) in enumerate(known):
        highest = max(highest, min((len(known) - rank) * p, 1.0))
        corrected[place] = highest
    return corrected


def mean_interval(values: ArrayLike, *, confidence: float = 0.95) -> tuple[float, float, float]:
    """Return mean, low and high of a t interval; low and high are NaN with fewer than two values."""
    sample = np.asarray(values, dtype=np.float64)
    test = paired_test(sample, np.zeros_like(sample), confidence=confidence)
    return test.difference, test.low, test.high
