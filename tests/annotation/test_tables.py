"""The doors for those without Label Studio: a long and a wide table."""

from __future__ import annotations

import re

import pytest

from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.errors import AnnotationError
from tests.annotation.dropped import dropped_lines

LONG = """utterance_id,condition,annotator,value
v$_$0001,AT,ann,1
v$_$0001,AT,bob,-1
v$_$0001,AT,cat,
v$_$0001,AT,dan,5
"""
WIDE = """video_id,clip_id,condition,ann,bob,cat
v,0001,AT,1,-1,
v,NA,AT,0,NA,2
"""


def rated(rows):
    return {(row["utterance_id"], row["annotator"]): row["value"] for row in rows if row["status"] == "rated"}


@pytest.mark.parametrize("separator", [",", "\t", ";"])
def test_a_long_table(read, separator):
    rows, report = read(LONG.replace(",", separator), name="long.csv")
    assert rated(rows) == {("v$_$0001", "ann"): 1, ("v$_$0001", "bob"): -1}
    assert [row["status"] for row in rows] == ["rated", "rated", "empty"]
    assert report.dropped == {"unknown label": 1}
    assert report.files[0].format == "long table"


def test_a_long_table_under_other_names_with_status(read):
    text = "utterance,rater,rating,status\nv$_$1,ann,1,\nv$_$1,bob,,skipped\nv$_$1,cat,,draft\n"
    rows, _ = read(text, name="long.csv", options=ImportOptions(condition="AV"))
    assert {row["annotator"]: row["status"] for row in rows} == {"ann": "rated", "bob": "skipped", "cat": "draft"}
    with pytest.raises(AnnotationError, match="line 2: status 'gone' is not one of"):
        read("utterance,rater,rating,status\nv$_$1,ann,1,gone\n", name="l.csv", options=ImportOptions(condition="AV"))


def test_a_repeated_row_without_a_time_keeps_the_last_line(read):
    rows, report = read(LONG + "v$_$0001,AT,ann,0\n", name="long.csv")
    assert rated(rows)["v$_$0001", "ann"] == 0
    assert report.dropped == {"unknown label": 1, "repeated": 1}


def test_a_wide_table(read):
    rows, report = read(WIDE, name="wide.csv")
    assert rated(rows) == {("v$_$0001", "ann"): 1, ("v$_$0001", "bob"): -1, ("v$_$NA", "ann"): 0}
    assert report.dropped == {"unknown label": 1}
    assert report.files[0].format == "wide table"


def test_long_and_wide_and_ratings_give_the_same(read, tmp_path):
    from_wide, _ = read(WIDE, name="wide.csv")
    text = "utterance_id,condition,annotator,value\nv$_$0001,AT,bob,-1\nv$_$NA,AT,ann,0\nv$_$0001,AT,ann,1\n"
    from_long, _ = read(text, name="long.csv")
    assert from_long == from_wide
    written = (tmp_path / "out" / "ratings.parquet").read_bytes()
    again, _ = read(written, name="copy.parquet")
    assert again == from_wide
    assert (tmp_path / "out" / "ratings.parquet").read_bytes() == written


@pytest.mark.parametrize(("text", "name"), [(LONG, "long.csv"), (WIDE, "wide.csv"), (LONG + LONG[38:], "twice.csv")])
def test_a_table_twice_gives_the_same_bytes_and_no_flag(read, tmp_path, text, name):
    written = []
    for _ in range(2):
        rows, report = read(text, name=name, overwrite=False)
        written.append([path.read_bytes() for path in sorted((tmp_path / "out").glob("*[!n]"))])
    assert report.read_again >= len(rows)
    assert written[0] == written[1]
    assert {row["flags"] for row in rows} == {""}


def test_a_corrected_table_replaces_the_value_and_says_so(read):
    read(WIDE, name="wide.csv")
    rows, report = read(WIDE.replace("0001,AT,1", "0001,AT,0"), name="wide.csv", overwrite=False)
    assert rated(rows)["v$_$0001", "ann"] == 0
    assert report.dropped["repeated"] == 1


def test_a_column_that_is_no_raters_is_named(read):
    text = "video_id,clip_id,condition,ann,ann@example.com,remarks\nv,0001,AT,1,good,loud\nv,0002,AT,5,0,\n"
    _, report = read(text, name="wide.csv")
    assert report.files[0].remarks == [
        "the column of remarks holds no rating, but was taken for an annotator's: leave it out"
    ]


