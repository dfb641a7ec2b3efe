"""Scales of other kinds than the paper's: any number, words without order, several dimensions in one file."""

from __future__ import annotations

import json
from types import SimpleNamespace

import krippendorff
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from fmltk.annotation.aggregate import aggregate_ratings, compare_methods
from fmltk.annotation.agreement import (
    agreement,
    icc_2k,
    pairwise_kappas,
    panel_of,
)
from fmltk.annotation.continuous_alpha import continuous_alphas
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.labelling.label_studio_client import Server
from fmltk.annotation.pages import parse_page, read_page
from fmltk.annotation.quality import most_disputed, overview, rater_quality
from fmltk.annotation.ratings import RATINGS_SCHEMA, memory_schema, of_dimension, read_ratings, write_ratings
from fmltk.annotation.settings import ImportOptions, Policy
from fmltk.annotation.summary import summarise_labels
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.features.label_file import read_labels, write_labels
from fmltk.toolkit.io.parquet import decode_metadata, encode_metadata

EMOTIONS = "happy|sad|angry"


def table(answers, *, scale, dimension=None, condition="M"):
    """Return a table of ratings: {clip: [number or word of each rater]}; None is no rating."""
    rows = [
        {
            **dict.fromkeys(RATINGS_SCHEMA.names),
            **{"utterance_id": f"{clip}$_$0", "video_id": str(clip), "clip_id": "0", "condition": condition},
            **{"annotator": f"r{rater}", "scale": scale, "status": "rated", "source": "s", "flags": ""},
            **{"dimension": dimension, "word" if isinstance(answer, str) else "value": answer},
        }
        for clip, given_answers in answers.items()
        for rater, answer in enumerate(given_answers)
        if answer is not None
    ]
    return pa.Table.from_pylist(rows, schema=RATINGS_SCHEMA).cast(memory_schema())


# Continuous scales


@pytest.mark.parametrize(
    ("scale", "answers"),
    [("0..100:continuous", [0, 12.5, 99.9]), ("-1..1:continuous", [-1, 0.2, 0.7]), ("1..5:continuous", [2.3, 4.0, 5])],
)
def test_labels_of_a_continuous_scale_are_means_of_the_numbers(tmp_path, scale, answers):
    ratings = table({"a": answers, "b": answers[:2], "c": answers[::-1]}, scale=scale)
    labels = aggregate_ratings(ratings, Policy(panel=3)).conditions["M"]
    np.testing.assert_allclose(labels.label, [np.mean(answers), np.nan, np.mean(answers)], rtol=1e-15)
    assert labels.label[0] == labels.label[2]  # whatever the order of the raters
    assert labels.spread[0] == pytest.approx(np.std(answers), rel=1e-12)
    assert labels.median[0] == sorted(answers)[1]
    assert labels.label_class.tolist() == [None] * 3
    assert labels.reason.tolist() == [None, "2 of 3 ratings: 1 missing", None]
    joined = join_labels(aggregate_ratings(ratings, Policy(panel=3)), None)
    write_labels(joined, tmp_path / "l.parquet")
    again = read_labels(tmp_path / "l.parquet")
    assert (again.scales, again.values("M")[0]) == ({"M": Scale.parse(scale)}, labels.label[0])
    assert not any(name.startswith("majority") for name in again.table.column_names)
    assert summarise_labels(again)["numbers"]["M"]["mean"] == pytest.approx(np.mean(answers))


@given(
    st.lists(
        st.lists(st.one_of(st.none(), st.floats(-50, 50, width=32)), min_size=3, max_size=3), min_size=2, max_size=12
    )
)
@settings(max_examples=80, deadline=None)
def test_interval_alpha_of_any_numbers_is_that_of_the_krippendorff_package(rows):
    matrix = np.array(rows, dtype=np.float64).T  # (raters, clips)
    rated = ~np.isnan(matrix)
    pairable = matrix[:, rated.sum(axis=0) >= 2]
    assume(np.unique(pairable[~np.isnan(pairable)]).size >= 2 and np.ptp(pairable[~np.isnan(pairable)]) > 1e-3)
    expected = krippendorff.alpha(reliability_data=matrix, level_of_measurement="interval")
    clips, raters = np.nonzero(rated.T)
    alpha, resampled = continuous_alphas(clips, matrix[raters, clips], n_bootstrap=20)
    assert alpha == pytest.approx(expected, abs=1e-9)
    assert resampled.shape == (20,)


def test_interval_alpha_is_undefined_where_nothing_varies_or_nothing_is_paired():
    for clips, values in (([0, 0, 1, 1], [0.3] * 4), ([0, 1, 2], [0.1, 0.2, 0.9]), ([], [])):
        alpha, resampled = continuous_alphas(np.array(clips, np.int64), np.array(values, np.float64), n_bootstrap=5)
        assert np.isnan([alpha, *resampled]).all()


def test_the_interval_of_alpha_is_that_of_the_clips():
    """The same resamples as means: of clips that are alike the interval is narrow, and it holds alpha."""
    generator = np.random.default_rng(1)
    clips = np.repeat(np.arange(200), 3)
    values = generator.normal(size=200)[clips] + generator.normal(0, 0.5, 600)
    alpha, resampled = continuous_alphas(clips, values, n_bootstrap=400)
    low, high = np.percentile(resampled, (2.5, 97.5))
    assert low < alpha < high
    assert high - low < 0.15
    assert alpha == pytest.approx(1 / 1.25, abs=0.05)  # the share of the variance that clips have


