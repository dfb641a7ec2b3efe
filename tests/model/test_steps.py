"""When the trainer takes a step: several batches at once, limited gradients, learning rates that fall."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fmltk.model.inputs import StageInputs
from fmltk.model.registry import StageSpec
from fmltk.model.settings import Settings
from fmltk.model.training import StageData, make_optimiser, train_batch, train_stage
from fmltk.toolkit.errors import ConfigError, TrainingError

N = 14  # seven batches of two


class Line(nn.Module):
    """y = w a: the gradient of the L1 loss is known by hand."""

    def __init__(self, dims: Any, settings: Settings) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(dims["A"]))

    def forward(self, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        return {"M": inputs["A"] @ self.weight}, inputs["A"]


LINE = StageSpec("M", ("A",), ("M",), Line)


def line_data(n: int = N) -> StageData:
    inputs = StageInputs({"A": torch.ones(n, 3)}, None, np.zeros(n + 1, np.int64))
    return StageData(inputs, {"M": torch.full((n,), 100.0)}, train=np.arange(n), valid=np.arange(2))


@pytest.mark.parametrize(
    ("accumulate", "rest", "n_steps"), [(1, "step", 7), (3, "step", 3), (3, "drop", 2), (7, "drop", 1), (9, "step", 1)]
)
def test_an_epoch_takes_a_step_per_so_many_batches(
    accumulate: int, rest: str, n_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, closure=None: taken.append(self))
    config = Settings(bs=2, accumulate=accumulate, accumulate_rest=rest, max_epochs=1)
    train_stage(LINE, config, line_data(), seed=0)
    assert len(taken) == n_steps


def test_batches_add_their_gradients_until_the_step() -> None:
    data, config = line_data(), Settings(lr=0.1)
    net = Line({"A": 3}, config)
    optimiser = make_optimiser(net, LINE, config)
    for number, expected in enumerate((1.0, 2.0, 3.0), 1):
        train_batch(
            net,
            optimiser,
            np.arange(2),
            spec=LINE,
            config=config,
            data=data,
            starts=number == 1,
            ends=number == 3,
        )
        assert net.weight.grad is not None
        torch.testing.assert_close(net.weight.grad, torch.full((3,), -expected))
        assert bool((net.weight != 0).any()) == (number == 3)


def test_an_epoch_too_short_for_a_step_is_refused_where_the_rest_is_dropped() -> None:
    config = Settings(bs=2, accumulate=8, accumulate_rest="drop")
    with pytest.raises(TrainingError, match=r"an epoch has 7 batches, a step takes 8 .* use --set accumulate=7"):
        train_stage(LINE, config, line_data(), seed=0)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [({}, -1.0), ({"clip_value": 0.25}, -0.25), ({"clip_norm": 0.5}, -0.5 / 3**0.5), ({"clip_value": 2.0}, -1.0)],
)
def test_gradients_are_limited_by_value_or_by_norm(limits: dict[str, float], expected: float) -> None:
    config = Settings(**limits)
    net = Line({"A": 3}, config)
    optimiser = make_optimiser(net, LINE, config)
    train_batch(net, optimiser, np.arange(2), spec=LINE, config=config, data=line_data())
    assert net.weight.grad is not None
    torch.testing.assert_close(net.weight.grad, torch.full((3,), expected), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    ("plateau", "factor", "rates"),
    [(0, 0.1, {0.1}), (1, 0.1, {0.1, 0.01, 0.001, 0.0001}), (3, 0.1, {0.1, 0.01}), (3, 0.5, {0.1, 0.05})],
)
def test_learning_rates_fall_where_validation_does_not_improve(
    plateau: int, factor: float, rates: set[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    used = set()
    monkeypatch.setattr(
        torch.optim.Adam, "step", lambda self, closure=None: used.add(round(self.param_groups[0]["lr"], 8))
    )  # no step: no improvement
    config = Settings(lr=0.1, bs=N, plateau=plateau, plateau_factor=factor, max_epochs=8, patience=100)
    train_stage(LINE, config, line_data(), seed=0)
    assert used == rates


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_adadelta_takes_the_steps_of_its_formula(weight_decay: float) -> None:
    """Zeiler 2012, algorithm 1, with a memory of 0.95 and 1e-7 under each root."""
    config = Settings(lr=1.0, bs=2, optimiser="adadelta", weight_decay=weight_decay, decay="coupled")
    net = Line({"A": 3}, config)
    optimiser = make_optimiser(net, LINE, config)
    weight = squares = moves = 0.0
    for _ in range(4):
        train_batch(net, optimiser, np.arange(2), spec=LINE, config=config, data=line_data())
        gradient = -1.0 + weight_decay * weight
        squares = 0.95 * squares + 0.05 * gradient**2
        move = -((moves + 1e-7) ** 0.5) / (squares + 1e-7) ** 0.5 * gradient
        moves = 0.95 * moves + 0.05 * move**2
        weight += move
        assert net.weight.tolist() == pytest.approx([weight] * 3, rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({}, [0.1] * 4),
        ({"warmup": 2}, [0.05, 0.1, 0.1, 0.1]),
        ({"schedule": "cosine"}, [0.1, 0.08535534, 0.05, 0.01464466]),
        ({"schedule": "cosine", "warmup": 2}, [0.05, 0.1, 0.1, 0.05]),
    ],
)
def test_learning_rates_follow_the_schedule(
    settings: dict[str, Any], rates: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[float] = []
    monkeypatch.setattr(torch.optim.Adam, "step", lambda self, closure=None: used.append(self.param_groups[0]["lr"]))
    train_stage(LINE, Settings(lr=0.1, bs=N, max_epochs=4, patience=100, **settings), line_data(), seed=0)
    assert used == pytest.approx(rates)


def test_a_schedule_and_a_plateau_are_not_both_followed() -> None:
    with pytest.raises(ConfigError, match="plateau lowers the learning rates by itself: set either it, or warmup"):
        Settings(plateau=3, schedule="cosine")


def test_no_more_clips_are_predicted_at_once_than_a_stage_says() -> None:
    seen = []

    class Watched(Line):
        def forward(self, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
            seen.append(len(inputs["A"]))
            return super().forward(inputs)

    spec = StageSpec("M", ("A",), ("M",), Watched, evaluation_batch=3)
    data = line_data()
    wide = StageData(data.inputs, data.labels, data.train, np.arange(8))
    train_stage(spec, Settings(bs=N, max_epochs=1), wide, seed=0)
    assert seen == [N, 3, 3, 2]
