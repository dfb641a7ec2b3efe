"""Tables of one row per video frame, as programs that look at faces write them: which columns count, and their rows.

A column is a feature if every cell is a number, True or False, or a list of numbers, which is one feature for each.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.io.cells import is_missing, parse_number, parse_time
from fmltk.toolkit.io.columns import find_columns, folded
from fmltk.toolkit.io.documents import parse_json_value
from fmltk.toolkit.io.table_kinds import FRAMES
from fmltk.toolkit.io.tables import open_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.tables import Table

_BLOCK_ROWS = 512  # of cells that are held as text
_JUDGED_ROWS = 2000  # that decide whether a column holds numbers
_NO_FEATURE = re.compile(r"(unnamed\d+)?")  # pandas' own index, without a name
_TRUTHS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """A column of numbers: its name, and how many each cell holds where they are lists."""

    name: str
    width: int | None = None

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features.

        >>> FeatureColumn("AU01").features, FeatureColumn("gaze", 2).features
        (('AU01',), ('gaze_0', 'gaze_1'))
        """
        return (self.name,) if self.width is None else tuple(f"{self.name}_{place}" for place in range(self.width))


@dataclass(frozen=True, slots=True, eq=False)
class FrameRows:
    """A table's rows in their order.

    Attributes
    ----------
    name
        The file's, for messages.
    frame : int64 (n,)
        The frame's number as written; None where there is none.
    time_s : float64 (n,)
        None where there is none, or none that is a time.
    time_column
        The name of the column of times.
    success : bool (n,)
        Whether the program found the face; True where it does not say.
    confidence : float64 (n,)
        NaN where it does not say.
    face_id
        Which face of the frame, "" where it does not say.
    values : float32 (n, d)
        The features; NaN where there is none.
    unread
        Columns that are in this table, and were not in the one that the features are from.
    """

    name: str
    frame: NDArray[np.int64] | None
    time_s: NDArray[np.float64] | None
    time_column: str
    success: NDArray[np.bool_]
    confidence: NDArray[np.float64]
    face_id: NDArray[np.str_]
    values: NDArray[np.float32]
    unread: tuple[str, ...] = ()


def find_features(
    path: Path, wanted: Sequence[str], named: Mapping[str, str], *, error: MakeError = FeatureError
) -> tuple[tuple[FeatureColumn, ...], tuple[str, ...], bool]:
    """Return the columns of features of a table, all of its columns, and whether it says which frame a row is of.

    wanted : names of columns, or patterns with * and ?; empty: every column that holds numbers and is not a field
    named : by field of FRAMES, the column that the user says it is

    Raises `error` if the table cannot be read, lacks a column that is wanted or named, or one that is wanted does not
    hold numbers.
    """
    with open_rows(path, error=error) as table:
        fields, others = _fields(table, named, error)
        columns = _chosen(table, wanted, error) if wanted else others
        cells: dict[str, list[str]] = {name: [] for name in columns}
        for _, row in itertools.islice(table.rows, _JUDGED_ROWS):
            for name in columns:
                cells[name].append(row.get(name, ""))
        kinds = {name: _kind(cells[name], table.separator) for name in columns}
    features = []
    for name, kind in kinds.items():
        if not isinstance(kind, str):
            features.append(FeatureColumn(name, kind))
        elif wanted:
            raise error(f"{table.name}: column {name!r} holds {kind[:40]!r}, expected numbers")
    return tuple(features), table.header, not fields.keys().isdisjoint(("frame", "time_s", "time_ms"))


