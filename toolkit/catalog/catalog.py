"""From a folder of videos and a table of transcripts to a list of clips, every problem named before work begins."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.duplicates import same_content
from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.catalog.sidecars import join_sidecars
from fmltk.toolkit.catalog.transcripts import read_transcripts, with_transcript
from fmltk.toolkit.catalog.video_files import VIDEO_SUFFIXES, find_videos
from fmltk.toolkit.clip import WHOLE, Clip, ids_of_row, utterance_id
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import encoding_remark
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.io.tables import read_rows
from fmltk.toolkit.settings import ReadingOptions

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fmltk.toolkit.catalog.transcripts import Transcript
    from fmltk.toolkit.io.paths import AnyPath


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every clip of a run, sorted by utterance_id, and what is odd about the input.

    `notes` say in sentences what was chosen where the input left a choice.
    """

    clips: tuple[Clip, ...]
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()


def build_catalog(
    videos: str | AnyPath,
    *,
    transcripts: str | AnyPath | None = None,
    cut_subtitles: bool = False,
    encoding: str | None = None,
    language: str | None = None,
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
        Of the tables and text files; recognised where it is None.
    language
        Of the text files next to the videos, such as "en" for talk.en.vtt, where there are several.
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
    files = find_videos(root, encoding)
    if encoding is None:
        tables = (root if files.root is None else None, transcripts, exclude)
        files.notes += filter(None, (encoding_remark(locate(table)) for table in tables if table is not None))
    if not files.clips:
        raise ConfigError(
            f"no video in {root}; expected files such as clip.mp4, or <video_id>/<clip_id>.mp4 "
            f"({', '.join(sorted(VIDEO_SUFFIXES)[:8])}, ...)"
        )
    clips = _one_per_id(files.clips, files.problems)
    if transcripts is not None:
        clips = _join_table(clips, read_transcripts(locate(transcripts), encoding=encoding), files.problems)
    else:
        reading = ReadingOptions(encoding=encoding, language=language)
        clips = _one_per_id(join_sidecars(clips, files, reading, cut_subtitles=cut_subtitles), files.problems)
    clips.sort(key=lambda clip: clip.utterance_id)
    if exclude is not None:
        clips = _exclude(clips, locate(exclude), encoding, files.problems)
    for clip in clips:
        if clip.text is None and clip.fault is None and clip.exclude_reason is None:
            files.problems.append(Problem("no-transcript", clip.utterance_id, "text is missing"))
    for clip, first in same_content(clips):
        message = f"{clip.source} has the same content as {first.source}"
        files.problems.append(Problem("same-content", clip.utterance_id, message))
    return Catalog(tuple(clips), tuple(files.problems), tuple(files.notes))


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
            joined[key] = with_transcript(Clip(row.video_id, row.clip_id, None), row)
        else:
            used.add(file.utterance_id)
            joined[key] = with_transcript(replace(file, video_id=row.video_id, clip_id=row.clip_id), row)
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
