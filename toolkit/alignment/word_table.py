"""Word times as a table: a row per word, with the clip or video that it is spoken in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.words import TimedWord, timed_word
from fmltk.toolkit.catalog.transcripts import times_of_row
from fmltk.toolkit.clip import ids_of_row
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.fields import open_fields
from fmltk.toolkit.io.table_kinds import WORDS

_NAMES = frozenset(("utterance_id", "video_id", "clip_id", "file"))
_OF_WORDS = frozenset(("", "word", "words"))

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    Key = tuple[str, str] | str | None  # (video_id, clip_id), the name of a file, or None: the table is of one clip


def table_words(
    path: Path, *, encoding: str | None = None, ignored: Collection[str] | None = None
) -> tuple[dict[Key, list[TimedWord]], list[str]]:
    """Return the words of each clip or video that a table names, and what is said of the table.

    A table without a column that names clips is of the clip that it is named as itself. In a table with a column type,
    as Montreal's aligner writes it, the rows of words count.

    ignored : names of columns that are left out

    Raises ConfigError if the table cannot be read, lacks the columns, or a row is not a word, naming it.
    """
    found: dict[Key, list[TimedWord]] = {}
    with open_fields(path, WORDS, encoding=encoding, ignored=ignored, may_lack_ids=True) as table:
        names_clips = not _NAMES.isdisjoint(table.columns.used)
        if "word" not in table.columns.used:
            raise ConfigError(f"{path} names no words; a {WORDS.what} has {WORDS.expected}")
        for where, row in table:
            if row.get("type", "").strip().lower() not in _OF_WORDS:
                continue
            key: Key = ids_of_row(row) or row.get("file") or None
            if key is None and names_clips:
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
