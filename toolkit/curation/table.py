"""curation.csv: one row per clip and reason, with a column that people fill in; decisions made are never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.clip import split_utterance_id
from fmltk.toolkit.errors import ConfigError, FmltkError
from fmltk.toolkit.io.printable import printable
from fmltk.toolkit.io.tables import open_rows, unguarded, write_csv

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fmltk.toolkit.curation.findings import Finding
    from fmltk.toolkit.io.paths import AnyPath

_SUFFIXES = (".csv", ".tsv", ".xlsx", ".ods")
CURATION_COLUMNS = ("utterance_id", "video_id", "clip_id", "reason", "detail", "decision")


def merge_decisions(findings: Sequence[Finding], table: AnyPath) -> list[dict[str, str]]:
    """Return the rows of curation.csv: the findings, with the decisions that an earlier table has on them.

    Rows that were decided and are not found any more stay at the end.

    Raises ConfigError if `table` is there and is not one that `fmltk curate` wrote.
    """
    earlier = read_curation(table) if table.is_file() else []
    decided = {(row["utterance_id"], row["reason"]): row for row in earlier if row["decision"]}
    rows = []
    for one in findings:
        video_id, clip_id = split_utterance_id(one.utterance_id)
        cells = (one.utterance_id, video_id, clip_id, one.reason, one.detail)
        held = decided.pop((printable(one.utterance_id), one.reason), None)
        rows.append(
            dict(zip(CURATION_COLUMNS, (*map(printable, cells), held["decision"] if held else ""), strict=True))
        )
    return [*rows, *decided.values()]


def is_curation(table: Path) -> bool:
    """Return whether a file is a table of `fmltk curate`."""
    if not table.is_file() or table.suffix.lower() not in _SUFFIXES:
        return False
    try:
        with open_rows(table) as opened:
            return set(CURATION_COLUMNS) <= set(opened.header)
    except FmltkError:
        return False


def read_curation(table: AnyPath) -> list[dict[str, str]]:
    """Return the rows of curation.csv by column.

    Raises ConfigError if it cannot be read, or its columns are not CURATION_COLUMNS.
    """
    with open_rows(table) as opened:
        missing = [name for name in CURATION_COLUMNS if name not in opened.header]
        if missing:
            raise ConfigError(
                f"{table} is not a table of `fmltk curate`: it has no column {missing[0]}; choose another name with -o"
            )
        return [{name: unguarded(row.get(name) or "").strip() for name in CURATION_COLUMNS} for _, row in opened.rows]


def write_curation(rows: Sequence[dict[str, str]], table: AnyPath) -> None:
    """Write curation.csv, complete or not at all. Raises StoreError if it cannot be written."""
    cells = ([row[name] for name in CURATION_COLUMNS] for row in rows)
    write_csv(table, CURATION_COLUMNS, cells, spreadsheet_safe=True, byte_order_mark=True)
