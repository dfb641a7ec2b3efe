"""The proof that a push gives before it makes a task: one medium of each kind loads, as the file that it should be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.annotation.labelling.media_check import MediumError
from fmltk.annotation.labelling.project import local_media_url, media_address
from fmltk.annotation.labelling.stimuli import PARTS, TEXT, parts_of
from fmltk.toolkit.errors import AnnotationError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fmltk.annotation.labelling.media_check import MediaReader
    from fmltk.annotation.labelling.project import MediaSource
    from fmltk.annotation.labelling.stimuli import Stimulus


def media_to_prove(
    stimuli: Sequence[Stimulus], conditions: Sequence[str], media: Path, source: MediaSource
) -> list[str]:
    """Return the largest file of each kind that the conditions show: what a limit on the way would cut.

    Raises AnnotationError if the media folder has lost a file, or, where others serve them, all of a kind.
    """
    chosen = []
    for part in parts_of(conditions):
        shown = [c for c in conditions if part in PARTS[c]]
        names = [one.files[part] for one in stimuli if part != TEXT and any(map(one.shows, shown))]
        sizes = {name: (media / name).stat().st_size for name in names if (media / name).is_file()}
        there = [name for name in names if sizes.get(name)]
        if len(there) < (len(names) if source.local_path else min(len(names), 1)):
            gone = next(name for name in names if not sizes.get(name))
            raise AnnotationError(
                f"{len(names) - len(there)} of {len(names)} files of {media / part} are missing or empty, such as "
                f"{gone}; make them again by the same fmltk annotation prepare, before anyone is shown them"
            )
        chosen += sorted(there, key=lambda name: (-sizes[name], name))[:1]
    return chosen


def prove_media(reader: MediaReader, names: Sequence[str], media: Path, source: MediaSource) -> None:
    """Fetch media as raters' browsers will, and compare them with the files.

    Raises AnnotationError with what was fetched, what was expected and what to do, if one of them differs.
    """
    for name in names:
        address, path = media_address(source.url, name), media / name
        try:
            reader.compare(address, path)
        except MediumError as fault:
            remedy = fault.remedy
            if source.local_path is not None:
                address = f"{reader.site}{address}"
                remedy = remedy or _other_root(reader, name, media) or _LOCAL
            else:
                remedy = remedy or f"is it {media} that --media-url leads to?"
            raise AnnotationError(
                f"annotators would not get {address}: {fault.found}; expected the {path.stat().st_size:,} bytes of "
                f"{path}. No task was made; {remedy}"
            ) from None


_LOCAL = (
    "no folder above it works as --document-root either: is it on the server's machine, and may the server's account "
    "read the file and every folder above it?"
)


def _other_root(reader: MediaReader, name: str, media: Path) -> str | None:
    """Return the option that would have been right, if one of the folders above the media is what the server serves."""
    for root in media.resolve().parents:
        try:
            reader.compare(media_address(local_media_url(media, root), name), media / name)
        except (MediumError, ConfigError):
            continue
        return f"the server serves {root}: give --document-root {root}"
    return None
