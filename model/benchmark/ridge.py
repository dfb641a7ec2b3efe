"""A reference that a system has to beat: a ridge regression of each clip's mean features."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.ridge import ridge_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fmltk.model.data import ClipFeatures, Ragged
    from fmltk.model.dataset import Dataset

ALPHAS = tuple(float(10.0**power) for power in range(-1, 7))


def reference_predictions(dataset: Dataset, modalities: Sequence[str]) -> tuple[NDArray[np.float64], float]:
    """Return a ridge regression's predictions of M, float64 (n_clips,), and its alpha.

    It reads each clip's mean over the valid steps of every modality, standardised by the training clips. Alpha is the
    one of `ALPHAS` with the smallest mean absolute error on the validation clips; the labels of the test clips are not
    looked at. Clips that lack one of the modalities have NaN.

    modalities : letters, such as ("T", "A", "V")
    """
    means = np.concatenate([_means(dataset.features, letter) for letter in modalities], axis=1)
    known = np.isfinite(means).all(axis=1)
    target = dataset.targets["M"]
    train, valid = (np.flatnonzero((dataset.splits == s) & known & np.isfinite(target)) for s in ("train", "valid"))
    if not len(train) or not len(valid):
        return np.full(len(target), np.nan), float("nan")
    found = ridge_predictions(np.where(known[:, None], means, 0.0), target, train, ALPHAS)
    errors = [np.abs(one[valid] - target[valid]).mean() for one in found]
    best = int(np.argmin(errors))
    return np.where(known, found[best], np.nan), ALPHAS[best]


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
