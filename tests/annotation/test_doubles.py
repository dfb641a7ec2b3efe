"""Clips and annotators under two spellings: what an import says of them."""

from __future__ import annotations

import re

import pytest

from fmltk.annotation.raters import RaterNames
from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.errors import AnnotationError


def remarks(read, text, *, overwrite=True, **options):
    _, report = read(text, name="t.csv", overwrite=overwrite, options=ImportOptions(**options))
    return report.remarks


def strictly(read, text, **options):
    return read(text, name="t.csv", options=ImportOptions(**options), drop_unknown=False)


@pytest.mark.parametrize(
    ("clips", "said"),
    [
        (("0001", "1"), "1 clip has two ids"),
        (("01", "001"), "1 clip has two ids"),
        (("1", "01", "2", "02"), "2 clips have two ids"),
        (("1", "10"), None),
        (("a01", "a1"), None),
    ],
)
def test_clips_that_differ_by_zeros_are_named(read, clips, said):
    rows = "".join(f"v,{clip},AT,ann,1\n" for clip in clips)
    found = [one for one in remarks(read, f"video_id,clip_id,condition,annotator,value\n{rows}") if "zeros" in one]
    assert bool(found) == (said is not None)
    if said:
        assert found[0].startswith(said)
        assert f"v$_${clips[0]}" in found[0]


def test_zeros_lost_in_a_second_file_are_named(read):
    remarks(read, "video_id,clip_id,condition,ann,bob\nv,0001,AT,1,1\n")
    found = remarks(read, "video_id,clip_id,condition,ann,bob\nv,1,VT,1,1\n", overwrite=False)
    assert any("'v$_$0001' and 'v$_$1'" in one for one in found)


@pytest.mark.parametrize(
    ("names", "is_said"), [(("ann", "Ann"), True), (("bob", "BOB"), True), (("ann", "anna"), False)]
)
def test_annotators_that_differ_by_case_are_named(read, names, is_said):
    text = f"utterance_id,condition,annotator,value\nv$_$1,AT,{names[0]},1\nv$_$2,AT,{names[1]},1\n"
    found = [one for one in remarks(read, text) if "count as two people" in one]
    assert bool(found) == is_said


@pytest.mark.parametrize("names", ["ann,Ann", "ann,ANN ", "ann,bob,Ann,BOB", "Bob@x.org,bob@x.org"])
def test_two_columns_that_may_be_one_person_are_refused_where_both_rate_a_clip(read, names):
    cells = ",".join("1" for _ in names.split(","))
    with pytest.raises(AnnotationError, match=r"alike but for case or spaces") as raised:
        remarks(read, f"utterance_id,condition,{names}\nv$_$1,AT,{cells}\n")
    first, second = re.findall(r"'([^']*)'", str(raised.value))
    assert first.strip().casefold() == second.strip().casefold()


@pytest.mark.parametrize("names", ["ann,ann", "bob,cat,bob", "a@x.org,a@x.org"])
def test_two_columns_of_exactly_one_name_are_refused_in_words_about_annotators(read, names):
    cells = ",".join("1" for _ in names.split(","))
    with pytest.raises(AnnotationError, match=r"two columns are called .*; give each annotator") as raised:
        remarks(read, f"utterance_id,condition,{names}\nv$_$1,AT,{cells}\n")
    assert "JSON" not in str(raised.value)


@pytest.mark.parametrize("address", ["Ann@Example.com", "ANN@example.com", "ann@example.com"])
def test_kept_addresses_are_one_person_however_they_are_written(read, address):
    text = f"utterance_id,condition,annotator,value\nv$_$1,AT,{address},1\n"
    rows, _ = read(text, name="t.csv", options=ImportOptions(names=RaterNames(keep_identities=True)))
    assert [row["annotator"] for row in rows] == ["ann@example.com"]


@pytest.mark.parametrize(
    ("first", "second", "is_said"), [("3", "ann@x.org", True), ("ann@x.org", "12", True), ("3", "ann", False)]
)
def test_numbers_in_one_file_and_addresses_in_another_are_named(read, first, second, is_said):
    text = "utterance_id,condition,annotator,value\nv$_$1,{},{},1\n"
    remarks(read, text.format("AT", first))
    found = remarks(read, text.format("VT", second), overwrite=False)
    assert any("e-mail addresses: one person counts as two" in one for one in found) == is_said


LONG = "utterance_id,condition,annotator,value,updated_at\n"


