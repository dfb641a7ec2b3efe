"""Ratings from a data frame: its rows are read as those of a long table, but a row that is not a rating is an error."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.annotation.importing.import_files import RecordCollector
from fmltk.annotation.importing.label_studio import FileReport
from fmltk.annotation.importing.merging import merge_ratings
from fmltk.annotation.importing.rating_tables import long_columns, long_records
from fmltk.annotation.importing.records import REASONS, Drop
from fmltk.annotation.raters import RaterNames
from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.conditions import CH_SIMS_SCALE
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pandas as pd

    from fmltk.annotation.importing.merging import Merged
    from fmltk.toolkit.conditions import Scale

_NAME = Path("data frame")  # in messages


def ratings_of_frame(frame: pd.DataFrame, *, scale: Scale = CH_SIMS_SCALE) -> Merged:
    """Return the ratings of a data frame: one row per clip, condition and annotator, the latest of several.

    Parameters
    ----------
    frame
        The columns utterance_id (or video_id and clip_id), condition, annotator, value, and, where there are any,
        status (rated, skipped, empty, draft), scale, dimension, word, created_at, updated_at. A row without a value is
        an empty answer.
    scale
        The scale of rows that do not say theirs.

    Raises AnnotationError if a column is missing, or a row does not give a rating: the row, its value and the reason
    are named.
    """
    header = tuple(str(name) for name in frame.columns)
    table = Table(_NAME.name, header, _rows(frame, header))
    options = ImportOptions(default_scale=scale, names=RaterNames(keep_identities=True))  # nothing leaves the process
    columns = long_columns(table, options)
    if columns is None:
        raise AnnotationError(
            "a table of ratings has the columns utterance_id, condition, annotator and value, one row per rating; "
            f"this one has {', '.join(header) or 'none'}"
        )
    collector = RecordCollector(options.names.source)
    report = FileReport(_NAME.name)
    for item in long_records(table, columns, options, report):
        if isinstance(item, Drop):
            raise AnnotationError(f"{_explanation(item)}; a row that does not say its scale has {scale} (scale=)")
        collector.add(item)
    return merge_ratings(collector.table(), lambda drop: None)


def _rows(frame: pd.DataFrame, header: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield where each row stands, counted from 0, and its cells as texts; a missing cell is empty."""
    columns = [
        ["" if absent else str(value) for value, absent in zip(column.tolist(), column.isna().tolist(), strict=True)]
        for _, column in frame.items()
    ]
    for number, row in enumerate(zip(*columns, strict=True)):
        yield f"{_NAME} row {number}", dict(zip(header, row, strict=True))


def _explanation(drop: Drop) -> str:
    named = {"clip": drop.utterance_id, "condition": drop.condition, "annotator": drop.annotator, "value": drop.label}
    found = ", ".join(f"{name} {value!r}" for name, value in named.items() if value is not None)
    return f"{drop.where} is not a rating: {REASONS[drop.reason]}; found {found or 'nothing'}"
