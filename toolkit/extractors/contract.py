"""The contract of an extractor: a card that says what its numbers are and depend on, and a function of one clip.

A package of anyone's registers a function that makes one in the entry-point group `fmltk.extractors`, under the name
`<modality>.<name>`, such as `audio.loudness`; it is then `--audio loudness`, or `--audio loudness:ARGUMENT` with what
the function is to be given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

ENTRY_POINTS = "fmltk.extractors"


class Reads(StrEnum):
    """The parts of a clip that an extractor can read."""

    SAMPLES = "samples"  # Samples: the sound at the card's `sample_rate_hz`
    TEXT = "text"  # Transcript
    FACE = "face"  # FaceTrack: box and landmarks of the face of the person who speaks, at 30 Hz
    CROPS = "crops"  # Crops: that face, aligned
    FRAMES = "frames"  # Crops whose pictures are the whole frames
    CLIP = "clip"  # ClipFile: the extractor finds its own input
    RUN = "run"  # what the run knows of the clip: for sets of fmltk itself, whose input is the run's own


@dataclass(frozen=True, slots=True)
class Card:
    """The description of a feature set. Everything here but the licence is part of what a folder's numbers depend on.

    Attributes
    ----------
    name
        Names the set, its table and its columns: letters, digits, dots, dashes and underscores.
    modality
        "text", "audio" or "vision".
    reads
        The input of the function of one clip.
    features
        Name and unit of each feature; empty where they have none, and then `dimension` says how many there are.
    dimension
        How many features a step has; None: as many as `features`, or what the first clip shows.
    rate_hz
        Steps per second; None where steps are tokens, or one step stands for the whole clip.
    sample_rate_hz
        Rate of the audio that is read, where `reads` is SAMPLES.
    crop_px
        Side of the pictures that are read, where `reads` is CROPS.
    settings
        Other settings that the numbers depend on, as JSON holds it.
    versions
        Versions of the libraries that compute it, by name.
    weights
        The identity of the weights, such as a name and a SHA-256; empty without weights.
    licence
        Licence of the set and its weights, where a user has to know it before use; said before the first clip.
    """

    name: str
    modality: str
    reads: Reads
    features: tuple[tuple[str, str], ...] = ()
    dimension: int | None = None
    rate_hz: float | None = None
    sample_rate_hz: int | None = None
    crop_px: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    weights: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""


@dataclass(frozen=True, slots=True)
class Samples:
    """A clip's sound: float32 (n_samples,) between -1 and 1, one channel."""

    values: NDArray[np.float32]
    rate_hz: int


@dataclass(frozen=True, slots=True)
class Transcript:
    """A clip's words; language is a code such as "en", None where it is not known."""

    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Crops:
    """A clip's pictures in order, in batches: frame numbers int64 (n,) at 30 Hz, RGB uint8 (n, height, width, 3).

    Frames without the face are left out; `n_frames` counts all.
    """

    batches: Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]
    n_frames: int


@dataclass(frozen=True, slots=True)
class ClipFile:
    """A clip as a file: ids, the video's path, and where in it the clip lies in seconds; None: to its end.

    has_own_stem : whether no other video of the run is called as this one, endings apart
    """

    utterance_id: str
    video_id: str
    clip_id: str
    path: Path
    start_s: float
    end_s: float | None
    n_frames: int
    has_own_stem: bool = True


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a transcript: ids int32 (n,), strings, character spans int32 (n, 2) or None."""

    ids: NDArray[np.int32]
    strings: tuple[str, ...]
    spans: NDArray[np.int32] | None = None


@dataclass(frozen=True, slots=True)
class Features:
    """One clip's features: float32 (n_steps, d); valid bool (n_steps,), None where every step is.

    warnings : sentences for the clip's row
    columns : values for the clip's row of the manifest, by names that the manifest has
    tokens : of text, one per step
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_] | None = None
    warnings: tuple[str, ...] = ()
    columns: Mapping[str, Any] = field(default_factory=dict)
    tokens: Tokens | None = None


class Extractor(Protocol):
    """A feature set. It is pickled to the workers, so it holds names and settings; `load` holds the model."""

    @property
    def card(self) -> Card:
        """The set's card."""

    def load(self, device: str) -> Callable[[Any], Features]:
        """Return the function of one clip; called once per worker process. device: "cpu" or "cuda".

        The function is given what `card.reads` says. It raises MissingModalityError where the clip holds nothing for
        it, and any FmltkError for a clip that it cannot do: that becomes a part of the clip's row.
        """


@runtime_checkable
class ReadsFiles(Protocol):
    """An extractor whose function reads a file of each clip: another such file redoes the set."""

    def file_of(self, clip: ClipFile) -> Path | None:
        """Return the file that is read for a clip, whose `n_frames` is 0 here; None where there is none."""
