"""From a folder of videos and a table of transcripts to a list of clips, every problem named before work begins."""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.duplicates import same_content
from fmltk.toolkit.catalog.transcripts import (
    SIDECAR_SUFFIXES,
    SUBTITLE_SUFFIXES,
    find_sidecar,
    read_cues,
    read_sidecar_text,
    read_transcripts,
    transcript_of_row,
)
from fmltk.toolkit.clip import WHOLE, Clip, composed, ids_of_row, utterance_id
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.layout import RUN_FILE, SHARD_FOLDER
from fmltk.toolkit.io.paths import RemotePath, join, locate
from fmltk.toolkit.io.tables import TABLE_SUFFIXES, read_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmltk.toolkit.catalog.transcripts import Cue, Transcript
    from fmltk.toolkit.io.paths import AnyPath

# Endings of the containers that media/process.py lets ffmpeg open.
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .qt .3gp .3g2 .mj2 .mkv .webm .avi .mpg .mpeg .mpe .m1v .m2v .vob .ts .m2ts .mts .flv .f4v "  # noqa: SIM905
    ".asf .wmv .ogv .ogg .ogm .mxf .dv .rm .rmvb .nut".split()
)
# What lies beside videos and is no surprise there: transcripts, tables, notes, pictures.
OTHER_SUFFIXES = frozenset((*SIDECAR_SUFFIXES, *TABLE_SUFFIXES, ".json", ".md", ".pdf", ".jpg", ".png", ".xlsx"))
RAW_FOLDER = "Raw"  # MMSA keeps its clips in Raw/<video_id>/<clip_id>.mp4


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about the input that the user should know before work begins.

    kind is one of: no-transcript, no-video, duplicate-id, same-content, unknown-split, ignored-file, excluded-unknown;
    and, once files are opened: unreadable, duration.
    """

    kind: str
    where: str
    message: str


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every clip of a run, sorted by utterance_id, and what is odd about the input."""

    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class _Files:
    """The video files found, by id, before transcripts are joined."""

    clips: list[Clip] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def build_catalog(
    videos: str | AnyPath,
    *,
    transcripts: str | AnyPath | None = None,
    cut_subtitles: bool = False,
    encoding: str | None = None,
    exclude: str | AnyPath | None = None,
) -> Catalog:
    """Return every clip that `videos` holds, joined with its transcript.

    Parameters
    ----------
    videos
        A video, a folder (flat, or ``<video_id>/<clip_id>.mp4``, also below ``Raw/``), or a table with a path column;
        these and the tables below may lie in a store (``s3://bucket/videos``).
    transcripts
        A table with video_id, clip_id, text, and optionally start_s, end_s, language, mode. Without it, .txt, .srt
        and .vtt files beside the videos are read.
    cut_subtitles
        One clip per subtitle cue, clip_id = four-digit cue number, in place of one clip per file.
    encoding
        Of the tables and sidecar files; recognised where it is None.
    exclude
        A table of (utterance_id or video_id and clip_id, reason); these clips are skipped, with the reason on record.

    Raises ConfigError if `videos` does not exist or holds no video, a table cannot be read, or cuts by subtitles are
    asked for beside a table of transcripts.
    """
    if cut_subtitles and transcripts is not None:
        raise ConfigError(
            "--cut subtitles takes texts and times from .srt and .vtt files beside the videos; leave out "
            "--transcripts, or give the table start_s and end_s"
        )
    root = locate(videos)
    files = _find_files(root, encoding)
    if not files.clips:
        raise ConfigError(
            f"no video in {root}; expected files such as clip.mp4, or <video_id>/<clip_id>.mp4 "
            f"({', '.join(sorted(VIDEO_SUFFIXES)[:8])}, ...)"
        )
    clips = _one_per_id(files.clips, files.problems)
    if transcripts is not None:
        clips = _join_table(clips, read_transcripts(locate(transcripts), encoding=encoding), files.problems)
    else:
        joined = _join_sidecars(clips, cut_subtitles=cut_subtitles, encoding=encoding)
        clips = _one_per_id(joined, files.problems)
    clips.sort(key=lambda clip: clip.utterance_id)
    if exclude is not None:
        clips = _exclude(clips, locate(exclude), encoding, files.problems)
    for clip in clips:
        if clip.text is None and clip.fault is None and clip.exclude_reason is None:
            files.problems.append(Problem("no-transcript", clip.utterance_id, "text is missing"))
    for clip, first in same_content(clips):
        message = f"{clip.source} has the same content as {first.source}"
        files.problems.append(Problem("same-content", clip.utterance_id, message))
    return Catalog(tuple(clips), tuple(files.problems))


