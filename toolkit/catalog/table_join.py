"""The rows of a table and the clips that they name: by their ids as written, else where only one can be meant."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.matching import Matches, id_form, match_names, path_form
from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.catalog.transcripts import with_transcript
from fmltk.toolkit.clip import WHOLE, Clip, utterance_id
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fmltk.toolkit.catalog.matching import Form, Name
    from fmltk.toolkit.catalog.transcripts import Transcript
    from fmltk.toolkit.catalog.video_files import VideoFiles

_EXAMPLES = 2
_NAMED = 4


def join_transcripts(clips: list[Clip], rows: Iterable[Transcript], files: VideoFiles, *, name: str) -> list[Clip]:
    """Give each clip its row, and each row its file: of its own ids, of its whole video, or named <video>_<clip>.

    name : of the table; what is odd, and what is understood, is added to the problems and notes of `files`

    Raises ConfigError if there are rows and none of them names a clip.
    """
    given: deque[Transcript] = deque(rows)
    n_rows = len(given)
    by_id = {clip.utterance_id: clip for clip in clips}
    exact = [_file_of(row, by_id) for row in given]
    unclear = [row for row, own in zip(given, exact, strict=True) if own is None]
    meant = MeantClips(unclear, clips if unclear else [], exact if unclear else [])
    joined: dict[str, Clip] = {}
    first_rows: dict[str, tuple[str, int]] = {}  # of each clip: where its row is, and what stands for its content
    used: set[str] = set()
    for own in exact:
        written = given.popleft()  # a million rows are not held next to their clips
        row, file = (written, own) if own is not None else meant.file(written)
        key = utterance_id(row.video_id, row.clip_id)
        if file is None and key in by_id:  # a clip of that name is there, but the row may not be its own
            files.problems.append(meant.problem(row, key))
            continue
        if key in first_rows:
            _note_twice(joined, first_rows[key], row, files.problems)
            continue
        first_rows[key] = row.where, _content(row)
        if row.unknown_split is not None:
            message = f"{row.where}: the split {row.unknown_split!r} is not train, valid or test"
            files.problems.append(Problem("unknown-split", key, message))
        if file is None:
            files.problems.append(meant.problem(row, key))
            joined[key] = with_transcript(Clip(row.video_id, row.clip_id, None), row)
        else:
            used.add(key if key in by_id and by_id[key] is file else file.utterance_id)
            is_own = (row.video_id, row.clip_id) == (file.video_id, file.clip_id)  # then its texts are shared
            clip = file if is_own else replace(file, video_id=row.video_id, clip_id=row.clip_id)
            joined[key] = with_transcript(clip, row)
    if n_rows and not used:
        raise ConfigError(_none_matches(name, unclear, clips))
    files.notes += [f"{name}: {note}" for note in meant.notes()]
    rest = [clip for key, clip in by_id.items() if key not in used and key not in joined]
    return [*joined.values(), *rest]


def _content(row: Transcript) -> int:
    """Return what stands for the content of a row, ids apart, whichever line and file name it has."""
    fields = (row.text, row.start_s, row.end_s, row.language, row.split, row.unknown_split, row.fault, row.has_ids)
    return hash(fields)


def _file_of(row: Transcript, by_id: Mapping[str, Clip]) -> Clip | None:
    """Return the clip that a row's ids name as they are written."""
    if not row.has_ids:
        return None
    own = by_id.get(utterance_id(row.video_id, row.clip_id))
    if own is not None:
        return own
    if row.is_cut:
        return by_id.get(utterance_id(row.video_id, WHOLE))
    return by_id.get(utterance_id(f"{row.video_id}_{row.clip_id}", WHOLE))


class MeantClips:
    """Return the clips that rows mean whose ids are not a clip's as written: one candidate on both sides, or none."""

    def __init__(self, rows: Sequence[Transcript], clips: Sequence[Clip], exact: Sequence[Clip | None]) -> None:
        self._clips = {_name(clip): clip for clip in clips}
        taken = {_name(clip) for clip in exact if clip is not None}
        free = [name for name in self._clips if name not in taken]
        by_ids = {_name(row): _forms(row) for row in rows if row.has_ids}
        self._by_ids = match_names(by_ids, free)
        videos: dict[Name, list[Form]] = {
            (row.video_id,): [id_form(row.video_id, WHOLE)] for row in rows if row.has_ids and row.is_cut
        }
        self._by_video = match_names(videos, free)
        files: dict[Name, list[Form]] = {(row.file,): [path_form(row.file)] for row in rows if row.file}
        self._by_file = match_names(files, self._clips, by_file_name=True)

    def file(self, row: Transcript) -> tuple[Transcript, Clip | None]:
        """Return a row with the ids of the clip that it means, and that clip; None where there is none or several."""
        if clip := self._found(self._by_ids, _name(row)):
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
        return self._clips[matches.found[name]] if name in matches.found else None

    def problem(self, row: Transcript, key: str) -> Problem:
        """Return what is said of a row whose clip is not found."""
        several = (
            self._by_ids.several.get(_name(row))
            or self._by_video.several.get((row.video_id,))
            or self._by_file.several.get((row.file or "",))
        )
        if several is None:
            expected = row.file or f"{row.video_id}/{row.clip_id}.mp4 or another container"
            return Problem("no-video", key, f"{row.where}: no video for {key}; expected {expected}")
        named = ", ".join(sorted(self._clips[name].source for name in several)[:_NAMED])
        reason = "several clips may be it" if len(several) > 1 else "several rows may be it"
        message = f"{row.where}: {row.file or key} is like {named}, but {reason}; write the ids as the files have them"
        return Problem("ambiguous-id", key, message)

    def notes(self) -> list[str]:
        """Return what is said of the rows that are understood."""
        return list(dict.fromkeys((*self._by_ids.notes, *self._by_video.notes, *self._by_file.notes)))


def _forms(row: Transcript) -> list[Form]:
    own = id_form(row.video_id, row.clip_id)
    return [own] if row.is_cut else [own, ((f"{row.video_id}_{row.clip_id}",), 1)]


def _name(one: Clip | Transcript) -> Name:
    return (one.video_id,) if one.clip_id == WHOLE else (one.video_id, one.clip_id)


def _with_ids(row: Transcript, clip: Clip) -> Transcript:
    return replace(row, video_id=clip.video_id, clip_id=clip.clip_id)


def _note_twice(joined: dict[str, Clip], first: tuple[str, int], row: Transcript, problems: list[Problem]) -> None:
    key = utterance_id(row.video_id, row.clip_id)
    where, content = first
    message = f"{row.where} repeats the id {key} of {where}"
    if _content(row) != content:
        message += " with another content; keep one of the two"
        if row.is_cut:
            message += ", or give each part of a video a clip_id of its own"
        joined[key] = replace(joined[key], fault=(ConfigError.__name__, message))
    problems.append(Problem("duplicate-id", key, message))


def _none_matches(name: str, rows: Sequence[Transcript], clips: Sequence[Clip]) -> str:
    written = ", ".join(dict.fromkeys(row.file or utterance_id(row.video_id, row.clip_id) for row in rows[:_EXAMPLES]))
    found = ", ".join(f"{clip.utterance_id} ({clip.source})" for clip in clips[:_EXAMPLES])
    return (
        f"{name}: none of its {len(rows)} rows names a clip. Its rows name {written}; the clips are {found}. Write "
        "video_id and clip_id as in these clips, or the file names, or give the folder that the table belongs to"
    )
