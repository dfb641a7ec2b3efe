"""Times as exports and tables write them: with a zone, without one, and when clocks were changed."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from fmltk.annotation.importing.times import Clock
from fmltk.annotation.option_texts import parse_time_zone
from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.errors import AnnotationError, ConfigError
from tests.annotation.conftest import TIME

SHANGHAI, BERLIN, SYDNEY = (ZoneInfo(name) for name in ("Asia/Shanghai", "Europe/Berlin", "Australia/Sydney"))


@pytest.mark.parametrize(
    ("written", "zone", "hour"),
    [
        ("2026-11-20 18:00:00", SHANGHAI, 10),
        ("2026-11-20T18:00", BERLIN, 17),
        ("2026-07-20 18:00:00", BERLIN, 16),
        ("2026-11-20 18:00:00", UTC, 18),
        ("2026-11-20T18:00:00+02:00", SHANGHAI, 16),
        ("2026-11-20T18:00:00.5Z", SHANGHAI, 18),
    ],
)
def test_a_time_without_a_zone_has_the_given_one(written, zone, hour):
    made, changed = Clock(zone).of_answer(written, None)
    assert (made.hour, made.tzinfo) == (hour, UTC)
    assert changed == made


def test_unix_times_are_in_utc_whatever_the_zone():
    clock = Clock(SHANGHAI)
    assert clock.of_answer(1795375071, "1795375071000")[1] == datetime(2026, 11, 22, 19, 17, 51, tzinfo=UTC)
    assert not list(clock.remarks())


@pytest.mark.parametrize(
    ("zone", "written", "utc", "text"),
    [
        (BERLIN, "2026-10-25 02:30", "2026-10-25T00:30", "occur twice in Europe/Berlin"),
        (SYDNEY, "2026-04-05 02:15:00", "2026-04-04T15:15", "occur twice in Australia/Sydney"),
        (BERLIN, "2026-03-29 02:30", "2026-03-29T01:30", "do not occur in Europe/Berlin"),
        (SYDNEY, "2026-10-04T02:59", "2026-10-03T16:59", "do not occur in Australia/Sydney"),
    ],
)
def test_times_of_the_hours_when_clocks_change_are_said(zone, written, utc, text):
    clock = Clock(zone)
    made, _ = clock.of_answer(written, written)
    assert made == datetime.fromisoformat(f"{utc}+00:00")
    naive, said = clock.remarks()
    assert f"taken as {zone} (answers: 1)" in naive
    assert text in said
    assert "(2)" in said


@pytest.mark.parametrize("written", ["20.11.2026 18:00", "yesterday", 1e20, "0001-01-01T00:00:00+14:00"])
def test_what_cannot_be_read_is_counted(written):
    clock = Clock()
    assert clock.of_answer(written, None) == (None, None)
    (said,) = clock.remarks()
    assert str(written) in said
    assert "cannot be read" in said


@pytest.mark.parametrize(
    ("text", "message"),
    [("Asia/Shangai", "is Asia/Shanghai"), ("../etc", "not a time zone"), ("Europe", "not"), ("", "not a time zone")],
)
def test_an_unknown_zone_is_one_line(text, message):
    with pytest.raises(ConfigError, match=message):
        parse_time_zone(text)


def test_an_import_says_which_zone_it_assumed(exports, read):
    naive, exact = "2026-11-20 18:00:00", TIME.format(1)
    task = exports.task(
        exports.annotation(3, created_at=naive, updated_at=naive),
        exports.annotation(4, created_at=exact, updated_at=naive),
        exports.annotation(5, created_at=exact, updated_at=exact),
        drafts=[{"id": 1, "user": 6, "created_at": naive, "result": []}],
    )
    rows, report = read([task])
    assert [row["created_at"].hour for row in rows if row["annotator"] == "3"] == [18]
    assert report.files[0].remarks == [
        "times that do not say their zone are taken as UTC (answers: 3); if it is another, give it by --time-zone, "
        "such as Asia/Shanghai"
    ]
    rows, report = read([task], options=ImportOptions(time_zone=SHANGHAI))
    assert [row["created_at"].hour for row in rows if row["annotator"] == "3"] == [10]
    assert "taken as Asia/Shanghai (answers: 3)" in report.files[0].remarks[0]


def test_another_zone_for_ratings_that_are_there_is_one_clear_line(exports, read):
    naive = "2026-11-20 18:00:00"
    task = exports.task(exports.annotation(3, created_at=naive, updated_at=naive))
    read([task])
    with pytest.raises(AnnotationError, match=r"read in two zones .*--overwrite"):
        read([task], options=ImportOptions(time_zone=SHANGHAI), overwrite=False)


@pytest.mark.parametrize("column", ["created_at", "updated_at"])
def test_a_long_table_has_the_zone_too(read, column):
    text = f"utterance_id,condition,annotator,value,{column}\na,AT,ann,1,2026-11-20 18:00\nb,AT,ann,1,\n"
    rows, report = read(text, name="long.csv", options=ImportOptions(time_zone=SHANGHAI))
    assert [row["updated_at"] and row["updated_at"].hour for row in rows] == [10, None]
    assert "(answers: 1)" in report.files[0].remarks[0]


@pytest.mark.parametrize(
    ("written", "separator", "seconds"),
    [
        (12.5, "", 12.5), (0, "", 0.0), ("0,5", ",", 0.5), ("0.5", ";", 0.5), ("12,345", ";", 12.345),
        (" 3,0 s", ";", 3.0), ("00:01:02,5", ";", 62.5), ("", ",", None), (None, "", None), ("n/a", ";", None),
    ],
)  # fmt: skip
def test_seconds_per_answer_are_read_as_people_write_them(written, separator, seconds):
    clock = Clock(separator=separator)
    assert clock.seconds(written) == seconds
    assert not list(clock.remarks())


@pytest.mark.parametrize("written", ["soon", "-3", -3.0, "12,345", float("nan"), True, [2], 10**400, float("inf")])
def test_seconds_that_cannot_be_read_are_said(written):
    clock = Clock(separator=",")
    assert clock.seconds(written) is None
    assert f"times such as '{str(written)[:40]}' (1) are not a number of seconds per answer" in next(clock.remarks())


def test_seconds_of_a_table_that_excel_saved_mark_who_is_too_fast(tmp_path, run, run_json):
    rows = [
        f"v$_${clip};AT;{name};{clip % 3 - 1};{'0,5' if name == 'eve' else f'{4 + clip % 3},25'}"
        for clip in range(20)
        for name in ("ann", "bob", "cat", "dan", "eve")
    ]
    table = tmp_path / "fast.csv"
    table.write_text("utterance_id;condition;annotator;value;lead_time_s\n" + "\n".join(rows) + "\n", "utf-8-sig")
    code, _, err = run("annotation", "import", table, "-o", tmp_path / "r.parquet")
    assert (code, "seconds per answer" in err) == (0, False)
    raters = run_json("agreement", tmp_path / "r.parquet", "--bootstrap", 10)["raters"]["AT"]
    assert [one["rater"] for one in raters if "fast" in one["patterns"]] == ["eve"]
