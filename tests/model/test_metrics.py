"""Metrics against scikit-learn and scipy, on the same numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import accuracy_score, f1_score

from fmltk.model.metrics import accuracy_2, constant_score, metric_family, metric_names, score, sign_correct
from fmltk.model.significance import mean_interval, paired_test
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.errors import ConfigError

pytestmark = pytest.mark.numeric

CH_SIMS_VALUES = np.round(np.arange(-1.0, 1.01, 0.2), 1)


def reference_ch_sims(prediction: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """The same definitions written with scikit-learn, scipy and pandas' right-closed intervals."""
    import pandas as pd

    p, t = np.clip(prediction, -1, 1), np.clip(truth, -1, 1)

    def cut(values: np.ndarray, edges: list[float]) -> np.ndarray:
        return np.asarray(pd.cut(values, [-1.01, *edges, 1.01], labels=False))

    two = cut(t, [0.0]), cut(p, [0.0])
    return {
        "Acc-2": accuracy_score(*two),
        "Acc-3": accuracy_score(cut(t, [-0.1, 0.1]), cut(p, [-0.1, 0.1])),
        "Acc-5": accuracy_score(cut(t, [-0.7, -0.1, 0.1, 0.7]), cut(p, [-0.7, -0.1, 0.1, 0.7])),
        "F1": f1_score(*two, average="weighted", zero_division=0),
        "F1-pred": f1_score(two[1], two[0], average="weighted", zero_division=0),
        "MAE": np.abs(p - t).mean(),
        "Corr": stats.pearsonr(p, t).statistic,
    }


def reference_mosi(p: np.ndarray, t: np.ndarray) -> dict[str, float]:
    kept = t != 0
    return {
        "Acc-7": accuracy_score(np.round(np.clip(t, -3, 3)), np.round(np.clip(p, -3, 3))),
        "Acc-5": accuracy_score(np.round(np.clip(t, -2, 2)), np.round(np.clip(p, -2, 2))),
        "Acc-2 Has0": accuracy_score(t >= 0, p >= 0),
        "F1 Has0": f1_score(t >= 0, p >= 0, average="weighted", zero_division=0),
        "F1-pred Has0": f1_score(p >= 0, t >= 0, average="weighted", zero_division=0),
        "Acc-2 Non0": accuracy_score(t[kept] > 0, p[kept] > 0),
        "F1 Non0": f1_score(t[kept] > 0, p[kept] > 0, average="weighted", zero_division=0),
        "F1-pred Non0": f1_score(p[kept] > 0, t[kept] > 0, average="weighted", zero_division=0),
        "MAE": np.abs(p - t).mean(),
        "Corr": stats.pearsonr(p, t).statistic,
    }


@pytest.mark.parametrize("seed", range(5))
def test_ch_sims_metrics_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.choice(CH_SIMS_VALUES, 457)
    prediction = np.concatenate([rng.normal(0, 0.8, 400), rng.choice([-0.7, -0.1, 0.0, 0.1, 0.7, 1.4], 57)])
    found, expected = score(prediction, truth, "ch-sims"), reference_ch_sims(prediction, truth)
    assert tuple(found) == metric_names("ch-sims")
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_mosi_metrics_equal_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.round(rng.uniform(-3, 3, 686) * 5) / 5
    prediction = np.concatenate([rng.normal(0, 2, 600), rng.choice([-2.5, -1.5, -0.5, 0.0, 0.5, 2.5, 4.0], 86)])
    found, expected = score(prediction, truth, "mosi"), reference_mosi(prediction, truth)
    assert tuple(found) == metric_names("mosi")
    assert found == pytest.approx(expected, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(-4, 4), st.sampled_from(CH_SIMS_VALUES)), min_size=1, max_size=30))
def test_shares_stay_between_zero_and_one(pairs: list[tuple[float, float]]) -> None:
    prediction, truth = map(list, zip(*pairs, strict=True))
    for family in ("ch-sims", "mosi"):
        scores = score(prediction, truth, family)
        shares = [v for k, v in scores.items() if k.startswith(("Acc", "F1")) and not np.isnan(v)]
        assert all(0 <= share <= 1 for share in shares)


def test_a_perfect_prediction_scores_one() -> None:
    truth = np.array([-1.0, -0.4, 0.0, 0.6, 1.0])
    assert score(truth, truth, "ch-sims") == pytest.approx(
        {"Acc-2": 1, "Acc-3": 1, "Acc-5": 1, "F1": 1, "F1-pred": 1, "MAE": 0, "Corr": 1}
    )


