"""Spreadsheets (.xlsx, .xlsm, .ods): the rows of one sheet, as the texts that a person sees.

python-calamine reads them. It holds a sheet as one rectangle, so a far cell or a text that is repeated would cost any
amount of memory: what an archive contains is unpacked here, within limits, and only that is handed on. Excel 97 files
(.xls) have no such archive, so they are refused: a damaged one would end the whole process.
"""

from __future__ import annotations

import datetime as dt
import io
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, replace
from html import unescape
from typing import TYPE_CHECKING
from xml.parsers import expat

from fmltk.toolkit.io.files import cannot_read, open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from python_calamine import CalamineSheet, CalamineWorkbook

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath

SHEET_SUFFIXES = (".xlsx", ".xlsm", ".ods")
OLD_SUFFIXES = (".xls", ".xlsb")  # known and refused: a damaged one ends the process that reads it
MAX_FILE_BYTES = 64 << 20
MAX_UNPACKED_BYTES = 256 << 20
MAX_CELLS = 8_000_000  # of a sheet, up to its last one that holds something
MAX_CHARACTERS = 512 << 20  # of all cells together, each counted where it stands
_LIMITS = "which is more than a table for people holds; save it as CSV"
_ZIP = b"PK\x03\x04"
_OLD = b"\xd0\xcf\x11\xe0"  # what files of Excel 97 begin with, and new ones that have a password
# Each is linear in the file's length: no part of them runs past the next tag.
_CELL = re.compile(rb"<(?:\w+:)?(?:c|row)\b[^<>]*?\br\s*=\s*[\"']([A-Za-z]*)(\d+)[\"']")
_SHARED_TEXT_END = re.compile(rb"</(?:\w+:)?si\s*>")
_SHARED_CELL = re.compile(rb"\bt\s*=\s*[\"']s[\"'][^<>]*>\s*<(?:\w+:)?v[^<>]*>\s*(\d+)")
_ERROR_CELL = re.compile(rb"(<(?:\w+:)?c\b[^<>]*?\bt\s*=\s*[\"'])e([\"'])")
# A whole number in a cell, of a formula or not; its style says how many digits are shown.
_WHOLE_CELL = re.compile(
    rb"<((?:\w+:)?c)\b([^<>]*)>(\s*(?:<(?:\w+:)?f\b[^<>]*(?:/>|>[^<>]*</(?:\w+:)?f\s*>)\s*)?<(?:\w+:)?v>)([0-9]+)(?:\.0+)?<"
)
_STYLE = re.compile(rb"\bs\s*=\s*[\"']([0-9]+)[\"']")
_TYPE = re.compile(rb"\st\s*=\s*[\"'](\w+)[\"']")
_NUMBER_FORMAT = re.compile(rb"<(?:\w+:)?numFmt\s([^<>]*)>")
_CELL_FORMAT = re.compile(rb"<(?:\w+:)?xf\s([^<>]*)>")
_ATTRIBUTE = re.compile(rb"(\w+)\s*=\s*[\"']([^\"']*)[\"']")
_LEADING_ZEROS = re.compile(rb"(0{2,40})(;.*)?")  # a number format that shows 7 as 0007
_ZEROS_IN_ODS = re.compile(rb"<table:table-cell\b([^<>]*)>(\s*<text:p>0[0-9]+</text:p>)")
# A formula in a cell, and its result; programs that do not calculate write none, or say that all is to be calculated.
_FORMULA_CELL = re.compile(
    rb"<((?:\w+:)?c)\b([^<>]*)>\s*<(?:\w+:)?f\b[^<>]*(?:(?<=/)>|>[^<]*</(?:\w+:)?f\s*>)\s*"
    rb"(?:<(?:\w+:)?v\s*/>\s*|<(?:\w+:)?v\b[^<>]*>([^<]*)</(?:\w+:)?v\s*>\s*)?</(?:\w+:)?c\s*>"
)
_TO_CALCULATE = re.compile(rb"<(?:\w+:)?calcPr\b[^<>]*\bfullCalcOnLoad\s*=\s*[\"'](?:1|true)[\"']")
_EMPTY_IN_ODS = re.compile(rb"<table:table-cell\b([^<>]*)>(?:(?<=/>)|\s*</table:table-cell\s*>)")
_MERGED_IN_ODS = re.compile(rb"\btable:number-rows-spanned\s*=\s*[\"'](?!1[\"'])[0-9]")
_SHEET = re.compile(rb"<(?:\w+:)?sheet\s([^<>]*)>")
_RELATION = re.compile(rb"<(?:\w+:)?Relationship\s([^<>]*)>")
_ROW = re.compile(rb"<(?:\w+:)?row\s([^<>]*)>")
_UNSAVED = "\ue000formula"  # stands for a result that the file does not hold, until the rows are read
_NUMBER_IN_ODS = re.compile(rb"\boffice:value(?:-type)?\s*=\s*[\"'][^\"']*[\"']")


class _TooLargeError(Exception):
    """A spreadsheet that is beyond the limits."""


