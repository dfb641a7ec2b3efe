"""Ratings from plain tables, for those without Label Studio: one row per rating, or one column per annotator."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fmltk.annotation.importing.answers import Answer, rater_of, refused_rater
from fmltk.annotation.importing.doubles import folded_person
from fmltk.annotation.importing.records import Drop, Rated, Record, parse_value, rated_of
from fmltk.annotation.option_texts import DIMENSION
from fmltk.annotation.ratings import STATUSES
from fmltk.toolkit.clip import without_ending
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.cells import clean_id, is_missing, with_decimal_point
from fmltk.toolkit.io.columns import find_columns, folded
from fmltk.toolkit.io.fields import rows_of_clips
from fmltk.toolkit.io.printable import short_text
from fmltk.toolkit.io.table_kinds import RATED_CLIPS, RATINGS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from fmltk.annotation.importing.label_studio import FileReport
    from fmltk.annotation.settings import ImportOptions
    from fmltk.toolkit.io.columns import Columns
    from fmltk.toolkit.io.tables import Table

_SHOWN_COLUMNS = 6
_DIMENSION = "dimension "  # before a dimension's name, as the field of its column
_IDS = ("utterance_id", "video_id", "clip_id", "file")
# Columns of wide tables that are not a rater's: what is computed of the ratings, and what is said of the clips.
_NOT_RATERS = frozenset(
    word
    for words in (
        "mean average avg median majority mode std sd stdev variance gold goldlabel truth groundtruth consensus final",
        "total sum count n nraters nratings agreement split set fold label score sentiment emotion speaker speakerage",
        "age gender sex duration start end starts ends language comment comments note notes",
        "session group batch block round page order trial version index idx nr no number row day week date time status",
    )
    for word in words.split()
)


def long_columns(table: Table, options: ImportOptions) -> Columns | None:
    """Return which column is which where the columns are those of a long table: clip, annotator, value; else None.

    With dimensions, each has its column instead of the value.

    Raises AnnotationError if two columns may be the same, a dimension has no column, or values are in columns that no
    dimension names.
    """
    columns = find_columns(RATINGS, table.header, table=table.name, error=AnnotationError)
    if not _names_clip(columns) or "annotator" not in columns.used:
        return None
    if options.dimensions:
        return _with_dimensions(columns, table, options)
    if not {"value", "word", "annotation_id"} & columns.used.keys() and options.control not in table.header:
        others = [name for name in columns.unused if name and folded(name) not in _NOT_RATERS][:_SHOWN_COLUMNS]
        raise AnnotationError(
            f"{table.name} has annotators in {columns.used['annotator']!r} and no column called value; "
            + (f"name those that hold ratings: {' '.join(map(_as_dimension, others))}" if others else "add it")
        )
    return columns if {"value", "word"} & columns.used.keys() else None


def _as_dimension(column: str) -> str:
    """Return the option that makes a column a dimension."""
    is_name = DIMENSION.fullmatch(column) and column not in CONDITIONS
    return f"--dimension {shlex.quote(column if is_name else f'NAME={column}')}"


def _with_dimensions(columns: Columns, table: Table, options: ImportOptions) -> Columns:
    """Return the columns with those of the dimensions instead of the value."""
    of_name = {folded(name): name for name in table.header}
    found = {name: of_name.get(folded(column), "") for name, column in options.dimensions.items()}
    lacking = [options.dimensions[name] for name, column in found.items() if not column]
    if lacking:
        raise AnnotationError(
            f"{table.name} has no column {lacking[0]!r}; name each dimension's by --dimension NAME=COLUMN "
            f"({', '.join(table.header)})"
        )
    used = {name: column for name, column in columns.used.items() if name not in ("value", "word")}
    used |= {f"{_DIMENSION}{name}": column for name, column in found.items()}
    return replace(columns, used=used, unused=tuple(name for name in table.header if name not in used.values()))


def wide_columns(table: Table, options: ImportOptions) -> Columns | None:
    """Return which column is which where the columns are a clip, then one per rater, which are not read; else None.

    Raises AnnotationError if two columns may be the same, or the table is said to have several dimensions.
    """
    columns = find_columns(RATED_CLIPS, table.header, table=table.name, error=AnnotationError)
    raters = tuple(name for name in columns.unused if name)
    others = [name for name in raters if folded(name) in _NOT_RATERS]
    if others and _names_clip(columns):
        named = ", ".join(map(repr, others))
        is_one = len(others) == 1
        found = (
            f"the column {named} is not taken for an annotator's"
            if is_one
            else f"the columns {named} are not annotators'"
        )
        raise AnnotationError(f"{table.name}: {found}; remove {'it' if is_one else 'them'}, or rename one that is")
    if options.dimensions and _names_clip(columns):
        raise AnnotationError(
            f"{table.name} has one column per annotator: say each row's dimension in a column called dimension, not by "
            "--dimension"
        )
    return replace(columns, unused=raters) if _names_clip(columns) and raters else None


def _names_clip(columns: Columns) -> bool:
    return not columns.used.keys().isdisjoint({"utterance_id", "video_id", "file"})


def _clip_of(written: Mapping[str, str], columns: Columns) -> dict[str, str]:
    """Return a row by field, its ids as they are meant; other columns stay, for --id-field may name one."""
    row = {**written, **columns.fields(written)}
    row |= {name: clean_id(row[name]) for name in _IDS if name in columns.used and name in row}
    if "file" in columns.used and not row.get("utterance_id") and not row.get("video_id"):
        row["utterance_id"] = without_ending(_path_of(row).rpartition("/")[2])
    return row


def _path_of(row: Mapping[str, str]) -> str:
    return row.get("file", "").replace("\\", "/")


def _clips(table: Table, columns: Columns) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each row is, and its cells by column and by field."""
    return rows_of_clips(((where, _clip_of(written, columns)) for where, written in table.rows), AnnotationError)


