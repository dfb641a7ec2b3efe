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
from fmltk.toolkit.io import sheet_archive
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


@pytest.mark.parametrize("name", ["customXml/item1.xml", "customXml/itemProps1.xml", "docProps/custom.xml"])
def test_what_other_programs_put_into_a_spreadsheet_is_not_read(tmp_path: Path, name: str) -> None:
    path = write_xlsx(tmp_path / "t.xlsx", [["id"], ["a"]])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, '<?xml version="1.0" encoding="utf-16"?><p/>'.encode("utf-16"))
    assert rows(path) == [{"id": "a"}]


@pytest.mark.parametrize("first", [[], [[None, " "]]])
def test_the_first_sheet_that_holds_something_is_read_and_named(tmp_path: Path, first: list[list[object]]) -> None:
    path = write_xlsx(tmp_path / "t.xlsx", {"Cover": first, "Clips": [["id"], ["a"]], "More": [["code"], ["b"]]})
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
    monkeypatch.setattr(sheet_archive, "MAX_UNPACKED_BYTES", 100_000)
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


def xlsx_of(path: Path, sheets: dict[str, list[str]], *, after: str = "", calculate: bool = False) -> Path:
    """Write sheets of rows in XML; after: what follows a sheet's rows; calculate: as a program leaves it to Excel."""
    write_xlsx_bodies(path, {name: "".join(rows) for name, rows in sheets.items()})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name).decode() for name in archive.namelist()}
    for name, text in parts.items():
        if "worksheets/" in name:
            parts[name] = text.replace("</sheetData>", f"</sheetData>{after}")
        elif name == "xl/workbook.xml" and calculate:
            parts[name] = text.replace("</sheets>", '</sheets><calcPr calcId="1" fullCalcOnLoad="1"/>')
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return path


def text_row(number: int, *cells: str) -> str:
    made = "".join(
        f'<c r="{"ABC"[place]}{number}" t="inlineStr"><is><t>{cell}</t></is></c>'
        for place, cell in enumerate(cells)
        if cell
    )
    return f'<row r="{number}">{made}</row>'


FORMULA_ROW = '<row r="2"><c r="A2" t="inlineStr"><is><t>a.mp4</t></is></c>{cell}</row>'


@pytest.mark.parametrize(
    ("cell", "calculate"),
    [
        ('<c r="B2"><f>1+1</f><v></v></c>', False),
        ('<c r="B2" s="1"><f>IF(A1&gt;0,1,2)</f><v/></c>', False),
        ('<c r="B2"><f t="shared" si="0"/></c>', False),
        ('<c r="B2"><f>A1>0</f></c>', False),
        ('<c r="B2"><f>1+1</f><v>0</v></c>', True),
    ],
)
def test_a_formula_without_a_saved_result_is_not_an_empty_cell(cell: str, calculate: bool, tmp_path: Path) -> None:
    body = [text_row(1, "File", "Score"), FORMULA_ROW.format(cell=cell)]
    path = xlsx_of(tmp_path / "t.xlsx", {"S": body}, calculate=calculate)
    with pytest.raises(ConfigError, match=r"t\.xlsx row 2 has a formula whose result is not in the file \(1 in all\)"):
        rows(path)


@pytest.mark.parametrize(
    ("cell", "seen"),
    [
        ('<c r="B2"><f>1+1</f><v>2</v></c>', "2"),
        ('<c r="B2" t="str"><f>""</f><v></v></c>', ""),
        ('<c r="B2" t="str"><f>A2&amp;""</f><v>a.mp4</v></c>', "a.mp4"),
        ('<c r="B2" t="e"><f>1/0</f><v>#DIV/0!</v></c>', "#DIV/0!"),
        ('<c r="B2"/>', ""),
    ],
)
def test_a_formula_with_a_saved_result_is_that(cell: str, seen: str, tmp_path: Path) -> None:
    path = xlsx_of(tmp_path / "t.xlsx", {"S": [text_row(1, "File", "Score"), FORMULA_ROW.format(cell=cell)]})
    assert rows(path) == [{"File": "a.mp4", "Score": seen}]


@pytest.mark.parametrize(
    ("cell", "is_read"),
    [
        ('<table:table-cell table:formula="of:=1+1"/>', False),
        ('<table:table-cell table:style-name="c" table:formula="of:=1+1"></table:table-cell>', False),
        (
            '<table:table-cell table:formula="of:=1+1" office:value-type="float" office:value="2"/>',
            True,
        ),
        (
            '<table:table-cell table:formula="of:=&quot;&quot;" office:value-type="string" office:string-value=""/>',
            True,
        ),
    ],
)
def test_a_formula_of_libreoffice_without_a_result_is_not_an_empty_cell(
    cell: str, is_read: bool, tmp_path: Path
) -> None:
    lines = "".join(
        f"<table:table-row>{row}</table:table-row>"
        for row in (ods_cell("File") + ods_cell("Score"), ods_cell("a.mp4") + cell)
    )
    path = write_ods_body(tmp_path / "t.ods", lines)
    if is_read:
        assert [row["File"] for row in rows(path)] == ["a.mp4"]
        return
    with pytest.raises(ConfigError, match=r"t\.ods row 2 has a formula whose result is not in the file"):
        rows(path)


