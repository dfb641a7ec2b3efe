"""The settings of a run: table 3's parameters by preset, changed by a TOML file and by ``--set``.

Source: paper, table 3 and section 5.1.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io import documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fmltk.toolkit.conditions import Scale

PRESETS = ("ch-sims", "mosi-aligned", "mosi-unaligned", "mosei-aligned", "mosei-unaligned")
CHOICES = {
    "bimodal": ("auto", "labels", "multimodal", "mean-unimodal"),
    "unimodal": ("auto", "labels", "multimodal"),
    "missing": ("drop", "mean"),
    "fusion_inputs": ("in-sample", "cross-fit"),
    "retrain": ("always", "auto", "never"),
}


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting that changes a run's numbers. The first fourteen are the names of the paper's table 3.

    Attributes
    ----------
    lr, bs : learning rate of Adam, clips per batch
    tdrp, adrp, vdrp : dropout on the text LSTM's last state, on the mean audio and on the mean vision features
    thid, ahid, vhid : hidden units of the text LSTM and of the audio and vision layers
    tout : outputs of the text network
    fdrp, fdim : dropout on the input, and hidden units, of the bimodal and multimodal predictors
    tdim, adim, vdim : hidden units of the unimodal predictors
    omega_t, omega_a, omega_v, omega_at, omega_vt, omega_av, omega_m : the tasks' weights in the loss (eq. 6: all 1)
    patience, max_epochs : epochs without improvement before a stage stops (section 5.1: 20), and the most it runs
    fusion_lr : learning rate of the fusion stage; 0 takes lr
    weight_decay : decoupled weight decay; 0 is plain Adam, as in the paper
    standard_limit : standardised features are limited to this many standard deviations
    bimodal, unimodal : where these tasks' labels come from; auto is "labels" where there are any, else "multimodal"
    missing : what becomes of a clip that lacks a modality: drop it where that modality is needed, or take the mean
    fusion_inputs : H of the training clips as the stages give it, or out of fold by video (beyond the paper)
    folds : how many folds cross-fit makes
    valid_fraction, test_fraction : shares of videos drawn where the labels bring no such split
    split_seed : seed of that draw
    retrain : whether step 1 runs when an earlier run's H is given: always, never, or by eq. 8
    retrain_draws, retrain_clips, retrain_threshold : eq. 8's number of draws, clips per draw, and least share of hits
    """

    lr: float = 0.001
    bs: int = 64
    tdrp: float = 0.0
    adrp: float = 0.0
    vdrp: float = 0.0
    thid: int = 128
    ahid: int = 16
    vhid: int = 128
    tout: int = 128
    fdrp: float = 0.0
    fdim: int = 64
    tdim: int = 64
    adim: int = 16
    vdim: int = 64
    omega_t: float = 1.0
    omega_a: float = 1.0
    omega_v: float = 1.0
    omega_at: float = 1.0
    omega_vt: float = 1.0
    omega_av: float = 1.0
    omega_m: float = 1.0
    patience: int = 20
    max_epochs: int = 500
    fusion_lr: float = 0.0
    weight_decay: float = 0.0
    standard_limit: float = 5.0
    bimodal: str = "auto"
    unimodal: str = "auto"
    missing: str = "drop"
    fusion_inputs: str = "in-sample"
    folds: int = 5
    valid_fraction: float = 0.2
    test_fraction: float = 0.2
    split_seed: int = 0
    retrain: str = "always"
    retrain_draws: int = 5
    retrain_clips: int = 10
    retrain_threshold: float = 0.74
    model: str = "fmlmsn"
    preset: str = "ch-sims"

    def __post_init__(self) -> None:
        for key, choices in CHOICES.items():
            if getattr(self, key) not in choices:
                raise ConfigError(f"{key} is {getattr(self, key)!r}; it must be one of {', '.join(choices)}")
        for key in ("tdrp", "adrp", "vdrp", "fdrp", "valid_fraction", "test_fraction"):
            if not 0 <= getattr(self, key) < 1:
                raise ConfigError(f"{key} is {getattr(self, key)}; it must be at least 0 and below 1")
        for key in ("bs", "thid", "ahid", "vhid", "tout", "fdim", "tdim", "adim", "vdim", "patience", "max_epochs"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} is {getattr(self, key)}; it must be a whole number of 1 or more")
        for key in ("retrain_draws", "retrain_clips"):
            if getattr(self, key) < 1:
                raise ConfigError(f"{key} is {getattr(self, key)}; it must be a whole number of 1 or more")
        if self.folds < 2:
            raise ConfigError(f"folds is {self.folds}; out-of-fold inputs need at least 2")
        for key in ("lr", "standard_limit"):
            if not 0 < getattr(self, key) < math.inf:  # infinity is a number neither in JSON nor in our TOML
                raise ConfigError(f"{key} is {getattr(self, key)}; it must be above 0 and finite")
        for key in ("fusion_lr", "weight_decay", *(f"omega_{task}" for task in ("t", "a", "v", "at", "vt", "av", "m"))):
            if not 0 <= getattr(self, key) < math.inf:
                raise ConfigError(f"{key} is {getattr(self, key)}; it must be 0 or more, and finite")

    def weight(self, task: str) -> float:
        """Return a task's weight in the loss (eq. 6).

        >>> Config(omega_at=0.5).weight("AT")
        0.5
        """
        return float(getattr(self, f"omega_{task.lower()}"))

    def as_dict(self) -> dict[str, Any]:
        """Return every setting by name, in the order of the class."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    def changed(self, **settings: object) -> Config:
        """Return a copy with some settings changed; names and types are checked as for a file.

        >>> Config().changed(bs=32).bs
        32
        """
        return dataclasses.replace(self, **_checked(settings, "settings"))


def load_config(
    preset: str | None = None, *, path: Path | None = None, settings: Sequence[str] = (), default: str = "ch-sims"
) -> Config:
    """Return a preset's settings, changed by a TOML file, changed by KEY=VALUE pairs.

    Parameters
    ----------
    preset : one of PRESETS; None takes the file's own ``preset`` key, else `default`
    path : a TOML file of ``key = value`` lines
    settings : texts such as "lr=0.002", the last of the same key wins

    Raises ConfigError for an unknown preset or key (naming the nearest), a value of the wrong type or out of range, and
    a file that cannot be read.

    >>> load_config("mosi-aligned", settings=["bs=32"]).tout
    32
    """
    from_file = read_toml(path) if path is not None else {}
    name = preset or str(from_file.get("preset", default))
    values: dict[str, Any] = {**_preset_values(name), **from_file, **_parse_settings(settings), "preset": name}
    return Config(**values)


def as_config(config: Config | Mapping[str, object] | str | os.PathLike[str] | None, *, default: str) -> Config:
    """Return settings from what a caller of Python has: a preset's name, a TOML file, a dict, or nothing.

    A dict may name its preset beside its settings; it, a file without one, and None take the preset `default`.

    Raises ConfigError as `load_config` does, also where a text is neither a preset nor a file.

    >>> as_config({"preset": "mosi-aligned", "bs": 32}, default="ch-sims").tout
    32
    >>> as_config("chsims", default="ch-sims")
    Traceback (most recent call last):
    fmltk.toolkit.errors.ConfigError: 'chsims' is neither a preset nor a file; the nearest is 'ch-sims'; presets: ...
    """
    if isinstance(config, Config):
        return config
    if config is None:
        return load_config(default=default)
    if not isinstance(config, str | os.PathLike):
        return load_config(str(config.get("preset", default))).changed(**config)
    if config in PRESETS:
        return load_config(str(config))
    path = Path(config)
    if not path.exists() and path.suffix != ".toml":
        nearest = _nearest(str(config), PRESETS)
        raise ConfigError(f"{str(config)!r} is neither a preset nor a file{nearest}; presets: {', '.join(PRESETS)}")
    return load_config(path=path, default=default)


def default_preset(scale: Scale) -> str:
    """Return the preset for labels of a scale, where the user names none.

    >>> from fmltk.toolkit.conditions import Scale
    >>> default_preset(Scale(-1, 1)), default_preset(Scale(-3, 3))
    ('ch-sims', 'mosi-unaligned')
    """
    return "ch-sims" if scale.high <= 1 else "mosi-unaligned"


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's settings, each checked by name and type."""
    return _checked(documents.read_toml(path), str(path))


