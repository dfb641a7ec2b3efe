"""Training that was killed continues to the same bytes: with every kind of state that lasts over epochs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fmltk.model import progress
from fmltk.model.inputs import StageInputs
from fmltk.model.layers import Dropout
from fmltk.model.objective import Objective
from fmltk.model.registry import StageSpec
from fmltk.model.settings import Settings
from fmltk.model.training import StageData, train_stage
from fmltk.toolkit.errors import DamagedFileError
from tests.model.folders import planted, write_clips
from tests.model.killed import run_and_kill

if TYPE_CHECKING:
    from pathlib import Path

N = 20


class Net(nn.Module):
    """A hidden layer, dropout and batch normalisation: weights, buffers and random numbers."""

    def __init__(self, dims: Any, _: Settings) -> None:
        super().__init__()
        self.hidden = nn.Linear(dims["A"], 6)
        self.norm = nn.BatchNorm1d(6)
        self.dropout = Dropout(0.5)
        self.output = nn.Linear(6, 1)

    def forward(self, inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
        h = self.dropout(self.norm(torch.relu(self.hidden(inputs["A"]))))
        return {"M": self.output(h).squeeze(-1), "codes": h}, h


class Drifting(Objective):
    """Labels that follow what the network said of their clips, and a loss that reads more than the task."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.own = self.labels["M"].clone()

    def loss(self, outputs: Any, rows: Any) -> Tensor:
        return (outputs["M"] - self.own[rows]).abs().mean() + 0.1 * outputs["codes"].pow(2).mean()

    def after_backward(self, outputs: Any, rows: Any) -> None:
        self.own[rows] += (outputs["M"].detach() - self.own[rows]) / (self.epoch + 1)

    def valid_loss(self, predictions: Any, truths: Any) -> Tensor:
        return (predictions["M"] - truths["M"]).pow(2).mean()

    def state(self) -> dict[str, Tensor]:
        return {"own": self.own}

    def restore(self, state: Any) -> None:
        self.own = state["own"].clone()


def data() -> StageData:
    rng = torch.Generator().manual_seed(0)
    values = torch.randn(N, 4, generator=rng)
    inputs = StageInputs({"A": values}, None, np.zeros(N + 1, np.int64))
    return StageData(inputs, {"M": values[:, 0].clone()}, train=np.arange(12), valid=np.arange(12, N))


class Killed(Exception):
    pass


@pytest.mark.parametrize("objective", [None, Drifting])
@pytest.mark.parametrize("epoch", [1, 3, 7])
@pytest.mark.parametrize("more", [{}, {"plateau": 1, "accumulate": 2, "clip_value": 0.1}, {"optimiser": "adadelta"}])
def test_training_that_was_stopped_continues_to_the_same_weights(
    objective: Any, epoch: int, more: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SAVE_EVERY_S", 0.0)
    spec = StageSpec("M", ("A",), ("M",), Net, objective=objective, smallest_batch=2)
    config = Settings(bs=4, lr=0.05, max_epochs=8, **more)
    whole = train_stage(spec, config, data(), seed=3)

    def stop(done: Any, best: int) -> None:
        if done.epoch == epoch:
            raise Killed

    file = tmp_path / "progress.safetensors"
    with pytest.raises(Killed):
        train_stage(spec, config, data(), seed=3, on_epoch=stop, progress=file)
    assert file.is_file()
    seen: list[int] = []
    again = train_stage(spec, config, data(), seed=3, on_epoch=lambda done, _: seen.append(done.epoch), progress=file)
    assert seen == list(range(epoch + 1, 9)), "nothing was continued"
    for name, value in whole.net.state_dict().items():
        assert torch.equal(again.net.state_dict()[name], value), name
    assert [one.train_loss for one in again.history] == [one.train_loss for one in whole.history]
    assert again.best_epoch == whole.best_epoch


def test_the_objective_chooses_the_best_epoch_and_reads_what_else_the_network_returns() -> None:
    spec = StageSpec("M", ("A",), ("M",), Net, objective=Drifting, smallest_batch=2)
    trained = train_stage(spec, Settings(bs=4, lr=0.05, max_epochs=6), data(), seed=0)
    errors = [epoch.valid_loss for epoch in trained.history]
    assert trained.best_epoch == 1 + int(np.argmin(errors))
    plain = train_stage(
        StageSpec("M", ("A",), ("M",), Net, smallest_batch=2),
        Settings(bs=4, lr=0.05, max_epochs=6),
        data(),
        seed=0,
    )
    assert plain.history[0].train_loss != trained.history[0].train_loss


def test_short_training_leaves_no_file(tmp_path: Path) -> None:
    spec = StageSpec("M", ("A",), ("M",), Net, smallest_batch=2)
    train_stage(spec, Settings(bs=4, max_epochs=2), data(), seed=0, progress=tmp_path / "progress.safetensors")
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_stage_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "SAVE_EVERY_S", 0.0)
    file = tmp_path / "progress.safetensors"
    spec = StageSpec("M", ("A",), ("M",), Net, smallest_batch=2)
    train_stage(spec, Settings(bs=4, max_epochs=1), data(), seed=0, progress=file)
    small = data()
    small = StageData(
        StageInputs({"A": small.inputs.vectors["A"][:, :2]}, None, small.inputs.offsets),
        small.labels,
        small.train,
        small.valid,
    )
    with pytest.raises(DamagedFileError, match=r"does not fit the stage .*; delete it and train again") as refused:
        train_stage(spec, Settings(bs=4, max_epochs=2), small, seed=0, progress=file)
    assert "\n" not in str(refused.value)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DamagedFileError, match="delete it and train again"):
        train_stage(spec, Settings(bs=4, max_epochs=2), data(), seed=0, progress=file)


def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    features = write_clips(planted(160), tmp_path / "features")

    settings = ["model=late-fusion", "max_epochs=6", "lr=0.01", "tdrp=0.3"]
    assert run_and_kill(features, tmp_path / "whole", settings) == 0
    killed = run_and_kill(features, tmp_path / "killed", settings, file="progress_m.safetensors", epoch=3)
    assert killed == -signal.SIGKILL
    seed = tmp_path / "killed" / "seed_0"
    assert [path.name for path in seed.iterdir()] == ["progress_m.safetensors"]
    assert run_and_kill(features, tmp_path / "killed", settings) == 0
    names = {path.name for path in seed.iterdir()}
    assert "progress_m.safetensors" not in names
    for name in ("stage_m.safetensors", "predictions.parquet"):
        assert (seed / name).read_bytes() == (tmp_path / "whole" / "seed_0" / name).read_bytes(), name