class _MergedError(Exception):
    """An .ods with cells that are merged downwards, which calamine does not name."""


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
            raise _TooLargeError(f"more than {MAX_FILE_BYTES >> 20} MiB")
        if not data.startswith(_ZIP):
            kind = "of Excel 97 or has a password" if data.startswith(_OLD) else "damaged or not a spreadsheet"
            raise error(f"{path} is {kind}; open it and save it as .xlsx without a password, or as CSV")
        archive, hidden_rows = _checked_archive(data)
        sheet = _first_sheet(path, calamine.load_workbook(io.BytesIO(archive)), error)
        places = range(sheet.first_row, sheet.first_row + len(sheet.rows))
        return replace(sheet, n_hidden=len(hidden_rows.get(sheet.name, set()) & set(places)))
    except _MergedError as fault:
        raise error(
            f"{path} has cells that are merged downwards, whose value only the first holds in this format; save it as "
            ".xlsx, or give every row its value"
        ) from fault
    except _TooLargeError as fault:
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
        _check_size(n_seen)  # ranges of a crafted file may overlap
    return n_filled


def _refuse_unsaved(path: AnyPath, rows: Sequence[Sequence[str]], first_row: int, error: MakeError) -> None:
    lines = [first_row + place + 1 for place, row in enumerate(rows) for cell in row if cell == _UNSAVED]
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


def _checked_archive(data: bytes) -> tuple[bytes, dict[str, set[int]]]:
    """Return the archive's XML files as they were unpacked and counted, without compression; by sheet, hidden rows.

    Raises _TooLargeError beyond the limits.
    """
    checked, left = io.BytesIO(), MAX_UNPACKED_BYTES
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(checked, "w", zipfile.ZIP_STORED) as copy:
        shared: list[int] = []
        widths: dict[bytes, int] = {}
        calculated: bool = True
        names, files = dict[bytes, str](), dict[bytes, bytes]()  # of the sheets, by the ids of their relations
        hidden: dict[str, set[int]] = {}  # by the end of a sheet's path
        members = [one for one in archive.infolist() if one.filename.endswith((".xml", ".rels", "mimetype"))]
        for member in sorted(members, key=lambda one: "worksheets/" in one.filename.lower()):
            with archive.open(member) as file:
                content = file.read(left + 1)
            left -= len(content)
            if left < 0:
                raise _TooLargeError(f"more than {MAX_UNPACKED_BYTES >> 20} MiB once unpacked")
            if b"\0" in content[:4096]:
                raise ValueError(f"{member.filename} is not UTF-8")
            name = member.filename.lower()
            if name.endswith("sharedstrings.xml"):
                shared = [len(one) for one in _SHARED_TEXT_END.split(content)]
            elif name.endswith("styles.xml"):
                widths = _zero_widths(content)
            elif name.endswith("xl/workbook.xml"):
                calculated = _TO_CALCULATE.search(content) is None
                tags = [dict(_ATTRIBUTE.findall(tag)) for tag in _SHEET.findall(content)]
                names = {tag[b"id"]: unescape(tag[b"name"].decode()) for tag in tags if {b"id", b"name"} <= tag.keys()}
            elif name.endswith("workbook.xml.rels"):
                tags = [dict(_ATTRIBUTE.findall(tag)) for tag in _RELATION.findall(content)]
                files = {tag.get(b"Id", b""): tag.get(b"Target", b"").rpartition(b"/")[2] for tag in tags}
            elif "worksheets/" in name and name.endswith(".xml"):
                _check_worksheet(content, shared)
                hidden[name.rpartition("/")[2]] = _hidden_rows(content)
                content = _FORMULA_CELL.sub(_with_result if calculated else _without_result, content)
                content = _ERROR_CELL.sub(rb"\1str\2", content)  # calamine's Python face leaves errors out
                content = _with_zeros(content, widths) if widths else content
            elif name.endswith("content.xml"):
                if _MERGED_IN_ODS.search(content):
                    raise _MergedError
                _OpenDocument().check(content)
                content = _ZEROS_IN_ODS.sub(_as_text_in_ods, content)
                content = _EMPTY_IN_ODS.sub(_formula_in_ods, content)
            copy.writestr(member.filename, content)
    of_sheets = {names[one]: hidden.get(file.decode().lower(), set()) for one, file in files.items() if one in names}
    return checked.getvalue(), of_sheets


def _hidden_rows(worksheet: bytes) -> set[int]:
    """Return the numbers of the rows that are hidden, as a filter leaves them."""
    tags = (dict(_ATTRIBUTE.findall(tag)) for tag in _ROW.findall(worksheet) if b"hidden" in tag)
    return {
        int(tag[b"r"][:9]) for tag in tags if tag.get(b"hidden") in (b"1", b"true") and tag.get(b"r", b"").isdigit()
    }


