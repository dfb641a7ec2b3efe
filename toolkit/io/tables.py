"""Tables as users write and open them: CSV, TSV, spreadsheets, JSONL and Parquet read; CSV written.

This is the one reader of delimited text. Columns may be separated by commas, tabs or semicolons, as the header or a
first line `sep=;` shows; the encoding is found as for every text. Every value comes back as the text that was written:
"0001" and "NA" stay what they are.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.documents import read_json_lines
from fmltk.toolkit.io.encodings import open_text
from fmltk.toolkit.io.files import atomic_path, cannot_read
from fmltk.toolkit.io.parquet import open_parquet_table, reading
from fmltk.toolkit.io.paths import open_arrow
from fmltk.toolkit.io.sheets import OLD_SUFFIXES, SHEET_SUFFIXES, read_sheet

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import numpy as np
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from fmltk.toolkit.errors import FmltkError, MakeError
    from fmltk.toolkit.io.encodings import OpenText
    from fmltk.toolkit.io.paths import AnyPath

TABLE_SUFFIXES = (".csv", ".tsv", *SHEET_SUFFIXES, ".jsonl", ".parquet")
_TEXT_SUFFIXES = (".csv", ".tsv", ".txt")  # a .txt is a table where it is named as one
SEPARATORS = ",\t;"
_NUMBER_BLOCK_BYTES = 4 << 20
_PARQUET_BATCH_ROWS = 4096
_QUOTED = re.compile(r'"[^"]*"')
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?\s*', re.IGNORECASE)  # Excel's own first line
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # what makes a spreadsheet take a cell for a formula
_RAGGED_ROW = re.compile(r"CSV parse error: Row #(\d+): Expected (\d+) columns, got (\d+)")
_NO_NUMBER = re.compile(
    r"In CSV column #(\d+): Row #(\d+): CSV conversion error to double: invalid value (.*)", re.DOTALL
)
csv.field_size_limit(2**31 - 1)  # a transcript may be longer than csv's default of 131,072 characters


@dataclass(frozen=True)
class Table:
    """An open table of any kind: its columns' names at once, its rows once.

    Attributes
    ----------
    name
        The file's, for messages.
    header
        The columns' names, without white space around them.
    rows
        The position of a row ("t.csv line 3"), and its cells by column; a null of JSONL or Parquet is left out.
    separator
        The separator of the columns; "" where nothing in the file does.
    sheet
        Which of several sheets of a spreadsheet this is, in words; "" where there is one.
    notes
        How cells are read, where people should know it.
    """

    name: str
    header: tuple[str, ...]
    rows: Iterator[tuple[str, dict[str, str]]]
    separator: str = ""
    sheet: str = ""
    notes: tuple[str, ...] = ()


class DelimitedTable:
    """An open table of delimited text: its columns' names at once, its rows once.

    Attributes
    ----------
    header
        The columns' names, without white space around them, and without those at the end that have none.
    separator
        The separator of the columns: a comma, a tab or a semicolon.
    """

    def __init__(self, path: AnyPath, text: OpenText, error: MakeError) -> None:
        self._path, self._encoding, self._error = path, text.encoding, error
        first, self._n_blank = _first_line(path, text.lines, error)
        named = _SEPARATOR_LINE.fullmatch(first)
        if named:
            first, n_more = _first_line(path, text.lines, error)
            self._n_blank += 1 + n_more
        self.separator = named[1] if named else find_separator(first, path.suffix)
        # strict: a quote that is never closed would else swallow every row after it.
        lines = itertools.chain([first], text.lines)
        self._reader = csv.reader(lines, delimiter=self.separator, strict=True)
        written = [name for _, row in itertools.islice(self._cells(), 1) for name in row]
        self._n_written = len(written)
        self.header = _names(written)
        self._n_header_lines = self._n_blank + self._reader.line_num

    def repeated_name(self) -> str | None:
        """Return the name that more than one column has; None where each has its own."""
        return next((name for name in self.header if self.header.count(name) > 1), None)

    def rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield (line of the file, cells by column) of each row that has any cell, as written.

        Raises the table's error if two columns have one name, or a row does not fit the header.
        """
        twice = self.repeated_name()
        if twice is not None:
            raise self._error(f"{self._path} has two columns named {twice!r}; rename one")
        n_columns = len(self.header)
        for line, row in self._cells():
            if not any(map(str.strip, row)):
                continue
            if len(row) != n_columns and (len(row) < n_columns or any(map(str.strip, row[n_columns:]))):
                raise self._ragged(line, len(row))
            yield line, dict(zip(self.header, row, strict=False))  # cells beyond the header are blank

    def numbers(self, columns: Sequence[int], *, missing: Sequence[str]) -> Iterator[NDArray[np.float64]]:
        """Yield the numbers of the columns at these places, float64 (n_rows, len(columns)), some megabytes at a time.

        missing : the words that stand for NaN

        Raises the table's error if a row does not fit the header, or a cell is neither a number nor one of the words.
        """
        import numpy as np
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        names = [str(place) for place in range(self._n_written)]  # unique, whatever the file's names are
        wanted = [names[place] for place in columns]
        try:
            with open_arrow(self._path) as file:
                blocks = arrow_csv.open_csv(
                    file,
                    read_options=arrow_csv.ReadOptions(
                        column_names=names,
                        skip_rows=self._n_header_lines,
                        use_threads=False,
                        block_size=_NUMBER_BLOCK_BYTES,
                        encoding=self._encoding,
                    ),
                    parse_options=arrow_csv.ParseOptions(delimiter=self.separator),
                    convert_options=arrow_csv.ConvertOptions(
                        column_types=dict.fromkeys(wanted, pa.float64()), include_columns=wanted, null_values=missing
                    ),
                )
                for block in blocks:
                    yield np.stack([column.to_numpy(zero_copy_only=False) for column in block.columns], axis=1)
        except pa.ArrowException as error:
            if "skip initial" not in str(error):  # that says: a header alone, without even a line's end
                raise self._not_numbers(str(error)) from error
        except OSError as error:
            raise self._error(cannot_read(self._path, error)) from error

    def _cells(self) -> Iterator[tuple[int, list[str]]]:
        reader, n_blank = self._reader, self._n_blank
        last = reader.line_num  # of the row before
        try:
            for row in reader:
                last = reader.line_num
                yield n_blank + last, row
        except csv.Error as error:
            begin, end = n_blank + last + 1, n_blank + reader.line_num
            where = f"line {end}" if begin >= end else f"lines {begin} to {end}"
            raise self._error(
                f"{self._path} {where}: {error}; a text that holds a double quote must be in double quotes, and the "
                'quote in it written twice: "he said ""no"""'
            ) from error

    def _ragged(self, line: int, n_columns: int) -> FmltkError:
        return self._error(
            f"{self._path} line {line} has {n_columns} columns, its header has {len(self.header)}: the file is cut "
            "off, a text that holds the separator is not in double quotes, or a title stands above the columns' names"
        )

    def _not_numbers(self, message: str) -> FmltkError:
        """Return the error that says in our words what pyarrow found."""
        message = " ".join(message.split())  # a damaged cell may hold line ends
        if ragged := _RAGGED_ROW.match(message):
            return self._ragged(int(ragged[1]), int(ragged[3]))
        if word := _NO_NUMBER.match(message):
            column = self.header[int(word[1])]
            return self._error(f"{self._path} line {word[2]}, column {column!r}: {word[3][:40]} is not a number")
        return self._error(f"{self._path} is not a table that can be read: {message[:120]}")


