"""Raters whose ratings follow a pattern that should be looked at: each with its evidence and number of clips.

A mark is a reason to look, never a verdict. The thresholds let at most one honest panel in twenty have any false mark
(60 clips, five raters); docs/labels.md says how often each pattern is found.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.annotation.agreement import shared_ratings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from collections.abc import Set as AbstractSet

    from numpy.typing import NDArray

    from fmltk.annotation.agreement import Panel

PATTERNS = {
    "constant": "nearly always the same answer, where others differ",
    "random": "unrelated to the others, who agree with each other",
    "reversed": "against the others: the scale may be upside down",
    "copied": "nearly always the answer of another annotator",
    "shifted": "higher or lower than the others throughout",
    "tiring": "further from the others the longer it takes",
    "fast": "far faster than the other annotators, or than a clip lasts",
}
MIN_RATINGS = 10  # fewer show no pattern
MIN_SHARED = 20  # clips of two raters; the share of equal answers on fewer says little
CONSTANT_SHARE = 0.95  # of a rater's answers are the same value ...
OTHERS_SHARE = 0.8  # ... which the others give to the same clips less often than this
FAST_RATIO = 1 / 3  # of the median rater's time per clip
FAST_S = 1.0  # no clip is heard or seen in less: CH-SIMS clips last a second at least (paper, section 3)
REVERSED_CORRELATION = -0.2
RELATED_Z = 1.8  # standard errors of Fisher's z: a correlation below it may be none ...
RELATED_SHARE = 1 / 3  # ... and so may one below this share of the other raters' median
LESS_RELATED_Z = 2.6  # standard errors between a rater's correlation and the other raters' median
COPIED_SHARE = 0.9  # of the clips that two raters share
COPIED_CHANCE = 5e-3  # of so many equal answers, given how often other pairs agree; divided by the number of pairs
SHIFT_STEPS = 0.4  # of the scale (see `Scale.step`)
SHIFT_Z = 4.0
TIRING_RATIO = 1.5  # mean distance from the others in the last third over that in the first
TIRING_Z = 2.8


@dataclass(frozen=True, slots=True)
class Mark:
    """A pattern that a rater shows: a key of PATTERNS, what speaks for it, and on how many clips."""

    pattern: str
    evidence: str
    n_clips: int


@dataclass(frozen=True, slots=True)
class BesideOthers:
    """A rater's ratings next to the mean of the others' on the same clips, where there are others.

    Attributes
    ----------
    own, others
        float64, shape (n,), in the scale's own numbers.
    rated_at_s
        When the rater gave the ratings, float64, shape (n,); NaN where that is not known.
    """

    own: NDArray[np.float64]
    others: NDArray[np.float64]
    rated_at_s: NDArray[np.float64]

    @property
    def correlation(self) -> float:
        """Pearson's r; NaN where one side does not vary."""
        if len(self.own) < 2 or np.ptp(self.own) == 0 or np.ptp(self.others) == 0:
            return float("nan")
        return float(np.corrcoef(self.own, self.others)[0, 1])


def beside_others(panel: Panel) -> dict[int, BesideOthers]:
    """Return each rater of the panel, by number, next to the others; nobody who shares no clip, or on words alone."""
    n = np.bincount(panel.clip)[panel.clip]
    total = np.bincount(panel.clip, weights=panel.value)[panel.clip]
    shared = np.flatnonzero(n > 1)
    if panel.scale.kind == "nominal" or not shared.size:
        return {}
    mean = (total[shared] - panel.value[shared]) / (n[shared] - 1)
    order = np.argsort(panel.rater[shared], kind="stable")
    raters, starts = np.unique(panel.rater[shared][order], return_index=True)
    rows = np.split(order, starts[1:])
    value, times_s = panel.value[shared], panel.rated_at_s[shared]
    return {
        rater: BesideOthers(value[own], mean[own], times_s[own])
        for rater, own in zip(raters.tolist(), rows, strict=True)
    }


def rating_marks(panel: Panel, sides: Mapping[int, BesideOthers]) -> dict[int, list[Mark]]:
    """Return the marks that ratings get next to the others', by rater; those of answers and speed are `answer_marks`.

    sides : what `beside_others` gives of the panel
    """
    marks: defaultdict[int, list[Mark]] = defaultdict(list)
    enough = {rater: side for rater, side in sides.items() if len(side.own) >= MIN_RATINGS}
    correlations = {rater: side.correlation for rater, side in enough.items()}
    for rater, side in enough.items():
        others = [r for other, r in correlations.items() if other != rater and not np.isnan(r)]
        found = [
            _unrelated(side, float(np.median(others)) if others else float("nan")),
            _shifted(side, panel.scale.step),
            _tiring(side, panel.scale.step),
        ]
        marks[rater] += [mark for mark in found if mark is not None]
    doubtful = {rater for rater, own in marks.items() if any(mark.pattern in ("random", "reversed") for mark in own)}
    doubtful |= {rater for rater, r in correlations.items() if np.isnan(r)}  # one answer to everything
    for rater, mark in _copies(panel, doubtful):
        marks[rater].append(mark)
    return dict(marks)


