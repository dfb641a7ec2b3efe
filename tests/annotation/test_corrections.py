"""Supervisors, ground truths, reviews and raters who take another's place: what of them makes a label."""

from __future__ import annotations

import numpy as np
import pytest

from fmltk.annotation.aggregate import aggregate_ratings
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.settings import ImportOptions, Policy
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.features.label_file import read_labels, write_labels


@pytest.fixture
def table(read, tmp_path):
    """Import a long table, given as {(clip, condition): {rater: value, or status}}, and return its ratings."""

    def make(ratings):
        lines = ["utterance_id,condition,annotator,value,status"]
        for (clip, condition), answers in ratings.items():
            for rater, value in answers.items():
                cells = f",{value}" if isinstance(value, str) else f"{value},rated"
                lines.append(f"{clip},{condition},{rater},{cells}")
        read("\n".join(lines) + "\n", name="long.csv")
        return read_ratings(tmp_path / "out" / "ratings.parquet")

    return make


def panel(*values, **others):
    return {**{f"r{number}": value for number, value in enumerate(values, start=1)}, **others}


def labels_of(ratings, **policy):
    return join_labels(aggregate_ratings(ratings, Policy(**policy)), None)


def row(labels, clip="a", condition="AT"):
    (found,) = (one for one in labels.table.to_pylist() if one["video_id"] == clip)
    return {kind: found.get(f"{kind}_{condition}") for kind in ("label", "class", "n", "spread", "reason", "note")}


@pytest.mark.parametrize(
    ("values", "value", "note"),
    [
        ((0, 0, 0, 1, 1), -1, "adjudicated by boss: -1; the panel: 0.4 of 5 ratings"),
        ((0, 0, 0), 1, "adjudicated by boss: 1; the panel: 3 of 5 ratings: 2 missing"),
        ((1, 1, 1, 1, 1), 1, "adjudicated by boss: 1; the panel: 1 of 5 ratings"),
    ],
)
def test_an_adjudicators_value_is_the_label_and_none_of_the_panel(table, values, value, note):
    ratings = table({("a", "AT"): panel(*values, boss=value), ("b", "AT"): panel(0, 0, 0, 0, 1)})
    labels = labels_of(ratings, adjudicators=("boss",))
    found = row(labels)
    assert (found["label"], found["class"]) == (value, {-1: "NG", 1: "PS"}[value])
    assert (found["n"], found["reason"], found["note"]) == (len(values), None, note)
    assert row(labels, "b") == row(labels_of(ratings), "b") | {"note": None}
    assert row(labels_of(ratings))["label"] is None  # without the option the supervisor is a rater like others


def test_an_adjudicator_counts_for_the_clips_and_conditions_that_they_rated(table):
    ratings = table(
        {
            ("a", "AT"): panel(1, 1, 1, 1, 1, boss=0),
            ("a", "VT"): {"s1": 1, "s2": 1, "s3": 1, "s4": 1, "s5": 1, "boss": "skipped"},
            ("a", "AV"): {"boss": -1},
            ("b", "AT"): panel(1, 1, 1, 1, boss="skipped"),
        }
    )
    labels = labels_of(ratings, adjudicators=("boss",), protocol_strict=True)
    assert [row(labels, condition=name)["label"] for name in ("AT", "VT", "AV")] == [0, 1, -1]
    assert row(labels, condition="AV")["note"] == "adjudicated by boss: -1; the panel: 0 of 5 ratings: 5 missing"
    assert row(labels, "b")["reason"] == "4 of 5 ratings: 1 missing"


@pytest.mark.parametrize(("order", "label"), [(("boss", "chief"), 1), (("chief", "boss"), 0)])
def test_of_two_adjudicators_the_first_that_is_given_counts(table, order, label):
    ratings = table({("a", "AT"): panel(1, 1, 1, 1, 1, boss=1, chief=0), ("b", "AT"): {"chief": -1}})
    labels = labels_of(ratings, adjudicators=order)
    assert [row(labels, clip)["label"] for clip in "ab"] == [label, -1]


