"""`--audio opensmile:eGeMAPSv02` and `opensmile:ComParE_2016`: what openSMILE computes, with its names.

Low-level descriptors, 100 steps per second (step k begins at k/100 s), or `/functionals`: one step for the whole clip.
The numbers are those of `opensmile.Smile.process_signal` on the sound at 16 kHz. openSMILE reads 16 bits: what is
beyond full scale is clipped to it, where its own function would wrap around.

openSMILE's licence (audEERING) is not a free one, so it is an extra: `pip install 'fmltk[opensmile]'`.
"""

from __future__ import annotations

import importlib.metadata
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.extractors.contract import Card, Features, Reads, Samples
from fmltk.toolkit.extractors.sound import check_sound, finite_features
from fmltk.toolkit.settings import SPEECH_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable

EGEMAPS, COMPARE = "eGeMAPSv02", "ComParE_2016"
FUNCTIONALS = "functionals"
LICENCE = (
    "openSMILE (audEERING Research License): free for research and other non-commercial use only, and so are features "
    "made with it; other use needs audEERING's licence"
)
_SHORT_NAMES = {EGEMAPS: "egemaps", COMPARE: "compare"}
_FULL_SCALE = np.float32(32767 / 32768)  # the loudest sample that 16 bits hold
# Units by parts of openSMILE's names; the first part that is found counts.
_UNITS = (
    ("PerSec$", "1/s"),
    ("SegmentLength(Sec)?$", "s"),
    ("stddevNorm$", "relative to the mean"),
    ("^F0semitone.*Slope$", "semitones/s"),
    ("^F0semitone", "semitones above 27.5 Hz"),
    ("^F0final_sma$", "Hz"),
    ("^F[123](frequency|bandwidth)", "Hz"),
    ("^pcm_fftMag_spectral(RollOff[0-9.]+|Centroid)_sma$", "Hz"),
    ("dB", "dB"),
)


def extractor(argument: str | None) -> OpenSmile:
    """Return the feature set of `opensmile:ARGUMENT`, such as "eGeMAPSv02" or "ComParE_2016/functionals".

    Raises ConfigError where openSMILE is not installed, or has no such set.
    """
    feature_set, _, level = (argument or "").partition("/")
    opensmile = _opensmile()
    sets = [one.name for one in opensmile.FeatureSet]
    if feature_set not in sets or level not in ("", FUNCTIONALS):
        raise ConfigError(
            f"opensmile:{argument or ''} is not a feature set; write opensmile:SET, or opensmile:SET/{FUNCTIONALS}, "
            f"where SET is one of {', '.join(sets)}"
        )
    smile = _smile(feature_set, functionals=bool(level))
    rate_hz = None
    if not level:
        times = smile.process_signal(np.zeros(SPEECH_RATE_HZ, np.float32), SPEECH_RATE_HZ).index
        starts = times.get_level_values("start").total_seconds()
        rate_hz = round(1 / (starts[1] - starts[0]), 6)
    return OpenSmile(feature_set, bool(level), tuple(smile.column_names), rate_hz)


def egemaps(argument: str | None) -> OpenSmile:
    """Return `opensmile:eGeMAPSv02`; takes no argument."""
    return _alias("egemaps", EGEMAPS, argument)


def egemaps_functionals(argument: str | None) -> OpenSmile:
    """Return `opensmile:eGeMAPSv02/functionals`; takes no argument."""
    return _alias("egemaps-functionals", f"{EGEMAPS}/{FUNCTIONALS}", argument)


def compare(argument: str | None) -> OpenSmile:
    """Return `opensmile:ComParE_2016`; takes no argument."""
    return _alias("compare", COMPARE, argument)


def _alias(name: str, meaning: str, argument: str | None) -> OpenSmile:
    if argument:
        raise ConfigError(f"{name}:{argument}: {name} takes no argument; it is opensmile:{meaning}")
    return extractor(meaning)


@dataclass(frozen=True, slots=True)
class OpenSmile:
    """A feature set of openSMILE; see `contract.Extractor`."""

    feature_set: str
    functionals: bool
    names: tuple[str, ...]
    rate_hz: float | None

    @property
    def card(self) -> Card:
        """The set's card."""
        short = _SHORT_NAMES.get(self.feature_set, self.feature_set)
        return Card(
            name=f"{short}-{FUNCTIONALS}" if self.functionals else short,
            modality="audio",
            reads=Reads.SAMPLES,
            features=tuple((name, _unit(name)) for name in self.names),
            dimension=len(self.names),
            rate_hz=self.rate_hz,
            sample_rate_hz=SPEECH_RATE_HZ,
            settings={"feature_set": self.feature_set, "functionals": self.functionals},
            versions={"opensmile": importlib.metadata.version("opensmile")},
            licence=LICENCE,
        )

    def load(self, device: str) -> Callable[[Samples], Features]:
        """Return the function of one clip. openSMILE runs on the CPU, whatever the device."""
        name = self.card.name
        smile = _smile(self.feature_set, functionals=self.functionals)

        def features(samples: Samples) -> Features:
            check_sound(samples, window_samples=1, name=name)
            values = np.clip(samples.values, np.float32(-1), _FULL_SCALE)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a sound that is too short, which is said below
                table = smile.process_signal(values, samples.rate_hz).to_numpy(np.float32)  # (n_steps, d)
            if len(table) == 1 and np.isnan(table).all():
                raise FeatureError(
                    f"the audio is {len(values) / samples.rate_hz:.4f} s long, which is too short for {name}: leave "
                    "the clip out, or cut it longer"
                )
            return finite_features(table, name=name)

        return features


def _unit(name: str) -> str:
    return next((unit for pattern, unit in _UNITS if re.search(pattern, name)), "")


def _smile(feature_set: str, *, functionals: bool) -> Any:
    opensmile = _opensmile()
    levels = opensmile.FeatureLevel
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of sets that have a newer version
        return opensmile.Smile(
            opensmile.FeatureSet[feature_set], levels.Functionals if functionals else levels.LowLevelDescriptors
        )


def _opensmile() -> Any:
    try:
        import opensmile
    except (ImportError, OSError) as error:  # OSError: its library does not fit this machine
        raise ConfigError(f"openSMILE cannot be used ({error}); pip install 'fmltk[opensmile]'") from error
    return opensmile
