"""The rows of a table, one per clip, as they are meant: several files of one video, splits under any name."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING

from fmltk.toolkit.clip import composed, split_name, without_ending

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fmltk.toolkit.io.fields import FieldRows

    Row = tuple[str, dict[str, str]]

IGNORE_COLUMN = "use --ignore-columns"
REMOVE_COLUMN = "remove the column"


def clip_rows(table: FieldRows, *, file: str = "file", remedy: str = REMOVE_COLUMN) -> Iterator[Row]:
    """Yield where each row stands, and its cells by field.

    In a table of videos and files without clip_id and utterance_id, in which a video has several files, the names of
    the files are the clip_ids; a file of the video's own name is the whole video.

    file : the field that names files; remedy : for a column that means something else than it seems to

    Raises the table's error as its rows do, and at its end where a column that is not read holds train and the other
    splits.
    """
    used = table.columns.used.keys()
    if {"video_id", file} <= used and used.isdisjoint(("clip_id", "utterance_id")):
        yield from _named_by_file(list(table), file)
    else:
        yield from table
    _refuse_unread_split(table, remedy)


def _named_by_file(rows: Sequence[Row], file: str) -> Iterator[Row]:
    files: defaultdict[str, set[str]] = defaultdict(set)
    for _, row in rows:
        if row.get("video_id"):
            files[row["video_id"]].add(_stem(row.get(file, "")))
    are_clips = any(len(names) > 1 for names in files.values())
    for where, row in rows:
        video_id, stem = row.get("video_id", ""), _stem(row.get(file, ""))
        is_clip = are_clips and video_id and stem and stem != composed(video_id)
        yield where, {**row, "clip_id": stem} if is_clip else row


def _stem(path: str) -> str:
    return composed(without_ending(re.split(r"[/\\]", path.strip())[-1]))


def _refuse_unread_split(table: FieldRows, remedy: str) -> None:
    for column, values in table.few_values.items():
        splits = {split_name(value) for value in values}
        if "split" not in table.columns.used and "train" in splits and len(splits) > 1 and None not in splits:
            way = f"{remedy} {column!r}" if remedy == IGNORE_COLUMN else remedy
            raise table.error(
                f"{table.table.name}: the column {column!r} holds {', '.join(sorted(values))}, but is not read; name "
                f"it split, or {way}"
            )
