"""Small feature folders and label tables with known content."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from fmltk.toolkit.clip import split_utterance_id, utterance_id
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.io.parquet import write_table

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

CONDITIONS = ("M", "T", "A", "V", "AT", "VT", "AV")
NAMES = {"T": "text", "A": "audio", "V": "vision"}


@dataclass
class Clips:
    """n clips: per modality a sequence each (None where missing), labels by condition, splits."""

    ids: list[str]
    sequences: dict[str, list[NDArray[np.float32] | None]]
    labels: dict[str, NDArray[np.float64]]
    splits: list[str | None]
    lengths: dict[str, int]
    scale: str = "-1..1"
    masks: dict[str, NDArray[np.bool_]] = field(default_factory=dict)  # by utterance_id, vision only


def planted(
    n: int = 240,
    *,
    seed: int = 0,
    dims: tuple[int, int, int] = (12, 8, 10),
    noise: float = 0.5,
    n_videos: int = 40,
    splits: bool = True,
) -> Clips:
    """Clips whose modalities carry signals of their own, in conflict by design.

    Each modality's latent sentiment is drawn apart from the others'; a bimodal label is the mean of its two, the
    multimodal one follows the strongest of the three, so that no modality can be learned from it alone.
    """
    rng = np.random.default_rng(seed)
    latent = {m: rng.uniform(-1, 1, n) for m in "TAV"}
    labels = {m: np.round(latent[m] * 5) / 5 for m in "TAV"}
    for pair in ("AT", "VT", "AV"):
        labels[pair] = np.round((latent[pair[0]] + latent[pair[1]]) / 2 * 5) / 5
    stacked = np.stack([latent[m] for m in "TAV"])
    labels["M"] = np.round(stacked[np.abs(stacked).argmax(axis=0), np.arange(n)] * 5) / 5
    sequences: dict[str, list[NDArray[np.float32] | None]] = {}
    for m, d in zip("TAV", dims, strict=True):
        direction = rng.normal(0, 1, d)
        sequences[m] = []
        for value in latent[m]:
            steps = int(rng.integers(3, 9))
            frames = value * direction + rng.normal(0, noise * np.sqrt(steps), (steps, d)) * (1 if m != "T" else 0.3)
            sequences[m].append(frames.astype(np.float32))
    ids = [utterance_id(f"v{k % n_videos:03d}", f"{k:04d}") for k in range(n)]
    names = ["test" if (k % n_videos) % 5 == 0 else "valid" if (k % n_videos) % 5 == 1 else "train" for k in range(n)]
    return Clips(ids, sequences, labels, list(names) if splits else [None] * n, {"T": 8, "A": 8, "V": 8})


def write_clips(clips: Clips, folder: Path, *, manifest_splits: Sequence[str | None] | None = None) -> Path:
    """Write a features folder with labels.parquet in it; return the folder."""
    order = sorted(range(len(clips.ids)), key=lambda k: clips.ids[k])
    rows = []
    for k in order:
        video, clip = split_utterance_id(clips.ids[k])
        row: dict[str, object] = {
            "utterance_id": clips.ids[k],
            "video_id": video,
            "clip_id": clip,
            "text": f"sentence {k}",
            "status": "ok",
            "split": manifest_splits[k] if manifest_splits else None,
        }
        for m, name in NAMES.items():
            sequence = clips.sequences[m][k]
            row[f"{name}_status"] = "missing" if sequence is None else "ok"
            row[f"{name}_length"] = None if sequence is None else len(sequence)
            row[f"{name}_error_message"] = "no such stream" if sequence is None else None
        rows.append(row)
    with ManifestWriter(folder / "manifest.parquet", {}) as manifest:
        for row in rows:
            manifest.append(ClipRow.from_columns(row))
    for m, name in NAMES.items():
        first = next(s for s in clips.sequences[m] if s is not None)
        document = {"feature_names": [f"{name}_{j}" for j in range(first.shape[1])] if m != "T" else []}
        spec = ModalitySpec(name, first.shape[1], clips.lengths[m], m == "V", document)
        with ModalityWriter(folder / f"{name}.parquet", spec) as writer:
            for k in order:
                sequence = clips.sequences[m][k]
                if sequence is not None:
                    writer.append(clips.ids[k], sequence, clips.masks.get(clips.ids[k]) if m == "V" else None)
    write_labels(clips, folder / "labels.parquet")
    return folder


def write_labels(clips: Clips, path: Path) -> Path:
    """Write labels.parquet."""
    ids = [split_utterance_id(u) for u in clips.ids]
    columns: dict[str, object] = {
        "utterance_id": pa.array(clips.ids, pa.string()),
        "video_id": pa.array([v for v, _ in ids], pa.string()),
        "clip_id": pa.array([c for _, c in ids], pa.string()),
        "split": pa.array(clips.splits, pa.string()),
    }
    for c in CONDITIONS:
        values = clips.labels.get(c, np.full(len(clips.ids), np.nan))
        columns[f"label_{c}"] = pa.array(values, mask=~np.isfinite(values))
    metadata = {b"fmltk": json.dumps({"scales": dict.fromkeys(CONDITIONS, clips.scale)}).encode()}
    write_table(pa.table(columns).replace_schema_metadata(metadata), path)
    return path


def small_settings(*more: str) -> list[str]:
    """Settings that train in a moment."""
    return ["thid=8", "ahid=8", "vhid=8", "tout=8", "fdim=8", "tdim=8", "adim=8", "vdim=8", "max_epochs=4", *more]
