"""Five ratings, one label: the rules, the policies, and what no order may change."""

from __future__ import annotations

from itertools import product

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmltk.annotation.aggregate import aggregate_ratings, compare_methods
from fmltk.annotation.consensus import evaluator_weights
from fmltk.annotation.label_join import join_labels
from fmltk.annotation.option_texts import parse_panel
from fmltk.annotation.ratings import RATINGS_SCHEMA, memory_schema, read_ratings, write_ratings
from fmltk.annotation.settings import Policy
from fmltk.toolkit.classes import SEVEN
from fmltk.toolkit.conditions import CH_SIMS_SCALE, CONDITIONS, WEIGHED, Scale
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.features.label_file import read_labels, write_labels

pytestmark = pytest.mark.numeric

SCALES = dict.fromkeys(CONDITIONS, CH_SIMS_SCALE)


def table(ratings, *, scale="-1..1", condition="AT", statuses=(), created=()):
    """Return a table of ratings: {clip: [values]}; None is a skip."""
    rows = []
    for clip, values in ratings.items():
        for rater, value in enumerate(values):
            rows.append(
                {
                    **dict.fromkeys(RATINGS_SCHEMA.names),
                    "utterance_id": f"v$_${clip}",
                    "video_id": "v",
                    "clip_id": str(clip),
                    "condition": condition,
                    "annotator": f"r{rater}",
                    "value": value,
                    "scale": scale,
                    "status": "skipped" if value is None else "rated",
                    "source": "s",
                    "flags": "",
                    "created_at": created[rater] if created else None,
                }
            )
    return pa.Table.from_pylist(rows, schema=RATINGS_SCHEMA).cast(memory_schema())


def one(values, policy=None, **kwargs):
    """Return the label of one clip as (label, class, n, reason)."""
    labels = aggregate_ratings(table({"c": values}, **kwargs), policy).conditions["AT"]
    label = None if np.isnan(labels.label[0]) else float(labels.label[0])
    return label, labels.label_class[0], int(labels.n[0]), labels.reason[0]