@contextmanager
def open_table(
    path: AnyPath, *, encoding: str | None = None, error: MakeError = ConfigError
) -> Iterator[DelimitedTable]:
    """Open a table of delimited text, whatever its name ends in. Memory is bounded by its longest row.

    Raises `error` if the file cannot be read, is not text in a known encoding (see `open_text`), or is empty.
    """
    with open_text(path, encoding=encoding, error=error) as text:
        yield DelimitedTable(path, text, error)


def _names(written: Sequence[str]) -> tuple[str, ...]:
    """Return a header's names, each on one line, without white space around them, and without blank ones at the end."""
    names = [" ".join(name.replace("\ufeff", "").split()) for name in written]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def find_separator(header: str, suffix: str) -> str:
    r"""Return the comma, tab or semicolon that a table's first line has most of, outside quotes.

    suffix : of the file's name; where that does not decide, .tsv means a tab and any other a comma

    >>> find_separator('id;"so, yes, text";mode', ".csv"), find_separator("id", ".tsv")
    (';', '\t')
    """
    usual = "\t" if suffix.lower() == ".tsv" else ","
    return max(usual + SEPARATORS, key=_QUOTED.sub("", header).count)


def _first_line(path: AnyPath, lines: Iterator[str], error: MakeError) -> tuple[str, int]:
    """Return the first line that is not blank, and how many blank ones come before it."""
    for n_blank, line in enumerate(lines):
        if line.strip():
            return line, n_blank
    raise error(f"{path} is empty; expected a line with the columns' names, then a line for each row")


