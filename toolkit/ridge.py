"""Ridge regression: the linear model that other models have to beat, and that finds features which know labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SMALLEST_DEVIATION = 1e-8


def ridge_weights(
    inputs: NDArray[np.float64], targets: NDArray[np.float64], alphas: Sequence[float]
) -> list[NDArray[np.float64]]:
    """Return the weights, float64 (d,), that minimise squared error plus alpha times their squares, for each alpha.

    inputs : float64 (n, d); targets : float64 (n,); both without an intercept

    >>> ridge_weights(np.array([[1.0], [2.0]]), np.array([2.0, 4.0]), [0.0, 5.0])
    [array([2.]), array([1.])]
    """
    left, values, right = np.linalg.svd(inputs, full_matrices=False)
    turned = left.T @ targets
    return [right.T @ (values / np.maximum(values**2 + alpha, 1e-300) * turned) for alpha in alphas]


def ridge_predictions(
    inputs: NDArray[np.float64], targets: NDArray[np.float64], rows: NDArray[np.int64], alphas: Sequence[float]
) -> list[NDArray[np.float64]]:
    """Return the predictions for all clips, float64 (n,), of a model of some of them, for each alpha.

    It standardises the inputs by those clips and has an intercept.

    inputs : float64 (n, d); targets : float64 (n,); rows : of the clips it learns from
    """
    centre, deviation = inputs[rows].mean(axis=0), inputs[rows].std(axis=0)
    scaled = (inputs - centre) / np.where(deviation < _SMALLEST_DEVIATION, 1.0, deviation)
    middle = targets[rows].mean()
    return [scaled @ weights + middle for weights in ridge_weights(scaled[rows], targets[rows] - middle, alphas)]
