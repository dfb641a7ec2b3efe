"""What one trainer needs to know of a model: its stages, and each stage's inputs, tasks and network.

A new model is a `ModelSpec` in a module of its own, registered with `register_model`; nothing in the trainer changes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import nn

    from fmltk.model.config import Config

    BuildNet = Callable[[Mapping[str, int], Config], nn.Module]


@dataclass(frozen=True, slots=True)
class StageSpec:
    """One network that is trained by itself.

    Attributes
    ----------
    name : its name in files and tables, such as AV or fusion
    inputs : what it reads: "T" (sequences), "A", "V" (means over valid frames), or "H_" + an earlier stage's name
    tasks : what it predicts, of T A V AT VT AV M; the last one is the stage's own
    build : (dimension of each input, settings) -> a module whose forward takes {input: tensor} and returns
        ({task: intensity (B,)}, hidden activations (B, d))
    """

    name: str
    inputs: tuple[str, ...]
    tasks: tuple[str, ...]
    build: BuildNet

    @property
    def needs(self) -> tuple[str, ...]:
        """The stages whose hidden activations it reads."""
        return tuple(name.removeprefix("H_") for name in self.inputs if name.startswith("H_"))


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A model: its stages in an order in which each can be trained."""

    name: str
    summary: str
    stages: tuple[StageSpec, ...]

    def stage(self, name: str) -> StageSpec:
        """Return the stage of that name. Raises ConfigError if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise ConfigError(f"{self.name} has no stage {name!r}; its stages: {', '.join(s.name for s in self.stages)}")

    def modalities(self, stage: StageSpec) -> tuple[str, ...]:
        """Return the modalities that a stage needs, also through earlier stages, in the order T, A, V."""
        needed = {name for name in stage.inputs if not name.startswith("H_")}
        for name in stage.needs:
            needed.update(self.modalities(self.stage(name)))
        return tuple(m for m in ("T", "A", "V") if m in needed)


_MODELS: dict[str, ModelSpec] = {}


def register_model(spec: ModelSpec) -> ModelSpec:
    """Make a model known by its name. Raises ConfigError if the name is taken by another."""
    if _MODELS.get(spec.name, spec) != spec:
        raise ConfigError(f"there is already a model named {spec.name!r}")
    for index, stage in enumerate(spec.stages):
        missing = set(stage.needs) - {earlier.name for earlier in spec.stages[:index]}
        if missing:
            raise ConfigError(f"{spec.name}: stage {stage.name} reads {sorted(missing)}, which no earlier stage makes")
    _MODELS[spec.name] = spec
    return spec


def model_spec(name: str) -> ModelSpec:
    """Return a model by name. Raises ConfigError if it is not known."""
    import fmltk.model.baselines
    import fmltk.model.fmlmsn  # noqa: F401 - importing them registers them

    if name not in _MODELS:
        raise ConfigError(f"there is no model {name!r}; models: {', '.join(sorted(_MODELS))}")
    return _MODELS[name]


def model_names() -> tuple[str, ...]:
    """Return the names of all models."""
    model_spec("fmlmsn")
    return tuple(sorted(_MODELS))
