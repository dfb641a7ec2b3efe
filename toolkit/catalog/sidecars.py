"""The text files next to videos: .txt, .srt and .vtt."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.subtitles import SUBTITLE_SUFFIXES, read_cues
from fmltk.toolkit.io.encodings import read_text

if TYPE_CHECKING:
    from fmltk.toolkit.io.paths import AnyPath

SIDECAR_SUFFIXES = (".txt", *SUBTITLE_SUFFIXES)  # the first that exists counts


def find_sidecar(video: AnyPath, *, suffixes: tuple[str, ...] = SIDECAR_SUFFIXES) -> AnyPath | None:
    """Return the first of the .txt, .srt and .vtt files beside a video, of the same stem."""
    for suffix in suffixes:
        with contextlib.suppress(OSError, ValueError):  # a name too long, a folder that is closed: no sidecar there
            path = video.with_name(video.stem + suffix)
            if path.is_file():
                return path
    return None


def read_sidecar_text(path: AnyPath, *, encoding: str | None = None) -> str | None:
    """Return a sidecar file's text, subtitle cues joined by a space; None if there is none."""
    if path.suffix.lower() == ".txt":
        text = read_text(path, encoding=encoding).strip()
    else:
        text = " ".join(cue.text for cue in read_cues(path, encoding=encoding))
    return text or None
