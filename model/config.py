"""The settings of a run: a preset of the model, changed by a TOML file and by ``--set``; FmlMSN's own settings.

Source: paper, table 3 and section 5.1.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.model.registry import model_spec
from fmltk.model.settings import Settings, checked, choice, count, nearest, share
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io import documents

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from importlib.resources.abc import Traversable

    from fmltk.toolkit.conditions import Scale

# Models of fmltk 0.1 whose names went to the published systems; what they recorded has no setting `variant`.
RENAMED = {"lf-dnn": "late-fusion", "mlf-dnn": "late-fusion-mt"}


@dataclass(frozen=True)
class Config(Settings):
    """FmlMSN's settings, by the names of the paper's table 3, and those that all models have.

    Attributes
    ----------
    tdrp, adrp, vdrp : dropout on the text LSTM's last state, on the mean audio and on the mean vision features
    thid, ahid, vhid : hidden units of the text LSTM and of the audio and vision layers
    tout : outputs of the text network
    fdrp, fdim : dropout on the input, and hidden units, of the bimodal and multimodal predictors
    tdim, adim, vdim : hidden units of the unimodal predictors
    fusion : how the fusion joins the H: side by side as in the paper, each times a gate, or their mean by attention
    losses : of a pairwise stage's tasks: weighted by omega as in the paper, or by what the stage learns of their noise
    text_mean : whether the text network also reads the mean of a text's steps
    """

    tdrp: float = share()
    adrp: float = share()
    vdrp: float = share()
    thid: int = count(128)
    ahid: int = count(16)
    vhid: int = count(128)
    tout: int = count(128)
    fdrp: float = share()
    fdim: int = count(64)
    tdim: int = count(64)
    adim: int = count(16)
    vdim: int = count(64)
    fusion: str = choice("concat", "gated", "attention")
    losses: str = choice("weighted", "uncertainty")
    text_mean: bool = False


def settings_class(model: str) -> type[Settings]:
    """Return the class of a model's settings; FmlMSN's where the model brings none.

    Raises ConfigError if no model has that name.
    """
    return model_spec(model).settings or Config


def preset_names(model: str) -> tuple[str, ...]:
    """Return the names of a model's presets, sorted.

    >>> preset_names("fmlmsn")
    ('ch-sims', 'mosei-aligned', 'mosei-unaligned', 'mosi-aligned', 'mosi-unaligned')
    """
    folder = _preset_folder(model)
    files = () if folder is None else folder.iterdir()
    return tuple(sorted(file.name.removesuffix(".toml") for file in files if file.name.endswith(".toml")))


def _preset_folder(model: str) -> Traversable | None:
    spec = model_spec(model)
    if spec.presets is None and spec.settings is None:
        return resources.files("fmltk.model") / "presets" / "fmlmsn"
    return spec.presets


def load_config(
    preset: str | None = None,
    *,
    path: Path | None = None,
    settings: Sequence[str] = (),
    default: str = "ch-sims",
) -> Settings:
    """Return a preset's settings, changed by a TOML file, changed by KEY=VALUE pairs.

    Parameters
    ----------
    preset : one of the model's (`preset_names`); None takes the file's own ``preset`` key, else `default`
    path : a TOML file of ``key = value`` lines
    settings : texts such as "lr=0.002", the last of the same key wins; "model=lf-dnn" names the model

    Raises ConfigError for an unknown preset or key (naming the nearest), a value of the wrong type or out of range, and
    a file that cannot be read.

    >>> load_config("mosi-aligned", settings=["bs=32"]).bs
    32
    """
    changes = [("--set", _parse_settings(settings))]
    if path is not None:
        changes.insert(0, (str(path), documents.read_toml(path)))
    return _combined(preset, changes, default)


def _combined(preset: str | None, changes: Sequence[tuple[str, Mapping[str, object]]], default: str) -> Settings:
    """Return a preset's settings, changed by each source of values in turn."""
    merged = {key: value for _, values in changes for key, value in values.items()}
    model = str(merged.get("model", "fmlmsn"))
    kind = settings_class(model)
    typed = [checked(kind, values, source, model=model) for source, values in changes]
    name = preset or str(merged.get("preset", default))
    values = _preset_values(name, model, kind)
    for more in typed:
        values |= more
    return kind(**{**values, "preset": name, "model": model})


def as_config(config: Settings | Mapping[str, object] | str | os.PathLike[str] | None, *, default: str) -> Settings:
    """Return settings from what a caller of Python has: a preset's name, a TOML file, a dict, or nothing.

    A dict may name its model and its preset besides its settings; it, a file without one, and None take the preset
    `default`.

    Raises ConfigError as `load_config` does, also where a text is neither a preset nor a file.

    >>> as_config({"preset": "mosi-aligned", "bs": 32}, default="ch-sims").bs
    32
    >>> as_config("chsims", default="ch-sims")
    Traceback (most recent call last):
    fmltk.toolkit.errors.ConfigError: 'chsims' is neither a preset nor a file; the nearest is 'ch-sims'; presets: ...
    """
    if isinstance(config, Settings):
        return config
    if config is None:
        return load_config(default=default)
    if not isinstance(config, str | os.PathLike):
        return _combined(None, [("settings", config)], default)
    presets = preset_names("fmlmsn")
    if config in presets:
        return load_config(str(config))
    path = Path(config)
    if not path.exists() and path.suffix.lower() != ".toml":
        near = nearest(str(config), presets)
        raise ConfigError(f"{str(config)!r} is neither a preset nor a file{near}; presets: {', '.join(presets)}")
    return load_config(path=path, default=default)


def default_preset(scale: Scale) -> str:
    """Return the preset for labels of a scale, where the user names none.

    >>> from fmltk.toolkit.conditions import Scale
    >>> default_preset(Scale(-1, 1)), default_preset(Scale(-3, 3))
    ('ch-sims', 'mosi-unaligned')
    """
    return "ch-sims" if scale.high <= 1 or scale.kind == "nominal" else "mosi-unaligned"


def write_toml(config: Settings, path: Path) -> None:
    """Write every setting as TOML, which `load_config` reads back to the same."""
    from fmltk.toolkit.io.files import write_bytes

    lines = [f"{key} = {documents.json_text(value, ensure_ascii=True)}\n" for key, value in config.as_dict().items()]
    write_bytes(path, "".join(lines).encode())


def config_from_dict(values: Mapping[str, object], source: str) -> Settings:
    """Return settings that a checkpoint or a run holds; `source` names it in errors.

    A model that fmltk 0.1 had by another name has today's.
    """
    model = str(values.get("model", "fmlmsn"))
    if model in RENAMED and "variant" not in values:
        model = RENAMED[model]
    kind = settings_class(model)
    return kind(**{**checked(kind, values, source, model=model), "model": model})


def _preset_values(name: str, model: str, kind: type[Settings]) -> dict[str, Any]:
    """Return a preset's values; one of a data set may stand for its aligned and its unaligned form."""
    known, folder = preset_names(model), _preset_folder(model)
    if folder is None:
        return {}  # the model of another package, whose defaults are its only settings
    found = name if name in known else name.removesuffix("-aligned").removesuffix("-unaligned")
    if found not in known:
        raise ConfigError(
            f"{model} has no preset {name!r}{nearest(name, known)}; presets: {', '.join(known)} "
            f'(--preset {known[0]}, or preset = "{known[0]}" in a file for --config)'
        )
    return checked(kind, documents.read_toml(folder / f"{found}.toml"), f"preset {found} of {model}", model=model)


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
    return parsed
