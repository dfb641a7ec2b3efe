"""Standardisation that wild values cannot move: statistics between the 1st and the 99th percentile, results limited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TAIL = 0.01  # share of values at each end that the statistics limit: OpenFace emits poses of 3.8e7
MAX_ROWS = 8_192  # rows that the statistics are taken from, evenly spaced: bounds time and memory


@dataclass(frozen=True, slots=True)
class Scaler:
    """One modality's statistics on the training split.

    center, inverse : float32 (d,), mean and 1 / standard deviation of the winsorised values; inverse is 0 for a feature
        that does not vary, which therefore becomes 0 for every clip
    limit : standardised values are limited to this many standard deviations
    """

    center: NDArray[np.float32]
    inverse: NDArray[np.float32]
    limit: float

    def transform(self, values: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return standardised values, float32 of the same shape (..., d)."""
        scaled = values - self.center
        scaled *= self.inverse
        return np.clip(scaled, -self.limit, self.limit, out=scaled)

    @classmethod
    def unchanged(cls, d: int) -> Scaler:
        """Return the scaler of d features that changes none."""
        return cls(np.zeros(d, np.float32), np.ones(d, np.float32), float(np.finfo(np.float32).max))


def fit_scaler(values: NDArray[np.float32], *, used: NDArray[np.bool_] | None = None, limit: float = 5.0) -> Scaler:
    """Return the statistics of values (n, d), of the rows where `used` is True.

    Raises ConfigError without a row.

    >>> values = np.array([[1.0], [2.0], [3.0]] * 100 + [[3.8e7]], np.float32)
    >>> scaler = fit_scaler(values)
    >>> bool(abs(scaler.center[0] - 2) < 0.1), float(scaler.transform(values).max())
    (True, 5.0)
    """
    chosen = np.arange(len(values)) if used is None else np.flatnonzero(used)
    if not len(chosen):
        raise ConfigError("no training clip has this modality, so its features cannot be standardised")
    spaced = np.linspace(0, len(chosen) - 1, min(len(chosen), MAX_ROWS)).astype(np.int64)
    rows = values[chosen[spaced]].astype(np.float64)
    low, high = np.quantile(rows, [TAIL, 1 - TAIL], axis=0)
    rows = np.clip(rows, low, high)
    deviation = rows.std(axis=0)
    center = rows.mean(axis=0)
    varies = deviation > 1e-7 * np.maximum(np.abs(center), 1e-30)
    inverse = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
    return Scaler(center.astype(np.float32), inverse.astype(np.float32), limit)
