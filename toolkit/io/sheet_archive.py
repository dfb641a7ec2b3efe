"""What a spreadsheet's archive holds, unpacked within limits and in the form that python-calamine shows whole.

calamine holds a sheet as one rectangle, so a far cell or a text that is repeated would cost any amount of memory. Its
Python face leaves out errors and number formats, and does not tell a formula without a saved result from an empty cell:
such cells are written as texts here.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections import Counter
from html import unescape
from typing import TYPE_CHECKING
from xml.parsers import expat

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAX_UNPACKED_BYTES = 256 << 20
MAX_CELLS = 8_000_000  # of a sheet, up to its last one that holds something
MAX_CHARACTERS = 512 << 20  # of all cells together, each counted where it stands
_FOR_OTHERS = ("customXml/", "docProps/")  # about the document, for other programs, and in UTF-16 at times
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
UNSAVED = "\ue000formula"  # stands for a result that the file does not hold, until the rows are read
_NUMBER_IN_ODS = re.compile(rb"\boffice:value(?:-type)?\s*=\s*[\"'][^\"']*[\"']")


class TooLargeError(Exception):
    """A spreadsheet that is beyond the limits."""


class MergedCellsError(Exception):
    """An .ods with cells that are merged downwards, which calamine does not name."""


def checked_archive(data: bytes) -> tuple[bytes, dict[str, set[int]]]:
    """Return the archive's XML files as they were unpacked and counted, without compression; by sheet, hidden rows.

    Raises TooLargeError beyond the limits.
    """
    checked, left = io.BytesIO(), MAX_UNPACKED_BYTES
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(checked, "w", zipfile.ZIP_STORED) as copy:
        shared: list[int] = []
        widths: dict[bytes, int] = {}
        calculated: bool = True
        names, files = dict[bytes, str](), dict[bytes, bytes]()  # of the sheets, by the ids of their relations
        hidden: dict[str, set[int]] = {}  # by the end of a sheet's path
        members = [
            one
            for one in archive.infolist()
            if one.filename.endswith((".xml", ".rels", "mimetype")) and not one.filename.startswith(_FOR_OTHERS)
        ]
        for member in sorted(members, key=lambda one: "worksheets/" in one.filename.lower()):
            with archive.open(member) as file:
                content = file.read(left + 1)
            left -= len(content)
            if left < 0:
                raise TooLargeError(f"more than {MAX_UNPACKED_BYTES >> 20} MiB once unpacked")
            if b"\0" in content[:4096]:
                raise ValueError(f"{member.filename} is not UTF-8")
            name = member.filename.lower()
            if name.endswith("sharedstrings.xml"):
                shared = [len(one) for one in _SHARED_TEXT_END.split(content)]
            elif name.endswith("styles.xml"):
                widths = _zero_widths(content)
            elif name.endswith("xl/workbook.xml"):
                calculated = _TO_CALCULATE.search(content) is None
                tags = _tags(rb"sheet", content)
                names = {tag[b"id"]: unescape(tag[b"name"].decode()) for tag in tags if {b"id", b"name"} <= tag.keys()}
            elif name.endswith("workbook.xml.rels"):
                tags = _tags(rb"Relationship", content)
                files = {tag.get(b"Id", b""): tag.get(b"Target", b"").rpartition(b"/")[2] for tag in tags}
            elif "worksheets/" in name and name.endswith(".xml"):
                _check_worksheet(content, shared)
                hidden[name.rpartition("/")[2]] = _hidden_rows(content)
                content = _FORMULA_CELL.sub(_with_result if calculated else _without_result, content)
                content = _ERROR_CELL.sub(rb"\1str\2", content)  # calamine's Python face leaves errors out
                content = _with_zeros(content, widths) if widths else content
            elif name.endswith("content.xml"):
                if _MERGED_IN_ODS.search(content):
                    raise MergedCellsError
                _OpenDocument().check(content)
                content = _ZEROS_IN_ODS.sub(_as_text_in_ods, content)
                content = _EMPTY_IN_ODS.sub(_formula_in_ods, content)
            copy.writestr(member.filename, content)
    of_sheets = {names[one]: hidden.get(file.decode().lower(), set()) for one, file in files.items() if one in names}
    return checked.getvalue(), of_sheets


def _hidden_rows(worksheet: bytes) -> set[int]:
    """Return the numbers of the rows that are hidden, as a filter leaves them."""
    return {
        int(tag[b"r"][:9])
        for tag in _tags(rb"row(?=\s[^<>]*\bhidden\b)", worksheet)
        if tag.get(b"hidden") in (b"1", b"true") and tag.get(b"r", b"").isdigit()
    }


def _tags(name: bytes, content: bytes) -> Iterator[dict[bytes, bytes]]:
    """Yield the attributes of every element of that name, a regular expression, whatever its prefix."""
    for tag in re.finditer(rb"<(?:\w+:)?%b\s([^<>]*)>" % name, content):
        yield dict(_ATTRIBUTE.findall(tag[1]))


def _zero_widths(styles: bytes) -> dict[bytes, int]:
    """Return how many digits the styles of an .xlsx show that write zeros before a number, by the style's number."""
    widths = {}
    for attributes in _tags(rb"numFmt", styles):
        zeros = _LEADING_ZEROS.fullmatch(attributes.get(b"formatCode", b""))
        if zeros:
            widths[attributes.get(b"numFmtId")] = len(zeros[1])
    cell_formats = styles.partition(b"cellXfs")[2].partition(b"cellXfs")[0]
    used = [attributes.get(b"numFmtId") for attributes in _tags(rb"xf", cell_formats)]
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
    return b'<%b%b t="str"><v>%b</v></%b>' % (cell[1], attributes, UNSAVED.encode(), cell[1])


def _formula_in_ods(cell: re.Match[bytes]) -> bytes:
    if b"table:formula" not in cell[1] or b"office:value-type" in cell[1]:  # the latter: an empty text is the result
        return cell[0]
    attributes, text = cell[1].rstrip(b"/"), b"<text:p>%b</text:p>" % UNSAVED.encode()
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
    check_size(rows * columns)
    counts = Counter(_SHARED_CELL.findall(content))
    check_size(0, sum(shared[int(index)] * n for index, n in counts.items() if int(index[:9]) < len(shared)))


def check_size(n_cells: int, n_characters: int = 0) -> None:
    """Raise TooLargeError beyond the limits of a sheet."""
    if n_cells > MAX_CELLS:
        raise TooLargeError(f"a sheet of {n_cells:,} cells (at most {MAX_CELLS:,})")
    if n_characters > MAX_CHARACTERS:
        raise TooLargeError(f"a sheet of {n_characters:,} characters (at most {MAX_CHARACTERS:,})")


class _OpenDocument:
    """Counts what an .ods sheet holds once its repeated rows and cells are written out."""

    def __init__(self) -> None:
        self._row_repeat = self._rows = self._columns = self._column = self._repeat = 0
        self._widest = self._last_row = self._characters = self._in_cell = 0

    def check(self, content: bytes) -> None:
        """Raise TooLargeError where a sheet is beyond the limits, ExpatError where it is not XML."""
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
        check_size(self._widest * self._last_row, self._characters)