def test_agreement_of_a_continuous_scale_is_that_of_the_same_choices_divided():
    """Alpha for interval data, ICC and the kappa with quadratic weights do not depend on the unit."""
    generator = np.random.default_rng(3)
    whole = np.clip(generator.integers(1, 6, (1, 30)) + generator.integers(-1, 2, (4, 30)), 1, 5)
    ordinal = table({f"{clip:02d}": own.tolist() for clip, own in enumerate(whole.T)}, scale="1..5")
    divided = table({f"{clip:02d}": (own / 7).tolist() for clip, own in enumerate(whole.T)}, scale="0..1:continuous")
    first, second = (agreement(ratings, n_bootstrap=20)["M"] for ratings in (ordinal, divided))
    assert second["alpha_interval"]["alpha"] == pytest.approx(first["alpha_interval"]["alpha"], abs=1e-12)
    assert second["icc_2k"] == {**first["icc_2k"], "icc": pytest.approx(first["icc_2k"]["icc"], abs=1e-12)}
    assert second["weighted_kappa"]["mean"] == pytest.approx(first["weighted_kappa"]["mean"], abs=1e-12)
    assert (first["level"], second["level"]) == ("ordinal", "interval")
    for name in ("nominal", "ordinal"):
        assert np.isnan(second[f"alpha_{name}"]["alpha"])
    assert np.isnan([second["fleiss_kappa"]["kappa"], second["percent_agreement"]]).all()


def test_icc_of_decimals_by_hand():
    """Two raters, three clips: (1.5, 2.5) (2.5, 3.5) (5, 6). Raters differ by 1 throughout, nothing is left over.

    Means 2, 3, 5.5: the mean square between clips is 2 * (2.25 + 0.25 + 4) / 2 = 6.5, between raters 3 * 0.5 = 1.5,
    so ICC(2,k) is 6.5 / (6.5 + 1.5 / 3) = 6.5 / 7.
    """
    ratings = table({"a": [1.5, 2.5], "b": [2.5, 3.5], "c": [5, 6]}, scale="1..7:continuous")
    assert icc_2k(panel_of(ratings, "M")) == (pytest.approx(6.5 / 7), 3, 2)


@pytest.mark.parametrize(("low", "high", "shift"), [(0, 100, 25), (-1, 1, 0.5), (1, 9, 2)])
def test_a_rater_who_is_shifted_on_a_slider_is_marked_in_the_scales_own_unit(low, high, shift):
    generator = np.random.default_rng(0)
    truth = generator.uniform(low, high, 60)
    noise = generator.normal(0, (high - low) / 20, (5, 60))
    noise[0] += shift
    answers = np.clip(truth + noise, low, high)
    ratings = table(
        {f"{clip:02d}": own.tolist() for clip, own in enumerate(answers.T)}, scale=f"{low}..{high}:continuous"
    )
    entries = {entry["rater"]: entry for entry in rater_quality(ratings, "M")}
    assert entries["r0"]["patterns"] == ["shifted"]
    assert entries["r0"]["bias"] == pytest.approx(shift, rel=0.4)
    assert not any(entry["patterns"] for name, entry in entries.items() if name != "r0")
    widest = most_disputed(ratings, "M", n_items=1)[0]
    assert widest["spread"] == pytest.approx(np.std(answers, axis=0).max())
    assert sum(widest["ratings"].values()) == 5


def test_numbers_off_a_continuous_scale_stop_the_import(read):
    text = "utterance_id,condition,annotator,value\nv,M,ann,0.5\nv,M,bob,1.5\n"
    with pytest.raises(AnnotationError, match=r"1 of 2 answers are not on the scale 0..1:continuous: '1.5' \(1\)"):
        read(
            text, name="a.csv", options=ImportOptions(default_scale=Scale.parse("0..1:continuous")), drop_unknown=False
        )


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "utterance_id;condition;annotator;value\nv;M;ann;62,5\nv;M;bob;\u221212,25\nv;M;cat;-\n"),
        ("a.tsv", "utterance_id\tcondition\tann\tbob\tcat\nv\tM\t62.5\t-12.25\tn/a\n"),
    ],
)
def test_numbers_are_read_as_people_write_them(read, name, content):
    scale = Scale.parse("-100..100:continuous")
    rows, _ = read(content, name=name, options=ImportOptions(default_scale=scale), drop_unknown=False)
    rated = {row["annotator"]: row["value"] for row in rows if row["status"] == "rated"}
    assert rated == {"ann": 62.5, "bob": -12.25}


@pytest.mark.parametrize("cell", ["nan", "inf", "1e400", "0x1", "12%"])
def test_what_is_no_number_is_not_on_a_continuous_scale(read, cell):
    text = f"utterance_id,condition,annotator,value\nv,M,ann,{cell}\nv,M,bob,7.5\nv,M,cat,1e1\n"
    rows, report = read(text, name="a.csv", options=ImportOptions(default_scale=Scale.parse("0..100:continuous")))
    assert {row["annotator"]: row["value"] for row in rows if row["status"] == "rated"} == {"bob": 7.5, "cat": 10.0}
    assert report.dropped == ({} if cell == "nan" else {"unknown label": 1})


# Words without order


