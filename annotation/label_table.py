"""labels.parquet: one row per clip, the seven conditions side by side, the split, and why a label is null."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from fmltk.annotation.classes import class_of_value, classes_of_values
from fmltk.annotation.ratings import column_names, read_table, write_table
from fmltk.toolkit.conditions import CONDITIONS, Scale
from fmltk.toolkit.errors import AnnotationError

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.annotation.aggregate import Aggregated
    from fmltk.annotation.shipped import ShippedLabels

METHODS = ("median", "majority", "dawid_skene")
NO_RATINGS = "no ratings"
NO_LABEL = "no label in the data set"
SHIPPED_COLUMNS = ("utterance_id", "video_id", "clip_id", *(f"label_{name}" for name in CONDITIONS), "split")


def labels_schema(extra: tuple[str, ...] = ()) -> pa.Schema:
    """Return the schema of labels.parquet; `extra` names columns of other methods, such as median_AT."""
    fields = [pa.field(name, pa.string(), nullable=False) for name in ("utterance_id", "video_id", "clip_id")]
    fields += [pa.field(f"label_{name}", pa.float64()) for name in CONDITIONS]
    fields += [pa.field(f"n_{name}", pa.int32()) for name in CONDITIONS]
    fields += [pa.field(f"spread_{name}", pa.float64()) for name in CONDITIONS]
    fields += [pa.field(f"class_{name}", pa.string()) for name in CONDITIONS]
    fields += [pa.field(f"reason_{name}", pa.string()) for name in CONDITIONS]
    fields += [pa.field("split", pa.string())]
    fields += [pa.field(name, pa.float64()) for name in extra]
    return pa.schema(fields)


@dataclass
class LabelTable:
    """Labels of all conditions for `table`'s clips, sorted by utterance_id.

    Attributes
    ----------
    table
        Columns of `labels_schema`.
    scales
        Of each condition that has a label.
    metadata
        What else is stored with the file: policy, split.
    """

    table: pa.Table
    scales: dict[str, Scale]
    metadata: dict[str, Any] = field(default_factory=dict)

    def values(self, condition: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the labels of a condition, float64, shape (n_clips,); NaN where there is none."""
        return np.asarray(self.table.column(f"label_{condition}").to_numpy(zero_copy_only=False), dtype=np.float64)

    def column(self, name: str) -> list[Any]:
        """Return a column as Python values."""
        values: list[Any] = self.table.column(name).to_pylist()
        return values


def join_labels(
    aggregated: Aggregated | None,
    shipped: ShippedLabels | None,
    *,
    shipped_scales: dict[str, Scale],
    prefer: str | None = None,
) -> LabelTable:
    """Return one table of aggregated and shipped labels, over the clips of both.

    prefer : "ratings" or "shipped", which counts where a clip has both for one condition

    Raises AnnotationError if a clip has both and `prefer` is None, if a condition's two scales differ, or there is no
    clip at all.
    """
    ids = {**(shipped.ids if shipped else {}), **(aggregated.ids if aggregated else {})}
    if not ids:
        raise AnnotationError("there is nothing to aggregate: no ratings and no labels")
    utterances = sorted(ids)
    columns: dict[str, list[Any]] = {
        "utterance_id": utterances,
        "video_id": [ids[name][0] for name in utterances],
        "clip_id": [ids[name][1] for name in utterances],
        "split": [None] * len(utterances),
    }
    scales: dict[str, Scale] = {}
    for condition in CONDITIONS:
        _add_rated(columns, condition, utterances, aggregated, scales)
        given = shipped.labels.get(condition, {}) if shipped else {}
        if given:
            _add_shipped(columns, condition, utterances, given, shipped_scales[condition], scales, prefer)
    extra = tuple(f"{m}_{c}" for m in METHODS for c in CONDITIONS if f"{m}_{c}" in columns)
    schema = labels_schema(extra)
    arrays = [pa.array(columns[name], schema.field(name).type, from_pandas=True) for name in schema.names]
    return LabelTable(pa.table(arrays, schema=schema), scales)


