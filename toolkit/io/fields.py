"""The rows of a table by field: which column is which, ids as they are meant, and what is said of the table."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.cells import clean_id, is_missing, is_no_text, is_spreadsheet_error, undamaged
from fmltk.toolkit.io.columns import are_names, find_columns, folded
from fmltk.toolkit.io.sheets import SHEET_SUFFIXES
from fmltk.toolkit.io.table_kinds import COMPUTED
from fmltk.toolkit.io.tables import open_rows, unguarded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.columns import Columns
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.io.table_kinds import TableKind
    from fmltk.toolkit.io.tables import Table

_FEW = 8
_MANY_CLOCKS = 3
# As sheets give their times: 00:01:30 of Excel, PT00H01M30S of LibreOffice; the seconds are the second group.
_CLOCK = re.compile(r"(?:PT)?(\d+[:H]\d+)[:M](\d+(?:[.,]\d+)?)S?", re.ASCII)
_IDS = ("utterance_id", "video_id", "clip_id", "file")


@dataclass
class FieldRows:
    """An open table of a known kind; its rows can be read once, and its notes are whole after that.

    Attributes
    ----------
    columns
        Which column is which field.
    kind
        The table's kind.
    error
        The error of a row that is not understood.
    ignored
        The columns that the user leaves out.
    separator
        The separator of the table's columns, by which a comma in a number is understood.
    few_values
        Of each column that is neither read nor left out, the cells that are not blank, where few are different.
    """

    table: Table
    columns: Columns
    kind: TableKind
    error: MakeError = ConfigError
    ignored: frozenset[str] = frozenset()
    n_cleaned: int = field(default=0, init=False)
    n_errors: int = field(default=0, init=False)
    n_headers: int = field(default=0, init=False)
    n_no_text: int = field(default=0, init=False)
    n_damaged: int = field(default=0, init=False)
    damage: str = field(default="", init=False)
    few_values: dict[str, set[str]] = field(default_factory=dict, init=False)

    @property
    def separator(self) -> str:
        """The separator of the table's columns, by which a comma in a number is understood."""
        return self.table.separator

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield where each row stands, and its cells by field; one with an error of a spreadsheet is left out.

        A time with such an error stays, for its clip is not understood without it. A row that repeats the columns'
        names is left out as well.

        Raises the table's error if the first row holds the columns' names, its last rows are sums or means of those
        above them, or all times are whole minutes of a spreadsheet.
        """
        return rows_of_clips(self._rows(), self.error)

    def _rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        clocks = _Clocks() if self._is_sheet else None
        self.few_values = {name: set() for name in self.columns.unused if name not in self.ignored}
        is_first = True
        for where, written in self.table.rows:
            if len(written) > 1 and all(cell.strip() == name for name, cell in written.items()):
                self.n_headers += 1
                continue
            if is_first:
                self._refuse_names(where, written)
                is_first = False
            self._count_values(written)
            row = self.columns.fields(written)
            if clocks is not None:
                clocks.count(row)
            errors = [
                name
                for name, cell in row.items()
                if cell.startswith(("#", "Err:")) and is_spreadsheet_error(cell) and not name.endswith(("_s", "_ms"))
            ]
            for name in errors:
                del row[name]
            self.n_errors += len(errors)
            if is_no_text(row.get("text", "")):
                self.n_no_text += 1
                del row["text"]
            if (whole := undamaged(row.get("text", ""))) is not None:
                self.n_damaged += 1
                self.damage = self.damage or _first_change(row["text"], whole)
            for name in _IDS:
                if name in row:
                    cleaned = clean_id(row[name])
                    self.n_cleaned += cleaned != row[name]
                    row[name] = unguarded(cleaned)
            yield where, row
        if clocks is not None and clocks.are_whole_minutes:
            raise self.error(
                f"{self.table.name}: all of its times are whole minutes, which a spreadsheet makes of minutes and "
                "seconds: it takes 1:23 for 1 h 23 min. Type 0:01:23 for 1 min 23 s, or write seconds"
            )

    @property
    def _is_sheet(self) -> bool:
        return self.table.name.lower().endswith(SHEET_SUFFIXES)

    def _refuse_names(self, where: str, written: Mapping[str, str]) -> None:
        """Refuse a row below a line of groups or a title, which is taken for the columns' names."""
        if are_names(self.kind, written.values()):
            cells = ", ".join(repr(cell) for cell in written.values() if cell.strip())
            raise self.error(f"{where} holds names of columns ({cells}); remove what is above that line")

    def _count_values(self, written: Mapping[str, str]) -> None:
        for name, values in list(self.few_values.items()):
            cell = written.get(name, "").strip()
            if cell:
                values.add(cell)
                if len(values) > _FEW:
                    del self.few_values[name]

    def notes(self) -> list[str]:
        """Return what people should know of the table, one line each."""
        notes = [f"{self.columns.note()}{f' ({self.table.sheet})' if self.table.sheet else ''}"]
        notes += [f"{self.table.name}: {note}" for note in self.table.notes]
        if self.n_headers:
            notes.append(f"{self.table.name}: rows that repeat the columns' names are left out ({self.n_headers})")
        if self.n_damaged:
            notes.append(
                f"{self.table.name}: texts are damaged, for their UTF-8 was once read as Western European "
                f"({self.n_damaged}), such as {self.damage}; make the table again from its source, as UTF-8"
            )
        if self.n_cleaned:
            notes.append(f"{self.table.name}: spaces or invisible characters are taken out of ids ({self.n_cleaned})")
        if self.n_no_text:
            notes.append(f"{self.table.name}: texts such as n/a or - are read as empty ({self.n_no_text})")
        if self.n_errors:
            notes.append(f"{self.table.name}: cells with an error such as #N/A are read as empty ({self.n_errors})")
        return notes


