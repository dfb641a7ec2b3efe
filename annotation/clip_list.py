"""The clips that raters were given: what was prepared or extracted, also where nobody rated it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.transcripts import transcript_of_row
from fmltk.toolkit.clip import split_utterance_id, utterance_id
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.features.layout import MANIFEST_FILE
from fmltk.toolkit.io.fields import open_fields
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.io.table_kinds import CLIPS
from fmltk.toolkit.matching import align_ids

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

STIMULI_FILE = "stimuli.jsonl"  # in the folder that `prepare` writes: a line per clip
_EXAMPLES = 3


@dataclass(frozen=True)
class ClipList:
    """Clips by utterance_id, as the ratings write it, and what people should know of the list.

    Attributes
    ----------
    ids
        (video_id, clip_id) of each clip, by utterance_id.
    unlisted
        Clips that were rated and are not on the list.
    notes
        How the list is understood, one line each.
    """

    ids: dict[str, tuple[str, str]]
    unlisted: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def warnings(self) -> list[str]:
        """Return what is said of clips that are not on the list."""
        if not self.unlisted:
            return []
        return [
            f"clips that were rated and are not on the list of clips ({len(self.unlisted)}): {_some(self.unlisted)}"
        ]


def read_clip_list(path: Path, rated: Collection[str]) -> ClipList:
    """Read the folder that `annotation prepare` or `extract` wrote, or a table with the clips' ids.

    rated : the utterance ids of the ratings, by which ids that are written in another way are understood

    Raises AnnotationError without a list, or if none of its clips was rated.
    """
    utterances, notes = _listed(path)
    if not utterances:
        raise AnnotationError(f"{path} lists no clip; give the folder that prepare or extract wrote, or a table of ids")
    renamed, remarks = align_ids(utterances, rated)
    names = dict.fromkeys(renamed.get(name, name) for name in utterances)
    unlisted = sorted(set(rated) - names.keys())
    if rated and len(unlisted) == len(set(rated)):
        raise AnnotationError(
            f"none of the clips of {path} was rated: it lists {_some(utterances)}; rated are {_some(unlisted)}; give "
            "the list of the clips that annotators were given"
        )
    return ClipList({name: split_utterance_id(name) for name in names}, tuple(unlisted), (*notes, *remarks))


def _some(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:_EXAMPLES]) + (", ..." if len(names) > _EXAMPLES else "")


def _listed(path: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the utterance ids of a list, and what is said of its columns."""
    tables = [path / STIMULI_FILE, path / MANIFEST_FILE] if path.is_dir() else [path]
    table = next((one for one in tables if one.is_file()), None)
    if table is None:
        raise AnnotationError(
            f"{path} is not a list of clips: it has neither {STIMULI_FILE} nor {MANIFEST_FILE}; give the folder that "
            "`fmltk annotation prepare` or `fmltk extract` wrote, or a table with the clips' ids"
        )
    with open_fields(locate(table), CLIPS, error=AnnotationError) as rows:
        named = [transcript_of_row(where, row) for where, row in rows]
        notes = () if table.name in (STIMULI_FILE, MANIFEST_FILE) else tuple(rows.notes())
    return list(dict.fromkeys(utterance_id(row.video_id, row.clip_id) for row in named)), notes
