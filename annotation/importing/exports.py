"""Reading what Label Studio exports (JSON, JSON_MIN, CSV, TSV, snapshots, the formats before 1.0), and plain tables.

The kind of file is detected from its content; memory is bounded by the largest task.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from fmltk.annotation.importing.label_studio import FileReport, read_row, read_task
from fmltk.annotation.importing.rating_tables import long_columns, long_records, shown_rater, wide_columns, wide_records
from fmltk.annotation.json_stream import iterate_json_array
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.features.label_table import LABEL_COLUMNS
from fmltk.toolkit.io.files import read_start
from fmltk.toolkit.io.printable import short_text
from fmltk.toolkit.io.sheets import SHEET_SUFFIXES
from fmltk.toolkit.io.tables import open_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from fmltk.annotation.importing.records import Drop, Record
    from fmltk.annotation.settings import ImportOptions

_SHOWN_PEOPLE = 12  # of the columns that are taken for annotators
_EXPORT_COLUMN = "lead_time"  # of Label Studio's tables; in a long table it is lead_time_s
_JSON_START = re.compile(rb"(\xef\xbb\xbf|\xff\xfe|\xfe\xff)?[ \t\r\n\0]*[\[{]")  # also with a byte order mark


def read_export(path: Path, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    """Yield every rating of a file and everything in it that is none; fills `report` on the way.

    Raises AnnotationError if the file cannot be read or has none of the formats.
    """
    head = read_start(path, 4096, error=AnnotationError)
    if path.suffix.lower() in SHEET_SUFFIXES:
        yield from _read_table(path, options, report)
    elif head.startswith(b"PK\x03\x04"):
        raise AnnotationError(f"{path} is a zip archive: unpack it and import the JSON or CSV in it")
    elif _JSON_START.match(head):
        yield from _read_json(path, options, report)
    else:
        yield from _read_table(path, options, report)


def _read_json(path: Path, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    controls = set(options.controls)
    for number, element in enumerate(_tasks(iterate_json_array(path))):
        if not isinstance(element, dict):
            raise AnnotationError(
                f"{path} element {number} is {short_text(element)!r}; a task or an annotation was expected"
            )
        if "annotations" in element or "completions" in element:
            report.format = report.format or ("JSON before 1.0" if "completions" in element else "JSON")
            yield from read_task(element, f"{path.name} task {short_text(element.get('id'))}", options, report)
        elif "annotator" in element or "annotation_id" in element or not element.keys().isdisjoint(controls):
            report.format = report.format or "JSON_MIN"
            yield from read_row(element, f"{path.name} element {number}", options, report)
        else:
            fields = ", ".join(itertools.islice(map(repr, element), 8))
            raise AnnotationError(
                f"{path} element {number} is not a task of an export: it has the fields {fields}; "
                "expected annotations (JSON) or annotator (JSON_MIN). For another tool's files, make a long table: "
                "utterance_id, condition, annotator, value (annotation guide, From other tools)"
            )


def _tasks(elements: Iterable[object]) -> Iterator[object]:
    """Yield the tasks that the elements of a file are or hold.

    A project's document has them in a list, and a target storage a file for each annotation, with its task in it.
    """
    for element in elements:
        if isinstance(element, dict) and isinstance(element.get("tasks"), list):
            yield from element["tasks"]
        elif isinstance(element, dict) and "result" in element and isinstance(element.get("task"), dict):
            annotation = {name: value for name, value in element.items() if name != "task"}
            yield {**element["task"], "annotations": [annotation]}
        else:
            yield element


def _read_table(path: Path, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    with open_rows(path, encoding=options.encoding, is_text=True, error=AnnotationError) as table:
        header, report.clock.separator = table.header, table.separator
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None and "annotation_id" not in header:
            raise AnnotationError(
                f"{path}: two columns are called {twice!r}; give each annotator or field one column, under a name of "
                "its own"
            )
        if twice is not None:
            raise AnnotationError(
                f"{path} has two columns named {twice!r}: a field of the task's data collides with the server's own; "
                "import the JSON export"
            )
        columns = long_columns(table, options)
        is_export = {"annotator", "annotation_id"} <= set(header) and (
            columns is None or (bool(options.dimensions) and _EXPORT_COLUMN in header)
        )
        if is_export or (not options.dimensions and options.control in header):
            report.format = "TSV" if table.separator == "\t" else "CSV"
            lacking = [name for name in options.controls if name not in header]
            if lacking:
                raise AnnotationError(
                    f"{path} has no column {lacking[0]!r}; name the rating's control by --control, or several by "
                    f"--dimension NAME=CONTROL ({', '.join(header)})"
                )
            for where, row in table.rows:
                yield from read_row(row, where, options, report)
        elif columns is not None:
            report.format, report.columns = "long table", columns.note()
            yield from long_records(table, columns, options, report)
        elif not LABEL_COLUMNS.keys().isdisjoint(header):
            raise AnnotationError(
                f"{path} holds one label per clip ({', '.join(sorted(LABEL_COLUMNS.keys() & set(header)))}), not "
                "ratings: give it to fmltk annotation aggregate --labels"
            )
        elif columns := wide_columns(table, options):
            report.format = "wide table"
            people = ", ".join(shown_rater(name, options) for name in columns.unused[:_SHOWN_PEOPLE])
            more = ", ..." if len(columns.unused) > _SHOWN_PEOPLE else ""
            report.columns = (
                f"{replace(columns, unused=()).note()}; the other columns are taken for annotators "
                f"({len(columns.unused)}: {people}{more})"
            )
            yield from wide_records(table, columns, options, report)
        else:
            columns_found = short_text(", ".join(header))
            raise AnnotationError(
                f"{path} is neither an export nor a table of ratings: its columns are {columns_found!r}; "
                "expected annotator and annotation_id (Label Studio), utterance_id, annotator, value (long), or "
                "utterance_id and one column per annotator (wide)"
            )
