"""What a report shows of ratings and labels."""

from __future__ import annotations

import pytest

from fmltk.annotation.aggregate import aggregate_ratings
from fmltk.annotation.importing.import_files import import_ratings
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.ratings import read_ratings
from fmltk.annotation.report import label_sections, rating_sections
from fmltk.annotation.settings import ImportOptions, Policy
from fmltk.toolkit.console import Reporter
from fmltk.toolkit.errors import FmltkError
from fmltk.toolkit.features.label_file import write_labels
from fmltk.toolkit.report.document import ReportRequest
from tests.model.folders import planted, write_clips

# Per clip and condition the five raters' answers; rater e is against the others.
ANSWERS = {
    "a": {"T": "1 1 1 1 -1", "A": "-1 -1 -1 -1 1", "V": "0 0 0 0 0"},
    "b": {"T": "1 1 1 1 -1", "A": "1 1 1 1 -1", "V": "1 1 1 1 1"},
    "c": {"T": "-1 -1 -1 -1 1", "A": "0 0 0 0 0", "V": "-1 -1 -1 0"},
}


@pytest.fixture
def ratings(tmp_path):
    lines = ["utterance_id,condition,annotator,value"]
    for clip, conditions in ANSWERS.items():
        for condition, values in conditions.items():
            for rater, value in zip("pqrse", values.split(), strict=False):
                lines.append(f"{clip}$_$0,{condition},{rater},{value}")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines) + "\n")
    out = tmp_path / "ratings.parquet"
    import_ratings([table], out, ImportOptions())
    return out


@pytest.fixture
def labels(tmp_path, ratings):
    aggregated = aggregate_ratings(read_ratings(ratings), Policy())
    table = join_labels(aggregated, None).with_splits({"a$_$0": "train"}, how="given", seed=None)
    out = tmp_path / "labels.parquet"
    write_labels(table, out)
    return out


def request(*paths, reporter=None, scale=None):
    return ReportRequest(paths, reporter or Reporter(quiet=True), scale=scale)


def tables(section):
    return {block.title: block for block in section.blocks if block.kind == "table"}


def charts(section):
    return {block.title: block for block in section.blocks if block.kind == "chart"}


def test_ratings_and_labels_are_told_apart(ratings, labels, tmp_path):
    (tmp_path / "no.parquet").write_bytes(b"no table")
    everything = request(ratings, labels, tmp_path, tmp_path / "no.parquet")
    assert rating_sections(everything).used == [ratings]
    assert label_sections(everything).used == [labels]


def test_agreement_has_a_row_and_an_interval_per_condition(ratings):
    (section,) = rating_sections(request(ratings)).sections
    rows = {row[0]: row for row in tables(section)["Agreement"].rows}
    assert [rows[name][1:4] for name in "TAV"] == [(3, 5, 15), (3, 5, 15), (3, 5, 14)]
    assert list(rows) == ["T", "A", "V"]
    description = charts(section)["Agreement per condition"].description
    for name in "TAV":
        assert f"{name}: {rows[name][5].split()[0]}" in description


def test_a_rater_s_bias_is_their_own_mean_minus_the_others(ratings):
    (section,) = rating_sections(request(ratings)).sections
    rows = {row[:2]: row for row in tables(section)["Raters"].rows}
    assert rows["T", "e"][7] == pytest.approx((-2 - 2 + 2) / 3)
    assert "Bias of each annotator" in charts(section)


def test_classes_conflicts_and_missing_labels_are_counted(labels):
    (section,) = label_sections(request(labels)).sections
    classes = {row[0]: row[2:] for row in tables(section)["Clips per class (the paper's table 2)"].rows}
    assert classes["T"] == (0, 1, 0, 2, 0, 0)  # two of 0.6, one of -0.6
    assert classes["V"] == (0, 0, 1, 0, 1, 1)
    signs = charts(section)["Conditions that differ in sign, share of clips"].description
    assert "T, A: 67 %" in signs
    assert "T, V: 50 %" in signs
    conflicts = tables(section)["Strongest conflicts between T, A and V"].rows
    assert [(row[0], row[1]) for row in conflicts] == [("a$_$0", pytest.approx(1.2)), ("b$_$0", pytest.approx(0.4))]
    ((condition, reason, n),) = tables(section)["Clips without a label, and why"].rows
    assert (condition, n) == ("V", 1)
    assert "4" in reason


def test_clips_become_cases_with_truths_classes_and_split(labels):
    cases = {case.utterance_id: case for case in label_sections(request(labels)).cases}
    assert cases["a$_$0"].truths == pytest.approx({"T": 0.6, "A": -0.6, "V": 0.0})
    assert cases["a$_$0"].classes == {"T": "WP", "A": "WN", "V": "NU"}
    assert (cases["a$_$0"].split, cases["b$_$0"].split) == ("train", None)
    assert set(cases["c$_$0"].truths) == {"T", "A"}


@pytest.mark.parametrize(("scale", "cells"), [("1..5", "12345"), ("0..10", "05379"), ("1..7", "76123")])
def test_labels_that_do_not_state_their_scale_have_the_user_s(scale, cells, tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("file,label\n" + "".join(f"{k}.mp4,{cell}\n" for k, cell in enumerate(cells)))
    with pytest.raises(FmltkError, match="--scale"):
        label_sections(request(path))
    contribution = label_sections(request(path, scale=scale))
    assert contribution.sources[0].facts["scales"] == f"M {scale}"
    assert [case.truths["M"] for case in contribution.cases] == [float(cell) for cell in cells]


@pytest.mark.parametrize("write", ["{}.mp4", "videos/{}.MOV", "clips\\{}"])
def test_labels_join_the_clips_of_feature_folders_in_the_report(write, tmp_path, capsys):
    clips = planted(6, n_videos=3)
    folder = write_clips(clips, tmp_path)
    path = tmp_path / "sheet.csv"
    path.write_text("utterance_id,Score,Who\n" + "".join(f"{write.format(one)},0.5,x\n" for one in clips.ids))
    cases = label_sections(request(folder, path, reporter=Reporter())).cases
    assert {case.utterance_id for case in cases} == set(clips.ids)
    said = capsys.readouterr().err
    assert "labels: 6 ids match once" in said
    assert "not read: 'Who'" in said
