"""FmlMSN beyond the paper: how H are joined, losses weighed by noise, the mean of the text, ensembles of seeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from fmltk.model import commands
from fmltk.model.config import Config, load_config
from fmltk.model.evaluation import evaluation_rows
from fmltk.model.fusion import JOINS, FusionNet
from fmltk.model.lstm import Packed
from fmltk.model.metrics import score
from fmltk.model.options import RunOptions
from fmltk.model.pairwise import LOG_SCALE, PairNet, PairObjective
from fmltk.model.predict import FmlMSN, load_model
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from fmltk.model.unimodal import TextNet
from fmltk.toolkit.errors import ConfigError
from tests.model.folders import small_settings

if TYPE_CHECKING:
    from pathlib import Path

DIMS = {"H_AV": 4, "H_AT": 4, "H_VT": 4}


def parts(n: int = 3) -> list[torch.Tensor]:
    return [torch.randn(n, 4, generator=torch.Generator().manual_seed(k)) for k in range(3)]


def test_joins_are_what_they_say() -> None:
    given = parts()
    side_by_side = torch.cat(given, dim=1)
    assert torch.equal(JOINS["concat"]([4, 4, 4])(given), side_by_side)
    gates = JOINS["gated"]([4, 4, 4])
    torch.nn.init.zeros_(gates.gate.weight)
    gates.gate.bias.data = torch.tensor([0.0, 100.0, -100.0])  # half, all and nothing of a pair
    expected = torch.cat([given[0] / 2, given[1], torch.zeros(3, 4)], dim=1)
    torch.testing.assert_close(gates(given), expected)
    attention = JOINS["attention"]([4, 4, 4])
    for linear, bias in zip(attention.scores, (0.0, 0.0, -100.0), strict=True):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.constant_(linear.bias, bias)
    torch.testing.assert_close(attention(given), (given[0] + given[1]) / 2)


@pytest.mark.parametrize(("join", "n_inputs"), [("concat", 12), ("gated", 12), ("attention", 4)])
def test_the_fusion_reads_what_is_joined(join: str, n_inputs: int) -> None:
    net = FusionNet(tuple(DIMS), DIMS, 5, 0.0, join=join)
    assert net.predictor.first.in_features == n_inputs
    predictions, hidden = net(dict(zip(DIMS, parts(), strict=True)))
    assert (predictions["M"].shape, hidden.shape) == ((3,), (3, 5))


def objective(losses: str) -> PairObjective:
    labels = {"A": torch.tensor([1.0, 0.0]), "V": torch.tensor([0.0, float("nan")]), "AV": torch.tensor([0.5, 0.5])}
    weights = {"A": 1.0, "V": 2.0, "AV": 1.0}
    return PairObjective(weights, labels, np.arange(2), Config(losses=losses))


def test_losses_are_weighed_by_their_noise() -> None:
    outputs = {"A": torch.tensor([0.0, 0.0]), "V": torch.tensor([1.0, 9.0]), "AV": torch.tensor([0.5, 1.5])}
    scales = {"A": 0.0, "V": 1.0, "AV": -1.0}
    with_scales = outputs | {LOG_SCALE + task: torch.tensor(value) for task, value in scales.items()}
    losses = {"A": 0.5, "V": 1.0, "AV": 0.5}
    expected = sum((2 if t == "V" else 1) * (losses[t] * np.exp(-scales[t]) + scales[t]) for t in losses)
    assert objective("uncertainty").loss(with_scales, np.arange(2)).item() == pytest.approx(expected)
    plain = losses["A"] + 2 * losses["V"] + losses["AV"]
    assert objective("weighted").loss(outputs, np.arange(2)).item() == pytest.approx(plain)
    # validation stays eq. 6, so that epochs and settings compare
    one = objective("uncertainty")
    assert one.valid_loss(outputs, one.truths(np.arange(2))).item() == pytest.approx(plain)


def test_a_scale_is_learned_where_it_is_asked_for() -> None:
    for losses, n in (("weighted", 0), ("uncertainty", 3)):
        net = PairNet("AV", {"A": 3, "V": 2}, Config(losses=losses, ahid=2, vhid=2, adim=2, vdim=2, fdim=2))
        assert len(net.log_scales) == n


@pytest.mark.parametrize("places", [None, [0, 1, 3]])
def test_the_mean_of_the_text_is_that_of_each_clips_own_steps(places: list[int] | None) -> None:
    """Two clips of two steps and one; the second sequence is the first clip; the fourth step is padding."""
    if places is None:
        steps = torch.tensor([[1.0], [10.0], [3.0]])
        text = Packed(steps, (2, 1), torch.tensor([1, 0]))
    else:
        steps = torch.tensor([[1.0], [10.0], [20.0]])
        text = Packed(steps, (2, 2), torch.tensor([1, 0]), torch.tensor(places))
    expected = [[10.0], [2.0]] if places is None else [[15.0], [1.0]]
    assert text.mean().tolist() == expected
    net = TextNet(1, 4, 2, 0.0, with_mean=True)
    torch.nn.init.zeros_(net.output.weight[:, :4])
    assert net(text).shape == (2, 2)
    assert net.output.in_features == 5


def test_options_are_off_by_default_and_change_nothing_then(run: Path) -> None:
    weights = load_file(run / "seed_0" / "stage_at.safetensors")
    assert not [name for name in weights if "log_scale" in name or "join" in name]
    assert weights["net.nets.T.output.weight"].shape == (8, 8)


@pytest.mark.parametrize(
    "settings",
    [("fusion=gated",), ("fusion=attention", "losses=uncertainty"), ("text_mean=true", "fusion_inputs=cross-fit")],
)
def test_every_option_is_trained_saved_and_predicts(settings: tuple[str, ...], features: Path, tmp_path: Path) -> None:
    config = load_config("ch-sims", settings=small_settings("max_epochs=10", "lr=0.01", "folds=2", *settings))
    summary = train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))
    found = FmlMSN.from_run(tmp_path / "run").predict(features).set_index("utterance_id")["score_M"]
    saved = read_predictions(tmp_path / "run", 0).set_index("utterance_id")["pred_M"]
    test = saved.index[read_predictions(tmp_path / "run", 0)["split"] == "test"]  # cross-fit clips have another H
    np.testing.assert_allclose(found[test], saved[test], atol=1e-6)
    assert summary["stages"]["AV"]["best_epoch"]["mean"] > 1


def test_options_of_fmlmsn_are_refused_by_late_fusion(features: Path, tmp_path: Path) -> None:
    config = load_config("ch-sims", settings=["model=late-fusion", "fusion=gated"])
    with pytest.raises(ConfigError, match="fusion and losses are choices of fmlmsn"):
        train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))


def test_an_ensemble_is_the_mean_of_the_seeds(run: Path, features: Path) -> None:
    both = [FmlMSN.from_run(run, seed=seed).predict(features)["score_M"].to_numpy() for seed in (0, 1)]
    together = load_model(run, ensemble=True).predict(features)
    np.testing.assert_allclose(together["score_M"].to_numpy(), np.mean(both, axis=0))
    columns, rows, document = evaluation_rows(run, "test", ensemble=True)
    frames = [read_predictions(run, seed) for seed in (0, 1)]
    known = (frames[0]["split"] == "test") & frames[0]["pred_M"].notna()
    mean = np.mean([frame.loc[known, "pred_M"] for frame in frames], axis=0)
    assert document["ensemble"]["M"]["metrics"] == pytest.approx(
        score(mean, frames[0].loc[known, "truth_M"], "ch-sims")
    )
    assert next(row[:2] for row in rows if row[0] == "ensemble of 2") == ["ensemble of 2", "A+V+T"]
    assert "ensemble of 2" not in str(evaluation_rows(run, "test")[1])
    assert len(columns) == len(rows[-1])


def test_an_ensemble_of_one_seed_is_refused(run: Path, features: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(commands.predict, [str(run), str(features), "--ensemble", "--seed", "1"])
    assert "give --seed or --ensemble, not both" in str(result.exception)
    result = CliRunner().invoke(commands.evaluate, [str(run), "--ensemble", "--drop", "A"])
    assert (result.exit_code, "leave out --drop and --noise" in result.output) == (2, True)
    config = load_config("ch-sims", settings=small_settings("max_epochs=8", "lr=0.01"))
    train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))
    with pytest.raises(ConfigError, match="has one seed, and an ensemble is of several; train it with --seeds 5"):
        load_model(tmp_path / "run", ensemble=True)
    with pytest.raises(ConfigError, match="has one seed"):
        evaluation_rows(tmp_path / "run", "test", ensemble=True)
