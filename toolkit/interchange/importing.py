"""Reports of imports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.conditions import CONDITIONS

if TYPE_CHECKING:
    from fmltk.toolkit.features.label_table import LabelTable


@dataclass(frozen=True)
class ImportSummary:
    """The report of an import: clips per split, L and dimension per modality, labelled clips per condition, remarks.

    unread : the entries that are kept for an export alone
    """

    splits: dict[str, int]
    shapes: dict[str, tuple[int, int]]
    labels: dict[str, int]
    scale: str
    remarks: tuple[str, ...]
    unread: tuple[str, ...] = ()


def label_counts(labels: LabelTable) -> dict[str, int]:
    """Return how many labels each condition has that has any."""
    counts = {name: int(np.isfinite(labels.values(name)).sum()) for name in CONDITIONS}
    return {name: n for name, n in counts.items() if n}
