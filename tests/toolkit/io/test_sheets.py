"""Spreadsheets: cells as people see them, the sheet that holds something, and limits that no file gets past."""

from __future__ import annotations

import datetime as dt
import os
import resource
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io import sheets
from fmltk.toolkit.io.cells import parse_time
from fmltk.toolkit.io.tables import open_rows, read_rows
from tests.spreadsheets import MAIN, ods_cell, write_ods, write_ods_body, write_xlsx, write_xlsx_bodies

if TYPE_CHECKING:
    from pathlib import Path

ROWS = [
    ["Filename", "Transcript", "start", "n", None],
    ["0001", "a, b\n“c” 你好", dt.timedelta(seconds=62.5), 1.0],
    [" x ", None, dt.timedelta(hours=30), 0.1 + 0.2],
    [None, None, None, None],
    ["y", "=1+1", dt.timedelta(0), -1.5],
]
SEEN = [
    {"Filename": "0001", "Transcript": "a, b\n“c” 你好", "start": "00:01:02.5", "n": "1"},
    {"Filename": " x ", "Transcript": "", "start": "30:00:00", "n": "0.3"},
    {"Filename": "y", "Transcript": "=1+1", "start": "00:00:00", "n": "-1.5"},
]


def rows(path: Path) -> list[dict[str, str]]:
    return [row for _, row in read_rows(path)]


@pytest.mark.parametrize("kind", [".xlsx", ".xlsm", ".ods"])
def test_cells_are_what_people_see(tmp_path: Path, kind: str) -> None:
    path = (write_ods if kind == ".ods" else write_xlsx)(tmp_path / f"t{kind}", ROWS)
    read = rows(path)
    starts = [row.pop("start") for row in read]
    assert read == [{name: cell for name, cell in row.items() if name != "start"} for row in SEEN]
    assert [parse_time(cell) for cell in starts] == [62.5, 108_000, 0]
    if kind != ".ods":  # whose clocks come as PT00H01M02.5S
        assert starts == [row["start"] for row in SEEN]
    assert [where for where, _ in read_rows(path)] == [f"t{kind} row {n}" for n in (2, 3, 5)]


def test_dates_and_errors_are_texts(tmp_path: Path) -> None:
    path = write_xlsx(tmp_path / "t.xlsx", [["day", "x", "y"], [dt.date(2026, 1, 2), "#N/A", "#DIV/0!"]])
    assert rows(path) == [{"day": "2026-01-02", "x": "#N/A", "y": "#DIV/0!"}]


ZEROS_STYLES = (
    '<x:styleSheet xmlns:x="{main}"><x:numFmts><x:numFmt numFmtId="170" formatCode="0000"/>'
    "<x:numFmt formatCode='00;-00' numFmtId='171'/><x:numFmt numFmtId='172' formatCode='0.00'/></x:numFmts>"
    '<x:cellStyleXfs><x:xf numFmtId="0"/></x:cellStyleXfs>'
    '<x:cellXfs><x:xf numFmtId="0"/><x:xf numFmtId="170" applyNumberFormat="1"/><x:xf numFmtId="171"><x:alignment/>'
    '</x:xf><x:xf numFmtId="172"/></x:cellXfs></x:styleSheet>'
)


