"""Agreement against independent implementations and cases computed by hand, missing ratings included."""

from __future__ import annotations

import csv

import krippendorff
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa as statsmodels_fleiss

from fmltk.annotation.agreement import (
    LEVELS,
    agreement,
    alpha_with_interval,
    coincidences,
    fleiss_kappa,
    icc_2k,
    krippendorff_alpha,
    pairwise_kappas,
    panel_of,
    percent_agreement,
)
from fmltk.annotation.quality import marked_raters, most_disputed, rater_quality
from fmltk.annotation.ratings import RATINGS_SCHEMA, memory_schema

pytestmark = pytest.mark.numeric

# Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, section C: four observers, twelve units, 7 missing.
EXAMPLE = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, np.nan, np.nan, np.nan],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, np.nan, 3],
        [np.nan, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, np.nan],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, np.nan],
    ]
)


def counts_of(matrix, values):
    """Return (n_clips, n_values) of a (n_raters, n_clips) matrix with NaN."""
    return np.stack([(matrix == value).sum(axis=0) for value in values], axis=1)


def ratings_of(matrix, *, low, high, condition="AT", seconds=None, skips=()):
    rows = []
    for rater, line in enumerate(matrix):
        for clip, value in enumerate(line):
            skipped = (rater, clip) in skips
            if np.isnan(value) and not skipped:
                continue
            row = dict.fromkeys(RATINGS_SCHEMA.names)
            row |= {"utterance_id": f"v$_${clip:03d}", "video_id": "v", "clip_id": f"{clip:03d}", "source": "s"}
            row |= {"condition": condition, "annotator": f"r{rater}", "scale": f"{low}..{high}", "flags": ""}
            row |= {"value": None if skipped else int(value), "status": "skipped" if skipped else "rated"}
            row["lead_time_s"] = None if seconds is None else float(seconds[rater])
            rows.append(row)
    return pa.Table.from_pylist(rows, schema=RATINGS_SCHEMA).cast(memory_schema())