def _add_rated(
    columns: dict[str, list[Any]],
    condition: str,
    utterances: list[str],
    aggregated: Aggregated | None,
    scales: dict[str, Scale],
) -> None:
    names = ("label", "n", "spread", "class", "reason")
    rated = aggregated.conditions.get(condition) if aggregated else None
    if aggregated is None or rated is None:
        for name in names:
            columns[f"{name}_{condition}"] = [NO_RATINGS if name == "reason" else None] * len(utterances)
        return
    scales[condition] = rated.scale
    place = {utterance: index for index, utterance in enumerate(aggregated.utterances)}
    arrays: dict[str, Any] = dict(
        zip(names, (rated.label, rated.n, rated.spread, rated.label_class, rated.reason), strict=True)
    )
    arrays |= {name: values for name in METHODS if (values := getattr(rated, name)) is not None}
    for name, values in arrays.items():
        absent = {"reason": NO_RATINGS, "n": 0}.get(name)
        columns[f"{name}_{condition}"] = [
            values[place[utterance]] if utterance in place else absent for utterance in utterances
        ]


def _add_shipped(
    columns: dict[str, list[Any]],
    condition: str,
    utterances: list[str],
    given: dict[str, float],
    scale: Scale,
    scales: dict[str, Scale],
    prefer: str | None,
) -> None:
    if scales.setdefault(condition, scale) != scale:
        raise AnnotationError(
            f"condition {condition} is rated on {scales[condition]} and shipped on {scale}; give --scale"
        )
    labels, reasons = columns[f"label_{condition}"], columns[f"reason_{condition}"]
    for row, utterance in enumerate(utterances):
        value = given.get(utterance)
        has_rated = labels[row] is not None and not np.isnan(labels[row])
        if value is None:
            if not has_rated and reasons[row] == NO_RATINGS:
                reasons[row] = "no ratings and no label in the table"
            continue
        if has_rated and prefer is None:
            raise AnnotationError(
                f"{utterance} has a label for {condition} from raters and from the table; say --prefer ratings "
                "or shipped"
            )
        if has_rated and prefer == "ratings":
            continue
        labels[row], reasons[row] = value, None
        columns[f"class_{condition}"][row] = class_of_value(value, scale)
        columns[f"n_{condition}"][row] = columns[f"spread_{condition}"][row] = None


def with_split(labels: LabelTable, splits: dict[str, str], *, how: str, seed: int | None) -> LabelTable:
    """Return the table with each clip's part; a clip that `splits` lacks has none."""
    column = pa.array([splits.get(name) for name in labels.column("utterance_id")], pa.string())
    place = labels.table.schema.get_field_index("split")
    table = labels.table.set_column(place, labels.table.schema.field(place), column)
    return LabelTable(table, labels.scales, {**labels.metadata, "split": {"how": how, "seed": seed}})


def write_labels(labels: LabelTable, path: Path) -> None:
    """Write labels.parquet; the scale of each condition is in its metadata.

    Raises AnnotationError if it cannot be written.
    """
    metadata = {**labels.metadata, "scales": {name: str(scale) for name, scale in labels.scales.items()}}
    write_table(labels.table, path, schema=labels.table.schema, metadata=metadata)


def read_labels(path: Path) -> LabelTable:
    """Read labels.parquet, of `fmltk annotation aggregate` or of `fmltk dataset import`, which knows no raters.

    Raises AnnotationError if it cannot be read, lacks a column, or does not say its scales.
    """
    schema, written = labels_schema(), column_names(path)
    from_raters = bool(written.intersection(f"n_{name}" for name in CONDITIONS))
    needed = schema if from_raters else pa.schema([schema.field(name) for name in SHIPPED_COLUMNS])
    kind = "table of labels (see fmltk annotation aggregate)"
    table, metadata = read_table(path, schema=needed, kind=kind)
    documents = metadata.pop("scales", None)
    if not isinstance(documents, dict):
        raise AnnotationError(f"{path} does not say its conditions' scales: it was not written by fmltk")
    metadata.pop("schema_version", None)
    scales = {name: Scale.parse(text) for name, text in documents.items()}
    return LabelTable(table if from_raters else _without_raters(table, scales), scales, metadata)


def _without_raters(table: pa.Table, scales: dict[str, Scale]) -> pa.Table:
    """Return shipped labels in the columns of `labels_schema`: classes and reasons, no number of raters."""
    schema = labels_schema()
    columns = {name: table.column(name) for name in SHIPPED_COLUMNS}
    for name in CONDITIONS:
        values = columns[f"label_{name}"].to_numpy(zero_copy_only=False).astype(np.float64)
        classes = classes_of_values(values, scales[name]) if name in scales else [None] * len(values)
        columns[f"class_{name}"] = pa.array(classes, pa.string())
        columns[f"reason_{name}"] = pa.array([NO_LABEL if np.isnan(value) else None for value in values], pa.string())
        for kind in (f"n_{name}", f"spread_{name}"):
            columns[kind] = pa.nulls(len(values), schema.field(kind).type)
    return pa.table([columns[name] for name in schema.names], schema=schema)
