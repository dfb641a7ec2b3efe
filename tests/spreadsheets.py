"""Spreadsheets that tests make: .xlsx and .ods of a few cells, as plain XML in an archive."""

from __future__ import annotations

import datetime as dt
import zipfile
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="xml" ContentType="application/xml"/></Types>'
)
RELATIONS = "http://schemas.openxmlformats.org/package/2006/relationships"
DOCUMENT = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
# Three number formats: general, a date, a clock.
STYLES = (
    f'<styleSheet xmlns="{MAIN}"><numFmts count="1"><numFmt numFmtId="164" formatCode="[h]:mm:ss.000"/></numFmts>'
    '<cellXfs count="3"><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="164"/></cellXfs></styleSheet>'
)


def column_letters(place: int) -> str:
    letters = ""
    while place >= 0:
        place, rest = divmod(place, 26)
        letters, place = chr(65 + rest) + letters, place - 1
    return letters


def xlsx_cell(reference: str, value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, dt.timedelta):
        return f'<c r="{reference}" s="2"><v>{value / dt.timedelta(days=1)!r}</v></c>'
    if isinstance(value, dt.date):
        return f'<c r="{reference}" s="1"><v>{(value - dt.date(1899, 12, 30)).days}</v></c>'
    if isinstance(value, int | float):
        return f'<c r="{reference}"><v>{value!r}</v></c>'
    text = str(value)
    if text.startswith("#"):
        return f'<c r="{reference}" t="e"><v>{text}</v></c>'
    return f'<c r="{reference}" t="inlineStr"><is><t xml:space="preserve">{escape(text)}</t></is></c>'


def write_xlsx(path: Path, sheets: Mapping[str, Sequence[Sequence[object]]] | Sequence[Sequence[object]]) -> Path:
    """Write sheets by name, or the rows of one; text that begins with # is an error of the spreadsheet."""
    named = sheets if isinstance(sheets, dict) else {"Sheet1": sheets}
    bodies = {}
    for name, rows in named.items():
        lines = []
        for number, row in enumerate(rows, start=1):
            cells = "".join(xlsx_cell(f"{column_letters(place)}{number}", value) for place, value in enumerate(row))
            lines.append(f'<row r="{number}">{cells}</row>')
        bodies[name] = "".join(lines)
    return write_xlsx_bodies(path, bodies)


def write_xlsx_bodies(path: Path, bodies: Mapping[str, str], *, shared: str = "") -> Path:
    """Write sheets whose rows are XML; `shared` are <si> elements."""
    listed = "".join(f'<sheet name="{name}" sheetId="{n}" r:id="rId{n}"/>' for n, name in enumerate(bodies, start=1))
    links = "".join(
        f'<Relationship Id="rId{n}" Type="{DOCUMENT}/worksheet" Target="worksheets/sheet{n}.xml"/>'
        for n in range(1, len(bodies) + 1)
    )
    links += f'<Relationship Id="rIdS" Type="{DOCUMENT}/styles" Target="styles.xml"/>'
    links += f'<Relationship Id="rIdT" Type="{DOCUMENT}/sharedStrings" Target="sharedStrings.xml"/>' if shared else ""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", TYPES)
        target = f'<Relationship Id="rId1" Type="{DOCUMENT}/officeDocument" Target="xl/workbook.xml"/>'
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{RELATIONS}">{target}</Relationships>')
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{MAIN}" xmlns:r="{DOCUMENT}"><sheets>{listed}</sheets></workbook>'
        )
        archive.writestr("xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{RELATIONS}">{links}</Relationships>')
        archive.writestr("xl/styles.xml", STYLES)
        if shared:
            archive.writestr("xl/sharedStrings.xml", f'<sst xmlns="{MAIN}">{shared}</sst>')
        for n, body in enumerate(bodies.values(), start=1):
            sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>'
            archive.writestr(f"xl/worksheets/sheet{n}.xml", sheet)
    return path


def ods_cell(value: object, *, repeated: int = 1) -> str:
    repeat = f' table:number-columns-repeated="{repeated}"' if repeated > 1 else ""
    if value is None:
        return f"<table:table-cell{repeat}/>"
    if isinstance(value, int | float):
        kind = f'office:value-type="float" office:value="{value!r}"'
    elif isinstance(value, dt.timedelta):
        kind = f'office:value-type="time" office:time-value="PT00H00M{value.total_seconds():.3f}S"'
    else:
        kind = 'office:value-type="string"'
    return f"<table:table-cell{repeat} {kind}><text:p>{escape(str(value))}</text:p></table:table-cell>"


def write_ods(path: Path, rows: Sequence[Sequence[object]]) -> Path:
    """Write one sheet, with LibreOffice's repeated empty cells to the right and below."""
    empty = '<table:table-cell table:number-columns-repeated="16300"/>'
    lines = "".join(f"<table:table-row>{''.join(map(ods_cell, row))}{empty}</table:table-row>" for row in rows)
    lines += f'<table:table-row table:number-rows-repeated="1048000">{empty}</table:table-row>'
    return write_ods_body(path, lines)


def write_ods_body(path: Path, lines: str) -> Path:
    names = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet")
        archive.writestr(
            "content.xml",
            f"<office:document-content {names}><office:body><office:spreadsheet>"
            f'<table:table table:name="Sheet1">{lines}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )
        manifest = 'xmlns:m="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"'
        archive.writestr(
            "META-INF/manifest.xml", f'<m:manifest {manifest}><m:file-entry m:full-path="/"/></m:manifest>'
        )
    return path
