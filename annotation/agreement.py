"""How far raters agree: Krippendorff's alpha with its interval, Fleiss' and Cohen's kappa, ICC(2,k), percent agreement.

Alpha, Fleiss' kappa and percent agreement are computed from how often each clip was given each value, so that a missing
rating is simply absent; alpha of a continuous scale comes from `continuous_alpha`. A measure that does not fit a scale
is NaN: a nominal scale has no order, and on a continuous one hardly any two ratings are equal.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.annotation.continuous_alpha import continuous_alphas
from fmltk.annotation.ratings import ranks, rating_values, scale_of
from fmltk.annotation.settings import N_BOOTSTRAP
from fmltk.toolkit.conditions import CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Kind, Scale

LEVELS = ("nominal", "ordinal", "interval")
# The levels of alpha that fit a scale, and the one that reports show.
LEVELS_OF: Mapping[Kind, tuple[str, ...]] = {
    "nominal": ("nominal",),
    "ordinal": LEVELS,
    "continuous": ("interval",),
}
LEVEL_OF: Mapping[Kind, str] = {"nominal": "nominal", "ordinal": "ordinal", "continuous": "interval"}
_CELLS = 1 << 24  # numbers held at a time: coincidences of clips, resamples of clips
INTERVAL_PERCENT = (2.5, 97.5)


def coincidences(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each clip's coincidences of values, float64, shape (n_clips, n_values, n_values).

    counts : int64, shape (n_clips, n_values), ratings of each value per clip

    A clip with fewer than two ratings has none. Source: Krippendorff, Content Analysis, 2004, chapter 11.
    """
    n = counts.sum(axis=1)
    pairs = counts[:, :, None] * counts[:, None, :]  # (n_clips, n_values, n_values)
    diagonal = np.arange(counts.shape[1])
    pairs[:, diagonal, diagonal] -= counts
    return np.asarray(pairs / np.maximum(n - 1, 1)[:, None, None] * (n >= 2)[:, None, None])


def krippendorff_alpha(
    coincidence: NDArray[np.float64], values: NDArray[np.float64], *, level: str
) -> NDArray[np.float64]:
    """Return Krippendorff's alpha of coincidence matrices, shape (...,); NaN where all pairable ratings are equal.

    Parameters
    ----------
    coincidence : float64, shape (..., n_values, n_values), summed over clips
    values : shape (n_values,), ascending; their distances count for the level "interval"
    level : "nominal", "ordinal" or "interval"

    >>> counts = np.array([[2, 0], [0, 2], [1, 1]])
    >>> float(krippendorff_alpha(coincidences(counts).sum(axis=0), np.array([0.0, 1.0]), level="nominal").round(4))
    0.4444
    """
    totals = coincidence.sum(axis=-1)  # (..., n_values)
    n = totals.sum(axis=-1)
    distance = _distances(totals, values, level)
    observed = (coincidence * distance).sum(axis=(-2, -1))
    expected = (totals[..., :, None] * totals[..., None, :] * distance).sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(expected > 0, 1 - (n - 1) * observed / expected, np.nan)


def _distances(totals: NDArray[np.float64], values: NDArray[np.float64], level: str) -> NDArray[np.float64]:
    if level == "nominal":
        return 1.0 - np.eye(len(values))
    if level == "interval":
        return np.asarray((values[:, None] - values[None, :]) ** 2, dtype=np.float64)
    middle = totals.cumsum(axis=-1) - totals / 2  # the mean rank of each value
    return np.asarray((middle[..., :, None] - middle[..., None, :]) ** 2)


