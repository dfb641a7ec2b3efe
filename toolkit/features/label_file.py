"""Reading and writing tables of labels: labels.parquet, and the same columns as CSV, TSV, JSONL or other Parquet.

MMSA's label.csv (video_id, clip_id, label, label_T, label_A, label_V, mode) is such a table.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fmltk.toolkit.clip import ids_of_row, split_name, utterance_id, without_ending
from fmltk.toolkit.conditions import CONDITIONS, MAX_SPAN, Scale
from fmltk.toolkit.errors import AnnotationError, ConfigError, FmltkError
from fmltk.toolkit.features.clip_rows import clip_rows
from fmltk.toolkit.features.label_table import ID_COLUMNS, LABEL_COLUMNS, LABEL_SCHEMA, LabelTable, guess_scale
from fmltk.toolkit.io.cells import is_missing, parse_number
from fmltk.toolkit.io.columns import Columns, find_columns
from fmltk.toolkit.io.fields import FieldRows, found_columns
from fmltk.toolkit.io.parquet import (
    METADATA_KEY,
    column_names,
    decode_metadata,
    encode_metadata,
    open_parquet_table,
    read_table,
    reading,
    write_table,
)
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.io.table_kinds import LABELS
from fmltk.toolkit.io.tables import open_rows

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from fmltk.toolkit.io.paths import AnyPath

SCHEMA_VERSION = 1
LABEL_FILE = "labels.parquet"
# A date in ISO form, as sheets give it, or as German and English ones show it: 1.Feb, 3-May.
_DATE = re.compile(
    r"\d{4}-\d\d-\d\d\b.*|\d{1,2}[. -]*(jan|feb|mar|mrz|mär|apr|mai|may|jun|jul|aug|sep|okt|oct|nov|dez|dec)\.?",
    re.IGNORECASE | re.ASCII,
)
_NAMING = ("utterance_id", "video_id", "file")  # the fields that name a clip


def find_labels(features: Path) -> Path:
    """Return labels.parquet in the features folder, else next to it. Raises ConfigError if there is none."""
    if not features.is_dir():
        raise ConfigError(f"{features} is not a folder; name what `fmltk extract` or `fmltk dataset import` wrote")
    for path in (features / LABEL_FILE, features.parent / LABEL_FILE):
        if path.is_file():
            return path
    raise ConfigError(
        f"{LABEL_FILE} is not in {features} or next to it; name a table of labels with --labels "
        "(`fmltk annotation aggregate` and `fmltk dataset import` write such files)"
    )


def write_labels(labels: LabelTable, path: AnyPath) -> None:
    """Write labels.parquet, sorted by utterance_id; the scale of each condition is in its metadata.

    Raises AnnotationError if the labels have a fault (see `label_faults`), StoreError if the file cannot be written.
    """
    labels.check(path)
    document = {
        "schema_version": SCHEMA_VERSION,
        **labels.metadata,
        "scales": {name: str(scale) for name, scale in labels.scales.items()},
    }
    table = labels.table.sort_by("utterance_id")
    write_table(table.replace_schema_metadata(encode_metadata(document)), path)


def read_labels(
    path: AnyPath,
    *,
    scales: Mapping[str, Scale] | None = None,
    encoding: str | None = None,
    needs_labels: bool = True,
) -> LabelTable:
    """Read a table of labels: labels.parquet, MMSA's label.csv, or the columns of either as CSV, TSV, JSONL or Parquet.

    Columns: video_id and clip_id, or utterance_id; label_<condition>, where `label` is label_M; split or mode; also by
    other names (see `fmltk.toolkit.io.table_kinds`). An empty cell, a null, NaN, n/a and a spreadsheet's error are no
    label. Ids stay as they were written, without white space around them. A column of labels that are words, such as
    emotions, gives classes: `class_<condition>` on a nominal scale.

    Parameters
    ----------
    scales : by condition, for a table that does not state its own; by default the one that all labels fit
    encoding : of a text file; recognised where it is None
    needs_labels : whether a table without a column of labels is refused; it may still name the clips' splits

    Raises AnnotationError if it has no column of labels, a row names no clip, a label is not a number, or the labels
    have a fault (see `label_faults`); ConfigError or StoreError if the file cannot be read.
    """
    labels = load_labels(path, scales=scales, encoding=encoding, needs_labels=needs_labels)
    labels.check(path)
    return labels


def load_labels(
    path: AnyPath,
    *,
    scales: Mapping[str, Scale] | None = None,
    encoding: str | None = None,
    needs_labels: bool = True,
) -> LabelTable:
    """Read a table of labels as `read_labels` does, but leave its faults to the caller (see `label_faults`)."""
    if path.suffix.lower() != ".parquet":
        return _text_labels(path, encoding, scales, needs_labels=needs_labels)
    with open_parquet_table(path, what="table of labels") as file, reading(path):
        columns = _columns(path, file.schema_arrow.names, needs_labels=needs_labels)
        table = read_table(file, path, columns=list(columns.used.values()))
        stated = METADATA_KEY in (file.schema_arrow.metadata or {})
        document = decode_metadata(file.schema_arrow, name=str(path)) if stated else {}
        labels = _label_table(path, {name: table[column] for name, column in columns.used.items()}, document, scales)
        labels.table.validate(full=True)
    return labels if document else replace(labels, notes=(columns.note(), *labels.notes))


def labels_on_scale(features: Path, path: Path | None, scale: str) -> LabelTable:
    """Read the labels of a feature folder as `as_labels` does; path: by default that of `find_labels`."""
    return as_labels(find_labels(features) if path is None else path, scale=scale)


def load_on_scale(path: AnyPath, own: Scale) -> LabelTable:
    """Read a table of labels as `as_labels` does, but leave its faults to the caller (see `label_faults`)."""
    labels = load_labels(path, scales=dict.fromkeys(CONDITIONS, own))
    _check_scale(labels, own, str(path))
    return labels


def as_labels(
    labels: str | os.PathLike[str] | pd.DataFrame | LabelTable, *, scale: str | Scale | None = None
) -> LabelTable:
    """Return labels from what a caller of Python has: a file, a data frame with its columns, or the labels themselves.

    scale : of labels that do not state it, as `Scale.parse` reads it; on a nominal one, numbers are the names of
        classes; None: the one that all labels fit

    Raises ConfigError if they state another scale, and AnnotationError as `read_labels` does.
    """
    own = Scale.parse(scale) if isinstance(scale, str) else scale
    if isinstance(labels, LabelTable):
        return labels
    if isinstance(labels, str | os.PathLike):
        path = locate(labels)
        found = load_labels(path) if own is None else load_on_scale(path, own)
        found.check(path)
        return found
    if not hasattr(labels, "columns"):
        raise ConfigError(
            f"labels are a {type(labels).__name__}; expected a file, or a data frame with the columns utterance_id and "
            "label_M"
        )
    return _labels_of_frame(labels, own)


def _check_scale(labels: LabelTable, own: Scale, name: str) -> None:
    if labels.scale_source == "stated" and (labels.scale.kind != "nominal" or own.kind != "nominal"):
        raise ConfigError(f"{name} has labels on the scale {labels.scale}; leave out --scale")
    others = sorted(set(labels.scale.names) - set(own.names))
    if own.names and others:
        raise ConfigError(
            f"{name} has labels that are not on the scale {own}: {', '.join(others)}; give --scale nominal"
        )


def _labels_of_frame(frame: pd.DataFrame, own: Scale | None) -> LabelTable:
    """Return the labels of a data frame; its attrs may state the scales by condition, as `fmltk.aggregate` does."""
    name = Path("data frame")  # in messages
    picked = _columns(name, [str(column) for column in frame.columns], needs_labels=True).used
    try:
        table = pa.Table.from_pandas(frame[list(picked.values())], preserve_index=False)
    except (pa.ArrowException, ValueError) as error:
        raise AnnotationError(f"{name}: a column has values of several kinds, or occurs twice ({error})") from error
    document = {"scales": frame.attrs["scales"]} if "scales" in frame.attrs else {}
    given = None if own is None else dict.fromkeys(CONDITIONS, own)
    labels = _label_table(name, {key: table[column] for key, column in picked.items()}, document, given)
    if own is not None:
        _check_scale(labels, own, "the data frame")
    labels.check(name)
    return labels


def has_labels(path: Path) -> bool:
    """Whether a file is a table with a column of labels, also under one of the other names that `read_labels` reads."""
    try:
        return path.is_file() and bool(_columns(path, _column_names(path), needs_labels=True))
    except FmltkError:
        return False


def _column_names(path: Path) -> Sequence[str]:
    if path.suffix.lower() == ".parquet":
        return column_names(path, what="table of labels")
    with open_rows(path) as table:
        return table.header


def _columns(path: AnyPath, found: Sequence[str], *, needs_labels: bool) -> Columns:
    """Return the columns of a file that belong to a table of labels, by their name in `LABEL_SCHEMA`, or as `file`."""
    if {"label", "label_M"} <= set(found):
        raise AnnotationError(f"{path} has the columns label and label_M, which mean the same; keep one of them")
    if {"annotator", "condition", "value"} <= set(found):
        raise AnnotationError(
            f"{path} is a table of ratings: `fmltk annotation aggregate {path} -o labels.parquet` makes labels of them"
        )
    columns = find_columns(LABELS, found, table=path.name, error=AnnotationError)
    own = {name: name for name in LABEL_SCHEMA.names if name in columns.unused}
    unused = tuple(name for name in columns.unused if name not in own)
    columns = replace(columns, used={**columns.used, **own}, unused=unused)
    if needs_labels and LABEL_COLUMNS.keys().isdisjoint(columns.used):
        raise AnnotationError(
            f"{path} has no column of labels; expected label (or Score, Sentiment), or one of "
            f"{', '.join(list(LABEL_COLUMNS)[1:])}, and nothing above these names; its columns are "
            f"{', '.join(map(str, found)) or 'none'}"
        )
    return columns


def _text_labels(
    path: AnyPath, encoding: str | None, scales: Mapping[str, Scale] | None, *, needs_labels: bool
) -> LabelTable:
    with open_rows(path, encoding=encoding) as table:
        columns = _columns(path, table.header, needs_labels=needs_labels and bool(table.header))
        written = FieldRows(table, columns, LABELS, AnnotationError)
        if table.header and columns.used.keys().isdisjoint((*_NAMING, "clip_id")):
            raise AnnotationError(
                f"{path} names no clips: {found_columns(table)}; a {LABELS.what} has {LABELS.expected}"
            )
        rows = []
        for where, row in clip_rows(written):
            if not any(row.get(name) for name in _NAMING):
                raise AnnotationError(f"{where} names no clip; write its ids or its file there, or remove the row")
            rows.append(row)
        if not rows:
            raise AnnotationError(f"{path} holds no row; expected one per clip, with video_id, clip_id and label")
        names = dict.fromkeys([*columns.used, *(["clip_id"] if any("clip_id" in row for row in rows) else [])])
        arrays = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
        labels = _label_table(path, arrays, {}, scales, separator=written.separator)
        return replace(labels, notes=(*written.notes(), *labels.notes))


def _label_table(
    path: AnyPath,
    columns: Mapping[str, Any],
    document: Mapping[str, Any],
    given: Mapping[str, Scale] | None,
    *,
    separator: str = "",
) -> LabelTable:
    ids = _ids(path, columns, as_written=bool(document))
    notes: list[str] = []
    of_words = _word_columns(columns) | _numbered_classes(columns, document, given or {})
    converted: dict[str, Any] = dict(zip(ID_COLUMNS, ids, strict=True))
    for name, values in columns.items():
        if name == "file":
            continue
        kind = LABEL_SCHEMA.field(name).type
        if name == "split":
            converted[name] = _splits(values)
        elif name in of_words:
            words, note = _words(path, name, values)
            converted[f"class_{LABEL_COLUMNS[name]}"] = words
            notes.append(note)
        elif name not in ID_COLUMNS and kind != pa.string():
            n_words = sum(bool(cell.strip()) and is_missing(cell) for cell in _text_cells(values))
            if n_words:
                notes.append(f"{path.name}: {name} has no label where it says n/a or the like ({n_words})")
            converted[name] = _numbers(path, name, values, converted["utterance_id"], separator=separator)
        elif name not in ID_COLUMNS:
            converted[name] = values if values.type == kind else pa.array(_texts(values), kind)
    labels = LabelTable.from_columns(converted, {}, metadata=_own_metadata(document))
    scaled = _with_scales(path, labels, document.get("scales"), given)
    return replace(scaled, notes=tuple(notes), by_file=columns.keys().isdisjoint(ID_COLUMNS))


def _word_columns(columns: Mapping[str, Any]) -> set[str]:
    """Return the columns of labels that are words, such as emotions: of their cells none is a number.

    A number among words makes the words faults of a column of numbers, and so does a single word in all of the columns.
    """
    words: dict[str, set[str]] = {}
    for name in LABEL_COLUMNS.keys() & columns.keys():
        values = columns[name]
        cells = ["true", "false"] if pa.types.is_boolean(values.type) else _text_cells(values)
        found = {cell.strip() for cell in cells if not is_missing(cell)}
        if found and not any(_is_number(cell) for cell in found):
            words[name] = found
    return set(words) if len(set().union(*words.values())) > 1 else set()


def _numbered_classes(columns: Mapping[str, Any], document: Mapping[str, Any], given: Mapping[str, Scale]) -> set[str]:
    """Return the columns of labels whose numbers are the names of classes, as a user says."""
    if "scales" in document:
        return set()
    nominal = {condition for condition, scale in given.items() if scale.kind == "nominal"}
    return {name for name in LABEL_COLUMNS.keys() & columns.keys() if LABEL_COLUMNS[name] in nominal}


def _is_number(cell: str) -> bool:
    try:
        parse_number(cell)
    except ValueError:
        return any(sign.isdigit() for sign in cell)  # such as 0,5: a number that is written another way
    return True


def _words(path: AnyPath, name: str, values: Any) -> tuple[Any, str]:
    """Return a column's words, null where there is none, and a note on them.

    Raises AnnotationError if two differ in case alone, or there are too many to be classes.
    """
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.string())
    cells = _text_cells(values) or [_number_text(value) for value in values.to_pylist()]
    words = [None if is_missing(cell) else cell.strip() for cell in cells]
    classes = sorted({word for word in words if word is not None})
    if len(classes) > MAX_SPAN:
        raise AnnotationError(
            f"{path}: {name} has {len(classes)} different words, such as {classes[0]!r}; a label is a number, or one "
            f"of at most {MAX_SPAN} classes"
        )
    folded: dict[str, str] = {}
    for word in classes:
        other = folded.setdefault(word.casefold(), word)
        if other != word:
            raise AnnotationError(f"{path}: {name} has {other!r} and {word!r}, which differ in case alone; keep one")
    left = sorted({cell.strip() for cell in cells if cell.strip() and is_missing(cell)})
    none = f"; no label where it says {', '.join(left)}" if left else ""
    why = "numbers, which are classes here" if any(map(_is_number, classes)) else "words, so the labels are classes"
    note = f"{path.name}: {name} has {why}: {', '.join(classes)}{none}"
    return pa.array(words, pa.string()), note


def _number_text(value: float | None) -> str:
    return "" if value is None else f"{value:.15g}"


def _own_metadata(document: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in document.items() if key not in ("scales", "schema_version")}


def _texts(values: Any) -> list[str | None]:
    """Return cells as texts; an empty one is None."""
    return [None if value is None else str(value) or None for value in values.to_pylist()]


def _ids(path: AnyPath, columns: Mapping[str, Any], *, as_written: bool) -> tuple[Any, Any, Any]:
    """Return utterance_id, video_id and clip_id; `as_written` in a file that fmltk wrote, composed in others."""
    if as_written and all(name in columns for name in ID_COLUMNS):
        own = tuple(columns[name] for name in ID_COLUMNS)
        if all(values.type == pa.string() and not values.null_count for values in own):
            return own
    names = [name for name in ID_COLUMNS if name in columns]
    if "file" in columns and not {"utterance_id", "video_id"} & set(names):
        files = [None if file is None else without_ending(file) for file in _texts(columns["file"])]
        columns = {**columns, "video_id": pa.array(files, pa.string())}
        names = [name for name in ID_COLUMNS if name in columns]
    parts = []
    for number, cells in enumerate(zip(*(_texts(columns[name]) for name in names), strict=True), start=1):
        own_ids = ids_of_row({name: cell for name, cell in zip(names, cells, strict=True) if cell is not None})
        if own_ids is None:
            raise AnnotationError(f"{path} row {number} names no clip; expected video_id and clip_id, or utterance_id")
        parts.append(own_ids)
    if not names:
        raise AnnotationError(f"{path} names no clips; a {LABELS.what} has {LABELS.expected}")
    return [utterance_id(*pair) for pair in parts], [video for video, _ in parts], [clip for _, clip in parts]


def _splits(values: Any) -> list[str | None]:
    """Return each clip's split by its one name; a word that names none stays, as a fault."""
    texts = _texts(values)
    known = {text: split_name(text) or text.strip() or None for text in set(texts) if text is not None}
    return [None if text is None else known[text] for text in texts]


