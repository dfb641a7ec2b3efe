"""Five ratings, one label: mean or most frequent word, class, spread, and the reason where there is none.

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
from fmltk.annotation.ratings import STATUSES, check_one_dimension, clip_ids, ranks, rating_values, scale_of
from fmltk.annotation.settings import Policy
from fmltk.toolkit.classes import class_names, class_of_mean, classes_of_values, is_paper_value
from fmltk.toolkit.conditions import CH_SIMS_SCALE, CONDITIONS, WEIGHED, Scale
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from numpy.typing import NDArray

    from fmltk.annotation.corrections import Corrections

OUTSIDE = "out of protocol"  # ratings that a policy leaves out for that, and why labels are null without them
_UNKNOWN_TIME = int(np.iinfo(np.int64).max)


@dataclass
class ConditionLabels:
    """The labels of one condition; every array has shape (n_clips,), in the order of `utterances`.

    Attributes
    ----------
    scale
        The answers that annotators chose from.
    n
        Ratings that the label is made of.
    reason
        Why the label is missing; None where it is not.
    label, spread, median
        On the scale; NaN where there is none. `spread` is the population standard deviation of the ratings.
    majority
        The most frequent rating; NaN where two are equally frequent, and on a continuous scale.
    share
        On a nominal scale, the share of the ratings that the class has; else NaN.
    label_class
        None without a class; on a nominal scale it is the label: the most frequent word.
    kind
        The kind of reason; None where there is a label.
    note
        The origin of the label, where it is not the panel's raters alone; else None.
    n_between
        Labels whose mean is not one of the paper's eleven values.
    weighed
        The results of `consensus_labels`, by column: numbers, and words in arrays of objects.
    n_noted
        How many labels were adjudicated, are a ground truth or of a completed panel.
    """

    scale: Scale
    n: NDArray[np.int32]
    reason: NDArray[np.object_]
    label: NDArray[np.float64]
    spread: NDArray[np.float64]
    median: NDArray[np.float64]
    majority: NDArray[np.float64]
    share: NDArray[np.float64]
    label_class: NDArray[np.object_]
    kind: NDArray[np.object_]
    note: NDArray[np.object_]
    n_between: int = 0
    weighed: dict[str, NDArray[Any]] = field(default_factory=dict)
    n_noted: Counter[str] = field(default_factory=Counter)

    @classmethod
    def empty(cls, scale: Scale, n: NDArray[np.int64]) -> ConditionLabels:
        """Return the labels of panels of these sizes before any is computed."""
        label, spread, median, majority, share = (np.full(len(n), np.nan) for _ in range(5))
        reason, label_class, kind, note = (np.full(len(n), None, dtype=object) for _ in range(4))
        return cls(scale, n.astype(np.int32), reason, label, spread, median, majority, share, label_class, kind, note)

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

    Raises AnnotationError if a condition was rated on two scales, or there are several dimensions (see
    `ratings.of_dimension`); ConfigError if a method is unknown, does not fit a scale, or needs crowd-kit and it is not
    installed.
    """
    policy = policy or Policy()
    unknown = sorted(set(also) - set(WEIGHED))
    if unknown:
        raise ConfigError(f"{unknown[0]!r} is not a method; expected some of {', '.join(WEIGHED)}")
    check_one_dimension(ratings)
    ratings = ratings.unify_dictionaries()
    corrections = correct(ratings, policy)
    ratings = corrections.ratings
    ids = {**(clips or {}), **clip_ids(ratings)}
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
                scale = conditions[condition].scale
                conditions[condition].weighed |= consensus_labels(method, part, clip[rows], len(utterances), scale)
    return Aggregated(utterances, ids, conditions)


