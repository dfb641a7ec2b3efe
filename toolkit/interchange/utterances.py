"""A table with one feature vector per clip and modality, as a feature folder of one-step sequences.

Such tables hold utterance-level features: columns video_id, clip_id, label, text, audio, vision (lists of numbers), and
optionally split, transcript and label_T, label_A, label_V, label_AT, label_VT, label_AV.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.clip import MODALITIES, utterance_id
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.clip_row import OK, ClipRow, ModalityStatus
from fmltk.toolkit.features.label_file import check_target, guess_scale, write_labels
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.interchange.mmsa import SPLITS, ImportSummary
from fmltk.toolkit.io.parquet import open_parquet, reading

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale

REQUIRED = ("video_id", "clip_id", "label", *MODALITIES)


def import_utterances(
    path: str | Path, out: str | Path, *, non_finite: str = "refuse", scale: Scale | None = None
) -> ImportSummary:
    """Turn a Parquet table of utterance-level features into a feature folder with labels.parquet.

    Raises StoreError if a column is missing, rows differ in length, a split is unknown, or a value is not finite.
    """
    path, out = Path(path), Path(out)
    check_target(out)
    with open_parquet(path, what="table of utterances") as file, reading(path):
        table = file.read()
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        raise StoreError(f"{path} lacks the columns {', '.join(missing)}; it has {', '.join(table.column_names)}")
    videos, clips = (_strings(table, name) for name in ("video_id", "clip_id"))
    ids = [utterance_id(video, clip) for video, clip in zip(videos, clips, strict=True)]
    if len(set(ids)) != len(ids):
        raise StoreError(f"{path}: clip {next(u for u in ids if ids.count(u) > 1)!r} occurs twice")
    splits = _strings(table, "split") if "split" in table.column_names else [None] * len(ids)
    unknown = {split for split in splits if split is not None} - set(SPLITS)
    if unknown:
        raise StoreError(f"{path}: split {sorted(unknown)[0]!r} is none of {', '.join(SPLITS)}")
    labels = _labels(table)
    scale = scale or guess_scale(labels)
    out.mkdir(parents=True, exist_ok=True)
    remarks: list[str] = []
    shapes = {m: _write(m, ids, table, out, path, non_finite, remarks) for m in MODALITIES}
    write_labels(out / "labels.parquet", ids, labels, splits, scale, source=path.name)
    texts = _strings(table, "transcript") if "transcript" in table.column_names else [None] * len(ids)
    _write_manifest(out / "manifest.parquet", ids, videos, clips, texts, splits, path)
    counts = {condition: int(np.isfinite(values).sum()) for condition, values in labels.items()}
    named = {split: splits.count(split) for split in SPLITS if split in splits} or {"without split": len(ids)}
    return ImportSummary(named, shapes, counts, str(scale), tuple(remarks))


def _strings(table: pa.Table, name: str) -> list[Any]:
    return [None if value is None else str(value) for value in table[name].to_pylist()]


def _labels(table: pa.Table) -> dict[str, NDArray[np.float64]]:
    labels = {}
    for condition in CONDITIONS:
        name = "label" if condition == "M" else f"label_{condition}"
        if name in table.column_names:
            values = [np.nan if value is None else float(value) for value in table[name].to_pylist()]
            labels[condition] = np.array(values, np.float64)
    return labels


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


def _write_manifest(
    path: Path,
    ids: Sequence[str],
    videos: Sequence[str],
    clips: Sequence[str],
    texts: Sequence[str | None],
    splits: Sequence[str | None],
    source: Path,
) -> None:
    with ManifestWriter(path, {"source": source.name, "format": "utterances"}) as manifest:
        for k in sorted(range(len(ids)), key=lambda k: ids[k]):
            row = ClipRow(
                utterance_id=ids[k],
                video_id=videos[k],
                clip_id=clips[k],
                source=source.name,
                split=splits[k],
                text=texts[k],
                status=OK,
                modalities=dict.fromkeys(MODALITIES, ModalityStatus(OK, 1)),
            )
            manifest.append(row)