@pytest.mark.parametrize(
    ("cell", "seen"),
    [
        ('<c r="A2" s="1"><v>7</v></c>', "0007"),
        ('<c s="1" r="A2" t="n"><v>12.0</v></c>', "0012"),
        ('<c r="A2" s="1"><f>1+2</f><v>3</v></c>', "0003"),
        ('<c r="A2" s="2"><v>7</v></c>', "07"),
        ('<c r="A2" s="1"><v>12345</v></c>', "12345"),
        ('<c r="A2" s="1"><v>0.5</v></c>', "0.5"),
        ('<c r="A2" s="3"><v>7</v></c>', "7"),
        ('<c r="A2" s="0"><v>7</v></c>', "7"),
        ('<c r="A2"><v>7</v></c>', "7"),
        ('<c r="A2" s="1" t="inlineStr"><is><t>7</t></is></c>', "7"),
    ],
)
def test_numbers_that_are_shown_with_leading_zeros_keep_them(
    tmp_path: Path, cell: str, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.spreadsheets.STYLES", ZEROS_STYLES.format(main=MAIN))
    head = '<row r="1"><c r="A1" t="inlineStr"><is><t>clip</t></is></c></row>'
    path = write_xlsx_bodies(tmp_path / "t.xlsx", {"Sheet1": f'{head}<row r="2">{cell}</row>'})
    assert rows(path) == [{"clip": seen}]


def test_leading_zeros_of_an_open_document_stay(tmp_path: Path) -> None:
    number = 'office:value-type="float" office:value="7"'
    shown = f"<table:table-cell table:style-name='c' {number} table:x='v'><text:p>007</text:p></table:table-cell>"
    lines = "".join(f"<table:table-row>{cell}</table:table-row>" for cell in (ods_cell("clip"), shown, ods_cell(7)))
    assert rows(write_ods_body(tmp_path / "t.ods", lines)) == [{"clip": "007"}, {"clip": "7"}]


@pytest.mark.parametrize("first", [[], [[None, " "]]])
def test_the_first_sheet_that_holds_something_is_read_and_named(tmp_path: Path, first: list[list[object]]) -> None:
    path = write_xlsx(tmp_path / "t.xlsx", {"Cover": first, "Clips": [["id"], ["a"]], "More": [["id"], ["b"]]})
    with open_rows(path) as table:
        assert [row for _, row in table.rows] == [{"id": "a"}]
        assert table.sheet == "sheet 'Clips', one of 3"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], r"t\.xlsx is empty; expected a sheet with the columns' names"),
        ([["a", "a"], [1, 2]], "has two columns named 'a'; rename one"),
        ([["a", None], [1, 2]], r"t\.xlsx row 2 has a cell in a column without a name"),
    ],
)
def test_a_sheet_that_is_no_table_is_refused(tmp_path: Path, content: list[list[object]], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rows(write_xlsx(tmp_path / "t.xlsx", content))


@pytest.mark.parametrize("kind", [".xlsx", ".ods"])
@pytest.mark.parametrize("how", ["cut", "text", "nothing", "another archive"])
def test_a_damaged_spreadsheet_is_one_line(tmp_path: Path, kind: str, how: str) -> None:
    path = tmp_path / f"t{kind}"
    (write_ods if kind == ".ods" else write_xlsx)(path, ROWS)
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2], "text": b"id,text\na,b\n"}.get(how, b""))
    if how == "another archive":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("word/document.xml", "<a/>")
    with pytest.raises(ConfigError, match=rf"t\{kind} is damaged or not a spreadsheet.*; open it and save it") as said:
        rows(path)
    assert "\n" not in str(said.value)


FAR = '<row r="1"><c r="A1"><v>1</v></c></row>'


def many_texts() -> tuple[str, str]:
    cells = "".join(f'<row r="{n}"><c r="A{n}" t="s"><v>0</v></c></row>' for n in range(1, 60_000))
    return cells, f"<si><t>{'x' * 30_000}</t></si>"


@pytest.mark.parametrize(
    "make",
    [
        lambda path: write_xlsx_bodies(path, {"S": f'{FAR}<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'}),
        lambda path: write_xlsx_bodies(path, {"S": f"{FAR}<row r='999999'><c r='xfd999999'><v>1</v></c></row>"}),
        lambda path: write_xlsx_bodies(path, {"S": many_texts()[0]}, shared=many_texts()[1]),
        lambda path: write_xlsx_bodies(path, {"S": FAR + " " * (260 << 20)}),
        lambda path: write_ods_body(path, f"<table:table-row>{ods_cell('a', repeated=99_999_999)}</table:table-row>"),
        lambda path: write_ods_body(
            path, f'<table:table-row table:number-rows-repeated="1048576">{ods_cell(1, repeated=90)}</table:table-row>'
        ),
        lambda path: write_ods_body(
            path, f'<table:table-row table:number-rows-repeated="9000">{ods_cell("a" * 60_000)}</table:table-row>'
        ),
    ],
    ids=["far cell", "lower case", "one text many times", "bomb", "wide", "tall", "repeated text"],
)
def test_a_small_file_that_unpacks_to_a_huge_one_is_one_line(tmp_path: Path, make: object) -> None:
    path = tmp_path / "t.xlsx"
    make(path)  # type: ignore[operator]
    path = path.rename(path.with_suffix(".ods")) if b"opendocument" in path.read_bytes()[:200] else path
    assert path.stat().st_size < 2 << 20, "the fault is in force: it is small as it lies there"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError, match=r"is not read: it holds .*, which is more than .*; save it as CSV"):
        rows(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_an_archive_that_lies_about_its_size_gives_what_it_says_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheets, "MAX_UNPACKED_BYTES", 100_000)
    path = write_xlsx_bodies(tmp_path / "t.xlsx", {"S": FAR + " " * 5_000_000})
    data = bytearray(path.read_bytes())
    size = (len(FAR) + 5_000_000).to_bytes(4, "little")[1:]
    while (place := data.find(size)) >= 0:  # the declared sizes of the sheet, near enough
        data[place : place + 3] = (1000).to_bytes(3, "little")
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=r"damaged|is not read"):
        rows(path)


@pytest.mark.parametrize("name", ["t.xlsx", "t.xls", "t.xlsb", "t.ods"])
def test_a_file_with_a_password_or_of_excel_97_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + os.urandom(4096))  # what both begin with
    with pytest.raises(ConfigError, match=rf"{name} is of Excel 97 or has a password; open it and save it as \.xlsx"):
        rows(path)


def test_spreadsheets_are_loaded_only_where_there_are_any() -> None:
    code = "import sys, fmltk.toolkit.cli.main, fmltk.toolkit.io.tables; assert 'python_calamine' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
