"""`--audio librosa:FILE.toml`: any of librosa's functions of a sound, with arguments, one step per hop.

    sample_rate_hz = 22050
    hop_length = 512

    [[features]]
    function = "mfcc"
    n_mfcc = 20
    deltas = 2  # their first and second differences in time too

A file names functions of the table below, and their arguments; nothing else that it names is looked up. Features are
named like their function, and numbered where it gives several. `librosa:ch-sims-33` and `librosa:fet-24` are files that
come with fmltk.

librosa reads a clip whole, so memory grows with it: one whose spectrum has more than MAX_VALUES numbers is refused.
"""

from __future__ import annotations

import importlib.metadata
import inspect
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.extractors.contract import Card, Features, Reads, Samples
from fmltk.toolkit.extractors.librosa_file import FUNCTIONS, Call, LibrosaFile, librosa_function, read_file
from fmltk.toolkit.extractors.sound import check_sound, finite_features

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

MAX_VALUES = 2**26  # of a clip's largest spectrum: 25 minutes at 22,050 Hz, hop 512 and n_fft 2048
_TRIAL_S = 2
_N_FFT, _N_MELS = 2048, 128  # librosa's defaults


def extractor(argument: str | None) -> LibrosaSet:
    """Return the feature set of a file. Raises ConfigError if the file, or what it asks of librosa, is at fault.

    The functions are tried on two seconds of noise: what librosa refuses is said before a run begins.
    """
    file = read_file(argument)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, _TRIAL_S * file.rate_hz).astype(np.float32)
    trials = [_try(call, noise, file) for call in file.calls]
    if len({len(trial) for trial in trials}) > 1:
        said = ", ".join(f"{call.name} {len(trial)}" for call, trial in zip(file.calls, trials, strict=True))
        raise ConfigError(
            f"{file.name}: the functions give different numbers of steps for {_TRIAL_S} s of audio ({said}); give all "
            "the same center, and n_fft or frame_length where it is false"
        )
    found = LibrosaSet(file, tuple(trial.shape[1] for trial in trials))
    names = [name for name, _ in found.card.features]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigError(f'{file.name} has {twice} twice; give each a name of its own, such as name = "{twice}_b"')
    return found


def _try(call: Call, noise: NDArray[np.float32], file: LibrosaFile) -> NDArray[np.float32]:
    """Return a call's features of noise. Raises ConfigError where its arguments give none that say anything."""
    arguments = dict(call.arguments)
    n_mfcc, n_most = arguments.get("n_mfcc", 1), arguments.get("n_mels", _N_MELS)
    if isinstance(n_mfcc, int) and not 1 <= n_mfcc <= n_most:  # librosa gives what there is; below 0 it leaves some out
        raise ConfigError(f"{file.name}: n_mfcc of {call.name} is {n_mfcc}; expected 1 to {n_most}, which is n_mels")
    fmin, fmax = arguments.get("fmin"), arguments.get("fmax")
    if isinstance(fmin, (int, float)) and isinstance(fmax, (int, float)) and fmin >= fmax:
        raise ConfigError(f"{file.name}: {call.name} has fmin = {fmin} and fmax = {fmax}; fmin is the lower one")
    try:
        values = _values(call, noise, file)
    except Exception as error:  # librosa and what is below it raise anything for arguments that do not fit
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise ConfigError(f"{file.name}: librosa refuses the arguments of {call.name} ({reason})") from error
    if values.ndim != 2:
        raise ConfigError(f"{file.name}: {call.name} does not give one vector per step; change its arguments")
    if not np.isfinite(values).any(axis=0).all():
        raise ConfigError(f"{file.name}: {call.name} gives no finite numbers; change its arguments")
    if len(values) > 1 and (values == values[0]).all():
        raise ConfigError(f"{file.name}: {call.name} gives the same numbers in every step; change its arguments")
    return values


