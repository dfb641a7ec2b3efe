"""Tables of transcripts: one row per clip."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.clip import WHOLE, Clip, ids_of_row, split_name
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.clip_rows import IGNORE_COLUMN, REMOVE_COLUMN, clip_rows
from fmltk.toolkit.io.cells import parse_time
from fmltk.toolkit.io.fields import open_fields
from fmltk.toolkit.io.table_kinds import TRANSCRIPTS
from fmltk.toolkit.matching import path_form

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from fmltk.toolkit.io.paths import AnyPath

_UNITS_S = {"s": 1.0, "ms": 0.001}
_TIME_FIELDS = frozenset(f"{base}_{unit}" for base in ("start", "end", "duration") for unit in _UNITS_S)


@dataclass(frozen=True, slots=True)
class Transcript:
    """One row of a transcript table. `text` is None where the table has none; `where` is for messages.

    `file` is how the row names the clip's file, where it does; `has_ids` whether it has ids too. `unknown_split` is
    what the table calls the split, where that is not a name of one.
    """

    where: str
    video_id: str
    clip_id: str
    text: str | None
    start_s: float | None = None
    end_s: float | None = None
    language: str | None = None
    split: str | None = None
    unknown_split: str | None = None
    fault: tuple[str, str] | None = None
    file: str | None = None
    has_ids: bool = True

    @property
    def is_cut(self) -> bool:
        """Whether the row says when the clip starts or ends: it is a part of a file."""
        return self.start_s is not None or self.end_s is not None


def read_transcripts(
    path: AnyPath,
    *,
    encoding: str | None = None,
    ignored: Collection[str] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Iterator[Transcript]:
    """Yield the rows of a transcript table; MMSA's label.csv works as it is.

    Columns: video_id and clip_id (or utterance_id, or the name of a file), text; optionally start_s and end_s (or
    start_ms and end_ms, or a duration) on the video's clock, language, and mode or split; also by other names (see
    `fmltk.toolkit.io.table_kinds`).

    ignored : names of columns that are left out; note : takes what people should know of the table, once it is read

    Raises ConfigError if the table cannot be read, holds no row, lacks the ids, or a column is not understood.
    """
    empty = True
    with open_fields(path, TRANSCRIPTS, encoding=encoding, ignored=ignored) as table:
        for where, row in clip_rows(table, remedy=REMOVE_COLUMN if ignored is None else IGNORE_COLUMN):
            empty = False
            yield transcript_of_row(where, row, separator=table.separator)
        if empty:
            raise ConfigError(
                f"{path} holds no row; expected the columns video_id, clip_id and text, and a row per clip"
            )
        for line in table.notes():
            note(line)


def transcript_of_row(where: str, row: Mapping[str, str], *, separator: str = "") -> Transcript:
    """Return the fields of one row as a transcript; times that make no sense become the clip's fault, not the run's.

    separator : of the table's columns, by which a comma in a number is understood
    """
    ids, file = ids_of_row(row), row.get("file") or None
    if ids is None and file is None:
        raise ConfigError(f"{where} names no clip; write its ids or its file there, or remove the row")
    fault = None
    start_s = end_s = None
    try:
        start_s, end_s = times_of_row(row, separator)
        if end_s is not None and end_s <= (start_s or 0.0):
            raise ValueError(f"end_s {end_s:g} is not after start_s {start_s or 0:g}")
    except ValueError as error:
        start_s = start_s or 0.0  # still a part of a longer video, and matched to it
        fault = (
            ConfigError.__name__,
            f"{where}: {error}; expected seconds or hh:mm:ss on the video's clock, end after start",
        )
    word = (row.get("split") or "").strip()
    split = split_name(word)
    return Transcript(
        where=where,
        video_id=sys.intern(ids[0] if ids else path_form(file or "")[0][-1]),  # many rows have the same
        clip_id=sys.intern(ids[1] if ids else row.get("clip_id") or WHOLE),
        text=row.get("text") if (row.get("text") or "").strip() else None,
        start_s=start_s,
        end_s=end_s,
        language=row.get("language") or None,
        split=split,
        unknown_split=word if word and split is None else None,
        fault=fault,
        file=file,
        has_ids=ids is not None,
    )


def times_of_row(row: Mapping[str, str], separator: str) -> tuple[float | None, float | None]:
    """Return when what a row names starts and ends, in seconds; None where the row does not say it.

    separator : of the table's columns, by which a comma in a number is understood

    Raises ValueError, with what is wrong, where a cell is not a time.
    """
    if _TIME_FIELDS.isdisjoint(row) or not any(row[name].strip() for name in _TIME_FIELDS & row.keys()):
        return None, None
    start_s, end_s, duration_s = (_time(row, base, separator) for base in ("start", "end", "duration"))
    if end_s is None and start_s is not None and duration_s is not None:
        end_s = start_s + duration_s
    return start_s, end_s


def _time(row: Mapping[str, str], base: str, separator: str) -> float | None:
    for unit, unit_s in _UNITS_S.items():
        cell = row.get(f"{base}_{unit}", "")
        if cell.strip():
            return parse_time(cell, unit_s=unit_s, separator=separator)
    return None


def with_transcript(clip: Clip, row: Transcript) -> Clip:
    """Return the clip with what the row says; what it leaves out stays, such as the cut of a table of videos."""
    is_cut = row.is_cut
    return Clip(  # every field: `replace` takes three times as long
        clip.video_id,
        clip.clip_id,
        clip.path,
        start_s=row.start_s or 0.0 if is_cut else clip.start_s,
        end_s=row.end_s if is_cut else clip.end_s,
        text=clip.text if row.text is None else row.text,
        language=row.language or clip.language,
        source=clip.source,
        split=row.split or clip.split,
        fault=clip.fault or row.fault,
        exclude_reason=clip.exclude_reason,
        turns=clip.turns,
        text_source=clip.text_source,
        text_notes=clip.text_notes,
    )
