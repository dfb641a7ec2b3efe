"""Facts from a clip's audio, and the form in which every step of a clip gives what it found.

Facts from its video are in vision.py. A step may fail and still tell things of the clip, such as how many frames it
has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import MissingModalityError
from fmltk.toolkit.extractors.contract import Samples
from fmltk.toolkit.features.clip_row import OK, ModalityStatus, failure_of
from fmltk.toolkit.settings import AUDIO_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.extractors.contract import Tokens
    from fmltk.toolkit.features.shards import ClipSequence
    from fmltk.toolkit.media.audio import Sound
    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.settings import ExtractSettings


@dataclass(frozen=True, slots=True)
class ClipSource:
    """A clip whose file is on this machine, what the file holds, and how the clip is to be extracted."""

    clip: Clip
    info: MediaInfo
    settings: ExtractSettings
    paths: RunPaths


@dataclass(frozen=True, slots=True)
class ModalityResult:
    """The result of one feature set for a clip, or the facts from its audio or its video.

    Attributes
    ----------
    sequence, error
        The features, or why there are none.
    tokens
        The tokens of a text set.
    columns, warnings
        Facts of the clip from the step: values of ClipRow's fields, and oddities.
    parts
        Fields of ClipResult besides the sequences, such as the faces.
    fingerprint
        The modality's fingerprint, uint16 (n,); None without one.
    """

    sequence: ClipSequence | None = None
    error: Exception | None = None
    tokens: Tokens | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    parts: Mapping[str, Any] = field(default_factory=dict)
    fingerprint: NDArray[np.uint16] | None = None

    @property
    def status(self) -> ModalityStatus:
        """The modality's part of the clip's row."""
        if self.sequence is not None:
            return ModalityStatus(OK, len(self.sequence.features))
        return failure_of(self.error or MissingModalityError("the clip has no such modality"))


def hear(source: ClipSource) -> tuple[ModalityResult, Samples]:
    """Return what a clip's sound tells of it, and the sound at the rate of the default set.

    Raises MissingModalityError if the clip has no audio, FeatureError if its samples are not numbers.
    """
    from fmltk.toolkit.audio.blocks import check_samples
    from fmltk.toolkit.audio.silence import silence_share

    info = source.info
    sound = read_clip_audio(source, AUDIO_RATE_HZ)
    check_samples(sound.samples)
    warnings = [f"audio: {info.audio_note}"] if info.audio_note else []
    if sound.cancelled:
        warnings.append("audio: the channels cancel each other, so that their mean is nearly silent: one is inverted")
    columns = {
        "sample_rate_hz": sound.source_rate_hz,
        "n_channels": sound.n_channels,
        "silence_share": silence_share(sound.samples),
    }
    return ModalityResult(columns=columns, warnings=tuple(warnings)), Samples(sound.samples, AUDIO_RATE_HZ)


def read_clip_audio(source: ClipSource, rate_hz: int) -> Sound:
    """Return a clip's sound; see `fmltk.toolkit.media.audio.read_audio`."""
    from fmltk.toolkit.media.audio import read_audio

    clip = source.clip
    return read_audio(clip.file, info=source.info, start_s=clip.start_s, end_s=clip.end_s, rate_hz=rate_hz)
