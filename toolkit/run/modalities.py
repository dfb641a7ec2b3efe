"""One clip's text and audio features, and the form in which every modality's step gives what it found.

The visual step is in vision.py. A step may fail and still tell things of the clip, such as how many frames it has.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import MissingModalityError
from fmltk.toolkit.features.clip_row import OK, ModalityStatus, failure_of
from fmltk.toolkit.features.fingerprints import pack_words
from fmltk.toolkit.features.shards import ClipSequence
from fmltk.toolkit.text.language import MAX_UNKNOWN_SHARE, unknown_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.settings import ExtractSettings
    from fmltk.toolkit.text.bert import TextEncoder

TEXT_WARNING = "text:"  # how warnings about the text begin


@dataclass(frozen=True, slots=True)
class ClipSource:
    """A clip whose file is on this machine, what the file holds, and how the clip is to be extracted."""

    clip: Clip
    info: MediaInfo
    settings: ExtractSettings
    paths: RunPaths


@dataclass(frozen=True, slots=True)
class ModalityResult:
    """What one modality's step found.

    Attributes
    ----------
    sequence, error
        The features, or why there are none.
    columns, warnings
        What the step tells of the clip: values of ClipRow's fields, and what is odd.
    parts
        Fields of ClipResult beside the sequences, such as the tokens or the faces.
    fingerprint
        What the modality is known by, uint16 (n,); None where there is none.
    """

    sequence: ClipSequence | None = None
    error: Exception | None = None
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


def text_result(clip: Clip, encoder: TextEncoder) -> ModalityResult:
    """Return the clip's token embeddings float32 (n_tokens, d), its token ids and its tokens."""
    encoded = encoder.encode(clip.text or "")
    warnings = []
    if encoded.n_truncated:
        warnings.append(f"{TEXT_WARNING} {encoded.n_truncated} tokens beyond the model's longest input were cut off")
    if encoded.unknown_share > MAX_UNKNOWN_SHARE:
        warnings.append(f"{TEXT_WARNING} of the tokens, {unknown_tokens(encoded.unknown_share)}")
    return ModalityResult(
        ClipSequence(encoded.features),
        columns={"text_tokens_cut": encoded.n_truncated, "text_unknown_share": encoded.unknown_share},
        warnings=tuple(warnings),
        parts={"token_ids": encoded.ids, "tokens": encoded.tokens, "token_spans": encoded.spans},
    )


def audio_result(source: ClipSource) -> ModalityResult:
    """Return the clip's acoustic features, float32 (n_frames, 33)."""
    from fmltk.toolkit.audio.acoustic import acoustic_sequence
    from fmltk.toolkit.audio.fingerprint import sound_signs
    from fmltk.toolkit.audio.reference import librosa_sequence
    from fmltk.toolkit.audio.silence import silence_share
    from fmltk.toolkit.media.audio import read_audio

    clip, info, settings = source.clip, source.info, source.settings
    sound = read_audio(clip.file, info=info, start_s=clip.start_s, end_s=clip.end_s)
    warnings = [f"audio: {info.audio_note}"] if info.audio_note else []
    if sound.cancelled:
        warnings.append("audio: the channels cancel each other, so that their mean is nearly silent: one is inverted")
    compute = librosa_sequence if settings.acoustics == "librosa" else acoustic_sequence
    sequence = ClipSequence(compute(sound.samples, mfcc_scale=settings.mfcc_scale))
    columns = {
        "sample_rate_hz": sound.source_rate_hz,
        "n_channels": sound.n_channels,
        "silence_share": silence_share(sound.samples),
    }
    words = pack_words(sound_signs(sequence.features))
    return ModalityResult(sequence, columns=columns, warnings=tuple(warnings), fingerprint=words)
