"""The set `fmltk33`: the 33 acoustic features of toolkit/audio/acoustic.py."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.extractors.contract import Card, Features, Reads, Samples
from fmltk.toolkit.settings import ACOUSTIC_RATE_HZ, AUDIO_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable

LIBROSA = "librosa"


@dataclass(frozen=True, slots=True)
class AcousticSet:
    """Zero-crossing rate, MFCC and chroma; the fields are those of ExtractSettings."""

    mfcc_scale: str = "htk"
    acoustics: str = "built-in"

    @property
    def card(self) -> Card:
        """The set's card."""
        from fmltk.toolkit.audio.acoustic import ACOUSTIC_FEATURES

        return Card(
            name="fmltk33",
            modality="audio",
            reads=Reads.SAMPLES,
            features=tuple((name, unit) for name, unit, _ in ACOUSTIC_FEATURES),
            rate_hz=ACOUSTIC_RATE_HZ,
            sample_rate_hz=AUDIO_RATE_HZ,
            settings={"mfcc_scale": self.mfcc_scale, "acoustics": self.acoustics},
        )

    def load(self, device: str) -> Callable[[Samples], Features]:
        """Return the function of one clip; it runs on the CPU."""
        return functools.partial(_features, settings=self)


def extractor(argument: str | None) -> AcousticSet:
    """Return the set, with the settings' defaults. Raises ConfigError if it is given an argument."""
    if argument is not None:
        raise ConfigError(f"fmltk33 takes no argument, and {argument!r} was given; see --mfcc-scale and --acoustics")
    return AcousticSet()


def _features(sound: Samples, *, settings: AcousticSet) -> Features:
    from fmltk.toolkit.audio.acoustic import acoustic_sequence
    from fmltk.toolkit.audio.reference import librosa_sequence

    compute = librosa_sequence if settings.acoustics == LIBROSA else acoustic_sequence
    return Features(compute(sound.values, mfcc_scale=settings.mfcc_scale))
