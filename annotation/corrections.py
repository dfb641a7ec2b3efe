"""Which ratings a panel is made of where raters were replaced, and which values prevail over the panel's."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fmltk.toolkit.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fmltk.annotation.settings import Policy

UNCOUNTED = "not of the panel"  # status of rows that do not count; no table on disk holds it
_NAMED = 20  # raters in a message
_Key = tuple[str, str]  # condition, utterance_id


@dataclass(frozen=True)
class Prevailing:
    """An answer that is the label whatever the panel says, and why."""

    answer: float | str
    why: str


@dataclass
class Corrections:
    """A policy's changes to panels.

    Attributes
    ----------
    ratings
        The table, in which rows that do not count have the status UNCOUNTED and no answer.
    prevailing
        By condition and clip.
    completed
        By condition and clip, who rated instead of whom.
    """

    ratings: pa.Table
    prevailing: dict[_Key, Prevailing] = field(default_factory=dict)
    completed: dict[_Key, str] = field(default_factory=dict)


def correct(ratings: pa.Table, policy: Policy) -> Corrections:
    """Return the ratings that panels are made of, and what prevails over them.

    Raises AnnotationError if a rater that the policy names is not among the ratings.
    """
    named = {*policy.adjudicators, *(name for pair in policy.replacements for name in pair)}
    if not named and not policy.ground_truth:
        return Corrections(ratings)
    raters = sorted(ratings.column("annotator").unique().to_pylist())
    unknown = sorted(named.difference(raters))
    if unknown:
        more = f" and {len(raters) - _NAMED} more" if len(raters) > _NAMED else ""
        raise AnnotationError(f"{unknown[0]!r} is not among the annotators: {', '.join(raters[:_NAMED])}{more}")
    found = Corrections(ratings, _prevailing(ratings, policy))
    uncounted = _is_by(ratings, policy.adjudicators)
    _complete(ratings, policy, uncounted, found.completed)
    found.ratings = _without(ratings, uncounted)
    return found


def _is_by(ratings: pa.Table, raters: Iterable[str]) -> NDArray[np.bool_]:
    names = pa.array(list(raters), pa.string())
    return np.array(pc.is_in(ratings["annotator"].cast(pa.string()), value_set=names).to_numpy())


def _prevailing(ratings: pa.Table, policy: Policy) -> dict[_Key, Prevailing]:
    """Return the adjudicators' values, in the order of their names, then those marked as ground truth, the latest."""
    is_true = pc.match_substring(ratings["flags"].cast(pa.string()), "ground_truth").to_numpy()
    chosen = _is_by(ratings, policy.adjudicators) | (is_true & policy.ground_truth)
    chosen &= pc.equal(ratings["status"].cast(pa.string()), "rated").to_numpy()
    rank = {name: number for number, name in enumerate(policy.adjudicators)}
    rows = ratings.filter(pa.array(chosen)).to_pylist()
    rows.sort(key=lambda row: (-rank.get(row["annotator"], len(rank)), str(row["updated_at"] or ""), row["annotator"]))
    why = {True: "adjudicated", False: "ground truth"}
    return {
        (row["condition"], row["utterance_id"]): Prevailing(
            row["word"] or row["value"], f"{why[row['annotator'] in rank]} by {row['annotator']}"
        )
        for row in rows
    }


def _complete(ratings: pa.Table, policy: Policy, uncounted: NDArray[np.bool_], completed: dict[_Key, str]) -> None:
    """Keep one row of those who had one place in the panel: the first who rated, else the first who has a row."""
    members: defaultdict[str, list[str]] = defaultdict(list)
    place_of: dict[str, str] = {}
    for old, new in policy.replacements:
        place = place_of.setdefault(new, place_of.get(old, old))
        members[place] = [*(members[place] or [place]), new]
    for names in members.values():
        rank = {name: number for number, name in enumerate(names)}
        rows = np.flatnonzero(_is_by(ratings, names))
        columns = [ratings.column(name).take(pa.array(rows)).to_pylist() for name in ("condition", "utterance_id")]
        keys = list(zip(*columns, strict=True))
        raters, statuses = (ratings.column(name).take(pa.array(rows)).to_pylist() for name in ("annotator", "status"))
        best: dict[_Key, tuple[bool, int]] = {}
        for key, rater, status in zip(keys, raters, statuses, strict=True):
            best[key] = min(best.get(key, (True, len(names))), (status != "rated", rank[rater]))
        for row, key, rater in zip(rows.tolist(), keys, raters, strict=True):
            is_unrated, first = best[key]
            uncounted[row] |= rank[rater] != first
            if first and not is_unrated and rank[rater] == first:
                completed[key] = f"{rater} rated instead of {names[0]}"


def _without(ratings: pa.Table, uncounted: NDArray[np.bool_]) -> pa.Table:
    """Return the table with rows that do not count."""
    mask = pa.array(uncounted)
    status = pc.if_else(mask, UNCOUNTED, ratings["status"].cast(pa.string()))
    value = pc.if_else(mask, pa.scalar(None, ratings["value"].type), ratings["value"])
    word = pc.if_else(mask, pa.scalar(None, pa.string()), ratings["word"].cast(pa.string()))
    for name, column in (("status", status), ("value", value), ("word", word)):
        index = ratings.schema.get_field_index(name)
        field_type = ratings.schema.field(index).type
        encoded = column.dictionary_encode().cast(field_type) if pa.types.is_dictionary(field_type) else column
        ratings = ratings.set_column(index, ratings.schema.field(index), encoded)
    return ratings
