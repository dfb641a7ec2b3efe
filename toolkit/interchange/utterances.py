"""A table with one feature vector per clip and modality, as a feature folder of one-step sequences.

Such tables hold utterance-level features: columns video_id, clip_id, label, text, audio, vision (lists of numbers), and
optionally split, transcript and label_T, label_A, label_V, label_AT, label_VT, label_AV.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.clip import MODALITIES, SPLITS
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.clip_row import OK, ClipRow, ModalityStatus
from fmltk.toolkit.features.label_file import LABEL_FILE, read_labels, write_labels
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.interchange.mmsa import ImportSummary, check_target, label_counts
from fmltk.toolkit.io.parquet import open_parquet, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    with open_parquet(path, what="table of utterances") as file, reading(path):
        table = file.read()
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise StoreError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}")
    labels = read_labels(path, scales=None if scale is None else dict.fromkeys(CONDITIONS, scale))
    labels = replace(labels, metadata={"source": path.name})
    out.mkdir(parents=True, exist_ok=True)
    remarks: list[str] = []
    shapes = {m: _write(m, labels.utterance_ids, table, out, path, non_finite, remarks) for m in MODALITIES}
    write_labels(labels, out / LABEL_FILE)
    texts = _strings(table, "transcript") if "transcript" in table.column_names else [None] * table.num_rows
    _write_manifest(out / "manifest.parquet", labels, texts, path)
    splits = {split: labels.splits.count(split) for split in SPLITS if split in labels.splits}
    return ImportSummary(
        splits or {"without split": table.num_rows}, shapes, label_counts(labels), str(labels.scale), tuple(remarks)
    )


def _strings(table: pa.Table, name: str) -> list[str | None]:
    return [None if value is None else str(value) for value in table[name].to_pylist()]


def _write(
    modality: str,
    ids: Sequence[str],
    table: pa.Table,
    out: Path,
    path: Path,
    non_finite: str,
    remarks: list[str],
) -> tuple[int, int]:
    rows = table[modality].to_pylist()
    widths = {len(row) for row in rows if row is not None}
    if len(widths) != 1:
        raise StoreError(f"{path}: the {modality} vectors have different lengths: {sorted(widths)}")
    values = {u: np.array(row, np.float32)[None] for u, row in zip(ids, rows, strict=True) if row is not None}
    bad = [utterance for utterance, value in values.items() if not np.isfinite(value).all()]
    if bad and non_finite == "refuse":
        raise StoreError(
            f"{path}: {len(bad)} {modality} vectors hold NaN or infinities, the first is {bad[0]!r}; "
            "--non-finite zero writes 0 for them"
        )
    if bad:
        remarks.append(f"{len(bad)} {modality} vectors held NaN or infinities; 0 was written for them")
    width = widths.pop()
    document: dict[str, object] = {"feature_names": [], "rate_hz": None, "source": path.name}
    with ModalityWriter(out / f"{modality}.parquet", ModalitySpec(modality, width, 1, False, document)) as writer:
        for utterance in sorted(values):
            writer.append(utterance, np.nan_to_num(values[utterance], nan=0.0, posinf=0.0, neginf=0.0))
    return 1, width


def _write_manifest(path: Path, labels: LabelTable, texts: Sequence[str | None], source: Path) -> None:
    rows = zip(
        labels.utterance_ids, labels.video_ids, labels.table["clip_id"].to_pylist(), texts, labels.splits, strict=True
    )
    with ManifestWriter(path, {"source": source.name, "format": "utterances"}) as manifest:
        for utterance, video, clip, text, split in sorted(rows, key=lambda row: row[0]):
            row = ClipRow(
                utterance_id=utterance,
                video_id=video,
                clip_id=clip,
                source=source.name,
                split=split,
                text=text,
                status=OK,
                modalities=dict.fromkeys(MODALITIES, ModalityStatus(OK, 1)),
            )
            manifest.append(row)
