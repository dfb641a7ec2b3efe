"""The video files of a folder or of a table, with the ids that their names give."""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.catalog.subtitles import SIDECAR_SUFFIXES
from fmltk.toolkit.catalog.transcripts import read_transcripts, transcript_of_row, with_transcript
from fmltk.toolkit.clip import VIDEO_SUFFIXES, WHOLE, Clip, composed, ids_of_row
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.clip_rows import IGNORE_COLUMN, clip_rows
from fmltk.toolkit.features.layout import RUN_FILE, SHARD_FOLDER
from fmltk.toolkit.io.columns import find_columns
from fmltk.toolkit.io.fields import open_fields
from fmltk.toolkit.io.paths import RemotePath, folder_entries, join
from fmltk.toolkit.io.table_kinds import VIDEOS
from fmltk.toolkit.io.tables import TABLE_SUFFIXES, open_rows

if TYPE_CHECKING:
    from collections.abc import Collection

    from fmltk.toolkit.io.paths import AnyPath

# Files that are expected next to videos: transcripts, tables, notes, pictures.
OTHER_SUFFIXES = frozenset((*SIDECAR_SUFFIXES, *TABLE_SUFFIXES, ".json", ".md", ".pdf", ".jpg", ".png", ".xls"))
ANIMATION_SUFFIXES = frozenset((".gif", ".webp", ".apng"))
# Files that network drives and operating systems keep among people's files: thumbnails, waste, halves of Mac files.
SYSTEM_FOLDERS = frozenset(
    (
        "@eadir", "@recycle", "@recently-snapshot", "#recycle", "#snapshot", "__macosx", "$recycle.bin", "recycler",
        "system volume information", "lost+found", "network trash folder", "temporary items",
    )
)  # fmt: skip
RAW_FOLDER = "Raw"  # MMSA keeps its clips in Raw/<video_id>/<clip_id>.mp4


@dataclass(slots=True)
class VideoFiles:
    """The video files found, before transcripts are joined, what was odd about them, and what was chosen.

    root : the folder that was listed, and `texts` its text files; None where a video or a table was given
    """

    clips: ClipList = field(default_factory=ClipList)
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    root: AnyPath | None = None
    texts: list[AnyPath] = field(default_factory=list)


def find_videos(
    root: AnyPath, encoding: str | None, *, ignored: Collection[str] | None = None, text_alone: bool = False
) -> VideoFiles:
    """Return the clips that a video, a folder or a table with a path column names, one per file or row.

    ignored : names of columns of such a table that are left out
    text_alone : only text is wanted, so that a table of transcripts without such a column names clips too

    Raises ConfigError if `root` does not exist, cannot be listed, or is something else.
    """
    try:
        is_folder, is_file, is_there = root.is_dir(), root.is_file(), _is_there(root)
    except OSError as error:
        raise ConfigError(f"cannot look at {root}: {error.strerror or error}") from error
    if root.suffix.lower() in TABLE_SUFFIXES and is_file:
        if text_alone and not _names_files(root, encoding, ignored):
            return _clips_of_transcripts(root, encoding, ignored)
        return _files_of_table(root, encoding, ignored)
    if is_folder:
        return _files_of_folder(root)
    if not is_there:
        raise ConfigError(f"{root} does not exist; give a video, a folder of videos or a table with a path column")
    if root.suffix.lower() in OTHER_SUFFIXES:
        raise ConfigError(
            f"{root} does not end as a video does; give a video, a folder of videos or a table with a path column"
        )
    return VideoFiles(ClipList([Clip(composed(readable(root.stem)), WHOLE, root, source=readable(root.name))]))


def _is_there(path: AnyPath) -> bool:
    return path.exists() if isinstance(path, RemotePath) else os.path.lexists(path)


def _files_of_folder(root: AnyPath) -> VideoFiles:
    """List `root`, each folder in it, and each folder in its Raw/: deeper ones are named, not guessed at."""
    listing = _Listing(root)
    try:
        listing.add(root, None)
    except OSError as error:
        raise ConfigError(f"cannot list {root}: {error.strerror or error}") from error
    return listing.files