def _text_cells(values: Any) -> list[str]:
    """Return the cells of a column of texts; none where the column holds numbers."""
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return [cell or "" for cell in values.to_pylist()]
    return []


def _numbers(path: AnyPath, name: str, values: Any, ids: Any, *, separator: str) -> Any:
    """Return a column as numbers of the schema's type; empty cells, words such as n/a, and NaN are null."""
    kind = LABEL_SCHEMA.field(name).type
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        cells = _text_cells(values)
        values = pa.array([_number(path, name, cell, str(ids[row]), separator) for row, cell in enumerate(cells)])
    try:
        if pa.types.is_floating(values.type):
            values = pc.if_else(pc.is_nan(values), None, values)
        return values.cast(kind, safe=False)
    except pa.ArrowException as error:
        raise AnnotationError(f"{path}: the column {name} holds {values.type}; expected numbers") from error


def _number(path: AnyPath, name: str, cell: str, utterance: str, separator: str) -> float | None:
    if is_missing(cell):
        return None
    try:
        return parse_number(cell, separator=separator)
    except ValueError as error:
        date = " (a date: spreadsheets make one of 1/2 or 1.2)" if _DATE.fullmatch(cell.strip()) else ""
        raise AnnotationError(f"{path}: {name} of clip {utterance!r}: {error}{date}") from error


