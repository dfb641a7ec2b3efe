"""Each rater beside the others: bias, spread, speed, skips, suspicious patterns; and the most disputed clips."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.annotation.agreement import Panel, numbered, pairwise_kappas, panel_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

MIN_RATINGS = 10  # fewer show no pattern
CONSTANT_SHARE = 0.95  # of a rater's answers are the same value ...
OTHERS_SHARE = 0.8  # ... which the others give to the same clips less often than this
FAST_RATIO = 1 / 3  # of the median rater's time per clip
FAST_S = 1.0  # no clip is heard or seen in less: CH-SIMS clips last a second at least (paper, section 3)
REVERSED_CORRELATION = -0.2
PATTERNS = {
    "constant": "nearly always the same answer, where others differ",
    "fast": "far faster than the other raters, or than a clip lasts",
    "reversed": "against the others: the scale may be upside down",
}


def rater_quality(ratings: pa.Table, condition: str) -> list[dict[str, Any]]:
    """Return one entry per rater of a condition, by name; NaN and None where something is unknown.

    Each holds: rated, skipped, empty, draft; skip_share of what was answered; bias, the mean of own rating minus the
    mean of the others' on the same clip; spread, the standard deviation of the own ratings; correlation with the mean
    of the others; kappa, the mean weighted kappa with each other rater; seconds, the median time per clip; patterns.
    """
    import pyarrow.compute as pc

    rows = ratings.filter(pc.equal(ratings["condition"], condition))
    if not rows.num_rows:
        return []
    statuses = np.asarray(rows.column("status").cast("string").to_numpy(zero_copy_only=False))
    rater, names = numbered(rows.column("annotator"))
    by_rater = np.split(np.argsort(rater, kind="stable"), np.bincount(rater).cumsum()[:-1])
    lead_times = np.asarray(rows.column("lead_time_s").to_numpy(zero_copy_only=False), dtype=np.float64)
    panel = panel_of(ratings, condition)
    kappas = {} if panel is None else _kappa_of_raters(panel)
    entries = []
    counts = None if panel is None else panel.counts
    for name, own in zip(names, by_rater, strict=True):
        entry: dict[str, Any] = {"rater": name}
        entry |= {status: int((statuses[own] == status).sum()) for status in ("rated", "skipped", "empty", "draft")}
        answered = entry["rated"] + entry["skipped"] + entry["empty"]
        entry["skip_share"] = entry["skipped"] / answered if answered else float("nan")
        entry |= _beside_others(panel, counts, name)
        entry["kappa"] = kappas.get(name, float("nan"))
        times = lead_times[own[statuses[own] == "rated"]]
        times = times[~np.isnan(times)]
        entry["seconds"] = float(np.median(times)) if times.size else float("nan")
        entries.append(entry)
    _add_patterns(entries)
    return sorted(entries, key=lambda entry: reading_order(entry["rater"]))


def raters_with(pattern: str, raters: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return who shows a pattern in any condition; `raters` are the entries of `rater_quality` by condition."""
    names = {entry["rater"] for entries in raters.values() for entry in entries if pattern in entry["patterns"]}
    return sorted(names, key=reading_order)


def reading_order(name: str) -> str:
    """Return a sort key that takes the numbers in a name as numbers.

    >>> sorted(["rater 10", "rater 9", "anna"], key=reading_order)
    ['anna', 'rater 9', 'rater 10']
    """
    return re.sub(r"\d+", lambda digits: f"{len(digits[0]):05d}{digits[0]}", name)


def _kappa_of_raters(panel: Panel) -> dict[str, float]:
    found: dict[int, list[float]] = {}
    for pair, (kappa, _) in pairwise_kappas(panel).items():
        if not np.isnan(kappa):
            for rater in pair:
                found.setdefault(rater, []).append(kappa)
    return {panel.raters[rater]: float(np.mean(kappas)) for rater, kappas in found.items()}


def _beside_others(panel: Panel | None, counts: NDArray[np.int64] | None, name: str) -> dict[str, Any]:
    unknown = float("nan")
    entry = {"bias": unknown, "spread": unknown, "correlation": unknown, "top_share": unknown, "others_share": unknown}
    if panel is None or counts is None or name not in panel.raters:
        return entry
    own = panel.rater == panel.raters.index(name)
    value, clip = panel.value[own], panel.clip[own]
    entry["spread"] = float(value.std())
    frequency = np.bincount(value, minlength=counts.shape[1])
    entry["top_share"] = float(frequency.max() / len(value))
    others = counts[clip]
    others[np.arange(len(clip)), value] -= 1  # (n_own, n_values): what the others gave the same clips
    n = others.sum(axis=1)
    shared = n > 0
    if shared.any():
        mean = (others[shared] @ np.arange(counts.shape[1])) / n[shared]
        entry["bias"] = float((value[shared] - mean).mean())
        entry["correlation"] = _correlation(value[shared].astype(np.float64), mean)
        entry["others_share"] = float(others[:, frequency.argmax()].sum() / n.sum())
    return entry


def _correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    if len(first) < 2 or first.std() == 0 or second.std() == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def _add_patterns(entries: list[dict[str, Any]]) -> None:
    seconds = np.array([entry["seconds"] for entry in entries])
    usual = float(np.median(seconds[~np.isnan(seconds)])) if (~np.isnan(seconds)).any() else float("nan")
    for entry in entries:
        patterns = []
        if entry["rated"] >= MIN_RATINGS:
            if entry["top_share"] >= CONSTANT_SHARE and entry["others_share"] < OTHERS_SHARE:
                patterns.append("constant")
            if entry["seconds"] < max(FAST_S, FAST_RATIO * usual):
                patterns.append("fast")
            if entry["correlation"] < REVERSED_CORRELATION:
                patterns.append("reversed")
        entry["patterns"] = patterns
        del entry["top_share"], entry["others_share"]


def most_disputed(ratings: pa.Table, condition: str, *, n_items: int) -> list[dict[str, Any]]:
    """Return the clips whose ratings spread most, widest first, then by utterance_id; unanimous ones are left out."""
    panel = panel_of(ratings, condition)
    if panel is None:
        return []
    counts = panel.counts
    values = np.array(panel.scale.values)
    n = counts.sum(axis=1)
    spread = np.sqrt(n * (counts @ (values * values)) - (counts @ values) ** 2) / n
    widest = [clip for clip in np.argsort(-spread, kind="stable").tolist() if spread[clip] > 0][:n_items]
    return [
        {
            "utterance_id": panel.utterances[clip],
            "n": int(n[clip]),
            "mean": float(counts[clip] @ values / n[clip]),
            "spread": float(spread[clip]),
            "ratings": {
                str(value): int(count) for value, count in zip(panel.scale.values, counts[clip], strict=True) if count
            },
        }
        for clip in widest
    ]
