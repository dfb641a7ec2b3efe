"""Importing again what changed at its source: what an import says of answers that differ, and of those that went."""

from __future__ import annotations

import pytest

from fmltk.annotation.settings import ImportOptions

LONG = "annotation_id,utterance_id,annotator,value,updated_at\n"
WIDE = "clip,ann,bob\nv,1,0\nw,0,-1\n"


def read_again(read, first, second):
    options = ImportOptions(condition="M")
    read(first, name="t.csv", overwrite=True, options=options)
    return read(second, name="t.csv", overwrite=False, options=options)


@pytest.mark.parametrize("time", ["", "2026-01-02T03:04:05Z"])
@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("ann,1", "ann,0", "of 'v$_$0' (1 by ann, then 0 by ann)"),
        ("ann,1", "bob,1", "of 'v$_$0' (1 by ann, then 1 by bob)"),
        ("ann,1", "ann,", "of 'v$_$0' (1 by ann, then empty by ann)"),
    ],
)
def test_an_annotation_that_changed_without_a_later_time_is_named(read, time, before, after, said):
    rows, report = read_again(read, f"{LONG}7,v,{before},{time}\n", f"{LONG}7,v,{after},{time}\n")
    (remark,) = report.remarks
    assert said in remark
    assert report.read_again == 0
    assert len(rows) == 1
    assert f"{rows[0]['annotator']},{'' if rows[0]['value'] is None else int(rows[0]['value'])}" == after


def test_one_that_did_not_change_or_has_a_later_time_is_not(read):
    rows, report = read_again(read, f"{LONG}7,v,ann,1,2026-01-02\n", f"{LONG}7,v,ann,1,2026-01-02\n")
    assert (report.remarks, report.read_again) == ([], 1)
    rows, report = read_again(read, f"{LONG}7,v,ann,1,2026-01-02\n", f"{LONG}7,v,ann,0,2026-01-03\n")
    assert (report.remarks, rows[0]["value"]) == ([], 0)


@pytest.mark.parametrize(
    ("second", "n"),
    [
        ("clip,ann,bob\nv,1,\nw,0,-1\n", 1),  # a cell was emptied
        ("clip,ann,bob\nv,,0\nw,0,\n", 2),
        ("clip,ann,bob\nv,1,0\n", 0),  # another file, without the clip
        ("clip,cat\nv,1\nw,0\n", 0),  # of another annotator
        (WIDE, 0),
    ],
)
def test_ratings_that_the_files_no_longer_have_stay_and_are_counted(read, second, n):
    rows, report = read_again(read, WIDE, second)
    said = [one for one in report.remarks if "stay that these files do not have" in one]
    assert len(said) == (n > 0)
    assert not said or f"annotators: {n}, the first" in said[0]
    assert {("v$_$0", "ann", 1.0), ("w$_$0", "bob", -1.0)} <= {
        (row["utterance_id"], row["annotator"], row["value"]) for row in rows
    }
