"""labels.parquet as imports write it: one row per clip, a label per condition, the split, the scales."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.clip import split_utterance_id
from fmltk.toolkit.conditions import CONDITIONS, Scale
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def write_labels(
    path: Path,
    utterance_ids: Sequence[str],
    labels: Mapping[str, NDArray[np.float64]],
    splits: Sequence[str | None],
    scale: Scale,
    *,
    source: str,
) -> None:
    """Write labels.parquet, sorted by utterance_id.

    labels : by condition, float64 (n,), NaN where there is none; a condition that is absent has a column of nulls
    """
    import pyarrow as pa

    from fmltk.toolkit.io.parquet import encode_metadata, write_table

    order = sorted(range(len(utterance_ids)), key=lambda row: utterance_ids[row])
    ids = [utterance_ids[row] for row in order]
    parts = [split_utterance_id(utterance) for utterance in ids]
    columns = {
        "utterance_id": pa.array(ids, pa.string()),
        "video_id": pa.array([video for video, _ in parts], pa.string()),
        "clip_id": pa.array([clip for _, clip in parts], pa.string()),
    }
    for condition in CONDITIONS:
        values = labels.get(condition, np.full(len(ids), np.nan))[order]
        columns[f"label_{condition}"] = pa.array(values, mask=np.isnan(values))
    columns["split"] = pa.array([splits[row] for row in order], pa.string())
    scales = {name: str(scale) for name, values in labels.items() if not np.isnan(values).all()}
    document = {"schema_version": 1, "scales": scales, "source": source}
    write_table(pa.table(columns).replace_schema_metadata(encode_metadata(document)), path)


def find_labels(features: Path) -> Path:
    """Return labels.parquet in the features folder, else beside it. Raises ConfigError if there is none."""
    if not features.is_dir():
        raise ConfigError(f"{features} is no folder; name what `fmltk extract` or `fmltk dataset import` wrote")
    for path in (features / "labels.parquet", features.parent / "labels.parquet"):
        if path.is_file():
            return path
    raise ConfigError(
        f"there is no labels.parquet in {features} or beside it; name one with --labels "
        "(`fmltk annotation aggregate` and `fmltk dataset import` write such files)"
    )


def check_target(out: Path) -> None:
    """Raise ConfigError where a folder holds what `extract` or `train` made: an import would mix with it."""
    for name, what in (("shards", "features of `fmltk extract`"), ("config.toml", "a run of `fmltk train`")):
        if (out / name).exists():
            raise ConfigError(f"{out} holds {what}; name another folder with -o")


def read_label_columns(path: Path) -> tuple[list[str], dict[str, NDArray[np.float64]], list[str | None]]:
    """Return (utterance_ids, labels by condition float64 (n,) with NaN, splits) of a labels.parquet.

    Raises StoreError if the file is none.
    """
    from fmltk.toolkit.errors import StoreError
    from fmltk.toolkit.io.parquet import open_parquet, reading

    with open_parquet(path, what="labels.parquet") as file, reading(path):
        table = file.read()
        if "utterance_id" not in table.column_names or "label_M" not in table.column_names:
            raise StoreError(f"{path} is no label table: it lacks utterance_id or label_M")
        ids = table["utterance_id"].to_pylist()
        labels = {}
        for condition in CONDITIONS:
            name = f"label_{condition}"
            values = table[name].to_pylist() if name in table.column_names else [None] * len(ids)
            labels[condition] = np.array([np.nan if value is None else value for value in values], np.float64)
        splits = table["split"].to_pylist() if "split" in table.column_names else [None] * len(ids)
    return ids, labels, splits


def guess_scale(labels: Mapping[str, NDArray[np.float64]]) -> Scale:
    """Return -1..1 where every label fits it, else -3..3."""
    largest = max((float(np.nanmax(np.abs(v))) for v in labels.values() if np.isfinite(v).any()), default=0.0)
    return Scale(-1, 1) if largest <= 1 else Scale(-3, 3)


def exact_decimal(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return float32 labels as the decimals that they were written as: 0.6, not 0.6000000238; NaN stays.

    The shortest decimal of a float32 turns back into the same float32, so nothing is lost.

    >>> exact_decimal(np.array([0.6], np.float32)).tolist()
    [0.6]
    """
    if values.dtype == np.float32:
        return np.array([float(str(value)) for value in values.ravel()], np.float64)
    return np.asarray(values, np.float64).ravel()
