"""Which table of a folder belongs to a clip: OpenFace's CSVs, and tables of any other program that looks at frames."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import FeatureError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.errors import MakeError


@dataclass(frozen=True, slots=True)
class FoundTable:
    """The table of a clip, and whose clock its times are on.

    of_whole_file is True where the table describes the clip's whole video file, so that a clip cut from it takes its
    slice; False where it describes the cut clip alone and begins with it.
    """

    path: Path
    of_whole_file: bool


def find_clip_table(
    folder: str | Path,
    clip: Clip,
    *,
    shared_stems: Collection[str] = (),
    suffixes: Sequence[str] = (".csv",),
    what: str = "table",
    error: MakeError = FeatureError,
) -> FoundTable:
    """Return the table of a clip in a folder of tables.

    Looked for, in this order: `<video_id>/<clip_id>.csv`, `<video_id>_<clip_id>.csv`, then, for a clip cut from a
    longer file, `<video_id>.csv`, and last `<stem>.csv`, with the name of the clip's video file. Nothing outside the
    folder is looked at: an id that is not a plain file name takes part in no candidate.

    shared_stems
        Names that more than one video file of the run has (`a/0001.mp4`, `b/0001.mp4`): `<stem>.csv` cannot tell whose
        it is, and is not taken for them.
    suffixes
        Endings of tables' names, in small letters; capital ones are taken too.
    what
        The messages' word for a table, such as "OpenFace CSV".

    Raises `error` if there is none, naming what was looked for; or two that differ in their ending alone.
    """
    folder = Path(folder)
    looked_for = []
    for parts, of_whole_file in _candidates(clip, shared_stems):
        if not all(_is_plain_name(part) for part in parts):
            continue
        looked_for.append("/".join(parts))
        found = _existing(folder.joinpath(*parts[:-1]), parts[-1], suffixes)
        if len(found) > 1:
            raise error(
                f"{folder}: clip {clip.utterance_id!r} has {found[0].name} and {found[1].name}; keep one of them"
            )
        if found:
            return FoundTable(found[0], of_whole_file)
    if not folder.is_dir():
        raise error(f"{folder} is not a folder of {what}s")
    named = ", ".join(f"{name}{suffixes[0]}" for name in looked_for)
    shared = ""
    if clip.path is not None and clip.path.stem in shared_stems:
        shared = f"; {clip.path.stem}{suffixes[0]} was not considered, as several videos have that name"
    raise error(
        f"{folder}: no {what} of clip {clip.utterance_id!r}: "
        f"looked for {named or 'nothing, as the ids of the clip are not file names'}{shared}"
    )


def _candidates(clip: Clip, shared_stems: Collection[str]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield (path below the folder without its ending, whether it is of the whole file)."""
    is_cut = clip.start_s > 0 or clip.end_s is not None
    yield (clip.video_id, clip.clip_id), not is_cut
    yield (f"{clip.video_id}_{clip.clip_id}",), not is_cut
    if is_cut:
        yield (clip.video_id,), True
    if clip.path is not None and clip.path.stem not in shared_stems:
        yield (clip.path.stem,), True


def _existing(folder: Path, stem: str, suffixes: Sequence[str]) -> list[Path]:
    """Return the files of this name with one of the endings, whatever its case, each once."""
    found: dict[tuple[int, int], Path] = {}
    for ending in suffixes:
        for written in (ending, ending.upper(), f".{ending[1:].capitalize()}"):
            path = folder / f"{stem}{written}"
            if _is_file(path):  # where the disk knows no case, the same file by three names
                own = path.stat()
                found.setdefault((own.st_dev, own.st_ino), path)
    return list(found.values())


def _is_plain_name(part: str) -> bool:
    return part not in ("", ".", "..") and not any(character in part for character in "/\\\0")


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, a folder that may not be entered
        return False