@dataclass
class _Folders:
    """The folders of the files that a table names its clips by, which its ids leave out."""

    columns: Columns
    options: ImportOptions
    report: FileReport
    first: str | None = None  # a file of the first folder

    def about(self, row: Mapping[str, str], where: str, dimension: str | None) -> Rated | Drop:
        """Return what a row is about.

        Raises AnnotationError as `rated_of` does, and if a file of this name in another folder was rated as well.
        """
        about = rated_of(row, self.options, where, self.report.clip_names, dimension=dimension)
        path = without_ending(_path_of(row)) if self._are_left_out else ""
        if "/" in path and isinstance(about, Rated):
            self._check(about, path, where)
        return about

    @property
    def _are_left_out(self) -> bool:
        used, options = self.columns.used.keys(), self.options
        is_by_file = "file" in used and used.isdisjoint(("utterance_id", "video_id"))
        return is_by_file and options.id_field is None and not options.cut_uploads

    def _check(self, about: Rated, path: str, where: str) -> None:
        column = self.columns.used["file"]
        option = f"--id-field {shlex.quote(column)} --id-parts 2"
        self.report.clip_names.check(about.utterance_id, about.condition, path, where, option=option)
        self.first = path if self.first is None else self.first
        if path.rpartition("/")[0] != self.first.rpartition("/")[0]:
            self.report.remark(
                f"the folders in {column!r} are left out of the clips' ids, such as that of {self.first!r}; if they "
                f"are the videos, give {option}"
            )