@pytest.mark.parametrize(
    ("text", "is_said"),
    [
        (f"{LONG}v$_$1,AT,ann,-1,\nv$_$1,AT,ann,1,\n", True),
        (f"{LONG}v$_$1,AT,ann,-1,2026-01-01T10:00:00Z\nv$_$1,AT,ann,1,\n", True),
        ("utterance_id,condition,ann,bob\nv$_$1,AT,1,1\nv$_$1,AT,0,1\n", True),
        (f"{LONG}v$_$1,AT,ann,-1,2026-01-01T10:00:00Z\nv$_$1,AT,ann,1,2026-01-01T11:00:00Z\n", False),
    ],
)
def test_the_last_row_that_stands_for_want_of_times_is_named(read, text, is_said):
    found = [one for one in remarks(read, text) if "without times, the last row stands" in one]
    assert bool(found) == is_said
    assert all("the first of 'v$_$1'" in one for one in found)


@pytest.mark.parametrize(
    ("column", "files", "said"),
    [
        ("clip", ("v1/1", "v2/1"), "--id-field clip --id-parts 2"),
        ("File name", ("a\\x.mp4", "b\\x.mp4"), "--id-field 'File name' --id-parts 2"),
        ("path", ("/data/a/1.wav", "/data/b/1.mp4"), "--id-field path --id-parts 2"),
    ],
)
@pytest.mark.parametrize("is_long", [True, False])
def test_files_of_one_name_in_two_folders_are_not_one_clip(read, column, files, said, is_long):
    head = f"{column},annotator,value" if is_long else f"{column},bob"
    cells = "bob,1" if is_long else "1"
    text = "\n".join([head, *(f"{file},{cells}" for file in files)])
    with pytest.raises(AnnotationError, match=r"would both be the clip") as raised:
        remarks(read, text, condition="M")
    assert said in str(raised.value)
    table, report = read(text, name="t.csv", options=ImportOptions(condition="M", id_field=column, id_parts=2))
    assert len({row["utterance_id"] for row in table}) == 2
    assert not any("folders" in remark for remark in report.files[0].remarks)


@pytest.mark.parametrize(
    ("files", "is_said"),
    [(("v1/1", "v2/2"), True), (("v1\\1.mp4", "v2\\2.mp4"), True), (("v/1", "v/2"), False), (("1", "2"), False)],
)
def test_folders_that_are_left_out_of_ids_are_named(read, files, is_said):
    text = "\n".join(["clip,annotator,value", *(f"{file},bob,1" for file in files), f"{files[0]},ann,1"])
    _, report = read(text, name="t.csv", options=ImportOptions(condition="M"))
    assert any("the folders in 'clip' are left out" in one for one in report.files[0].remarks) == is_said


@pytest.mark.parametrize("name", ["Sum", "TOTAL", "Mittelwert", "平均值", "Grand total"])
@pytest.mark.parametrize("rows", ["{n},1,0\n", "{n},1,0\nStd,0,0\n"])
@pytest.mark.parametrize("column", ["clip", "utterance_id", "video_id"])
def test_rows_computed_of_those_above_are_refused(read, name, rows, column):
    with pytest.raises(AnnotationError, match=rf"line 3: '{name}' is called like a figure"):
        remarks(read, f"{column},ann,bob\nv,1,0\n{rows.format(n=name)}", condition="M")


def test_a_clip_may_be_called_like_a_figure_where_others_follow(read):
    assert remarks(read, "clip,ann,bob\nMean,1,0\ntotal,1,0\nzebra,1,0\n", condition="M") == []
    assert remarks(read, "video_id,clip_id,ann,bob\nv,1,1,0\nmean,3,1,0\n", condition="M") == []


@pytest.mark.parametrize("column", ["Session", "group", "Batch No", "Order"])
def test_columns_that_are_not_annotators_are_refused_by_name(read, column):
    if column == "Batch No":
        found = read(f"clip,{column},ann\nv,1,1\n", name="t.csv", options=ImportOptions(condition="M"))[1]
        assert found.files[0].columns.endswith("(2: Batch No, ann)")
        return
    with pytest.raises(AnnotationError, match=rf"the column '{column}' is not taken for an annotator's"):
        remarks(read, f"clip,{column},ann\nv,1,1\nw,2,0\n", condition="M")


def test_a_column_of_words_next_to_ratings_is_named_where_its_cells_are_off_the_scale(read):
    with pytest.raises(AnnotationError, match=r"no cell of the column 'Lot' is a rating: remove it"):
        strictly(read, "clip,Lot,ann\nv,A,1\nw,B,0\n", condition="M")


@pytest.mark.parametrize(("answer", "given"), [("Negative", "negative"), ("NEGATIVE", "Negative"), ("neg", "NEG")])
def test_answers_in_other_letters_than_label_are_named(read, answer, given):
    with pytest.raises(AnnotationError, match=rf"in other letters: give --label {answer}=-1"):
        strictly(read, f"clip,ann\nv,{answer}\nw,0\n", condition="M", label_values={given: -1})