def test_the_most_frequent_word_is_the_label_and_a_tie_is_none(tmp_path):
    answers = {
        "a": ["sad", "sad", "happy", "sad", "angry"],
        "b": ["sad", "happy", "happy", "sad", "angry"],
        "c": ["sad", "sad", "sad", "sad", None],
    }
    aggregated = aggregate_ratings(table(answers, scale=EMOTIONS), Policy())
    labels = aggregated.conditions["M"]
    assert labels.label_class.tolist() == ["sad", None, None]
    assert labels.share.tolist() == pytest.approx([0.6, np.nan, np.nan], nan_ok=True)
    assert labels.reason.tolist() == [
        None,
        "tie: happy and sad, 2 of 5 ratings each",
        "4 of 5 ratings: 1 missing",
    ]
    assert np.isnan(labels.label).all()
    write_labels(join_labels(aggregated, None), tmp_path / "l.parquet")
    again = read_labels(tmp_path / "l.parquet")
    assert again.scales == {"M": Scale.nominal(("happy", "sad", "angry"))}  # in the order that was given
    assert (again.classes("M"), again.labelled("M").tolist()) == (["sad", None, None], [True, False, False])
    assert again.first_condition == "M"
    summary = summarise_labels(again)
    assert summary["classes"]["M"] == {"happy": 0, "sad": 1, "angry": 0}
    assert (summary["null"], summary["numbers"], summary["signs"]) == ({"M": 2}, {}, {})


def test_classes_that_the_scale_lacks_are_a_fault_of_the_labels(tmp_path):
    labels = join_labels(aggregate_ratings(table({"a": ["sad"]}, scale=EMOTIONS), Policy(panel=1)), None)
    write_labels(labels, tmp_path / "l.parquet")
    written = pq.read_table(tmp_path / "l.parquet")
    place = written.schema.get_field_index("class_M")
    other = written.set_column(place, written.schema.field(place), pa.array(["bored"]))
    pq.write_table(other, tmp_path / "wrong.parquet")
    with pytest.raises(
        AnnotationError, match=r"class_M is 'bored' for 'a\$_\$0', which is not one of happy\|sad\|angry"
    ):
        read_labels(tmp_path / "wrong.parquet")


WORDS = st.lists(st.lists(st.sampled_from(EMOTIONS.split("|")), min_size=3, max_size=3), min_size=3, max_size=15)


@given(WORDS)
@settings(max_examples=40, deadline=None)
def test_agreement_on_words_is_that_of_independent_implementations(rows):
    assume(len({word for row in rows for word in row}) >= 2)
    ratings = table({f"{clip:02d}": row for clip, row in enumerate(rows)}, scale=EMOTIONS)
    measured = agreement(ratings, n_bootstrap=10)["M"]
    names = EMOTIONS.split("|")
    numbers = np.array([[names.index(word) for word in row] for row in rows])
    counts = np.stack([(numbers == value).sum(axis=1) for value in range(3)], axis=1)
    alpha = krippendorff.alpha(reliability_data=numbers.T, level_of_measurement="nominal", value_domain=[0, 1, 2])
    assert measured["alpha_nominal"]["alpha"] == pytest.approx(alpha, abs=1e-9)
    assert measured["fleiss_kappa"]["kappa"] == pytest.approx(statsmodels_fleiss(counts), abs=1e-9)
    for (first, second), (kappa, n) in pairwise_kappas(panel_of(ratings, "M")).items():
        assert n == len(rows)
        if len(set(numbers[:, [first, second]].ravel().tolist())) > 1:
            assert kappa == pytest.approx(cohen_kappa_score(numbers[:, first], numbers[:, second]), abs=1e-9)
        else:
            assert np.isnan(kappa)
    assert np.isnan([measured["alpha_ordinal"]["alpha"], measured["icc_2k"]["icc"]]).all()


def test_raters_of_words_are_marked_for_copying_and_for_one_answer():
    generator = np.random.default_rng(5)
    names = np.array(EMOTIONS.split("|"))
    truth = generator.integers(0, 3, 60)
    answers = np.where(generator.random((5, 60)) < 0.7, truth, generator.integers(0, 3, (5, 60)))
    answers[1] = answers[0]
    answers[4] = 2
    ratings = table({f"{clip:02d}": names[own].tolist() for clip, own in enumerate(answers.T)}, scale="nominal")
    entries = {entry["rater"]: entry for entry in rater_quality(ratings, "M")}
    assert {name: entry["patterns"] for name, entry in entries.items()} == {
        **{"r0": ["copied"], "r1": ["copied"], "r2": [], "r3": [], "r4": ["constant"]},
    }
    assert "100% of the answers are angry" in entries["r4"]["marks"][0]["evidence"]
    assert np.isnan([entries["r0"]["bias"], entries["r0"]["spread"], entries["r0"]["correlation"]]).all()
    widest = most_disputed(ratings, "M", n_items=3)[0]
    assert sum(widest["ratings"].values()) == 5
    assert len(widest["ratings"]) == 3


@pytest.mark.parametrize("method", ["dawid_skene", "mace"])
def test_models_of_raters_give_the_most_probable_word_and_its_probability(tmp_path, method):
    generator = np.random.default_rng(2)
    names = np.array(EMOTIONS.split("|"))
    truth = generator.integers(0, 3, 60)
    answers = np.where(generator.random((5, 60)) < [[0.95], [0.95], [0.9], [0.1], [0.1]], truth, 0)
    ratings = table({f"{clip:02d}": names[own].tolist() for clip, own in enumerate(answers.T)}, scale=EMOTIONS)
    aggregated = aggregate_ratings(ratings, Policy(), also=(method,))
    found = aggregated.conditions["M"].weighed
    assert (found[f"{method}_class"] == names[truth]).mean() > 0.9
    majority = aggregated.conditions["M"].label_class
    assert (found[f"{method}_class"] == names[truth]).sum() > (majority == names[truth]).sum()
    probability = found[f"{method}_probability"]
    assert ((probability > 1 / 3) & (probability <= 1)).all()
    assert compare_methods(aggregated.conditions["M"])[method]["other_class"] > 0
    write_labels(join_labels(aggregated, None), tmp_path / "l.parquet")
    written = pq.read_table(tmp_path / "l.parquet")
    assert written[f"{method}_class_M"].to_pylist() == found[f"{method}_class"].tolist()
    assert written[f"{method}_probability_M"].to_pylist() == probability.tolist()


