"""Features and labels joined into what one run trains on: splits, the labels each task learns, who takes part.

Source: paper, sections 4.2 and 5.6 (which labels stand in where there are no fine-grained ones).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.model.data import SPLITS, ClipFeatures, Labels
from fmltk.model.metrics import metric_family
from fmltk.toolkit.conditions import BIMODAL, CONDITIONS, UNIMODAL
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.model.config import Config
    from fmltk.model.metrics import Family
    from fmltk.toolkit.conditions import Scale

CANDIDATE_DRAWS = 100  # of which the split is taken whose labels are spread most like all clips'


@dataclass(frozen=True)
class Dataset:
    """Everything a run reads, n clips sorted by utterance_id.

    Attributes
    ----------
    features : the clips' features
    video_ids : n ids
    splits : n of train, valid, test
    labels : by condition, float64 (n,), the clips' own labels, NaN where there is none
    targets : by condition, float64 (n,), what training and scoring use; equal to `labels` where `sources` says "labels"
    sources : by condition, where the training labels come from: labels, multimodal or mean-unimodal
    truths : by condition, float64 (n,), what predictions are scored against: own labels where the data has any
    remarks : what a user must know of the join, the splits and the labels
    """

    features: ClipFeatures
    video_ids: tuple[str, ...]
    splits: NDArray[np.str_]
    labels: Mapping[str, NDArray[np.float64]]
    targets: Mapping[str, NDArray[np.float64]]
    sources: Mapping[str, str]
    scale: Scale
    remarks: tuple[str, ...]

    @property
    def utterance_ids(self) -> tuple[str, ...]:
        """The clips' ids."""
        return self.features.utterance_ids

    @property
    def family(self) -> Family:
        """The family of metrics that the labels' scale calls for."""
        return metric_family(self.scale)

    @property
    def truths(self) -> dict[str, NDArray[np.float64]]:
        """By condition, what predictions are scored against: own labels where the data has any, else the targets."""
        return {c: self.labels[c] if np.isfinite(self.labels[c]).any() else self.targets[c] for c in CONDITIONS}

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the rows of a split."""
        return np.flatnonzero(self.splits == split)

    def usable(self, modalities: Sequence[str]) -> NDArray[np.bool_]:
        """Return which clips have all of these modalities, bool (n,)."""
        usable = np.ones(len(self.utterance_ids), bool)
        for modality in modalities:
            usable &= self.features.present(modality)
        return usable


def join(features: ClipFeatures, labels: Labels, config: Config) -> Dataset:
    """Join features and labels by utterance_id.

    What does not join is counted and named in `remarks`; where the labels bring no splits, those of the features'
    manifest are taken, else they are drawn by video; the settings say which labels stand in for missing ones.

    Raises ConfigError if no clip joins, there is no training or validation clip with a label, or the settings ask for
    labels that the data does not have.
    """
    at = {utterance: row for row, utterance in enumerate(labels.utterance_ids)}
    feature_rows = [row for row, utterance in enumerate(features.utterance_ids) if utterance in at]
    if not feature_rows:
        example = features.utterance_ids[0] if features.utterance_ids else "none"
        raise ConfigError(
            f"no clip of the features ({example!r}, ...) has a label ({labels.utterance_ids[:1]}, ...): "
            "the utterance ids differ; both come from video_id and clip_id"
        )
    feature_rows.sort(key=lambda row: features.utterance_ids[row])
    joined = features.take(np.array(feature_rows, np.int64))
    label_rows = [at[utterance] for utterance in joined.utterance_ids]
    remarks = _join_remarks(features, labels, joined)
    values = labels.values[label_rows]
    videos = tuple(labels.video_ids[row] for row in label_rows)
    named = [labels.splits[row] for row in label_rows]
    if not any(named) and all(joined.splits):
        named = list(joined.splits)
        remarks.append("the labels name no splits: those of the features' manifest are taken")
    splits, told = draw_splits(named, videos, values[:, CONDITIONS.index("M")], config)
    own = {condition: values[:, column] for column, condition in enumerate(CONDITIONS)}
    if not np.isfinite(own["M"]).any():
        raise ConfigError("no clip has a multimodal label (label_M), which the fusion learns")
    targets, sources = choose_targets(own, config)
    dataset = Dataset(joined, videos, splits, own, targets, sources, labels.scale, (*remarks, *told))
    for split in ("train", "valid"):
        if not np.isfinite(targets["M"][dataset.rows(split)]).any():
            raise ConfigError(f"no clip of the {split} split has a multimodal label; see `fmltk dataset check`")
    return dataset


def _join_remarks(features: ClipFeatures, labels: Labels, joined: ClipFeatures) -> list[str]:
    remarks = []
    for what, ids in (
        ("with features have no row in the labels", set(features.utterance_ids) - set(joined.utterance_ids)),
        ("with labels have no features", set(labels.utterance_ids) - set(joined.utterance_ids)),
    ):
        if ids:
            named = ", ".join(repr(utterance) for utterance in sorted(ids)[:5]) + (", ..." if len(ids) > 5 else "")
            remarks.append(f"{len(ids)} clips {what} and are left out: {named}")
    return remarks


def draw_splits(
    splits: Sequence[str], videos: Sequence[str], labels: NDArray[np.float64], config: Config
) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """Return every clip's split, and what was drawn.

    A validation split that is missing is drawn from the training split; without any split, test and validation are
    drawn from everything. Whole videos are drawn, so that no video is in two splits.

    labels : float64 (n,), the multimodal ones; of many draws the one whose labels are spread most like the rest's is
    taken, for a few videos by chance hold mostly negative or mostly positive clips
    """
    given = np.array(splits, dtype="<U5")
    names = set(given) - {""}
    unnamed = np.flatnonzero(given == "")
    if names and unnamed.size:
        raise ConfigError(f"{unnamed.size} clips have no split while others have one; name a split for all or for none")
    told = []
    drawn = given.copy()
    if not names:
        drawn[:] = "train"
        n = _draw(drawn, videos, labels, "test", config.test_fraction, config.split_seed)
        told.append(f"the labels name no splits: {n} clips for test were drawn by video (test_fraction, split_seed)")
    elif "train" not in names:
        raise ConfigError(f"no clip is in the train split (the labels name: {', '.join(sorted(names))})")
    if "valid" not in names:
        n = _draw(drawn, videos, labels, "valid", config.valid_fraction, config.split_seed)
        told.append(
            f"{n} clips for validation were drawn by video from the training split (valid_fraction, split_seed)"
        )
    return drawn, tuple(told)


def _draw(
    splits: NDArray[np.str_],
    videos: Sequence[str],
    labels: NDArray[np.float64],
    name: str,
    fraction: float,
    seed: int,
) -> int:
    """Move whole videos of the training split to `name` until it holds `fraction` of the clips; at least one."""
    train = np.flatnonzero(splits == "train")
    of_clip = np.array(videos)[train]
    names = np.unique(of_clip)
    if len(names) < 2:
        raise ConfigError(f"a {name} split cannot be drawn by video: the training split has {len(names)} video only")
    generator = np.random.default_rng(seed)
    best: NDArray[np.bool_] = np.zeros(len(train), bool)
    best_distance = np.inf
    for _ in range(CANDIDATE_DRAWS):
        moved = _candidate(generator.permutation(names), of_clip, fraction)
        distance = _label_distance(labels[train[moved]], labels[train])
        if distance < best_distance or not best.any():
            best, best_distance = moved, distance
    splits[train[best]] = name
    return int(best.sum())


def _candidate(order: NDArray[np.str_], of_clip: NDArray[np.str_], fraction: float) -> NDArray[np.bool_]:
    """Return the clips of the first videos of `order` that hold `fraction` of all clips, bool (n,)."""
    moved: NDArray[np.bool_] = np.zeros(len(of_clip), bool)
    for video in order[:-1]:
        moved |= of_clip == video
        if moved.sum() >= fraction * len(of_clip):
            break
    return moved


def _label_distance(some: NDArray[np.float64], every: NDArray[np.float64]) -> float:
    """Return the mean distance of the quantiles of two sets of labels; infinite where one has no label."""
    some, every = some[np.isfinite(some)], every[np.isfinite(every)]
    if not some.size or not every.size:
        return float("inf")
    levels = np.linspace(0, 1, 21)
    return float(np.abs(np.quantile(some, levels) - np.quantile(every, levels)).mean())


def choose_targets(
    labels: Mapping[str, NDArray[np.float64]], config: Config
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Return the labels that each task learns, and where each comes from (settings `unimodal` and `bimodal`)."""
    targets, sources = {"M": labels["M"]}, {"M": "labels"}
    for conditions, mode in ((UNIMODAL, config.unimodal), (BIMODAL, config.bimodal)):
        for condition in conditions:
            has = bool(np.isfinite(labels[condition]).any())
            source = mode if mode != "auto" else ("labels" if has else "multimodal")
            if source == "labels" and not has:
                kind = "unimodal" if condition in UNIMODAL else "bimodal"
                raise ConfigError(
                    f"there is no label_{condition} in the data; use --{kind} multimodal, or leave it out"
                )
            if source == "mean-unimodal":
                alpha, beta = condition[0], condition[1]
                absent = [m for m in (alpha, beta) if not np.isfinite(labels[m]).any()]
                if absent:
                    raise ConfigError(f"--bimodal mean-unimodal needs label_{absent[0]}, which the data does not have")
                targets[condition] = (labels[alpha] + labels[beta]) / 2
            else:
                targets[condition] = labels[condition] if source == "labels" else labels["M"]
            sources[condition] = source
    return targets, sources


def split_counts(dataset: Dataset) -> dict[str, int]:
    """Return how many clips each split has."""
    return {split: int(np.sum(dataset.splits == split)) for split in SPLITS}
