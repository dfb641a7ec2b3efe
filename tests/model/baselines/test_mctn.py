"""MCTN against MMSA's own module and trainer; its variants, and that it learns and predicts from the text alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fmltk.model.baselines.mctn import MctnSettings, Translator
from fmltk.model.config import load_config
from fmltk.model.inputs import StageInputs, predict_stage
from fmltk.model.memory import n_weights
from fmltk.model.registry import model_spec
from fmltk.model.sequences import Sequences
from tests.model.baselines.mmsa import (
    MOSI,
    Shape,
    assert_same_outputs_and_gradients,
    assert_same_steps,
    run_mmsa,
)

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

ALIGNED = Shape({"T": 8, "A": 5, "V": 7}, {"T": 4, "A": 4, "V": 4})
SETTINGS = MctnSettings(model="mctn", bs=8, lr=0.003, clip_norm=0.5, hid=6)
ARGUMENTS = {
    "mctn": {
        "need_normalized": False,
        "use_bert": False,
        "hid_dim": 6,
        "output_dim": 8,
        "max_seq_len": 4,
        "batch_size": 8,
        "init_lr": 0.003,
        "grad_clip": 0.5,
        "train_samples": 24,
    }
}
LSTM = [f"{part}_l0" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def their_names() -> dict[str, str]:
    """Return MMSA's name of each of our weights."""
    names = {f"regression.{part}": f"regression.rnn.{part}" for part in LSTM}
    for part in ("weight", "bias"):
        names |= {f"attention.{part}": f"regression.linear.{part}", f"output.{part}": f"regression.linear2.{part}"}
    for ours, k in (("first", 1), ("second", 2)):
        for part in [*LSTM, *(f"{part}_reverse" for part in LSTM)]:
            names[f"{ours}.encoder.{part}"] = f"encoder{k}.rnn.{part}"
            names[f"{ours}.decoder.{part}"] = f"decoder{k}.rnn.{part}"
        names[f"{ours}.start.weight"] = f"encoder{k}.fc.weight"
        names[f"{ours}.attention.weight"] = f"attn{k}.attn.weight"
        names[f"{ours}.score.weight"] = f"attn{k}.v.weight"
        names |= {f"{ours}.output.{part}": f"decoder{k}.fc_out.{part}" for part in ("weight", "bias")}
    return names


@pytest.fixture(scope="module")
def theirs(mmsa_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    return run_mmsa(mmsa_python, ARGUMENTS, tmp_path_factory.mktemp("mmsa"), ALIGNED)


def test_copied_weights_give_mmsas_outputs_and_gradients(theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_outputs_and_gradients(theirs, SETTINGS.changed(clip_norm=0.0), their_names(), shape=ALIGNED)


def test_three_steps_of_the_trainer_end_in_mmsas_weights(theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_steps(theirs, SETTINGS, their_names(), shape=ALIGNED)


def test_the_preset_has_the_published_number_of_weights() -> None:
    widths = {**{f"{m}_steps": d for m, d in MOSI.items()}, "steps": 50}
    count = n_weights(model_spec("mctn").stages[0], widths, load_config("mosi-aligned", settings=["model=mctn"]))
    assert count == 763_778


def aligned_inputs(n: int, *, seed: int = 0) -> StageInputs:
    """Clips of four words each, with one step of audio and vision per word."""
    generator = torch.Generator().manual_seed(seed)
    ends = np.arange(n + 1) * 4
    t, a, v = (torch.randn(4 * n, d, generator=generator) for d in (8, 5, 7))
    return StageInputs({}, t, ends, 4, sequences={"A": Sequences(a, ends, 4), "V": Sequences(v, ends, 4)})


@pytest.mark.parametrize(("variant", "apart"), [("published", True), ("corrected", False)])
def test_only_the_published_variant_predicts_a_clip_by_its_neighbours(variant: str, apart: bool) -> None:
    torch.manual_seed(0)
    spec, inputs = model_spec("mctn").stages[0], aligned_inputs(6)
    net = spec.build(inputs.dimensions(spec.inputs), SETTINGS.changed(variant=variant))
    for weight in net.parameters():
        weight.data.mul_(3)
    together = predict_stage(net, spec, inputs, np.arange(6))[0]["M"]
    alone = torch.cat([predict_stage(net, spec, inputs, np.array([k]))[0]["M"] for k in range(6)])
    assert (float((together - alone).abs().max()) > 1e-3) is apart
    sound = aligned_inputs(6, seed=1)
    other = StageInputs({}, inputs.steps, inputs.offsets, 4, sequences=sound.sequences)
    torch.testing.assert_close(predict_stage(net, spec, other, np.arange(6))[0]["M"], together)  # by the text alone


def test_the_decoder_reads_its_own_step_where_it_is_not_taught() -> None:
    torch.manual_seed(0)
    taught, alone = Translator(5, 3, 4, teacher_share=1.0), Translator(5, 3, 4, teacher_share=0.0)
    alone.load_state_dict(taught.state_dict())
    codes, start = taught.encode(torch.randn(6, 2, 5))
    truth = torch.randn(6, 2, 3)
    first, second = taught.decode(codes, start, truth), alone.decode(codes, start, truth)
    torch.testing.assert_close(first[:2], second[:2])  # the first true step is where both begin
    assert not torch.allclose(first[2:], second[2:])
    made = second.detach().clone()
    made[0] = truth[0]
    torch.testing.assert_close(taught.decode(codes, start, made), second)  # taught what it would say itself