def found_columns(table: Table) -> str:
    """Return a message's words for the columns that a table has, where they are not the ones that it needs."""
    where = f" ({table.sheet}: the table's own must be the first)" if table.sheet else ""
    return f"its columns are {', '.join(map(repr, table.header)) or 'none'}{where}"


def _first_change(text: str, whole: str) -> str:
    words = zip(text.split(), whole.split(), strict=False)
    return next((f"{one!r} for {other!r}" for one, other in words if one != other), repr(text[:20]))


@dataclass
class _Clocks:
    """How many times of a spreadsheet, as hh:mm:ss, are whole minutes, and how many are not; 0:00:00 is neither."""

    n_whole: int = 0
    n_others: int = 0

    @property
    def are_whole_minutes(self) -> bool:
        return self.n_whole >= _MANY_CLOCKS and not self.n_others

    def count(self, row: Mapping[str, str]) -> None:
        for name, cell in row.items():
            clock = _CLOCK.fullmatch(cell.strip()) if name.endswith(("_s", "_ms")) else None
            if clock is None:
                self.n_others += name.endswith(("_s", "_ms")) and not is_missing(cell)
            elif clock[2].strip("0.,"):
                self.n_others += 1
            else:
                self.n_whole += bool(clock[1].strip("0:H"))


@contextmanager
def open_fields(
    path: AnyPath,
    kind: TableKind,
    *,
    encoding: str | None = None,
    ignored: Collection[str] | None = None,
    may_lack_ids: bool = False,
    error: MakeError = ConfigError,
) -> Iterator[FieldRows]:
    """Open a table of a known kind, whose rows name clips.

    ignored : names of columns that the user leaves out; None where the command does not let them
    may_lack_ids : whether the table itself may be of one clip, and its rows name none

    Raises `error` if the table cannot be read (see `open_rows`), a column is not understood (see `find_columns`), or
    none of them names clips.
    """
    with open_rows(path, encoding=encoding, error=error) as table:
        columns = find_columns(kind, table.header, table=path.name, ignored=ignored, error=error)
        needed = ("path",) if "path" in kind.fields else _IDS
        if not may_lack_ids and table.header and columns.used.keys().isdisjoint(needed):
            raise error(
                f"{path} names no clip: {found_columns(table)}; a {kind.what} has {kind.expected}, and nothing above "
                "these names"
            )
        left_out = {folded(name) for name in ignored or ()}
        own = frozenset(name for name in table.header if folded(name) in left_out)
        yield FieldRows(table, columns, kind, error, own)


def rows_of_clips(rows: Iterable[tuple[str, dict[str, str]]], error: MakeError) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield rows by field; where each stands, and its cells.

    Raises `error` if the last ones are called like sums or means of those above them, as spreadsheets often end.
    """
    held: list[tuple[str, dict[str, str]]] = []
    for one in rows:
        held.append(one)
        if folded(_name(one[1])) not in COMPUTED:
            yield from held
            held.clear()
    if held:
        where, row = held[0]
        raise error(
            f"{where}: {_name(row)!r} is called like a figure computed of the rows above; remove the row, or give the "
            "clip another name"
        )


def _name(row: Mapping[str, str]) -> str:
    """Return what the row of a clip is called; "" where it is a numbered part of a video."""
    return "" if row.get("clip_id") else next((row[name] for name in _IDS if row.get(name)), "")
