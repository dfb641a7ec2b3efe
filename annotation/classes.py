"""From a mean to a class: the paper's five bins on -1..1, the seven classes on -3..3."""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.conditions import BINS, CH_SIMS_SCALE, MOSI_SCALE, Scale, five_bin

if TYPE_CHECKING:
    from numpy.typing import NDArray

# paper, section 3: strongly negative (-3), negative, weakly negative, neutral, weakly positive, positive, strongly
# positive (3)
SEVEN = ("SN", "NG", "WN", "NU", "WP", "PS", "SP")
# Cuts between the bins in tenths, each belonging to the bin below it: halfway between the paper's neighbouring values
# (-0.8 | -0.6, -0.2 | 0, 0 | 0.2, 0.6 | 0.8), and the intervals that MMSA's Acc-5 cuts labels and predictions by.
CUTS_TENTHS = (-7, -1, 1, 7)


def class_names(scale: Scale) -> tuple[str, ...]:
    """Return the classes of a scale, from negative to positive; none for a scale that the paper does not have."""
    return {CH_SIMS_SCALE: BINS, MOSI_SCALE: SEVEN}.get(scale, ())


def is_paper_value(total: int, n: int) -> bool:
    """Whether total / n is one of the eleven values -1, -0.8, ..., 1 (paper, section 3).

    >>> is_paper_value(3, 5), is_paper_value(1, 4), is_paper_value(2, 4)
    (True, False, False)
    """
    return (10 * total) % n == 0 and (10 * total // n) % 2 == 0


def class_of_mean(total: int, n: int, scale: Scale, *, nearest: bool = True) -> str | None:
    """Return the class of the mean total / n, computed in whole numbers; None where the scale or the value has none.

    On -1..1, one of the paper's eleven values has its bin; any other mean has the bin of its interval if `nearest`,
    else None. On -3..3 the mean is rounded to the nearest of the seven values, halves to the even one, as Acc-7 does.

    >>> class_of_mean(3, 5, CH_SIMS_SCALE), class_of_mean(1, 4, CH_SIMS_SCALE), class_of_mean(13, 5, MOSI_SCALE)
    ('WP', 'WP', 'SP')
    """
    if scale == MOSI_SCALE:
        return SEVEN[round(Fraction(total, n)) - scale.low]
    if scale != CH_SIMS_SCALE:
        return None
    if is_paper_value(total, n):
        return five_bin(10 * total // n)
    if not nearest:
        return None
    return BINS[sum(10 * total > cut * n for cut in CUTS_TENTHS)]


def class_of_value(value: float, scale: Scale) -> str | None:
    """Return the class of a label that data sets ship as a decimal number, such as 0.6 or 0.6000000238.

    Rounded to six decimals first, so that noise in the last digits decides nothing.

    >>> class_of_value(0.6000000238, CH_SIMS_SCALE), class_of_value(-2.5, MOSI_SCALE)
    ('WP', 'NG')
    """
    millionths = round(value * 1_000_000)
    return class_of_mean(millionths, 1_000_000, scale)


def classes_of_values(values: NDArray[np.float64], scale: Scale) -> NDArray[np.object_]:
    """Return the class of each value, shape (n,); None for NaN."""
    known = {value: class_of_value(value, scale) for value in set(values[~np.isnan(values)].tolist())}
    return np.array([known.get(value) for value in values.tolist()], dtype=object)