def _with_scales(path: AnyPath, labels: LabelTable, stated: object, given: Mapping[str, Scale] | None) -> LabelTable:
    """Return the labels with their scales: as the file states them, else as given, else the one that all labels fit.

    A condition that the file states no scale for has that of M.
    """
    found = {**_classes_without_numbers(labels), **_stated_scales(path, stated)}
    values = {name: labels.values(name) for name in CONDITIONS}
    labelled = [name for name, own in values.items() if not np.isnan(own).all()]
    if ("M" in found and found["M"].kind != "nominal") or all(name in found for name in labelled):
        return replace(labels, scales={**{name: found["M"] for name in labelled if name not in found}, **found})
    if given is not None:
        return replace(labels, scales={**{name: given[name] for name in labelled}, **found}, scale_source="given")
    return replace(labels, scales={**dict.fromkeys(labelled, guess_scale(values)), **found}, scale_source="guessed")


def _classes_without_numbers(labels: LabelTable) -> dict[str, Scale]:
    """Return the nominal scales of the conditions that have classes, and no number anywhere."""
    scales: dict[str, Scale] = {}
    for condition in CONDITIONS:
        name = f"class_{condition}"
        if name in labels.table.column_names and np.isnan(labels.values(condition)).all():
            classes = sorted({word for word in labels.table[name].to_pylist() if word is not None})
            scales |= {condition: Scale.nominal(classes)} if classes else {}
    return scales


def _stated_scales(path: AnyPath, stated: object) -> dict[str, Scale]:
    if stated is None:
        return {}
    if not isinstance(stated, dict) or not all(isinstance(text, str) for text in stated.values()):
        raise AnnotationError(f"{path}: the scales in its metadata are not texts such as {{'M': '-1..1'}}")
    return {name: Scale.parse(stated[name]) for name in CONDITIONS if name in stated}
