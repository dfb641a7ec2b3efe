"""The look of a set of labels: the paper's tables 1 and 2, figure 2, and how often conditions differ in sign."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.classes import class_names
from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.conditions import CONDITIONS, UNIMODAL

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.features.label_table import LabelTable

NO_SPLIT = "none"
NUMBER_FIGURES = ("mean", "spread", "least", "first quarter", "median", "third quarter", "greatest")


def summarise_labels(labels: LabelTable) -> dict[str, Any]:
    """Return the summary of a label table, as JSON can hold it.

    sizes: clips per split (paper, table 1). classes: clips per class of each condition (table 2); by_split: the same
    within each split (figure 2). numbers: mean, spread and quartiles of the labels of each scale that has no classes.
    null: clips without a label, by condition. signs: of each pair of conditions, how
    many clips have both labels and how many of these differ in sign, where both scales have signs; three_signs: the
    clips whose T, A and V have three different signs.
    """
    parts = [part or NO_SPLIT for part in labels.splits]
    present = [condition for condition in CONDITIONS if condition in labels.scales]
    classes = {condition: labels.classes(condition) for condition in present}
    used = [part for part in (*SPLITS, NO_SPLIT) if part in parts]
    return {
        "sizes": {**{part: parts.count(part) for part in used}, "total": len(parts)},
        "scales": {condition: str(labels.scales[condition]) for condition in present},
        "classes": {condition: count_classes(classes[condition], labels.scales[condition]) for condition in present},
        "by_split": {
            part: {
                condition: count_classes(
                    [name for name, own in zip(classes[condition], parts, strict=True) if own == part],
                    labels.scales[condition],
                )
                for condition in present
            }
            for part in used
        },
        "numbers": {
            condition: describe_numbers(labels.values(condition))
            for condition in present
            if not class_names(labels.scales[condition])
        },
        "null": {condition: int((~labels.labelled(condition)).sum()) for condition in present},
        **_signs(labels, present),
    }


def describe_numbers(values: NDArray[np.float64]) -> dict[str, float | None]:
    """Return mean, population standard deviation, least, quartiles and greatest of what is not NaN; None without any.

    >>> describe_numbers(np.array([1.0, 2.0, 3.0, np.nan]))["mean"]
    2.0
    """
    known = values[~np.isnan(values)]
    if not known.size:
        return dict.fromkeys(NUMBER_FIGURES)
    figures = (known.mean(), known.std(), *np.percentile(known, (0, 25, 50, 75, 100)))
    return dict(zip(NUMBER_FIGURES, map(float, figures), strict=True))


def count_classes(classes: list[str | None], scale: Scale) -> dict[str, int]:
    """Return how many clips have each class of a scale; nothing where it has none."""
    return {name: classes.count(name) for name in class_names(scale)}


def _signs(labels: LabelTable, present: list[str]) -> dict[str, Any]:
    present = [condition for condition in present if labels.scales[condition].has_signs]
    signs = {condition: np.sign(labels.values(condition)) for condition in present}
    pairs = {}
    for first, second in combinations(present, 2):
        both = ~np.isnan(signs[first]) & ~np.isnan(signs[second])
        differ = int((signs[first][both] != signs[second][both]).sum())
        pairs[f"{first}-{second}"] = {"clips": int(both.sum()), "differ": differ}
    if not set(UNIMODAL) <= set(present):
        return {"signs": pairs, "three_signs": None}
    text, audio, vision = (signs[condition] for condition in UNIMODAL)
    known = ~np.isnan(text + audio + vision)
    different = (text != audio) & (audio != vision) & (text != vision)
    return {"signs": pairs, "three_signs": int((known & different).sum())}
