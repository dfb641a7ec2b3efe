"""From a folder of videos and a table of transcripts to a list of clips, every problem named before work begins."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.duplicates import same_content
from fmltk.toolkit.catalog.exclusions import read_exclusions
from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.catalog.sidecars import join_sidecars
from fmltk.toolkit.catalog.table_join import join_transcripts
from fmltk.toolkit.catalog.transcripts import read_transcripts
from fmltk.toolkit.catalog.turns import name_people, read_turns, with_turns
from fmltk.toolkit.catalog.video_files import find_videos
from fmltk.toolkit.clip import VIDEO_SUFFIXES, Clip
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import encoding_remark
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.settings import ReadingOptions

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from fmltk.toolkit.io.paths import AnyPath


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every clip of a run, sorted by utterance_id, and what is odd about the input.

    `notes` say how its tables are understood, and what was chosen where the input left a choice.
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
    turns: str | AnyPath | None = None,
    turn_people: str | AnyPath | None = None,
    ignore_columns: Collection[str] | None = None,
    text_alone: bool = False,
) -> Catalog:
    """Return every clip that `videos` holds, joined with its transcript.

    Parameters
    ----------
    videos
        A video, a folder (flat, or ``<video_id>/<clip_id>.mp4``, also below ``Raw/``), or a table with a path column;
        these and the tables below may lie in a store (``s3://bucket/videos``).
    transcripts
        A table with video_id, clip_id, text, and optionally start_s, end_s, language, mode. Without it, .txt, .srt
        and .vtt files next to the videos are read.
    cut_subtitles
        One clip per subtitle cue, clip_id = four-digit cue number, instead of one clip per file.
    encoding
        Encoding of the tables and text files; recognised where it is None.
    language
        Language of the text files next to the videos, such as "en" for talk.en.vtt, where there are several.
    exclude
        A table of (utterance_id or video_id and clip_id, reason); these clips are skipped, with the reason on record.
    turns, turn_people
        Who speaks when: RTTM, a folder of such files, or a table; and a table of name and person, the number in
        faces.parquet; see `fmltk.toolkit.catalog.turns`.
    ignore_columns
        Columns of these tables that are left out, such as one that is not read but resembles another, an error else.
    text_alone
        Only text is wanted: `videos` may be a table of transcripts without a path column.

    Raises ConfigError if `videos` does not exist or holds no video, a table cannot be read or understood, no row of the
    transcripts names a clip, or cuts by subtitles are asked for as well as a table of transcripts.
    """
    if cut_subtitles and transcripts is not None:
        raise ConfigError(
            "--cut subtitles takes texts and times from .srt and .vtt files next to the videos; leave out "
            "--transcripts, or give the table start_s and end_s"
        )
    root = locate(videos)
    files = find_videos(root, encoding, ignored=ignore_columns, text_alone=text_alone)
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
        table = locate(transcripts)
        rows = read_transcripts(table, encoding=encoding, ignored=ignore_columns, note=files.notes.append)
        clips = join_transcripts(clips, rows, files, name=table.name)
    else:
        reading = ReadingOptions(encoding=encoding, language=language)
        clips = _one_per_id(join_sidecars(clips, files, reading, cut_subtitles=cut_subtitles), files.problems)
    clips.sort(key=lambda clip: clip.utterance_id)
    if exclude is not None:
        table = locate(exclude)
        excluded = read_exclusions(clips, table, encoding=encoding, ignored=ignore_columns)
        clips = [replace(clip, exclude_reason=excluded.reasons.get(clip.utterance_id)) for clip in clips]
        files.notes += [note for note in (*excluded.notes, excluded.undecided) if note]
        files.problems += [
            Problem("excluded-unknown", one, f"{table.name} excludes {one}, which is not among the clips")
            for one in excluded.unknown
        ]
    clips = _with_turns(clips, turns, turn_people, encoding)
    for clip in clips:
        if clip.text is None and clip.fault is None and clip.exclude_reason is None:
            files.problems.append(Problem("no-transcript", clip.utterance_id, "text is missing"))
    for clip, first in same_content(clips):
        message = f"{clip.source} has the same content as {first.source}"
        files.problems.append(Problem("same-content", clip.utterance_id, message))
    return Catalog(tuple(clips), tuple(files.problems), tuple(files.notes))


def _with_turns(
    clips: list[Clip], turns: str | AnyPath | None, people: str | AnyPath | None, encoding: str | None
) -> list[Clip]:
    if turns is None:
        if people is not None:
            raise ConfigError(f"--turn-people {people} says whose face a name of the turns is; give --turns as well")
        return clips
    written = read_turns(locate(turns), encoding=encoding)
    if people is not None:
        written = name_people(written, locate(people), encoding=encoding)
    return with_turns(clips, written)


def _one_per_id(found: Iterable[Clip], problems: list[Problem]) -> list[Clip]:
    """Keep one clip per id; where several claim one id, that clip fails, for any of them would be a guess."""
    first: dict[str, Clip] = {}
    repeated: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in found:
        key = clip.utterance_id
        if first.setdefault(key, clip) is not clip:
            repeated[key].append(clip)
    for key, others in repeated.items():
        same = [first[key], *others]
        names = list(dict.fromkeys(one.source for one in same))
        message = f"several files claim the id {key}: {', '.join(names)}; rename all but one"
        if len(names) == 1:
            message = f"{len(same)} clips of {names[0]} claim the id {key}; give each a clip_id of its own"
        problems.append(Problem("duplicate-id", key, message))
        first[key] = replace(first[key], fault=(ConfigError.__name__, message))
    return list(first.values())
