"""One class rule: the paper's five bins, and the seven classes of -3..3."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.classes import BINS, SEVEN, class_names, class_of_mean, classes_of_values
from fmltk.toolkit.conditions import CH_SIMS_SCALE, MOSI_SCALE, Scale

# Paper, section 3: a mean of five ratings is one of eleven values; table 2 names the bins.
TABLE = ("NG", "NG", "WN", "WN", "WN", "NU", "WP", "WP", "WP", "PS", "PS")


def test_each_of_the_eleven_means_has_its_bin() -> None:
    assert tuple(class_of_mean(total, 5, CH_SIMS_SCALE) for total in range(-5, 6)) == TABLE
    assert tuple(classes_of_values(np.arange(-5, 6) / 5, CH_SIMS_SCALE)) == TABLE


def test_mirrored_ratings_have_the_mirrored_bin() -> None:
    mirror = dict(zip(BINS, reversed(BINS), strict=True))
    for ratings in product(CH_SIMS_SCALE.values, repeat=5):
        own, other = (class_of_mean(sign * sum(ratings), 5, CH_SIMS_SCALE) for sign in (1, -1))
        assert own is not None
        assert mirror[own] == other


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.integers(-n, n), st.just(n))))
def test_a_mean_between_has_the_bin_of_the_nearest_of_the_papers_values(mean: tuple[int, int]) -> None:
    total, n = mean
    name = class_of_mean(total, n, CH_SIMS_SCALE)
    distances = [abs(total / n - fifths / 5) for fifths in range(-5, 6)]
    assert name in {bin_ for bin_, d in zip(TABLE, distances, strict=True) if d < min(distances) + 1e-9}
    assert classes_of_values([total / n], CH_SIMS_SCALE).tolist() == [name]


@pytest.mark.parametrize(
    ("value", "name"), [(-0.7, "NG"), (-0.1, "WN"), (0.1, "NU"), (0.7, "WP"), (0.6000000238, "WP"), (0.71, "PS")]
)
def test_a_mean_on_a_cut_belongs_below_it(value: float, name: str) -> None:
    assert classes_of_values([value, np.float32(value)], CH_SIMS_SCALE).tolist() == [name, name]
    assert class_of_mean(round(value * 100), 100, CH_SIMS_SCALE) == name


@given(st.integers(1, 20).flatmap(lambda n: st.tuples(st.integers(-3 * n, 3 * n), st.just(n))))
def test_a_mean_and_its_decimal_number_have_the_same_of_seven_classes(mean: tuple[int, int]) -> None:
    total, n = mean
    name = class_of_mean(total, n, MOSI_SCALE)
    assert name == SEVEN[int(np.round(total / n)) + 3]
    assert classes_of_values([total / n], MOSI_SCALE).tolist() == [name]


def test_labels_and_predictions_on_mosis_scale_have_the_same_seven_classes() -> None:
    """`predict` once had five: -2 was WN there and NG in labels.parquet."""
    assert classes_of_values([-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0], MOSI_SCALE).tolist() == list(SEVEN)
    assert classes_of_values([2.5, -0.5, -2.5], MOSI_SCALE).tolist() == ["PS", "NU", "NG"]  # halves to the even one


@pytest.mark.parametrize(("scale", "ends"), [(CH_SIMS_SCALE, ["NG", "PS"]), (MOSI_SCALE, ["SN", "SP"])])
def test_a_score_beyond_the_scale_has_the_class_of_its_end(scale: Scale, ends: list[str]) -> None:
    assert classes_of_values([-9.7, 3.6], scale).tolist() == ends


def test_what_is_not_finite_and_a_scale_that_the_paper_does_not_have_give_no_class() -> None:
    for scale in (CH_SIMS_SCALE, MOSI_SCALE):
        assert classes_of_values([np.nan, np.inf, -np.inf], scale).tolist() == [None] * 3
    assert class_names(Scale(1, 5)) == ()
    assert classes_of_values([1.0, 3.0], Scale(1, 5)).tolist() == [None, None]
    assert class_of_mean(3, 1, Scale(1, 5)) is None
