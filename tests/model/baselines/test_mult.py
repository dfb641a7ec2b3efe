"""MulT against MMSA's own module and trainer; what it reads, its sizes and variants, and that it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fmltk.model.baselines.attention import Dropouts, Encoder, Steps, visible
from fmltk.model.baselines.mult import MultSettings
from fmltk.model.config import load_config
from fmltk.model.inputs import StageInputs, predict_stage
from fmltk.model.memory import n_weights
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.registry import model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from fmltk.model.sequences import Sequences
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.interchange.mmsa import import_mmsa
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

UNITS = {"dim": 8, "heads": 2, "levels": 2, "tkernel": 2, "akernel": 3, "vkernel": 1}
# 24 batches of one clip: three steps of seven batches, and a rest of three, which is dropped.
SETTINGS = MultSettings(model="mult", bs=1, lr=0.003, accumulate=7, clip_value=0.02, **UNITS)
ARGUMENTS = {
    "mult": {
        "need_normalized": False,
        "use_bert": False,
        "attn_mask": True,
        "update_epochs": 7,
        "batch_size": 1,
        "learning_rate": 0.003,
        "grad_clip": 0.02,
        "patience": 5,
        "dst_feature_dim_nheads": [8, 2],
        "nlevels": 2,
        "conv1d_kernel_size_l": 2,
        "conv1d_kernel_size_a": 3,
        "conv1d_kernel_size_v": 1,
        **{f"attn_dropout{end}": 0.0 for end in ("", "_a", "_v")},
        **{f"{place}_dropout": 0.0 for place in ("relu", "embed", "res", "output", "text")},
    }
}


def their_names() -> dict[str, str]:
    """Return MMSA's name of each of our weights."""
    letters = {"T": "l", "A": "a", "V": "v"}
    encoders = {f"cross.{t}{s}": f"trans_{letters[t]}_with_{letters[s]}" for t in "TAV" for s in "TAV" if t != s}
    encoders |= {f"memory.{m}": f"trans_{letter}_mem" for m, letter in letters.items()}
    names = {f"narrow.{m}.convolution.weight": f"proj_{letter}.weight" for m, letter in letters.items()}
    for part in ("weight", "bias"):
        names |= {f"first.{part}": f"proj1.{part}", f"second.{part}": f"proj2.{part}"}
        names[f"output.{part}"] = f"out_layer.{part}"
        for ours, theirs in encoders.items():
            names[f"{ours}.norm.{part}"] = f"{theirs}.layer_norm.{part}"
            for k in range(3):
                here, there = f"{ours}.layers.{k}", f"{theirs}.layers.{k}"
                names[f"{here}.attention.project.{part}"] = f"{there}.self_attn.in_proj_{part}"
                names[f"{here}.attention.output.{part}"] = f"{there}.self_attn.out_proj.{part}"
                names |= {f"{here}.first.{part}": f"{there}.fc1.{part}", f"{here}.second.{part}": f"{there}.fc2.{part}"}
                names |= {f"{here}.norms.{n}.{part}": f"{there}.layer_norms.{n}.{part}" for n in (0, 1)}
    return names