def test_every_panel_of_five_gives_one_of_the_eleven_values_and_its_bin():
    panels = {str(index): list(panel) for index, panel in enumerate(product((-1, 0, 1), repeat=5))}
    labels = aggregate_ratings(table(panels)).conditions["AT"]
    eleven = [-1.0, -0.8, -0.6, -0.4, -0.2, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert sorted(set(labels.label.tolist())) == eleven
    names = dict(zip(eleven, ["NG", "NG", "WN", "WN", "WN", "NU", "WP", "WP", "WP", "PS", "PS"], strict=True))
    assert [names[value] for value in labels.label.tolist()] == labels.label_class.tolist()
    order = sorted(panels)
    by_hand = [round(sum(panels[clip]) / 5, 1) for clip in order]
    assert labels.label.tolist() == by_hand
    assert labels.n_between == 0


def test_a_mean_between_has_no_class_if_so_asked():
    policy = Policy(at_least=4, nearest=False)
    assert one([1, 0, 0, 0], policy) == (0.25, None, 4, None)
    assert one([1, 1, 0, 0, 0], policy) == (0.4, "WP", 5, None)
    labels = aggregate_ratings(table({"a": [1, 0, 0, 0], "b": [1, 1, 0, 0]}), Policy(at_least=4)).conditions["AT"]
    assert labels.label_class.tolist() == ["WP", "WP"]
    assert labels.n_between == 2


def test_mosi_has_seven_classes_and_its_mean():
    panels = {str(index): list(panel) for index, panel in enumerate(product(range(-3, 4), repeat=3))}
    labels = aggregate_ratings(table(panels, scale="-3..3"), Policy(panel=3)).conditions["AT"]
    for clip, value, name in zip(sorted(panels), labels.label, labels.label_class, strict=True):
        assert value == sum(panels[clip]) / 3
        assert name == SEVEN[int(np.round(sum(panels[clip]) / 3)) + 3]


def test_a_scale_that_the_paper_does_not_have_gives_a_mean_without_a_class():
    assert one([1, 2, 3, 4, 5], scale="1..5") == (3.0, None, 5, None)


def test_strict_panels_give_null_and_say_why():
    assert one([1, 1, 1, 1]) == (None, None, 4, "4 of 5 ratings: 1 missing")
    assert one([1, 1, None, None]) == (None, None, 2, "2 of 5 ratings: 2 skipped, 1 missing")
    assert one([1] * 6) == (None, None, 6, "6 ratings where 5 are expected")
    labels = aggregate_ratings(table({"a": [1] * 6, "b": [1], "c": [0] * 5})).conditions["AT"]
    assert labels.kinds == {"too many ratings": 1, "too few ratings": 1}


def test_at_least_n_gives_the_mean_of_those_there_are():
    assert one([1, 0, 0], Policy(at_least=3)) == (1 / 3, "WP", 3, None)
    assert one([1, 0], Policy(at_least=3))[0] is None
    assert one([1] * 6, Policy(at_least=3))[3] == "6 ratings where 5 are expected"


def test_more_than_a_panel():
    created = [np.datetime64(f"2026-01-0{day}").astype("datetime64[us]").item() for day in (6, 1, 2, 3, 4, 5)]
    assert one([-1, 1, 1, 1, 1, 1], Policy(more="first"), created=created) == (1.0, "PS", 5, None)
    assert one([-1, 1, 1, 1, 1, 1], Policy(more="all")) == (4 / 6, "WP", 6, None)
    assert one([-1, 1, 1, 1, 1, 1], Policy(more="first")) == (0.6, "WP", 5, None)  # times unknown: by rater
    assert one([1, 1, 1, 1], Policy(more="first"))[3] == "4 of 5 ratings: 1 missing"


@pytest.mark.parametrize(
    ("text", "expected"), [("strict", None), ("at-least 3", 3), ("at-least-4", 4), ("at-least=1", 1)]
)
def test_panels_are_parsed(text, expected):
    assert parse_panel(text) == expected


@pytest.mark.parametrize("text", ["", "at-least", "3", "at-least -1", "at-least 3 or so"])
def test_other_panels_are_refused(text):
    with pytest.raises(ConfigError, match="neither strict nor at-least-N"):
        parse_panel(text)


def test_policies_that_cannot_be_are_refused():
    for wrong in ({"at_least": 6}, {"at_least": 0}):
        with pytest.raises(ConfigError, match="cannot be"):
            Policy(**wrong)
    with pytest.raises(ConfigError, match="panel is 0; expected 1 or more"):
        Policy(panel=0)
    with pytest.raises(ConfigError, match="'null', 'first', 'all'"):
        Policy(more="some")


def test_median_and_majority_stand_beside_the_mean():
    ratings = {"a": [-1, 1, 1, 1, 1], "b": [-1, -1, 0, 1, 1], "c": [0, 0, 0, 1, 1], "d": [-1, 0, 1, 1, 1]}
    labels = aggregate_ratings(table(ratings)).conditions["AT"]
    assert labels.label.tolist() == [0.6, 0.0, 0.4, 0.4]
    assert labels.median.tolist() == [1.0, 0.0, 0.0, 1.0]
    assert labels.majority.tolist()[:1] + labels.majority.tolist()[2:] == [1.0, 0.0, 1.0]
    assert np.isnan(labels.majority[1])  # -1 and 1 are equally frequent
    np.testing.assert_allclose(labels.spread, [np.std(values) for values in ratings.values()], atol=1e-15)
    compared = compare_methods(labels)
    assert compared["median"] == {
        "clips": 4,
        "without_value": 0,
        "other_class": 3,
        "mean_distance": pytest.approx(0.35),
    }
    assert compared["majority"]["without_value"] == 1


@given(st.lists(st.lists(st.integers(-3, 3), min_size=1, max_size=9), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_the_statistics_are_numpys(panels):
    ratings = {f"{index:02d}": values for index, values in enumerate(panels)}
    policy = Policy(at_least=1, more="all")
    labels = aggregate_ratings(table(ratings, scale="-3..3"), policy).conditions["AT"]
    np.testing.assert_allclose(labels.label, [np.mean(values) for values in panels], atol=1e-12)
    np.testing.assert_allclose(labels.spread, [np.std(values) for values in panels], atol=1e-7)
    np.testing.assert_array_equal(labels.median, [np.median(values) for values in panels])


@given(
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d"]),
        st.lists(st.sampled_from([-1, 0, 1, None]), min_size=1, max_size=7),
        min_size=1,
    ),
    st.sampled_from(["null", "first", "all"]),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_labels_do_not_depend_on_the_order_of_rows_or_raters(ratings, more, random):
    policy = Policy(at_least=2, more=more)
    rows = table(ratings)
    order = list(range(rows.num_rows))
    random.shuffle(order)
    first = join_labels(aggregate_ratings(rows, policy), None).table
    again = join_labels(aggregate_ratings(rows.take(pa.array(order)), policy), None).table
    assert again.equals(first)
    if more == "first":  # which are the first depends on the raters where times are unknown
        return
    for values in ratings.values():
        random.shuffle(values)
    other_raters = join_labels(aggregate_ratings(table(ratings), policy), None).table
    assert other_raters.equals(first)


@pytest.mark.parametrize("method", WEIGHED)
def test_weighed_labels_follow_the_reliable_and_not_the_order_of_rows(method):
    generator = np.random.default_rng(1)
    truth = generator.integers(-1, 2, 40)
    ratings = {
        f"{index:03d}": [*([value] * 2), *generator.integers(-1, 2, 3).tolist()] for index, value in enumerate(truth)
    }
    rows = table(ratings)
    labels = aggregate_ratings(rows, also=[method]).conditions["AT"]
    weighed = labels.weighed[method]
    assert np.abs(weighed - truth).mean() < 0.5 * np.abs(labels.label - truth).mean()
    shuffled = rows.take(pa.array(generator.permutation(rows.num_rows)))
    np.testing.assert_array_equal(aggregate_ratings(shuffled, also=[method]).conditions["AT"].weighed[method], weighed)


def test_the_evaluator_weighted_mean_by_hand():
    """Two raters who agree and one who is against them: the weights are 1, 1 and 0, so the third does not count."""
    truth = [-1, 0, 1] * 5
    rows = table({f"{index:02d}": [value, value, -value] for index, value in enumerate(truth)})
    weighed = aggregate_ratings(rows, Policy(panel=3), also=["evaluator_weighted"]).conditions["AT"].weighed
    np.testing.assert_allclose(weighed["evaluator_weighted"], truth)


def test_raters_of_few_clips_have_the_usual_weight():
    weights = evaluator_weights(np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([1.0, 0.0, 1.0, -1.0]))
    assert weights.tolist() == [1.0, 1.0]
    clip, rater = np.repeat(np.arange(12), 2), np.tile([0, 1], 12)
    value = np.repeat(np.arange(12) % 3, 2).astype(float)
    clip, rater, value = np.append(clip, 0), np.append(rater, 2), np.append(value, 2.0)
    weights = evaluator_weights(clip, rater, value)
    assert weights[2] == pytest.approx(np.median(weights[:2]))


def test_an_unknown_method_is_refused():
    with pytest.raises(ConfigError, match="'wawa' is not a method; expected some of evaluator_weighted, "):
        aggregate_ratings(table({"a": [1]}), also=["wawa"])


def test_ratings_outside_the_protocol_are_left_out_when_asked_for():
    rows = table({"a": [1, 1, 1, 1, 1], "b": [0, 0, 0, 0, 0]})
    flags = ["two_bimodal edited" if row["utterance_id"].endswith("$a") and row["annotator"] == first else ""
             for first in [rows.column("annotator")[0].as_py()] for row in rows.to_pylist()]  # fmt: skip
    place = rows.schema.get_field_index("flags")
    flagged = rows.set_column(place, rows.schema.field(place), pa.array(flags).dictionary_encode())
    lenient = aggregate_ratings(flagged).conditions["AT"]
    strict = aggregate_ratings(flagged, Policy(protocol_strict=True)).conditions["AT"]
    assert lenient.reason.tolist() == [None, None]
    assert strict.reason.tolist() == ["4 of 5 ratings: 1 out of protocol", None]
    assert strict.kinds == {"out of protocol": 1}
    assert strict.n.tolist() == [4, 5]
    assert aggregate_ratings(flagged, Policy(protocol_strict=True, at_least=4)).conditions["AT"].label[0] == 1


def test_a_condition_on_two_scales_is_refused():
    rows = pa.concat_tables([table({"a": [1]}), table({"b": [3]}, scale="-3..3")]).unify_dictionaries()
    with pytest.raises(AnnotationError, match="AT was rated on several scales"):
        aggregate_ratings(rows)


@given(
    st.lists(
        st.tuples(
            st.text("ab0N", min_size=1, max_size=3),
            st.sampled_from(CONDITIONS),
            st.text("xy\u4e2d", min_size=1, max_size=2),
            st.sampled_from([-1, 0, 1, None]),
            st.none() | st.floats(0, 1e6),
            st.none() | st.datetimes(),
        ),
        max_size=12,
        unique_by=lambda row: row[:3],
    )
)
@settings(max_examples=50, deadline=None)
def test_ratings_that_are_written_and_read_are_the_same(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("r") / "ratings.parquet"
    entries = [
        {
            **dict.fromkeys(RATINGS_SCHEMA.names),
            **{"utterance_id": f"{clip}$_$0", "video_id": clip, "clip_id": "0", "condition": condition},
            **{"annotator": rater, "value": value, "scale": "-1..1", "status": "empty" if value is None else "rated"},
            **{"lead_time_s": seconds, "created_at": moment, "updated_at": moment, "source": "s", "flags": ""},
        }
        for clip, condition, rater, value, seconds, moment in rows
    ]
    content = pa.Table.from_pylist(entries, schema=RATINGS_SCHEMA)
    write_ratings(content.cast(memory_schema()), path)
    read = read_ratings(path).cast(RATINGS_SCHEMA)
    key = [("utterance_id", "ascending"), ("condition", "ascending"), ("annotator", "ascending")]
    assert sorted(map(repr, read.to_pylist())) == sorted(map(repr, content.to_pylist()))
    assert [(r["utterance_id"], r["condition"], r["annotator"]) for r in read.to_pylist()] == sorted(
        (r["utterance_id"], r["condition"], r["annotator"]) for r in content.to_pylist()
    ), key


def test_shipped_labels_join_the_new_ones(tmp_path):
    (tmp_path / "label.csv").write_text(
        "video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
        "v,a,x,-0.6,0.8,,-1.0,Negative,train\n"
        "v,z,NA,0.0,,,,Neutral,test\n"
    )
    shipped = read_labels(tmp_path / "label.csv", scales=SCALES)
    aggregated = aggregate_ratings(table({"a": [1, 1, 1, 1, 1], "b": [1]}))
    labels = join_labels(aggregated, shipped)
    write_labels(labels, tmp_path / "labels.parquet")
    rows = {row["clip_id"]: row for row in read_labels(tmp_path / "labels.parquet").table.to_pylist()}
    assert {name: rows["a"][f"label_{name}"] for name in CONDITIONS} == {
        **{"M": -0.6, "T": 0.8, "A": None, "V": -1.0, "AT": 1.0, "VT": None, "AV": None}
    }
    assert (rows["a"]["class_M"], rows["a"]["class_AT"], rows["a"]["n_AT"]) == ("WN", "PS", 5)
    assert (rows["b"]["reason_AT"], rows["z"]["reason_AT"]) == ("1 of 5 ratings: 4 missing", "no ratings")
    assert (rows["b"]["reason_M"], rows["a"]["reason_M"]) == ("no ratings and no label in the table", None)
    assert rows["z"]["label_M"] == 0.0
    assert read_labels(tmp_path / "labels.parquet").scales == dict.fromkeys(("M", "T", "V", "AT"), CH_SIMS_SCALE)


def test_a_clip_with_a_shipped_and_a_new_label_needs_a_choice(tmp_path):
    (tmp_path / "label.csv").write_text("video_id,clip_id,label_T\nv,a,0.2\n")
    shipped = read_labels(tmp_path / "label.csv", scales=SCALES)
    aggregated = aggregate_ratings(table({"a": [1] * 5}, condition="T"))
    with pytest.raises(AnnotationError, match="--prefer ratings or shipped"):
        join_labels(aggregated, shipped)
    for prefer, expected in (("ratings", 1.0), ("shipped", 0.2)):
        labels = join_labels(aggregated, shipped, prefer=prefer)
        assert labels.values("T").tolist() == [expected]
    with pytest.raises(AnnotationError, match=r"rated on -1..1 and shipped on -3..3"):
        join_labels(aggregated, read_labels(tmp_path / "label.csv", scales=dict.fromkeys(CONDITIONS, Scale(-3, 3))))


def test_other_files_are_no_ratings(tmp_path):
    pa.parquet.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(AnnotationError, match="lacks the columns"):
        read_ratings(tmp_path / "x.parquet")
    with pytest.raises(AnnotationError, match="cannot read"):
        read_ratings(tmp_path / "absent.parquet")


@pytest.mark.parametrize(("low", "high", "value"), [(1, 5, 3), (-5, -1, -2)])
def test_a_scale_without_zero_is_written_and_read(tmp_path, low, high, value):
    rows = table({"a": [value] * 5, "b": [low, high]}, scale=f"{low}..{high}")
    write_ratings(rows, tmp_path / "r.parquet")
    assert aggregate_ratings(read_ratings(tmp_path / "r.parquet")).conditions["AT"].label[0] == value
    place = rows.schema.get_field_index("value")
    beyond = pa.array([high + 1] * rows.num_rows, pa.float64())
    write_ratings(rows.set_column(place, rows.schema.field(place), beyond), tmp_path / "r.parquet")
    with pytest.raises(AnnotationError, match="outside the scale"):
        read_ratings(tmp_path / "r.parquet")


def test_ratings_of_many_row_groups_are_one_table(tmp_path, monkeypatch):
    monkeypatch.setattr("fmltk.annotation.ratings.ROWS_PER_GROUP", 3)
    rows = table({f"{number:02d}": [1, 0, -1, 1, 1] for number in range(20)})
    write_ratings(rows, tmp_path / "r.parquet")
    assert pa.parquet.ParquetFile(tmp_path / "r.parquet").num_row_groups == 34
    read = read_ratings(tmp_path / "r.parquet")
    assert read.cast(RATINGS_SCHEMA).to_pylist() == rows.cast(RATINGS_SCHEMA).to_pylist()
    assert aggregate_ratings(read).conditions["AT"].label.tolist() == [0.4] * 20
