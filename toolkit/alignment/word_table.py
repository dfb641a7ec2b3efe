"""Word times as a table: a row per word, with the clip or video that it is spoken in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.words import TimedWord, timed_word
from fmltk.toolkit.catalog.transcripts import times_of_row
from fmltk.toolkit.clip import ids_of_row
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.fields import open_fields
from fmltk.toolkit.io.table_kinds import WORDS

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    Key = tuple[str, str] | str  # (video_id, clip_id), or the name of a file


def table_words(
    path: Path, *, encoding: str | None = None, ignored: Collection[str] | None = None
) -> tuple[dict[Key, list[TimedWord]], list[str]]:
    """Return the words of each clip or video that a table names, and what is said of the table.

    ignored : names of columns that are left out

    Raises ConfigError if the table cannot be read, lacks the columns, or a row is not a word, naming it.
    """
    found: dict[Key, list[TimedWord]] = {}
    with open_fields(path, WORDS, encoding=encoding, ignored=ignored) as table:
        if "word" not in table.columns.used:
            raise ConfigError(f"{path} names no words; a {WORDS.what} has {WORDS.expected}")
        for where, row in table:
            key: Key | None = ids_of_row(row) or row.get("file") or None
            if key is None:
                raise ConfigError(f"{where} names no clip; expected {WORDS.expected}")
            try:
                start_s, end_s = times_of_row(row, table.separator)
            except ValueError as error:
                raise ConfigError(f"{where}: {error}; expected seconds or hh:mm:ss") from error
            own = found.setdefault(key, [])
            word = timed_word(row.get("word", ""), start_s, end_s, where=where, error=ConfigError)
            if word is not None:
                own.append(word)
        return found, table.notes()