def alpha_with_interval(
    counts: NDArray[np.int64], values: NDArray[np.float64], *, level: str, n_bootstrap: int = N_BOOTSTRAP, seed: int = 0
) -> tuple[float, float, float]:
    """Return alpha and the ends of its 95 % interval: percentiles over resampled clips; NaN where undefined.

    Clips with the same counts are drawn together, so the cost does not grow with the number of clips.
    """
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts):
        return (float("nan"),) * 3
    patterns, frequency = np.unique(counts, axis=0, return_counts=True)
    whole = _summed_coincidences(patterns, frequency[None])[0]
    generator = np.random.default_rng(seed)
    at_once = max(_CELLS // len(patterns), 1)
    resampled = np.concatenate(
        [
            _summed_coincidences(
                patterns,
                generator.multinomial(len(counts), frequency / len(counts), size=min(at_once, n_bootstrap - start)),
            )
            for start in range(0, n_bootstrap, at_once)
        ]
    )  # (n_bootstrap, n_values, n_values)
    return _with_ends(
        krippendorff_alpha(whole, values, level=level), krippendorff_alpha(resampled, values, level=level)
    )


def _summed_coincidences(patterns: NDArray[np.int64], frequencies: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the coincidences of clips with these counts, summed, a part of the patterns at a time.

    patterns : (n_patterns, n_values)
    frequencies : (n_samples, n_patterns), how often each occurs
    """
    n_values = patterns.shape[1]
    summed = np.zeros((len(frequencies), n_values, n_values))
    at_once = max(_CELLS // n_values**2, 1)
    for start in range(0, len(patterns), at_once):
        chosen = slice(start, start + at_once)
        summed += np.tensordot(frequencies[:, chosen], coincidences(patterns[chosen]), axes=1)
    return summed


def _with_ends(alpha: NDArray[np.float64] | float, resampled: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return alpha and the ends of its interval."""
    known = resampled[~np.isnan(resampled)]
    low, high = np.percentile(known, INTERVAL_PERCENT) if known.size else (np.nan, np.nan)
    return float(alpha), float(low), float(high)


def fleiss_kappa(counts: NDArray[np.int64]) -> tuple[float, int, int]:
    """Return Fleiss' kappa, the number of clips it stands on, and their number of ratings.

    Fleiss' kappa needs the same number of ratings for each clip: clips with the most frequent number (two or more; the
    larger of two equally frequent) are used. NaN where all their ratings are equal or no clip has both.

    Source: Fleiss, 1971.
    """
    n = counts.sum(axis=1)
    sizes, frequency = np.unique(n[n >= 2], return_counts=True)
    if not sizes.size:
        return float("nan"), 0, 0
    size = int(sizes[np.flatnonzero(frequency == frequency.max())[-1]])
    used = counts[n == size]
    observed = float(((used * used).sum(axis=1) - size).mean() / (size * (size - 1)))
    shares = used.sum(axis=0) / used.sum()
    expected = float((shares * shares).sum())
    kappa = (observed - expected) / (1 - expected) if expected < 1 else float("nan")
    return kappa, len(used), size


def icc_2k(panel: Panel) -> tuple[float, int, int]:
    """Return ICC(2,k), the number of clips it stands on, and the number of raters k.

    How reliable the mean of the panel is: two-way random effects, absolute agreement, average of k raters. It needs the
    same raters for every clip: clips of the set of two or more raters that rated most clips are used. NaN where there
    are fewer than two such clips, or nothing varies.

    Source: Shrout and Fleiss, 1979; McGraw and Wong, 1996.
    """
    starts = np.flatnonzero(np.r_[True, panel.clip[1:] != panel.clip[:-1]])
    sets: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for start, stop in zip(starts.tolist(), [*starts[1:].tolist(), len(panel.clip)], strict=True):
        if stop - start >= 2:
            sets[tuple(panel.rater[start:stop].tolist())].append(start)
    if not sets:
        return float("nan"), 0, 0
    raters, first = max(sets.items(), key=lambda item: (len(item[1]), len(item[0]), item[0]))
    k, n = len(raters), len(first)
    if n < 2:
        return float("nan"), n, k
    values = panel.value[np.array(first)[:, None] + np.arange(k)]  # (n, k)
    mean = values.mean()
    between_clips = k * ((values.mean(axis=1) - mean) ** 2).sum() / (n - 1)
    between_raters = n * ((values.mean(axis=0) - mean) ** 2).sum() / (k - 1)
    rest = values - values.mean(axis=1, keepdims=True) - values.mean(axis=0) + mean
    residual = (rest**2).sum() / ((n - 1) * (k - 1))
    scale = between_clips + (between_raters - residual) / n
    return float((between_clips - residual) / scale) if scale > 0 else float("nan"), n, k


def percent_agreement(counts: NDArray[np.int64]) -> float:
    """Return the mean over clips of the share of rater pairs who agree; NaN without a clip with two ratings."""
    n = counts.sum(axis=1)
    counts, n = counts[n >= 2], n[n >= 2]
    if not n.size:
        return float("nan")
    return float((((counts * counts).sum(axis=1) - n) / (n * (n - 1))).mean())


@dataclass(frozen=True)
class Panel:
    """The ratings of one condition as numbers; arrays of shape (n_ratings,) are sorted by clip, then rater.

    Attributes
    ----------
    utterances, raters
        Names, by number.
    clip, rater, value
        The ratings; `value` counts from 0 for the lowest of an ordinal scale and the first class of a nominal one; on
        a continuous scale it is the rating itself.
    scale
        The answers that annotators chose from.
    rated_at_s
        When each rating was made, in seconds since 1970; NaN where that is not known.
    """

    utterances: list[str]
    raters: list[str]
    clip: NDArray[np.int64]
    rater: NDArray[np.int64]
    value: NDArray[np.float64]
    scale: Scale
    rated_at_s: NDArray[np.float64]

    def answer(self, value: float) -> str:
        """Return one of `value` as the rater gave it."""
        if self.scale.kind == "nominal":
            return self.scale.names[int(value)]
        return f"{value + (self.scale.low if self.scale.kind == 'ordinal' else 0):.6g}"

    @property
    def counts(self) -> NDArray[np.int64]:
        """How often each clip was given each value, int64, shape (n_clips, n_values); not of a continuous scale."""
        n_values = len(self.scale.values)
        flat = np.bincount(
            self.clip * n_values + self.value.astype(np.int64), minlength=len(self.utterances) * n_values
        )
        return flat.reshape(-1, n_values).astype(np.int64)


def panel_of(ratings: pa.Table, condition: str) -> Panel | None:
    """Return a condition's ratings as numbers; None if it has none.

    Raises AnnotationError if the condition was rated on two scales, or the ratings are of several dimensions.
    """
    import pyarrow.compute as pc

    chosen = ratings.filter(pc.and_(pc.equal(ratings["condition"], condition), pc.equal(ratings["status"], "rated")))
    if not chosen.num_rows:
        return None
    scale = scale_of(chosen)
    clip, utterances = numbered(chosen.column("utterance_id"))
    rater, raters = numbered(chosen.column("annotator"))
    rows = np.lexsort((rater, clip))
    value = rating_values(chosen, scale) - (scale.low if scale.kind == "ordinal" else 0)
    times = chosen.column("created_at").cast("int64").to_numpy()  # microseconds, float64 where some are null
    rated_at_s = times.astype(np.float64)[rows] / 1e6
    return Panel(utterances, raters, clip[rows], rater[rows], value[rows], scale, rated_at_s)


def numbered(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Return the place of each string among those that occur, in alphabetical order, and these."""
    names = sorted(column.unique().to_pylist())
    _, numbers = np.unique(ranks(column), return_inverse=True)
    return numbers.astype(np.int64), names


def shared_ratings(panel: Panel) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Return what any two raters gave to one clip: the pair's number and both values, shape (n_shared,).

    The pair of raters a < b has the number a * len(panel.raters) + b.
    """
    nothing = np.empty(0, np.int64), np.empty(0), np.empty(0)
    found: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = [nothing]
    shift = 1
    while True:
        same = np.flatnonzero(panel.clip[shift:] == panel.clip[:-shift])
        if not same.size:
            break
        pair = panel.rater[same] * len(panel.raters) + panel.rater[same + shift]
        found.append((pair, panel.value[same], panel.value[same + shift]))
        shift += 1
    pairs, first, second = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return pairs, first, second


def pairwise_kappas(panel: Panel) -> dict[tuple[int, int], tuple[float, int]]:
    """Return for each pair of raters with common clips: Cohen's kappa and the number of clips.

    NaN where both gave the same value to all of them. On an ordinal or continuous scale the weights are quadratic: with
    a and b the two raters' values of n clips, kappa is 1 - n sum((a - b)^2) / (n sum(a^2) + n sum(b^2) - 2 sum(a)
    sum(b)); of any numbers this is Lin's concordance correlation. On a nominal scale it is unweighted.

    Source: Cohen, 1960; 1968; Lin, 1989.
    """
    pairs, first, second = shared_ratings(panel)
    if not len(pairs):
        return {}
    found, pair_of = np.unique(pairs, return_inverse=True)
    n = np.bincount(pair_of)

    def total(values: NDArray[Any]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(pair_of, weights=values), dtype=np.float64)  # whole numbers: exact below 2**53

    if panel.scale.kind == "nominal":
        n_classes = len(panel.scale.names)
        one, other = (
            np.bincount(pair_of * n_classes + words.astype(np.int64), minlength=len(found) * n_classes)
            for words in (first, second)
        )
        observed = n * total(first != second)
        expected = n.astype(np.float64) ** 2 - (one * other).reshape(-1, n_classes).sum(axis=1)
    else:
        observed = n * total((first - second) ** 2)
        expected = n * (total(first**2) + total(second**2)) - 2 * total(first) * total(second)
    with np.errstate(invalid="ignore", divide="ignore"):
        kappas = np.where(expected > 0, 1 - observed / expected, np.nan)
    return {
        divmod(pair, len(panel.raters)): (kappa, size)
        for pair, kappa, size in zip(found.tolist(), kappas.tolist(), n.tolist(), strict=True)
    }


def condition_agreement(panel: Panel, *, n_bootstrap: int = N_BOOTSTRAP, seed: int = 0) -> dict[str, Any]:
    """Return every measure of agreement of one condition, as JSON can hold it; NaN where one is undefined."""
    kind = panel.scale.kind
    result: dict[str, Any] = {
        "clips": len(panel.utterances),
        "clips_with_two_ratings": int((np.bincount(panel.clip) >= 2).sum()),
        "raters": len(panel.raters),
        "ratings": len(panel.value),
        "scale": str(panel.scale),
        "level": LEVEL_OF[kind],
    }
    counts = np.empty((0, 0), np.int64) if kind == "continuous" else panel.counts
    for level in LEVELS:
        alpha, low, high = (float("nan"),) * 3
        if kind == "continuous" and level == "interval":
            alphas = continuous_alphas(panel.clip, panel.value, n_bootstrap=n_bootstrap, seed=seed)
            alpha, low, high = _with_ends(*alphas)
        elif level in LEVELS_OF[kind]:
            values = np.array(panel.scale.values, dtype=np.float64)
            alpha, low, high = alpha_with_interval(counts, values, level=level, n_bootstrap=n_bootstrap, seed=seed)
        result[f"alpha_{level}"] = {"alpha": alpha, "low": low, "high": high}
    kappa, n_clips, n_ratings = fleiss_kappa(counts)
    result["fleiss_kappa"] = {"kappa": kappa, "clips": n_clips, "ratings_per_clip": n_ratings}
    kappas = np.array([kappa for kappa, _ in pairwise_kappas(panel).values()])
    defined = kappas[~np.isnan(kappas)]
    result["weighted_kappa"] = {
        "mean": float(defined.mean()) if defined.size else float("nan"),
        "pairs": int(defined.size),
        "undefined_pairs": int(len(kappas) - defined.size),
    }
    icc, n_clips, n_raters = (float("nan"), 0, 0) if kind == "nominal" else icc_2k(panel)
    result["icc_2k"] = {"icc": icc, "clips": n_clips, "raters": n_raters}
    result["percent_agreement"] = percent_agreement(counts)
    return result


def agreement(ratings: pa.Table, *, n_bootstrap: int = N_BOOTSTRAP, seed: int = 0) -> dict[str, dict[str, Any]]:
    """Return `condition_agreement` of each condition that has ratings.

    Raises AnnotationError as `panel_of` does.
    """
    panels = {condition: panel_of(ratings, condition) for condition in CONDITIONS}
    return {
        condition: condition_agreement(panel, n_bootstrap=n_bootstrap, seed=seed)
        for condition, panel in panels.items()
        if panel is not None
    }
