"""What a set of labels looks like: the paper's tables 1 and 2, figure 2, and how often conditions differ in sign."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.classes import class_names
from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.conditions import CONDITIONS, UNIMODAL

if TYPE_CHECKING:
    from fmltk.toolkit.features.label_table import LabelTable

NO_SPLIT = "none"


def summarise_labels(labels: LabelTable) -> dict[str, Any]:
    """Return the summary of a label table, as JSON can hold it.

    sizes: clips per split (paper, table 1). classes: clips per class of each condition (table 2); by_split: the same
    within each split (figure 2). null: clips without a label, by condition. signs: of each pair of conditions, how
    many clips have both labels and how many of these differ in sign; three_signs: the clips whose T, A and V have
    three different signs.
    """
    parts = [part or NO_SPLIT for part in labels.splits]
    present = [condition for condition in CONDITIONS if condition in labels.scales]
    classes = {condition: labels.classes(condition) for condition in present}
    used = [part for part in (*SPLITS, NO_SPLIT) if part in parts]
    return {
        "sizes": {**{part: parts.count(part) for part in used}, "total": len(parts)},
        "scales": {condition: str(labels.scales[condition]) for condition in present},
        "classes": {condition: _count(labels, condition, classes[condition]) for condition in present},
        "by_split": {
            part: {
                condition: _count(
                    labels,
                    condition,
                    [name for name, own in zip(classes[condition], parts, strict=True) if own == part],
                )
                for condition in present
            }
            for part in used
        },
        "null": {condition: int(np.isnan(labels.values(condition)).sum()) for condition in present},
        **_signs(labels, present),
    }


def _count(labels: LabelTable, condition: str, classes: list[str | None]) -> dict[str, int]:
    return {name: classes.count(name) for name in class_names(labels.scales[condition])}


def _signs(labels: LabelTable, present: list[str]) -> dict[str, Any]:
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
