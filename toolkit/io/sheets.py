"""Spreadsheets (.xlsx, .xlsm, .ods): the rows of one sheet, as the texts that a person sees.

python-calamine reads them, from what `sheet_archive` unpacks. Excel 97 files (.xls) have no such archive, so they are
refused: a damaged one would end the whole process.
"""

from __future__ import annotations

import datetime as dt
import io
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from xml.parsers import expat

from fmltk.toolkit.io.files import cannot_read, open_file
from fmltk.toolkit.io.sheet_archive import UNSAVED, MergedCellsError, TooLargeError, check_size, checked_archive

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from python_calamine import CalamineSheet, CalamineWorkbook

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath

SHEET_SUFFIXES = (".xlsx", ".xlsm", ".ods")
OLD_SUFFIXES = (".xls", ".xlsb")  # known and refused: a damaged one ends the process that reads it
MAX_FILE_BYTES = 64 << 20
_LIMITS = "which is more than a table for people holds; save it as CSV"
_ZIP = b"PK\x03\x04"
_OLD = b"\xd0\xcf\x11\xe0"  # what files of Excel 97 begin with, and new ones that have a password


@dataclass(frozen=True)
class Sheet:
    """The rows of a sheet, each of the same number of texts; `number` of the first row, as spreadsheets count.

    n_merged : how many cells have the text of the cell that they were merged with, above them
    n_hidden : how many rows of an .xlsx are hidden, as a filter leaves them
    """

    name: str
    n_sheets: int
    first_row: int
    rows: Sequence[Sequence[str]]
    n_merged: int = 0
    n_hidden: int = 0


def read_sheet(path: AnyPath, *, error: MakeError) -> Sheet:
    """Return the first visible sheet of a spreadsheet that holds anything.

    Raises `error` if the file cannot be read, has a password, is of Excel 97, damaged or not a spreadsheet, beyond the
    limits, all its sheets are empty, another visible sheet has the same columns, or a formula has no saved result.
    """
    import python_calamine as calamine

    try:
        with open_file(path) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as fault:
        raise error(cannot_read(path, fault)) from fault
    try:
        if len(data) > MAX_FILE_BYTES:
            raise TooLargeError(f"more than {MAX_FILE_BYTES >> 20} MiB")
        if not data.startswith(_ZIP):
            kind = "of Excel 97 or has a password" if data.startswith(_OLD) else "damaged or not a spreadsheet"
            raise error(f"{path} is {kind}; open it and save it as .xlsx without a password, or as CSV")
        archive, hidden_rows = checked_archive(data)
        sheet = _first_sheet(path, calamine.load_workbook(io.BytesIO(archive)), error)
        places = range(sheet.first_row, sheet.first_row + len(sheet.rows))
        return replace(sheet, n_hidden=len(hidden_rows.get(sheet.name, set()) & set(places)))
    except MergedCellsError as fault:
        raise error(
            f"{path} has cells that are merged downwards, whose value only the first holds in this format; save it as "
            ".xlsx, or give every row its value"
        ) from fault
    except TooLargeError as fault:
        raise error(f"{path} is not read: it holds {fault}, {_LIMITS}") from fault
    except (
        calamine.CalamineError, zipfile.BadZipFile, zlib.error, expat.ExpatError, EOFError, NotImplementedError,
        ArithmeticError, LookupError, OSError, RuntimeError, ValueError,
    ) as fault:  # fmt: skip
        said = " ".join(str(fault).split())[:120]
        raise error(f"{path} is damaged or not a spreadsheet ({said}); open it and save it again, or as CSV") from fault


def _first_sheet(path: AnyPath, workbook: CalamineWorkbook, error: MakeError) -> Sheet:
    hidden = {one.name for one in workbook.sheets_metadata if str(one.visible).rpartition(".")[2] != "Visible"}
    names = sorted(workbook.sheet_names, key=lambda name: name in hidden)  # stable: hidden ones last
    for place, name in enumerate(names):
        sheet = workbook.get_sheet_by_name(name)
        rows = _texts(sheet)
        if any(cell.strip() for row in rows for cell in row):
            for other in names[place + 1 :]:
                if other not in hidden and _has_more_rows(_texts(workbook.get_sheet_by_name(other)), rows):
                    raise error(
                        f"{path} has the same columns on the sheets {name!r} and {other!r}; copy all rows to one "
                        "sheet, or hide the sheet that does not count"
                    )
            first_row, first_column = sheet.start or (0, 0)
            n_merged = _fill_merged(rows, sheet.merged_cell_ranges or (), first_row, first_column)
            _refuse_unsaved(path, rows, first_row, error)
            return Sheet(name, len(names), first_row + 1, rows, n_merged)
    raise error(f"{path} is empty; expected a sheet with the columns' names, then a row for each clip")


def _texts(sheet: CalamineSheet) -> list[list[str]]:
    return [[cell_text(cell) for cell in row] for row in sheet.to_python(skip_empty_area=True)]


def _has_more_rows(rows: Sequence[Sequence[str]], known: Sequence[Sequence[str]]) -> bool:
    """Whether rows have the columns' names of those that are known, and a row that is not one of them."""
    own, others = (
        [[cell.strip() for cell in row] for row in some if any(map(str.strip, row))] for some in (rows, known)
    )
    return bool(own) and own[0] == others[0] and not {*map(tuple, own)} <= {*map(tuple, others)}


def _fill_merged(
    rows: list[list[str]], merged: Iterable[tuple[tuple[int, int], tuple[int, int]]], first_row: int, first_column: int
) -> int:
    """Give empty cells the text of the cell above that they were merged with, as people see it; return how many."""
    n_filled = n_seen = 0
    for (top, left), (bottom, _) in merged:
        column, start = left - first_column, top - first_row
        if not (0 <= start < len(rows) and 0 <= column < len(rows[start])):
            continue
        for row in rows[start + 1 : bottom - first_row + 1]:
            n_seen += 1
            if row[column] == "" != rows[start][column]:
                row[column] = rows[start][column]
                n_filled += 1
        check_size(n_seen)  # ranges of a crafted file may overlap
    return n_filled


def _refuse_unsaved(path: AnyPath, rows: Sequence[Sequence[str]], first_row: int, error: MakeError) -> None:
    lines = [first_row + place + 1 for place, row in enumerate(rows) for cell in row if cell == UNSAVED]
    if lines:
        raise error(
            f"{path} row {lines[0]} has a formula whose result is not in the file ({len(lines)} in all), as programs "
            "that do not calculate write it; open it in a spreadsheet program and save it, or write the values"
        )


def cell_text(value: object) -> str:
    """Return a cell as people see it: 1.0 is "1", dates and times are in ISO form, durations on a clock.

    >>> cell_text(1.0), cell_text(0.1 + 0.2), cell_text(dt.time(0, 1, 2, 500000)), cell_text(dt.timedelta(hours=30))
    ('1', '0.3', '00:01:02.5', '30:00:00')
    """
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, float):
        return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.15g}"
    if isinstance(value, dt.datetime):
        return _without_zeros(value.isoformat(" "))
    if isinstance(value, dt.time):
        return _without_zeros(value.isoformat())
    if isinstance(value, dt.timedelta):
        seconds, microseconds = divmod(value // dt.timedelta(microseconds=1), 1_000_000)
        clock = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}.{microseconds:06d}"
        return _without_zeros(clock)
    return str(value)


def _without_zeros(clock: str) -> str:
    return clock.rstrip("0").rstrip(".") if "." in clock else clock
