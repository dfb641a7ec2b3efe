"""The space of a search: for each setting a range or a list of choices, from a TOML file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any

from fmltk.model.config import settings_class
from fmltk.model.settings import checked
from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.documents import read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from optuna.distributions import BaseDistribution

    from fmltk.model.settings import Settings

_KEYS = {"low", "high", "log", "step", "choices"}
_LAYER_SETTINGS = ("drp", "hid", "out", "dim")  # of a modality, as the paper's table 3 names them: tdrp, thid, ...


@dataclass(frozen=True, slots=True)
class Range:
    """One setting's values: `choices`, or all from `low` to `high`, in steps or on a logarithmic scale."""

    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    step: float | None = None

    def distribution(self) -> BaseDistribution:
        """Return the range as Optuna has it."""
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        if self.choices:
            return CategoricalDistribution(self.choices)
        if isinstance(self.low, int) and isinstance(self.high, int):
            return IntDistribution(self.low, self.high, log=self.log, step=int(self.step or 1))
        return FloatDistribution(self.low, self.high, log=self.log, step=self.step)

    def holds(self, value: object) -> bool:
        """Return whether a value is one of them, so that it can be a trial."""
        if self.choices:
            return value in self.choices
        if not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = (value - self.low) / self.step if self.step else 0.0
        return abs(steps - round(steps)) < 1e-8

    def widened(self, value: Any) -> Range:
        """Return the range with a value in it, without its steps where they pass it over.

        >>> Range(choices=(16, 32)).widened(24).choices, Range((), 0.0, 0.5, step=0.1).widened(0.7).high
        ((16, 24, 32), 0.7)
        """
        if self.holds(value):
            return self
        if self.choices:
            return replace(self, choices=tuple(sorted((*self.choices, value))))
        wide = replace(self, low=min(self.low, value), high=max(self.high, value))
        return wide if wide.holds(value) else replace(wide, step=None)


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trial proposes as people write it: 0.3 for 0.30000000000000004.

    >>> plain({"fdrp": 3 * 0.1, "bs": 32})
    {'fdrp': 0.3, 'bs': 32}
    """
    return {name: float(f"{value:.9g}") if isinstance(value, float) else value for name, value in values.items()}


def read_space(config: Settings, path: Path | None) -> dict[str, Range]:
    """Return what is searched of a model: a file's ranges, else the model's own, else those of any model that it has.

    Ranges that are not a file's are widened to the values of `config`, so that its settings can be a trial; those of
    modalities that are not read are left out.

    Raises ConfigError if the file names a setting that the model does not have, or a range is not one.
    """
    model, preset = config.model, config.as_dict()
    folder = resources.files("fmltk.model.tuning") / "spaces"
    own = folder / f"{model}.toml"
    source = str(path or own)
    if path is None:
        document = read_toml(own if own.is_file() else folder / "default.toml")
        unread = {
            f"{letter.lower()}{layer}"
            for letter in MODALITY_OF.keys() - set(config.modalities.split(","))
            for layer in _LAYER_SETTINGS
        }
        document = {name: value for name, value in document.items() if name in preset and name not in unread}
    else:
        document = read_toml(path)
    ranges = {name: _range(name, value, source, model) for name, value in document.items()}
    if path is None:
        ranges = {name: one.widened(preset[name]) for name, one in ranges.items()}
    if not ranges:
        raise ConfigError(f"{source}: no setting of {model} is searched; name one, such as [lr] with low and high")
    return ranges


def _range(name: str, value: object, source: str, model: str) -> Range:
    where = f"{source}: [{name}]"
    if not isinstance(value, dict) or not value or set(value) - _KEYS:
        raise ConfigError(f"{where} must have low and high (and log or step), or choices; it is {value!r}")
    if "choices" in value:
        choices = value["choices"]
        if not isinstance(choices, list) or len(choices) < 2 or len(value) > 1:
            raise ConfigError(f"{where}: choices must be two values or more, and nothing else; it is {value!r}")
        _check(name, {str(one): one for one in choices}, source, model)
        return Range(choices=tuple(choices))
    try:
        low, high = value["low"], value["high"]
        right = low < high and not (value.get("log") and (low <= 0 or "step" in value))
    except (KeyError, TypeError):
        right = False
    if not right:
        raise ConfigError(f"{where} must have a low below its high, above 0 and without step if log; it is {value!r}")
    _check(name, {"low": low, "high": high}, source, model)
    return Range((), low, high, bool(value.get("log", False)), value.get("step"))


def _check(name: str, values: Mapping[str, object], source: str, model: str) -> None:
    """Raise ConfigError if a model's setting cannot have one of the values."""
    kind = settings_class(model)
    for value in values.values():
        kind(**{**checked(kind, {name: value}, source, model=model), "model": model})