def long_records(table: Table, columns: Columns, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    """Yield the ratings of a long table: utterance_id (or video_id, clip_id), condition, annotator, value.

    Optional columns: dimension, status, scale, lead_time_s, created_at, updated_at, annotation_id. A row without a
    value is an empty answer, unless status says skipped or draft; a word stands in the column value, or in one of its
    own, as in ratings.parquet.

    Raises AnnotationError if a status is unknown.
    """
    n_words, folders = 0, _Folders(columns, options, report)
    own = [name for name in columns.used if name.startswith(_DIMENSION)]
    for where, row in _clips(table, columns):
        status = row.get("status", "").strip()
        if status not in ("", *STATUSES):
            raise AnnotationError(f"{where}: status {status!r} is not one of {', '.join(STATUSES)}")
        for column in own or ("value",):
            report.annotations += 1
            dimension = column.removeprefix(_DIMENSION) if own else row.get("dimension", "").strip() or None
            about = folders.about(row, where, dimension)
            if isinstance(about, Drop):
                yield about
                continue
            cell, is_word = _answer(row.get(column) or row.get("word", ""), about, options, table.separator)
            n_words += is_word
            identity = row.get("annotator", "").strip() or None
            known = {"identity": identity, "annotation_id": short_text(row.get("annotation_id") or None)}
            seconds = row.get("lead_time_s")
            answer = Answer.of(row, about, where, options, clock=report.clock, lead_time=seconds, **known)
            is_rated = status == "rated" or (not status and cell)
            yield answer.rating(cell) if is_rated else answer.record(status or "empty", label=cell)
    _remark_words(n_words, report)


def wide_records(table: Table, columns: Columns, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    """Yield the ratings of a wide table (clip, condition, one column per annotator); a blank cell is not a rating."""
    raters = {name: rater_of(name, options) for name in columns.unused}
    unrated: dict[str, bool] = {}  # columns with cells: whether none of them is a rating
    n_words, folders = 0, _Folders(columns, options, report)
    for where, row in _clips(table, columns):
        report.tasks += 1
        if "" in table.header[1:] and row.get("", "").strip():  # a first column without a name counts the rows
            raise AnnotationError(
                f"{where}: {row['']!r} stands in a column without a name; write the annotator's above it, or remove it"
            )
        dimension = row.get("dimension", "").strip() or None if "dimension" in columns.used else None
        about = folders.about(row, where, dimension)
        if isinstance(about, Drop):
            report.annotations += 1
            yield about
            continue
        answers = {name: _answer(row.get(name, ""), about, options, table.separator) for name in raters}
        n_words += sum(is_word for _, is_word in answers.values())
        cells = {name: cell for name, (cell, _) in answers.items() if cell}
        report.tasks_without_annotation += not cells
        _check_one_answer([rater for name in cells if (rater := raters[name])], where)
        for name, cell in cells.items():
            report.annotations += 1
            is_rating = parse_value(cell, about.scale, options.label_values) is not None
            unrated[name] = not is_rating and unrated.get(name, True)
            yield Answer(about, where, options, name).rating(cell)
    report.without_rating = [shown_rater(name, options) for name, is_none in unrated.items() if is_none]
    for name in report.without_rating:
        report.remark(f"the column of {name} holds no rating, but was taken for an annotator's: leave it out")
    _remark_words(n_words, report)


def shown_rater(identity: str, options: ImportOptions) -> str:
    """Return what may be shown of the annotator whose column has this name."""
    return short_text(rater_of(identity, options) or refused_rater(identity, options)[1]) or ""


def _check_one_answer(names: Sequence[str], where: str) -> None:
    """Raise AnnotationError if two columns with an answer in one row are named like one annotator."""
    counts = Counter(map(folded_person, names))
    twice = sorted((name for name in names if counts[folded_person(name)] > 1), key=folded_person)
    if twice:
        raise AnnotationError(
            f"{where}: two columns are called {twice[0]!r} and {twice[1]!r}, alike but for case or spaces, and both "
            "rate this clip; rename one if they are two people, remove one if they are one"
        )


def _answer(cell: str, about: Rated, options: ImportOptions, separator: str) -> tuple[str, bool]:
    """Return a cell with a decimal point, "" where it holds no rating; and whether it says so in a word."""
    text = cell.strip()
    if text in options.label_values or text.casefold() in map(str.casefold, about.scale.names):
        return text, False
    if is_missing(text):
        return "", bool(text)
    return with_decimal_point(text, separator=separator), False


def _remark_words(n_words: int, report: FileReport) -> None:
    if n_words:
        report.remark(f"cells that say n/a, - or the like hold no rating ({n_words})")
