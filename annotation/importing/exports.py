"""Reading what Label Studio exports: JSON, JSON_MIN, CSV, TSV, snapshots, and the formats before 1.0.

The kind of file is detected from its content; memory is bounded by the largest task.
"""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING, Any

from fmltk.annotation.importing.label_studio import FileReport, read_row, read_task
from fmltk.annotation.importing.rating_tables import is_long, is_wide, long_records, wide_records
from fmltk.annotation.importing.records import Drop, Record, printable
from fmltk.annotation.json_stream import iterate_json_array
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.features.label_table import LABEL_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fmltk.annotation.settings import ImportOptions


def read_export(path: Path, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    """Yield every rating of a file and everything in it that is none; fills `report` on the way.

    Raises AnnotationError if the file cannot be read or is none of the formats.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as error:
        raise AnnotationError(f"cannot read {path}: {error.strerror or error}") from error
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if head.startswith(b"PK\x03\x04"):
        raise AnnotationError(f"{path} is a zip archive: unpack it and import the JSON or CSV in it")
    if not first:
        raise AnnotationError(f"{path} is empty; expected an export of Label Studio or a table of ratings")
    if first in (b"[", b"{"):
        yield from _read_json(path, options, report)
    else:
        yield from _read_delimited(path, options, report)


def _read_json(path: Path, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    for number, element in enumerate(iterate_json_array(path)):
        if not isinstance(element, dict):
            raise AnnotationError(
                f"{path} element {number} is {printable(element)!r}; a task or an annotation was expected"
            )
        if "annotations" in element or "completions" in element:
            report.format = report.format or ("JSON before 1.0" if "completions" in element else "JSON")
            yield from read_task(element, f"{path.name} task {printable(element.get('id'))}", options, report)
        elif "annotator" in element or options.control in element or "annotation_id" in element:
            report.format = report.format or "JSON_MIN"
            yield from read_row(element, f"{path.name} element {number}", options, report)
        else:
            fields = ", ".join(itertools.islice(map(repr, element), 8))
            raise AnnotationError(
                f"{path} element {number} is no task of an export: it has the fields {fields}; "
                "expected annotations (JSON) or annotator (JSON_MIN)"
            )


def _read_delimited(path: Path, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    try:
        with path.open(encoding=options.encoding, newline="") as file:
            delimiter = _delimiter(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)  # else an open quote swallows what follows
            header = [name.strip() for name in next(reader, [])]
            twice = {name for name in header if header.count(name) > 1}
            if twice:
                raise AnnotationError(
                    f"{path} has several columns named {', '.join(sorted(map(repr, twice)))}: a field of the task's "
                    "data collides with the server's own; import the JSON export"
                )
            rows = _rows(path, reader, header)
            if {"annotator", "annotation_id"} <= set(header):
                report.format = "TSV" if delimiter == "\t" else "CSV"
                if options.control not in header:
                    raise AnnotationError(
                        f"{path} has no column {options.control!r}; name the rating's control by --control "
                        f"({', '.join(header)})"
                    )
                for line, row in rows:
                    yield from read_row(row, f"{path.name} line {line}", options, report)
            elif is_long(header):
                report.format = "long table"
                yield from long_records(path, rows, header, options, report)
            elif not LABEL_COLUMNS.keys().isdisjoint(header):
                raise AnnotationError(
                    f"{path} holds one label per clip ({', '.join(sorted(LABEL_COLUMNS.keys() & set(header)))}), not "
                    "ratings: give it to fmltk annotation aggregate --labels"
                )
            elif is_wide(header):
                report.format = "wide table"
                yield from wide_records(path, rows, header, options, report)
            else:
                raise AnnotationError(
                    f"{path} is no export and no table of ratings: its columns are {printable(', '.join(header))!r}; "
                    "expected annotator and annotation_id (Label Studio), utterance_id, annotator, value (long), or "
                    "utterance_id and one column per rater (wide)"
                )
    except (UnicodeDecodeError, LookupError) as error:
        raise AnnotationError(
            f"{path} is not {options.encoding.removesuffix('-sig')} text; name its encoding by --encoding, such as "
            "gb18030"
        ) from error
    except csv.Error as error:
        raise AnnotationError(
            f"cannot read {path}: {error}; a text that holds a double quote must be in double quotes, and the quote in "
            "it written twice"
        ) from error
    except OSError as error:
        raise AnnotationError(f"cannot read {path}: {error.strerror or error}") from error


def _delimiter(header: str) -> str:
    return max("\t,;", key=header.count)


def _rows(path: Path, reader: Any, header: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    for row in reader:
        if not any(cell.strip() for cell in row):
            continue
        if len(row) != len(header):
            raise AnnotationError(
                f"{path} line {reader.line_num} has {len(row)} columns, its header {len(header)}: the file is cut off "
                "or a text with the separator is not quoted"
            )
        yield reader.line_num, dict(zip(header, row, strict=True))
