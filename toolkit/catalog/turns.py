"""Who speaks when, as the user says it: RTTM files, or a table with a row per turn.

A turn that is not understood is refused with its line: a wrong speaker would spoil features without a word.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.transcripts import times_of_row
from fmltk.toolkit.clip import Turn, composed, ids_of_row, utterance_id, without_ending
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.cells import parse_time
from fmltk.toolkit.io.columns import find_columns
from fmltk.toolkit.io.encodings import open_text
from fmltk.toolkit.io.fields import open_fields
from fmltk.toolkit.io.table_kinds import TURN_PEOPLE, TURNS
from fmltk.toolkit.io.tables import open_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath

RTTM_SUFFIX = ".rttm"
_RTTM_FIELDS = "SPEAKER file 1 start duration <NA> <NA> name <NA> <NA>"
_N_FIELDS = 8  # up to the name; what follows may be left out
_COMMENT = ";"
ROUNDING_S = 0.002  # times are written to the millisecond


@dataclass(frozen=True)
class WrittenTurn:
    """A turn as a file has it: of which clip or file, and where it stands, for messages.

    `turn.end_s` is infinite where a row names a clip and no times: the clip is one turn.
    """

    where: str
    of: str
    turn: Turn
    is_whole: bool = False


def read_turns(path: AnyPath, *, encoding: str | None = None) -> list[WrittenTurn]:
    """Return the turns of an RTTM file, of a folder of such files, or of a table.

    A table has a row per turn: a clip or video (as a table of transcripts names it), start_s and end_s on the file's
    clock, and speaker. A row without times says that the clip is one turn of that speaker.

    Raises ConfigError, with the line, for what is not a turn.
    """
    if isinstance(path, Path) and path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() == RTTM_SUFFIX)
        if not files:
            raise ConfigError(f"--turns {path}: the folder holds no {RTTM_SUFFIX} file")
        return [turn for file in files for turn in _rttm_turns(file, encoding)]
    is_rttm = path.suffix.lower() == RTTM_SUFFIX
    found = list(_rttm_turns(path, encoding) if is_rttm else _table_turns(path, encoding))
    if not found:
        raise ConfigError(f"--turns {path}: the file holds no turn; expected lines such as {_RTTM_FIELDS}, or a table")
    return found


def _rttm_turns(path: AnyPath, encoding: str | None) -> Iterator[WrittenTurn]:
    with open_text(path, encoding=encoding) as text:
        for number, line in enumerate(text.lines, start=1):
            where, fields = f"{path.name} line {number}", line.split()
            if not fields or fields[0].startswith(_COMMENT) or (fields[0].isupper() and fields[0] != "SPEAKER"):
                continue  # RTTM has other kinds of lines, such as SPKR-INFO and LEXEME
            if fields[0] != "SPEAKER" or len(fields) < _N_FIELDS:
                raise ConfigError(f"{where} is not a turn: {line.strip()[:80]!r}; expected {_RTTM_FIELDS}")
            try:
                start_s, duration_s = parse_time(fields[3]), parse_time(fields[4])
            except ValueError as error:
                raise ConfigError(f"{where}: {error}; expected {_RTTM_FIELDS}") from error
            yield _checked(WrittenTurn(where, composed(fields[1]), Turn(start_s, start_s + duration_s, fields[7])))


def _table_turns(path: AnyPath, encoding: str | None) -> Iterator[WrittenTurn]:
    with open_fields(path, TURNS, encoding=encoding) as table:
        if "speaker" not in table.columns.used:
            raise ConfigError(f"{path} has no column speaker; a {TURNS.what} has {TURNS.expected}")
        for where, row in table:
            ids = ids_of_row(row)
            of = row.get("file") or (
                row["video_id"] if ids and _names_a_video(row) else utterance_id(*ids) if ids else ""
            )
            if not of:
                raise ConfigError(f"{where} names no clip; a {TURNS.what} has {TURNS.expected}")
            try:
                start_s, end_s = times_of_row(row, table.separator)
                person = int(row["person"]) if (row.get("person") or "").strip() else None
            except ValueError as error:
                raise ConfigError(f"{where}: {error}; expected seconds or hh:mm:ss on the file's clock") from error
            is_whole = start_s is None and end_s is None
            end_s = float("inf") if end_s is None else end_s
            turn = Turn(start_s or 0.0, end_s, (row.get("speaker") or "").strip(), person)
            yield _checked(WrittenTurn(where, composed(of), turn, is_whole=is_whole))


def _names_a_video(row: Mapping[str, str]) -> bool:
    return bool(row.get("video_id")) and not row.get("clip_id") and not row.get("utterance_id")


def _checked(one: WrittenTurn) -> WrittenTurn:
    turn = one.turn
    if not turn.name:
        raise ConfigError(f"{one.where}: the turn has no speaker; name who speaks, or take the line out")
    if not turn.end_s > turn.start_s:
        raise ConfigError(
            f"{one.where}: the turn of {turn.name!r} ends at {turn.end_s:g} s, not after {turn.start_s:g} s"
        )
    if turn.person is not None and turn.person < 0:
        raise ConfigError(f"{one.where}: person is {turn.person}; expected a number of faces.parquet, from 0")
    return one


def name_people(written: Iterable[WrittenTurn], path: AnyPath, *, encoding: str | None = None) -> list[WrittenTurn]:
    """Return the turns with the person whose name each is, as a table of name and person says.

    Raises ConfigError, with the line, for a row that is not understood or names nobody who has a turn.
    """
    written, people = list(written), {}
    names = {(of, one.turn.name) for one in written for of in (one.of, "")}
    with open_rows(path, encoding=encoding) as table:
        columns = find_columns(TURN_PEOPLE, table.header, table=path.name)
        if not {"speaker", "person"} <= columns.used.keys():
            raise ConfigError(f"{path} has no columns name and person; a {TURN_PEOPLE.what} has {TURN_PEOPLE.expected}")
        for where, cells in table.rows:
            row = columns.fields(cells)
            of = composed(row.get("utterance_id") or row.get("video_id") or "")
            name, number = row.get("speaker", "").strip(), row.get("person", "").strip()
            if not number.isdecimal():
                raise ConfigError(f"{where}: person is {number!r}; expected a number of faces.parquet, from 0")
            if (of, name) not in names:
                raise ConfigError(
                    f"{where}: {name!r} has no turn{f' in {of!r}' if of else ''}; is it spelled as there?"
                )
            people[of, name] = int(number)
    return [
        replace(
            one, turn=one.turn._replace(person=people.get((one.of, one.turn.name), people.get(("", one.turn.name))))
        )
        if one.turn.person is None
        else one
        for one in written
    ]


def with_turns(clips: Sequence[Clip], written: Iterable[WrittenTurn]) -> list[Clip]:
    """Return the clips with the turns of their files.

    A turn names a clip by its id, a video by its id where that is one file, or the file. The turns of a file are those
    of each clip that is cut from it.

    Raises ConfigError, with the line, for a turn that names no clip or several files, and for turns that overlap.
    """
    known = _names(clips)
    by_file: defaultdict[str, list[WrittenTurn]] = defaultdict(list)
    of_clip: dict[str, WrittenTurn] = {}
    for one in written:
        meant = known.get(one.of) or known.get(without_ending(one.of.replace("\\", "/").rpartition("/")[2])) or []
        files = list(dict.fromkeys(clip.source for clip in meant))
        if len(files) != 1:
            what = f"is of {len(files)} files" if files else "is of no clip that there is"
            example = clips[0].utterance_id if clips else "a clip's id"
            raise ConfigError(f"{one.where}: the turn of {one.of!r} {what}; expected an id such as {example!r}")
        if one.is_whole:
            _once(of_clip, meant[0], one)
        else:
            by_file[files[0]].append(one)
    for turns in by_file.values():
        _check_order(turns)
    return [replace(clip, turns=_turns_of(clip, by_file.get(clip.source, []), of_clip)) for clip in clips]


def _names(clips: Iterable[Clip]) -> dict[str, list[Clip]]:
    """Return the clips by every name that turns may have for them."""
    known: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        stem = without_ending(clip.source.rpartition("/")[2])
        for name in {clip.utterance_id, clip.video_id, clip.source, stem}:
            known[name].append(clip)
    for clip in clips:
        known[clip.utterance_id] = [clip]
    return known


def _once(of_clip: dict[str, WrittenTurn], clip: Clip, one: WrittenTurn) -> None:
    first = of_clip.setdefault(clip.utterance_id, one)
    if first.turn.name != one.turn.name:
        raise ConfigError(
            f"{one.where}: {clip.utterance_id} is one turn of {one.turn.name!r}, and of {first.turn.name!r} in "
            f"{first.where}; give start_s and end_s, or take one out"
        )


def _check_order(turns: list[WrittenTurn]) -> None:
    turns.sort(key=lambda one: (one.turn.start_s, one.turn.end_s))
    for before, after in pairwise(turns):
        if after.turn.start_s < before.turn.end_s - ROUNDING_S:
            raise ConfigError(
                f"{after.where}: the turn of {after.turn.name!r} from {after.turn.start_s:g} s overlaps that of "
                f"{before.turn.name!r} until {before.turn.end_s:g} s ({before.where}); cut one of them short, or take "
                "out both: nobody is the speaker while two speak"
            )


def _turns_of(clip: Clip, of_file: Iterable[WrittenTurn], of_clip: Mapping[str, WrittenTurn]) -> tuple[Turn, ...]:
    end_s = float("inf") if clip.end_s is None else clip.end_s
    if clip.utterance_id in of_clip:
        return (of_clip[clip.utterance_id].turn._replace(start_s=clip.start_s, end_s=end_s),)
    return tuple(one.turn for one in of_file if one.turn.start_s < end_s and one.turn.end_s > clip.start_s)
