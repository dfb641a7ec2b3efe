"""The text after the colon of a set, such as `hf:NAME,layer=9`: a model or file, and options.

The options of a model's layers mean the same for audio, text and images.
"""

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
_SPAN = re.compile(r"(\d+)-(\d+)", re.ASCII)
_FINAL = re.compile(r"(?:mean-)?last-([1-9]\d*)", re.ASCII)


def read_argument(
    argument: str | None,
    options: Sequence[str] = LAYER_OPTIONS,
    *,
    of: str = "hf",
    needs: str = "a model: write hf:NAME of one on the hub, or hf:FOLDER",
) -> tuple[str, dict[str, str]]:
    """Return (model, its options) of an argument such as "facebook/hubert-base-ls960,layer=9".

    options : those that there are; a folder whose name has commas is read as it is, and a comma that no option follows
        is a part of the value before it
    of, needs : the set's name, and what it cannot do without, for messages

    Raises ConfigError without a model, or if an option that is unknown or given twice.

    >>> read_argument("facebook/hubert-base-ls960,layer=9")
    ('facebook/hubert-base-ls960', {'layer': '9'})
    >>> read_argument("tables/,columns=AU01,AU02", ("columns",))
    ('tables/', {'columns': 'AU01,AU02'})
    """
    if not argument:
        raise ConfigError(f"{of} needs {needs}")
    if Path(argument).expanduser().exists():
        return argument, {}
    model, *rest = argument.split(",")
    while rest and not _OPTION.fullmatch(rest[0]):  # commas of a folder's name
        model = f"{model},{rest.pop(0)}"
    given: dict[str, str] = {}
    name = ""
    for one in rest:
        option, separator, value = one.partition("=")
        if not separator:
            given[name] = f"{given[name]},{one}"
            continue
        name = option
        if name not in options:
            raise ConfigError(f"{of}:{argument} has the unknown option {one!r}; there are {', '.join(options)}")
        if name in given:
            raise ConfigError(f"{of}:{argument} gives {name} twice; give it once")
        given[name] = value
    return model, given


def set_name(model: str, layers: Layers) -> str:
    """Return the name of a model's feature set: letters, digits, dots, dashes and underscores.

    model : its name on the hub, or the last part of its folder's path

    >>> set_name("facebook/hubert-base-ls960", Layers(9, 9))
    'hubert-base-ls960-layer-9'
    """
    own = re.sub(r"[^A-Za-z0-9._-]+", "-", model.rsplit("/", maxsplit=1)[-1]).strip(".-") or "model"
    return own if layers.first is None else f"{own}-layer-{layers}"


@dataclass(frozen=True, slots=True)
class Layers:
    """Which layers' mean the features are: from `first` up to and with `last`, as transformers numbers hidden states.

    0 is what the first layer reads; below 0 they are counted from the end: -1 is the last. first and last None: the
    model's last hidden state; last None: every layer from `first` on.
    """

    first: int | None = None
    last: int | None = None

    @classmethod
    def of(cls, options: Mapping[str, str]) -> Layers:
        """Return the layers of options.

        They are `layer=last`, `layer=9`, `layer=-2`, `layers=mean` (all but 0), `layers=5-9` or `layers=mean-last-4`.

        Raises ConfigError for other values.

        >>> Layers.of({"layers": "5-9"})
        Layers(first=5, last=9)
        """
        layer, layers = options.get("layer"), options.get("layers")
        if layer is not None and layers is not None:
            raise ConfigError(f"layer={layer} and layers={layers} are both given; give one")
        if layers == "mean":
            return cls(first=1)
        if layers is not None and (final := _FINAL.fullmatch(layers)):
            return cls(-int(final[1]), -1)
        if layers is not None:
            span = _SPAN.fullmatch(layers)
            if span is None or int(span[1]) > int(span[2]):
                raise ConfigError(
                    f"layers={layers} is not a choice of layers; write layers=mean, layers=5-9 or layers=mean-last-4"
                )
            return cls(int(span[1]), int(span[2]))
        if layer in (None, "last"):
            return cls()
        if not re.fullmatch(r"-?\d+", str(layer), re.ASCII):
            raise ConfigError(
                f"layer={layer} is not a layer; write layer=last, layer=9 or layer=-2; a mean is layers=5-9"
            )
        return cls(int(str(layer)), int(str(layer)))

    def __str__(self) -> str:
        if self.first is None:
            return "last"
        if self.last is None:
            return "mean"
        if self.first < 0 and self.first != self.last:
            return f"last-{-self.first}"
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    def check(self, n_layers: int) -> None:
        """Raise ConfigError if a model of so many layers does not have them."""
        furthest = max(self.first or 0, self.last or 0, key=lambda layer: layer if layer >= 0 else -layer - 1)
        if not -n_layers - 1 <= furthest <= n_layers:
            raise ConfigError(f"layer {furthest} was asked for, but the model has layers 0 to {n_layers}")

    def pick(self, output: Any) -> Any:
        """Return what a model's output holds in these layers: a tensor like its last hidden state.

        output : of a model that was called with `output_hidden_states=` this object's `all_states`
        """
        if self.first is None:
            return output.last_hidden_state
        states = output.hidden_states
        first, last = (layer % len(states) for layer in (self.first, -1 if self.last is None else self.last))
        chosen = states[first : last + 1]
        return sum(chosen[1:], start=chosen[0]) / len(chosen)

    @property
    def all_states(self) -> bool:
        """Whether a model has to return its hidden states."""
        return self.first is not None
