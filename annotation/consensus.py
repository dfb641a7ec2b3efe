"""Labels that weigh raters by how reliable they seem, to stand next to the mean.

Each method takes the ratings of one condition and gives each clip one value on the scale:

- `evaluator_weighted`: the mean weighted by each rater's correlation with the others (for ordinal and continuous
  scales; the usual choice for ratings of emotion).
- `dawid_skene`, `mace`, `glad`: models of raters as sources of classes without order, through crowd-kit. On an ordinal
  scale the value is the expected one under the model's distribution; on a nominal scale the label is the most probable
  class, next to its probability.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.annotation.ratings import ranks, rating_values
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale

MIN_SHARED = 10  # ratings next to others' from which a rater's correlation is taken at its word
N_ITERATIONS = 100


def consensus_labels(
    method: str, ratings: pa.Table, clip: NDArray[np.int64], n_clips: int, scale: Scale
) -> dict[str, NDArray[Any]]:
    """Return what a method of `toolkit.conditions.WEIGHED` gives each clip, by column, each of shape (n_clips,).

    The column is called as the method; on a nominal scale there are two, METHOD_class and METHOD_probability. NaN (None
    for a class) without a rating. The same ratings give the same values, whatever the order of their rows.

    Parameters
    ----------
    ratings : the ratings of one condition
    clip : int64, shape (n_rows,), the number of each row's clip
    scale : what `scale_of` gives of them

    Raises ConfigError if the method does not fit the scale, or needs crowd-kit and it is not installed.
    """
    import pandas as pd

    needs_order = method == "evaluator_weighted"
    if scale.kind == ("nominal" if needs_order else "continuous"):
        needed = "numbers" if needs_order else "choices"
        condition = ratings.column("condition")[0].as_py()
        raise ConfigError(f"{method} needs {needed}, and {condition} was rated on the scale {scale}; leave it out")
    value = rating_values(ratings, scale)
    rated = ~np.isnan(value)
    rater = ranks(ratings.column("annotator"))[rated]
    rows = np.lexsort((rater, clip[rated]))
    clip, rater, value = clip[rated][rows], rater[rows], value[rated][rows]
    if needs_order:
        values = evaluator_weighted(clip, rater, value, n_clips) if len(value) else np.full(n_clips, np.nan)
        return {method: values}
    fitted = _fit(method, clip, rater, value) if len(value) else pd.DataFrame()
    rows, values = fitted.index.to_numpy(), fitted.columns.to_numpy().astype(np.float64)
    order = np.argsort(values)  # sums are taken in one order, and of equally probable classes the first counts
    probabilities, values = fitted.to_numpy()[:, order], values[order]
    if scale.kind == "ordinal":
        expected = np.full(n_clips, np.nan)
        expected[rows] = np.clip(probabilities @ values, scale.low, scale.high)
        return {method: expected}
    best = np.full(n_clips, None, dtype=object)
    probability = np.full(n_clips, np.nan)
    if len(rows):
        best[rows] = np.array(scale.names, dtype=object)[values.astype(np.int64)[probabilities.argmax(axis=1)]]
        probability[rows] = probabilities.max(axis=1)
    return {f"{method}_class": best, f"{method}_probability": probability}


def evaluator_weighted(
    clip: NDArray[np.int64], rater: NDArray[np.int64], value: NDArray[np.float64], n_clips: int
) -> NDArray[np.float64]:
    """Return the evaluator-weighted estimate of each clip: the mean weighted by `evaluator_weights`, shape (n_clips,).

    NaN where no rater of a clip has a weight above 0.

    Source: Grimm and Kroschel, Evaluation of natural emotions using self assessment manikins, 2005.

    >>> evaluator_weighted(np.array([0, 0]), np.array([0, 1]), np.array([-1.0, 0.0]), 1)
    array([-0.5])
    """
    weight = evaluator_weights(clip, rater, value)[rater]
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.bincount(clip, weights=weight * value, minlength=n_clips)
        return np.asarray(total / np.bincount(clip, weights=weight, minlength=n_clips))


def evaluator_weights(
    clip: NDArray[np.int64], rater: NDArray[np.int64], value: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return each rater's weight: the correlation with the others' mean on the same clips, at least 0.

    A rater with fewer than ten such clips, or where one side never varies, has the median of the weights above 0; 1
    where there is none. Shape (n_raters,), by the raters' numbers.
    """
    n, total = np.bincount(clip)[clip], np.bincount(clip, weights=value)[clip]
    shared = n > 1
    others = (total[shared] - value[shared]) / (n[shared] - 1)
    weights = np.full(int(rater.max()) + 1, np.nan)
    for number in np.unique(rater[shared]).tolist():
        own = rater[shared] == number
        first, second = value[shared][own], others[own]
        if len(first) >= MIN_SHARED and np.ptp(first) > 0 and np.ptp(second) > 0:
            weights[number] = max(float(np.corrcoef(first, second)[0, 1]), 0.0)
    known = weights[weights > 0]
    return np.where(np.isnan(weights), np.median(known) if known.size else 1.0, weights)


def _fit(method: str, clip: NDArray[np.int64], rater: NDArray[np.int64], value: NDArray[np.float64]) -> Any:
    """Return the model's probability of each value (columns) for each clip (rows), a data frame."""
    try:
        import pandas as pd
        from crowdkit.aggregation import GLAD, MACE, DawidSkene
    except ImportError as error:
        raise ConfigError(f"{method} needs crowd-kit: pip install 'fmltk[reliability]'") from error
    models: dict[str, Any] = {
        "dawid_skene": lambda: DawidSkene(n_iter=N_ITERATIONS),
        "mace": lambda: MACE(random_state=0),
        "glad": lambda: GLAD(n_iter=N_ITERATIONS),
    }
    frame = pd.DataFrame({"task": clip, "worker": rater, "label": value.astype(np.int64)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pandas, about crowd-kit's own code
        return models[method]().fit(frame).probas_
