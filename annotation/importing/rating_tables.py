"""Ratings from plain tables, for those without Label Studio: one row per rating, or one column per rater."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmltk.annotation.importing.answers import Answer, rater_of, refused_rater
from fmltk.annotation.importing.records import Drop, Record, parse_value, rated_of, short_text
from fmltk.annotation.ratings import STATUSES
from fmltk.toolkit.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from fmltk.annotation.settings import ImportOptions

# Other names under which people write the columns of the long table.
_LONG_NAMES = {"utterance": "utterance_id", "rater": "annotator", "rating": "value", "label": "value"}
_CLIP_COLUMNS = {"utterance_id", "video_id", "clip_id", "condition", "scale", "text"}
_MEANT = _CLIP_COLUMNS | {
    "annotator", "value", "status", "lead_time_s", "created_at", "updated_at", "annotation_id",
}  # fmt: skip
_ABSENT = ("", "NA", "NaN", "nan", "null", "None", "-")  # a wide table's cell without a rating


def _canonical(name: str) -> str:
    return _LONG_NAMES.get(name.lower(), name if name in _CLIP_COLUMNS else name.lower())


def _meanings(path: Path, header: Iterable[str]) -> dict[str, str]:
    """Return what each column means.

    Raises AnnotationError if two columns that are read mean the same.
    """
    meanings = {name: _canonical(name) for name in header}
    for meaning in _MEANT:
        twice = [name for name, own in meanings.items() if own == meaning]
        if len(twice) > 1:
            raise AnnotationError(
                f"{path}: the columns {' and '.join(map(repr, twice))} both are the {meaning}; keep one"
            )
    return meanings


def _names_clip(header: Sequence[str]) -> bool:
    names = {_canonical(name) for name in header}
    return "utterance_id" in names or "video_id" in names


def is_long(header: Sequence[str]) -> bool:
    """Whether the columns are those of a long table: clip, annotator, value."""
    return _names_clip(header) and {"annotator", "value"} <= {_canonical(name) for name in header}


def is_wide(header: Sequence[str]) -> bool:
    """Whether the columns are those of a wide table: the clip, then one column per rater."""
    return _names_clip(header) and bool(_rater_columns(header))


def _rater_columns(header: Sequence[str]) -> list[str]:
    return [name for name in header if _canonical(name) not in _CLIP_COLUMNS and name]


def long_records(
    path: Path,
    rows: Iterable[tuple[int, dict[str, str]]],
    header: Sequence[str],
    options: ImportOptions,
    report: Any,
    *,
    unit: str = "line",
) -> Iterator[Record | Drop]:
    """Yield the ratings of a long table: utterance_id (or video_id, clip_id), condition, annotator, value.

    unit : what a message calls the number of a row

    Optional columns: status, scale, lead_time_s, created_at, updated_at, annotation_id. A row without a value is an
    empty answer, unless status says skipped or draft.

    Raises AnnotationError if a status is unknown, or two columns mean the same.
    """
    names = _meanings(path, header)
    for line, written in rows:
        row = {names[name]: cell for name, cell in written.items()}
        where = f"{path.name} {unit} {line}"
        report.annotations += 1
        about = rated_of(row, options, where)
        if isinstance(about, Drop):
            yield about
            continue
        cell = row["value"].strip()
        status = row.get("status", "").strip() or ("rated" if cell else "empty")
        if status not in STATUSES:
            raise AnnotationError(f"{where}: status {status!r} is none of {', '.join(STATUSES)}")
        identity, annotation_id = row["annotator"].strip() or None, short_text(row.get("annotation_id") or None)
        known = {"identity": identity, "annotation_id": annotation_id}
        answer = Answer.of(row, about, where, options, lead_time=row.get("lead_time_s"), **known)
        yield answer.rating(cell) if status == "rated" else answer.record(status, label=cell)


def wide_records(
    path: Path, rows: Iterable[tuple[int, dict[str, str]]], header: Sequence[str], options: ImportOptions, report: Any
) -> Iterator[Record | Drop]:
    """Yield the ratings of a wide table: the clip, its condition, one column per rater; a blank cell is no rating.

    Raises AnnotationError if two columns mean the same.
    """
    raters = {name: rater_of(name, options) for name in _rater_columns(header)}
    names = _meanings(path, (name for name in header if name not in raters))
    unrated: dict[str, bool] = {}  # columns with cells: whether none of them is a rating
    for line, row in rows:
        where = f"{path.name} line {line}"
        report.tasks += 1
        about = rated_of({names[name]: row[name] for name in names}, options, where)
        if isinstance(about, Drop):
            report.annotations += 1
            yield about
            continue
        cells = {name: row[name].strip() for name in raters if row[name].strip() not in _ABSENT}
        report.tasks_without_annotation += not cells
        for name, cell in cells.items():
            report.annotations += 1
            is_rating = parse_value(cell, about.scale, options.label_values) is not None
            unrated[name] = not is_rating and unrated.get(name, True)
            yield Answer(about, where, options, name).rating(cell)
    for column in (name for name, is_none in unrated.items() if is_none):
        safe_name = short_text(raters[column] or refused_rater(column, options)[1])
        report.remark(f"the column of {safe_name} holds no rating, but was taken for a rater's: leave it out")
