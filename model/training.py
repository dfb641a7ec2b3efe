"""One trainer for every stage of every model: Adam, L1 losses, early stopping, best weights restored.

Source: paper, section 4.2 (eq. 6) and section 5.1.
"""

from __future__ import annotations

import copy
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from fmltk.model.layers import weighted_loss
from fmltk.model.lstm import Packed
from fmltk.toolkit.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.model.config import Config
    from fmltk.model.registry import StageSpec

EVALUATION_BATCH = 256


@dataclass(frozen=True)
class StageInputs:
    """What a stage reads of n clips: one vector per clip and input, and text steps without padding.

    vectors : by input name (A, V, H_AV, ...), float32 (n, d)
    steps : float32 (n_steps, d) or None; offsets : int64 (n + 1,)
    """

    vectors: Mapping[str, Tensor]
    steps: Tensor | None
    offsets: NDArray[np.int64]

    def batch(self, names: Sequence[str], rows: NDArray[np.int64]) -> dict[str, Tensor | Packed]:
        """Return the inputs of some clips, by name."""
        index = torch.from_numpy(rows)
        inputs: dict[str, Tensor | Packed] = {}
        for name in names:
            if name == "T":
                inputs[name] = self._pack(rows)
            else:
                values = self.vectors[name]
                inputs[name] = values.index_select(0, index.to(values.device))
        return inputs

    def _pack(self, rows: NDArray[np.int64]) -> Packed:
        if self.steps is None:
            raise TrainingError("the stage reads text, and the data has none")
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        order = np.argsort(-lengths, kind="stable")
        starts, lengths = starts[order], lengths[order]
        sizes = np.searchsorted(-lengths, -np.arange(int(lengths[0])), side="left")  # how many are longer than t
        index = np.concatenate([starts[:n] + t for t, n in enumerate(sizes)])
        device = self.steps.device
        steps = self.steps.index_select(0, torch.from_numpy(index).to(device))
        return Packed(steps, tuple(int(n) for n in sizes), torch.from_numpy(order).to(device))

    def dimension(self, name: str) -> int:
        """Return the width of an input."""
        if name == "T":
            if self.steps is None:
                raise TrainingError("the stage reads text, and the data has none")
            return int(self.steps.shape[1])
        return int(self.vectors[name].shape[1])


@dataclass(frozen=True, slots=True)
class Epoch:
    """One line of history: losses are eq. 6's, mae that of the stage's own task on the validation split."""

    epoch: int
    train_loss: float
    valid_loss: float
    valid_mae: float
    seconds: float


@dataclass(frozen=True)
class TrainedStage:
    """A network with the weights of its best epoch, and how it got there."""

    net: nn.Module
    history: tuple[Epoch, ...]
    best_epoch: int

    @property
    def best(self) -> Epoch:
        """The epoch whose weights were kept."""
        return self.history[self.best_epoch - 1]

    @property
    def seconds_per_epoch(self) -> float:
        """Mean wall seconds of an epoch, validation included."""
        return sum(epoch.seconds for epoch in self.history) / len(self.history)


def train_stage(
    spec: StageSpec,
    config: Config,
    inputs: StageInputs,
    labels: Mapping[str, Tensor],
    *,
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    seed: int,
    on_epoch: Callable[[Epoch, int], None] | None = None,
) -> TrainedStage:
    """Train one stage and return it with its best weights.

    Parameters
    ----------
    inputs, labels : of all clips; labels by task, float32 (n,), NaN where there is none
    train, valid : rows of `inputs` to learn from and to stop by; no other row is read
    seed : the same seed gives the same numbers; the caller's random state is left as it was
    on_epoch : called after each epoch with it and the best epoch so far

    Raises TrainingError if there is nothing to learn from or to stop by, or the loss is not finite.
    """
    train, valid = _labelled(spec, labels, train, "training"), _labelled(spec, labels, valid, "validation")
    with torch.random.fork_rng(devices=_cuda_devices(inputs)):
        torch.manual_seed(stage_seed(seed, spec.name))
        net = spec.build({name: inputs.dimension(name) for name in spec.inputs}, config).to(_device(inputs))
        return _fit(net, spec, config, inputs, labels, train, valid, on_epoch)


def stage_seed(seed: int, stage: str) -> int:
    """Return the seed of one stage, so that stages draw different numbers and may run in any order."""
    return int(np.random.SeedSequence([seed, zlib.crc32(stage.encode())]).generate_state(1, np.uint32)[0])


