"""Features and labels joined into what one run trains on: splits, the labels each task learns, who takes part.

Source: paper, sections 4.2 and 5.6 (which labels stand in for missing fine-grained ones).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.model.metrics import metric_family
from fmltk.model.nominal import learned_labels, missing_classes
from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.conditions import BIMODAL, CONDITIONS, UNIMODAL
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.label_table import codes_fault
from fmltk.toolkit.features.splits import hold_out, lone_clips_remarks, shared_videos_remarks, split_by_video

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.model.data import ClipFeatures
    from fmltk.model.metrics import Family
    from fmltk.model.settings import Settings
    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.features.label_table import LabelTable


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
    def n_classes(self) -> int:
        """The number of classes of nominal labels; 0 where they are numbers."""
        return len(self.scale.names)

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


def join(
    features: ClipFeatures, labels: LabelTable, config: Settings, *, excluded: Collection[str] = frozenset()
) -> Dataset:
    """Join features and labels by utterance_id.

        Clips that do not join are counted and named in `remarks`; where the labels bring no splits, those of the
        features' manifest are taken, else they are drawn by video; the settings say which labels stand in for missing
        ones.

        excluded : ids of the clips that the user leaves out

    Raises ConfigError if some labels are words and others numbers, no clip joins, there is no training or validation
    clip with a label, or the settings ask for labels that the data does not have.
    """
    labels, notes = labels.aligned(set(features.utterance_ids))
    at = {utterance: row for row, utterance in enumerate(labels.utterance_ids) if utterance not in excluded}
    feature_rows = [row for row, utterance in enumerate(features.utterance_ids) if utterance in at]
    if not feature_rows:
        of_features, of_labels = (
            ", ".join(map(repr, ids[:2])) or "none" for ids in (features.utterance_ids, labels.utterance_ids)
        )
        raise ConfigError(
            f"no clip of the features has a label: the features name {of_features}, the labels {of_labels}; write "
            "video_id and clip_id of the labels as in manifest.parquet, or name the labels of these clips with --labels"
        )
    feature_rows.sort(key=lambda row: features.utterance_ids[row])
    joined = features.take(np.array(feature_rows, np.int64))
    label_rows = [at[utterance] for utterance in joined.utterance_ids]
    remarks = [*notes, *_join_remarks(features, labels, joined, excluded)]
    learned, scale = learned_labels(labels)
    own = {condition: values[label_rows] for condition, values in learned.items()}
    videos = tuple(labels.video_ids[row] for row in label_rows)
    named = [labels.splits[row] or "" for row in label_rows]
    if not any(named) and all(joined.splits):
        named = list(joined.splits)
        remarks.append("the labels name no splits: those of the features' manifest are taken")
    splits, said = draw_splits(named, videos, own["M"], config, n_classes=len(scale.names))
    if not np.isfinite(own["M"]).any():
        raise ConfigError("no clip has a multimodal label (label_M), which the fusion learns")
    if scale.names and config.bimodal == "mean-unimodal":
        raise ConfigError(
            f"--bimodal mean-unimodal needs numbers, and the labels are the classes {scale}; leave it out"
        )
    targets, sources = choose_targets(own, config)
    said = (*said, *missing_classes(scale.names, targets["M"], splits))
    dataset = Dataset(joined, videos, splits, own, targets, sources, scale, (*remarks, *said))
    for split in ("train", "valid"):
        if not np.isfinite(targets["M"][dataset.rows(split)]).any():
            raise ConfigError(f"no clip of the {split} split has a multimodal label; see `fmltk dataset check`")
    return dataset


def _join_remarks(
    features: ClipFeatures, labels: LabelTable, joined: ClipFeatures, excluded: Collection[str]
) -> list[str]:
    remarks = []
    settled = {*joined.utterance_ids, *excluded}
    for what, ids in (
        ("with features but without a row in the labels", set(features.utterance_ids) - settled),
        ("with labels but without features", set(labels.utterance_ids) - settled),
    ):
        if ids:
            named = ", ".join(repr(utterance) for utterance in sorted(ids)[:5]) + (", ..." if len(ids) > 5 else "")
            remarks.append(f"left out: {counted(len(ids), 'clip')} {what}: {named}")
    fault = codes_fault(labels)
    if fault is not None:
        raise ConfigError(fault)
    if labels.scale_source == "guessed" and labels.scale.kind != "nominal":
        remarks.append(f"the labels do not state their scale: {labels.scale} is taken, which all of them fit")
    if not labels.scale.has_signs and labels.scale.kind != "nominal":
        remarks.append(
            f"the scale {labels.scale} has no negative side, so scores are MAE and Corr, without accuracies; for "
            "these, subtract the scale's middle from the labels"
        )
    return remarks


def draw_splits(
    splits: Sequence[str], videos: Sequence[str], labels: NDArray[np.float64], config: Settings, *, n_classes: int = 0
) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """Return every clip's split, and what was drawn.

    Without any split, test and validation are drawn from everything; a validation split that is missing is drawn from
    the training split. Whole videos are drawn (see `fmltk.toolkit.features.splits`), so that none is in two splits.

    splits : n of train, valid, test, "" for none; videos : n ids; labels : float64 (n,), the multimodal ones
    n_classes : of nominal labels, whose shares the splits then keep
    """
    given = np.array(splits, dtype="<U5")
    names = set(given) - {""}
    n_unnamed = int(np.sum(given == ""))
    if names and n_unnamed:
        have = counted(n_unnamed, "clip has", "clips have")
        raise ConfigError(f"{have} no split while others have one; name a split for all or for none")
    if not names:
        drawn = split_by_video(
            videos,
            labels,
            seed=config.split_seed,
            valid_share=config.valid_fraction,
            test_share=config.test_fraction,
            n_classes=n_classes,
        )
        n_test, n_valid = int(np.sum(drawn == "test")), int(np.sum(drawn == "valid"))
        return drawn, (
            f"the labels name no splits: {counted(n_test, 'clip')} for test and {n_valid} for validation were drawn by "
            "video (test_fraction, valid_fraction, split_seed)",
            *lone_clips_remarks(videos),
        )
    if "train" not in names:
        raise ConfigError(f"no clip is in the train split (the labels name: {', '.join(sorted(names))})")
    shared = shared_videos_remarks(videos, splits)
    if "valid" in names:
        return given, shared
    train = np.flatnonzero(given == "train")
    of_train = [videos[row] for row in train]
    share, seed = config.valid_fraction, config.split_seed
    held_out = hold_out(of_train, labels[train], share=share, seed=seed, n_classes=n_classes)
    given[train[held_out]] = "valid"
    n = int(held_out.sum())
    remark = f"{counted(n, 'clip')} for validation, drawn by video from the training split (valid_fraction, split_seed)"
    return given, (remark, *shared, *lone_clips_remarks(of_train))


def choose_targets(
    labels: Mapping[str, NDArray[np.float64]], config: Settings
) -> tuple[dict[str, NDArray[np.float64]], dict[str, str]]:
    """Return the labels that each task learns, and where each comes from (settings `unimodal` and `bimodal`)."""
    targets, sources = {"M": labels["M"]}, {"M": "labels"}
    for conditions, mode in ((UNIMODAL, config.unimodal), (BIMODAL, config.bimodal)):
        for condition in conditions:
            has = bool(np.isfinite(labels[condition]).any())
            source = mode if mode != "auto" else ("labels" if has else "multimodal")
            if source == "labels" and not has:
                kind = "unimodal" if condition in UNIMODAL else "bimodal"
                raise ConfigError(f"the data has no label_{condition}; use --{kind} multimodal, or leave it out")
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