@pytest.mark.parametrize(("scale", "also"), [("nominal", ("dawid_skene",)), ("0..1:continuous", ()), (EMOTIONS, ())])
def test_clips_that_nobody_answered_have_no_label_on_any_scale(tmp_path, scale, also):
    rows = table({"a": [0.5, 0.5], "b": [0.5]}, scale=scale).cast(RATINGS_SCHEMA).to_pylist()
    skipped = [{**row, "status": "skipped", "value": None} for row in rows]
    ratings = pa.Table.from_pylist(skipped, schema=RATINGS_SCHEMA).cast(memory_schema())
    write_ratings(ratings, tmp_path / "r.parquet")
    aggregated = aggregate_ratings(read_ratings(tmp_path / "r.parquet"), Policy(panel=2), also=also)
    write_labels(join_labels(aggregated, None), tmp_path / "l.parquet")
    labels = read_labels(tmp_path / "l.parquet")
    assert labels.reasons("M") == ["0 of 2 ratings: 2 skipped", "0 of 2 ratings: 1 skipped, 1 missing"]
    assert not labels.labelled("M").any()
    assert overview(ratings, n_items=5).agreement == {}
    assert summarise_labels(labels)["null"] == {"M": 2}


@pytest.mark.parametrize(
    ("scale", "answers", "method"),
    [(EMOTIONS, ["sad", "sad"], "evaluator_weighted"), ("0..1:continuous", [0.2, 0.4], "dawid_skene")],
)
def test_a_method_that_does_not_fit_the_scale_is_refused(scale, answers, method):
    with pytest.raises(ConfigError, match=f"{method} needs .*leave it out"):
        aggregate_ratings(table({"a": answers}, scale=scale), Policy(panel=2), also=(method,))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("long.csv", "utterance_id,condition,annotator,emotion\nv,M,ann,Happy\nv,M,bob,sad\nw,M,ann,\nw,M,bob,n/a\n"),
        ("wide.csv", "utterance_id,condition,ann,bob\nv,M,happy,SAD\nw,M,,-\n"),
        ("long.tsv", "utterance_id\tcondition\tannotator\tanswer\nv\tM\tann\thappy \nv\tM\tbob\t sad\n"),
    ],
)
def test_words_of_tables_are_read_whatever_their_case(read, name, content):
    rows, _ = read(content, name=name, options=ImportOptions(default_scale=Scale.parse(EMOTIONS)), drop_unknown=False)
    rated = {row["annotator"]: (row["word"], row["value"]) for row in rows if row["status"] == "rated"}
    assert rated == {"ann": ("happy", None), "bob": ("sad", None)}


def test_words_that_are_not_named_are_those_of_the_answers(read, exports):
    tasks = [exports.task(exports.annotation(rater, word)) for rater, word in ((3, "joy"), (4, "fear"), (5, "joy"))]
    options = ImportOptions(default_scale=Scale.nominal())
    rows, _ = read(tasks, options=options)
    assert {row["scale"] for row in rows} == {"nominal"}
    ratings = pa.Table.from_pylist(rows, schema=RATINGS_SCHEMA).cast(memory_schema())
    labels = aggregate_ratings(ratings, Policy(panel=3)).conditions["M" if "M" in {rows[0]["condition"]} else "VT"]
    assert labels.scale.names == ("fear", "joy")
    assert labels.label_class.tolist() == ["joy"]


def test_words_that_may_be_one_stop_the_import(read):
    text = "utterance_id,condition,annotator,value\nv,M,ann,Sad\nv,M,bob,sad\nv,M,cat,joy\n"
    with pytest.raises(
        AnnotationError, match=r"'Sad' and 'sad', which may be one; name the words by --scale 'joy\|sad'"
    ):
        read(text, name="a.csv", options=ImportOptions(default_scale=Scale.nominal()))
    many = "utterance_id,condition,annotator,value\n" + "".join(f"v{n},M,ann,word{n}\n" for n in range(150))
    with pytest.raises(AnnotationError, match="M has 150 different answers"):
        read(many, name="a.csv", options=ImportOptions(default_scale=Scale.nominal()))


def test_stars_are_never_on_a_scale_below_zero(read, exports):
    star = exports.annotation(3)
    star["result"][0] |= {"type": "rating", "value": {"rating": 1}}
    with pytest.raises(AnnotationError, match=r"1 of 1 answers are not on the scale -1..1: '1' \(1\)"):
        read([exports.task(star)], drop_unknown=False)


# Dimensions


