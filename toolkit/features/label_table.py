"""Labels: one row per clip, the seven conditions side by side, the split, and why a label is null.

The form of annotators' labels and of a data set's own labels in memory, the columns that they have on disk, and the
rules that every table of labels keeps.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from fmltk.toolkit.classes import classes_of_values
from fmltk.toolkit.clip import SPLITS, split_utterance_id
from fmltk.toolkit.conditions import (
    CH_SIMS_SCALE,
    CONDITIONS,
    CONTINUOUS,
    MAX_SPAN,
    MOSI_SCALE,
    OF_CLASSES,
    WEIGHED,
    Scale,
)
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.matching import align_ids

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from numpy.typing import NDArray

ID_COLUMNS = ("utterance_id", "video_id", "clip_id")
# The columns that hold labels, and their conditions: fmltk's own names, and the `label` of MMSA's label.csv.
LABEL_COLUMNS = {"label": "M", **{f"label_{name}": name for name in CONDITIONS}}
METHODS = ("median", "majority", *WEIGHED)  # next to the mean, such as median_AT
NO_LABEL = "no label in the data set"
TOLERANCE = 1e-6  # of a label at the end of its scale: float32 makes 1.0000001 of such a one
_NAMED = 5  # how many clips a message names
ScaleSource = Literal["stated", "given", "guessed"]
_REMEDIES: dict[ScaleSource, str] = {
    "stated": "; correct the labels, or the scale in the file's metadata",
    "given": "; correct the labels, or give their scale by --scale LOW..HIGH or --preset mosi",
    "guessed": "; correct the labels, or give --scale to `train`, `report`, `dataset check`, `dataset "
    "import` or `annotation aggregate`",
}


def _schema() -> pa.Schema:
    fields = [pa.field(name, pa.string(), nullable=False) for name in ID_COLUMNS]
    for kind, type_ in (
        ("label", pa.float64()),
        ("n", pa.int32()),
        ("spread", pa.float64()),
        ("class", pa.string()),
        ("reason", pa.string()),
        ("note", pa.string()),
    ):
        fields += [pa.field(f"{kind}_{name}", type_) for name in CONDITIONS]
    fields.append(pa.field("split", pa.string()))
    fields += [pa.field(f"{method}_{name}", pa.float64()) for method in METHODS for name in CONDITIONS]
    fields += [pa.field(f"share_{name}", pa.float64()) for name in CONDITIONS]  # these two of nominal scales
    for method in OF_CLASSES:
        fields += [pa.field(f"{method}_class_{name}", pa.string()) for name in CONDITIONS]
        fields += [pa.field(f"{method}_probability_{name}", pa.float64()) for name in CONDITIONS]
    return pa.schema(fields)


# Every column of labels.parquet, in order. A table has the ids, the labels and the split; the others where raters gave
# the labels.
LABEL_SCHEMA = _schema()
REQUIRED_COLUMNS = {*ID_COLUMNS, *(f"label_{name}" for name in CONDITIONS), "split"}


def _array(values: Any, type_: pa.DataType) -> Any:
    if isinstance(values, pa.Array | pa.ChunkedArray):
        return values
    return pa.array(values, type_, from_pandas=True)


@dataclass(frozen=True, eq=False)
class LabelTable:
    """The labels of n clips.

    Attributes
    ----------
    table
        Columns of `LABEL_SCHEMA`, one row per clip.
    scales
        The scale of each condition that was labelled.
    scale_source
        Whether the scales are stated with the labels, given by the user, or guessed (see `guess_scale`).
    metadata
        Other facts that are stored with the file: policy, split, source.
    notes
        How a table that people wrote is understood, one line each.
    by_file
        Whether the ids are names of files, which may leave out the folders that the clips have.
    """

    table: pa.Table
    scales: Mapping[str, Scale]
    scale_source: ScaleSource = "stated"
    metadata: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by_file: bool = False

    @classmethod
    def from_columns(
        cls,
        columns: Mapping[str, Any],
        scales: Mapping[str, Scale],
        *,
        scale_source: ScaleSource = "stated",
        metadata: Mapping[str, Any] | None = None,
    ) -> LabelTable:
        """Return labels of arrays or lists by column of `LABEL_SCHEMA`; NaN becomes null, absent labels are null.

        >>> columns = {"utterance_id": ["v$_$2"], "video_id": ["v"], "clip_id": ["2"], "label_M": [0.6]}
        >>> LabelTable.from_columns(columns, {"M": CH_SIMS_SCALE}).classes("M")
        ['WP']
        """
        n = len(columns["utterance_id"])
        fields = [one for one in LABEL_SCHEMA if one.name in columns or one.name in REQUIRED_COLUMNS]
        arrays = [
            _array(columns[one.name], one.type) if one.name in columns else pa.nulls(n, one.type) for one in fields
        ]
        return cls(pa.table(arrays, schema=pa.schema(fields)), scales, scale_source, metadata or {})

    @cached_property
    def first_condition(self) -> str:
        """M; where it has no label, the first condition that has."""
        return next((name for name in CONDITIONS if self.labelled(name).any()), "M")

    @property
    def scale(self) -> Scale:
        """The scale of the first condition."""
        return self.scales.get(self.first_condition, CH_SIMS_SCALE)

    @cached_property
    def utterance_ids(self) -> tuple[str, ...]:
        """The clips' ids."""
        return tuple(self.table["utterance_id"].to_pylist())

    @cached_property
    def video_ids(self) -> tuple[str, ...]:
        """The clips' videos."""
        return tuple(self.table["video_id"].to_pylist())

    @cached_property
    def splits(self) -> tuple[str | None, ...]:
        """The clips' splits: train, valid, test, or None."""
        return tuple(self.table["split"].to_pylist())

    def values(self, condition: str) -> NDArray[np.float64]:
        """Return the labels of a condition, float64, shape (n_clips,); NaN where there is none."""
        return np.asarray(self.table[f"label_{condition}"].to_numpy(zero_copy_only=False), dtype=np.float64)

    def labelled(self, condition: str) -> NDArray[np.bool_]:
        """Return which clips have a label, shape (n_clips,): a number; on a nominal scale a class."""
        if condition in self.scales and self.scales[condition].kind == "nominal":
            return np.array([name is not None for name in self.classes(condition)], dtype=bool)
        return ~np.isnan(self.values(condition))

    def classes(self, condition: str) -> list[str | None]:
        """Return the class of each label; where raters gave it, as their policy chose."""
        name = f"class_{condition}"
        if name in self.table.column_names:
            return list(self.table[name].to_pylist())
        if condition not in self.scales:
            return [None] * self.table.num_rows
        return list(classes_of_values(self.values(condition), self.scales[condition]))

    def class_numbers(self, condition: str, names: Sequence[str]) -> NDArray[np.float64]:
        """Return each label's place in a list of class names, float64, shape (n_clips,); NaN where there is none."""
        place_of = {name: float(place) for place, name in enumerate(names)}
        return np.array([place_of.get(name or "", np.nan) for name in self.classes(condition)], np.float64)

    def reasons(self, condition: str) -> list[str | None]:
        """Return why each label is null; None where there is one."""
        name = f"reason_{condition}"
        if name in self.table.column_names:
            return list(self.table[name].to_pylist())
        return [None if has_label else NO_LABEL for has_label in self.labelled(condition).tolist()]

    def with_splits(self, splits: Mapping[str, str], *, how: str, seed: int | None) -> LabelTable:
        """Return the same labels with each clip's split; a clip that `splits` lacks has none."""
        place = self.table.schema.get_field_index("split")
        column = pa.array([splits.get(name) for name in self.utterance_ids], pa.string())
        table = self.table.set_column(place, self.table.schema.field(place), column)
        return replace(self, table=table, metadata={**self.metadata, "split": {"how": how, "seed": seed}})

    def take(self, rows: Sequence[int]) -> LabelTable:
        """Return the labels of some clips, in the order of `rows`."""
        return replace(self, table=self.table.take(list(rows)))

    def with_ids(self, ids: Mapping[str, str]) -> LabelTable:
        """Return the same labels under other utterance ids, where `ids` has them."""
        utterances = [ids.get(name, name) for name in self.utterance_ids]
        parts = [split_utterance_id(name) for name in utterances]
        table = self.table
        for column, values in zip(ID_COLUMNS, (utterances, *map(list, zip(*parts, strict=True))), strict=True):
            place = table.schema.get_field_index(column)
            table = table.set_column(place, table.schema.field(place), pa.array(values, pa.string()))
        return replace(self, table=table)

    def aligned(self, clips: Collection[str]) -> tuple[LabelTable, tuple[str, ...]]:
        """Return the same labels under these clips' ids, where theirs are written otherwise, and what is said of it.

        clips : utterance ids
        """
        renamed, notes = align_ids(self.utterance_ids, clips, by_file_name=self.by_file)
        return (self.with_ids(renamed), tuple(f"labels: {note}" for note in notes)) if renamed else (self, ())

    def require_numbers(self, use: str) -> None:
        """Raise ConfigError where the labels are words; `use` says what needs numbers, such as "models learn"."""
        if self.scale.kind == "nominal":
            raise ConfigError(
                f"the labels are the classes {self.scale}, and {use} numbers: name others with --labels, or import the "
                "ratings with a number for each word (--label WORD=VALUE) and aggregate them again"
            )

    def check(self, name: object) -> None:
        """Raise AnnotationError for the first fault of `label_faults`; `name` is what the message calls the labels."""
        faults = label_faults(self)
        if faults:
            raise AnnotationError(f"{name}: {faults[0]}")