def test_the_constant_predictor_gives_the_two_published_f1_scores() -> None:
    """317 of 457 clips are not positive: F1 is 56.82 by truth (table 4) and 81.91 by prediction (table 5)."""
    truth = np.array([-0.4] * 317 + [0.4] * 140)
    scores = constant_score([-0.2, -0.2, 0.8], truth, "ch-sims")
    assert round(100 * scores["Acc-2"], 2) == 69.37
    assert round(100 * scores["F1"], 2) == 56.82
    assert round(100 * scores["F1-pred"], 2) == 81.91


def test_the_constant_predictor_on_real_labels_is_the_papers_row(test_data: object) -> None:
    import pandas as pd

    table = pd.read_csv(f"{test_data}/ch-sims/chsims_v1_label_recovered_notext.csv")
    train, test = (table.loc[table["mode"] == mode, "label"].to_numpy() for mode in ("train", "test"))
    scores = constant_score(train, test, "ch-sims")
    assert [round(100 * scores[k], 2) for k in ("Acc-2", "Acc-3", "Acc-5", "F1", "F1-pred")] == [
        69.37,
        54.27,
        21.23,
        56.82,
        81.91,
    ]


def test_the_correlation_of_a_constant_is_nan() -> None:
    assert np.isnan(score([0.1, 0.1, 0.1], [-1.0, 0.0, 1.0], "ch-sims")["Corr"])
    assert np.isnan(score([0.1, 0.2, 0.3], [1.0, 1.0, 1.0], "mosi")["Corr"])


def test_non_zero_scores_are_nan_where_every_truth_is_zero() -> None:
    scores = score([0.1, -0.2], [0.0, 0.0], "mosi")
    assert np.isnan(scores["Acc-2 Non0"])
    assert np.isnan(scores["F1 Non0"])
    assert scores["Acc-2 Has0"] == 0.5


def test_sign_correct_averages_to_the_first_accuracy() -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.choice([-1.0, 0.0, 1.0], 99), rng.choice([-0.5, 0.0, 0.5], 99)
    assert sign_correct(prediction, truth, "ch-sims").mean() == score(prediction, truth, "ch-sims")["Acc-2"]
    assert sign_correct(prediction, truth, "mosi").mean() == score(prediction, truth, "mosi")["Acc-2 Has0"]


@pytest.mark.parametrize(
    ("prediction", "truth", "message"),
    [
        ([0.0], [0.0, 1.0], "cannot be scored against"),
        ([], [], "no clip to score has a label"),
        ([0.0, np.nan], [0.0, 1.0], "prediction of row 1 is nan"),
        ([0.0, 1.0], [np.inf, 1.0], "label of row 0 is inf"),
    ],
)
def test_what_cannot_be_scored_is_refused(prediction: list[float], truth: list[float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        score(prediction, truth, "ch-sims")


def test_the_scale_chooses_the_family() -> None:
    assert metric_family(Scale(-1, 1)) == "ch-sims"
    assert metric_family(Scale(-3, 3)) == "mosi"


def test_a_paired_t_test_equals_scipys() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(0, 1, 40), rng.normal(0.3, 1, 40)
    found, expected = paired_test(a, b), stats.ttest_rel(a, b)
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue, abs=1e-12)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-12)


def test_pairs_with_a_missing_side_are_left_out() -> None:
    assert paired_test([1.0, np.nan, 3.0], [0.0, 1.0, 1.5]).n == 2


def test_a_single_pair_has_no_p_value() -> None:
    found = paired_test([1.0], [0.5])
    assert found.difference == 0.5
    assert np.isnan(found.p)


def test_differences_without_spread() -> None:
    assert paired_test([1.0, 2.0], [0.0, 1.0]).p == 0.0
    assert paired_test([1.0, 2.0], [1.0, 2.0]).p == 1.0


def test_unpaired_values_are_refused() -> None:
    with pytest.raises(ConfigError, match="pairs are needed"):
        paired_test([1.0], [1.0, 2.0])


def test_mean_interval_equals_scipys() -> None:
    values = np.array([0.92, 0.93, 0.91, 0.94, 0.92])
    mean, low, high = mean_interval(values)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (mean, low, high) == pytest.approx((values.mean(), expected.low, expected.high))


@pytest.mark.parametrize("scale", ["1..5", "1..7", "0..100:continuous", "0..1:continuous", "-5..0"])
def test_a_scale_without_a_negative_side_has_no_metric_of_signs_or_classes(scale: str) -> None:
    own = Scale.parse(scale)
    family = metric_family(own)
    truth = np.linspace(own.low, own.high, 6)
    prediction = truth[::-1]  # as wrong as can be: a share of right signs would be 100 %
    scores = score(prediction, truth, family)
    assert scores == {"MAE": pytest.approx(np.abs(prediction - truth).mean()), "Corr": pytest.approx(-1)}
    assert tuple(scores) == metric_names(family)
    assert np.isnan(accuracy_2(prediction, truth, family))
    assert sign_correct(prediction, truth, family).all()
    assert tuple(constant_score(truth, truth, family)) == metric_names(family)
