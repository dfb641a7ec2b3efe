"""The rows of a table and the clips that they name: by their ids as written, else where only one can be meant."""

from __future__ import annotations

from array import array
from dataclasses import replace
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.catalog.transcripts import with_transcript
from fmltk.toolkit.clip import WHOLE, Clip, utterance_id
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.matching import Matches, id_form, match_names, path_form
from fmltk.toolkit.packed import PackedList

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from fmltk.toolkit.catalog.transcripts import Transcript
    from fmltk.toolkit.catalog.video_files import VideoFiles
    from fmltk.toolkit.matching import Form, Name

_EXAMPLES = 2
_NAMED = 4
_NONE = -1  # the position of the clip of a row that names none


def join_transcripts(clips: ClipList, rows: Iterable[Transcript], files: VideoFiles, *, name: str) -> ClipList:
    """Give each clip its row, and each row its file: of its own ids, of its whole video, or named <video>_<clip>.

    name : of the table; what is odd, and what is understood, is added to the problems and notes of `files`

    Raises ConfigError if there are rows and none of them names a clip.
    """
    given: PackedList[Transcript] = PackedList()
    exact = array("i")  # the position of the clip that each row names by its ids as they are written
    unclear = []
    for row in rows:
        given.append(row)
        own = _position_of(row, clips)
        exact.append(_NONE if own is None else own)
        if own is None:
            unclear.append(row)
    meant = MeantClips(unclear, clips, exact)
    joined, first_rows = ClipList(), array("i")  # and the number of each one's row
    joined_as = array("i", [_NONE]) * len(clips)  # the position in `joined` of each id of `clips`
    faults: dict[int, tuple[str, str]] = {}
    used = bytearray(len(clips))
    for number, (written, own) in enumerate(zip(given, exact, strict=True)):
        row, position = (written, own) if own != _NONE else meant.position(written)
        file = None if position is None else clips[position]
        key = utterance_id(row.video_id, row.clip_id)
        same_id = position if file is not None and file.utterance_id == key else clips.find(key)
        if file is None and same_id is not None:  # a clip of that name is there, but the row may not be its own
            files.problems.append(meant.problem(row, key))
            continue
        held = joined.find(key) if same_id is None else joined_as[same_id]
        if held is not None and held != _NONE:
            fault = _note_twice(given[first_rows[held]], row, files.problems)
            faults |= {} if fault is None else {held: fault}
            continue
        if row.unknown_split is not None:
            message = f"{row.where}: the split {row.unknown_split!r} is not train, valid or test"
            files.problems.append(Problem("unknown-split", key, message))
        if file is None:
            files.problems.append(meant.problem(row, key))
        if position is not None:
            used[position] = True
        if same_id is not None:
            joined_as[same_id] = len(joined)
        first_rows.append(number)
        joined.append(_joined(file, row))
    if given and not any(used):
        raise ConfigError(_none_matches(name, unclear, clips))
    files.notes += [f"{name}: {note}" for note in meant.notes()]
    if faults:
        joined = ClipList(replace(clip, fault=faults.get(n, clip.fault)) for n, clip in enumerate(joined))
    for position, is_used in enumerate(used):
        if not is_used and joined_as[position] == _NONE:
            joined.append(clips[position])
    return joined


def _joined(file: Clip | None, row: Transcript) -> Clip:
    """Return the clip of a row: its file's, under the row's ids."""
    if file is None:
        file = Clip(row.video_id, row.clip_id, None)
    elif (file.video_id, file.clip_id) != (row.video_id, row.clip_id):
        file = replace(file, video_id=row.video_id, clip_id=row.clip_id)
    return with_transcript(file, row)


def _content(row: Transcript) -> tuple[object, ...]:
    """Return the content of a row, ids apart, whichever line and file name it has."""
    return row.text, row.start_s, row.end_s, row.language, row.split, row.unknown_split, row.fault, row.has_ids


def _position_of(row: Transcript, clips: ClipList) -> int | None:
    """Return the position of the clip that a row's ids name as they are written."""
    if not row.has_ids:
        return None
    own = clips.find(utterance_id(row.video_id, row.clip_id))
    if own is not None:
        return own
    if row.is_cut:
        return clips.find(utterance_id(row.video_id, WHOLE))
    return clips.find(utterance_id(f"{row.video_id}_{row.clip_id}", WHOLE))


