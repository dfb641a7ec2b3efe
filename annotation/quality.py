"""Each rater compared with the others: bias, spread, speed, skips, suspicious patterns; and the most disputed clips."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.annotation.agreement import agreement, numbered, pairwise_kappas, panel_of
from fmltk.annotation.patterns import PATTERNS, answer_marks, beside_others, rating_marks
from fmltk.annotation.ratings import dimensions_of, of_dimension, part_name
from fmltk.annotation.settings import N_BOOTSTRAP
from fmltk.toolkit.clip import reading_order
from fmltk.toolkit.counted import counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.annotation.agreement import Panel
    from fmltk.annotation.patterns import BesideOthers, Mark

_UNKNOWN = float("nan")


@dataclass(frozen=True)
class Overview:
    """The overview of a table of ratings, each by condition, or by condition and dimension, such as "M valence".

    Attributes
    ----------
    agreement
        The results of `agreement`.
    raters
        The entries of `rater_quality`.
    disputed
        The items of `most_disputed`.
    """

    agreement: dict[str, dict[str, Any]] = field(default_factory=dict)
    raters: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    disputed: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


def overview(ratings: pa.Table, *, n_items: int, n_bootstrap: int = N_BOOTSTRAP, seed: int = 0) -> Overview:
    """Return agreement, raters and the `n_items` most disputed clips of each condition and dimension.

    Raises AnnotationError if a condition was rated on two scales.
    """
    found = Overview()
    for dimension in dimensions_of(ratings):
        own = of_dimension(ratings, dimension)
        for condition, entry in agreement(own, n_bootstrap=n_bootstrap, seed=seed).items():
            name = part_name(condition, dimension)
            found.agreement[name] = entry
            found.raters[name] = rater_quality(own, condition)
            found.disputed[name] = most_disputed(own, condition, n_items=n_items)
    return found


def rater_quality(ratings: pa.Table, condition: str) -> list[dict[str, Any]]:
    """Return one entry per rater of a condition, by name; NaN and None where something is unknown.

    Each holds: rated, skipped, empty, draft; skip_share of what was answered; bias, the mean of own rating minus the
    mean of the others' on the same clip; spread, the standard deviation of the own ratings; correlation with the mean
    of the others (these three not on a nominal scale); kappa, the mean kappa with each other rater, weighted but on a
    nominal scale; seconds, the median time per clip; patterns
    (keys of PATTERNS), and marks: for each pattern its evidence and number of clips.
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
    sides = {} if panel is None else beside_others(panel)
    number_of = {} if panel is None else {name: number for number, name in enumerate(panel.raters)}
    entries = []
    for name, own in zip(names, by_rater, strict=True):
        entry: dict[str, Any] = {"rater": name}
        entry |= {status: int((statuses[own] == status).sum()) for status in ("rated", "skipped", "empty", "draft")}
        answered = entry["rated"] + entry["skipped"] + entry["empty"]
        entry["skip_share"] = entry["skipped"] / answered if answered else _UNKNOWN
        entry |= _figures(panel, sides.get(number_of.get(name, -1)), number_of.get(name, -1))
        entry["kappa"] = kappas.get(name, _UNKNOWN)
        times = lead_times[own[statuses[own] == "rated"]]
        times = times[~np.isnan(times)]
        entry["seconds"] = float(np.median(times)) if times.size else _UNKNOWN
        entries.append(entry)
    _add_marks(entries, panel, sides)
    return sorted(entries, key=lambda entry: reading_order(entry["rater"]))


def marked_raters(pattern: str, raters: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return who shows a pattern, with the condition and the evidence, for people to read.

    raters : the entries of `rater_quality` by condition
    """
    found = [
        (
            reading_order(entry["rater"]),
            f"{entry['rater']} ({name}: {mark['evidence']}; {counted(mark['n_clips'], 'clip')})",
        )
        for name, entries in raters.items()
        for entry in entries
        for mark in entry["marks"]
        if mark["pattern"] == pattern
    ]
    return [text for _, text in sorted(found)]


def _kappa_of_raters(panel: Panel) -> dict[str, float]:
    found: dict[int, list[float]] = {}
    for pair, (kappa, _) in pairwise_kappas(panel).items():
        if not np.isnan(kappa):
            for rater in pair:
                found.setdefault(rater, []).append(kappa)
    return {panel.raters[rater]: float(np.mean(kappas)) for rater, kappas in found.items()}


def _figures(panel: Panel | None, side: BesideOthers | None, rater: int) -> dict[str, float]:
    """Return bias, spread and correlation of one rater of the panel."""
    own = np.empty(0) if panel is None else panel.value[panel.rater == rater]
    return {
        "bias": _UNKNOWN if side is None else float((side.own - side.others).mean()),
        "spread": float(own.std()) if own.size and panel and panel.scale.kind != "nominal" else _UNKNOWN,
        "correlation": _UNKNOWN if side is None else side.correlation,
    }


def _add_marks(entries: list[dict[str, Any]], panel: Panel | None, sides: Mapping[int, BesideOthers]) -> None:
    found: dict[str, list[Mark]] = {entry["rater"]: [] for entry in entries}
    if panel is not None:
        seconds = {entry["rater"]: entry["seconds"] for entry in entries}
        by_number = {number: seconds[name] for number, name in enumerate(panel.raters)}
        for marks in (answer_marks(panel, by_number), rating_marks(panel, sides)):
            for number, own in marks.items():
                found[panel.raters[number]] += own
    for entry in entries:
        marks_of_rater = found[entry["rater"]]
        entry["patterns"] = [pattern for pattern in PATTERNS if any(mark.pattern == pattern for mark in marks_of_rater)]
        entry["marks"] = [asdict(mark) for mark in marks_of_rater]


def most_disputed(ratings: pa.Table, condition: str, *, n_items: int) -> list[dict[str, Any]]:
    """Return the clips whose ratings spread most, widest first, then by utterance_id; unanimous ones are left out.

    On a nominal scale, which has neither mean nor spread, those of which two answers differ most often.
    """
    panel = panel_of(ratings, condition)
    if panel is None:
        return []
    n = np.bincount(panel.clip)
    total, squares = (np.bincount(panel.clip, weights=panel.value**power) for power in (1, 2))
    mean: NDArray[np.float64] = np.full(len(n), _UNKNOWN)
    spread = mean
    if panel.scale.kind == "nominal":
        width = 1 - (panel.counts**2).sum(axis=1) / n**2  # how often two answers would differ
    else:
        mean = total / n if panel.scale.kind == "continuous" else (total + n * panel.scale.low) / n
        spread = np.sqrt(np.maximum(n * squares - total**2, 0)) / n
        width = spread
    starts = np.searchsorted(panel.clip, np.arange(len(n) + 1))
    widest = [clip for clip in np.argsort(-width, kind="stable").tolist() if width[clip] > 0][:n_items]
    entries = []
    for clip in widest:
        answers, given = np.unique(panel.value[starts[clip] : starts[clip + 1]], return_counts=True)
        entry = {"utterance_id": panel.utterances[clip], "n": int(n[clip])}
        entry |= {"mean": float(mean[clip]), "spread": float(spread[clip])}
        entry["ratings"] = {panel.answer(one): int(n_given) for one, n_given in zip(answers, given, strict=True)}
        entries.append(entry)
    return entries