@pytest.mark.parametrize(("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_krippendorffs_own_example(level, expected):
    values = np.arange(1.0, 6.0)
    alpha, low, high = alpha_with_interval(counts_of(EXAMPLE, values), values, level=level)
    assert alpha == pytest.approx(expected, abs=5e-4)
    assert low < alpha < high


# Shrout and Fleiss, Intraclass Correlations, 1979, table 2: six targets, four judges; ICC(2,4) is .62 (table 4).
JUDGES = np.array([[9, 6, 8, 7, 10, 6], [2, 1, 4, 1, 5, 2], [5, 3, 6, 2, 6, 4], [8, 2, 8, 6, 9, 7]])


def test_icc_of_shrout_and_fleiss_own_example():
    rows = ratings_of(JUDGES.astype(float), low=1, high=10)
    icc, n_clips, n_raters = icc_2k(panel_of(rows, "AT"))
    assert (round(icc, 2), n_clips, n_raters) == (0.62, 6, 4)


def test_icc_stands_on_the_raters_who_rated_most_clips_together():
    matrix = np.array([[1, 2, 3, 1, 2, 3, np.nan, np.nan], [1, 2, 3, 2, 2, 3, 1, 1], [np.nan] * 6 + [2, 3]])
    icc, n_clips, n_raters = icc_2k(panel_of(ratings_of(matrix, low=1, high=3), "AT"))
    assert (n_clips, n_raters) == (6, 2)
    assert 0.9 < icc < 1
    for lonely in (np.array([[1.0, 2, 3]]), np.array([[1.0, np.nan], [1, 2]]), np.array([[1.0, 1], [1, 1]])):
        assert np.isnan(icc_2k(panel_of(ratings_of(lonely, low=1, high=3), "AT"))[0])


def test_alpha_computed_by_hand():
    """Two raters, four clips: (a,a) (a,b) (b,b) (b,b). o_ab = 1, n_a = 3, n_b = 5, n = 8: 1 - 7 * 2 / (2 * 15)."""
    counts = np.array([[2, 0], [1, 1], [0, 2], [0, 2]])
    values = np.array([-1.0, 1.0])
    for level in LEVELS:
        alpha = krippendorff_alpha(coincidences(counts).sum(axis=0), values, level=level)
        assert alpha == pytest.approx(1 - 7 * 2 / (2 * 15))


MATRICES = arrays(
    np.float64, st.tuples(st.integers(2, 6), st.integers(2, 12)), elements=st.sampled_from([-1.0, 0.0, 1.0, np.nan])
)


@given(MATRICES)
@settings(max_examples=100, deadline=None)
def test_alpha_is_that_of_the_krippendorff_package(matrix):
    values = np.array([-1.0, 0.0, 1.0])
    counts = counts_of(matrix, values)
    pairable = counts[counts.sum(axis=1) >= 2]
    assume((pairable.sum(axis=0) > 0).sum() >= 2)
    for level in LEVELS:
        expected = krippendorff.alpha(reliability_data=matrix, level_of_measurement=level, value_domain=values)
        alpha, low, high = alpha_with_interval(counts, values, level=level, n_bootstrap=50)
        assert alpha == pytest.approx(expected, abs=1e-9)
        assert np.isnan(low) or low <= high


def test_alpha_is_undefined_where_all_ratings_are_equal_or_none_is_paired():
    values = np.array([-1.0, 0.0, 1.0])
    for counts in ([[5, 0, 0], [5, 0, 0]], [[1, 0, 0], [0, 1, 0]], np.zeros((0, 3), int)):
        assert np.isnan(alpha_with_interval(np.array(counts), values, level="nominal")[0])


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """95 of 100 intervals of samples from a large population hold its alpha; 84 or fewer has probability 1e-5."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 20_000)
    noisy = generator.random((5, 20_000)) < 0.4
    raters = np.where(noisy, generator.integers(0, 3, (5, 20_000)), truth)
    values = np.arange(3.0)
    counts = counts_of(raters, values)
    population = alpha_with_interval(counts, values, level="interval", n_bootstrap=1)[0]
    held = 0
    for seed in range(100):
        sample = counts[generator.integers(0, len(counts), 200)]
        _, low, high = alpha_with_interval(sample, values, level="interval", n_bootstrap=400, seed=seed)
        held += low <= population <= high
    assert held > 84


@given(st.integers(2, 6), st.lists(st.lists(st.integers(0, 2), min_size=6, max_size=6), min_size=2, max_size=10))
@settings(max_examples=60, deadline=None)
def test_fleiss_kappa_is_that_of_statsmodels(n_raters, rows):
    matrix = np.array(rows)[:, :n_raters].T.astype(float)
    counts = counts_of(matrix, np.arange(3))
    assume((counts.sum(axis=0) > 0).sum() >= 2)
    kappa, clips, size = fleiss_kappa(counts)
    assert kappa == pytest.approx(statsmodels_fleiss(counts), abs=1e-9)
    assert (clips, size) == (len(rows), n_raters)


def test_fleiss_kappa_stands_on_the_clips_with_the_usual_number_of_ratings():
    whole = np.array([[5, 0, 0], [0, 5, 0], [3, 2, 0]])
    mixed = np.vstack([whole, [[4, 0, 0], [1, 0, 0], [0, 0, 0]]])
    assert fleiss_kappa(mixed) == fleiss_kappa(whole)
    assert fleiss_kappa(mixed)[1:] == (3, 5)
    assert np.isnan(fleiss_kappa(np.array([[5, 0], [5, 0]]))[0])
    assert fleiss_kappa(np.array([[1, 0]]))[1:] == (0, 0)


def test_fleiss_kappa_of_the_textbook_example():
    """The textbook example of ten subjects, fourteen raters and five categories: 0.210."""
    counts = np.array(
        [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ]
    )
    assert fleiss_kappa(counts)[0] == pytest.approx(0.210, abs=5e-4)


@given(MATRICES)
@settings(max_examples=80, deadline=None)
def test_pairwise_kappas_are_those_of_scikit_learn(matrix):
    assume((~np.isnan(matrix)).any())
    panel = panel_of(ratings_of(matrix, low=-1, high=1), "AT")
    found = {tuple(panel.raters[i] for i in pair): value for pair, value in pairwise_kappas(panel).items()}
    for first in range(len(matrix)):
        for second in range(first + 1, len(matrix)):
            both = ~np.isnan(matrix[first]) & ~np.isnan(matrix[second])
            if not both.any():
                assert (f"r{first}", f"r{second}") not in found
                continue
            kappa, n_common = found[f"r{first}", f"r{second}"]
            assert n_common == both.sum()
            pair = matrix[first][both].astype(int), matrix[second][both].astype(int)
            if len(set(pair[0]) | set(pair[1])) == 1:
                assert np.isnan(kappa)
            else:
                expected = cohen_kappa_score(*pair, weights="quadratic", labels=[-1, 0, 1])
                assert kappa == pytest.approx(expected, abs=1e-9)


def test_weighted_kappa_by_hand():
    """Of ten clips five (a,a), three (b,b), two (a,b): observed 2, expected (7*5 + 3*5)/10 = 5: 1 - 2/5."""
    matrix = np.array([[-1.0] * 7 + [1.0] * 3, [-1.0] * 5 + [1.0] * 5])
    assert pairwise_kappas(panel_of(ratings_of(matrix, low=-1, high=1), "AT")) == {(0, 1): (1 - 2 / 5, 10)}


def test_percent_agreement_by_hand():
    """Of five raters' ten pairs 4 agree in (3,2,0), all in (5,0,0); the clip with one rating does not count."""
    assert percent_agreement(np.array([[3, 2, 0], [5, 0, 0], [1, 0, 0]])) == pytest.approx((0.4 + 1.0) / 2)
    assert np.isnan(percent_agreement(np.array([[1, 0]])))


def test_agreement_of_conditions_does_not_depend_on_the_order_of_rows():
    generator = np.random.default_rng(0)
    rows = pa.concat_tables(
        [
            ratings_of(generator.integers(-1, 2, (5, 30)).astype(float), low=-1, high=1, condition=name)
            for name in ("AT", "V")
        ]
    ).unify_dictionaries()
    first = agreement(rows, n_bootstrap=50)
    assert list(first) == ["V", "AT"]
    assert agreement(rows.take(pa.array(generator.permutation(rows.num_rows))), n_bootstrap=50) == first
    assert first["AT"]["raters"] == 5
    assert abs(first["AT"]["alpha_interval"]["alpha"]) < 0.2


def test_each_rater_beside_the_others():
    matrix = np.array([[0.0, 1, -1, 0], [0, 1, -1, 1], [1, 1, 0, 1], [np.nan, 1, np.nan, np.nan]])
    rows = ratings_of(matrix, low=-1, high=1, seconds=[2, 3, 4, 5], skips={(3, 0)})
    by_name = {entry["rater"]: entry for entry in rater_quality(rows, "AT")}
    assert {name: entry["rated"] for name, entry in by_name.items()} == {"r0": 4, "r1": 4, "r2": 4, "r3": 1}
    assert by_name["r3"]["skip_share"] == 0.5
    others = [(0 + 1) / 2, 3 / 3, (-1 + 0) / 2, (1 + 1) / 2]
    assert by_name["r0"]["bias"] == pytest.approx(np.mean(matrix[0] - others))
    assert by_name["r0"]["correlation"] == pytest.approx(np.corrcoef(matrix[0], others)[0, 1])
    assert by_name["r0"]["spread"] == pytest.approx(np.std(matrix[0]))
    kappas = [cohen_kappa_score(matrix[0], matrix[k], weights="quadratic", labels=[-1, 0, 1]) for k in (1, 2)]
    assert by_name["r0"]["kappa"] == pytest.approx(np.mean(kappas))
    assert by_name["r2"]["seconds"] == 4
    assert all(entry["patterns"] == [] for entry in by_name.values())
    assert rater_quality(rows, "AV") == []


def test_raters_are_listed_by_their_numbers():
    rows = ratings_of(np.zeros((12, 3)), low=-1, high=1)
    names = [f"r{k}" for k in range(12)]
    assert [entry["rater"] for entry in rater_quality(rows, "AT")] == names
    marks = [{"pattern": "fast", "evidence": "1 s per clip", "n_clips": 12}]
    entries = {"AT": [{"rater": name, "marks": marks} for name in reversed(names)]}
    assert marked_raters("fast", entries) == [f"{name} (AT: 1 s per clip; 12 clips)" for name in names]
    assert marked_raters("constant", entries) == []


def test_suspicious_raters_are_marked_and_others_are_not():
    generator = np.random.default_rng(0)
    truth = generator.integers(-1, 2, 60).astype(float)
    honest = [np.clip(truth + generator.integers(-1, 2, 60) * (generator.random(60) < 0.2), -1, 1) for _ in range(3)]
    matrix = np.array([*honest, np.zeros(60), -truth, truth])
    rows = ratings_of(matrix, low=-1, high=1, seconds=[6, 5, 7, 6, 6, 0.5])
    patterns = {entry["rater"]: entry["patterns"] for entry in rater_quality(rows, "AT")}
    assert patterns == {"r0": [], "r1": [], "r2": [], "r3": ["constant"], "r4": ["reversed"], "r5": ["fast"]}


def test_the_most_disputed_clips_come_first():
    matrix = np.array([[0.0, 1, -1, 1], [0, 0, 1, 1], [0, 1, -1, np.nan]])
    items = most_disputed(ratings_of(matrix, low=-1, high=1), "AT", n_items=5)
    assert [item["utterance_id"] for item in items] == ["v$_$002", "v$_$001"]
    assert items[0]["ratings"] == {"-1": 2, "1": 1}
    assert items[0]["spread"] == pytest.approx(np.std([-1, 1, -1]))
    assert most_disputed(ratings_of(matrix, low=-1, high=1), "AV", n_items=5) == []


def test_real_raters_agree_more_on_faces_than_on_voices_and_most_on_both(test_data):
    """CREMA-D: 7442 clips rated by a crowd from voice only, face only, and both; six emotions, about ten votes each."""
    counts = {"1": [], "2": [], "3": []}  # the first digit of a row's number: voice, face, both
    with (test_data / "crema-d" / "tabulatedVotes.csv").open() as file:
        for row in csv.DictReader(file):
            counts[row[""][0]].append([int(row[emotion]) for emotion in "ADFHNS"])
    values = np.arange(6.0)
    alphas, fractions = [], []
    for rows in counts.values():
        votes = np.array(rows)
        assert len(votes) == 7442
        alpha, low, high = alpha_with_interval(votes, values, level="nominal", n_bootstrap=200)
        assert low < alpha < high
        alphas.append((low, alpha, high))
        fractions.append(percent_agreement(votes))
    voice, face, both = alphas
    assert voice[2] < face[0]
    assert face[2] < both[0]
    assert [round(alpha[1], 3) for alpha in alphas] == [0.281, 0.458, 0.497]
    assert fractions == sorted(fractions)
