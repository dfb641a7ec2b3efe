"""Subtitle files: the cues of .srt and .vtt."""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import read_text

if TYPE_CHECKING:
    from fmltk.toolkit.io.paths import AnyPath

SUBTITLE_SUFFIXES = (".srt", ".vtt")


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle: when it is shown, in seconds, and what it says."""

    start_s: float
    end_s: float
    text: str


def read_cues(path: AnyPath, *, encoding: str | None = None) -> list[Cue]:
    """Return the cues of a .srt or .vtt file in order of time, mark-up removed, empty ones left out.

    A cue may end before it begins; its words count all the same. Raises ConfigError if the file holds text but no cue.
    """
    import pysubs2

    content = read_text(path, encoding=encoding)
    is_vtt = path.suffix.lower() == ".vtt"
    try:
        subtitles = pysubs2.SSAFile.from_string(
            _only_cues(content) if is_vtt else content, format_="vtt" if is_vtt else "srt"
        )
    except (pysubs2.Pysubs2Error, ValueError, ArithmeticError) as error:
        raise ConfigError(f"{path.name} is not a subtitle file: {error}") from error
    cues = []
    for event in sorted(subtitles, key=lambda event: (event.start, event.end)):
        text = " ".join((html.unescape(event.plaintext) if is_vtt else event.plaintext).split())
        if text:
            cues.append(Cue(event.start / 1000, event.end / 1000, text))
    if not len(subtitles) and content.strip() and ("-->" in content or not content.lstrip().startswith("WEBVTT")):
        raise ConfigError(f"{path.name} holds no subtitle cue; expected times such as 00:00:01,000 --> 00:00:02,500")
    return cues


def _only_cues(content: str) -> str:
    """Return a WebVTT file without what pysubs2 takes for spoken text: notes, styles, and times within a cue."""
    blocks = re.split(r"\n{2,}", re.sub(r"\r\n?", "\n", content))
    kept = [block for block in blocks if not re.match(r"(NOTE|STYLE|REGION)(\s|$)", block.lstrip("\n"))]
    return re.sub(r"<[\d:.]+>", "", "\n\n".join(kept))
