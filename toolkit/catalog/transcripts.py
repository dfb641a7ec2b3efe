"""Tables of transcripts: one row per clip."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fmltk.toolkit.clip import ids_of_row, split_name
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.tables import read_rows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath


@dataclass(frozen=True, slots=True)
class Transcript:
    """One row of a transcript table. `text` is None where the table has none; `where` is for messages.

    `unknown_split` is what the table calls the split, where that is no name of one.
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


def read_transcripts(path: AnyPath, *, encoding: str | None = None) -> Iterator[Transcript]:
    """Yield the rows of a transcript table; MMSA's label.csv works as it is.

    Columns: video_id and clip_id (or utterance_id), text; optionally start_s and end_s in seconds on the video's
    clock, language, and mode or split.

    Raises ConfigError if the table cannot be read, holds no row, or lacks the ids.
    """
    empty = True
    for where, row in read_rows(path, encoding=encoding):
        empty = False
        yield transcript_of_row(where, row)
    if empty:
        raise ConfigError(f"{path} holds no row; expected the columns video_id, clip_id and text, and a row per clip")


def transcript_of_row(where: str, row: Mapping[str, str]) -> Transcript:
    """Return one table row as a transcript; times that make no sense become the clip's fault, not the run's."""
    ids = ids_of_row(row)
    if ids is None:
        raise ConfigError(
            f"{where} names no clip; expected the columns video_id, clip_id and text, as in MMSA's label.csv"
        )
    fault = None
    start_s = end_s = None
    try:
        start_s, end_s = _seconds(row.get("start_s")), _seconds(row.get("end_s"))
        if end_s is not None and end_s <= (start_s or 0.0):
            raise ValueError(f"end_s {end_s:g} is not after start_s {start_s or 0:g}")
    except ValueError as error:
        start_s = start_s or 0.0  # still a part of a longer video, and matched to it
        fault = (ConfigError.__name__, f"{where}: {error}; expected seconds on the video's clock, end after start")
    word = (row.get("split") or row.get("mode") or "").strip()
    split = split_name(word)
    return Transcript(
        where=where,
        video_id=ids[0],
        clip_id=ids[1],
        text=row.get("text") if (row.get("text") or "").strip() else None,
        start_s=start_s,
        end_s=end_s,
        language=row.get("language") or None,
        split=split,
        unknown_split=word if word and split is None else None,
        fault=fault,
    )


def with_transcript(clip: Clip, row: Transcript) -> Clip:
    """Return the clip with what the row says; what it leaves out stays, such as the cut of a table of videos."""
    is_cut = row.start_s is not None or row.end_s is not None
    return replace(
        clip,
        text=clip.text if row.text is None else row.text,
        start_s=row.start_s or 0.0 if is_cut else clip.start_s,
        end_s=row.end_s if is_cut else clip.end_s,
        language=row.language or clip.language,
        split=row.split or clip.split,
        fault=clip.fault or row.fault,
    )


def _seconds(text: str | None) -> float | None:
    if text is None or not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{text!r} is not a time")
    return value
