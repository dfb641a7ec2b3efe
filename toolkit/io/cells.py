"""Cells of tables as people write them: numbers and times in several notations, missing values, ids with spaces."""

from __future__ import annotations

import math
import re
import unicodedata

# Words for a missing value, whatever their case. A text may say them: they count in columns of numbers alone.
MISSING_WORDS = frozenset(("", "-", "–", "—", ".", "na", "n/a", "n.a.", "nan", "-nan", "null", "none", "<na>"))
# Texts that spreadsheets (Excel, LibreOffice) show where a formula has no result, in English and in German.
_ERROR = re.compile(
    r"#(N/A|REF!|VALUE!|DIV/0!|NAME\?|NUM!|NULL!|SPILL!|CALC!|FIELD!|BLOCKED!|NV|BEZUG!|WERT!|ZAHL!)|Err:5\d\d",
    re.IGNORECASE,
)
_NO_TEXT = frozenset(("-", "--", "–", "—", "n/a", "n.a.", "nan", "<na>", "k.a.", "k. a."))  # nobody says these
_NUMBER = re.compile(r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity)", re.IGNORECASE | re.ASCII)
_DECIMAL_COMMA = re.compile(r"([+-]?\d*),(\d+)", re.ASCII)
_CLOCK = re.compile(r"(?:(\d{1,4}):)?(\d{1,4}):(\d{1,2}(?:[.,]\d*)?)", re.ASCII)
_ISO_DURATION = re.compile(r"PT(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:[.,]\d*)?)S)?", re.ASCII)  # LibreOffice's clocks
_WITH_UNIT = re.compile(r"(.*?)\s*(ms|msec|s|sec|secs|seconds?)\.?", re.IGNORECASE)
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))


def is_spreadsheet_error(cell: str) -> bool:
    """Whether a cell holds an error of a spreadsheet, such as #N/A, instead of a value."""
    return _ERROR.fullmatch(cell.strip()) is not None


def is_missing(cell: str) -> bool:
    """Whether a cell of a column of numbers says that there is none.

    >>> [is_missing(cell) for cell in ("n/a", " ", "#REF!", "0")]
    [True, True, True, False]
    """
    return cell.strip().lower() in MISSING_WORDS or is_spreadsheet_error(cell)


def is_no_text(cell: str) -> bool:
    """Whether a cell of a column of texts says that there is none. "None", "null" and "na" are words as well.

    >>> [is_no_text(cell) for cell in ("n/a", "-", "None", "-5")]
    [True, True, False, False]
    """
    return cell.strip().lower() in _NO_TEXT


def parse_number(cell: str, *, separator: str = "") -> float:
    """Return a number that may have a decimal comma.

    separator : what separates the table's columns; where that is not a semicolon, 1,234 may be a thousand

    Raises ValueError, with what is wrong, where the cell is not one number.

    >>> parse_number("-1,0"), parse_number("1,234", separator=";"), parse_number("\u22120.5")
    (-1.0, 1.234, -0.5)
    """
    text = cell.strip().replace("\N{MINUS SIGN}", "-")
    if _NUMBER.fullmatch(text):
        return float(text)
    comma = _DECIMAL_COMMA.fullmatch(text)
    if comma is None:
        raise ValueError(f"{cell!r} is not a number")
    whole, decimals = comma.groups()
    if separator != ";" and len(decimals) == 3 and 1 <= len(whole.lstrip("+-0")) <= 3:
        raise ValueError(f"{cell!r} may be {whole}{decimals} or {whole}.{decimals}; write it without a comma")
    return float(f"{whole}.{decimals}")


def with_decimal_point(cell: str, *, separator: str = "") -> str:
    """Return a number that has a decimal comma with a point; anything else, and a doubtful 1,234, as it is.

    >>> with_decimal_point("-1,0"), with_decimal_point("so, so")
    ('-1.0', 'so, so')
    """
    try:
        parse_number(cell, separator=separator)
    except ValueError:
        return cell
    return cell.replace(",", ".")


def parse_time(cell: str, *, unit_s: float = 1.0, separator: str = "") -> float:
    """Return a time in seconds: a number in the column's unit, or hh:mm:ss, mm:ss, PT1M2.5S, with or without decimals.

    unit_s : how many seconds one unit of the column is

    Raises ValueError, with what is wrong, where the cell is not a time.

    >>> parse_time("1500", unit_s=0.001), parse_time("00:01:02,500"), parse_time("1:02.5"), parse_time("2,5 s")
    (1.5, 62.5, 62.5, 2.5)
    """
    text = cell.strip()
    if clock := _CLOCK.fullmatch(text):
        hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in clock.groups())
        if seconds >= 60 or (clock[1] and minutes >= 60):
            raise ValueError(f"{cell!r} is not a time on a clock of hh:mm:ss")
        return hours * 3600 + minutes * 60 + seconds
    duration = _ISO_DURATION.fullmatch(text)
    if duration and any(duration.groups()):
        hours, minutes, seconds = (float((part or "0").replace(",", ".")) for part in duration.groups())
        return hours * 3600 + minutes * 60 + seconds
    if text.count(":") == 3 or ";" in text:
        raise ValueError(f"{cell!r} counts frames after its last colon: write hh:mm:ss.mmm")
    own_unit = _WITH_UNIT.fullmatch(text)
    if own_unit:
        text, unit_s = own_unit[1], 0.001 if own_unit[2].lower().startswith("ms") else 1.0
    try:
        value = parse_number(text, separator=separator) * unit_s
    except ValueError as error:
        if _DECIMAL_COMMA.fullmatch(text):
            raise
        raise ValueError(f"{cell!r} is not a time") from error
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{cell!r} is not a time")
    return value


def undamaged(text: str) -> str | None:
    """Return a text as it was before its UTF-8 was read as Western European; None where that did not happen.

    >>> undamaged("sch\u00c3\u00b6n") == "sch\u00f6n", undamaged("sch\u00f6n") is None
    (True, True)
    """
    if text.isascii():
        return None
    for encoding in ("cp1252", "latin-1"):
        try:
            return text.encode(encoding).decode("utf-8")
        except UnicodeError:  # a letter of another writing, or bytes that are not UTF-8
            continue
    return None


def clean_id(text: str) -> str:
    r"""Return an id without white space around it, invisible characters in it, and with plain spaces, composed (NFC).

    >>> clean_id(" video\u00a01\u200b")
    'video 1'
    """
    if text.isascii() and text.isprintable() and text[:1] != " " != text[-1:]:  # nearly every id
        return text
    visible = "".join(" " if one.isspace() else one for one in text.strip().translate(_INVISIBLE).strip())
    return unicodedata.normalize("NFC", visible)