def _fields(table: Table, named: Mapping[str, str], error: MakeError) -> tuple[dict[str, str], list[str]]:
    """Return which column is which field, and the columns that may be features."""
    for one, column in named.items():
        if column not in table.header:
            raise error(f"{table.name} has no column {column!r}, which {one}= names; it has {_listed(table.header)}")
    free = [name for name in table.header if name not in named.values()]
    found = find_columns(FRAMES, free, table=table.name, error=error).used
    taken = {*found.values(), *named.values()}
    times = {"time_s", "time_ms"} if not named.keys().isdisjoint(("time_s", "time_ms")) else set()
    fields = {one: column for one, column in found.items() if one not in times} | dict(named)
    known = set(FRAMES.unread.split())
    others = [
        name
        for name in table.header
        if name not in taken and folded(name) not in known and not _NO_FEATURE.fullmatch(folded(name))
    ]
    return fields, others


def _chosen(table: Table, wanted: Sequence[str], error: MakeError) -> list[str]:
    chosen: dict[str, None] = {}
    for pattern in wanted:
        matching = [name for name in table.header if name == pattern or fnmatchcase(name, pattern)]
        if not matching:
            raise error(f"{table.name} has no column {pattern!r}; it has {_listed(table.header)}")
        chosen |= dict.fromkeys(matching)
    return list(chosen)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return f"{', '.join(names[:12])}{more}"


def _kind(cells: Iterable[str], separator: str) -> int | str | None:
    """Return None where cells are numbers, how many where they are lists of them, else a cell that is neither."""
    width: int | None = None
    for cell in cells:
        if is_missing(cell):
            continue
        if cell.lstrip().startswith("["):
            values = _list(cell)
            if values is None or width not in (None, len(values)):
                return cell
            width = len(values)
        elif width is not None or _number(cell, separator) is None:
            return cell
    return width


def _number(cell: str, separator: str) -> float | None:
    if is_missing(cell):
        return np.nan
    truth = _TRUTHS.get(cell.strip().lower())
    try:
        return parse_number(cell, separator=separator) if truth is None else truth
    except ValueError:
        return None


def _list(cell: str) -> list[float] | None:
    """Return the numbers of a list, which may lie in lists; None where it holds anything else."""
    try:
        values = np.asarray(parse_json_value(cell, name="cell", error=FeatureError), dtype=np.float64)
    except (FeatureError, ValueError, TypeError):
        return None
    return list(values.ravel())


def read_frame_rows(
    path: Path,
    features: Sequence[FeatureColumn],
    named: Mapping[str, str],
    *,
    known: Sequence[str] = (),
    error: MakeError = FeatureError,
) -> FrameRows:
    """Read a table's rows.

    features, known : what `find_features` gave of the first table: columns of features, and all columns
    named : by field of FRAMES, the column that the user says it is

    Raises `error` if the table cannot be read, has no rows, lacks a column, or a cell is not what its column holds.
    """
    with open_rows(path, error=error) as table:
        fields, others = _fields(table, named, error)
        missing = [one.name for one in features if one.name not in table.header]
        if missing:
            raise error(
                f"{table.name} has no column {missing[0]!r} ({len(missing)} of the set's {len(features)} are missing); "
                "every table of the folder must have them: name those that all have, csv:DIR,columns=..."
            )
        heads: dict[str, list[Any]] = {one: [] for one in fields}
        blocks: list[NDArray[np.float32]] = [np.empty((0, sum(len(one.features) for one in features)), np.float32)]
        while block := list(itertools.islice(table.rows, _BLOCK_ROWS)):
            for one, column in fields.items():
                heads[one] += [(where, row.get(column, "")) for where, row in block]
            parts = [_block(block, feature, table.separator, error) for feature in features]
            with np.errstate(over="ignore"):  # a failed row may hold a number beyond float32: it becomes infinite
                blocks.append(np.concatenate(parts, axis=1).astype(np.float32))
    values = np.concatenate(blocks)
    if not len(values):
        raise error(f"{table.name} has a header and no rows; run the program that wrote it again")
    reader = _Heads(heads, fields, len(values), table.separator, error)
    time_s, time_column = reader.times()
    return FrameRows(
        name=table.name,
        frame=reader.frames(),
        time_s=time_s,
        time_column=time_column,
        success=~(reader.numbers("success", 1.0) <= 0.5) & ~np.isnan(reader.numbers("success", 1.0)),
        confidence=reader.numbers("confidence", np.nan),
        face_id=np.array([_face(cell) for _, cell in heads.get("face_id", [("", "")] * len(values))]),
        values=values,
        unread=tuple(name for name in others if known and name not in known),
    )