def test_the_weighed_labels_are_the_panels(table):
    ratings = table({("a", "AT"): panel(0, 0, 0, 0, 1, boss=1), ("b", "AT"): panel(1, 1, 1, 0, 1)})
    with_boss = aggregate_ratings(ratings, Policy(adjudicators=("boss",)), also=("evaluator_weighted",))
    alone = table({("a", "AT"): panel(0, 0, 0, 0, 1), ("b", "AT"): panel(1, 1, 1, 0, 1)})
    without = aggregate_ratings(alone, Policy(), also=("evaluator_weighted",))
    for name in ("median", "majority", "spread"):
        first, second = (getattr(one.conditions["AT"], name) for one in (with_boss, without))
        np.testing.assert_array_equal(first, second)
    weighed = [one.conditions["AT"].weighed["evaluator_weighted"] for one in (with_boss, without)]
    np.testing.assert_array_equal(*weighed)


def test_a_note_is_written_and_read_and_absent_where_there_is_none(table, tmp_path):
    ratings = table({("a", "AT"): panel(1, 1, 1, 1, 1, boss=0), ("b", "VT"): panel(1, 1, 1, 1, 1)})
    write_labels(labels_of(ratings, adjudicators=("boss",)), tmp_path / "l.parquet")
    labels = read_labels(tmp_path / "l.parquet")
    assert labels.table["note_AT"].to_pylist() == ["adjudicated by boss: 0; the panel: 1 of 5 ratings", None]
    assert "note_VT" not in labels.table.column_names
    assert not any(name.startswith("note_") for name in labels_of(ratings).table.column_names)


@pytest.mark.parametrize("policy", [{"adjudicators": ("bos",)}, {"replacements": (("r1", "r9"),)}])
def test_a_rater_who_is_not_there_is_named(table, policy):
    ratings = table({("a", "AT"): panel(1, 1, 1, 1, 1, boss=0)})
    with pytest.raises(AnnotationError, match=r"'(bos|r9)' is not among the annotators: boss, r1, r2, r3, r4, r5"):
        aggregate_ratings(ratings, Policy(**policy))


@pytest.mark.parametrize(
    ("answers", "label", "n", "reason", "note"),
    [
        (panel(1, 1, 1, 1, 0, r6=-1), 0.8, 5, None, None),  # both rated: the first one's counts
        (panel(1, 1, 1, 1, r6=0), 0.8, 5, None, "r6 rated instead of r5"),
        (panel(1, 1, 1, 1, "skipped", r6=0), 0.8, 5, None, "r6 rated instead of r5"),
        (panel(1, 1, 1, 1, 1, r6="skipped"), 1.0, 5, None, None),
        (panel(1, 1, 1, 1, "skipped", r6="draft"), None, 4, "4 of 5 ratings: 1 skipped", None),
        (panel(1, 1, 1, r6=0), None, 4, "4 of 5 ratings: 1 missing", "r6 rated instead of r5"),
        (panel(1, 1, 1, 1, 0), 0.8, 5, None, None),
    ],
)
def test_one_who_takes_anothers_place_completes_the_panel(table, answers, label, n, reason, note):
    ratings = table({("a", "AT"): answers, ("b", "AT"): {"r5": 1, "r6": 1}})
    found = row(labels_of(ratings, replacements=(("r5", "r6"),)))
    assert (found["label"], found["n"], found["reason"], found["note"]) == (label, n, reason, note)


def test_a_place_may_pass_on_more_than_once(table):
    ratings = table(
        {
            ("a", "AT"): panel(1, 1, 1, 1, r6=0, r7=-1),
            ("b", "AT"): panel(1, 1, 1, 1, r7=-1),
            ("c", "AT"): panel(1, 1, 1, 1, 1, r6=0, r7=-1),
        }
    )
    for pairs in ((("r5", "r6"), ("r6", "r7")), (("r5", "r6"), ("r5", "r7"))):
        labels = labels_of(ratings, replacements=pairs)
        assert [row(labels, clip)["label"] for clip in "abc"] == [0.8, 0.6, 1.0]
        assert row(labels, "b")["note"] == "r7 rated instead of r5"


@pytest.mark.parametrize("text", ["3", "=6", "3=", "3=3"])
def test_other_replacements_are_refused(text):
    from fmltk.annotation.option_texts import parse_replacements

    with pytest.raises(ConfigError, match="is not OLD=NEW"):
        parse_replacements((text,))
    with pytest.raises(ConfigError, match="'6' replaces '3' and '4'"):
        parse_replacements(("3=6", "4=6"))