class MeantClips:
    """Return the clips that rows mean whose ids are not a clip's as written: one candidate on both sides, or none."""

    def __init__(self, rows: Sequence[Transcript], clips: ClipList, exact: Iterable[int]) -> None:
        """Find them.

        exact : the positions of the clips that other rows name as they are written; -1 of rows that name none
        """
        self._clips = clips
        names = map(_name, clips.values("video_id"), clips.values("clip_id")) if rows else ()
        self._positions = {name: position for position, name in enumerate(names)}
        taken = set(exact) if rows else set()
        free = [name for name, position in self._positions.items() if position not in taken]
        by_ids = {_name_of(row): _forms(row) for row in rows if row.has_ids}
        self._by_ids = match_names(by_ids, free)
        videos: dict[Name, list[Form]] = {
            (row.video_id,): [id_form(row.video_id, WHOLE)] for row in rows if row.has_ids and row.is_cut
        }
        self._by_video = match_names(videos, free)
        files: dict[Name, list[Form]] = {(row.file,): [path_form(row.file)] for row in rows if row.file}
        self._by_file = match_names(files, self._positions, by_file_name=True)

    def position(self, row: Transcript) -> tuple[Transcript, int | None]:
        """Return what `file` does, with the position of the clip."""
        found, clip = self.file(row)
        return found, None if clip is None else self._clips.find(clip.utterance_id)

    def file(self, row: Transcript) -> tuple[Transcript, Clip | None]:
        """Return a row with the ids of the clip that it means, and that clip; None where there is none or several."""
        if clip := self._found(self._by_ids, _name_of(row)):
            is_joined = clip.clip_id == WHOLE and row.clip_id != WHOLE  # video 3, clip 7 is the file 3_7.mp4
            return (row if is_joined else _with_ids(row, clip)), clip
        if row.is_cut and (clip := self._found(self._by_video, (row.video_id,))):
            return replace(row, video_id=clip.video_id), clip
        if row.file and (clip := self._found(self._by_file, (row.file,))):
            if row.has_ids:
                return row, clip
            if row.clip_id in (WHOLE, clip.clip_id):
                return _with_ids(row, clip), clip
            video_id = clip.video_id if clip.clip_id == WHOLE else f"{clip.video_id}_{clip.clip_id}"
            return replace(row, video_id=video_id), clip
        return row, None

    def _found(self, matches: Matches, name: Name) -> Clip | None:
        return self._clips[self._positions[matches.found[name]]] if name in matches.found else None

    def problem(self, row: Transcript, key: str) -> Problem:
        """Return what is said of a row whose clip is not found."""
        several = (
            self._by_ids.several.get(_name_of(row))
            or self._by_video.several.get((row.video_id,))
            or self._by_file.several.get((row.file or "",))
        )
        if several is None:
            expected = row.file or f"{row.video_id}/{row.clip_id}.mp4 or another container"
            return Problem("no-video", key, f"{row.where}: no video for {key}; expected {expected}")
        named = ", ".join(sorted(self._clips[self._positions[name]].source for name in several)[:_NAMED])
        reason = "several clips may be it" if len(several) > 1 else "several rows may be it"
        message = f"{row.where}: {row.file or key} is like {named}, but {reason}; write the ids as the files have them"
        return Problem("ambiguous-id", key, message)

    def notes(self) -> list[str]:
        """Return what is said of the rows that are understood."""
        return list(dict.fromkeys((*self._by_ids.notes, *self._by_video.notes, *self._by_file.notes)))


def _forms(row: Transcript) -> list[Form]:
    own = id_form(row.video_id, row.clip_id)
    return [own] if row.is_cut else [own, ((f"{row.video_id}_{row.clip_id}",), 1)]


def _name(video_id: str, clip_id: str) -> Name:
    return (video_id,) if clip_id == WHOLE else (video_id, clip_id)


def _name_of(row: Transcript) -> Name:
    return _name(row.video_id, row.clip_id)


def _with_ids(row: Transcript, clip: Clip) -> Transcript:
    return replace(row, video_id=clip.video_id, clip_id=clip.clip_id)


def _note_twice(first: Transcript, row: Transcript, problems: list[Problem]) -> tuple[str, str] | None:
    """Add the problem of a row that repeats the ids of another; return the clip's fault if they differ."""
    key = utterance_id(row.video_id, row.clip_id)
    message, fault = f"{row.where} repeats the id {key} of {first.where}", None
    if _content(row) != _content(first):
        message += " with another content; keep one of the two"
        if row.is_cut:
            message += ", or give each part of a video a clip_id of its own"
        fault = (ConfigError.__name__, message)
    problems.append(Problem("duplicate-id", key, message))
    return fault


def _none_matches(name: str, rows: Sequence[Transcript], clips: ClipList) -> str:
    written = ", ".join(dict.fromkeys(row.file or utterance_id(row.video_id, row.clip_id) for row in rows[:_EXAMPLES]))
    found = ", ".join(f"{clip.utterance_id} ({clip.source})" for clip in clips[:_EXAMPLES])
    return (
        f"{name}: none of its {len(rows)} rows names a clip. Its rows name {written}; the clips are {found}. Write "
        "video_id and clip_id as in these clips, or the file names, or give the folder that the table belongs to"
    )