@pytest.mark.parametrize(
    ("header", "row", "options"),
    [
        ("clip,annotator,valence,arousal", "a,ann,2,5", {"valence": "valence", "arousal": "arousal"}),
        ("clip,annotator,V,A", "a,ann,2,5", {"valence": "V", "arousal": "A"}),
        ("clip,rater,Arousal Score,VALENCE,notes", "a,ann,5,2,hm", {"valence": "valence", "arousal": "Arousal Score"}),
    ],
)
def test_a_column_for_each_dimension_is_a_rating_of_each(read, header, row, options):
    options = ImportOptions(dimensions=options, condition="M", default_scale=Scale(1, 5))
    rows, report = read(f"{header}\n{row}\n", name="a.csv", options=options, drop_unknown=False)
    assert {row["dimension"]: row["value"] for row in rows} == {"valence": 2, "arousal": 5}
    assert set(report.conditions) == {"M arousal", "M valence"}


def test_a_column_named_dimension_says_it_row_by_row(read):
    long = "clip,annotator,dimension,value\na,ann,valence,0.5\na,ann,arousal,0.25\n"
    wide = "clip,dimension,ann\na,valence,0.5\na,arousal,0.25\n"
    options = ImportOptions(condition="M", default_scale=Scale.parse("0..1:continuous"))
    from_long, _ = read(long, name="long.csv", options=options, drop_unknown=False)
    from_wide, _ = read(wide, name="wide.csv", options=options, drop_unknown=False)
    assert {row["dimension"]: row["value"] for row in from_long} == {"valence": 0.5, "arousal": 0.25}
    assert from_long == from_wide
    _, report = read(long.replace("arousal", "a/../b"), name="long.csv", options=options)
    assert report.dropped == {"unusable dimension": 1}


def test_a_scale_for_a_dimension_that_no_row_has_stops_the_import(read, tmp_path):
    text = "clip,annotator,dimension,value\na,ann,valence,0.5\n"
    scales = {"valence": Scale.parse("0..1:continuous"), "valance": Scale(1, 5)}
    with pytest.raises(ConfigError, match=r"--scale valance=1\.\.5 names no condition; expected one of .*, valence"):
        read(text, name="a.csv", options=ImportOptions(condition="M", scales=scales))
    assert not (tmp_path / "out" / "ratings.parquet").exists()


def answer(control, kind, value):
    return {"from_name": control, "to_name": "video", "type": kind, "value": {kind: value}}


def test_several_controls_of_a_page_are_read_at_once(read, exports):
    result = [answer("v", "rating", 4), answer("a", "number", 62.5), answer("feels", "choices", ["sad"])]
    tasks = [
        exports.task(
            exports.annotation(3, result=result),
            exports.annotation(4, result=result[:2]),
            exports.annotation(5, None, was_cancelled=True),
        )
    ]
    scales = {"valence": Scale(1, 5), "arousal": Scale.parse("0..100:continuous"), "emotion": Scale.parse(EMOTIONS)}
    options = ImportOptions(dimensions={"valence": "v", "arousal": "a", "emotion": "feels"}, scales=scales)
    rows, report = read(tasks, options=options)
    answers = {(row["dimension"], row["annotator"]): row["word"] or row["value"] for row in rows}
    assert answers == {
        **{("valence", "3"): 4, ("arousal", "3"): 62.5, ("emotion", "3"): "sad"},
        **{("valence", "4"): 4, ("arousal", "4"): 62.5},
        **{(name, "5"): None for name in scales},
    }
    assert report.dropped == {"wrong control": 1}
    flat = {"annotator": 3, "annotation_id": 1, "utterance_id": "v$_$1", "condition": "VT", "lead_time": 2.0}
    flat |= {"v": [{"rating": 4}], "a": [{"number": 62.5}], "feels": "sad"}
    rows, _ = read([flat], name="min.json", options=options)
    assert {row["dimension"]: row["word"] or row["value"] for row in rows} == {
        **{"valence": 4, "arousal": 62.5, "emotion": "sad"}
    }


def test_several_controls_are_columns_of_an_exported_table(read):
    header = "utterance_id,condition,v,a,annotator,annotation_id,created_at,lead_time"
    row = 'v$_$1,VT,"[{""rating"": 4}]",0.5,3,17,2026-11-22T19:17:51Z,2.5'
    options = ImportOptions(
        dimensions={"valence": "v", "arousal": "a"},
        scales={"valence": Scale(1, 5), "arousal": Scale.parse("0..1:continuous")},
    )
    rows, report = read(f"{header}\n{row}\n", name="export.csv", options=options, drop_unknown=False)
    assert report.files[0].format == "CSV"
    assert {row["dimension"]: (row["value"], row["lead_time_s"]) for row in rows} == {
        **{"valence": (4, 2.5), "arousal": (0.5, 2.5)}
    }
    with pytest.raises(AnnotationError, match="has no column 'b'; name each dimension's by --dimension"):
        read(f"{header}\n{row}\n", name="export.csv", options=ImportOptions(dimensions={"valence": "b"}))


def test_dimensions_are_merged_apart_and_no_flag_is_false(read, exports, tmp_path):
    result = [answer("v", "rating", 4), answer("a", "rating", 2)]
    options = ImportOptions(dimensions={"valence": "v", "arousal": "a"}, default_scale=Scale(1, 5))
    tasks = [
        exports.task(exports.annotation(3, result=result, second=place), condition=condition)
        for place, condition in enumerate(("T", "A", "V", "AT"))
    ]
    for _ in range(2):
        rows, report = read(tasks, options=options, overwrite=False)
        assert len(rows) == 8
        assert {row["flags"] for row in rows} == {""}
    assert (report.read_again, report.dropped) == (8, {})


