"""How far the training of a stage is, and its file, from which a killed run continues to the same bytes.

The file holds the weights, the best epoch's, Adam's means, the state of the objective and of the random numbers, and
the epochs so far. It is written now and then, and only of training that takes that long.
"""

from __future__ import annotations

import copy
import dataclasses
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from fmltk.model.tensors import read_tensors, write_tensors
from fmltk.toolkit.errors import DamagedFileError, advised
from fmltk.toolkit.io.documents import json_text, parse_json

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    from fmltk.model.objective import Objective

SAVE_EVERY_S = 120.0  # a published BERT, its best epoch's copy and Adam's means are 1.8 GB
METADATA = "fmltk-progress"


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of history: losses are the objective's, mae that of the stage's own task on the validation split.

    Classes have no mean absolute error: None.
    """

    epoch: int
    train_loss: float
    valid_loss: float
    valid_mae: float | None
    seconds: float


@dataclass
class Progress:
    """A stage in training: what changes from epoch to epoch.

    best : the epoch whose weights are kept, 0 before the first; best_state : those weights
    """

    net: nn.Module
    optimiser: torch.optim.Optimizer
    objective: Objective
    schedule: ReduceLROnPlateau | None = None
    history: list[Epoch] = field(default_factory=list)
    best: int = 0
    best_state: dict[str, Tensor] = field(init=False)
    saved_at: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.best_state = copy.deepcopy(self.net.state_dict())

    def add(self, epoch: Epoch) -> None:
        """Count an epoch, and keep its weights where its validation loss is the smallest."""
        self.history.append(epoch)
        if self.best and epoch.valid_loss >= self.history[self.best - 1].valid_loss:
            return
        self.best = epoch.epoch
        for name, value in self.net.state_dict().items():
            self.best_state[name].copy_(value)

    def save_now_and_then(self, path: Path) -> None:
        """Write the file where the last time is long ago."""
        if time.monotonic() - self.saved_at < SAVE_EVERY_S:
            return
        self.save(path)
        self.saved_at = time.monotonic()

    def save(self, path: Path) -> None:
        """Write the file; it is either the old one or the new one."""
        optimiser = self.optimiser.state_dict()
        tensors = {f"net.{name}": value for name, value in self.net.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in self.best_state.items()}
        tensors |= {f"objective.{name}": value for name, value in self.objective.state().items()}
        for index, values in optimiser["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in values.items()}
        tensors |= _random_states(self._device())
        document = {
            "history": [dataclasses.asdict(epoch) for epoch in self.history],
            "best": self.best,
            "groups": optimiser["param_groups"],
            "schedule": None if self.schedule is None else self.schedule.state_dict(),
        }
        held = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
        write_tensors(path, held, {METADATA: json_text(document)})

    def load(self, path: Path) -> None:
        """Continue where a file was written. Raises DamagedFileError if it is not of this stage."""
        damaged = advised(DamagedFileError, "delete it and train again")
        tensors, metadata = read_tensors(path, error=damaged)
        document = parse_json(metadata.get(METADATA, "{}"), name=f"{path}: its metadata", error=damaged)
        try:
            self.net.load_state_dict(_below("net.", tensors))
            self.best_state = {
                name: value.to(self._device(), copy=True) for name, value in _below("best.", tensors).items()
            }
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in _below("optimiser.", tensors).items():
                index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
            self.optimiser.load_state_dict({"state": state, "param_groups": document["groups"]})
            if self.schedule is not None:
                self.schedule.load_state_dict(document["schedule"])
            self.objective.restore(_below("objective.", tensors))
            self.history = [Epoch(**epoch) for epoch in document["history"]]
            self.best = int(document["best"])
            _restore_random_states(_below("random.", tensors), self._device())
        except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise damaged(f"{path} does not fit the stage that it was saved of ({reason})") from error

    def _device(self) -> torch.device:
        return next(self.net.parameters()).device


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _random_states(device: torch.device) -> dict[str, Tensor]:
    states = {"random.cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["random.cuda"] = torch.cuda.get_rng_state(device)
    return states


def _restore_random_states(states: dict[str, Any], device: torch.device) -> None:
    torch.set_rng_state(states["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states["cuda"], device)
