"""Whether labels are those that their ratings give, so that a release does not contradict itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.annotation.aggregate import aggregate_ratings
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.settings import Policy
from fmltk.toolkit.errors import AnnotationError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.toolkit.features.label_table import LabelTable

_TOLERANCE = 1e-6  # of labels that were read from a file
_REMEDY = "give the ratings that the labels were made of, or run `fmltk annotation aggregate` again"


@dataclass(frozen=True)
class Origin:
    """Labels compared with the ratings that they are published with.

    is_compared : whether the labels say how they were made, so that they could be made again
    unrated : how many labels of each condition no rating explains: they came with the data set, or ratings are missing
    """

    is_compared: bool
    unrated: Mapping[str, int]


def policy_of(labels: LabelTable) -> Policy | None:
    """Return how labels say that they were made of ratings; None where they do not say it, or nobody understands it."""
    stored = labels.metadata.get("policy")
    if not isinstance(stored, dict):
        return None
    try:
        return Policy.stored(stored)
    except (ConfigError, TypeError, ValueError):  # of another program, or changed by hand
        return None


def compare_with_ratings(labels: LabelTable, ratings: pa.Table) -> Origin:
    """Make the labels again, by their own policy, and compare.

    Raises AnnotationError if a label that was made of ratings is not the one that these give.
    """
    policy = policy_of(labels)
    pairs = zip(labels.video_ids, labels.table["clip_id"].to_pylist(), strict=True)
    clips = dict(zip(labels.utterance_ids, pairs, strict=True))
    again = join_labels(aggregate_ratings(ratings, policy, clips=clips), None)
    rows = {name: row for row, name in enumerate(again.utterance_ids)}
    order = np.array([rows[name] for name in labels.utterance_ids], np.int64)
    unrated, different, n_compared = {}, [], 0
    for condition, scale in labels.scales.items():
        has = labels.labelled(condition)
        explained = _n_ratings(again, condition)[order] > 0
        if np.any(has & ~explained):
            unrated[condition] = int(np.sum(has & ~explained))
        compared = has & explained & (_n_ratings(labels, condition) > 0)
        if policy is None or not compared.any():
            continue
        if again.scales[condition] != scale:
            raise AnnotationError(
                f"{condition} is on the scale {scale} in LABELS and {again.scales[condition]} in RATINGS; {_REMEDY}"
            )
        n_compared += int(compared.sum())
        own, new = _answers(labels, condition), _answers(again, condition)[order]
        is_other = np.array([not _same(*pair) for pair in zip(own, new, strict=True)], bool)
        different += [(condition, row, own[row], new[row]) for row in np.flatnonzero(compared & is_other).tolist()]
    if different:
        condition, row, own, new = different[0]
        raise AnnotationError(
            f"{len(different)} of {n_compared} labels are not what RATINGS give: {condition} of "
            f"{labels.utterance_ids[row]} is {_said(own)} in LABELS, and {_said(new)} by its ratings; {_REMEDY}"
        )
    return Origin(policy is not None, unrated)


def _n_ratings(labels: LabelTable, condition: str) -> NDArray[np.float64]:
    """Return how many ratings each label is made of, shape (n_clips,); 0 of a label that came with a data set."""
    name = f"n_{condition}"
    if name not in labels.table.column_names:
        return np.zeros(labels.table.num_rows)
    counts = np.asarray(labels.table[name].to_numpy(zero_copy_only=False), dtype=np.float64)
    return np.nan_to_num(counts)


def _answers(labels: LabelTable, condition: str) -> NDArray[np.object_]:
    """Return the label of each clip: a number or, on a nominal scale, a word."""
    is_nominal = labels.scales[condition].kind == "nominal"
    return np.array(labels.classes(condition) if is_nominal else labels.values(condition), dtype=object)


def _same(own: float | str | None, new: float | str | None) -> bool:
    if isinstance(own, float) and isinstance(new, float):
        return abs(own - new) <= _TOLERANCE
    return own == new


def _said(answer: float | str | None) -> str:
    if isinstance(answer, float):
        return "missing" if np.isnan(answer) else f"{answer:g}"
    return "missing" if answer is None else answer