def _find_files(root: AnyPath, encoding: str | None) -> _Files:
    try:
        is_folder, is_file, is_there = root.is_dir(), root.is_file(), _is_there(root)
    except OSError as error:
        raise ConfigError(f"cannot look at {root}: {error.strerror or error}") from error
    if root.suffix.lower() in TABLE_SUFFIXES and is_file:
        return _files_of_table(root, encoding)
    if is_folder:
        return _files_of_folder(root)
    if not is_there:
        raise ConfigError(f"{root} does not exist; give a video, a folder of videos or a table with a path column")
    if root.suffix.lower() in OTHER_SUFFIXES:
        raise ConfigError(
            f"{root} is no video by its name; give a video, a folder of videos or a table with a path column"
        )
    return _Files([Clip(composed(_readable(root.stem)), WHOLE, root, source=_readable(root.name))])


def _is_there(path: AnyPath) -> bool:
    return path.exists() if isinstance(path, RemotePath) else os.path.lexists(path)


def _files_of_folder(root: AnyPath) -> _Files:
    """List `root`, each folder in it, and each folder in its Raw/: deeper ones are named, not guessed at."""
    files = _Files()
    seen = {root.resolve()}
    try:
        _list_folder(root, root, None, files, seen)
    except OSError as error:
        raise ConfigError(f"cannot list {root}: {error.strerror or error}") from error
    return files


def _list_folder(root: AnyPath, folder: AnyPath, video_id: str | None, files: _Files, seen: set[AnyPath]) -> None:
    entries: list[AnyPath] = sorted(folder.iterdir(), key=lambda entry: os.fsencode(entry.name))
    if folder != root and {RUN_FILE, SHARD_FOLDER} <= {entry.name for entry in entries}:
        return  # features, made of these videos by `fmltk extract .`
    for path in entries:
        source = _readable(path.relative_to(str(root)).as_posix())
        if path.name.startswith("."):
            continue
        if path.is_dir():
            raw = video_id is None and path.name == RAW_FOLDER
            if video_id is not None:
                files.problems.append(
                    Problem("ignored-file", source, "is deeper than <video_id>/<clip_id>.mp4: not read")
                )
            elif _enter(path, seen, files, source):
                _list_below(root, path, None if raw else composed(_readable(path.name)), files, seen, source)
        elif path.suffix.lower() in VIDEO_SUFFIXES:
            stem = composed(_readable(path.stem))
            ids = (stem, WHOLE) if video_id is None else (video_id, stem)
            files.clips.append(Clip(*ids, path, source=source))
        elif path.suffix.lower() not in OTHER_SUFFIXES:
            files.problems.append(Problem("ignored-file", source, "its ending is none of a video's: not read"))


