"""The two references that a system has to beat: the median of the training labels, and a linear model of the means."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fmltk.model.data import ClipFeatures, Ragged
    from fmltk.model.dataset import Dataset

ALPHAS = tuple(float(10.0**power) for power in range(-1, 7))
_SMALLEST_DEVIATION = 1e-8


def ridge_predictions(dataset: Dataset, modalities: Sequence[str]) -> tuple[NDArray[np.float64], float]:
    """Return a ridge regression's predictions of M, float64 (n_clips,), and its alpha.

    It reads each clip's mean over the valid steps of every modality, standardised by the training clips, with squared
    error and an intercept. Alpha is the one of `ALPHAS` with the smallest mean absolute error on the validation clips;
    the labels of the test clips are not looked at. Clips that lack one of the modalities have NaN.

    modalities : letters, such as ("T", "A", "V")
    """
    means = np.concatenate([_means(dataset.features, letter) for letter in modalities], axis=1)
    known = np.isfinite(means).all(axis=1)
    target = dataset.targets["M"]
    train, valid = (np.flatnonzero((dataset.splits == s) & known & np.isfinite(target)) for s in ("train", "valid"))
    predictions = np.full(len(target), np.nan)
    if not len(train) or not len(valid):
        return predictions, float("nan")
    centre, deviation = means[train].mean(axis=0), means[train].std(axis=0)
    inputs = (means - centre) / np.where(deviation < _SMALLEST_DEVIATION, 1.0, deviation)
    middle = target[train].mean()
    weights = ridge_weights(inputs[train], target[train] - middle, ALPHAS)
    errors = [np.abs(inputs[valid] @ one + middle - target[valid]).mean() for one in weights]
    best = int(np.argmin(errors))
    predictions[known] = inputs[known] @ weights[best] + middle
    return predictions, ALPHAS[best]


def ridge_weights(
    inputs: NDArray[np.float64], targets: NDArray[np.float64], alphas: Sequence[float]
) -> list[NDArray[np.float64]]:
    """Return the weights, float64 (d,), that minimise squared error plus alpha times their squares, for each alpha.

    inputs : float64 (n, d); targets : float64 (n,); both without an intercept
    """
    left, values, right = np.linalg.svd(inputs, full_matrices=False)
    turned = left.T @ targets
    return [right.T @ (values / (values**2 + alpha) * turned) for alpha in alphas]


def _means(features: ClipFeatures, letter: str) -> NDArray[np.float64]:
    if letter == "T":
        assert features.text is not None  # noqa: S101 - asked for only where there is text
        return _text_means(features.text)
    return features.means[letter].astype(np.float64)


def _text_means(text: Ragged) -> NDArray[np.float64]:
    means = np.full((len(text.lengths), text.steps.shape[1]), np.nan)
    for row in np.flatnonzero(text.lengths):
        means[row] = text.steps[text.offsets[row] : text.offsets[row + 1]].mean(axis=0, dtype=np.float64)
    return means