def read_rows(
    path: AnyPath, *, encoding: str | None = None, error: MakeError = ConfigError
) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (where, row) for every row of a table; see `open_rows`."""
    with open_rows(path, encoding=encoding, error=error) as table:
        yield from table.rows


@contextmanager
def open_rows(
    path: AnyPath, *, encoding: str | None = None, is_text: bool = False, error: MakeError = ConfigError
) -> Iterator[Table]:
    """Open a table of any kind, as its name ends. Values are text as written, of a spreadsheet as people see them.

    is_text : whether a file of another ending is delimited text

    Raises `error` if the table cannot be read, is of another kind, or a row does not fit its header.
    """
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        with open_parquet_table(path, what="table", error=error) as file, reading(path, error=error):
            yield Table(path.name, tuple(file.schema_arrow.names), _parquet_rows(path, file))
    elif suffix == ".jsonl":
        lines = read_json_lines(path, encoding=encoding, error=error)
        header = tuple(dict.fromkeys(key for _, row in lines for key in row))
        yield Table(path.name, header, _jsonl_rows(path, encoding, error))
    elif suffix in (*SHEET_SUFFIXES, *OLD_SUFFIXES):
        yield _sheet_table(path, error)
    elif suffix in _TEXT_SUFFIXES or is_text:
        with open_table(path, encoding=encoding, error=error) as table:
            rows = ((f"{path.name} line {line}", row) for line, row in table.rows())
            yield Table(path.name, table.header, rows, table.separator)
    else:
        raise error(f"{path} is not a table; expected one of {', '.join(TABLE_SUFFIXES)}")


def _sheet_table(path: AnyPath, error: MakeError) -> Table:
    sheet = read_sheet(path, error=error)
    numbered = [(sheet.first_row + place, row) for place, row in enumerate(sheet.rows) if any(map(str.strip, row))]
    header = _names(numbered[0][1])
    twice = next((name for name in header if header.count(name) > 1), None)
    if twice is not None:
        raise error(f"{path} has two columns named {twice!r}; rename one")
    rows = []
    for number, row in numbered[1:]:
        if any(map(str.strip, row[len(header) :])):
            raise error(
                f"{path} row {number} has a cell in a column without a name; name it, or remove what is above the names"
            )
        rows.append((f"{path.name} row {number}", dict(zip(header, row, strict=False))))
    of = f"sheet {sheet.name!r}, one of {sheet.n_sheets}" if sheet.n_sheets > 1 else ""
    said = {
        "cells that are merged with the one above have its value": sheet.n_merged,
        "rows that are hidden are read as well; delete those that do not count": sheet.n_hidden,
    }
    notes = tuple(f"{words} ({n})" for words, n in said.items() if n)
    return Table(path.name, header, iter(rows), sheet=of, notes=notes)


def _jsonl_rows(path: AnyPath, encoding: str | None, error: MakeError) -> Iterator[tuple[str, dict[str, str]]]:
    for number, row in read_json_lines(path, encoding=encoding, error=error):
        yield f"{path.name} line {number}", _as_written(row)


def _parquet_rows(path: AnyPath, file: pq.ParquetFile) -> Iterator[tuple[str, dict[str, str]]]:
    number = 0
    for batch in file.iter_batches(batch_size=_PARQUET_BATCH_ROWS):
        for row in batch.to_pylist():
            number += 1
            yield f"{path.name} row {number}", _as_written(row)


def _as_written(row: dict[str, object]) -> dict[str, str]:
    """Return a row's values as text, without those that are null."""
    return {key: _text(value) for key, value in row.items() if value is not None}


def _text(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")  # no file can hold half a character


def write_csv(
    path: AnyPath,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    spreadsheet_safe: bool,
    byte_order_mark: bool = False,
) -> None:
    """Write a CSV in UTF-8, atomically; None and NaN are blank cells.

    spreadsheet_safe : put an apostrophe before texts that a spreadsheet would run as a formula
    byte_order_mark : begin with one, without which Excel takes the file for one in an old encoding

    Raises StoreError if the file cannot be written.
    """
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write("\ufeff" if byte_order_mark else "")
        _write_rows(file, header, rows, spreadsheet_safe=spreadsheet_safe)


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    r"""Return a CSV for spreadsheets as text: no cell is run as a formula; None and NaN are blank cells.

    >>> csv_text(["clip", "score"], [["=1+1", 0.5], ["b", None]])
    "clip,score\n'=1+1,0.5\nb,\n"
    """
    file = io.StringIO(newline="")
    _write_rows(file, header, rows, spreadsheet_safe=True)
    return file.getvalue()


def _write_rows(
    file: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]], *, spreadsheet_safe: bool
) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(map(guarded, header) if spreadsheet_safe else header)
    for row in rows:
        cells = ["" if cell is None or cell != cell else cell for cell in row]  # noqa: PLR0124 - NaN is not itself
        writer.writerow([guarded(one) if isinstance(one, str) else one for one in cells] if spreadsheet_safe else cells)


def unguarded(cell: str) -> str:
    """Return a cell without the apostrophe that `guarded` put before it.

    >>> unguarded("'-3g5yACwYnA"), unguarded("'tis")
    ('-3g5yACwYnA', "'tis")
    """
    return cell[1:] if cell.startswith("'") and cell[1:].startswith(_FORMULA_STARTS) else cell


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