@pytest.mark.parametrize(
    ("merged", "seen"),
    [
        (("A2:A3",), ["film", "film", ""]),
        (("A2:A4",), ["film", "film", "film"]),
        (("A2:B4",), ["film", "film", "film"]),
        (("A1:C1", "A2:A1000000"), ["film", "film", "film"]),
        (("B2:B3",), ["film", "", ""]),
        (("Z900:Z999",), ["film", "", ""]),
    ],
)
def test_cells_that_are_merged_downwards_have_the_value_that_people_see(
    merged: tuple[str, ...], seen: list[str], tmp_path: Path
) -> None:
    body = [text_row(1, "Video", "Clip"), text_row(2, "film", "1"), text_row(3, "", "2"), text_row(4, "", "3")]
    after = f"<mergeCells>{''.join(f'<mergeCell ref={one!r}/>' for one in merged)}</mergeCells>".replace("'", '"')
    path = xlsx_of(tmp_path / "t.xlsx", {"S": body}, after=after)
    with open_rows(path) as table:
        read = list(table.rows)
        n_filled = sum(row["Video"] == "film" for _, row in read) - 1
        notes = (f"cells that are merged with the one above have its value ({n_filled})",) if n_filled else ()
        assert table.notes == notes
    assert [row["Video"] for _, row in read] == seen
    assert [row["Clip"] for _, row in read] == ["1", "2", "3"]


@pytest.mark.parametrize(("n_rows", "refused"), [("2", True), ("12", True), ("1", False)])
def test_an_ods_with_cells_merged_downwards_is_refused(n_rows: str, refused: bool, tmp_path: Path) -> None:
    spanned = ods_cell("film").replace("<table:table-cell", f'<table:table-cell table:number-rows-spanned="{n_rows}"')
    lines = "".join(
        f"<table:table-row>{row}</table:table-row>"
        for row in (
            ods_cell("Video") + ods_cell("Clip"),
            spanned + ods_cell("1"),
            "<table:covered-table-cell/>" + ods_cell("2"),
        )
    )
    path = write_ods_body(tmp_path / "t.ods", lines)
    if not refused:
        assert [row["Video"] for row in rows(path)] == ["film", ""]
        return
    with pytest.raises(ConfigError, match=r"t\.ods has cells that are merged downwards, .* save it as \.xlsx"):
        rows(path)


def test_merged_cells_that_overlap_without_end_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sheet_archive, "MAX_CELLS", 1000)
    body = [text_row(1, "Video"), *(text_row(number, "" if number > 2 else "film", "x") for number in range(2, 102))]
    merged = "".join(f'<mergeCell ref="A2:A{last}"/>' for last in range(50, 102))
    after = f"<mergeCells>{merged}</mergeCells>"
    with pytest.raises(ConfigError, match=r"a sheet of .* cells"):
        rows(xlsx_of(tmp_path / "t.xlsx", {"S": body}, after=after))


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        ([text_row(1, "File", "Text"), text_row(2, "c.mp4", "y")], True),
        ([text_row(4, "File", " Text"), text_row(5, "a.mp4", "another text")], True),
        ([text_row(1, "File", "Text"), text_row(2, "a.mp4", "x")], False),
        ([text_row(1, "File", "Text")], False),
        ([text_row(1, "Code", "Meaning"), text_row(2, "1", "y")], False),
        ([], False),
    ],
)
def test_a_second_sheet_with_the_same_columns_is_not_left_out(other: list[str], refused: bool, tmp_path: Path) -> None:
    first = [text_row(1, "File", "Text"), text_row(2, "a.mp4", "x")]
    path = xlsx_of(tmp_path / "t.xlsx", {"Wave 1": first, "Wave 2": other})
    if not refused:
        assert rows(path) == [{"File": "a.mp4", "Text": "x"}]
        return
    with pytest.raises(
        ConfigError, match="has the same columns on the sheets 'Wave 1' and 'Wave 2'; copy all rows to one"
    ):
        rows(path)


@pytest.mark.parametrize(
    ("hidden", "n"),
    [({3: "1"}, 1), ({2: "true", 4: "1"}, 2), ({3: "0"}, 0), ({900: "1"}, 0), ({}, 0)],
)
@pytest.mark.parametrize("sheet", ["Wave 1", "A &amp; B"])
def test_rows_that_a_filter_hides_are_read_and_counted(
    hidden: dict[int, str], n: int, sheet: str, tmp_path: Path
) -> None:
    body = [
        text_row(number, *cells)
        for number, cells in enumerate((("File", "Text"), ("a", "x"), ("b", "y"), ("c", "z")), 1)
    ]
    body = [
        row.replace("<row ", f'<row hidden="{hidden[number]}" ' if number in hidden else "<row ")
        for number, row in enumerate(body, start=1)
    ]
    body += [f'<row r="{number}" hidden="{how}"/>' for number, how in hidden.items() if number > 4]
    other = [text_row(1, "Code"), '<row r="2" hidden="1"><c r="A2" t="inlineStr"><is><t>q</t></is></c></row>']
    with open_rows(xlsx_of(tmp_path / "t.xlsx", {sheet: body, "Codes": other})) as table:
        assert [row["File"] for _, row in table.rows] == ["a", "b", "c"]
        said = (f"rows that are hidden are read as well; delete those that do not count ({n})",)
        assert table.notes == (said if n else ())
