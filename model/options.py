"""How a run is done, which changes none of its numbers: seeds, stages, worker processes, an earlier run, the device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.model.run_folder import run_config
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.machine import check_device

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.model.registry import ModelSpec
    from fmltk.model.settings import Settings


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is done, which changes none of its numbers.

    seeds : one result each; stages : only these, () for all; jobs : worker processes, 0 for this process
    reuse : an earlier run whose saved H may be taken; device : cpu, cuda, cuda:1, ...
    text_model : of networks that train one, its name or local folder; None: the one that the features name
    """

    seeds: tuple[int, ...] = (0,)
    stages: tuple[str, ...] = ()
    jobs: int = 1
    reuse: Path | None = None
    device: str = "cpu"
    text_model: str | None = None


def check_options(options: RunOptions, config: Settings, model: ModelSpec) -> None:
    """Raise ConfigError if the options cannot work, or do not go with the settings."""
    if not options.seeds or len(set(options.seeds)) != len(options.seeds):
        raise ConfigError(f"the seeds {options.seeds} are not one or more different numbers")
    for name in options.stages:
        model.stage(name)
    if options.jobs < 0:
        raise ConfigError(f"--jobs is {options.jobs}; it must be 0 (this process) or more")
    if options.reuse is None and config.retrain != "always":
        raise ConfigError(f"--retrain {config.retrain} decides about an earlier run's H: name that run with --reuse")
    if options.reuse is not None:
        _check_reuse(options.reuse, config, model)
    if options.text_model is not None and not model.reads_tokens:
        raise ConfigError(f"{model.name} trains no text model; leave out --text-model")
    check_device(options.device)


def _check_reuse(run: Path, config: Settings, model: ModelSpec) -> None:
    if config.retrain == "always":
        raise ConfigError("--reuse needs --stages fusion (train only the fusion) or --retrain auto (eq. 8 decides)")
    earlier = run_config(run)
    if earlier.model != config.model:
        raise ConfigError(f"--reuse {run} is a run of {earlier.model}, not of {config.model}")
    if earlier.modalities != config.modalities:
        raise ConfigError(
            f"--reuse {run} was trained on {earlier.modalities}, not on {config.modalities}: add --modalities "
            f"{earlier.modalities}"
        )
    if not any(stage.needs for stage in model.stages):
        raise ConfigError(f"{config.model} has no stage that reads saved H; train it without --reuse")
