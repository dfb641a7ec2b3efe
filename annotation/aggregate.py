"""Five ratings, one label: mean, class, spread, and the reason where there is none.

Source: paper, section 3. The policies for panels that are not whole are those of `fmltk.annotation.settings.Policy`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fmltk.annotation.consensus import consensus_labels
from fmltk.annotation.corrections import correct
from fmltk.annotation.protocols import OUT_OF_PROTOCOL
from fmltk.annotation.ratings import STATUSES, ranks
from fmltk.annotation.settings import Policy
from fmltk.toolkit.classes import class_of_mean, classes_of_values, is_paper_value
from fmltk.toolkit.conditions import CH_SIMS_SCALE, CONDITIONS, WEIGHED, Scale
from fmltk.toolkit.errors import AnnotationError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from fmltk.annotation.corrections import Corrections

_UNKNOWN_TIME = int(np.iinfo(np.int64).max)


@dataclass
class ConditionLabels:
    """The labels of one condition; every array has shape (n_clips,), in the order of `utterances`.

    Attributes
    ----------
    scale
        What raters chose from.
    label, spread, median
        On the scale; NaN where there is none. `spread` is the population standard deviation of the ratings.
    majority
        The most frequent rating; NaN where two are equally frequent.
    n
        Ratings that the label is made of.
    label_class, reason
        None where there is no class, and where there is a label.
    kind
        The kind of reason; None where there is a label.
    n_between
        Labels whose mean is none of the paper's eleven values.
    weighed
        What `consensus_labels` gives, by method.
    note
        What made the label, where it is not the panel's raters alone; else None.
    n_noted
        How many labels were adjudicated, are a ground truth or of a completed panel.
    """

    scale: Scale
    label: NDArray[np.float64]
    spread: NDArray[np.float64]
    median: NDArray[np.float64]
    majority: NDArray[np.float64]
    n: NDArray[np.int32]
    label_class: NDArray[np.object_]
    reason: NDArray[np.object_]
    n_between: int = 0
    weighed: dict[str, NDArray[np.float64]] = field(default_factory=dict)
    n_noted: Counter[str] = field(default_factory=Counter)
    kind: NDArray[np.object_] = field(init=False)
    note: NDArray[np.object_] = field(init=False)

    def __post_init__(self) -> None:
        self.kind, self.note = (np.full(len(self.n), None, dtype=object) for _ in range(2))

    @property
    def kinds(self) -> Counter[str]:
        """Why labels are null: how many, by kind of reason."""
        return Counter(self.kind[self.kind != None].tolist())  # noqa: E711 - element by element


@dataclass
class Aggregated:
    """Labels of every condition that was rated, for the clips of `utterances` (sorted)."""

    utterances: list[str]
    ids: dict[str, tuple[str, str]]
    conditions: dict[str, ConditionLabels]


def aggregate_ratings(
    ratings: pa.Table,
    policy: Policy | None = None,
    *,
    also: Collection[str] = (),
    clips: Mapping[str, tuple[str, str]] | None = None,
) -> Aggregated:
    """Return the labels that a table of ratings gives, whatever the order of its rows.

    Parameters
    ----------
    also
        Methods of `fmltk.toolkit.conditions.WEIGHED` to give next to the mean.
    clips
        (video_id, clip_id) by utterance_id of clips that raters were given: those that nobody rated have no label, and
        the reason why.

    Raises AnnotationError if a condition was rated on two scales, ConfigError if a method is unknown or needs crowd-kit
    and it is not installed.
    """
    policy = policy or Policy()
    unknown = sorted(set(also) - set(WEIGHED))
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is not a method; expected some of {', '.join(WEIGHED)}")
    ratings = ratings.unify_dictionaries()
    pairs = ratings.select(["utterance_id", "video_id", "clip_id"]).group_by(["utterance_id", "video_id", "clip_id"])
    ids = {row["utterance_id"]: (row["video_id"], row["clip_id"]) for row in pairs.aggregate([]).to_pylist()}
    corrections = correct(ratings, policy)
    ratings = corrections.ratings
    ids = {**(clips or {}), **ids}
    utterances = sorted(ids)
    row_of = {utterance: row for row, utterance in enumerate(utterances)}
    rated = sorted(ratings.column("utterance_id").unique().to_pylist())
    clip = np.array([row_of[utterance] for utterance in rated], dtype=np.int64)[ranks(ratings.column("utterance_id"))]
    names = np.asarray(ratings.column("condition").cast(pa.string()).to_numpy(zero_copy_only=False))
    conditions = {}
    for condition in CONDITIONS:
        rows = np.flatnonzero(names == condition)
        if rows.size:
            part = ratings.take(pa.array(rows))
            conditions[condition] = _aggregate_condition(part, clip[rows], len(utterances), policy)
            _apply(corrections, conditions[condition], condition, row_of)
            for method in also:
                conditions[condition].weighed[method] = consensus_labels(
                    method, part, clip[rows], len(utterances), conditions[condition].scale
                )
    return Aggregated(utterances, ids, conditions)


def _apply(corrections: Corrections, labels: ConditionLabels, condition: str, row_of: Mapping[str, int]) -> None:
    """Put the values that prevail into the labels of a condition, and note what is not the mean of the panel alone."""
    for (name, utterance), completed in corrections.completed.items():
        if name == condition:
            labels.note[row_of[utterance]] = completed
            labels.n_noted["completed"] += 1
    for (name, utterance), own in corrections.prevailing.items():
        if name != condition:
            continue
        row = row_of[utterance]
        panel = labels.reason[row] or f"{labels.label[row]:.6g} of {labels.n[row]} ratings"
        said = f"{own.why}: {own.value}; the panel: {panel}"
        labels.note[row] = f"{labels.note[row]}; {said}" if labels.note[row] else said
        labels.n_noted[own.why.partition(" by ")[0]] += 1
        labels.label[row], labels.kind[row], labels.reason[row] = own.value, None, None
        labels.label_class[row] = classes_of_values(labels.label[row : row + 1], labels.scale)[0]


def scale_of(ratings: pa.Table) -> Scale:
    """Return the one scale that all rows were rated on.

    Raises AnnotationError if there are several.
    """
    scales = ratings.column("scale").unique().to_pylist()
    if len(scales) != 1:
        condition = ratings.column("condition")[0].as_py()
        raise AnnotationError(f"condition {condition} was rated on several scales: {', '.join(sorted(scales))}")
    return Scale.parse(scales[0])


def _aggregate_condition(ratings: pa.Table, clip: NDArray[np.int64], n_clips: int, policy: Policy) -> ConditionLabels:
    scale = scale_of(ratings)
    status = np.asarray(ratings.column("status").cast(pa.string()).to_numpy(zero_copy_only=False))
    rated = status == "rated"
    outside = rated & _out_of_protocol(ratings) if policy.protocol_strict else np.zeros(len(rated), dtype=bool)
    rated &= ~outside
    if policy.more == "first":
        rated &= _among_first(ratings, clip, rated, policy.panel)
    counts = count_values(ratings, clip, rated, n_clips, scale)
    others = {word: np.bincount(clip[status == word], minlength=n_clips) for word in STATUSES[1:]}
    others["out of protocol"] = np.bincount(clip[outside], minlength=n_clips)
    return _labels_of_counts(counts, others, scale, policy)


def _out_of_protocol(ratings: pa.Table) -> NDArray[np.bool_]:
    """Return which rows have a flag that says so."""
    flags = ratings.column("flags").cast(pa.string()).to_pylist()
    return np.array([not set(OUT_OF_PROTOCOL).isdisjoint(text.split()) for text in flags], dtype=bool)


def count_values(
    ratings: pa.Table, clip: NDArray[np.int64], rated: NDArray[np.bool_], n_clips: int, scale: Scale
) -> NDArray[np.int64]:
    """Return how often each clip was given each value, int64, shape (n_clips, n_values)."""
    values = ratings.column("value").fill_null(0).to_numpy().astype(np.int64)[rated] - scale.low
    n_values = len(scale.values)
    flat = np.bincount(clip[rated] * n_values + values, minlength=n_clips * n_values)
    return flat.reshape(n_clips, n_values)


def _among_first(ratings: pa.Table, clip: NDArray[np.int64], rated: NDArray[np.bool_], panel: int) -> NDArray[np.bool_]:
    """Mark the first `panel` ratings of each clip by time of creation; where it is unknown or equal, by rater."""
    created = ratings.column("created_at").cast(pa.int64()).fill_null(_UNKNOWN_TIME).to_numpy()
    rows = np.lexsort((ranks(ratings.column("annotator")), created, clip, ~rated))
    rows = rows[: int(rated.sum())]
    sorted_clip = clip[rows]
    first_of_clip = np.searchsorted(sorted_clip, sorted_clip, side="left")
    chosen = np.zeros(len(clip), dtype=bool)
    chosen[rows[np.arange(len(rows)) - first_of_clip < panel]] = True
    return chosen


def _labels_of_counts(
    counts: NDArray[np.int64], others: dict[str, NDArray[np.int64]], scale: Scale, policy: Policy
) -> ConditionLabels:
    values = np.array(scale.values)
    n = counts.sum(axis=1)
    total = counts @ values
    squares = counts @ (values * values)
    enough = (n >= policy.fewest) & ((n <= policy.panel) | (policy.more == "all"))
    with np.errstate(invalid="ignore", divide="ignore"):
        label = np.where(enough, total / n, np.nan)
        spread = np.where(enough, np.sqrt(n * squares - total * total) / n, np.nan)
    labels = ConditionLabels(
        scale=scale,
        label=label,
        spread=spread,
        median=np.where(enough, _medians(counts, values), np.nan),
        majority=np.where(enough, _majorities(counts, values), np.nan),
        n=n.astype(np.int32),
        label_class=np.full(len(n), None, dtype=object),
        reason=np.full(len(n), None, dtype=object),
    )
    pairs = {pair: _classify(*pair, scale, policy) for pair in set(zip(total[enough], n[enough], strict=True))}
    for clip in range(len(n)):
        if enough[clip]:
            labels.label_class[clip], between = pairs[total[clip], n[clip]]
            labels.n_between += between
        else:
            counted = {word: int(count[clip]) for word, count in others.items()}
            labels.kind[clip], labels.reason[clip] = _why_null(int(n[clip]), counted, policy)
    return labels


def _classify(total: np.int64, n: np.int64, scale: Scale, policy: Policy) -> tuple[str | None, bool]:
    between = scale == CH_SIMS_SCALE and not is_paper_value(int(total), int(n))
    return class_of_mean(int(total), int(n), scale, nearest=policy.nearest), between


def _medians(counts: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the middle rating of each clip, the mean of the two middle ones where their number is even."""
    cumulated = counts.cumsum(axis=1)
    n = cumulated[:, -1:]
    lower = (cumulated <= (n - 1) // 2).sum(axis=1)
    upper = (cumulated <= n // 2).sum(axis=1)
    last = len(values) - 1
    return np.asarray((values[np.minimum(lower, last)] + values[np.minimum(upper, last)]) / 2, dtype=np.float64)


def _majorities(counts: NDArray[np.int64], values: NDArray[np.int64]) -> NDArray[np.float64]:
    top = counts.max(axis=1, keepdims=True)
    alone = (counts == top).sum(axis=1) == 1
    return np.asarray(np.where(alone, values[counts.argmax(axis=1)], np.nan), dtype=np.float64)


def _why_null(n: int, others: dict[str, int], policy: Policy) -> tuple[str, str]:
    if n > policy.panel:
        return "too many ratings", f"{n} ratings where {policy.panel} are expected"
    missing = max(policy.panel - n - sum(others.values()), 0)
    parts = [f"{count} {word}" for word, count in (*others.items(), ("missing", missing)) if count]
    return "too few ratings", f"{n} of {policy.panel} ratings: {', '.join(parts)}"


def compare_methods(labels: ConditionLabels) -> dict[str, dict[str, Any]]:
    """Return how far median, majority and the weighed methods lie from the mean: whether the choice matters.

    For each: clips with both, how many change class, how many have no value of this kind, and the mean distance.
    """
    result: dict[str, dict[str, Any]] = {}
    candidates = {"median": labels.median, "majority": labels.majority, **labels.weighed}
    labelled = ~np.isnan(labels.label)
    for name, values in candidates.items():
        both = labelled & ~np.isnan(values)
        classes = classes_of_values(values, labels.scale)
        result[name] = {
            "clips": int(both.sum()),
            "without_value": int((labelled & ~both).sum()),
            "other_class": int((classes[both] != labels.label_class[both]).sum()),
            "mean_distance": float(np.abs(values[both] - labels.label[both]).mean()) if both.any() else None,
        }
    return result
