"""Which OpenFace CSV of a folder belongs to a clip."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import OpenFaceError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from fmltk.toolkit.clip import Clip


@dataclass(frozen=True, slots=True)
class FoundCsv:
    """The CSV of a clip, and whose clock its times are on.

    of_whole_file is True where the CSV describes the clip's whole video file, so that a clip cut from it takes its
    slice; False where it describes the cut clip alone and begins with it.
    """

    path: Path
    of_whole_file: bool


def find_openface_csv(folder: str | Path, clip: Clip, *, shared_stems: Collection[str] = ()) -> FoundCsv:
    """Return the CSV of a clip in a folder of OpenFace CSVs.

    Looked for, in this order: `<video_id>/<clip_id>.csv`, `<video_id>_<clip_id>.csv`, then, for a clip cut from a
    longer file, `<video_id>.csv`, and last `<stem>.csv`, with the name of the clip's video file. Nothing outside the
    folder is looked at: an id that is no plain file name takes part in no candidate.

    shared_stems
        Names that more than one video file of the run has (`a/0001.mp4`, `b/0001.mp4`): `<stem>.csv` cannot tell whose
        it is, and is not taken for them.

    Raises OpenFaceError if there is none; the message names what was looked for.
    """
    folder = Path(folder)
    looked_for = []
    for parts, of_whole_file in _candidates(clip, shared_stems):
        if not all(_is_plain_name(part) for part in parts):
            continue
        path = folder.joinpath(*parts)
        looked_for.append("/".join(parts))
        try:
            if path.is_file():
                return FoundCsv(path, of_whole_file)
        except OSError:  # a name that is too long, a folder that may not be entered
            continue
    if not folder.is_dir():
        raise OpenFaceError(f"{folder}: is no folder of OpenFace CSVs")
    named = ", ".join(looked_for) if looked_for else "nothing, as the clip's ids are no file names"
    shared = ""
    if clip.path is not None and clip.path.stem in shared_stems:
        shared = f"; {clip.path.stem}.csv was not considered, as several videos have that name"
    raise OpenFaceError(f"{folder}: no OpenFace CSV of clip {clip.utterance_id!r}: looked for {named}{shared}")


def _candidates(clip: Clip, shared_stems: Collection[str]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """Yield (path below the folder, whether it is of the whole file)."""
    is_cut = clip.start_s > 0 or clip.end_s is not None
    yield (clip.video_id, f"{clip.clip_id}.csv"), not is_cut
    yield (f"{clip.video_id}_{clip.clip_id}.csv",), not is_cut
    if is_cut:
        yield (f"{clip.video_id}.csv",), True
    if clip.path is not None and clip.path.stem not in shared_stems:
        yield (f"{clip.path.stem}.csv",), True


def _is_plain_name(part: str) -> bool:
    return part not in ("", ".", "..") and not any(character in part for character in "/\\\0")
