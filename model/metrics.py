"""Scores of predictions against labels: the CH-SIMS family, the MOSI/MOSEI family, other numbers, and classes.

The definitions are those of the field's common trainer (MMSA), written down in docs/model.md. Two weighted F1 scores
exist in print: scikit-learn's, where each class counts by its frequency in the truth ("F1"), and the same with the
arguments exchanged, where each class counts by its frequency in the predictions ("F1-pred": paper, tables 5 to 9).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal

import numpy as np

from fmltk.toolkit.classes import CUTS_TENTHS
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from fmltk.toolkit.conditions import Scale

Family = Literal["ch-sims", "mosi", "numbers", "nominal"]

CH_SIMS_METRICS = ("Acc-2", "Acc-3", "Acc-5", "F1", "F1-pred", "MAE", "Corr")
MOSI_METRICS = (
    "Acc-7",
    "Acc-5",
    "Acc-2 Has0",
    "F1 Has0",
    "F1-pred Has0",
    "Acc-2 Non0",
    "F1 Non0",
    "F1-pred Non0",
    "MAE",
    "Corr",
)
NUMBER_METRICS = ("MAE", "Corr")  # of a scale without a negative side, where no sign can be right or wrong
NOMINAL_METRICS = ("Acc", "F1 macro", "F1 weighted")
# Right-closed intervals on [-1, 1]: a value belongs to the first interval whose upper edge it does not exceed.
ACC2_CUTS = (0.0,)
ACC3_CUTS = (-0.1, 0.1)
ACC5_CUTS = tuple(cut / 10 for cut in CUTS_TENTHS)  # -0.7, -0.1, 0.1, 0.7


def metric_family(scale: Scale) -> Family:
    """Return the family of metrics that a label scale calls for: -1..1 CH-SIMS, every wider one MOSI, words nominal.

    A scale without a negative side, such as 1..5, has neither signs nor the classes of these two: "numbers".

    >>> from fmltk.toolkit.conditions import Scale
    >>> metric_family(Scale(-1, 1)), metric_family(Scale(-3, 3)), metric_family(Scale(1, 5))
    ('ch-sims', 'mosi', 'numbers')
    """
    if scale.kind == "nominal":
        return "nominal"
    if not scale.has_signs:
        return "numbers"
    return "ch-sims" if max(-scale.low, scale.high) <= 1 else "mosi"


def metric_names(family: Family) -> tuple[str, ...]:
    """Return the names of a family's metrics, in the order of the paper's tables."""
    return {"ch-sims": CH_SIMS_METRICS, "mosi": MOSI_METRICS, "numbers": NUMBER_METRICS, "nominal": NOMINAL_METRICS}[
        family
    ]


def score(prediction: ArrayLike, truth: ArrayLike, family: Family) -> dict[str, float]:
    """Return every metric of a family.

    Parameters
    ----------
    prediction, truth : float arrays, shape (n_clips,), on the labels' scale, no NaN; of classes their numbers
    family : "ch-sims" (values are clipped to [-1, 1] first), "mosi", "numbers" or "nominal"

    Returns one number per metric: shares and F1 in 0..1, MAE in label units, Corr in -1..1. Corr is NaN where the
    predictions or the truths are constant, and the Non0 metrics are NaN where every truth is 0.

    Raises ConfigError without a clip, or if the shapes differ or a value is not finite.

    >>> score([-0.5, 0.5], [-1.0, 1.0], "ch-sims")["MAE"]
    0.5
    """
    predicted, true = _checked(prediction, truth)
    scores = {"ch-sims": _score_ch_sims, "mosi": _score_mosi, "numbers": _score_numbers, "nominal": _score_nominal}
    return scores[family](predicted, true)


def classes(values: ArrayLike, cuts: Sequence[float]) -> NDArray[np.int64]:
    """Return the class of each value: 0 up to and including the first cut, and so on.

    >>> classes([-0.2, 0.0, 0.3], ACC2_CUTS).tolist()
    [0, 0, 1]
    """
    return np.searchsorted(np.asarray(cuts), np.asarray(values, dtype=np.float64), side="left")


def accuracy(predicted: NDArray[np.generic], true: NDArray[np.generic]) -> float:
    """Return the share of equal classes; NaN without any clip."""
    return float(np.mean(predicted == true)) if len(true) else float("nan")


def weighted_f1(predicted: NDArray[np.generic], true: NDArray[np.generic]) -> float:
    """Return the mean of the classes' F1 weighted by their frequency in `true`; NaN without any clip.

    Equal to ``sklearn.metrics.f1_score(true, predicted, average="weighted", zero_division=0)``.
    """
    if not len(true):
        return float("nan")
    total = 0.0
    for label in np.unique(true):
        hits = int(np.sum((predicted == label) & (true == label)))
        n_true, n_predicted = int(np.sum(true == label)), int(np.sum(predicted == label))
        total += n_true * 2 * hits / (n_true + n_predicted)
    return total / len(true)


def macro_f1(predicted: NDArray[np.generic], true: NDArray[np.generic]) -> float:
    """Return the mean F1 of the classes that are true or predicted anywhere; NaN without any clip.

    Equal to ``sklearn.metrics.f1_score(true, predicted, average="macro", zero_division=0)``.
    """
    both = zip(predicted.tolist(), true.tolist(), strict=True)
    hits = Counter(a for a, b in both if a == b)
    sizes = Counter([*predicted.tolist(), *true.tolist()])
    return float(np.mean([2 * hits[name] / n for name, n in sizes.items()])) if sizes else float("nan")


def correlation(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Return Pearson's r; NaN where either side is constant, for it is then not defined."""
    if len(truth) < 2 or np.ptp(prediction) == 0 or np.ptp(truth) == 0:
        return float("nan")
    a, b = prediction - prediction.mean(), truth - truth.mean()
    return float(np.clip(a @ b / np.sqrt((a @ a) * (b @ b)), -1.0, 1.0))