def answer_marks(panel: Panel, seconds: Mapping[int, float]) -> dict[int, list[Mark]]:
    """Return who nearly always gives one answer, and who is fast.

    seconds : the median time per clip of each rater, NaN where it is not known
    """
    marks: defaultdict[int, list[Mark]] = defaultdict(list)
    known = [one for one in seconds.values() if not np.isnan(one)]
    usual = float(np.median(known)) if known else float("nan")
    n_of_clip = np.bincount(panel.clip)
    for rater in range(len(panel.raters)):
        own = panel.rater == rater
        value, clip = panel.value[own], panel.clip[own]
        if len(value) < MIN_RATINGS:
            continue
        answers, frequency = np.unique(value, return_counts=True)
        top, share = answers[frequency.argmax()], float(frequency.max() / len(value))
        n_others = int((n_of_clip[clip] - 1).sum())  # ratings that others gave the same clips
        n_same = int(np.bincount(panel.clip, weights=panel.value == top)[clip].sum() - frequency.max())
        others_share = n_same / max(n_others, 1)
        if share >= CONSTANT_SHARE and n_others and others_share < OTHERS_SHARE:
            said = f"{share:.0%} of the answers are {panel.answer(top)}, of the others' {others_share:.0%}"
            marks[rater].append(Mark("constant", said, len(value)))
        own_s = seconds.get(rater, float("nan"))
        if own_s < max(FAST_S, FAST_RATIO * usual):
            marks[rater].append(Mark("fast", f"{own_s:.3g} s per clip, usual are {usual:.3g} s", len(value)))
    return dict(marks)


def _unrelated(side: BesideOthers, usual: float) -> Mark | None:
    """Random or reversed: judged on Fisher's z, whose standard error is 1 / sqrt(n - 3)."""
    n, r = len(side.own), side.correlation
    if np.isnan(r) or np.isnan(usual):
        return None
    error = 1 / np.sqrt(n - 3)
    own_z, usual_z = (float(np.arctanh(np.clip(one, -0.999, 0.999))) for one in (r, usual))
    said = f"correlation {r:.2f} with the others' mean, theirs is {usual:.2f}"
    related = max(RELATED_Z * error, RELATED_SHARE * usual_z)
    if r < REVERSED_CORRELATION and own_z < -related and usual > 0:
        return Mark("reversed", said, n)
    if abs(own_z) < related and usual_z - own_z > LESS_RELATED_Z * error:
        return Mark("random", said, n)
    return None


def _shifted(side: BesideOthers, step: float) -> Mark | None:
    differences = (side.own - side.others) / step
    n, shift = len(differences), float(differences.mean())
    error = float(differences.std(ddof=1)) / np.sqrt(n)
    if abs(shift) < SHIFT_STEPS or abs(shift) < SHIFT_Z * error:
        return None
    where = "above" if shift > 0 else "below"
    return Mark("shifted", f"{abs(shift):.2f} steps {where} the others on average", n)


def _tiring(side: BesideOthers, step: float) -> Mark | None:
    """Compare the order of the ratings with their distance from the others."""
    n = len(side.own)
    if n < 3 * MIN_RATINGS or np.isnan(side.rated_at_s).any() or np.ptp(side.rated_at_s) == 0:
        return None
    in_order = np.argsort(side.rated_at_s, kind="stable")
    distance = np.abs(side.own - side.others)[in_order] / step
    if np.ptp(distance) == 0:
        return None
    z = float(np.corrcoef(np.arange(n), distance)[0, 1]) * np.sqrt(n - 1)
    first, last = float(distance[: n // 3].mean()), float(distance[-(n // 3) :].mean())
    if z < TIRING_Z or last < TIRING_RATIO * first:
        return None
    said = f"{last:.2f} steps from the others in the last third of the clips, {first:.2f} in the first"
    return Mark("tiring", said, n)


def _copies(panel: Panel, doubtful: AbstractSet[int]) -> list[tuple[int, Mark]]:
    """Return both raters of each pair that agrees far more often than the two agree with others.

    doubtful : raters whose agreement says nothing of what is usual
    """
    pair, first, second = shared_ratings(panel)
    pairs, pair_of = np.unique(pair, return_inverse=True)
    n = np.bincount(pair_of, minlength=len(pairs))
    equal = np.bincount(pair_of, weights=first == second, minlength=len(pairs))
    enough = np.flatnonzero(n >= MIN_SHARED)
    shares: defaultdict[int, dict[int, float]] = defaultdict(dict)  # by rater, by other rater
    for place in enough.tolist():
        one, other = divmod(int(pairs[place]), len(panel.raters))
        shares[one][other] = shares[other][one] = float(equal[place] / n[place])
    marks = []
    for place in enough[equal[enough] >= COPIED_SHARE * n[enough]].tolist():
        raters = divmod(int(pairs[place]), len(panel.raters))
        with_others = [
            share
            for rater in raters
            for third, share in shares[rater].items()
            if third not in raters and third not in doubtful
        ]
        n_clips, n_equal = int(n[place]), int(equal[place])
        if not with_others or not _is_copied(n_equal, n_clips, float(np.median(with_others)), len(enough)):
            continue
        for one, other in (raters, raters[::-1]):
            said = (
                f"the same as {panel.raters[other]} on {n_equal / n_clips:.0%} of the clips, where the two agree with "
                f"others on {np.median(with_others):.0%}"
            )
            marks.append((one, Mark("copied", said, n_clips)))
    return marks


def _is_copied(n_equal: int, n_clips: int, usual: float, n_pairs: int) -> bool:
    """Whether so many equal answers are unlikely, given how often the two agree with others."""
    from scipy.stats import binom

    return bool(binom.sf(n_equal - 1, n_clips, usual) < COPIED_CHANCE / n_pairs)