@pytest.mark.parametrize(("truth", "label"), [(True, -1), (False, None), (None, None), ("true", None)])
def test_a_ground_truth_prevails_when_asked_for_and_is_counted_in_any_case(exports, read, tmp_path, truth, label):
    annotations = [exports.annotation(rater, "1") for rater in range(5)]
    annotations.append(exports.annotation(9, "-1", ground_truth=truth))
    rows, report = read([exports.task(*annotations, condition="AT")])
    flagged = [one["annotator"] for one in rows if "ground_truth" in one["flags"]]
    assert flagged == (["9"] if truth is True else [])
    assert any("marked as ground truth: 1;" in text for text in report.files[0].remarks) == (truth is True)
    ratings = read_ratings(tmp_path / "out" / "ratings.parquet")
    found = row(labels_of(ratings, ground_truth=True), "v")
    assert found["label"] == label
    assert (found["note"] or "").startswith("ground truth by 9: -1; the panel: 6 ratings" if label else "")
    assert row(labels_of(ratings), "v")["label"] is None


def review(accepted, label=None, **fields):
    fix = [{"from_name": "sentiment", "type": "choices", "value": {"choices": [label]}}]
    return {"accepted": accepted, "result": fix if label else None, "created_by": {"id": 2}, **fields}


@pytest.mark.parametrize(
    ("reviews", "word", "status", "value", "edited_by"),
    [
        ([review(False)], "rejected", "rejected", None, None),
        ([review(True)], "accepted", "rated", 1, None),
        ([review(True, "-1")], "fixed", "rated", -1, "2"),
        ([review(True, "-1"), review(False)], "rejected", "rejected", None, None),
        (
            [review(False, created_at="2026-11-23"), review(True, created_at="2026-11-22")],
            "rejected",
            "rejected",
            None,
            None,
        ),
        ([], None, "rated", 1, None),
        ("none", None, "rated", 1, None),
        ([7, {"accepted": None}], None, "rated", 1, None),
    ],
)
def test_reviews_count_when_asked_for_and_are_counted_in_any_case(
    exports, read, reviews, word, status, value, edited_by
):
    task = exports.task(exports.annotation(3, "1", reviews=reviews), exports.annotation(4, "0"))
    rows, report = read([task])
    assert (rows[0]["status"], rows[0]["value"], rows[0]["flags"]) == ("rated", 1, word or "")
    said = [text for text in report.files[0].remarks if text.startswith("reviews:")]
    assert said == (
        [f"reviews: 1 {word}; not used; --reviews leaves out what was rejected and takes what was fixed"]
        if word
        else []
    )
    rows, report = read([task], options=ImportOptions(reviews=True), overwrite=False)  # over those without
    assert (rows[0]["status"], rows[0]["value"], rows[0]["edited_by"]) == (status, value, edited_by)
    assert (rows[1]["status"], rows[1]["value"]) == ("rated", 0)
    if word:
        assert f"reviews: 1 {word};" in report.files[0].remarks[0]
        assert word in rows[0]["flags"].split()


def test_a_rejected_answer_is_a_reason_and_a_new_answer_stands(exports, read, tmp_path):
    tasks = [
        exports.task(
            *(exports.annotation(rater, "1") for rater in range(4)),
            exports.annotation(9, "-1", reviews=[review(False)]),
        )
    ]
    read(tasks, options=ImportOptions(reviews=True))
    found = row(labels_of(read_ratings(tmp_path / "out" / "ratings.parquet")), "v", "VT")
    assert (found["label"], found["reason"]) == (None, "4 of 5 ratings: 1 rejected")
    tasks[0]["annotations"].append(exports.annotation(9, "0", second=9))
    rows, report = read(tasks, options=ImportOptions(reviews=True))
    assert [one["value"] for one in rows if one["annotator"] == "9"] == [0]
    assert report.dropped == {"skipped too": 1}


def test_a_verdict_follows_the_last_export(exports, read):
    first = exports.annotation(3, "1", reviews=[review(False)], ground_truth=True)
    read([exports.task(first)])
    rows, _ = read([exports.task({**first, "reviews": [review(True)]}, condition="VT")], overwrite=False)
    assert rows[0]["flags"] == "accepted ground_truth"
    changed = {**first, "reviews": [], "ground_truth": False, "updated_at": "2026-11-23T00:00:00Z"}
    rows, _ = read([exports.task(changed)], overwrite=False)
    assert rows[0]["flags"] == ""