def constant_score(train_truth: ArrayLike, truth: ArrayLike, family: Family) -> dict[str, float]:
    """Return what a predictor scores that always says the median of the training labels; of classes the most frequent.

    The median has the smallest mean absolute error of all constants, the most frequent class the largest accuracy; a
    model has learned nothing below this row.
    """
    train = np.asarray(train_truth, dtype=np.float64)
    train = train[np.isfinite(train)]
    if not train.size:
        raise ConfigError("no training clip has a label, so the constant predictor to compare with is unknown")
    constant = np.bincount(train.astype(np.int64)).argmax() if family == "nominal" else np.median(train)
    return score(np.full(np.shape(truth), constant), truth, family)


def accuracy_2(prediction: ArrayLike, truth: ArrayLike, family: Family) -> float:
    """Return the share of right signs: the family's first Acc-2 (Has0 for MOSI), which eq. 8 uses; of right classes.

    NaN where labels have no signs.
    """
    metric = {"ch-sims": "Acc-2", "mosi": "Acc-2 Has0", "nominal": "Acc"}.get(family)
    return float("nan") if metric is None else score(prediction, truth, family)[metric]


def sign_correct(prediction: ArrayLike, truth: ArrayLike, family: Family) -> NDArray[np.bool_]:
    """Return per clip whether the sign, or the class, is right, as in the family's first accuracy; shape (n_clips,).

    Where labels have no signs, none is wrong.
    """
    predicted, true = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if family == "numbers":
        return np.ones(predicted.shape, bool)
    if family == "nominal":
        return np.equal(predicted, true)
    if family == "ch-sims":
        return np.equal(predicted > 0, true > 0)
    return np.equal(predicted >= 0, true >= 0)


def _score_ch_sims(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    predicted, true = np.clip(prediction, -1.0, 1.0), np.clip(truth, -1.0, 1.0)
    two = classes(predicted, ACC2_CUTS), classes(true, ACC2_CUTS)
    return {
        "Acc-2": accuracy(*two),
        "Acc-3": accuracy(classes(predicted, ACC3_CUTS), classes(true, ACC3_CUTS)),
        "Acc-5": accuracy(classes(predicted, ACC5_CUTS), classes(true, ACC5_CUTS)),
        "F1": weighted_f1(*two),
        "F1-pred": weighted_f1(two[1], two[0]),
        "MAE": float(np.mean(np.abs(predicted - true))),
        "Corr": correlation(predicted, true),
    }


def _score_mosi(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    def rounded(limit: float) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
        return np.round(np.clip(prediction, -limit, limit)), np.round(np.clip(truth, -limit, limit))  # half to even

    has0 = prediction >= 0, truth >= 0
    kept = truth != 0
    non0 = prediction[kept] > 0, truth[kept] > 0
    return {
        "Acc-7": accuracy(*rounded(3.0)),
        "Acc-5": accuracy(*rounded(2.0)),
        "Acc-2 Has0": accuracy(*has0),
        "F1 Has0": weighted_f1(*has0),
        "F1-pred Has0": weighted_f1(has0[1], has0[0]),
        "Acc-2 Non0": accuracy(*non0),
        "F1 Non0": weighted_f1(*non0),
        "F1-pred Non0": weighted_f1(non0[1], non0[0]),
        **_score_numbers(prediction, truth),
    }


def _score_numbers(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    return {"MAE": float(np.mean(np.abs(prediction - truth))), "Corr": correlation(prediction, truth)}


def _score_nominal(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> dict[str, float]:
    values = accuracy(prediction, truth), macro_f1(prediction, truth), weighted_f1(prediction, truth)
    return dict(zip(NOMINAL_METRICS, values, strict=True))


def _checked(prediction: ArrayLike, truth: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    predicted, true = np.asarray(prediction, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if predicted.shape != true.shape or predicted.ndim != 1:
        raise ConfigError(f"{predicted.shape} predictions cannot be scored against {true.shape} labels")
    if not len(true):
        raise ConfigError("no clip to score has a label")
    for name, values in (("prediction", predicted), ("label", true)):
        if not np.isfinite(values).all():
            row = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ConfigError(f"the {name} of row {row} is {values[row]}; leave such clips out before scoring")
    return predicted, true