def _apply(corrections: Corrections, labels: ConditionLabels, condition: str, row_of: Mapping[str, int]) -> None:
    """Put the answers that prevail into the labels of a condition, and note what is not that of the panel alone."""
    for (name, utterance), completed in corrections.completed.items():
        if name == condition:
            labels.note[row_of[utterance]] = completed
            labels.n_noted["completed"] += 1
    for (name, utterance), own in corrections.prevailing.items():
        if name != condition:
            continue
        row = row_of[utterance]
        is_word = isinstance(own.answer, str)
        of_panel = labels.label_class[row] if is_word else f"{labels.label[row]:.6g}"
        panel = labels.reason[row] or f"{of_panel} of {labels.n[row]} ratings"
        said = f"{own.why}: {own.answer if is_word else f'{own.answer:.6g}'}; the panel: {panel}"
        labels.note[row] = f"{labels.note[row]}; {said}" if labels.note[row] else said
        labels.n_noted[own.why.partition(" by ")[0]] += 1
        labels.kind[row] = labels.reason[row] = None
        if isinstance(own.answer, str):
            labels.label_class[row], labels.share[row] = own.answer, np.nan
            labels.scale = Scale.nominal(dict.fromkeys((*labels.scale.names, own.answer)))  # nobody else may say it
        else:
            labels.label[row] = own.answer
            labels.label_class[row] = classes_of_values(labels.label[row : row + 1], labels.scale)[0]


def _aggregate_condition(ratings: pa.Table, clip: NDArray[np.int64], n_clips: int, policy: Policy) -> ConditionLabels:
    scale = scale_of(ratings)
    status = np.asarray(ratings.column("status").cast(pa.string()).to_numpy(zero_copy_only=False))
    rated = status == "rated"
    outside = rated & _out_of_protocol(ratings) if policy.protocol_strict else np.zeros(len(rated), dtype=bool)
    rated &= ~outside
    if policy.more == "first":
        rated &= _among_first(ratings, clip, rated, policy.panel)
    others = {word: np.bincount(clip[status == word], minlength=n_clips) for word in STATUSES[1:]}
    others[OUTSIDE] = np.bincount(clip[outside], minlength=n_clips)
    n = np.bincount(clip[rated], minlength=n_clips)
    enough = (n >= policy.fewest) & ((n <= policy.panel) | (policy.more == "all"))
    labels = ConditionLabels.empty(scale, n)
    values = rating_values(ratings, scale)[rated]
    if scale.kind == "continuous":
        _label_means(labels, clip[rated], values, enough)
    else:
        counts = count_values(clip[rated], values, n_clips, scale)
        if scale.kind == "ordinal":
            _label_counts(labels, counts, enough, policy)
        else:
            _label_words(labels, counts, enough)
    for row in np.flatnonzero(~enough).tolist():
        counted = {word: int(count[row]) for word, count in others.items()}
        labels.kind[row], labels.reason[row] = _why_null(int(n[row]), counted, policy)
    return labels


def _out_of_protocol(ratings: pa.Table) -> NDArray[np.bool_]:
    """Return which rows have a flag that says so."""
    flags = ratings.column("flags").cast(pa.string()).to_pylist()
    return np.array([not set(OUT_OF_PROTOCOL).isdisjoint(text.split()) for text in flags], dtype=bool)


def count_values(clip: NDArray[np.int64], values: NDArray[np.float64], n_clips: int, scale: Scale) -> NDArray[np.int64]:
    """Return how often each clip was given each value, int64, shape (n_clips, n_values)."""
    n_values = len(scale.values)
    flat = np.bincount(clip * n_values + (values - scale.low).astype(np.int64), minlength=n_clips * n_values)
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


def _label_counts(
    labels: ConditionLabels, counts: NDArray[np.int64], enough: NDArray[np.bool_], policy: Policy
) -> None:
    """Fill in the labels of an ordinal scale, computed in whole numbers.

    counts : (n_clips, n_values)
    enough : which clips have a panel, (n_clips,)
    """
    scale = labels.scale
    values = np.array(scale.values)
    n = counts.sum(axis=1)
    total = counts @ values
    squares = counts @ (values * values)
    with np.errstate(invalid="ignore", divide="ignore"):
        labels.label = np.where(enough, total / n, np.nan)
        labels.spread = np.where(enough, np.sqrt(n * squares - total * total) / n, np.nan)
    labels.median = np.where(enough, _medians(counts, values), np.nan)
    labels.majority = np.where(enough, _majorities(counts, values), np.nan)
    pairs = {pair: _classify(*pair, scale, policy) for pair in set(zip(total[enough], n[enough], strict=True))}
    for clip in np.flatnonzero(enough).tolist():
        labels.label_class[clip], between = pairs[total[clip], n[clip]]
        labels.n_between += between


