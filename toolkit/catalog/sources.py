"""The files of a feature folder's clips: below what `fmltk extract` was given."""

from __future__ import annotations

from pathlib import Path, PurePosixPath


def video_root(videos: Path) -> Path:
    """Return the folder that sources are below, of what `fmltk extract` was given: a folder, or a file or table."""
    return videos if videos.is_dir() else videos.parent


def find_source(source: str | None, root: Path) -> Path | None:
    """Return the file that a manifest calls `source`, below `root`; None where there is none, or it leads elsewhere."""
    if not source or ".." in PurePosixPath(source).parts:
        return None
    path = root / source
    if not path.absolute().is_relative_to(root.absolute()):
        return None
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None
