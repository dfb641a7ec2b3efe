"""Which steps a word has, and their mean, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fmltk.toolkit.alignment.pooling import mean_of_ranges, step_range, tokens_of_spans


@pytest.mark.parametrize(
    ("start_s", "end_s", "expected"),
    [
        (0.0, 0.1, (0, 3)),  # frames at 0, 1/30, 2/30
        (0.1, 0.2, (3, 6)),  # 0.1 * 30 is 3.0000000000000004 or so
        (0.05, 0.11, (2, 4)),  # 2/30 = 0.067 and 3/30 = 0.1
        (0.034, 0.066, (1, 2)),  # none within; the middle 0.05 is as near to 1/30 as to 2/30: the earlier
        (0.035, 0.066, (2, 3)),  # the middle is nearer to 2/30
        (0.5, 0.5, (15, 16)),  # no duration
        (-0.2, 0.05, (0, 2)),  # begins before the clip
        (2.9, 9.0, (87, 90)),  # ends after it
        (3.01, 3.02, (90, 90)),  # after the last step
        (3.5, 4.0, (90, 90)),
        (-0.5, -0.2, (0, 0)),
    ],
)
def test_a_word_has_the_steps_within_it_or_the_one_next_to_its_middle(
    start_s: float, end_s: float, expected: tuple[int, int]
) -> None:
    assert step_range(start_s, end_s, rate_hz=30, n_steps=90) == expected


def test_the_mean_is_of_valid_steps_and_a_word_without_one_is_not_valid() -> None:
    values = np.array([[1, 10], [2, 20], [6, 60], [0, 0]], np.float32)
    valid = np.array([True, True, True, False])
    means, has = mean_of_ranges(values, valid, [(0, 3), (2, 4), (3, 4), (4, 4), (0, 0)])
    assert means.tolist() == [[3, 30], [6, 60], [0, 0], [0, 0], [0, 0]]
    assert has.tolist() == [True, True, False, False, False]
    assert means.dtype == np.float32


def test_a_zero_that_was_measured_counts() -> None:
    means, has = mean_of_ranges(np.array([[0.0], [4.0]], np.float32), None, [(0, 2), (0, 1)])
    assert (means.tolist(), has.tolist()) == ([[2.0], [0.0]], [True, True])


def test_tokens_belong_to_the_words_whose_characters_they_have() -> None:
    #        [CLS] don    '      t      go      !      [SEP]
    spans = [(0, 0), (0, 3), (3, 4), (4, 5), (6, 8), (8, 9), (0, 0)]
    assert tokens_of_spans(np.array(spans, np.int32), [(0, 5), (6, 8), (0, 0)]) == [(1, 4), (4, 5), (7, 7)]
    assert tokens_of_spans(np.array(spans, np.int32), [(0, 2), (2, 5)]) == [(1, 2), (1, 4)]