@pytest.mark.parametrize("column", ["mean", "Gold label", "split", "Speaker_Age", "comments"])
def test_a_column_that_cannot_be_a_raters_stops_the_import(read, column):
    text = f"video_id,clip_id,condition,ann,bob,{column}\nv,0001,AT,1,1,1\nv,0002,AT,0,1,0\n"
    with pytest.raises(AnnotationError, match=f"the column '{column}' is not taken for an annotator's; remove it"):
        read(text, name="wide.csv")


@pytest.mark.parametrize(
    ("answers", "remedy"),
    [
        (["1", "2", "3", "4", "5"], "give --scale 1..5"),
        (["-3", "0", "1", "2"], "give --scale -3..2"),
        (["0", "1", "2"], "give --scale 0..2"),
        (["12", "55", "90"], "any number from 0 to 100, give --scale 0..100:continuous"),
        (["0.4", "0.6", "1"], "any number from 0 to 1, give --scale 0..1:continuous"),
        (["-0.2", "0.8"], "any number from -1 to 1, give --scale -1..1:continuous"),
        (["-250.5", "120"], "any number from -251 to 120, give --scale -251..120:continuous"),
        (["happy", "sad", "angry", "Happy"], "words without order, give --scale 'angry|happy|sad'"),
        (["Positive", "negative"], "give --label negative=-1 --label Positive=1"),
        (["good", "7"], "give the scale by --scale LOW..HIGH, words by --label WORD=VALUE"),
    ],
)
def test_answers_off_the_scale_stop_the_import_before_it_writes(read, tmp_path, answers, remedy):
    rows = [f"v$_${number},AT,ann,{answer}\n" for number, answer in enumerate(answers)]
    text = "utterance_id,condition,annotator,value\n" + "".join(rows)
    fault = rf"answers are not on the scale -1..1: .*{re.escape(remedy)}.* --drop-unknown"
    with pytest.raises(AnnotationError, match=fault):
        read(text, name="long.csv", drop_unknown=False)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())
    given = re.search(r"give --scale '?(\S*\w)'?$", remedy)
    if given:
        scale = Scale.parse(given[1])
        kept, report = read(text, name="long.csv", options=ImportOptions(default_scale=scale), drop_unknown=False)
        assert len(kept) == len(answers)
        assert not report.dropped


def test_a_long_table_with_annotation_ids_is_not_an_export(read):
    text = (
        "utterance_id,condition,annotator,value,annotation_id,status\nv$_$1,AT,ann,1,7,rated\nv$_$1,AT,bob,,8,skipped\n"
    )
    rows, report = read(text, name="long.csv")
    assert report.files[0].format == "long table"
    assert {row["annotator"]: row["status"] for row in rows} == {"ann": "rated", "bob": "skipped"}


def test_blank_rows_at_the_end_of_a_sheet_are_nothing(read):
    rows, report = read(LONG + ",,,\n,,,\n", name="long.csv")
    assert len(rows) == 3
    assert report.dropped == {"unknown label": 1}


def test_what_a_later_import_keeps_has_no_line_among_the_dropped(read, tmp_path):
    read(LONG, name="long.csv")
    assert len(dropped_lines(tmp_path / "out" / "ratings.parquet")) == 1
    other = LONG.replace("0001", "0002")
    read(other, name="other.csv", overwrite=False)
    read(LONG.replace(",5", ",0"), name="long.csv", overwrite=False)
    (line,) = dropped_lines(tmp_path / "out" / "ratings.parquet")
    assert line["file"] == "other.csv"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "video_id,clip_id,condition,ann,bob\nv,1,AT,1,1\n,2,AT,0,0\n,3,AT,0,1\n",
            "dropped 2, the first at t.csv line 3: the",
        ),
        (
            "utterance_id,condition,annotator,value\nv$_$1,AT,ann,1\n,AT,bob,0\n",
            "dropped 1, the first at t.csv line 3: the",
        ),
        ("utterance_id,video_id,clip_id,condition,ann\nv$_$1,v,1,AT,1\nv$_$02,v,2,AT,0\n", "leading zeros"),
        ("utterance_id,condition,annotator,value\nv$_$1,AT,ann,1\nv$_$1,AT,,0\n", "does not say who made it"),
    ],
)
def test_rows_that_are_not_understood_are_a_warning_with_their_line(read, text, said):
    rows, report = read(text, name="t.csv")
    assert rated(rows)
    assert said in " ".join(report.files[0].remarks)
