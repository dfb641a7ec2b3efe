"""The labels that data sets ship: MMSA's label.csv with M, T, A, V and the split."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.clip import composed, utterance_id
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.tables import read_rows

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fmltk.toolkit.conditions import Scale

COLUMNS = {"M": "label", "T": "label_T", "A": "label_A", "V": "label_V"}
_PARTS = {"train": "train", "valid": "valid", "val": "valid", "dev": "valid", "test": "test"}


@dataclass
class ShippedLabels:
    """What a label.csv holds, by utterance_id: ids, labels by condition, split. Blank cells are absent."""

    ids: dict[str, tuple[str, str]] = field(default_factory=dict)
    labels: dict[str, dict[str, float]] = field(default_factory=lambda: {name: {} for name in COLUMNS})
    splits: dict[str, str] = field(default_factory=dict)


def read_shipped(path: Path, *, scales: Mapping[str, Scale], encoding: str | None = None) -> ShippedLabels:
    """Read a label.csv: video_id, clip_id, label, label_T, label_A, label_V, mode; the labels and mode may be absent.

    Raises AnnotationError if ids are missing or occur twice, or a label is no number of its condition's scale.
    """
    shipped = ShippedLabels()
    for where, row in read_rows(path, encoding=encoding):
        video_id, clip_id = row.get("video_id"), row.get("clip_id")
        if not video_id or not clip_id:
            raise AnnotationError(f"{where} has no video_id or clip_id; a label table needs both")
        video_id, clip_id = composed(video_id), composed(clip_id)
        key = utterance_id(video_id, clip_id)
        if key in shipped.ids:
            raise AnnotationError(f"{where} repeats the clip {key}; keep one of its rows")
        shipped.ids[key] = video_id, clip_id
        for condition, column in COLUMNS.items():
            text = (row.get(column) or "").strip()
            if text:
                shipped.labels[condition][key] = _number(text, scales[condition], f"{where}, {column}", condition)
        part = (row.get("mode") or "").strip().lower()
        if part:
            if part not in _PARTS:
                raise AnnotationError(f"{where}: mode {part!r} is none of train, valid, test")
            shipped.splits[key] = _PARTS[part]
    if not shipped.ids:
        raise AnnotationError(f"{path} holds no clip")
    return shipped


def _number(text: str, scale: Scale, where: str, condition: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not scale.low <= value <= scale.high:
        raise AnnotationError(
            f"{where}: {text!r} is no number of the scale {scale}; give the right one by --preset mosi or "
            f"--scale {condition}=LOW..HIGH"
        )
    return value