@pytest.fixture(scope="module")
def theirs(mmsa_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    return run_mmsa(mmsa_python, ARGUMENTS, tmp_path_factory.mktemp("mmsa"))


def test_copied_weights_give_mmsas_outputs_and_gradients(theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_outputs_and_gradients(theirs, SETTINGS.changed(clip_value=0.0), their_names())


def test_three_steps_of_the_trainer_end_in_mmsas_weights(theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_steps(theirs, SETTINGS, their_names())


@pytest.mark.parametrize(
    ("preset", "dims", "count"),
    [
        ("ch-sims", SIMS, 1_870_701),
        ("mosi-unaligned", MOSI, 2_571_551),
        ("mosei-unaligned", MOSEI, 982_951),
        ("mosei-aligned", MOSEI, 982_951),
    ],
)
def test_presets_have_the_published_number_of_weights(preset: str, dims: dict[str, int], count: int) -> None:
    widths = {f"{m}_steps": d for m, d in dims.items()}
    assert n_weights(model_spec("mult").stages[0], widths, load_config(preset, settings=["model=mult"])) == count


SMALL = [f"{name}={value}" for name, value in UNITS.items()]
SMALL += ["model=mult", "bs=16", "accumulate=2", "lr=0.005", "max_epochs=10", "plateau=2"]
NO_DROPOUT = [f"{name}=0.0" for name in ("tdrp", "tattn_drp", "aattn_drp", "embed_drp", "res_drp", "fdrp")]


@pytest.mark.parametrize(
    "more",
    [
        NO_DROPOUT,
        [*NO_DROPOUT, "variant=corrected", "frames=valid", "text_steps=valid"],
        ["frames=valid", "text_steps=valid", "standardise=true", "missing=mean", "max_epochs=14"],
    ],
)
def test_it_learns_and_predicts_what_its_run_holds(more: list[str], features: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    summary = train(
        features, out=out, config=load_config("ch-sims", settings=[*SMALL, *more]), options=RunOptions(jobs=0)
    )
    error = summary["tasks"]["M_M"]["splits"]["valid"]["metrics"]["MAE"]["mean"]
    assert error < summary["constant"]["M"]["valid"]["MAE"], "it learned nothing"
    scores = load_model(out).predict(features).set_index("utterance_id")["score_M"]
    held = read_predictions(out, 0).set_index("utterance_id")["pred_M"]
    assert held.isna().sum() == (0 if "missing=mean" in more else 2)
    np.testing.assert_allclose(scores[held.index], held, atol=1e-5)


def test_a_stopped_run_ends_in_the_bytes_of_an_unbroken_one(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config("ch-sims", settings=[*SMALL, "max_epochs=5", "plateau=1", "lr=0.5"])  # the learning rate falls
    options = RunOptions(jobs=0)
    train(features, out=tmp_path / "whole", config=config, options=options)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr("fmltk.model.stages.save_history", stop)
        with pytest.raises(KeyboardInterrupt):
            train(features, out=tmp_path / "stopped", config=config, options=options)
    train(features, out=tmp_path / "stopped", config=config, options=options)
    for name in ("stage_m.safetensors", "predictions.parquet"):
        assert (tmp_path / "stopped" / "seed_0" / name).read_bytes() == (
            tmp_path / "whole" / "seed_0" / name
        ).read_bytes()


def few_inputs(lengths: list[tuple[int, int, int]], *, length: int = 0) -> StageInputs:
    """Clips of so many steps of text, audio and vision; length : what all are padded to, 0 for the batch's longest."""
    generator = torch.Generator().manual_seed(0)
    ends = np.concatenate([np.zeros((1, 3), np.int64), np.cumsum(lengths, axis=0)])
    t, a, v = (torch.randn(int(ends[-1, k]), d, generator=generator) for k, d in enumerate((6, 5, 7)))
    whole = {"A": Sequences(a, ends[:, 1], length), "V": Sequences(v, ends[:, 2], length)}
    return StageInputs({}, t, ends[:, 0], length, sequences=whole)


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_without_the_padding_a_clip_is_predicted_the_same_in_any_batch(variant: str) -> None:
    torch.manual_seed(0)
    config = SETTINGS.changed(frames="valid", text_steps="valid", variant=variant)
    spec = model_spec("mult").stages[0]
    lengths = [(3, 9, 4), (1, 2, 1), (4, 3, 6), (2, 7, 3)]  # the second is shorter than the convolutions
    inputs = few_inputs(lengths)
    net = spec.build(inputs.dimensions(spec.inputs), config)
    together = predict_stage(net, spec, inputs, np.arange(4))[0]["M"]
    alone = torch.cat([predict_stage(net, spec, inputs, np.array([k]))[0]["M"] for k in range(4)])
    padded = predict_stage(net, spec, few_inputs(lengths, length=12), np.arange(4))[0]["M"]
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=0)
    assert together.std() > 0.01


def test_the_corrected_variant_sees_the_positions_of_the_steps() -> None:
    torch.manual_seed(0)
    steps = Steps(torch.randn(1, 1, 8).expand(1, 5, 8))  # five equal steps
    for positions in (False, True):
        encoder = Encoder(8, 2, 1, Dropouts(), positions=positions).eval()
        made = encoder(steps, steps)[0]
        assert bool(torch.allclose(made, made[:1].expand(5, 8), atol=1e-6)) is not positions
    ones = torch.cat([torch.ones(1, 2, 6), torch.zeros(1, 1, 6)], dim=1)
    added = Encoder(6, 2, 1, Dropouts(), positions=True)._embedded(Steps(ones))[0]
    rates = 1 / 10_000 ** (torch.arange(3) / 2)
    expected = torch.stack([torch.cat([torch.sin(k * rates), torch.cos(k * rates)]) for k in (1, 2)])
    torch.testing.assert_close(added, torch.cat([6**0.5 + expected, torch.zeros(1, 6)]))  # the padding has none


def test_the_last_step_alone_is_that_of_all() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 2, 3, Dropouts(), positions=False)
    for lengths in (None, torch.tensor([5, 2, 1])):
        steps = Steps(torch.randn(3, 5, 8), lengths)
        ends = torch.tensor([4, 4, 4]) if lengths is None else lengths - 1
        x = steps.values * 8**0.5
        for layer in encoder.layers:
            x = layer(x, x, x, visible(steps, steps))
        torch.testing.assert_close(encoder.last_of(steps), encoder.norm(x)[torch.arange(3), ends])


def test_attention_with_dropout_keeps_its_mean() -> None:
    torch.manual_seed(0)
    encoder = Encoder(8, 2, 1, Dropouts(attention=0.3), positions=False)
    steps = Steps(torch.randn(1, 6, 8))
    attention = encoder.layers[0].attention
    x = steps.values
    expected = attention.eval()(x, x, x, None)
    attention.train()
    drawn = torch.stack([attention(x, x, x, None) for _ in range(4000)])
    assert drawn.std(dim=0).mean() > 0.01
    torch.testing.assert_close(drawn.mean(dim=0), expected, atol=0.02, rtol=0)


def test_real_aligned_sequences_are_trained_on(test_data: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    import_mmsa(test_data / "sequences" / "mmmo_text0.pkl", features)
    config = load_config("mosi-aligned", settings=["model=mult", "max_epochs=2", "levels=1", "accumulate=2"])
    summary = train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))
    assert summary["tasks"]["M_M"]["splits"]["train"]["n"] == 72


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["heads=7"], "dim is 50; it must be a multiple of heads, 7"),
        (["dim=12"], "dim is 12; it must be a multiple of heads, 10"),
        (["levels=0"], "levels is 0; it must be a whole number of 1 or more"),
        (["plateau=-1"], "plateau is -1; it must be a whole number of 0 or more"),
    ],
)
def test_settings_that_cannot_be_are_refused(more: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_config("ch-sims", settings=["model=mult", *more])
