"""From a folder of videos and a table of transcripts to a list of clips, every problem named before work begins."""

from __future__ import annotations

import itertools
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
from fmltk.toolkit.clip import VIDEO_SUFFIXES
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import encoding_remark
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.settings import ReadingOptions

if TYPE_CHECKING:
    from collections.abc import Collection

    from fmltk.toolkit.io.paths import AnyPath


@dataclass(frozen=True, slots=True)
class Catalog:
    """Every clip of a run, sorted by utterance_id, and what is odd about the input.

    `notes` say how its tables are understood, and what was chosen where the input left a choice.
    """

    clips: ClipList
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
        found = ClipList(join_sidecars(clips, files, reading, cut_subtitles=cut_subtitles))
        clips = _one_per_id(found, files.problems)
    clips = clips.in_order()
    if exclude is not None:
        table = locate(exclude)
        excluded = read_exclusions(clips, table, encoding=encoding, ignored=ignore_columns)
        clips = ClipList(replace(clip, exclude_reason=excluded.reasons.get(clip.utterance_id)) for clip in clips)
        files.notes += [note for note in (*excluded.notes, excluded.undecided) if note]
        files.problems += [
            Problem("excluded-unknown", one, f"{table.name} excludes {one}, which is not among the clips")
            for one in excluded.unknown
        ]
    clips = _with_turns(clips, turns, turn_people, encoding)
    columns = (clips.values(name) for name in ("text", "fault", "exclude_reason"))
    for utterance, *said in zip(clips.utterance_ids(), *columns, strict=True):
        if said == [None, None, None]:
            files.problems.append(Problem("no-transcript", utterance, "text is missing"))
    for clip, first in same_content(clips):
        message = f"{clip.source} has the same content as {first.source}"
        files.problems.append(Problem("same-content", clip.utterance_id, message))
    return Catalog(clips, tuple(files.problems), tuple(files.notes))


def _with_turns(
    clips: ClipList, turns: str | AnyPath | None, people: str | AnyPath | None, encoding: str | None
) -> ClipList:
    if turns is None:
        if people is not None:
            raise ConfigError(f"--turn-people {people} says whose face a name of the turns is; give --turns as well")
        return clips
    written = read_turns(locate(turns), encoding=encoding)
    if people is not None:
        written = name_people(written, locate(people), encoding=encoding)
    return ClipList(with_turns(clips, written))


def _one_per_id(found: ClipList, problems: list[Problem]) -> ClipList:
    """Keep one clip per id; where several claim one id, that clip fails, for any of them would be a guess."""
    if found.n_ids() == len(found):
        return found
    repeated: defaultdict[int, list[int]] = defaultdict(list)
    for position, utterance in enumerate(found.utterance_ids()):
        first = found.find(utterance)
        if first is not None and first != position:
            repeated[first].append(position)
    faults = {}
    for first, others in repeated.items():
        key = found.utterance_id(first)
        names = list(dict.fromkeys(found.value(position, "source") for position in (first, *others)))
        message = f"several files claim the id {key}: {', '.join(names)}; rename all but one"
        if len(names) == 1:
            message = f"{1 + len(others)} clips of {names[0]} claim the id {key}; give each a clip_id of its own"
        problems.append(Problem("duplicate-id", key, message))
        faults[first] = (ConfigError.__name__, message)
    left_out = set(itertools.chain.from_iterable(repeated.values()))
    return ClipList(
        replace(clip, fault=faults[position]) if position in faults else clip
        for position, clip in enumerate(found)
        if position not in left_out
    )
