"""The padding rule against values computed by hand from the paper's equations 1 and 2."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.features.padding import pad_sequence, padded_length, pool_sequence

LENGTHS = st.lists(st.integers(1, 5000), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("lengths", "n_sigmas", "expected"),
    [
        # mean 5, deviations -3 -1 -1 -1 0 0 2 4, their squares sum to 32, 32 / 8 = 4, sigma 2: 5 + 3 * 2
        ([2, 4, 4, 4, 5, 5, 7, 9], 3.0, 11),
        ([2, 4, 4, 4, 5, 5, 7, 9], 0.0, 5),
        ([2, 4, 4, 4, 5, 5, 7, 9], 1.0, 7),
        # mean 20, squares 100 + 100 + 400, sigma sqrt(200) = 14.142: 20 + 42.426 = 62.426.
        # A sample's standard deviation (divided by N - 1) would be 17.32 and give 71.
        ([10, 10, 40], 3.0, 62),
        # mean 2, sigma sqrt(2 / 3) = 0.8165: 2 + 2.449 = 4.449, truncated
        ([1, 2, 3], 3.0, 4),
        # 2.5 + 3 * sqrt(1.25) = 5.854, truncated and not rounded
        ([1, 2, 3, 4], 3.0, 5),
        # mean 20, sigma 10: exactly 50, which a float's rounding must not make 49
        ([10, 30], 3.0, 50),
        # mean 1.9, sigma 0.3: 2.8, truncated
        ([1] + [2] * 9, 3.0, 2),
        # mean 1.1, sigma 0.3: 1.1 + 3 * 0.3 is exactly 2
        ([1] * 9 + [2], 3.0, 2),
        ([7], 3.0, 7),
        ([400] * 1000, 3.0, 400),
    ],
)
def test_the_length_is_mean_plus_lambda_sigma_truncated(lengths: list[int], n_sigmas: float, expected: int) -> None:
    assert padded_length(lengths, n_sigmas=n_sigmas) == expected


def test_lambda_is_three_unless_said_otherwise() -> None:
    assert padded_length([10, 30]) == padded_length([10, 30], n_sigmas=3) == 50


@given(LENGTHS, st.integers(0, 5))
def test_the_length_is_the_equations_value_in_exact_arithmetic(lengths: list[int], n_sigmas: int) -> None:
    # L is the largest whole number with L <= mean + lambda sigma, that is (L - mean)^2 <= lambda^2 variance.
    mean = Fraction(sum(lengths), len(lengths))
    variance = sum((one - mean) ** 2 for one in lengths) / len(lengths)
    length = padded_length(lengths, n_sigmas=n_sigmas)
    for whole, holds in ((length, True), (length + 1, False)):
        within = whole <= mean or (whole - mean) ** 2 <= n_sigmas**2 * variance
        assert within is holds


@given(LENGTHS, st.randoms())
def test_the_length_does_not_depend_on_the_order_of_the_clips(lengths: list[int], chance: object) -> None:
    shuffled = list(lengths)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert padded_length(shuffled) == padded_length(lengths)


@given(LENGTHS)
def test_the_length_agrees_with_the_standard_library(lengths: list[int]) -> None:
    value = statistics.fmean(lengths) + 3 * statistics.pstdev(lengths)
    assert abs(padded_length(lengths) - value) <= 1 + 1e-6
    assert padded_length(np.array(lengths, np.int32)) == padded_length(lengths)


def test_a_million_clips_of_very_different_lengths_have_a_length() -> None:
    lengths = np.ones(1_000_000, np.int64)
    lengths[::2] = 200_001  # mean 100,001, sigma 100,000
    assert padded_length(lengths) == 400_001


@pytest.mark.parametrize(
    ("lengths", "n_sigmas", "said"),
    [
        ([], 3.0, "no clip has this modality"),
        ([3, 0], 3.0, "a sequence of 0 steps has no length"),
        ([3, -2], 3.0, "a sequence of -2 steps"),
        ([3], -1.0, r"lambda is -1\.0; it must be a number of 0 or more"),
        ([3], math.inf, "lambda is inf"),
        ([3], math.nan, "lambda is nan"),
    ],
)
def test_what_has_no_length_is_refused(lengths: list[int], n_sigmas: float, said: str) -> None:
    with pytest.raises(FeatureError, match=said):
        padded_length(lengths, n_sigmas=n_sigmas)


SEQUENCES = arrays.arrays(
    np.float32,
    st.tuples(st.integers(0, 30), st.integers(1, 4)),
    elements=st.floats(-1e6, 1e6, width=32, allow_nan=False),
)


@given(SEQUENCES, st.integers(1, 40))
def test_the_first_steps_are_kept_and_the_end_is_zeros(sequence: np.ndarray, length: int) -> None:
    padded = pad_sequence(sequence, length)
    kept = min(len(sequence), length)
    assert padded.shape == (length, sequence.shape[1])
    assert padded.dtype == sequence.dtype
    np.testing.assert_array_equal(padded[:kept], sequence[:kept])
    assert not padded[kept:].any()


def test_a_padded_sequence_is_no_view_of_the_original() -> None:
    sequence = np.ones((4, 2), np.float32)
    pad_sequence(sequence, 4)[0] = 9
    assert sequence.max() == 1


def test_a_mask_is_padded_with_false() -> None:
    assert pad_sequence(np.array([True, False, True]), 5).tolist() == [True, False, True, False, False]


def test_pooling_averages_valid_steps_only() -> None:
    features = np.array([[1, 10], [3, 99], [5, 30], [7, 70], [9, 90]], np.float32)
    valid = np.array([True, False, True, False, False])
    pooled, mask = pool_sequence(features, window=2, valid=valid)
    assert pooled.tolist() == [[1, 10], [5, 30], [0, 0]]
    assert mask is not None
    assert mask.tolist() == [True, True, False]


def test_pooling_without_a_mask_has_none_and_a_partial_last_window() -> None:
    pooled, mask = pool_sequence(np.arange(7, dtype=np.float32)[:, None], window=3)
    assert pooled.tolist() == [[1], [4], [6]]
    assert mask is None


@pytest.mark.parametrize(
    ("starts", "valid", "expected"),
    [
        ([0, 3], [1] * 10, [1, 5.5, 8.5]),  # frames 0 to 2, not 3
        ([0, 1], [1] * 10, [2, 5.5, 8.5]),  # frames 1 to 3
        ([0, 6], [1] * 10, [1.5, 4.5, 8.5]),  # two frames each: the earlier
        ([0, 6], [1, 1, 1, 1, 1, 0, 1, 1, 1, 1], [1.5, 6.5, 8.5]),  # the one with more valid frames
        ([0, 4, 8], [1] * 10, [1.5, 5.5, 8.5]),
        ([0, 1, 2, 3], [1] * 10, [0, 5.5, 8.5]),
        ([0], [1] * 10, [1.5, 5.5, 8.5]),
    ],
)
def test_no_pooled_step_spans_a_cut(starts, valid, expected) -> None:
    features = np.arange(10, dtype=np.float32)[:, None]
    mask = np.array(valid, bool)
    pooled, found = pool_sequence(features, window=4, valid=mask, shot_starts=np.array(starts, np.int32))
    assert pooled[:, 0].tolist() == expected
    assert found is not None
    assert found.all()
    assert mask.tolist() == [bool(one) for one in valid]


def test_an_invalid_steps_not_a_number_does_not_reach_the_average() -> None:
    features = np.array([[2.0], [np.nan]], np.float32)
    pooled, _ = pool_sequence(features, window=2, valid=np.array([True, False]))
    assert pooled.tolist() == [[2.0]]


@given(SEQUENCES, st.integers(1, 12))
def test_pooled_steps_are_the_windows_means(sequence: np.ndarray, window: int) -> None:
    pooled, _ = pool_sequence(sequence, window=window)
    assert pooled.dtype == np.float32
    assert len(pooled) == -(-len(sequence) // window)
    for index, step in enumerate(pooled):
        mean = sequence[index * window : (index + 1) * window].astype(np.float64).mean(axis=0)
        np.testing.assert_allclose(step, mean, rtol=1e-6, atol=1e-6)


def test_a_window_below_one_step_is_refused() -> None:
    with pytest.raises(FeatureError, match="a pooling window of 0 steps is not possible"):
        pool_sequence(np.zeros((3, 1), np.float32), window=0)