def write_toml(config: Config, path: Path) -> None:
    """Write every setting as TOML, which `load_config` reads back to the same."""
    from fmltk.toolkit.io.files import write_bytes

    lines = [f"{key} = {documents.json_text(value, ensure_ascii=True)}\n" for key, value in config.as_dict().items()]
    write_bytes(path, "".join(lines).encode())


def config_from_dict(values: Mapping[str, object], source: str) -> Config:
    """Return settings that a checkpoint or a run holds; `source` names it in errors."""
    return Config(**_checked(values, source))


def _preset_values(name: str) -> dict[str, Any]:
    if name not in PRESETS:
        raise ConfigError(f"there is no preset {name!r}{_nearest(name, PRESETS)}; presets: {', '.join(PRESETS)}")
    preset = resources.files("fmltk.model") / "presets" / f"{name}.toml"
    return _checked(documents.read_toml(preset), f"preset {name}")


def _parse_settings(settings: Sequence[str]) -> dict[str, Any]:
    import tomllib

    parsed: dict[str, object] = {}
    for setting in settings:
        key, separator, text = setting.partition("=")
        if not separator:
            raise ConfigError(f"--set {setting!r} is not KEY=VALUE, such as lr=0.002")
        try:
            parsed[key.strip()] = tomllib.loads(f"value = {text.strip()}")["value"]
        except (ValueError, RecursionError):
            parsed[key.strip()] = text.strip()  # a bare word such as bimodal=multimodal
    return _checked(parsed, "--set")


def _checked(values: Mapping[str, object], source: str) -> dict[str, Any]:
    types = {field.name: type(field.default) for field in dataclasses.fields(Config)}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in types:
            raise ConfigError(f"{source}: there is no setting {key!r}{_nearest(key, tuple(types))}")
        wanted = types[key]
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)  # noqa: PLW2901 - TOML's 1 for 1.0
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(f"{source}: {key} is {value!r}; it must be {_TYPE_NAMES[wanted]}")
        checked[key] = value
    return checked


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    return f"; the nearest is {near[0]!r}" if near else ""


_TYPE_NAMES: dict[type, str] = {int: "a whole number", float: "a number", str: "text"}
