"""A clip: the unit that is extracted, annotated and predicted."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmltk.toolkit.io.paths import AnyPath

MODALITIES = ("text", "audio", "vision")
ID_SEPARATOR = "$_$"  # the field's convention (MMSA): utterance_id = video_id$_$clip_id
WHOLE = "0"  # the clip_id of a video that is one clip


def composed(name: str) -> str:
    r"""Return an id in Unicode's composed form (NFC): some systems write file names decomposed, tables seldom do.

    >>> composed("cafe\u0301") == "caf\u00e9"
    True
    """
    return unicodedata.normalize("NFC", name)


def utterance_id(video_id: str, clip_id: str) -> str:
    """Return the id that names one clip in every table.

    >>> utterance_id("video_0001", "0001")
    'video_0001$_$0001'
    """
    return f"{video_id}{ID_SEPARATOR}{clip_id}"


def split_utterance_id(utterance: str) -> tuple[str, str]:
    """Return (video_id, clip_id); the last separator counts, as a video_id may hold one.

    >>> split_utterance_id("video_0001$_$0001")
    ('video_0001', '0001')
    """
    video_id, _, clip_id = utterance.rpartition(ID_SEPARATOR)
    return video_id, clip_id


@dataclass(frozen=True, slots=True)
class Clip:
    """One utterance of one video.

    Attributes
    ----------
    video_id, clip_id
        As written by the user, in Unicode's composed form; never converted to numbers.
    path
        The video file, on this machine or in a store; None where a transcript names a clip that has no file.
    start_s, end_s
        The part of the file, in seconds on the file's clock; (0, None) is the whole file.
    text
        The transcript; None where there is none.
    language
        "zh", "en" or another ISO 639-1 code; None where unknown.
    source
        How the manifest names the file: relative to the folder the user gave, with forward slashes.
    split
        "train", "valid" or "test" where the transcript table says so; None otherwise.
    fault
        Why this clip cannot be extracted, known before work begins: (error class, message).
    exclude_reason
        Why the user left this clip out; None where it takes part.
    """

    video_id: str
    clip_id: str
    path: AnyPath | None
    start_s: float = 0.0
    end_s: float | None = None
    text: str | None = None
    language: str | None = None
    source: str = ""
    split: str | None = None
    fault: tuple[str, str] | None = None
    exclude_reason: str | None = None

    @property
    def utterance_id(self) -> str:
        """The clip's id in every table."""
        return utterance_id(self.video_id, self.clip_id)

    @property
    def file(self) -> Path:
        """The video file on this machine, which the worker has fetched where it lies in a store."""
        assert isinstance(self.path, Path)  # noqa: S101 - the worker has seen to it
        return self.path
