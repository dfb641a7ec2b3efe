"""One trainer for every stage of every model: Adam, L1 losses, early stopping, best weights restored.

Steps on several batches, limits of the gradients and falling learning rates are settings. A stage says which groups of
weights have a learning rate or decay of their own, and how few clips a batch may have.

Source: paper, section 4.2 (eq. 6) and section 5.1.
"""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from fmltk.model.inputs import predict_stage
from fmltk.model.layers import masked_l1
from fmltk.model.network import make_network
from fmltk.model.objective import Objective
from fmltk.model.progress import Epoch, Progress
from fmltk.toolkit.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from fmltk.model.bert import TextNetwork
    from fmltk.model.inputs import StageInputs
    from fmltk.model.registry import StageSpec
    from fmltk.model.settings import Settings

ADADELTA_RHO, ADADELTA_EPS = 0.95, 1e-7  # Keras 2's; torch has 0.9 and 1e-6


@dataclass(frozen=True)
class StageData:
    """The training data of one stage: n clips, and which of them it reads.

    inputs : of all clips; labels : by task, float32 (n,), NaN where there is none
    train, valid : rows to learn from and to stop by; no other row is read
    text_network : the BERT that a stage which reads tokens starts from
    """

    inputs: StageInputs
    labels: Mapping[str, Tensor]
    train: NDArray[np.int64]
    valid: NDArray[np.int64]
    text_network: TextNetwork | None = None


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
    config: Settings,
    data: StageData,
    *,
    seed: int,
    on_epoch: Callable[[Epoch, int], None] | None = None,
    progress: Path | None = None,
) -> TrainedStage:
    """Train one stage and return it with its best weights.

    seed : the same seed gives the same numbers; the caller's random state is left as it was
    on_epoch : called after each epoch with it and the best epoch so far
    progress : a file that long training is saved to now and then, from which a second call continues to the same end

    Raises TrainingError if there is nothing to learn from or to stop by, or the loss is not finite.
    """
    known = replace(
        data,
        train=_labelled(spec, data, data.train, "training"),
        valid=_labelled(spec, data, data.valid, "validation"),
    )
    if len(known.train) < spec.smallest_batch:
        raise TrainingError(
            f"stage {spec.name}: there is {len(known.train)} training clip; its batch normalisation needs "
            f"{spec.smallest_batch} or more"
        )
    if config.bs < spec.smallest_batch and not spec.reads_videos:
        raise TrainingError(
            f"stage {spec.name}: bs is {config.bs}; its batch normalisation needs {spec.smallest_batch} clips or more "
            f"in a batch: use --set bs={spec.smallest_batch} or larger"
        )
    n_drawn = len(data.inputs.of_videos().divide(known.train)) if spec.reads_videos else len(known.train)
    n_batches = len(batches(np.arange(n_drawn), config.bs, smallest=spec.smallest_batch))
    if config.accumulate_rest == "drop" and n_batches < config.accumulate:
        raise TrainingError(
            f"stage {spec.name}: an epoch has {n_batches} batches, a step takes {config.accumulate} (accumulate), and "
            f"fewer are dropped: nothing would be learned; use --set accumulate={n_batches} or smaller batches (bs)"
        )
    device = data.inputs.device
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(stage_seed(seed, spec.name))
        net = make_network(spec, data.inputs.dimensions(spec.inputs), config, data.text_network).to(device)
        return _fit(net, spec, config, known, on_epoch=on_epoch, progress=progress)


def stage_seed(seed: int, stage: str) -> int:
    """Return the seed of one stage, so that stages draw different numbers and may run in any order."""
    return int(np.random.SeedSequence([seed, zlib.crc32(stage.encode())]).generate_state(1, np.uint32)[0])