def guess_scale(labels: Mapping[str, NDArray[np.float64]]) -> Scale:
    """Return -1..1 where every label fits it, else -3..3.

    >>> guess_scale({"M": np.array([0.2, -1.0]), "T": np.array([1.4])})
    Scale.parse('-3..3')
    """
    known = [np.abs(values[np.isfinite(values)]) for values in labels.values()]
    largest = max((float(values.max()) for values in known if values.size), default=0.0)
    return CH_SIMS_SCALE if largest <= 1 + TOLERANCE else MOSI_SCALE


def label_faults(labels: LabelTable) -> list[str]:
    """Return what no table of labels may hold, one sentence each, for people.

    A clip has one row; a split is train, valid or test; a label is a number on its condition's scale, or one of the
    classes of a nominal one, which has no numbers.
    """
    faults = []
    if not labels.table.num_rows:
        faults.append("no clip is in the table of labels")
    ids = labels.utterance_ids
    twice = [name for name, n in Counter(ids).items() if n > 1] if len(set(ids)) < len(ids) else []
    if twice:
        named = ", ".join(map(repr, twice[:_NAMED])) + (", ..." if len(twice) > _NAMED else "")
        faults.append(
            f"{counted(len(twice), 'clip occurs', 'clips occur')} twice in the labels: {named}; keep one row of each"
        )
    unknown = sorted({split for split in labels.splits if split is not None} - set(SPLITS))
    if unknown:
        faults.append(f"the split {unknown[0]!r} is not one of {', '.join(SPLITS)}; val and dev are read as valid")
    for condition in CONDITIONS:
        values = labels.values(condition)
        scale = labels.scales.get(condition, labels.scale)
        if scale.kind == "nominal":
            faults += _nominal_faults(labels, condition, scale)
            continue
        with np.errstate(invalid="ignore"):
            off = np.flatnonzero((values < scale.low - TOLERANCE) | (values > scale.high + TOLERANCE))
        if off.size:
            faults.append(
                f"label_{condition} is {values[off[0]]:g} for {ids[off[0]]!r}, which is not on the scale {scale}"
                + (f", and so for {len(off) - 1} more" if off.size > 1 else "")
                + _REMEDIES[labels.scale_source]
                + (_ends(values) if labels.scale_source == "guessed" else "")
            )
    return faults


