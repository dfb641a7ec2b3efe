"""Reading the tables that users write: CSV, TSV, JSONL, Parquet, in the encodings that occur in the field.

Every value comes back as the text that was written: "0001" and "NA" stay what they are.
"""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import read_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmltk.toolkit.io.paths import AnyPath

TABLE_SUFFIXES = (".csv", ".tsv", ".jsonl", ".parquet")
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet take a cell for a formula
csv.field_size_limit(2**31 - 1)  # a transcript may be longer than csv's default of 131,072 characters


def guarded(cell: str) -> str:
    """Return a cell's text that no spreadsheet runs as a formula: what begins like one gets an apostrophe before it.

    >>> guarded("=1+1"), guarded("-0.5"), guarded("- no")
    ("'=1+1", '-0.5', "'- no")
    """
    if not cell.startswith(_FORMULA_STARTS):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell


def read_rows(path: AnyPath, *, encoding: str | None = None) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, row) for every row of a table; `where` names file and line for messages.

    Values are text as written; a null of JSONL or Parquet is left out of the row.

    Raises ConfigError if the table cannot be read, is of another kind, or a row does not fit its header.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(path)
    elif suffix == ".jsonl":
        yield from _jsonl_rows(path, read_text(path, encoding=encoding))
    elif suffix in (".csv", ".tsv"):
        delimiter = "\t" if suffix == ".tsv" else ","
        yield from _csv_rows(path, read_text(path, encoding=encoding), delimiter)
    else:
        raise ConfigError(f"{path} is not a table; expected one of {', '.join(TABLE_SUFFIXES)}")


def _csv_rows(path: AnyPath, text: str, delimiter: str) -> Iterator[tuple[str, dict[str, str]]]:
    # strict: a quote that is never closed would else swallow every row after it.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        _check_header(path, header, delimiter)
        for row in reader:
            if not any(cell.strip() for cell in row):
                continue
            where = f"{path.name} line {reader.line_num}"
            if len(row) != len(header):
                raise ConfigError(
                    f"{where} has {len(row)} columns, its header has {len(header)}; "
                    "a text that holds the separator must be in double quotes"
                )
            yield where, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise ConfigError(
            f"{path.name} line {reader.line_num}: {error}; a text that holds a double quote must be in double quotes, "
            'and the quote in it written twice: "he said ""no"""'
        ) from error


def _check_header(path: AnyPath, header: list[str], delimiter: str) -> None:
    if len(set(header)) != len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ConfigError(f"{path} has two columns named {twice!r}; rename one")
    other = next((one for one in ",;\t" if one != delimiter and one in "".join(header)), None)
    if len(header) == 1 and other is not None:
        raise ConfigError(
            f"{path} is separated by {other!r}, not by {delimiter!r} as its name says; "
            "save it with commas as .csv or with tabs as .tsv"
        )


def _jsonl_rows(path: AnyPath, text: str) -> Iterator[tuple[str, dict[str, str]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{path.name} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where} is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise ConfigError(f'{where} is not a JSON object such as {{"video_id": "a", "text": "..."}}')
        yield where, {key: _as_written(value) for key, value in row.items() if value is not None}


def _parquet_rows(path: AnyPath) -> Iterator[tuple[str, dict[str, str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from fmltk.toolkit.io.paths import open_arrow

    try:
        with open_arrow(path) as source, pq.ParquetFile(source) as file:
            number = 0
            for batch in file.iter_batches(batch_size=4096):
                for row in batch.to_pylist():
                    number += 1
                    yield (
                        f"{path.name} row {number}",
                        {key: _as_written(value) for key, value in row.items() if value is not None},
                    )
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"cannot read {path} as Parquet: {error}") from error


def _as_written(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")  # no file can hold half a character
