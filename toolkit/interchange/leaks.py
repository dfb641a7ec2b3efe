"""Features that know the labels, and clips that are in two splits: what makes results better than they are."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.features.splits import video_folds
from fmltk.toolkit.ridge import ridge_predictions

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.sequences import ModalityTable

ALPHA = 100.0  # of the ridge regression that looks for labels in features
LEAST_CLIPS = 50  # of the training split, and held out, before anything is said
N_FOLDS = 5
SUSPICIOUS_SHARE = 0.75  # the training videos' error, of the held-out videos'
LEAST_P = 0.001


def clip_means(table: ModalityTable) -> dict[str, NDArray[np.float64]]:
    """Return each clip's mean over its valid steps, float64 (d,), by utterance_id; clips without one are left out."""
    means = {}
    for ids, features, mask in table.batches():
        sums = np.where(mask[:, :, None], features, 0).sum(axis=1, dtype=np.float64)
        counts = mask.sum(axis=1)
        for utterance, total, count in zip(ids, sums, counts, strict=True):
            if count and np.isfinite(total).all():
                means[utterance] = total / count
    return means


def knows_training_labels(
    means: Mapping[str, NDArray[np.float64]],
    labels: Mapping[str, float],
    splits: Mapping[str, str],
    videos: Mapping[str, str],
) -> tuple[float, float] | None:
    """Return (error on training videos, on held-out videos) of a linear model where the first is suspiciously smaller.

    Features that do not know the labels predict those of a training video that the linear model has not seen as well as
    those of a video of another split. Features that were fitted to the labels of the training split do not. Errors are
    mean absolute ones; None where there is nothing to say.

    means : features by clip; labels : of M by clip; splits : train, valid or test by clip; videos : by clip
    """
    from scipy import stats

    ids = [one for one in means if one in splits and np.isfinite(labels.get(one, np.nan))]
    train = np.array([splits[one] == "train" for one in ids], bool)
    if train.sum() < LEAST_CLIPS or (~train).sum() < LEAST_CLIPS:
        return None
    inputs, targets = np.stack([means[one] for one in ids]), np.array([labels[one] for one in ids])
    rows = np.flatnonzero(train)
    names = [videos[ids[row]] for row in rows]
    if len(set(names)) < N_FOLDS:
        return None
    fold_of = video_folds(names, N_FOLDS, seed=0)
    inside = np.empty(len(rows))
    for fold in range(N_FOLDS):
        held = fold_of == fold
        (predicted,) = ridge_predictions(inputs, targets, rows[~held], [ALPHA])
        inside[held] = np.abs(predicted - targets)[rows[held]]
    (predicted,) = ridge_predictions(inputs, targets, rows, [ALPHA])
    outside = np.abs(predicted - targets)[~train]
    p = float(stats.ttest_ind(inside, outside, equal_var=False, alternative="less").pvalue)
    if p < LEAST_P and inside.mean() < SUSPICIOUS_SHARE * outside.mean():
        return float(inside.mean()), float(outside.mean())
    return None


def same_in_two_splits(
    means: Sequence[Mapping[str, NDArray[np.float64]]], splits: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Return pairs of clips of different splits with the same features in every one of the modalities given."""
    groups: dict[str, list[str]] = defaultdict(list)
    for one in set.intersection(*(set(part) for part in means)) if means else set():
        if one in splits:
            digest = hashlib.sha256(b"".join(part[one].tobytes() for part in means)).hexdigest()
            groups[digest].append(one)
    pairs = []
    for members in groups.values():
        first, *others = sorted(members)
        pairs += [(first, other) for other in others if splits[other] != splits[first]]
    return sorted(pairs)
