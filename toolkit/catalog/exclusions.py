"""Which clips the user leaves out, and why: a table of such clips, or the decisions on what `fmltk curate` listed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.table_join import MeantClips
from fmltk.toolkit.catalog.transcripts import transcript_of_row
from fmltk.toolkit.clip import Clip, split_utterance_id, utterance_id
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.io.fields import open_fields
from fmltk.toolkit.io.table_kinds import EXCLUDED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from fmltk.toolkit.catalog.transcripts import Transcript
    from fmltk.toolkit.io.paths import AnyPath

KEEP, EXCLUDE = DECISIONS = ("keep", "exclude")
NO_REASON = "no reason given"
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Exclusions:
    """The clips that a table leaves out.

    Attributes
    ----------
    reasons
        By utterance_id, why: the reasons of all its rows.
    unknown
        Names in the table that are not among the clips.
    notes
        How the table is understood, one line each.
    undecided
        The remark on a table whose column decision is empty; "" of others.
    table
        The file's name; "" without a file.
    """

    reasons: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    undecided: str = ""
    table: str = ""

    def remarks(self) -> tuple[str, ...]:
        """Return what people must know of the clips that are left out."""
        said = [self.undecided] if self.undecided else []
        for what, where, ids in (
            ("clip", "left out", [f"{one} ({why})" for one, why in sorted(self.reasons.items())]),
            ("name", "not among the clips", list(self.unknown)),
        ):
            if ids:
                named = ", ".join(ids[:_NAMED]) + (", ..." if len(ids) > _NAMED else "")
                said.append(f"{where}, as {self.table} says: {counted(len(ids), what)}: {named}")
        return tuple(said)


@dataclass(frozen=True, slots=True)
class _Row:
    named: Transcript
    reason: str
    decision: str


def read_exclusions(
    clips: ClipList,
    table: AnyPath,
    *,
    encoding: str | None = None,
    ignored: Collection[str] | None = None,
) -> Exclusions:
    """Return which of these clips a table leaves out.

    Without a column decision every row leaves its clip out. With one, a row does that says exclude; an empty cell
    decides nothing, so that of a clip with several rows one is enough.

    ignored : names of columns that are left out

    Raises ConfigError if the table cannot be read, a decision is another word, or one row keeps the clip that another
    excludes.
    """
    with open_fields(table, EXCLUDED, encoding=encoding, ignored=ignored) as opened:
        decides = "decision" in opened.columns.used
        written = [
            _Row(
                transcript_of_row(where, fields),
                fields.get("reason") or NO_REASON,
                _decision(where, fields["decision"] if decides else EXCLUDE),
            )
            for where, fields in opened
        ]
        notes = opened.notes()
    rows = [row for row in written if row.decision]
    undecided = ""
    if written and not rows:
        undecided = (
            f"{table.name}: the column decision is empty, so no clip is left out; fill in {' or '.join(DECISIONS)}"
        )
    ids = [utterance_id(row.named.video_id, row.named.clip_id) for row in rows]
    exact = [clips.find(key) if row.named.has_ids else None for row, key in zip(rows, ids, strict=True)]
    unclear = [row.named for row, own in zip(rows, exact, strict=True) if own is None]
    meant = MeantClips(unclear, clips, [own for own in exact if own is not None])
    unknown: dict[str, None] = {}
    of_clips: dict[str, list[_Row]] = {}
    for row, key, own in zip(rows, ids, exact, strict=True):
        clip = meant.file(row.named)[1] if own is None else None
        if own is not None or clip is not None:
            of_clips.setdefault(key if clip is None else clip.utterance_id, []).append(row)
        elif row.decision == EXCLUDE:
            unknown[row.named.file or key] = None
    reasons = {one: why for one, own in of_clips.items() if (why := _reason(one, own))}
    notes += [f"{table.name}: {note}" for note in meant.notes()]
    return Exclusions(reasons, tuple(unknown), tuple(notes), undecided, table.name)


def exclusions_of(features: AnyPath, table: AnyPath | None) -> Exclusions:
    """Return which clips of a feature folder a table leaves out (see `read_exclusions`); none without a table.

    Raises StoreError if `features` is not a feature folder.
    """
    if table is None:
        return Exclusions()
    manifest = read_features(features).manifest(["utterance_id", "source"])
    clips = ClipList(
        Clip(*split_utterance_id(utterance), None, source=source if isinstance(source, str) else "")
        for utterance, source in zip(manifest["utterance_id"], manifest["source"], strict=True)
    )
    return read_exclusions(clips, table)


def _decision(where: str, cell: str) -> str:
    word = cell.strip().casefold()
    if word and word not in DECISIONS:
        raise ConfigError(f"{where}: the decision is {cell.strip()!r}; expected keep, exclude or an empty cell")
    return word


def _reason(utterance: str, rows: Sequence[_Row]) -> str:
    """Return why a clip is left out; "" where it is kept."""
    excluding = [row for row in rows if row.decision == EXCLUDE]
    keeping = [row for row in rows if row.decision == KEEP]
    if excluding and keeping:
        raise ConfigError(
            f"{excluding[0].named.where} excludes {utterance}, which {keeping[0].named.where} keeps; decide once"
        )
    return "; ".join(dict.fromkeys(row.reason for row in excluding))
