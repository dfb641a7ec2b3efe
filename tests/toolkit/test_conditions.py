"""Conditions and scales."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.conditions import CH_SIMS_SCALE, CONDITIONS, MOSI_SCALE, Scale
from fmltk.toolkit.errors import ConfigError


def test_the_papers_scales() -> None:
    assert CH_SIMS_SCALE.values == (-1, 0, 1)
    assert MOSI_SCALE.values == (-3, -2, -1, 0, 1, 2, 3)
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
