"""Inputs of annotation that once came out wrong, each with its right end: a table, and the command line throughout."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from fmltk.annotation.ratings import read_ratings
from fmltk.toolkit.cli.main import main
from fmltk.toolkit.features.label_file import read_labels
from tests.annotation.dropped import dropped_lines

WORDS = ("--label", "Positive=1")


@dataclass(frozen=True)
class Case:
    """One import and its end: what stops it, else the rows, as values or statuses by clip, condition and rater.

    Attributes
    ----------
    said
        What standard error has, also where the import succeeds.
    flags
        How many ratings have which flag.
    dropped
        Lines of the file of dropped annotations.
    """

    file: str
    options: tuple[str, ...] = ()
    stops: str = ""
    rows: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    said: str = ""
    flags: dict[str, int] = field(default_factory=dict)
    dropped: tuple[dict[str, Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.file.partition('_')[0]} {' '.join(self.options)}"


def of_clip(condition, values, clip="v1$_$0"):
    """Return rows of one clip and condition, by rater."""
    return {(clip, condition, rater): value for rater, value in values.items()}


PANEL = dict.fromkeys("12345", 1)
STARS = {"1": 1, "2": 3, "3": 5, "4": 4, "5": 2}
PATHS = of_clip("VT", PANEL, "video_0001$_$0001") | of_clip("VT", dict.fromkeys("12345", -1), "video_0002$_$0001")
CASES = (
    Case("01_idfield_path_collision.json", ("--id-field", "video"), stops="would both be the clip 0001$_$0"),
    Case("01_idfield_path_collision.json", ("--id-field", "video", "--id-parts", "2"), rows=PATHS),
    Case(
        "01_idfield_path_collision.json",
        ("--id-field", "id"),
        rows=of_clip("VT", PANEL, "1$_$0") | of_clip("VT", dict.fromkeys("12345", -1), "2$_$0"),
        said="own numbers name the clips",
    ),
    Case(
        "01b_idfield_dotted_ids.json",
        ("--id-field", "clip"),
        rows=of_clip("VT", {"1": 1}, "film.v1$_$0") | of_clip("VT", {"1": -1}, "film.v2$_$0"),
    ),
    Case(
        "02_long_annotation_id.csv",
        rows=of_clip("AT", {"ann": 1, "bob": "skipped"}, "v1$_$01"),
        said="02_long_annotation_id.csv: read utterance_id, ",
    ),
    Case("03_scale_not_given_1to5.csv", stops="give --scale 1..5"),
    Case(
        "04_snapshot_draft_by_id.json",
        rows=of_clip("AT", {"3": 1}),
        dropped=({"reason": "draft by id", "utterance_id": "v1$_$0", "condition": "AT"},),
    ),
    Case("05_number_decimal.json", stops="give --scale 0..1:continuous"),
    Case(
        "05_number_decimal.json",
        ("--scale", "0..1:continuous"),
        rows=of_clip("AT", {"3": 0.4, "4": 0.6, "5": 1}),
    ),
    Case("06_rating_stars.json", ("--control", "rating"), stops="give --scale 1..5"),
    Case("06_rating_stars.json", ("--control", "rating", "--scale", "1..5"), rows=of_clip("AT", STARS)),
    Case("07_storage_target_annotation.json", rows=of_clip("AT", {"1": 1})),
    Case("08_jsonl.jsonl", rows=of_clip("AT", {"3": 1}) | of_clip("AT", {"3": 1}, "v2$_$0")),
    Case("10_tasks_wrapped.json", rows=of_clip("AT", {"3": 1})),
    Case(
        "13_times.json", rows=of_clip("AT", {"3": 1, "4": 0}), said="taken as UTC (answers: 1)", flags={"repeated": 2}
    ),
    Case(
        "13_times.json",
        ("--time-zone", "Asia/Shanghai"),
        rows=of_clip("AT", {"3": -1, "4": 0}),
        said="taken as Asia/Shanghai (answers: 1)",
        flags={"repeated": 2},
    ),
    Case("13_times.json", ("--time-zone", "Asia/Shangai"), stops="is Asia/Shanghai"),
    Case(
        "16_review_rejected.json",
        rows=of_clip("AT", {"3": 1, "4": 0}),
        said="reviews: 1 rejected; not used",
        flags={"rejected": 1},
    ),
    Case(
        "16_review_rejected.json",
        ("--reviews",),
        rows=of_clip("AT", {"3": "rejected", "4": 0}),
        said="reviews: 1 rejected",
        flags={"rejected": 1},
    ),
    Case(
        "17_ground_truth_row.json",
        rows=of_clip("AT", {**dict.fromkeys("12345", 0), "9": 1}),
        said="marked as ground truth: 1",
        flags={"ground_truth": 1},
    ),
    Case(
        "18_excel_semicolon.csv",
        rows=of_clip("AT", {"ann": 1, "bob": 0, "cat": -1}, "film$_$0001") | of_clip("AT", {"ann": 1}, "film$_$0002"),
        said="hold no rating (1)",
    ),
    Case("19_wide_with_columns.csv", stops="the columns 'split', 'speaker_age' are not annotators'"),
    Case("20_wide_mean_column.csv", stops="the column 'mean' is not taken for an annotator's"),
    Case("21_doccano.jsonl", stops="make a long table"),
    Case("27_taxonomy_control.json", stops="found Category (taxonomy)"),
    Case("27_taxonomy_control.json", ("--control", "Category"), stops="'Firearm' (1)"),
    Case("29_no_rating_but_draft.json", stops="5 of 5 answers are not on the scale"),
    Case("29_no_rating_but_draft.json", ("--drop-unknown",), stops="gives no rating: all its 1 answers are drafts"),
    Case("29_no_rating_but_draft.json", WORDS, rows=of_clip("AT", PANEL) | of_clip("AT", {"9": "draft"})),
)
BIMODAL = Case(
    "32_same_person_two_bimodal.json",
    WORDS,
    rows=of_clip("AT", PANEL) | of_clip("VT", PANEL) | of_clip("AV", PANEL),
    flags={"two_bimodal": 15},
)
ONE_PAGE = "15_all_conditions_one_page.json"


@pytest.fixture
def run(capsys):
    """Run `fmltk annotation` and return its exit code, standard output and standard error."""

    def run_command(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["annotation", *map(str, arguments)])
        captured = capsys.readouterr()
        return caught.value.code, captured.out, captured.err

    return run_command


@pytest.fixture
def cases(test_data):
    return test_data / "cases" / "annotation"


def test_every_case_has_a_row_in_the_table(cases):
    tested = {case.file for case in (*CASES, BIMODAL)} | {ONE_PAGE}
    assert tested == {path.name for path in cases.iterdir()}


@pytest.mark.parametrize("case", [*CASES, BIMODAL], ids=str)
def test_the_right_end_of_a_case(cases, run, tmp_path, case):
    target = tmp_path / "ratings.parquet"
    code, out, err = run("import", cases / case.file, "-o", target, *case.options)
    if case.stops:
        assert (code, out, target.exists()) == (1, "", False)
        assert err.startswith("Error: ")
        assert err.count("\n") == 1
        assert case.stops in err
        return
    assert code == 0, err
    assert case.said in err
    rows = read_ratings(target).to_pylist()
    found = {
        (row["utterance_id"], row["condition"], row["annotator"]): row["status"]
        if row["value"] is None
        else row["value"]
        for row in rows
    }
    assert (found, len(rows)) == (case.rows, len(case.rows))
    report = json.loads(target.with_name("ratings.report.json").read_text(encoding="utf-8"))
    assert report["flags"] == case.flags
    lines = dropped_lines(target)
    assert all(any(expected.items() <= line.items() for line in lines) for expected in case.dropped)
    assert case.said in json.dumps(report)


def test_every_control_of_one_page_comes_into_one_file(cases, run, tmp_path):
    target = tmp_path / "ratings.parquet"
    for name in "TAVM":
        code, _, err = run("import", cases / ONE_PAGE, "-o", target, "--control", name, "--condition", name)
        assert code == 0, err
    values = {row["condition"]: row["value"] for row in read_ratings(target).to_pylist()}
    assert values == {"T": 1, "A": 0, "V": -1, "M": 1}
    code, _, err = run("import", cases / ONE_PAGE, "-o", tmp_path / "r.parquet")
    assert (code, "the task does not say its condition" in err) == (1, True)


def test_one_person_in_three_bimodal_conditions_is_flagged_to_the_end(cases, run, tmp_path):
    target, page = tmp_path / "ratings.parquet", tmp_path / "report.html"
    run("import", cases / BIMODAL.file, "-o", target, *BIMODAL.options)
    code, _, err = run("agreement", target)
    assert (code, "two_bimodal (15 ratings)" in err, "1 (3), 2 (3)" in err) == (0, True, True)
    with pytest.raises(SystemExit):
        main(["report", str(target), "-o", str(page)])
    assert "two_bimodal (15 ratings)" in page.read_text(encoding="utf-8")
    labels = tmp_path / "labels.parquet"
    code, out, _ = run("aggregate", target, "-o", labels, "--split", "none", "--protocol-strict", "--json")
    assert (code, {entry["labelled"] for entry in json.loads(out)["conditions"].values()}) == (0, {0})


@pytest.mark.parametrize(
    ("file", "options", "label", "note"),
    [
        ("17_ground_truth_row.json", (), None, None),
        ("17_ground_truth_row.json", ("--ground-truth",), 1.0, "ground truth by 9: 1; the panel: 6 ratings where 5"),
        ("17_ground_truth_row.json", ("--adjudicator", "9"), 1.0, "adjudicated by 9: 1; the panel: 0 of 5 ratings"),
        ("17_ground_truth_row.json", ("--replacement", "5=9"), 0.0, None),
    ],
)
def test_a_supervisors_value_prevails_when_asked_for(cases, run, tmp_path, file, options, label, note):
    target, labels = tmp_path / "ratings.parquet", tmp_path / "labels.parquet"
    run("import", cases / file, "-o", target)
    code, _, err = run("aggregate", target, "-o", labels, "--split", "none", *options)
    assert code == 0, err
    (row,) = read_labels(labels).table.to_pylist()
    assert row["label_AT"] == label
    assert (row["reason_AT"] is None) == (label is not None)
    assert (row.get("note_AT") or "").startswith(note or "")
    assert ("note_AT" in row) == (note is not None)