def _fit(
    net: nn.Module,
    spec: StageSpec,
    config: Config,
    inputs: StageInputs,
    labels: Mapping[str, Tensor],
    train: NDArray[np.int64],
    valid: NDArray[np.int64],
    on_epoch: Callable[[Epoch, int], None] | None,
) -> TrainedStage:
    rate = config.fusion_lr if spec.needs and config.fusion_lr else config.lr
    optimiser = torch.optim.Adam(net.parameters(), lr=rate, fused=True)
    weights = {task: config.weight(task) for task in spec.tasks}
    history: list[Epoch] = []
    best, best_loss, best_state = 0, float("inf"), copy.deepcopy(net.state_dict())
    for number in range(1, config.max_epochs + 1):
        started = time.perf_counter()
        train_loss = _train_epoch(net, spec, config, inputs, labels, train, weights, optimiser)
        valid_loss, valid_mae = _validate(net, spec, inputs, labels, valid, weights)
        history.append(Epoch(number, train_loss, valid_loss, valid_mae, time.perf_counter() - started))
        if not np.isfinite(train_loss) or not np.isfinite(valid_loss):
            raise TrainingError(
                f"stage {spec.name}: the loss of epoch {number} is {train_loss:g} (validation {valid_loss:g}); "
                "lower lr, or see `fmltk dataset check` for exploding features"
            )
        if valid_loss < best_loss:
            best, best_loss, best_state = number, valid_loss, copy.deepcopy(net.state_dict())
        if on_epoch is not None:
            on_epoch(history[-1], best)
        if number - best >= config.patience:
            break
    net.load_state_dict(best_state)
    net.eval()
    return TrainedStage(net, tuple(history), best)


def _train_epoch(
    net: nn.Module,
    spec: StageSpec,
    config: Config,
    inputs: StageInputs,
    labels: Mapping[str, Tensor],
    rows: NDArray[np.int64],
    weights: Mapping[str, float],
    optimiser: torch.optim.Optimizer,
) -> float:
    """Run one epoch; return the mean loss over its clips."""
    net.train()
    order = rows[torch.randperm(len(rows)).numpy()]
    total = torch.zeros((), device=_device(inputs))
    for start in range(0, len(order), config.bs):
        batch = order[start : start + config.bs]
        index = torch.from_numpy(batch).to(total.device)
        predictions, _ = net(inputs.batch(spec.inputs, batch))
        loss = weighted_loss(predictions, {task: labels[task].index_select(0, index) for task in spec.tasks}, weights)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        if config.weight_decay:
            decay(optimiser, config.weight_decay)
        total += loss.detach() * len(batch)
    return float(total) / len(order)


def decay(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Shrink every weight matrix by lr * share, apart from the gradient (decoupled weight decay)."""
    with torch.no_grad():
        for group in optimiser.param_groups:
            matrices = [parameter for parameter in group["params"] if parameter.ndim > 1]
            torch._foreach_mul_(matrices, 1 - group["lr"] * share)


def _validate(
    net: nn.Module,
    spec: StageSpec,
    inputs: StageInputs,
    labels: Mapping[str, Tensor],
    rows: NDArray[np.int64],
    weights: Mapping[str, float],
) -> tuple[float, float]:
    """Return (eq. 6 on the rows, mean absolute error of the stage's own task)."""
    predictions, _ = predict_stage(net, spec, inputs, rows)
    index = torch.from_numpy(rows)
    truths = {task: labels[task].cpu().index_select(0, index) for task in spec.tasks}
    own = spec.tasks[-1]
    loss = weighted_loss(predictions, truths, weights)
    mae = weighted_loss({own: predictions[own]}, truths, {own: 1.0})
    return float(loss), float(mae)


def predict_stage(
    net: nn.Module, spec: StageSpec, inputs: StageInputs, rows: NDArray[np.int64]
) -> tuple[dict[str, Tensor], Tensor]:
    """Return ({task: intensity (n,)}, hidden activations (n, d)) of some clips, in eval mode, on the CPU."""
    net.eval()
    parts: list[dict[str, Tensor]] = []
    hidden: list[Tensor] = []
    with torch.inference_mode():
        for start in range(0, len(rows), EVALUATION_BATCH):
            predictions, h = net(inputs.batch(spec.inputs, rows[start : start + EVALUATION_BATCH]))
            parts.append({task: value.cpu() for task, value in predictions.items()})
            hidden.append(h.cpu())
    if not parts:
        return {task: torch.zeros(0) for task in spec.tasks}, torch.zeros(0, 0)
    return {task: torch.cat([part[task] for part in parts]) for task in spec.tasks}, torch.cat(hidden)


def _labelled(spec: StageSpec, labels: Mapping[str, Tensor], rows: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    """Return the rows that have a label of any of the stage's tasks."""
    known = torch.stack([~torch.isnan(labels[task].cpu()) for task in spec.tasks]).any(dim=0).numpy()
    kept: NDArray[np.int64] = rows[known[rows]]
    if not len(kept):
        raise TrainingError(f"stage {spec.name}: no {what} clip has all its inputs and a label of {spec.tasks}")
    return kept


def _device(inputs: StageInputs) -> torch.device:
    for values in inputs.vectors.values():
        return values.device
    return torch.device("cpu") if inputs.steps is None else inputs.steps.device


def _cuda_devices(inputs: StageInputs) -> list[torch.device]:
    device = _device(inputs)
    return [device] if device.type == "cuda" else []