def _readable(name: str) -> str:
    r"""Return a file name as text that any file can hold: bytes that are not UTF-8 become \xNN."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _list_below(
    root: AnyPath, folder: AnyPath, video_id: str | None, files: _Files, seen: set[AnyPath], source: str
) -> None:
    try:
        _list_folder(root, folder, video_id, files, seen)
    except OSError as error:
        files.problems.append(Problem("ignored-file", source, f"cannot be listed: {error.strerror}"))


def _enter(path: AnyPath, seen: set[AnyPath], files: _Files, source: str) -> bool:
    """Whether a folder is new; a link back to one already read would list its clips twice, or for ever."""
    real = path.resolve()
    if real in seen:
        files.problems.append(Problem("ignored-file", source, "links to a folder that is read already: not read again"))
        return False
    seen.add(real)
    return True


def _files_of_table(table: AnyPath, encoding: str | None) -> _Files:
    files = _Files()
    base = table.parent
    for where, row in read_rows(table, encoding=encoding):
        if not row.get("path"):
            raise ConfigError(f"{where} has no path; a table given as VIDEOS needs a column named path")
        if "\0" in row["path"]:
            raise ConfigError(f"{where}: {row['path']!r} is no path, for it holds a zero character")
        path = join(base, row["path"])
        video_id, clip_id = ids_of_row(row) or (composed(_readable(path.stem)), composed(row.get("clip_id") or WHOLE))
        clip = Clip(video_id, clip_id, path, source=row["path"])
        transcript = transcript_of_row(where, {**row, "video_id": video_id, "clip_id": clip_id})
        files.clips.append(_with_transcript(clip, transcript))
    return files


def _one_per_id(found: Iterable[Clip], problems: list[Problem]) -> list[Clip]:
    """Keep one clip per id; where several claim one id, that clip fails, for any of them would be a guess."""
    by_id: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in found:
        by_id[clip.utterance_id].append(clip)
    clips = []
    for key, same in by_id.items():
        clip = same[0]
        if len(same) > 1:
            names = list(dict.fromkeys(one.source for one in same))
            message = f"several files claim the id {key}: {', '.join(names)}; rename all but one"
            if len(names) == 1:
                message = f"{len(same)} clips of {names[0]} claim the id {key}; give each a clip_id of its own"
            problems.append(Problem("duplicate-id", key, message))
            clip = replace(clip, fault=(ConfigError.__name__, message))
        clips.append(clip)
    return clips


def _join_table(clips: list[Clip], rows: Iterable[Transcript], problems: list[Problem]) -> list[Clip]:
    """Give each clip its row, and each row its file: of its own ids, of its whole video, or named <video>_<clip>."""
    by_id = {clip.utterance_id: clip for clip in clips}
    joined: dict[str, Clip] = {}
    first_row: dict[str, Transcript] = {}
    used: set[str] = set()
    for row in rows:
        key = utterance_id(row.video_id, row.clip_id)
        if key in first_row:
            _note_twice(joined, first_row[key], row, problems)
            continue
        first_row[key] = row
        if row.unknown_split is not None:
            message = f"{row.where}: the split {row.unknown_split!r} is none of train, valid, test"
            problems.append(Problem("unknown-split", key, message))
        file = _file_of(row, by_id)
        if file is None:
            message = f"{row.where}: no video for {key}; expected {row.video_id}/{row.clip_id}.mp4 or another container"
            problems.append(Problem("no-video", key, message))
            joined[key] = _with_transcript(Clip(row.video_id, row.clip_id, None), row)
        else:
            used.add(file.utterance_id)
            joined[key] = _with_transcript(replace(file, video_id=row.video_id, clip_id=row.clip_id), row)
    rest = [clip for key, clip in by_id.items() if key not in used and key not in joined]
    return [*joined.values(), *rest]


def _file_of(row: Transcript, by_id: dict[str, Clip]) -> Clip | None:
    own = by_id.get(utterance_id(row.video_id, row.clip_id))
    if own is not None:
        return own
    if row.start_s is not None or row.end_s is not None:
        return by_id.get(utterance_id(row.video_id, WHOLE))
    return by_id.get(utterance_id(f"{row.video_id}_{row.clip_id}", WHOLE))


def _note_twice(joined: dict[str, Clip], first: Transcript, row: Transcript, problems: list[Problem]) -> None:
    key = utterance_id(row.video_id, row.clip_id)
    message = f"{row.where} repeats the id {key} of {first.where}"
    if replace(row, where=first.where) != first:
        message += " with another content; keep one of the two"
        joined[key] = replace(joined[key], fault=(ConfigError.__name__, message))
    problems.append(Problem("duplicate-id", key, message))


def _with_transcript(clip: Clip, row: Transcript) -> Clip:
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


def _join_sidecars(clips: list[Clip], *, cut_subtitles: bool, encoding: str | None) -> Iterator[Clip]:
    suffixes = (*SUBTITLE_SUFFIXES, *SIDECAR_SUFFIXES) if cut_subtitles else SIDECAR_SUFFIXES
    for clip in clips:
        is_whole = clip.start_s == 0 and clip.end_s is None  # a part's words are not those of its whole file
        wanted = clip.text is None and clip.path is not None and is_whole
        sidecar = find_sidecar(clip.path, suffixes=suffixes) if wanted and clip.path is not None else None
        if sidecar is None:
            yield clip
            continue
        try:
            if cut_subtitles and sidecar.suffix.lower() in SUBTITLE_SUFFIXES:
                yield from _cut(clip, read_cues(sidecar, encoding=encoding))
            else:
                yield replace(clip, text=read_sidecar_text(sidecar, encoding=encoding))
        except ConfigError as error:
            message = str(error).replace(str(sidecar), sidecar.name)  # a row does not depend on where the files lie
            yield replace(clip, fault=clip.fault or (ConfigError.__name__, message))


def _cut(clip: Clip, cues: list[Cue]) -> Iterator[Clip]:
    """Yield one clip per cue, or the whole clip where there is no cue."""
    video_id = clip.video_id if clip.clip_id == WHOLE else f"{clip.video_id}_{clip.clip_id}"
    for number, cue in enumerate(cues, start=1):
        part = replace(clip, video_id=video_id, clip_id=f"{number:04d}", text=cue.text, start_s=cue.start_s)
        if cue.end_s > cue.start_s:
            yield replace(part, end_s=cue.end_s)
        else:
            message = f"cue {number} at {cue.start_s:g} s ends before it begins; mend the subtitles"
            yield replace(part, fault=(ConfigError.__name__, message))
    if not cues:
        yield clip


def _exclude(clips: list[Clip], table: AnyPath, encoding: str | None, problems: list[Problem]) -> list[Clip]:
    reasons: dict[str, str] = {}
    for where, row in read_rows(table, encoding=encoding):
        ids = ids_of_row({"utterance_id": row.get("id", ""), **row})
        if ids is None:
            raise ConfigError(f"{where} names no clip; expected a column utterance_id, or video_id and clip_id")
        reasons[utterance_id(*ids)] = row.get("reason") or "no reason given"
    known = {clip.utterance_id for clip in clips}
    for key in reasons:
        if key not in known:
            problems.append(
                Problem("excluded-unknown", key, f"{table.name} excludes {key}, which is not among the clips")
            )
    return [replace(clip, exclude_reason=reasons.get(clip.utterance_id)) for clip in clips]