def test_annotators_without_a_column_of_values_stop_the_import(read):
    with pytest.raises(
        AnnotationError, match=r"no column called value; name .*: --dimension valence --dimension NAME=A$"
    ):
        read("clip,annotator,valence,A,gender\na,ann,2,5,f\n", name="a.csv")
    options = ImportOptions(dimensions={"valence": "pleasure"}, condition="M")
    with pytest.raises(AnnotationError, match=r"has no column 'pleasure'; name each dimension's by --dimension"):
        read("clip,annotator,valence\na,ann,2\n", name="a.csv", options=options)
    with pytest.raises(ConfigError, match=r"--scale valance=1..5 names no condition; expected one of .*, valence"):
        ImportOptions(dimensions={"valence": "v"}, scales={"valance": Scale(1, 5)})


def test_the_control_may_be_the_only_column_of_values(read):
    rows, report = read("utterance_id,condition,annotator,sentiment\nv,AT,ann,1\n", name="a.csv", drop_unknown=False)
    assert ([row["value"] for row in rows], report.files[0].format) == ([1], "CSV")
    options = ImportOptions(control="mood")
    rows, _ = read("utterance_id,condition,annotator,mood\nv,AT,ann,-1\n", name="a.csv", options=options)
    assert [row["value"] for row in rows] == [-1]


def test_the_message_names_the_dimension_that_is_off_its_scale(read):
    text = "clip,annotator,valence,arousal\na,ann,1,7\na,bob,0,2\n"
    options = ImportOptions(dimensions={"valence": "valence", "arousal": "arousal"}, condition="M")
    with pytest.raises(AnnotationError, match=r"2 of 2 answers of arousal .*give --scale arousal=2..7"):
        read(text, name="a.csv", options=options, drop_unknown=False)


def test_every_dimension_is_measured_apart_and_aggregated_when_chosen():
    ratings = pa.concat_tables(
        [
            table({"a": [1, 2], "b": [5, 5], "c": [2, 2]}, scale="1..5", dimension="valence"),
            table({"a": [0.1, 0.2], "b": [0.9, 0.8]}, scale="0..1:continuous", dimension="arousal"),
        ]
    )
    found = overview(ratings, n_items=1, n_bootstrap=10)
    assert list(found.agreement) == list(found.raters) == list(found.disputed) == ["M arousal", "M valence"]
    assert (found.agreement["M arousal"]["level"], found.agreement["M valence"]["clips"]) == ("interval", 3)
    for refused in (aggregate_ratings, lambda one: panel_of(one, "M")):
        with pytest.raises(AnnotationError, match="several dimensions: arousal, valence; choose one by --dimension"):
            refused(ratings)
    labels = aggregate_ratings(of_dimension(ratings, "valence"), Policy(panel=2)).conditions["M"]
    assert labels.label.tolist() == [1.5, 5.0, 2.0]
    with pytest.raises(
        AnnotationError, match="no rating is of the dimension 'joy'; the ratings are of arousal, valence"
    ):
        of_dimension(ratings, "joy")


# Pages


PAGE = """<View><Video name="video" value="$video"/>
<Choices name="sentiment" toName="video"><Choice value="Bad" alias="-2"/><Choice value="Fine" alias="2"/></Choices>
<Choices name="emotion" toName="video"><Choice value="happy"/><Choice value="sad"/></Choices>
<Rating name="stars" toName="video"/><Rating name="seven" toName="video" maxRating="7"/>
<Number name="slider" toName="video" min="0" max="100" step="1"/>
<Number name="steps" toName="video" min="1" max="9" step="1"/><Number name="fine" toName="video" min="-1" max="1"/>
<Number name="open" toName="video"/>
<Taxonomy name="topic" toName="video"><Choice value="x"/><Choice value="y"/></Taxonomy></View>"""


def test_a_page_says_the_scale_of_each_control(tmp_path):
    assert {name: str(scale) for name, scale in parse_page(PAGE).items()} == {
        **{"sentiment": "-2..2", "emotion": "happy|sad", "stars": "1..5", "seven": "1..7"},
        **{"slider": "0..100:continuous", "steps": "1..9", "fine": "-1..1:continuous", "topic": "x|y"},
    }
    (tmp_path / "page.xml").write_text('<?xml version="1.0"?>' + PAGE, encoding="utf-8")
    assert read_page(tmp_path / "page.xml") == parse_page(PAGE)


