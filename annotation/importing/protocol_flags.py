"""Whether ratings follow the paper's protocol (section 3): who rated a clip in which conditions, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np

from fmltk.annotation.protocols import PROTOCOLS
from fmltk.toolkit.conditions import BIMODAL, CONDITIONS, MOSI_SCALE, UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Collection

    import pyarrow as pa
    from numpy.typing import NDArray

UNKNOWN_TIME = int(np.iinfo(np.int64).min)
_ORDERED = ("T", "A", "V")  # text first, audio second, silent video last


@dataclass(frozen=True)
class RatedRows:
    """The ratings that stand: one of each rater, clip and condition; every array is int64, shape (n_rows,).

    Attributes
    ----------
    clip, rater
        Their numbers; a clip that is rated in several dimensions has one for each.
    condition
        Places in CONDITIONS.
    created, updated
        Microseconds since 1970; UNKNOWN_TIME where not known.
    """

    clip: NDArray[np.int64]
    rater: NDArray[np.int64]
    condition: NDArray[np.int64]
    created: NDArray[np.int64]
    updated: NDArray[np.int64]

    @property
    def person(self) -> NDArray[np.int64]:
        """A number for each rater of each clip."""
        return self.clip * (int(self.rater.max(initial=0)) + 1) + self.rater

    def among(self, conditions: Collection[str]) -> NDArray[np.bool_]:
        """Return which ratings are of these conditions."""
        return np.isin(self.condition, [CONDITIONS.index(name) for name in conditions])


def default_protocol(ratings: pa.Table) -> str:
    """Return the protocol of ratings of which nobody says it.

    It is that of MOSI where text, audio or silent video was rated on MOSI's scale, else that of CH-SIMS.
    """
    names = ["condition", "scale"]
    pairs = ratings.select(names).unify_dictionaries().group_by(names).aggregate([]).to_pylist()
    is_mosi = any(one["condition"] in UNIMODAL and one["scale"] == str(MOSI_SCALE) for one in pairs)
    return "mosi" if is_mosi else "ch-sims"


def protocol_flags(rows: RatedRows, protocol: str) -> dict[str, NDArray[np.bool_]]:
    """Return which ratings have each flag of the protocol, bool, shape (n_rows,)."""
    finders = {"two_bimodal": _two_bimodal, "out_of_order": _out_of_order, "other_panel": _other_panel}
    return {flag: finders[flag](rows) for flag in PROTOCOLS[protocol]}


def _two_bimodal(rows: RatedRows) -> NDArray[np.bool_]:
    """Return the ratings of raters who rated the clip in two bimodal conditions or more."""
    chosen = rows.among(BIMODAL)
    chosen[chosen] = _n_rated(rows, chosen) > 1
    return chosen


def _other_panel(rows: RatedRows) -> NDArray[np.bool_]:
    """Return the ratings of raters who lack another unimodal condition of the clip that somebody else rated instead.

    A rating that is merely missing, or still to come, is not another person's.
    """
    marked = np.zeros(len(rows.clip), dtype=bool)
    chosen = rows.among(UNIMODAL)
    people, first, person = np.unique(rows.person[chosen], return_index=True, return_inverse=True)
    clip, condition = rows.clip[chosen][first], rows.condition[chosen]
    rated = np.zeros((len(people), len(CONDITIONS)), dtype=bool)  # whether each person rated the clip in each condition
    rated[person, condition] = True
    found = np.zeros(len(condition), dtype=bool)
    for one, other in permutations((CONDITIONS.index(name) for name in UNIMODAL), 2):
        only_one, only_other = rated[:, one] & ~rated[:, other], rated[:, other] & ~rated[:, one]
        is_other = only_one & np.isin(clip, clip[only_other])
        found |= is_other[person] & (condition == one)
    marked[chosen] = found
    return marked


def _n_rated(rows: RatedRows, chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return in how many of the chosen conditions the rater of each chosen row rated its clip."""
    _, person, n_conditions = np.unique(rows.person[chosen], return_inverse=True, return_counts=True)
    return np.asarray(n_conditions[person], dtype=np.int64)


def _out_of_order(rows: RatedRows) -> NDArray[np.bool_]:
    """Return the ratings of raters whose times for text, audio and silent video of a clip are not in that order.

    The last change of one must come before the first answer to the next; unknown times prove nothing.
    """
    marked = np.zeros(len(rows.clip), dtype=bool)
    chosen = np.flatnonzero(rows.among(_ORDERED) & (rows.updated != UNKNOWN_TIME))
    step = np.zeros(len(CONDITIONS), dtype=np.int64)
    step[[CONDITIONS.index(name) for name in _ORDERED]] = range(len(_ORDERED))
    person = rows.person
    in_order = chosen[np.lexsort((step[rows.condition[chosen]], person[chosen]))]
    before, after = in_order[:-1], in_order[1:]
    first_answer = np.where(rows.created == UNKNOWN_TIME, rows.updated, rows.created)
    wrong = (person[before] == person[after]) & (rows.updated[before] > first_answer[after])
    marked[chosen] = np.isin(person[chosen], person[after[wrong]])
    return marked
