"""Systems on the same clips: scores over seeds, bootstrap intervals over clips, paired tests with Holm's correction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.model.metrics import metric_names, score
from fmltk.model.significance import holm, paired_test

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.model.compare import System
    from fmltk.model.metrics import Family

N_RESAMPLES = 1000
CONFIDENCE = 0.95
SMALLER_IS_BETTER = ("MAE",)


@dataclass(frozen=True)
class Scored:
    """One system on the clips that all systems predict.

    scores : by metric, float64 (n_seeds,); low, high : by metric, the bootstrap interval over clips of the mean over
    seeds
    """

    system: System
    scores: Mapping[str, NDArray[np.float64]]
    low: Mapping[str, float]
    high: Mapping[str, float]

    def mean(self, metric: str) -> float:
        """Return the mean over the seeds."""
        return float(self.scores[metric].mean())

    def deviation(self, metric: str) -> float:
        """Return the sample standard deviation over the seeds; NaN of one."""
        values = self.scores[metric]
        return float(values.std(ddof=1)) if len(values) > 1 else float("nan")


@dataclass(frozen=True)
class Against:
    """The first system against another: by metric, mean difference over seeds, p of a paired t-test, p after Holm."""

    name: str
    difference: Mapping[str, float]
    p: Mapping[str, float]
    holm: Mapping[str, float]


def score_systems(
    systems: Sequence[System], truths: Mapping[str, float], family: Family
) -> tuple[list[Scored], list[str]]:
    """Return every system's scores on the labelled clips that all of them predict, and those clips' ids."""
    rows = [{utterance: row for row, utterance in enumerate(one.utterance_ids)} for one in systems]
    whole = [np.asarray(np.isfinite(one.predictions).all(axis=1)) for one in systems]
    shared = [
        utterance
        for utterance in truths
        if all(utterance in at and ok[at[utterance]] for at, ok in zip(rows, whole, strict=True))
    ]
    if not shared:
        return [], []
    truth = np.array([truths[utterance] for utterance in shared])
    draws = np.random.default_rng(0).integers(0, len(shared), (N_RESAMPLES, len(shared)))
    scored = []
    for system, at in zip(systems, rows, strict=True):
        predictions = system.predictions[[at[utterance] for utterance in shared]]
        scored.append(_scored(system, predictions, truth, draws, family))
    return scored, shared


def _scored(
    system: System,
    predictions: NDArray[np.float64],
    truth: NDArray[np.float64],
    draws: NDArray[np.int64],
    family: Family,
) -> Scored:
    names = metric_names(family)
    by_seed = [score(column, truth, family) for column in predictions.T]
    resampled = np.array([_mean_scores(predictions[draw], truth[draw], family) for draw in draws])  # (n_draws, metrics)
    limits = {name: _interval(values) for name, values in zip(names, resampled.T, strict=True)}
    return Scored(
        system,
        {name: np.array([one[name] for one in by_seed]) for name in names},
        {name: low for name, (low, _) in limits.items()},
        {name: high for name, (_, high) in limits.items()},
    )


def _interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the ends of the interval of resampled scores; NaN where none is defined, as Corr of a constant."""
    known = values[np.isfinite(values)]
    if not known.size:
        return float("nan"), float("nan")
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high)


def _mean_scores(predictions: NDArray[np.float64], truth: NDArray[np.float64], family: Family) -> list[float]:
    by_seed = [list(score(column, truth, family).values()) for column in predictions.T]
    return [float(value) for value in np.mean(by_seed, axis=0)]


def best_by_metric(scored: Sequence[Scored], family: Family) -> dict[str, int]:
    """Return, for each metric, the place of the best system where its interval and every other's part."""
    best = {}
    for metric in metric_names(family):
        sign = -1 if metric in SMALLER_IS_BETTER else 1
        means = [sign * one.mean(metric) for one in scored]
        if not np.isfinite(means).any():
            continue
        first = int(np.nanargmax(means))
        parts = [
            (other.high[metric] < scored[first].low[metric])
            if sign > 0
            else (other.low[metric] > scored[first].high[metric])
            for place, other in enumerate(scored)
            if place != first
        ]
        if parts and all(parts):
            best[metric] = first
    return best


def tests_of_first(scored: Sequence[Scored], family: Family) -> list[Against]:
    """Return paired t-tests over the common seeds of the first system against each other, corrected per metric."""
    first, others = scored[0], [one for one in scored[1:] if len(one.system.seeds) > 1]
    results = []
    for other in others:
        common = [seed for seed in first.system.seeds if seed in other.system.seeds]
        a, b = ([one.system.seeds.index(seed) for seed in common] for one in (first, other))
        tests = {m: paired_test(first.scores[m][a], other.scores[m][b]) for m in metric_names(family)}
        results.append((other.system.name, tests))
    corrected = {m: holm([tests[m].p for _, tests in results]) for m in metric_names(family)}
    return [
        Against(
            name,
            {m: test.difference for m, test in tests.items()},
            {m: test.p for m, test in tests.items()},
            {m: corrected[m][place] for m in tests},
        )
        for place, (name, tests) in enumerate(results)
    ]