@pytest.mark.parametrize("text", ["", "{}", "<View><Choices>", '<!DOCTYPE a [<!ENTITY b "c">]><View/>', "<View/>"])
def test_what_is_no_page_is_refused(tmp_path, text):
    (tmp_path / "page.xml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"page\.xml"):
        read_page(tmp_path / "page.xml")


def test_the_page_decides_where_no_option_does(read, exports):
    page = parse_page(PAGE)
    star = exports.annotation(3)
    star["result"] = [answer("seven", "rating", 6)]
    rows, _ = read([exports.task(star)], options=ImportOptions(control="seven", page=page), drop_unknown=False)
    assert (rows[0]["value"], rows[0]["scale"]) == (6, "1..7")
    given = ImportOptions(control="seven", page=page, scales={"VT": Scale(0, 10)})
    rows, _ = read([exports.task(star)], options=given, drop_unknown=False)
    assert rows[0]["scale"] == "0..10"
    words = ImportOptions(control="emotion", page=page, label_values={"happy": 1, "sad": -1})
    rows, _ = read([exports.task(exports.annotation(3, result=[answer("emotion", "choices", ["sad"])]))], options=words)
    assert (rows[0]["value"], rows[0]["scale"]) == (-1, "-1..1")
    with pytest.raises(ConfigError, match="no control 'open' that says its scale; it has sentiment, emotion, stars"):
        ImportOptions(control="open", page=page)


@pytest.mark.parametrize(
    ("page", "kept"),
    [(PAGE, (6, "1..7")), ("not a page", None), (None, None), ("<View><Rating name='other'/></View>", None)],
)
def test_pull_takes_the_scale_from_the_page_of_the_project(run, exports, tmp_path, monkeypatch, page, kept):
    star = exports.annotation(3, result=[answer("seven", "rating", 6)])
    project = SimpleNamespace(id=7, label_config=page)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "token")
    monkeypatch.setattr(Server, "find_project", lambda self, title: project)
    export = json.dumps([exports.task(star)])
    monkeypatch.setattr(Server, "download", lambda self, project_id, target: target.write_text(export))
    arguments = ("pull", "--url", "http://127.0.0.1:1", "--conditions", "VT", "--control", "seven")
    code, _, err = run("annotation", *arguments, "-o", tmp_path / "r.parquet")
    if kept is None:
        assert (code, "give --scale" in err) == (1, True)
    else:
        rows = read_ratings(tmp_path / "r.parquet").to_pylist()
        assert [(row["value"], row["scale"]) for row in rows] == [kept]


# Files


def test_ratings_of_the_older_version_are_read(tmp_path):
    ratings = table({"a": [1, 0, -1]}, scale="-1..1")
    write_ratings(ratings, tmp_path / "new.parquet")
    new = pq.read_table(tmp_path / "new.parquet")
    assert decode_metadata(new.schema, name="new")["schema_version"] == 2
    place = new.schema.get_field_index("value")
    old = new.set_column(place, "value", new["value"].cast(pa.int16())).drop_columns(["dimension", "word"])
    pq.write_table(old.replace_schema_metadata(encode_metadata({"schema_version": 1})), tmp_path / "old.parquet")
    assert read_ratings(tmp_path / "old.parquet").equals(read_ratings(tmp_path / "new.parquet"))
    pq.write_table(old.replace_schema_metadata(encode_metadata({"schema_version": 3})), tmp_path / "next.parquet")
    with pytest.raises(AnnotationError, match="schema version 3; this fmltk reads 2: import again"):
        read_ratings(tmp_path / "next.parquet")


@pytest.mark.parametrize(
    ("scale", "answer_given"),
    [("0..1:continuous", 1.5), (EMOTIONS, "bored"), (EMOTIONS, 1.0), ("1..5", 2.5), ("0..1:continuous", "sad")],
)
def test_ratings_off_their_scale_are_refused(tmp_path, scale, answer_given):
    write_ratings(table({"a": [answer_given]}, scale=scale), tmp_path / "r.parquet")
    with pytest.raises(AnnotationError, match=r"r\.parquet has values outside the scale"):
        read_ratings(tmp_path / "r.parquet")


def test_ratings_written_as_csv_are_read_again(read, tmp_path):
    ratings = pa.concat_tables(
        [
            table({"a": ["sad", "happy"]}, scale=EMOTIONS, dimension="emotion"),
            table({"a": [0.25, 0.5]}, scale="0..1:continuous", dimension="arousal"),
        ]
    )
    write_ratings(ratings, tmp_path / "r.parquet")
    text = read_ratings(tmp_path / "r.parquet").cast(RATINGS_SCHEMA).to_pandas().to_csv(index=False)
    rows, _ = read(text, name="r.csv", drop_unknown=False)
    answers = {(row["dimension"], row["annotator"]): row["word"] or row["value"] for row in rows}
    assert answers == {
        **{("arousal", "r0"): 0.25, ("arousal", "r1"): 0.5},
        **{("emotion", "r0"): "sad", ("emotion", "r1"): "happy"},
    }


# Commands