def _fit(
    net: nn.Module,
    spec: StageSpec,
    config: Settings,
    data: StageData,
    *,
    on_epoch: Callable[[Epoch, int], None] | None,
    progress: Path | None,
) -> TrainedStage:
    optimiser, objective = make_optimiser(net, spec, config), make_objective(spec, config, data)
    schedule = make_schedule(optimiser, config)
    so_far = Progress(net, optimiser, objective, schedule)
    if progress is not None and progress.is_file():
        so_far.load(progress)
    while len(so_far.history) < config.max_epochs and len(so_far.history) - so_far.best < config.patience:
        started = time.perf_counter()
        objective.epoch = len(so_far.history) + 1
        _set_rates(optimiser, config, objective.epoch)
        train_loss = _train_epoch(net, optimiser, objective, spec=spec, config=config, data=data)
        valid_loss, valid_mae = _validate(net, spec, objective, data)
        epoch = Epoch(objective.epoch, train_loss, valid_loss, valid_mae, time.perf_counter() - started)
        if not np.isfinite(train_loss) or not np.isfinite(valid_loss):
            raise TrainingError(
                f"stage {spec.name}: the loss of epoch {epoch.epoch} is {train_loss:g} (validation {valid_loss:g}); "
                "lower lr, or see `fmltk dataset check` for exploding features"
            )
        if schedule is not None:
            schedule.step(valid_loss)
        so_far.add(epoch)
        if progress is not None:
            so_far.save_now_and_then(progress)
        if on_epoch is not None:
            on_epoch(epoch, so_far.best)
    net.load_state_dict(so_far.best_state)
    net.eval()
    return TrainedStage(net, tuple(so_far.history), so_far.best)


def rate_share(config: Settings, epoch: int) -> float:
    """Return the share of its learning rate that an epoch, from 1, has: rising in `warmup`, then constant or a cosine.

    >>> from fmltk.model.settings import Settings
    >>> config = Settings(warmup=2, schedule="cosine", max_epochs=4)
    >>> [round(rate_share(config, epoch), 3) for epoch in (1, 2, 3, 4)]
    [0.5, 1.0, 1.0, 0.5]
    """
    if epoch <= config.warmup:
        return epoch / config.warmup
    if config.schedule == "constant":
        return 1.0
    done = (epoch - 1 - config.warmup) / max(config.max_epochs - config.warmup, 1)
    return (1 + math.cos(math.pi * done)) / 2


def _set_rates(optimiser: torch.optim.Optimizer, config: Settings, epoch: int) -> None:
    if not config.warmup and config.schedule == "constant":
        return
    for group in optimiser.param_groups:
        group.setdefault("initial_lr", group["lr"])
        group["lr"] = group["initial_lr"] * rate_share(config, epoch)


def make_objective(spec: StageSpec, config: Settings, data: StageData) -> Objective:
    """Return what the stage minimises, at its start."""
    weights = {task: config.weight(task) for task in spec.tasks}
    return (spec.objective or Objective)(weights, data.labels, data.train, config)


def make_optimiser(net: nn.Module, spec: StageSpec, config: Settings) -> torch.optim.Optimizer:
    """Return Adam, or what the settings name, over the network's weights, in the stage's groups where it names any."""
    rate = config.fusion_lr if spec.needs and config.fusion_lr else config.lr
    coupled = config.weight_decay if config.decay == "coupled" else 0.0
    groups = net.parameters() if spec.groups is None else spec.groups(net, config)
    if config.optimiser == "adadelta":
        return torch.optim.Adadelta(groups, lr=rate, rho=ADADELTA_RHO, eps=ADADELTA_EPS, weight_decay=coupled)
    return torch.optim.Adam(groups, lr=rate, weight_decay=coupled, fused=True)


def make_schedule(optimiser: torch.optim.Optimizer, config: Settings) -> ReduceLROnPlateau | None:
    """Return what lowers the learning rates on a plateau; None where the settings keep them."""
    if not config.plateau:
        return None
    return ReduceLROnPlateau(optimiser, factor=config.plateau_factor, patience=config.plateau)


def _train_epoch(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    objective: Objective,
    *,
    spec: StageSpec,
    config: Settings,
    data: StageData,
) -> float:
    """Run one epoch; return the mean loss over its clips."""
    net.train()
    parts = draw_batches(spec, config, data)
    total = train_batches(net, optimiser, parts, spec=spec, config=config, data=data, objective=objective)
    return float(total) / len(data.train)


def draw_batches(spec: StageSpec, config: Settings, data: StageData) -> list[NDArray[np.int64]]:
    """Return the training clips in batches, shuffled: `bs` clips, or the clips of `bs` whole videos."""
    if not spec.reads_videos:
        shuffled = data.train[torch.randperm(len(data.train)).numpy()]
        return batches(shuffled, config.bs, smallest=spec.smallest_batch)
    videos = data.inputs.of_videos().divide(data.train)
    drawn = batches(torch.randperm(len(videos)).numpy(), config.bs)
    return [np.concatenate([videos[video] for video in batch]) for batch in drawn]


