"""What is written after `hf:`: a model, and which of its layers; the same for sound, text and pictures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LAYER_OPTIONS = ("layer", "layers")
_OPTION = re.compile(r"([a-z_]+)=([^,=/\\]*)")
_SPAN = re.compile(r"(\d+)-(\d+)")


def read_argument(argument: str | None, options: Sequence[str] = LAYER_OPTIONS) -> tuple[str, dict[str, str]]:
    """Return (model, its options) of an argument such as "facebook/hubert-base-ls960,layer=9".

    options : those that there are; a folder whose name has commas is read as it is

    Raises ConfigError if there is no model, or an option that is unknown or given twice.

    >>> read_argument("facebook/hubert-base-ls960,layer=9")
    ('facebook/hubert-base-ls960', {'layer': '9'})
    """
    if not argument:
        raise ConfigError("hf needs a model: write hf:NAME of one on the hub, or hf:FOLDER")
    if Path(argument).expanduser().is_dir():
        return argument, {}
    model, *rest = argument.split(",")
    while rest and not _OPTION.fullmatch(rest[0]):  # commas of a folder's name
        model = f"{model},{rest.pop(0)}"
    given: dict[str, str] = {}
    for one in rest:
        name, _, value = one.partition("=")
        if name not in options:
            raise ConfigError(f"hf:{argument} has the unknown option {one!r}; there are {', '.join(options)}")
        if name in given:
            raise ConfigError(f"hf:{argument} gives {name} twice; give it once")
        given[name] = value
    return model, given


@dataclass(frozen=True, slots=True)
class Layers:
    """Which layers' mean the features are: from `first` up to and with `last`, as transformers numbers hidden states.

    0 is what the first layer reads. first and last None: the model's last hidden state; last None: every layer from
    `first` on.
    """

    first: int | None = None
    last: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Layers:
        """Return the layers of options: `layer=last`, `layer=9`, `layers=mean` (all but 0) or `layers=5-9`.

        Raises ConfigError for other values.

        >>> Layers.of({"layers": "5-9"})
        Layers(first=5, last=9)
        """
        layer, layers = options.get("layer"), options.get("layers")
        if layer is not None and layers is not None:
            raise ConfigError(f"layer={layer} and layers={layers} are both given; give one")
        if layers == "mean":
            return cls(first=1)
        if layers is not None:
            span = _SPAN.fullmatch(layers)
            if span is None or int(span[1]) > int(span[2]):
                raise ConfigError(f"layers={layers} is not a choice of layers; write layers=mean or, say, layers=5-9")
            return cls(int(span[1]), int(span[2]))
        if layer in (None, "last"):
            return cls()
        if not re.fullmatch(r"\d+", str(layer), re.ASCII):
            raise ConfigError(f"layer={layer} is not a layer; write layer=last or, say, layer=9; a mean is layers=5-9")
        return cls(int(str(layer)), int(str(layer)))

    def __str__(self) -> str:
        if self.first is None:
            return "last"
        if self.last is None:
            return "mean"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def check(self, n_layers: int) -> None:
        """Raise ConfigError if a model of so many layers does not have them."""
        highest = max(self.first or 0, self.last or 0)
        if highest > n_layers:
            raise ConfigError(f"layer {highest} was asked for, but the model has layers 0 to {n_layers}")

    def pick(self, output: Any) -> Any:
        """Return what a model's output holds in these layers: a tensor like its last hidden state.

        output : of a model that was called with `output_hidden_states=` this object's `all_states`
        """
        if self.first is None:
            return output.last_hidden_state
        last = len(output.hidden_states) - 1 if self.last is None else self.last
        chosen = output.hidden_states[self.first : last + 1]
        return sum(chosen[1:], start=chosen[0]) / len(chosen)

    @property
    def all_states(self) -> bool:
        """Whether a model has to return its hidden states."""
        return self.first is not None
