"""The file of `--audio librosa:FILE.toml`: which of librosa's functions, with which arguments."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.documents import read_toml
from fmltk.toolkit.settings import AUDIO_RATE_HZ, HOP_SAMPLES

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.resources.abc import Traversable

# Functions of librosa.feature that turn sound into real numbers per step, and the unit of these. Others take features
# (delta: see `deltas`; stack_memory), give one number per clip (tempo), or complex ones (fourier_tempogram).
FUNCTIONS = {
    "chroma_cens": "relative to the step's norm",
    "chroma_cqt": "relative to the step's largest",
    "chroma_stft": "relative to the step's largest",
    "chroma_vqt": "relative to the step's largest",
    "melspectrogram": "power",
    "mfcc": "dB",
    "poly_features": "coefficient",
    "rms": "full scale",
    "spectral_bandwidth": "Hz",
    "spectral_centroid": "Hz",
    "spectral_contrast": "dB",
    "spectral_flatness": "share",
    "spectral_rolloff": "Hz",
    "tempogram": "autocorrelation",
    "tempogram_ratio": "autocorrelation",
    "tonnetz": "coordinate",
    "zero_crossing_rate": "crossings per sample",
}
_GIVEN = ("y", "sr", "hop_length", "kwargs", "dtype")  # by the set; a file may not
_NOT_SETTINGS = (
    "S",
    "C",
    "V",
    "chroma",
    "onset_envelope",
    "tg",
    "bpm",
    "freq",
    "freqs",
    "centroid",
    "prior",
    "aggregate",
)
_KEYS = ("sample_rate_hz", "hop_length", "features")
_OWN_KEYS = ("function", "name", "deltas")
_MAX_INTEGER = 65_536  # of an argument: enough for every spectrum, too little to fill the memory
_MAX_RATE_HZ = 192_000
_SHIPPED = "librosa_sets"


@dataclass(frozen=True, slots=True)
class Call:
    """One function of a set.

    function : its name in librosa.feature; name : of its features
    arguments : besides the sound, its rate and the hop
    deltas : how many orders of differences in time are added
    """

    function: str
    name: str
    arguments: tuple[tuple[str, Any], ...]
    deltas: int


@dataclass(frozen=True, slots=True)
class LibrosaFile:
    """The contents of a file; `name` is the file's without its ending."""

    name: str
    rate_hz: int
    hop_length: int
    calls: tuple[Call, ...]


def read_file(argument: str | None) -> LibrosaFile:
    """Return what a file says: a path, or the name of one that comes with fmltk.

    Raises ConfigError if it cannot be read, or has a key, function, argument or value that there is not.
    """
    path, name = _find(argument)
    document = read_toml(path)
    _check_keys(document, _KEYS, of=name)
    rows = document.get("features")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise ConfigError(f'{name} names no function: write [[features]] and, below it, function = "mfcc"')
    rate_hz = _integer(document, "sample_rate_hz", AUDIO_RATE_HZ, range(1000, _MAX_RATE_HZ + 1), of=name)
    hop_length = _integer(document, "hop_length", HOP_SAMPLES, range(1, _MAX_INTEGER + 1), of=name)
    calls = tuple(_call(row, of=name) for row in rows)
    return LibrosaFile(name, rate_hz, hop_length, calls)


def _find(argument: str | None) -> tuple[Path | Traversable, str]:
    folder = resources.files(__package__) / _SHIPPED
    shipped = sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir())
    if argument in shipped:
        return folder / f"{argument}.toml", argument
    if not argument or not Path(argument).expanduser().is_file():
        said = f"librosa:{argument} is not a file" if argument else "librosa needs a file"
        raise ConfigError(f"{said}: write librosa:FILE.toml, or one that comes with fmltk: {', '.join(shipped)}")
    path = Path(argument).expanduser()
    return path, path.name.removesuffix(".toml")


def _call(row: dict[str, Any], *, of: str) -> Call:
    function = row.get("function")
    if not isinstance(function, str) or function not in FUNCTIONS:
        raise ConfigError(f"{of} has the function {function!r}; there are {', '.join(FUNCTIONS)}")
    known = arguments_of(function)
    _check_keys(row, (*_OWN_KEYS, *known), of=f"{of}: {function}")
    name = row.get("name", function)
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{of}: the name of {function} is {name!r}; expected text")
    arguments = tuple((key, _value(key, row[key], of=f"{of}: {function}")) for key in row if key not in _OWN_KEYS)
    return Call(function, name, arguments, _integer(row, "deltas", 0, range(3), of=f"{of}: {function}"))


def arguments_of(function: str) -> tuple[str, ...]:
    """Return the arguments that a file may give to a function: its own, and those that it hands on.

    >>> "n_mels" in arguments_of("mfcc")
    True
    """
    import librosa

    hands_on: dict[str, tuple[Callable[..., Any], ...]] = {
        "chroma_stft": (librosa.filters.chroma,),
        "melspectrogram": (librosa.filters.mel,),
        "mfcc": (librosa.feature.melspectrogram, librosa.filters.mel),
        "tonnetz": (librosa.feature.chroma_cqt,),
        "zero_crossing_rate": (librosa.zero_crossings,),
    }
    functions = (librosa_function(function), *hands_on.get(function, ()))
    names = (name for one in functions for name in inspect.signature(one).parameters)
    return tuple(dict.fromkeys(name for name in names if name not in (*_GIVEN, *_NOT_SETTINGS)))


def librosa_function(function: str) -> Callable[..., Any]:
    """Return one of FUNCTIONS. Raises KeyError for any other name."""
    import librosa

    FUNCTIONS[function]
    found: Callable[..., Any] = getattr(librosa.feature, function)
    return found


def _check_keys(table: dict[str, Any], known: tuple[str, ...], *, of: str) -> None:
    unknown = next((key for key in table if key not in known), None)
    if unknown is None:
        return
    once = "; hop_length and sample_rate_hz stand once, above [[features]]" if unknown in ("hop_length", "sr") else ""
    raise ConfigError(f"{of} has no {unknown!r}; there are {', '.join(known)}{once}")


def _integer(table: dict[str, Any], key: str, default: int, allowed: range, *, of: str) -> int:
    value = table.get(key, default)
    if not isinstance(value, int) or isinstance(value, bool) or value not in allowed:
        raise ConfigError(f"{of}: {key} is {value!r}; expected a whole number from {allowed[0]} to {allowed[-1]}")
    return value


def _value(key: str, value: Any, *, of: str) -> Any:
    """Return an argument's value: a number, text, true or false, or a list of numbers as a tuple."""
    if isinstance(value, list):
        return tuple(_value(key, one, of=of) for one in value)
    if not isinstance(value, (bool, int, float, str)):
        raise ConfigError(f"{of}: {key} is a {type(value).__name__}; expected a number, text, true, false or a list")
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        raise ConfigError(f"{of}: {key} is {value}; expected {_MAX_INTEGER} at most")
    return value