def train_batches(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    parts: Sequence[NDArray[np.int64]],
    *,
    spec: StageSpec,
    config: Settings,
    data: StageData,
    objective: Objective | None = None,
) -> Tensor:
    """Take an epoch's steps on batches in this order; return the sum of the clips' losses, a scalar.

    objective : what is minimised; None: what the stage minimises, at its start
    """
    objective = objective or make_objective(spec, config, data)
    total = torch.zeros((), device=data.inputs.device)
    for number, batch in enumerate(parts, 1):
        starts, ends = (number - 1) % config.accumulate == 0, number % config.accumulate == 0
        ends |= number == len(parts) and config.accumulate_rest == "step"
        how: Any = {"objective": objective, "starts": starts, "ends": ends}
        loss = train_batch(net, optimiser, batch, spec=spec, config=config, data=data, **how)
        total += loss * len(batch)
    return total


def train_batch(
    net: nn.Module,
    optimiser: torch.optim.Optimizer,
    batch: NDArray[np.int64],
    *,
    spec: StageSpec,
    config: Settings,
    data: StageData,
    objective: Objective | None = None,
    starts: bool = True,
    ends: bool = True,
) -> Tensor:
    """Add the gradients of the clips of `batch` and take a step; return their loss, a scalar.

    objective : what is minimised; None: what the stage minimises, at its start
    starts : whether earlier batches' gradients are forgotten first; ends : whether a step is taken
    """
    objective = objective or make_objective(spec, config, data)
    outputs, _ = net(data.inputs.batch(spec.inputs, batch))
    loss = objective.loss(outputs, batch)
    if starts:
        optimiser.zero_grad()
    torch.autograd.backward(loss)
    objective.after_backward(outputs, batch)
    _limit_gradients(optimiser, config)
    if ends:
        optimiser.step()
        if config.weight_decay and config.decay == "decoupled":
            decay(optimiser, config.weight_decay)
    return loss.detach()


def _limit_gradients(optimiser: torch.optim.Optimizer, config: Settings) -> None:
    for group in optimiser.param_groups:
        if config.clip_value:
            nn.utils.clip_grad_value_(group["params"], config.clip_value)
        if config.clip_norm:
            nn.utils.clip_grad_norm_(group["params"], config.clip_norm)


def batches(rows: NDArray[np.int64], size: int, *, smallest: int = 1) -> list[NDArray[np.int64]]:
    """Return the rows in batches of `size`; a rest of fewer than `smallest` joins the batch before it.

    >>> [len(batch) for batch in batches(np.arange(9), 4)]
    [4, 4, 1]
    >>> [len(batch) for batch in batches(np.arange(9), 4, smallest=2)]
    [4, 5]
    """
    starts = list(range(0, len(rows), size))
    if len(starts) > 1 and len(rows) - starts[-1] < smallest:
        starts.pop()
    return [rows[start:end] for start, end in zip(starts, [*starts[1:], len(rows)], strict=True)]


def decay(optimiser: torch.optim.Optimizer, share: float) -> None:
    """Shrink every weight matrix by lr * share, apart from the gradient (decoupled weight decay)."""
    with torch.no_grad():
        for group in optimiser.param_groups:
            matrices = [parameter for parameter in group["params"] if parameter.ndim > 1]
            torch._foreach_mul_(matrices, 1 - group["lr"] * share)


def _validate(net: nn.Module, spec: StageSpec, objective: Objective, data: StageData) -> tuple[float, float | None]:
    """Return (the objective on the validation clips, mean absolute error of the stage's own task; None of classes)."""
    predictions, _ = predict_stage(net, spec, data.inputs, data.valid)
    index = torch.from_numpy(data.valid)
    truths = {task: data.labels[task].cpu().index_select(0, index) for task in spec.tasks}
    own = spec.tasks[-1]
    loss = objective.valid_loss(predictions, truths)
    mae = None if predictions[own].ndim == 2 else float(masked_l1(predictions[own], truths[own]))
    return float(loss), mae


def _labelled(spec: StageSpec, data: StageData, rows: NDArray[np.int64], what: str) -> NDArray[np.int64]:
    """Return the rows that have a label of any of the stage's tasks, and those that are their context."""
    known = torch.stack([~torch.isnan(data.labels[task].cpu()) for task in spec.tasks]).any(dim=0).numpy()
    kept: NDArray[np.int64] = rows[known[rows]]
    if not len(kept):
        raise TrainingError(f"stage {spec.name}: no {what} clip has all its inputs and a label of {spec.tasks}")
    if spec.reads_videos:
        numbers = data.inputs.of_videos().numbers
        kept = rows[np.isin(numbers[rows], numbers[kept])]
    return kept
