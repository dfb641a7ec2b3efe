"""Cells as people write them: decimal commas, clocks, words for nothing, ids with stray characters."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.io.cells import clean_id, is_missing, parse_number, parse_time, with_decimal_point


@pytest.mark.parametrize(
    ("cell", "separator", "number"),
    [("-1,0", "", -1.0), (" 0,5 ", ";", 0.5), ("1,234", ";", 1.234), ("0,250", ",", 0.25), ("12,5", "\t", 12.5),
     ("\u22120.4", "", -0.4), ("+1", "", 1.0), (".5", "", 0.5), ("1e-3", "", 0.001), (",5", ";", 0.5)],
)  # fmt: skip
def test_numbers_with_points_and_commas_are_read(cell: str, separator: str, number: float) -> None:
    assert parse_number(cell, separator=separator) == pytest.approx(number, abs=1e-12)


@pytest.mark.parametrize(
    ("cell", "separator", "said"),
    [("1,234", ",", r"may be 1234 or 1\.234; write it without a comma"), ("-2,500", "", r"may be -2500 or -2\.500"),
     ("1.234,5", ";", "is not a number"), ("1_000", "", "is not a number"), ("positive", "", "is not a number"),
     ("1,2,3", ";", "is not a number"), ("٣", "", "is not a number")],
)  # fmt: skip
def test_numbers_that_may_be_two_or_none_are_refused(cell: str, separator: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_number(cell, separator=separator)
    assert with_decimal_point(cell, separator=separator) == cell


@given(st.decimals(-1000, 1000, places=2))
def test_a_decimal_comma_is_a_point(value: object) -> None:
    assert parse_number(f"{value}".replace(".", ",")) == float(f"{value}")


@pytest.mark.parametrize(
    ("cell", "unit_s", "seconds"),
    [("62.5", 1, 62.5), ("62,5", 1, 62.5), ("00:01:02.500", 1, 62.5), ("0:01:02,5", 1, 62.5), ("1:02.5", 1, 62.5),
     ("01:00:00", 1, 3600), ("90:00", 1, 5400), ("1500", 0.001, 1.5), ("1500 ms", 1, 1.5), ("2.5s", 1, 2.5),
     ("00:00:01.5", 0.001, 1.5), ("3 sec", 0.001, 3), ("PT00H01M02.500S", 1, 62.5), ("PT3M", 0.001, 180), ("0", 1, 0)],
)  # fmt: skip
def test_times_are_read_in_every_notation(cell: str, unit_s: float, seconds: float) -> None:
    assert parse_time(cell, unit_s=unit_s) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("cell", "said"),
    [("00:00:01:12", "counts frames after its last colon"), ("00:00:01;12", "counts frames"),
     ("0:75", "is not a time on a clock"), ("1:60:00", "is not a time on a clock"), ("-1", "is not a time"),
     ("soon", "'soon' is not a time"), ("inf", "is not a time"), ("nan", "is not a time"),
     ("1,500", r"may be 1500 or 1\.500"), ("2026-01-02 00:00:01", "is not a time"), ("s", "is not a time"),
     ("PT", "is not a time")],
)  # fmt: skip
def test_times_that_are_none_are_refused_by_name(cell: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        parse_time(cell)


def test_words_for_nothing_and_errors_of_spreadsheets_are_missing() -> None:
    assert all(
        map(is_missing, ("", " ", "n/a", "NA", "N/A", "nan", "-", "–", "null", "#N/A", "#REF!", "#DIV/0!", "Err:502"))
    )
    assert not any(map(is_missing, ("0", "-1", "no", "#1", "nano", "#N/A!")))


@pytest.mark.parametrize(
    ("written", "meant"),
    [(" a ", "a"), ("a\u00a0b", "a b"), ("\ufeffa", "a"), ("a\u200b\u2060b", "ab"), ("\u3000视频\u3000", "视频"),
     ("cafe\u0301", "caf\u00e9"), ("a\u00ad", "a"), ("a\tb", "a b"), ("0001", "0001")],
)  # fmt: skip
def test_ids_lose_what_nobody_sees(written: str, meant: str) -> None:
    assert clean_id(written) == meant
