"""Merging ratings of many files: one state of each annotation, one row of each rater, clip, condition and dimension."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from fmltk.annotation.importing.protocol_flags import UNKNOWN_TIME, RatedRows, default_protocol, protocol_flags
from fmltk.annotation.importing.records import Drop
from fmltk.annotation.importing.reviews import REVIEWED
from fmltk.annotation.protocols import OUT_OF_PROTOCOL
from fmltk.annotation.ratings import memory_schema, ranks
from fmltk.toolkit.conditions import CONDITIONS, MAX_SPAN, NAME_SEPARATOR, NOMINAL
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.printable import short_text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_PRIORITY = {"rated": 3, "skipped": 2, "empty": 2, "rejected": 1, "draft": 0}
_VERDICTS = {"ground_truth", *REVIEWED}


@dataclass
class Merged:
    """The ratings that stand, and what became of the others.

    Attributes
    ----------
    untimed
        The clips of repeated ratings of which the last row stands, since one of them has no time.
    changed
        The annotations that were read again with another answer under the same time, and both answers.
    """

    table: pa.Table
    read_again: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    untimed: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)

    def remarks(self) -> list[str]:
        """Return what is to be said of the ratings that stand by their place alone."""
        remarks = []
        if self.untimed:
            remarks.append(
                "without times, the last row stands: ratings that an annotator gave twice, "
                f"{len(self.untimed)}, the first of {self.untimed[0]!r}; remove the rows that are not meant, or add "
                "the column updated_at"
            )
        if self.changed:
            remarks.append(
                "annotations were read again with another answer or annotator and no later time, "
                f"{len(self.changed)}, the first {self.changed[0]}: the one that was read last stands; give only the "
                "files that are right, with --overwrite, if it should not"
            )
        return remarks


@dataclass
class _Columns:
    """The columns that merging decides by, as numbers of shape (n_rows,)."""

    utterance: NDArray[np.int64]
    condition: NDArray[np.int64]
    dimension: NDArray[np.int64]
    annotator: NDArray[np.int64]
    source: NDArray[np.int64]
    annotation: NDArray[np.int64]
    number: NDArray[np.int64]  # annotation_id where it is a number, else -1
    created: NDArray[np.int64]  # microseconds since 1970; the lowest int64 where unknown
    updated: NDArray[np.int64]
    status: NDArray[np.int64]
    priority: NDArray[np.int64]
    value: NDArray[np.float64]  # infinite where there is none
    word: NDArray[np.int64]
    edited: NDArray[np.bool_]

    @classmethod
    def of(cls, table: pa.Table) -> _Columns:
        status = _one_array(table, "status")
        by_code = np.array([_PRIORITY[word] for word in status.dictionary.to_pylist()], dtype=np.int64)
        ids = table.column("annotation_id").to_pylist()
        created = _micros(table.column("created_at"))
        updated = _micros(table.column("updated_at"))
        return cls(
            utterance=ranks(table.column("utterance_id")),
            condition=ranks(table.column("condition")),
            dimension=ranks(table.column("dimension")),
            annotator=ranks(table.column("annotator")),
            source=ranks(table.column("source")),
            annotation=ranks(table.column("annotation_id")),
            number=np.array([int(i) if i and i.isdecimal() and len(i) < 19 else -1 for i in ids], dtype=np.int64),
            created=created,
            updated=np.maximum(created, updated),
            status=np.asarray(status.indices.to_numpy(), dtype=np.int64),
            priority=by_code[status.indices.to_numpy()] if len(by_code) else np.empty(0, np.int64),
            value=np.asarray(table.column("value").fill_null(np.inf).to_numpy()),
            word=ranks(table.column("word")),
            edited=table.column("edited_by").is_valid().to_numpy(),
        )

    def is_alike(self, row: int, other: int) -> bool:
        """Return whether two states of an annotation say the same, or one of them is a correction."""
        names = ("status", "value", "word", "annotator")
        alike = all(getattr(self, name)[row] == getattr(self, name)[other] for name in names)
        return alike or bool(self.edited[row] != self.edited[other])


def _change(before: Drop, after: Drop) -> str:
    """Return which annotation was read with two answers, or with two annotators."""
    said = [f"{drop.label} by {short_text(drop.annotator)}" for drop in (before, after)]
    return f"of {before.utterance_id!r} ({said[0]}, then {said[1]})"


def _one_array(table: pa.Table, name: str) -> pa.DictionaryArray:
    """Return a column as one array under one dictionary."""
    column = table.column(name).unify_dictionaries()
    return pa.concat_arrays(column.chunks)


def _micros(column: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(column.cast(pa.int64()).fill_null(UNKNOWN_TIME).to_numpy())


def merge_ratings(table: pa.Table, on_drop: Callable[[Drop], None], *, protocol: str | None = None) -> Merged:
    """Keep one row for each rater, clip and condition; rows further down count as read later.

    The latest rating stands; failing that the latest skip or empty answer; failing that a rejected one; failing that a
    draft. Every other row goes to `on_drop`, but for annotations that were merely read again, which are counted.

    protocol : a key of PROTOCOLS, whose flags are found; by default that of the scale

    Raises AnnotationError if one annotation id names two annotations, a condition was rated on two scales, or the words
    of a nominal scale are doubtful.
    """
    merged = Merged(table.cast(memory_schema()).unify_dictionaries())
    if table.num_rows:
        flags = _one_state(merged, on_drop)
        _check_scales(merged.table)
        _one_per_rater(merged, flags, on_drop, protocol or default_protocol(merged.table))
    return merged


def _one_per_rater(merged: Merged, flags: dict[int, set[str]], on_drop: Callable[[Drop], None], protocol: str) -> None:
    table = merged.table
    columns = _Columns.of(table)
    keys = (columns.utterance, columns.condition, columns.dimension, columns.annotator)
    sequence = np.arange(table.num_rows)
    in_groups = np.lexsort((sequence, columns.number, columns.updated, columns.priority, *keys))
    starts = _starts(in_groups, keys)
    winners = in_groups[np.append(starts[1:], len(in_groups)) - 1]
    winner_of = np.empty(len(in_groups), dtype=np.int64)
    winner_of[in_groups] = np.repeat(winners, np.diff(np.append(starts, len(in_groups))))
    for row in np.flatnonzero(winner_of != sequence).tolist():
        reason = _why_lost(columns, row, int(winner_of[row]), flags)
        merged.dropped[reason] += 1
        drop = _drop_of(table, row, reason)
        if reason == "repeated" and UNKNOWN_TIME in columns.updated[[row, winner_of[row]]]:
            merged.untimed.append(str(drop.utterance_id))
        on_drop(drop)
    for row in np.flatnonzero(columns.edited).tolist():
        flags.setdefault(row, set()).add("edited")
    rated = winners[columns.priority[winners] == _PRIORITY["rated"]]
    for flag, found in protocol_flags(_rated_rows(table, columns, rated), protocol).items():
        for row in rated[found].tolist():
            flags.setdefault(row, set()).add(flag)
    merged.table = _with_flags(table, winners, flags)


def _rated_rows(table: pa.Table, columns: _Columns, rows: NDArray[np.int64]) -> RatedRows:
    names = _one_array(table, "condition")
    number_of = np.array([CONDITIONS.index(word) for word in names.dictionary.to_pylist()], dtype=np.int64)
    n_dimensions = int(columns.dimension.max(initial=-1)) + 2  # each is looked at on its own, and none is -1
    return RatedRows(
        columns.utterance[rows] * n_dimensions + columns.dimension[rows] + 1,
        columns.annotator[rows],
        number_of[names.indices.to_numpy()[rows]],
        columns.created[rows],
        columns.updated[rows],
    )


def _one_state(merged: Merged, on_drop: Callable[[Drop], None]) -> dict[int, set[str]]:
    """Keep the latest state of everything that was read more than once; return the flags of the rows that stay.

    An answer is known by source, id, condition and dimension: one annotation may hold a rating for each. A row without
    an id, of a plain table, is the same as one that agrees with it in everything.

    Raises AnnotationError if one id of one source names two different annotations.
    """
    table = merged.table
    columns = _Columns.of(table)
    flags = _old_flags(table)
    keep = np.ones(table.num_rows, dtype=bool)
    named, plain = columns.annotation >= 0, columns.annotation < 0
    by_id = (columns.source, columns.annotation, columns.condition, columns.dimension)
    _check_same(table, columns, np.flatnonzero(named))
    by_content = (
        *(columns.source, columns.utterance, columns.condition, columns.dimension, columns.annotator),
        *(columns.status, columns.value, columns.word, columns.created, columns.updated),
    )
    for chosen, keys in ((named, by_id), (plain, by_content)):
        rows = np.flatnonzero(chosen)
        in_groups = rows[np.lexsort((rows, columns.edited[rows], columns.updated[rows], *(key[rows] for key in keys)))]
        starts = _starts(in_groups, keys)
        lengths = np.diff(np.append(starts, len(in_groups)))
        last_of = np.repeat(in_groups[starts + lengths - 1], lengths)
        older = in_groups != last_of
        for row, last in zip(in_groups[older].tolist(), last_of[older].tolist(), strict=True):
            keep[row] = False
            if row in flags:  # what is known of an answer outlives its being read again
                is_older = columns.updated[row] != columns.updated[last]
                has_verdict = bool(flags.get(last, set()) & _VERDICTS)
                flags.setdefault(last, set()).update(flags[row] - (_VERDICTS if is_older or has_verdict else set()))
            at_one_time = columns.updated[row] == columns.updated[last]
            if at_one_time and columns.is_alike(row, last):
                merged.read_again += 1
                continue
            merged.dropped["same annotation"] += 1
            drop = _drop_of(table, row, "same annotation")
            on_drop(drop)
            if at_one_time:
                merged.changed.append(_change(drop, _drop_of(table, last, "same annotation")))
    merged.table = table.filter(pa.array(keep))
    new_row = np.cumsum(keep) - 1
    return {int(new_row[row]): words for row, words in flags.items() if keep[row]}


def _check_same(table: pa.Table, columns: _Columns, rows: NDArray[np.int64]) -> None:
    """Raise AnnotationError unless the rows of each annotation are about one clip, and made at one time."""
    if not rows.size:
        return
    keys = (columns.source, columns.annotation)
    in_groups = rows[np.lexsort((rows, *(key[rows] for key in keys)))]
    starts = _starts(in_groups, keys)
    created = columns.created[in_groups]
    earliest = np.minimum.reduceat(np.where(created == UNKNOWN_TIME, np.iinfo(np.int64).max, created), starts)
    latest = np.maximum.reduceat(created, starts)
    wrong = (latest != UNKNOWN_TIME) & (earliest != latest)
    clip = columns.utterance[in_groups]
    wrong |= np.minimum.reduceat(clip, starts) != np.maximum.reduceat(clip, starts)
    if not wrong.any():
        return
    group = int(np.flatnonzero(wrong)[0])
    ends = np.append(starts[1:], len(in_groups))
    first, second = (table.slice(int(in_groups[at]), 1).to_pylist()[0] for at in (starts[group], ends[group] - 1))
    named = f"annotation {first['annotation_id']} of source {first['source']!r}"
    if all(first[name] == second[name] for name in ("utterance_id", "condition", "annotator", "status", "value")):
        raise AnnotationError(
            f"{named} was made at {first['created_at']} and at {second['created_at']}: if its times were read in two "
            "zones (--time-zone), import everything again with --overwrite; if it is of two servers, give each its own "
            "--source NAME"
        )
    raise AnnotationError(
        f"{named} is two different ones: {first['utterance_id']!r} {first['condition']} and "
        f"{second['utterance_id']!r} {second['condition']}. Ids of different servers collide: import each server's "
        "files with its own --source NAME, into the same ratings. If the same files were imported with other options "
        "for ids before, import them again with --overwrite"
    )


def _starts(in_groups: NDArray[np.int64], keys: Sequence[NDArray[Any]]) -> NDArray[np.int64]:
    """Return where each group of equal keys begins in `order`."""
    new = np.ones(len(in_groups), dtype=bool)
    new[1:] = np.any([key[in_groups][1:] != key[in_groups][:-1] for key in keys], axis=0)
    return np.flatnonzero(new)


def _check_scales(table: pa.Table) -> None:
    keys = ["condition", "dimension", "scale"]
    scales: dict[tuple[str, str | None], str] = {}
    for found in table.select(keys).group_by(keys).aggregate([]).to_pylist():
        other = scales.setdefault((found["condition"], found["dimension"]), found["scale"])
        if other != found["scale"]:
            option = found["dimension"] or found["condition"]
            of_dimension = f", {found['dimension']}," if found["dimension"] else ""
            raise AnnotationError(
                f"condition {found['condition']}{of_dimension} was rated on two scales, {other} and {found['scale']}; "
                f"give the right one by --scale {option}=LOW..HIGH"
            )
    for (condition, dimension), text in scales.items():
        if text == NOMINAL:
            _check_words(table, condition, dimension)


def _check_words(table: pa.Table, condition: str, dimension: str | None) -> None:
    """Raise AnnotationError if the words of a nominal scale that names none are too many, or two may be one."""
    chosen = pc.equal(table["condition"], condition)
    chosen = pc.and_(
        chosen, pc.is_null(table["dimension"]) if dimension is None else pc.equal(table["dimension"], dimension)
    )
    words = sorted(word for word in table.filter(chosen).column("word").unique().to_pylist() if word is not None)
    if len(words) > MAX_SPAN:
        raise AnnotationError(
            f"{condition} has {len(words)} different answers, such as {words[0]!r} and {words[1]!r}; a nominal scale "
            f"has {MAX_SPAN} at most: name the words by --scale 'happy|sad|angry'"
        )
    by_fold: dict[str, str] = {}
    for word in words:
        other = by_fold.setdefault(word.casefold(), word)
        if other != word:
            raise AnnotationError(
                f"{condition} has the answers {other!r} and {word!r}, which may be one; name the words by --scale "
                f"'{NAME_SEPARATOR.join(sorted({one.casefold(): one for one in words}.values()))}'"
            )


def _why_lost(columns: _Columns, row: int, winner: int, flags: dict[int, set[str]]) -> str:
    if columns.priority[row] == _PRIORITY["rated"]:
        flags.setdefault(winner, set()).add("repeated")
        return "repeated"
    if columns.priority[winner] != _PRIORITY["rated"]:
        return "superseded"
    if columns.priority[row] == _PRIORITY["skipped"] and columns.updated[row] > columns.updated[winner]:
        flags.setdefault(winner, set()).add("skipped_later")
    return "skipped too"


def _drop_of(table: pa.Table, row: int, reason: str) -> Drop:
    entry = table.slice(row, 1).to_pylist()[0]
    value = entry["value"]
    return Drop(
        where=f"source {entry['source']}",
        reason=reason,
        utterance_id=entry["utterance_id"],
        condition=entry["condition"],
        annotator=entry["annotator"],
        annotation_id=entry["annotation_id"],
        label=entry["word"] or (entry["status"] if value is None else f"{value:.15g}"),
        dimension=entry["dimension"],
    )


def _old_flags(table: pa.Table) -> dict[int, set[str]]:
    flags = _one_array(table, "flags")
    words = [set(text.split()) - {"edited", *OUT_OF_PROTOCOL} for text in flags.dictionary.to_pylist()]  # found again
    codes = flags.indices.to_numpy()
    return {int(row): set(words[codes[row]]) for row in range(len(codes)) if words[codes[row]]}


def _with_flags(table: pa.Table, winners: NDArray[np.int64], flags: dict[int, set[str]]) -> pa.Table:
    texts = [" ".join(sorted(flags.get(int(row), ()))) for row in winners]
    column = pa.array(texts, pa.string()).dictionary_encode()
    kept = table.take(pa.array(winners))
    field = kept.schema.field("flags")
    return kept.set_column(kept.schema.get_field_index("flags"), field, column.cast(field.type))
