"""Scales and the paper's five bins."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.conditions import BIN_NAMES, BINS, CH_SIMS_SCALE, CONDITIONS, MOSI_SCALE, Scale, five_bin
from fmltk.toolkit.errors import ConfigError

# Paper, section 3: a mean of five ratings is one of eleven values; table 2 names the bins.
TABLE = {
    "-1.0": "NG", "-0.8": "NG", "-0.6": "WN", "-0.4": "WN", "-0.2": "WN", "0.0": "NU",
    "0.2": "WP", "0.4": "WP", "0.6": "WP", "0.8": "PS", "1.0": "PS",
}  # fmt: skip


@pytest.mark.parametrize(("mean", "expected"), TABLE.items())
def test_each_of_the_eleven_means_has_its_bin(mean: str, expected: str) -> None:
    assert five_bin(int(Fraction(mean) * 10)) == expected


def test_every_five_ratings_have_a_bin_and_mirrored_ratings_the_mirrored_one() -> None:
    mirror = dict(zip(BINS, reversed(BINS), strict=True))
    for ratings in product(CH_SIMS_SCALE.values, repeat=5):
        assert five_bin(-2 * sum(ratings)) == mirror[five_bin(2 * sum(ratings))]


@pytest.mark.parametrize("tenths", [-12, -9, 1, 3, 11, 12])
def test_a_value_that_no_five_ratings_have_is_refused(tenths: int) -> None:
    with pytest.raises(ValueError, match=r"is none of -10, -8, \.\.\., 10"):
        five_bin(tenths)


def test_the_papers_scales() -> None:
    assert CH_SIMS_SCALE.values == (-1, 0, 1)
    assert MOSI_SCALE.values == (-3, -2, -1, 0, 1, 2, 3)
    assert set(BIN_NAMES) == set(BINS)
    assert sorted(CONDITIONS) == ["A", "AT", "AV", "M", "T", "V", "VT"]


@given(st.integers(-1000, 1000), st.integers(1, 100))
def test_a_scale_is_read_as_it_is_written(low: int, span: int) -> None:
    scale = Scale(low, low + span)
    assert Scale.parse(str(scale)) == scale
    assert len(scale.values) == span + 1


@pytest.mark.parametrize("text", ["", "1", "-1..", "..1", "1..-1", "0..0", "a..b", "-1.0..1.0", "-1:1", "-1..1..3"])
def test_what_is_no_scale_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not LOW\.\.HIGH in whole numbers, such as -1\.\.1 or -3\.\.3"):
        Scale.parse(text)


@pytest.mark.parametrize("text", ["0..101", "-1000000000..1000000000"])
def test_a_scale_of_more_values_than_can_be_counted_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="spans more than 100 steps"):
        Scale.parse(text)