def codes_fault(labels: LabelTable) -> str | None:
    """Return what is said of labels without a stated scale that may as well be codes of classes; else None."""
    if labels.scale_source != "guessed" or labels.scale.kind == "nominal":
        return None
    values = np.concatenate([labels.values(condition) for condition in CONDITIONS])
    known = np.unique(values[np.isfinite(values)])
    if len(known) < 2 or (known < 0).any() or (known != np.round(known)).any():
        return None
    return (
        f"the labels are whole numbers from {known[0]:g} to {known[-1]:g} and none is negative: say whether they stand "
        f"for classes (--scale nominal) or are numbers on a scale (--scale={known[0]:g}..{known[-1]:g}, or its own "
        f"ends; --scale={labels.scale} where 0 is its middle)"
    )


def _ends(values: NDArray[np.float64]) -> str:
    """Return a message's words for the ends of labels that are finite: the scale that they may be on."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    if not math.isfinite(high - low):
        return ""
    ends = f"{math.floor(low)}..{math.ceil(high)}"
    ends += "" if high - low <= MAX_SPAN else f":{CONTINUOUS}"
    return f" (they run from {low:g} to {high:g}, as on --scale={ends})"


def _nominal_faults(labels: LabelTable, condition: str, scale: Scale) -> list[str]:
    if condition not in labels.scales:
        return []
    known = {*scale.names, None}
    ids = labels.utterance_ids
    wrong = [(name, ids[row]) for row, name in enumerate(labels.classes(condition)) if name not in known]
    if np.isfinite(labels.values(condition)).any():
        return [f"label_{condition} has numbers, where the scale has the classes {scale}; empty it"]
    return [f"class_{condition} is {wrong[0][0]!r} for {wrong[0][1]!r}, which is not one of {scale}"] if wrong else []
