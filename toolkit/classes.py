"""From a mean to a class: the paper's five bins on -1..1, the seven classes on -3..3.

Labels, predictions and reports all have their classes from here.
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.conditions import CH_SIMS_SCALE, MOSI_SCALE, Scale

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

BINS = ("NG", "WN", "NU", "WP", "PS")  # paper, table 2: negative, weakly negative, neutral, weakly positive, positive
# paper, section 3: strongly negative (-3), negative, weakly negative, neutral, weakly positive, positive, strongly
# positive (3)
SEVEN = ("SN", "NG", "WN", "NU", "WP", "PS", "SP")
# Cuts between the bins in tenths, each belonging to the bin below it: halfway between the paper's neighbouring values
# (-0.8 | -0.6, -0.2 | 0, 0 | 0.2, 0.6 | 0.8), and the intervals that MMSA's Acc-5 cuts labels and predictions by.
CUTS_TENTHS = (-7, -1, 1, 7)
_MILLION = 1_000_000


def class_names(scale: Scale) -> tuple[str, ...]:
    """Return the classes of a scale, from negative to positive, or those of a nominal one; of any other scale none."""
    return scale.names or {CH_SIMS_SCALE: BINS, MOSI_SCALE: SEVEN}.get(scale, ())


def is_paper_value(total: int, n: int) -> bool:
    """Whether total / n is one of the eleven values -1, -0.8, ..., 1 (paper, section 3).

    >>> is_paper_value(3, 5), is_paper_value(1, 4), is_paper_value(2, 4)
    (True, False, False)
    """
    return (10 * total) % n == 0 and (10 * total // n) % 2 == 0


def class_of_mean(total: int, n: int, scale: Scale, *, nearest: bool = True) -> str | None:
    """Return the class of the mean total / n, computed in whole numbers; None where the scale or the value has none.

    On -1..1 a mean has the bin of its interval; one that is not among the paper's eleven values only if `nearest`. On
    -3..3 the mean is rounded to the nearest of the seven values, halves to the even one, as Acc-7 does.

    >>> class_of_mean(3, 5, CH_SIMS_SCALE), class_of_mean(1, 4, CH_SIMS_SCALE), class_of_mean(13, 5, MOSI_SCALE)
    ('WP', 'WP', 'SP')
    """
    if scale == MOSI_SCALE:
        return SEVEN[round(Fraction(total, n)) - int(scale.low)]
    if scale != CH_SIMS_SCALE or not (nearest or is_paper_value(total, n)):
        return None
    return BINS[sum(10 * total > cut * n for cut in CUTS_TENTHS)]


def classes_of_values(values: ArrayLike, scale: Scale) -> NDArray[np.object_]:
    """Return the class of each label or score, shape (n,); None where it is not finite or numbers have no classes.

    Decimal numbers, such as 0.6 or 0.6000000238, are rounded to six decimals first, so that noise in the last digits
    decides nothing. A score beyond the scale has the class of the scale's end.

    >>> classes_of_values([0.6000000238, -0.7, float("nan")], CH_SIMS_SCALE).tolist()
    ['WP', 'NG', None]
    >>> classes_of_values([-2.0, -2.5, 3.4], MOSI_SCALE).tolist()
    ['NG', 'NG', 'SP']
    """
    numbers = np.asarray(values, dtype=np.float64)
    names = np.array([*class_names(scale), None], dtype=object)
    finite = np.isfinite(numbers) & (len(names) > 1) & (scale.kind != "nominal")
    millionths = np.round(np.clip(np.where(finite, numbers, 0), scale.low, scale.high) * _MILLION)
    if scale == MOSI_SCALE:
        places = np.rint(millionths / _MILLION) - int(scale.low)  # half to even
    else:
        places = np.searchsorted(np.array(CUTS_TENTHS) * (_MILLION / 10), millionths, side="left")
    return names[np.where(finite, places, -1).astype(np.int64)]
