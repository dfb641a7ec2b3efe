"""A clip: the unit that is extracted, annotated and predicted."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmltk.toolkit.io.paths import AnyPath

MODALITIES = ("text", "audio", "vision")  # also the keys of each one's first feature set
ID_SEPARATOR = "$_$"  # the field's convention (MMSA): utterance_id = video_id$_$clip_id
WHOLE = "0"  # the clip_id of a video that is one clip
# Endings of the containers that media/process.py lets ffmpeg open.
VIDEO_SUFFIXES = frozenset(
    ".mp4 .m4v .mov .qt .3gp .3g2 .mj2 .mkv .webm .avi .mpg .mpeg .mpe .m1v .m2v .vob .ts .m2ts .mts .flv .f4v "  # noqa: SIM905
    ".asf .wmv .ogv .ogg .ogm .mxf .dv .rm .rmvb .nut".split()
)
_ENDINGS = VIDEO_SUFFIXES | frozenset(
    ".wav .mp3 .m4a .aac .flac .opus .wma .aif .aiff .amr .txt .srt .vtt .csv .json .jpg .jpeg .png .gif .webp".split()  # noqa: SIM905
)
GIVEN, RECOGNISED = "given", "recognised"  # where a transcript is from
SPLITS = ("train", "valid", "test")
# As the field's files, and people, have them.
_SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("val", "dev", "validation", "development"), "valid"),
    **{"training": "train", "testing": "test"},
}


def modality_of(key: str) -> str:
    """Return the modality of a feature set; key: of a folder's first set "audio", of others "audio.egemaps".

    >>> modality_of("audio.egemaps"), modality_of("text")
    ('audio', 'text')
    """
    return key.partition(".")[0]


def ordered_keys(keys: Iterable[str]) -> tuple[str, ...]:
    """Return keys of feature sets as tables have them: by modality, its first set before the others by name.

    >>> ordered_keys(["vision", "audio.egemaps", "text.b", "audio"])
    ('text.b', 'audio', 'audio.egemaps', 'vision')
    """
    return tuple(sorted(set(keys), key=lambda key: (MODALITIES.index(modality_of(key)), key)))


def chosen_keys(text: str) -> dict[str, str]:
    """Return the feature sets that `--use` names besides each modality's first, by modality.

    Raises ConfigError if one is not the key of a set, or a modality has two.

    >>> chosen_keys("vision, audio.egemaps,text"), chosen_keys("text,audio,vision")
    ({'audio': 'audio.egemaps'}, {})
    """
    keys = [word.strip() for word in text.split(",") if word.strip()]
    for key in keys:
        if modality_of(key) not in MODALITIES or key.endswith("."):
            raise ConfigError(
                f"use is {text!r}: {key!r} is not a feature set; expected keys such as text,audio.egemaps,vision"
            )
        if sum(modality_of(other) == modality_of(key) for other in keys) > 1:
            raise ConfigError(
                f"use is {text!r}: it names two sets of {modality_of(key)}; expected one of each modality"
            )
    return {modality_of(key): key for key in ordered_keys(keys) if key not in MODALITIES}


def without_ending(name: str) -> str:
    """Return a file's name without the ending of a video or of what is made of one; else it is a name as it stands.

    >>> without_ending("a.MP4"), without_ending("talk.v2")
    ('a', 'talk.v2')
    """
    stem, dot, ending = name.rpartition(".")
    return stem if stem and f"{dot}{ending}".lower() in _ENDINGS else name


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


def ids_of_row(row: Mapping[str, str]) -> tuple[str, str] | None:
    """Return the (video_id, clip_id) that a row names, by these columns or by utterance_id; None if it names none.

    A video_id without a clip_id is a video that is one clip, unless the utterance_id says which clip it is.

    >>> ids_of_row({"utterance_id": "video_0001$_$0001"}), ids_of_row({"video_id": "talk", "clip_id": ""})
    (('video_0001', '0001'), ('talk', '0'))
    >>> ids_of_row({"video_id": "video_0001", "utterance_id": "video_0001$_$0001"})
    ('video_0001', '0001')
    """
    if row.get("video_id") and (row.get("clip_id") or not row.get("utterance_id")):
        return composed(row["video_id"]), composed(row.get("clip_id") or WHOLE)
    if row.get("utterance_id"):
        video_id, clip_id = split_utterance_id(composed(row["utterance_id"]))
        return (video_id, clip_id or WHOLE) if video_id else (clip_id, WHOLE)
    return None


def split_name(text: str) -> str | None:
    """Return the split that a cell names, whatever its case: train, valid (val, dev, validation) or test; else None.

    >>> split_name(" Dev"), split_name("Training"), split_name("later")
    ('valid', 'train', None)
    """
    return _SPLIT_NAMES.get(text.strip().lower())


def reading_order(name: str) -> str:
    """Return a sort key that takes the numbers in a name as numbers.

    >>> sorted(["clip 10", "clip 9", "clip 08", "a"], key=reading_order)
    ['a', 'clip 08', 'clip 9', 'clip 10']
    """
    return re.sub(r"\d+", lambda found: _numbered(found[0].lstrip("0")), name)


def _numbered(digits: str) -> str:
    return f"{len(digits):05d}{digits}"


class Turn(NamedTuple):
    """Who speaks from when to when, in seconds on the file's clock.

    person : the number of the person in faces.parquet whose name it is; None where that is to be found
    """

    start_s: float
    end_s: float
    name: str
    person: int | None = None


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
    text, text_source
        The transcript, None where there is none; "given" by the user, or "recognised" in the sound.
    text_notes
        Remarks on how the text was recognised.
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
    turns
        Who speaks when, where the user says so; of the whole file, in the order of time.
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
    turns: tuple[Turn, ...] = ()
    text_source: str = GIVEN
    text_notes: tuple[str, ...] = ()

    @property
    def utterance_id(self) -> str:
        """The clip's id in every table."""
        return utterance_id(self.video_id, self.clip_id)

    @property
    def file(self) -> Path:
        """The video file on this machine, which the worker has fetched where it lies in a store."""
        assert isinstance(self.path, Path)  # noqa: S101 - the worker has seen to it
        return self.path
