"""What imports share: the folder that they may write, and what they say that they read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.toolkit.features.label_table import LabelTable


@dataclass(frozen=True)
class ImportSummary:
    """What an import read: clips per split, L and dimension per modality, labelled clips per condition, remarks."""

    splits: dict[str, int]
    shapes: dict[str, tuple[int, int]]
    labels: dict[str, int]
    scale: str
    remarks: tuple[str, ...]


def check_target(out: Path) -> None:
    """Raise ConfigError where a folder holds what `extract` or `train` made: an import would mix with it."""
    for name, what in (("shards", "features of `fmltk extract`"), ("config.toml", "a run of `fmltk train`")):
        if (out / name).exists():
            raise ConfigError(f"{out} holds {what}; name another folder with -o")


def label_counts(labels: LabelTable) -> dict[str, int]:
    """Return how many labels each condition has that has any."""
    counts = {name: int(np.isfinite(labels.values(name)).sum()) for name in CONDITIONS}
    return {name: n for name, n in counts.items() if n}