def _zero_widths(styles: bytes) -> dict[bytes, int]:
    """Return how many digits the styles of an .xlsx show that write zeros before a number, by the style's number."""
    widths = {}
    for tag in _NUMBER_FORMAT.findall(styles):
        attributes = dict(_ATTRIBUTE.findall(tag))
        zeros = _LEADING_ZEROS.fullmatch(attributes.get(b"formatCode", b""))
        if zeros:
            widths[attributes.get(b"numFmtId")] = len(zeros[1])
    cell_formats = styles.partition(b"cellXfs")[2].partition(b"cellXfs")[0]
    used = [dict(_ATTRIBUTE.findall(tag)).get(b"numFmtId") for tag in _CELL_FORMAT.findall(cell_formats)]
    return {str(style).encode(): widths[one] for style, one in enumerate(used) if one in widths}


def _with_zeros(worksheet: bytes, widths: Mapping[bytes, int]) -> bytes:
    """Return a worksheet whose numbers that are shown with leading zeros are those texts."""

    def shown(cell: re.Match[bytes]) -> bytes:
        style, kind = _STYLE.search(cell[2]), _TYPE.search(cell[2])
        width = widths.get(style[1], 0) if style else 0
        if len(cell[4]) >= width or (kind and kind[1] != b"n"):
            return cell[0]
        return b'<%b%b t="str">%b%b<' % (cell[1], _TYPE.sub(b"", cell[2]), cell[3], cell[4].zfill(width))

    return _WHOLE_CELL.sub(shown, worksheet)


def _with_result(cell: re.Match[bytes]) -> bytes:
    """Return a formula's cell as it is where it has a result; one of type str may be an empty text."""
    kind = _TYPE.search(cell[2])
    return cell[0] if (cell[3] or b"").strip() or (kind and kind[1] == b"str") else _without_result(cell)


def _without_result(cell: re.Match[bytes]) -> bytes:
    attributes = _TYPE.sub(b"", cell[2])
    return b'<%b%b t="str"><v>%b</v></%b>' % (cell[1], attributes, _UNSAVED.encode(), cell[1])


def _formula_in_ods(cell: re.Match[bytes]) -> bytes:
    if b"table:formula" not in cell[1] or b"office:value-type" in cell[1]:  # the latter: an empty text is the result
        return cell[0]
    attributes, text = cell[1].rstrip(b"/"), b"<text:p>%b</text:p>" % _UNSAVED.encode()
    return b'<table:table-cell office:value-type="string"%b>%b</table:table-cell>' % (attributes, text)


def _as_text_in_ods(cell: re.Match[bytes]) -> bytes:
    return b'<table:table-cell office:value-type="string"%b>%b' % (_NUMBER_IN_ODS.sub(b"", cell[1]), cell[2])


def _check_worksheet(content: bytes, shared: Sequence[int]) -> None:
    rows = columns = 0
    for letters, digits in _CELL.findall(content):
        column = 0
        for letter in letters.upper()[:4]:
            column = column * 26 + letter - 64
        rows, columns = max(rows, int(digits[:9])), max(columns, column)
    _check_size(rows * columns)
    counts = Counter(_SHARED_CELL.findall(content))
    _check_size(0, sum(shared[int(index)] * n for index, n in counts.items() if int(index[:9]) < len(shared)))


def _check_size(n_cells: int, n_characters: int = 0) -> None:
    if n_cells > MAX_CELLS:
        raise _TooLargeError(f"a sheet of {n_cells:,} cells (at most {MAX_CELLS:,})")
    if n_characters > MAX_CHARACTERS:
        raise _TooLargeError(f"a sheet of {n_characters:,} characters (at most {MAX_CHARACTERS:,})")


class _OpenDocument:
    """Counts what an .ods sheet holds once its repeated rows and cells are written out."""

    def __init__(self) -> None:
        self._row_repeat = self._rows = self._columns = self._column = self._repeat = 0
        self._widest = self._last_row = self._characters = self._in_cell = 0

    def check(self, content: bytes) -> None:
        """Raise _TooLargeError where a sheet is beyond the limits, ExpatError where it is not XML."""
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.Parse(content, True)

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if tag == "table:table":
            self._rows = self._widest = self._last_row = 0
        elif tag == "table:table-row":
            self._row_repeat, self._column = int(attributes.get("table:number-rows-repeated", 1)), 0
            self._rows += self._row_repeat
        elif tag in ("table:table-cell", "table:covered-table-cell"):
            self._repeat = int(attributes.get("table:number-columns-repeated", 1))
            self._column += self._repeat
            self._in_cell = 1
            if "office:value-type" in attributes or "table:formula" in attributes:
                self._filled(0)

    def _end(self, tag: str) -> None:
        if tag in ("table:table-cell", "table:covered-table-cell"):
            self._in_cell = 0

    def _text(self, text: str) -> None:
        if self._in_cell:
            self._filled(len(text))

    def _filled(self, n_characters: int) -> None:
        self._widest, self._last_row = max(self._widest, self._column), self._rows
        self._characters += n_characters * self._repeat * self._row_repeat
        _check_size(self._widest * self._last_row, self._characters)