@pytest.fixture
def three_dimensions(tmp_path):
    generator = np.random.default_rng(1)
    lines = ["id,rater,V,A,D"]
    for clip in range(12):
        truth = generator.integers(1, 6, 3)
        for rater in range(5):
            answers = np.clip(truth + generator.integers(-1, 2, 3), 1, 5)
            lines.append(f"s{clip},r{rater},{','.join(map(str, answers))}")
    (tmp_path / "vad.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "vad.csv"


def test_dimensions_give_a_file_of_labels_each_with_one_split(run, run_json, tmp_path, three_dimensions):
    options = ("--dimension", "valence=V", "--dimension", "arousal=A", "--dimension", "dominance=D", "--scale", "1..5")
    arguments = ("import", three_dimensions, "-o", tmp_path / "r.parquet", "--condition", "T", *options)
    assert sorted(run_json(*arguments)["conditions"]) == ["T arousal", "T dominance", "T valence"]
    documents = run_json("aggregate", tmp_path / "r.parquet", "-o", tmp_path / "labels.parquet")
    assert [document["dimension"] for document in documents] == ["arousal", "dominance", "valence"]
    names = [f"labels.{name}.parquet" for name in ("arousal", "dominance", "valence")]
    tables = [read_labels(tmp_path / name) for name in names]
    assert not (tmp_path / "labels.parquet").exists()
    assert {labels.splits for labels in tables} == {tables[0].splits}
    assert set(tables[0].splits) == {"train", "valid", "test"}
    one = run_json("aggregate", tmp_path / "r.parquet", "-o", tmp_path / "v.parquet", "--dimension", "valence")
    assert one["conditions"]["T"]["numbers"]["mean"] == pytest.approx(np.mean(tables[2].values("T")))
    assert (tmp_path / "v.parquet").read_bytes() == (tmp_path / names[2]).read_bytes()
    code, out, _ = run("annotation", "agreement", tmp_path / "r.parquet", "--bootstrap", 10)
    assert (code, "T dominance" in out) == (0, True)


def test_means_that_a_data_set_ships_are_labels_of_their_scale(run_json, tmp_path):
    (tmp_path / "emobank.csv").write_text("id,split,label_T\ns1,train,3.2\ns2,dev,2.8\ns3,test,4.4\n")
    arguments = ("aggregate", "--labels", tmp_path / "emobank.csv", "-o", tmp_path / "l.parquet", "--scale", "1..5")
    document = run_json(*arguments)
    assert document["conditions"]["T"]["numbers"]["greatest"] == 4.4
    assert document["splits"] == {"train": 1, "valid": 1, "test": 1}


def test_a_report_shows_scales_of_every_kind(run, tmp_path):
    parts = [
        table({f"c{clip}": [clip * 10.0, clip * 10.0 + 1.5] for clip in range(9)}, scale="0..100:continuous"),
        table({f"c{clip}": [EMOTIONS.split("|")[clip % 3]] * 2 for clip in range(9)}, scale="nominal", condition="T"),
    ]
    write_ratings(pa.concat_tables(parts), tmp_path / "r.parquet")
    arguments = ("--panel-size", 2, "--split", "none")
    code, out, _ = run("annotation", "aggregate", tmp_path / "r.parquet", "-o", tmp_path / "l.parquet", *arguments)
    assert (code, "angry  happy  sad" in out, "third quarter" in out) == (0, True, True)
    files = (tmp_path / "r.parquet", tmp_path / "l.parquet")
    assert run("report", *files, "-o", tmp_path / "report.html")[0] == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for text in ("Labels without classes", "Words without order.", "label on the scale 0..100:continuous", "9 x 2"):
        assert text in page
    assert "Conditions that differ in sign" not in page


def test_models_learn_labels_that_are_words():
    from fmltk.model.nominal import learned_labels

    labels = join_labels(
        aggregate_ratings(table({"a": ["sad"], "b": ["happy"]}, scale=EMOTIONS), Policy(panel=1)), None
    )
    numbers, scale = learned_labels(labels)
    assert str(scale) == "happy|sad|angry"
    (rated,) = labels.scales
    assert numbers[rated].tolist() == [1.0, 0.0]
    assert all(np.isnan(values).all() for condition, values in numbers.items() if condition != rated)


def test_a_split_by_video_keeps_the_shares_of_words(run, tmp_path):
    """Half of the videos are happy, half are sad: every split has both, in like shares."""
    cells = {f"v{k // 5:02d}$_$c{k}": ["happy" if k // 5 < 20 else "sad"] for k in range(200)}
    write_ratings(table(cells, scale=EMOTIONS), tmp_path / "r.parquet")
    code, _, _ = run("annotation", "aggregate", tmp_path / "r.parquet", "-o", tmp_path / "l.parquet", "--panel-size", 1)
    labels = read_labels(tmp_path / "l.parquet")
    happy = np.array([name == "happy" for name in labels.classes(labels.first_condition)])
    splits = np.array(labels.splits)
    assert (code, [happy[splits == split].mean() for split in ("train", "valid", "test")]) == (0, [0.5, 0.5, 0.5])


def test_dropped_answers_of_a_dimension_leave_the_list_when_a_later_import_keeps_them(read, tmp_path):
    text = "clip,annotator,valence,arousal\na,ann,9,1\n"
    options = ImportOptions(dimensions={"valence": "valence", "arousal": "arousal"}, condition="M")
    read(text, name="a.csv", options=options)
    lines = (tmp_path / "out" / "ratings.dropped.jsonl").read_text().splitlines()
    assert [json.loads(line)["dimension"] for line in lines] == ["valence"]
    read(text.replace("9", "1"), name="a.csv", options=options, overwrite=False)
    assert (tmp_path / "out" / "ratings.dropped.jsonl").read_text() == ""


@pytest.mark.parametrize(
    ("scale", "panel", "word", "label", "label_class", "note"),
    [
        ("nominal", ["sad", "sad"], "joy", None, "joy", "adjudicated by z: joy; the panel: sad of 2 ratings"),
        (EMOTIONS, ["sad", "happy"], "sad", None, "sad", "the panel: tie: happy and sad, 1 of 2 ratings each"),
        ("0..1:continuous", [0.2, 0.4], 0.75, 0.75, None, "adjudicated by z: 0.75; the panel: 0.3 of 2 ratings"),
    ],
)
def test_an_adjudicator_prevails_on_every_kind_of_scale(tmp_path, scale, panel, word, label, label_class, note):
    rows = table({"a": [*panel, word]}, scale=scale).cast(RATINGS_SCHEMA).to_pylist()
    rows[-1]["annotator"] = "z"
    ratings = pa.Table.from_pylist(rows, schema=RATINGS_SCHEMA).cast(memory_schema())
    aggregated = aggregate_ratings(ratings, Policy(panel=2, adjudicators=("z",)))
    write_labels(join_labels(aggregated, None), tmp_path / "l.parquet")
    labels = read_labels(tmp_path / "l.parquet")
    assert labels.table["label_M"].to_pylist() == [label]
    assert (labels.classes("M"), labels.reasons("M")) == ([label_class], [None])
    assert note in labels.table["note_M"][0].as_py()