@dataclass(frozen=True, slots=True)
class LibrosaSet:
    """Functions of librosa as a feature set; see `contract.Extractor`. n_values : how many each function gives."""

    file: LibrosaFile
    n_values: tuple[int, ...]

    @property
    def card(self) -> Card:
        """The set's card."""
        features = tuple(
            feature
            for call, n_values in zip(self.file.calls, self.n_values, strict=True)
            for feature in _names(call, n_values // (call.deltas + 1))
        )
        calls = [
            {"function": call.function, "deltas": call.deltas, **{key: _plain(value) for key, value in call.arguments}}
            for call in self.file.calls
        ]
        return Card(
            name=self.file.name,
            modality="audio",
            reads=Reads.SAMPLES,
            features=features,
            dimension=len(features),
            rate_hz=self.file.rate_hz / self.file.hop_length,
            sample_rate_hz=self.file.rate_hz,
            settings={"hop_length": self.file.hop_length, "features": calls},
            versions={"librosa": importlib.metadata.version("librosa")},
        )

    def load(self, device: str) -> Callable[[Samples], Features]:
        """Return the function of one clip; librosa runs on the CPU, whatever the device."""
        return self._features

    def _features(self, samples: Samples) -> Features:
        name = self.file.name
        check_sound(samples, window_samples=1, name=name)
        n_values = (1 + len(samples.values) // self.file.hop_length) * self._values_per_step()
        if n_values > MAX_VALUES:
            longest_s = MAX_VALUES // self._values_per_step() * self.file.hop_length / self.file.rate_hz
            raise FeatureError(
                f"the audio is {len(samples.values) / samples.rate_hz:.0f} s long, and librosa, which reads it whole, "
                f"gets {longest_s:.0f} s of {name} at most: cut the clip, or raise hop_length"
            )
        from librosa.util.exceptions import LibrosaError

        parts = []
        for call in self.file.calls:
            try:
                parts.append(_values(call, np.asarray(samples.values), self.file))
            except (LibrosaError, ValueError, IndexError) as error:
                reason = " ".join(str(error).split())[:200]
                raise FeatureError(f"librosa's {call.function} refuses this audio ({reason})") from error
        lengths = {len(part) for part in parts}
        if len(lengths) > 1:
            raise FeatureError(f"the functions of {name} give different numbers of steps: {sorted(lengths)}")
        return finite_features(np.concatenate(parts, axis=1), name=name)

    def _values_per_step(self) -> int:
        """Return how many numbers the largest spectrum has per step."""
        sizes = [*self.n_values]
        for call in self.file.calls:
            arguments = dict(call.arguments)
            n_fft = max(arguments.get(key, _N_FFT) for key in ("n_fft", "frame_length"))
            sizes += [1 + n_fft // 2, arguments.get("win_length", 0), arguments.get("n_mels", 0)]
        return int(max(sizes))


def _values(call: Call, samples: NDArray[np.float32], file: LibrosaFile) -> NDArray[np.float32]:
    """Return the features of a sound, float32 (n_steps, d). Raises what librosa raises."""
    import librosa

    function = librosa_function(call.function)
    rate = {"sr": file.rate_hz} if "sr" in inspect.signature(function).parameters else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of short and of silent sound
        values = function(y=samples, **rate, hop_length=file.hop_length, **dict(call.arguments))  # (d, n_steps)
        orders = range(1, call.deltas + 1)
        parts = [values, *(librosa.feature.delta(values, order=order) for order in orders)]
    features: NDArray[np.float32] = np.concatenate(parts).T.astype(np.float32)
    return features


def _names(call: Call, n_values: int) -> list[tuple[str, str]]:
    """Return names and units of a function's features, those of its differences in time after them."""
    unit = FUNCTIONS[call.function]
    names = [call.name] if n_values == 1 else [f"{call.name}_{k}" for k in range(n_values)]
    prefixes = ("", "delta_", "delta2_")[: call.deltas + 1]
    return [(f"{prefix}{name}", f"{unit} per step" if prefix else unit) for prefix in prefixes for name in names]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
