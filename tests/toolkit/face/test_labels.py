"""Ratings and labels as data frames: the same as from files, and what is wrong is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

import fmltk
from fmltk.annotation.agreement import agreement as measure_agreement
from fmltk.annotation.ratings import read_ratings
from fmltk.toolkit.errors import AnnotationError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def ratings() -> pd.DataFrame:
    """Three clips rated by five people for AT and three for M; one answer is empty."""
    rows = [
        (f"video$_${clip:04d}", condition, f"rater {rater}", value)
        for condition, by_clip in {
            "AT": [(1, 1, 0, 1, 1), (-1, -1, 0, -1, None), (0, 0, 0, 1, -1)],
            "M": [(1, 1, 0)],
        }.items()
        for clip, values in enumerate(by_clip)
        for rater, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["utterance_id", "condition", "annotator", "value"])


def test_labels_of_a_frame_are_the_means_of_whole_panels(ratings: pd.DataFrame) -> None:
    labels = fmltk.aggregate(ratings)
    assert labels["label_AT"].round(9).tolist()[::2] == [0.8, 0.0]
    assert np.isnan(labels["label_AT"][1])
    assert labels["reason_AT"][1] == "4 of 5 ratings: 1 empty"
    assert labels["class_AT"].tolist()[::2] == ["PS", "NU"]
    assert labels["label_M"].isna().all()
    assert [name for name in labels.columns if name.endswith(("_T", "_A", "_V", "_AV", "_VT"))] == []
    assert labels.attrs["scales"] == {"M": "-1..1", "AT": "-1..1"}
    assert fmltk.aggregate(ratings, at_least=3)["label_M"].round(9).dropna().tolist() == [0.666666667]


def test_a_frame_a_csv_and_a_parquet_of_the_same_ratings_give_the_same(ratings: pd.DataFrame, tmp_path: Path) -> None:
    ratings.to_csv(tmp_path / "ratings.csv", index=False)
    imported = fmltk.import_ratings(str(tmp_path / "ratings.csv"), tmp_path / "ratings.parquet")
    of_frame = fmltk.aggregate(ratings)
    pd.testing.assert_frame_equal(fmltk.aggregate(imported), of_frame)
    pd.testing.assert_frame_equal(fmltk.aggregate(str(tmp_path / "ratings.parquet")), of_frame)
    measures = measure_agreement(read_ratings(tmp_path / "ratings.parquet"))
    agreement = fmltk.agreement(ratings)
    assert agreement.index.tolist() == list(measures) == ["M", "AT"]
    for condition, measured in measures.items():
        assert agreement.loc[condition, "clips"] == measured["clips"]
        for level in ("nominal", "ordinal", "interval"):
            found = agreement.loc[condition, [f"alpha_{level}", f"alpha_{level}_low", f"alpha_{level}_high"]].tolist()
            np.testing.assert_array_equal(found, list(measured[f"alpha_{level}"].values()))
        np.testing.assert_array_equal(agreement.loc[condition, "fleiss_kappa"], measured["fleiss_kappa"]["kappa"])


def test_labels_are_written_where_they_are_asked_for(ratings: pd.DataFrame, tmp_path: Path) -> None:
    labels = fmltk.aggregate(ratings, str(tmp_path / "labels.parquet"))
    written = pd.read_parquet(tmp_path / "labels.parquet")
    assert written["utterance_id"].tolist() == labels["utterance_id"].tolist()
    np.testing.assert_array_equal(written["label_AT"], labels["label_AT"])
    assert "label_V" in written


def test_an_import_without_a_file_leaves_none_and_counts_what_it_dropped(ratings: pd.DataFrame, tmp_path: Path) -> None:
    ratings.to_csv(tmp_path / "a.csv", index=False)
    ratings.assign(value=7).head(3).to_csv(tmp_path / "b.csv", index=False)
    pd.concat([ratings.head(2), ratings.assign(value=7).head(3)]).to_csv(tmp_path / "b.csv", index=False)
    with pytest.warns(UserWarning, match=r"3 unknown label: the value is not on the scale") as warned:
        imported = fmltk.import_ratings([tmp_path / "a.csv", tmp_path / "b.csv"], drop_unknown=True)
    assert warned[0].filename == __file__
    assert len(imported) == len(ratings)
    assert imported["value"].sum() == ratings["value"].sum()
    assert imported.attrs["report"]["dropped"] == {"unknown label": 3}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.csv", "b.csv"]
    with pytest.raises(fmltk.errors.AnnotationError, match=r"3 of 5 answers are not on the scale -1..1: '7.0' \(3\)"):
        fmltk.import_ratings([tmp_path / "b.csv"])


def test_a_rating_given_twice_counts_once_and_is_counted(ratings: pd.DataFrame) -> None:
    again = pd.concat([ratings, ratings.head(1).assign(value=-1)])
    with pytest.warns(UserWarning, match="1 repeated: an earlier rating of the clip by the same annotator"):
        labels = fmltk.aggregate(again)
    assert labels["n_AT"][0] == 5
    assert labels["label_AT"][0] == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"value": 2},
            r"row 0 is not a rating: the value is not on the scale.*'2'; a row that does not say its scale has -1",
        ),
        ({"value": 0.5}, "the value is not on the scale"),
        ({"condition": "X"}, "row 0 is not a rating: the condition is not one of M, T, A, V, AT, VT, AV"),
        ({"annotator": None}, "does not say who made it"),
        ({"status": "later"}, "row 0: status 'later' is not one of rated, skipped, empty, draft"),
    ],
)
def test_a_row_that_is_not_a_rating_is_named(ratings: pd.DataFrame, change: dict[str, object], message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        fmltk.aggregate(ratings.assign(**change))
    with pytest.raises(AnnotationError, match=message):
        fmltk.agreement(ratings.assign(**change))


def test_a_frame_without_a_column_is_told_which_there_are(ratings: pd.DataFrame) -> None:
    with pytest.raises(AnnotationError, match=r"utterance_id, condition, annotator and value.*has utterance_id, value"):
        fmltk.aggregate(ratings[["utterance_id", "value"]])


def test_other_scales_and_ids_in_two_columns(ratings: pd.DataFrame) -> None:
    wide = ratings.assign(video_id="video", clip_id=ratings["utterance_id"].str[-4:], value=ratings["value"] * 3)
    labels = fmltk.aggregate(wide.drop(columns="utterance_id"), scale="-3..3")
    assert labels["label_AT"].round(9)[0] == 2.4
    assert labels["clip_id"].tolist() == ["0000", "0001", "0002"]
    own = fmltk.aggregate(wide.assign(scale="-3..3"))
    np.testing.assert_array_equal(own["label_AT"], labels["label_AT"])


@pytest.mark.parametrize("supervisor", ["boss", "chief", "r9"])
def test_supervisors_and_clips_that_nobody_rated(tmp_path: Path, supervisor: str) -> None:
    rows = [("a$_$0", "AT", f"r{number}", 1) for number in range(5)] + [("a$_$0", "AT", supervisor, 0)]
    rows += [("b$_$0", "AT", f"r{number}", 1) for number in range(5)]
    ratings = pd.DataFrame(rows, columns=["utterance_id", "condition", "annotator", "value"])
    (tmp_path / "ids.csv").write_text("utterance_id\na$_$0\nc$_$0\n")
    with pytest.warns(UserWarning, match=r"not on the list of clips \(1\): b\$_\$0"):
        labels = fmltk.aggregate(ratings, clips=tmp_path / "ids.csv", adjudicators=[supervisor])
    assert labels["utterance_id"].tolist() == ["a$_$0", "b$_$0", "c$_$0"]
    assert labels["label_AT"].tolist()[:2] == [0.0, 1.0]
    assert labels["reason_AT"].tolist()[2] == "0 of 5 ratings: 5 missing"
    assert labels["note_AT"].tolist()[0] == f"adjudicated by {supervisor}: 0; the panel: 1 of 5 ratings"


def test_frames_of_other_scales_give_means_and_words(tmp_path: Path) -> None:
    people = [f"r{number}" for number in range(3)]
    sliders = pd.DataFrame({"utterance_id": "a", "condition": "M", "annotator": people, "value": [10.5, 20.0, 24.5]})
    labels = fmltk.aggregate(sliders, scale="0..100:continuous", panel=3)
    assert labels["label_M"].tolist() == [55 / 3]
    assert labels.attrs["scales"] == {"M": "0..100:continuous"}
    words = sliders.assign(value=["sad", "sad", "joy"])
    labels = fmltk.aggregate(words, scale="nominal", panel=3, out=tmp_path / "labels.parquet")
    assert labels[["class_M", "share_M"]].to_numpy().tolist() == [["sad", 2 / 3]]
    assert labels.attrs["scales"] == {"M": "joy|sad"}
    assert np.isnan(fmltk.agreement(words, scale="joy|sad").loc["M", "alpha_interval"])


def test_frames_of_several_dimensions_are_measured_apart(tmp_path: Path) -> None:
    rows = [(f"c{clip}", f"r{rater}", clip, 5 - clip) for clip in range(1, 5) for rater in range(2)]
    pd.DataFrame(rows, columns=["utterance_id", "annotator", "V", "A"]).to_csv(tmp_path / "vad.csv", index=False)
    ratings = fmltk.import_ratings(
        tmp_path / "vad.csv", condition="T", scale="1..5", dimensions={"valence": "V", "arousal": "A"}
    )
    assert fmltk.agreement(ratings).index.tolist() == ["T arousal", "T valence"]
    assert fmltk.aggregate(ratings, panel=2, dimension="valence")["label_T"].tolist() == [1, 2, 3, 4]
    with pytest.raises(AnnotationError, match="several dimensions: arousal, valence; choose one by --dimension"):
        fmltk.aggregate(ratings, panel=2)
