"""MFN against MMSA's own module and trainer; its sizes, and that it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.model.baselines.mfn import MfnSettings
from fmltk.model.config import load_config
from fmltk.model.memory import n_weights
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.registry import model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from fmltk.toolkit.errors import ConfigError
from tests.model.baselines.mmsa import (
    MOSEI,
    MOSI,
    SIMS,
    assert_same_outputs_and_gradients,
    assert_same_steps,
    run_mmsa,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SETTINGS = MfnSettings(
    model="mfn",
    bs=8,
    lr=0.003,
    weight_decay=0.05,
    thid=5,
    ahid=3,
    vhid=4,
    memory=6,
    attention_dim=7,
    candidate_dim=8,
    keep_dim=9,
    write_dim=10,
    fdim=11,
)
ARGUMENTS = {
    "need_model_aligned": True,
    "hidden_dims": [5, 3, 4],
    "memsize": 6,
    "windowsize": 2,
    "NN1Config": {"drop": 0.0, "shapes": 7},
    "NN2Config": {"drop": 0.0, "shapes": 8},
    "gamma1Config": {"drop": 0.0, "shapes": 9},
    "gamma2Config": {"drop": 0.0, "shapes": 10},
    "outConfig": {"drop": 0.0, "shapes": 11},
    "learning_rate": 0.003,
    "weight_decay": 0.05,
}


def their_names() -> dict[str, str]:
    """Return MMSA's name of each of our weights."""
    names = {}
    for m, letter in (("T", "l"), ("A", "a"), ("V", "v")):
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            names[f"lstms.cells.{m}.{part}"] = f"lstm_{letter}.{part}"
    nets = {"attention": "att1", "memory.candidate": "att2", "memory.keep": "gamma1", "memory.write": "gamma2"}
    for ours, theirs in {**nets, "output": "out"}.items():
        for part in ("weight", "bias"):
            names[f"{ours}.first.{part}"] = f"{theirs}_fc1.{part}"
            names[f"{ours}.second.{part}"] = f"{theirs}_fc2.{part}"
    return names


@pytest.fixture(scope="module")
def theirs(mmsa_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    return run_mmsa(mmsa_python, {"mfn": ARGUMENTS}, tmp_path_factory.mktemp("mmsa"))


def test_copied_weights_give_mmsas_outputs_and_gradients(theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_outputs_and_gradients(theirs, SETTINGS, their_names())


def test_three_steps_of_the_trainer_end_in_mmsas_weights(theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_steps(theirs, SETTINGS, their_names())


@pytest.mark.parametrize(
    ("preset", "dims", "count"),
    [("ch-sims", SIMS, 601_505), ("mosi-aligned", MOSI, 2_172_657), ("mosei-unaligned", MOSEI, 1_276_865)],
)
def test_presets_have_the_published_number_of_weights(preset: str, dims: dict[str, int], count: int) -> None:
    assert n_weights(model_spec("mfn").stages[0], dims, load_config(preset, settings=["model=mfn"])) == count


def test_it_learns_and_predicts_what_its_run_holds(features: Path, tmp_path: Path) -> None:
    units = ("thid", "ahid", "vhid", "memory", "attention_dim", "candidate_dim", "keep_dim", "write_dim")
    settings = [
        "model=mfn",
        *(f"{unit}=8" for unit in units),
        "fdrp=0.0",
        "write_drp=0.0",
        "bs=16",
        "lr=0.02",
        "max_epochs=10",
    ]
    out = tmp_path / "run"
    summary = train(features, out=out, config=load_config("ch-sims", settings=settings), options=RunOptions(jobs=0))
    error = summary["tasks"]["M_M"]["splits"]["valid"]["metrics"]["MAE"]["mean"]
    assert error < summary["constant"]["M"]["valid"]["MAE"], "it learned nothing"
    scores = load_model(out).predict(features).set_index("utterance_id")["score_M"]
    held = read_predictions(out, 0).set_index("utterance_id")["pred_M"]
    np.testing.assert_allclose(scores[held.index], held, atol=1e-5)


def test_its_text_is_always_padded_and_it_has_no_variants() -> None:
    with pytest.raises(ConfigError, match="text_steps is 'valid'; it must be one of padded"):
        load_config("ch-sims", settings=["model=mfn", "text_steps=valid"])
    with pytest.raises(ConfigError, match="mfn has no setting 'variant'"):
        load_config("ch-sims", settings=["model=mfn", "variant=corrected"])