def _block(
    rows: Sequence[tuple[str, Mapping[str, str]]], feature: FeatureColumn, separator: str, error: MakeError
) -> NDArray[np.float64]:
    """Return a column's numbers in some rows, float64 (n_rows, 1 or the lists' width)."""
    cells = [row.get(feature.name, "") for _, row in rows]
    if feature.width is None:
        try:
            return np.array(cells).astype(np.float64)[:, None]  # nearly every column; what else there is takes longer
        except ValueError:
            found = [_number(cell, separator) for cell in cells]
            numbers = [None if one is None else [one] for one in found]
    else:
        nothing = [np.nan] * feature.width
        lists = [nothing if is_missing(cell) else _list(cell) for cell in cells]
        numbers = [one if one is not None and len(one) == feature.width else None for one in lists]
    for (where, _), cell, one in zip(rows, cells, numbers, strict=True):
        if one is None:
            expected = "a number" if feature.width is None else f"a list of {feature.width} numbers"
            raise error(f"{where}, column {feature.name!r}: {cell[:40]!r} is not {expected}")
    return np.array(numbers, np.float64)


@dataclass(frozen=True)
class _Heads:
    """The cells that are not features, by field, each with where it stands."""

    cells: Mapping[str, Sequence[tuple[str, str]]]
    columns: Mapping[str, str]
    n_rows: int
    separator: str
    error: MakeError

    def numbers(self, one: str, otherwise: float) -> NDArray[np.float64]:
        """Return a field's numbers, NaN where a cell is missing; `otherwise` where the column is missing."""
        if one not in self.cells:
            return np.full(self.n_rows, otherwise)
        found = [(where, cell, _number(cell, self.separator)) for where, cell in self.cells[one]]
        for where, cell, number in found:
            if number is None:
                raise self.error(f"{where}, column {self.columns[one]!r}: {cell[:40]!r} is not a number")
        return np.array([number for *_, number in found], np.float64)

    def frames(self) -> NDArray[np.int64] | None:
        if "frame" not in self.cells:
            return None
        numbers = self.numbers("frame", np.nan)
        wrong = ~((numbers >= 0) & (numbers < 2**53) & (numbers == np.floor(numbers)))
        if wrong.any():
            where, cell = self.cells["frame"][int(np.argmax(wrong))]
            raise self.error(f"{where}, column {self.columns['frame']!r}: {cell[:40]!r} is not a frame's number")
        return numbers.astype(np.int64)

    def times(self) -> tuple[NDArray[np.float64] | None, str]:
        """Return the times in seconds, and their column; None where there are none, or frames and a text."""
        one = next((one for one in ("time_s", "time_ms") if one in self.cells), None)
        if one is None:
            return None, ""
        unit_s, column = 1.0 if one == "time_s" else 0.001, self.columns[one]
        times = np.full(self.n_rows, np.nan)
        for place, (where, cell) in enumerate(self.cells[one]):
            try:
                times[place] = parse_time(cell, unit_s=unit_s, separator=self.separator)
            except ValueError as fault:
                if "frame" in self.cells:  # such as the day and hour of the computation
                    return None, column
                raise self.error(f"{where}, column {column!r}: {fault}; give the table a column frame") from fault
        moves = bool(np.any(times != times[0])) or self.n_rows == 1
        return (times if moves else None), column


def _face(cell: str) -> str:
    """Return a face's id; a whole number is one with or without decimals."""
    number = _number(cell, "")
    if number is None:
        return cell.strip()
    return "" if np.isnan(number) else f"{number:g}"
