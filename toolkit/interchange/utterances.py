"""A table with one feature vector per clip and modality, as a feature folder of one-step sequences.

Such tables hold utterance-level features: columns video_id, clip_id, label, text, audio, vision (lists of numbers), and
optionally split, transcript and label_T, label_A, label_V, label_AT, label_VT, label_AV.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.clip import MODALITIES, SPLITS
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.clip_row import OK, ClipRow, ModalityStatus
from fmltk.toolkit.features.label_file import LABEL_FILE, read_labels, write_labels
from fmltk.toolkit.features.layout import check_target
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.interchange.importing import ImportSummary, label_counts
from fmltk.toolkit.io.parquet import open_parquet_table, read_table, reading

if TYPE_CHECKING:
    import pyarrow as pa

    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.features.label_table import LabelTable

REQUIRED = ("video_id", "clip_id", "label", *MODALITIES)


def import_utterances(
    path: str | Path, out: str | Path, *, non_finite: str = "refuse", scale: Scale | None = None
) -> ImportSummary:
    """Turn a Parquet table of utterance-level features into a feature folder with labels.parquet.

    Raises StoreError if a column is missing, rows differ in length, or a value is not finite, and AnnotationError if
    the labels have a fault (see `label_faults`).
    """
    path, out = Path(path), Path(out)
    check_target(out)
    with open_parquet_table(path, what="table of utterances") as file, reading(path):
        table = read_table(file, path)
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise StoreError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}")
    labels = read_labels(path, scales=None if scale is None else dict.fromkeys(CONDITIONS, scale))
    labels = replace(labels, metadata={"source": path.name})
    source = _Source(path, table, labels)
    out.mkdir(parents=True, exist_ok=True)
    written = {modality: _write_modality(modality, source, out, non_finite) for modality in MODALITIES}
    write_labels(labels, out / LABEL_FILE)
    _write_manifest(out / "manifest.parquet", source)
    splits = {split: labels.splits.count(split) for split in SPLITS if split in labels.splits}
    return ImportSummary(
        splits or {"without split": table.num_rows},
        {modality: (1, width) for modality, (width, _) in written.items()},
        label_counts(labels),
        str(labels.scale),
        tuple(
            f"{n} {modality} vectors held NaN or infinities; 0 was written for them"
            for modality, (_, n) in written.items()
            if n
        ),
    )


@dataclass(frozen=True)
class _Source:
    """A table that is imported, and its labels: one row per clip."""

    path: Path
    table: pa.Table
    labels: LabelTable


def _write_modality(modality: str, source: _Source, out: Path, non_finite: str) -> tuple[int, int]:
    """Write one modality's file; return (dimension, vectors in which 0 was written for NaN and infinities)."""
    rows = source.table[modality].to_pylist()
    widths = {len(row) for row in rows if row is not None}
    if len(widths) != 1:
        raise StoreError(f"{source.path}: the {modality} vectors have different lengths: {sorted(widths)}")
    ids = source.labels.utterance_ids
    values = {u: np.array(row, np.float32)[None] for u, row in zip(ids, rows, strict=True) if row is not None}
    bad = [utterance for utterance, value in values.items() if not np.isfinite(value).all()]
    if bad and non_finite == "refuse":
        raise StoreError(
            f"{source.path}: {len(bad)} {modality} vectors hold NaN or infinities, the first is {bad[0]!r}; "
            "--non-finite zero writes 0 for them"
        )
    width = widths.pop()
    document: dict[str, object] = {"feature_names": [], "rate_hz": None, "source": source.path.name}
    with ModalityWriter(out / f"{modality}.parquet", ModalitySpec(modality, width, 1, False, document)) as writer:
        for utterance in sorted(values):
            writer.append(utterance, np.nan_to_num(values[utterance], nan=0.0, posinf=0.0, neginf=0.0))
    return width, len(bad)


def _write_manifest(path: Path, source: _Source) -> None:
    labels = source.labels
    texts: list[str | None] = [None] * source.table.num_rows
    if "transcript" in source.table.column_names:
        texts = [None if value is None else str(value) for value in source.table["transcript"].to_pylist()]
    rows = zip(
        labels.utterance_ids, labels.video_ids, labels.table["clip_id"].to_pylist(), texts, labels.splits, strict=True
    )
    with ManifestWriter(path, {"source": source.path.name, "format": "utterances"}) as manifest:
        for utterance, video, clip, text, split in sorted(rows, key=lambda row: row[0]):
            row = ClipRow(
                utterance_id=utterance,
                video_id=video,
                clip_id=clip,
                source=source.path.name,
                split=split,
                text=text,
                status=OK,
                modalities=dict.fromkeys(MODALITIES, ModalityStatus(OK, 1)),
            )
            manifest.append(row)