class _Listing:
    """The video files of a folder, as they are found; a folder that a link leads back to is listed once."""

    def __init__(self, root: AnyPath) -> None:
        self.files = VideoFiles(root=root)
        self._root = root
        self._seen = {root.resolve()}

    def add(self, folder: AnyPath, video_id: str | None) -> None:
        """List one folder: of the video `video_id`, or, where that is None, of videos and of their folders."""
        listed = ((path.name, path, is_folder) for path, is_folder in folder_entries(folder))
        entries = sorted(listed, key=lambda entry: os.fsencode(entry[0]))
        if folder != self._root and {RUN_FILE, SHARD_FOLDER} <= {name for name, _, _ in entries}:
            return  # features, made of these videos by `fmltk extract .`
        place = "" if folder == self._root else f"{self._source(folder)}/"
        for name, path, is_folder in entries:
            if name.startswith("."):
                continue
            stem, dot, ending = name.rpartition(".")
            suffix = f"{dot}{ending}".lower()
            if name.lower() in SYSTEM_FOLDERS:
                self._ignore(path, "is a folder of the computer or the network drive, not of videos: not read")
            elif is_folder:
                self._add_folder(path, video_id)
            elif suffix in VIDEO_SUFFIXES:
                own = sys.intern(composed(readable(stem)))  # many videos have a clip 0001
                ids = (own, WHOLE) if video_id is None else (video_id, own)
                self.files.clips.append(Clip(*ids, path, source=place + readable(name)))
            elif suffix in SIDECAR_SUFFIXES:
                self.files.texts.append(path)
            elif suffix in ANIMATION_SUFFIXES:
                self._ignore(path, "is a silent animation, not a video: not read (ffmpeg makes an mp4 of it)")
            elif suffix not in OTHER_SUFFIXES:
                self._ignore(path, "its ending is not one of a video's: not read")

    def _add_folder(self, path: AnyPath, video_id: str | None) -> None:
        if video_id is not None:
            self._ignore(path, "is deeper than <video_id>/<clip_id>.mp4: not read")
            return
        real = path.resolve()
        if real in self._seen:  # its clips would be listed twice, or for ever
            self._ignore(path, "links to a folder that is read already: not read again")
            return
        self._seen.add(real)
        try:
            self.add(path, None if path.name == RAW_FOLDER else composed(readable(path.name)))
        except OSError as error:
            self._ignore(path, f"cannot be listed: {error.strerror}")

    def _ignore(self, path: AnyPath, reason: str) -> None:
        self.files.problems.append(Problem("ignored-file", self._source(path), reason))

    def _source(self, path: AnyPath) -> str:
        return readable(path.relative_to(str(self._root)).as_posix())


def files_next_to(files: VideoFiles) -> tuple[list[AnyPath], list[AnyPath]]:
    """Return (videos, text files) of the folders that hold the videos found."""
    known = dict.fromkeys(path for path in files.clips.values("path") if path is not None)
    videos = list(known)
    if files.root is not None:
        return videos, files.texts
    texts: list[AnyPath] = []
    for folder in dict.fromkeys(video.parent for video in videos):
        entries: list[AnyPath] = []
        with contextlib.suppress(OSError, ValueError):  # a folder that is closed or not there
            entries = sorted(folder.iterdir(), key=lambda entry: os.fsencode(entry.name))
        videos += [path for path in entries if path.suffix.lower() in VIDEO_SUFFIXES and path not in known]
        texts += [path for path in entries if path.suffix.lower() in SIDECAR_SUFFIXES and path.is_file()]
    return videos, texts


def readable(name: str) -> str:
    r"""Return a file name as text that any file can hold: bytes that are not UTF-8 become \xNN."""
    return name if name.isascii() else os.fsencode(name).decode("utf-8", "backslashreplace")


def _files_of_table(table: AnyPath, encoding: str | None, ignored: Collection[str] | None) -> VideoFiles:
    files = VideoFiles()
    base = table.parent
    with open_fields(table, VIDEOS, encoding=encoding, ignored=ignored) as rows:
        for where, row in clip_rows(rows, file="path", remedy=IGNORE_COLUMN):
            written = row.get("path", "").strip()
            if not written:
                raise ConfigError(f"{where} has no path; a table given as VIDEOS names a file in each row")
            if "\0" in written:
                raise ConfigError(f"{where}: {written!r} is not a path, for it holds a zero character")
            path = _existing(join(base, written), join(base, written.replace("\\", "/")))
            video_id, clip_id = ids_of_row(row) or (
                composed(readable(path.stem)),
                composed(row.get("clip_id") or WHOLE),
            )
            clip = Clip(video_id, clip_id, path, source=written)
            fields = {**row, "video_id": video_id, "clip_id": clip_id}
            files.clips.append(with_transcript(clip, transcript_of_row(where, fields, separator=rows.separator)))
        files.notes += rows.notes()
    return files


def _names_files(table: AnyPath, encoding: str | None, ignored: Collection[str] | None) -> bool:
    with open_rows(table, encoding=encoding, error=ConfigError) as rows:
        return "path" in find_columns(VIDEOS, rows.header, table=table.name, ignored=ignored, error=ConfigError).used


def _clips_of_transcripts(table: AnyPath, encoding: str | None, ignored: Collection[str] | None) -> VideoFiles:
    files = VideoFiles()
    for row in read_transcripts(table, encoding=encoding, ignored=ignored, note=files.notes.append):
        clip = Clip(row.video_id, row.clip_id, None, source=readable(table.name))
        files.clips.append(with_transcript(clip, row))
    return files


def _existing(path: AnyPath, other: AnyPath) -> AnyPath:
    """Return the path as written, or, where nothing is there, with the slashes of this system if that is a file."""
    return other if path != other and not _is_there(path) and _is_there(other) else path