def _label_means(
    labels: ConditionLabels, clip: NDArray[np.int64], values: NDArray[np.float64], enough: NDArray[np.bool_]
) -> None:
    """Fill in the labels of a continuous scale: mean, spread and median of each clip's ratings."""
    rows = np.lexsort((values, clip))  # sums are taken in one order, whatever that of the ratings
    clip, values = clip[rows], values[rows]
    n = np.maximum(labels.n.astype(np.int64), 1)
    mean = np.bincount(clip, weights=values, minlength=len(n)) / n
    variance = np.bincount(clip, weights=(values - mean[clip]) ** 2, minlength=len(n)) / n
    first = np.searchsorted(clip, np.arange(len(n)))
    last = max(len(values) - 1, 0)
    middle = [values[np.minimum(first + (n - 1 + odd) // 2, last)] for odd in (0, 1)] if len(values) else [mean, mean]
    labels.label = np.where(enough, mean, np.nan)
    labels.spread = np.where(enough, np.sqrt(variance), np.nan)
    labels.median = np.where(enough, (middle[0] + middle[1]) / 2, np.nan)


def _label_words(labels: ConditionLabels, counts: NDArray[np.int64], enough: NDArray[np.bool_]) -> None:
    """Fill in the labels of a nominal scale: the most frequent word; none, with the reason, where two are."""
    names = labels.scale.names
    for clip in np.flatnonzero(enough).tolist():
        own = counts[clip]
        first = np.flatnonzero(own == own.max()).tolist()
        if len(first) == 1:
            labels.label_class[clip] = names[first[0]]
            labels.share[clip] = own[first[0]] / own.sum()
        else:
            tied = " and ".join(names[number] for number in first)
            labels.kind[clip], labels.reason[clip] = "tie", f"tie: {tied}, {own.max()} of {own.sum()} ratings each"


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
    kind = OUTSIDE if n + others[OUTSIDE] >= policy.fewest else "too few ratings"
    return kind, f"{n} of {policy.panel} ratings: {', '.join(parts)}"


def compare_methods(labels: ConditionLabels) -> dict[str, dict[str, Any]]:
    """Return how far median, majority and the weighed methods lie from the label: whether the choice matters.

    For each: clips with both, how many change class (None on a scale without classes), how many have no value of this
    kind, and the mean distance (None on a nominal scale, where methods have classes alone).
    """
    result: dict[str, dict[str, Any]] = {}
    if labels.scale.kind == "nominal":
        for name, classes in labels.weighed.items():
            if classes.dtype == object:
                has = np.array([[own is not None for own in column] for column in (labels.label_class, classes)])
                both = has.all(axis=0)
                result[name.removesuffix("_class")] = {
                    "clips": int(both.sum()),
                    "without_value": int((has[0] & ~both).sum()),
                    "other_class": int((classes[both] != labels.label_class[both]).sum()),
                    "mean_distance": None,
                }
        return result
    majority = {"majority": labels.majority} if labels.scale.kind == "ordinal" else {}
    candidates = {"median": labels.median, **majority, **labels.weighed}
    labelled, has_classes = ~np.isnan(labels.label), bool(class_names(labels.scale))
    for name, values in candidates.items():
        both = labelled & ~np.isnan(values)
        classes = classes_of_values(values, labels.scale)
        result[name] = {
            "clips": int(both.sum()),
            "without_value": int((labelled & ~both).sum()),
            "other_class": int((classes[both] != labels.label_class[both]).sum()) if has_classes else None,
            "mean_distance": float(np.abs(values[both] - labels.label[both]).mean()) if both.any() else None,
        }
    return result
