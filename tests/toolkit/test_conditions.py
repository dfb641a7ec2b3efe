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


@given(st.floats(-1e6, 1e6).map(lambda low: round(low, 3)), st.integers(1, 1000))
def test_a_continuous_scale_is_read_as_it_is_written(low: float, span: int) -> None:
    scale = Scale(low, round(low + span / 10, 3), "continuous")
    assert Scale.parse(str(scale)) == scale
    assert scale.values == ()
    assert scale.contains(low + span / 20)
    assert not scale.contains(scale.high + 0.1)
    assert not scale.contains(float("nan"))


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("0..100 continuous", "0..100:continuous"),
        (" -1 .. 1 : continuous ", "-1..1:continuous"),
        ("\N{MINUS SIGN}1..1", "-1..1"),
        ("+1..+5", "1..5"),
        ("0.5..4.5:continuous", "0.5..4.5:continuous"),
        ("happy | sad|very angry", "happy|sad|very angry"),
        ("happy, sad,very angry", "happy|sad|very angry"),
        ("1|2|3", "1|2|3"),
        ("Nominal", "nominal"),
    ],
)
def test_a_scale_is_read_as_people_write_it(text: str, written: str) -> None:
    assert str(Scale.parse(text)) == written
    assert Scale.parse(written) == Scale.parse(text)


@pytest.mark.parametrize(
    "text",
    ["1..1:continuous", "5..1:continuous", "0..:continuous", "nan..1:continuous", "0.5..5", "1,5", "1,2,3", "0,5..1"],
)
def test_what_is_no_continuous_scale_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"decimals and sliders are 0\.\.100:continuous"):
        Scale.parse(text)


@pytest.mark.parametrize("text", ["a|", "|", "a,", "a|a", "a|A", "a||b", "|".join(f"w{n}" for n in range(101))])
def test_words_that_are_no_scale_are_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"has an empty word, one word twice, or more than 100"):
        Scale.parse(text)


def test_the_classes_of_a_nominal_scale_are_numbered_in_their_order() -> None:
    scale = Scale.parse("sad|happy")
    assert (scale.names, scale.values, scale.has_signs) == (("sad", "happy"), (0, 1), False)
    assert Scale.nominal().values == ()
    assert repr(scale) == "Scale.parse('sad|happy')"


@pytest.mark.parametrize(
    ("text", "has_signs"), [("-1..1", True), ("-100..100:continuous", True), ("1..5", False), ("0..4", False)]
)
def test_a_scale_has_signs_where_it_goes_over_zero(text: str, has_signs: bool) -> None:
    assert Scale.parse(text).has_signs == has_signs
