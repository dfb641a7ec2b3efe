"""The rows of a table by field: which column is which, ids as they are meant, and what is said of the table."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.cells import clean_id, is_spreadsheet_error
from fmltk.toolkit.io.columns import find_columns, folded
from fmltk.toolkit.io.table_kinds import COMPUTED
from fmltk.toolkit.io.tables import open_rows, unguarded

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.columns import Columns
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.io.table_kinds import TableKind
    from fmltk.toolkit.io.tables import Table

_IDS = ("utterance_id", "video_id", "clip_id", "file")


@dataclass
class FieldRows:
    """An open table of a known kind; its rows can be read once, and its notes are whole after that.

    Attributes
    ----------
    columns
        Which column is which field.
    separator
        The separator of the table's columns, by which a comma in a number is understood.
    """

    table: Table
    columns: Columns
    error: MakeError = ConfigError
    n_cleaned: int = field(default=0, init=False)
    n_errors: int = field(default=0, init=False)

    @property
    def separator(self) -> str:
        """The separator of the table's columns, by which a comma in a number is understood."""
        return self.table.separator

    def __iter__(self) -> Iterator[tuple[str, dict[str, str]]]:
        """Yield where each row stands, and its cells by field; one with an error of a spreadsheet is left out.

        A time with such an error stays, for its clip is not understood without it.

        Raises the table's error if its last rows are sums or means of those above them.
        """
        return rows_of_clips(self._rows(), self.error)

    def _rows(self) -> Iterator[tuple[str, dict[str, str]]]:
        for where, written in self.table.rows:
            row = self.columns.fields(written)
            errors = [
                name
                for name, cell in row.items()
                if cell.startswith(("#", "Err:")) and is_spreadsheet_error(cell) and not name.endswith(("_s", "_ms"))
            ]
            for name in errors:
                del row[name]
            self.n_errors += len(errors)
            for name in _IDS:
                if name in row:
                    cleaned = clean_id(row[name])
                    self.n_cleaned += cleaned != row[name]
                    row[name] = unguarded(cleaned)
            yield where, row

    def notes(self) -> list[str]:
        """Return what people should know of the table, one line each."""
        notes = [f"{self.columns.note()}{f' ({self.table.sheet})' if self.table.sheet else ''}"]
        notes += [f"{self.table.name}: {note}" for note in self.table.notes]
        if self.n_cleaned:
            notes.append(f"{self.table.name}: spaces or invisible characters are taken out of ids ({self.n_cleaned})")
        if self.n_errors:
            notes.append(f"{self.table.name}: cells with an error such as #N/A are read as empty ({self.n_errors})")
        return notes


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
            found = ", ".join(map(repr, table.header))
            where = f" ({table.sheet}: the table's own must be the first)" if table.sheet else ""
            raise error(f"{path} names no clip: its columns are {found}{where}; a {kind.what} has {kind.expected}")
        yield FieldRows(table, columns, error)


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
