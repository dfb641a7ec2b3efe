"""RAVEN by hand, the CTC module against its definition, and both variants of RAVEN and MCTN in training."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from fmltk.model.baselines.raven import RavenSettings
from fmltk.model.baselines.word_steps import EXTRA_LOSS, CtcAligner, groups_by_module
from fmltk.model.config import load_config
from fmltk.model.inputs import StageInputs
from fmltk.model.memory import n_weights
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.registry import model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from fmltk.model.sequences import Padded, Sequences
from fmltk.model.training import StageData, make_optimiser, train_batch, train_stage
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.interchange.mmsa import import_mmsa

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.model.progress import Epoch

DIMS = {"T_steps": 6, "A_steps": 5, "V_steps": 7, "steps": 3}
SMALL = RavenSettings(model="raven", cell=4, hid=5, drp=0.0, bs=4, lr=0.01)


def clips(n: int = 8, *, steps: tuple[int, int] = (3, 3)) -> StageData:
    """Clips of three words; steps : of audio and of vision."""
    generator = torch.Generator().manual_seed(0)
    text = torch.randn(3 * n, 6, generator=generator)
    sequences = {}
    for m, length, d in zip("AV", steps, (5, 7), strict=True):
        sequences[m] = Sequences(torch.randn(n * length, d, generator=generator), np.arange(n + 1) * length, length)
    inputs = StageInputs({}, text, np.arange(n + 1) * 3, 3, sequences=sequences)
    return StageData(inputs, {"M": torch.rand(n, generator=generator)}, train=np.arange(n), valid=np.arange(n))


def test_raven_has_the_weights_of_its_parts() -> None:
    d_t, d_a, d_v, cell, hid, n = 300, 74, 35, 150, 300, 50
    frames = sum(d * cell + cell + 8 * cell * cell + 8 * cell + cell + d_t + 1 for d in (d_a, d_v))
    words = 2 * cell * d_t + d_t + 4 * hid * (d_t + hid) + 8 * hid + hid + 1
    widths = {"T_steps": d_t, "A_steps": d_a, "V_steps": d_v, "steps": n}
    config = load_config("mosi-aligned", settings=["model=raven"])
    assert n_weights(model_spec("raven").stages[0], widths, config) == frames + words + 2 * n
    with_ctc = n_weights(model_spec("raven").stages[0], widths, config.changed(align="ctc"))
    states = n + 1  # of two LSTM layers whose outputs are the positions and the blank
    ctc = sum(4 * states * (d + states) + 8 * states + 8 * states * states + 8 * states for d in (d_a, d_v))
    assert with_ctc - (frames + words + 2 * n) == ctc


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_a_word_is_shifted_as_the_formula_says(variant: str) -> None:
    torch.manual_seed(0)
    net = model_spec("raven").stages[0].build(DIMS, SMALL.changed(variant=variant)).eval()
    generator = torch.Generator().manual_seed(1)
    text, audio, vision = (torch.randn(2, 3, d, generator=generator) for d in (6, 5, 7))
    vision[1, 2] = 0.0  # this word has no frame of vision
    lengths = torch.tensor([3, 2])
    batch = {"T_steps": Padded(text, lengths), "A_steps": Padded(audio, lengths), "V_steps": Padded(vision, lengths)}
    sound = audio
    if variant == "published":  # the statistics of this batch, by word
        mean, variance = audio.mean(dim=(0, 2), keepdim=True), audio.var(dim=(0, 2), keepdim=True, unbiased=False)
        sound = (audio - mean) / torch.sqrt(variance + 1e-5)
    else:
        sound = audio / math.sqrt(1 + 1e-5)  # nothing was learned yet: mean 0, variance 1
    expected = []
    for k in range(2):
        h, c = torch.zeros(1, 5), torch.zeros(1, 5)
        states = []
        for step in range(3):
            word, parts = text[k, step], []
            for m, frame in (("A", sound[k, step]), ("V", vision[k, step])):
                part = net.frames[m]
                state = part.lstm(part.narrow(frame)[None])[0][0] * float((frame != 0).any())
                parts.append(state * part.gate(torch.cat([state, word])))
            shift = net.shift(torch.cat(parts))
            shift = shift / (shift.norm().clamp(min=1.0) / 0.2) * word.norm()
            w_in, w_hidden, b_in, b_hidden = net.lstm.parameters()
            i, f, g, o = ((word + shift) @ w_in.t() + b_in + h @ w_hidden.t() + b_hidden).chunk(4, dim=1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            states.append(h)
        expected.append(net.output(states[int(lengths[k]) - 1])[0, 0])
    torch.testing.assert_close(net(batch)[0]["M"], torch.stack(expected))


def test_the_gradient_reaches_audio_and_vision_in_the_corrected_variant_alone() -> None:
    for variant in ("published", "corrected"):
        config = SMALL.changed(variant=variant)
        spec, data = model_spec("raven").stages[0], clips()
        net = spec.build(DIMS, config)
        optimiser = make_optimiser(net, spec, config)
        before = {name: value.clone() for name, value in net.named_parameters()}
        train_batch(net, optimiser, np.arange(8), spec=spec, config=config, data=data)
        moved = {name.split(".")[0] for name, value in net.named_parameters() if not torch.equal(value, before[name])}
        nonverbal = {"frames", "shift", "norm"}
        assert moved == {"lstm", "output"} | (set() if variant == "published" else nonverbal)


def test_the_loss_of_the_alignment_is_that_of_all_paths() -> None:
    torch.manual_seed(0)
    aligner = CtcAligner(4, 2)
    x = torch.randn(3, 4, 4)
    aligned, loss = aligner(x)
    shares = torch.softmax(aligner.lstm(x)[0], dim=2).detach()  # (3, 4, blank and two steps of text)
    total = 0.0
    for clip in shares:
        likelihood = 0.0
        for path in itertools.product(range(3), repeat=4):
            if [position for position, _ in itertools.groupby(path) if position] == [1, 2]:
                likelihood += math.prod(float(clip[t, position]) for t, position in enumerate(path))
        total -= math.log(likelihood)
    assert float(loss) == pytest.approx(total, rel=1e-5)
    expected = torch.stack([sum(shares[k, t, 1:, None] * x[k, t] for t in range(4)) for k in range(3)])
    torch.testing.assert_close(aligned, expected)
    assert float(CtcAligner(4, 6)(x)[1]) == 0.0  # four steps cannot be aligned to six


@pytest.mark.parametrize("name", ["raven", "mctn"])
def test_what_aligns_is_limited_apart_from_what_reads(name: str) -> None:
    spec, data = model_spec(name).stages[0], clips(steps=(9, 5))
    config = load_config("mosi", settings=[f"model={name}", "align=ctc", "clip_norm=0.001", "hid=5", "bs=8"])
    net = spec.build(DIMS, config)
    groups = groups_by_module(net, config)
    assert sum(weight.numel() for group in groups for weight in group["params"]) == n_weights(spec, DIMS, config)
    train_batch(net, make_optimiser(net, spec, config), np.arange(8), spec=spec, config=config, data=data)
    for group in groups:
        grads = [weight.grad.flatten() for weight in group["params"] if weight.grad is not None]
        assert float(torch.cat(grads).norm()) == pytest.approx(0.001, rel=1e-2)
    assert float(net.train()(data.inputs.batch(spec.inputs, np.arange(8)))[0][EXTRA_LOSS]) > 0


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("raven", ["variant=corrected", "align=ctc"]),
        ("mctn", ["variant=corrected"]),  # whose decoders draw what they read
        ("mctn", ["variant=corrected", "align=ctc", "clip_norm=0.5"]),
    ],
)
def test_a_stopped_training_continues_to_the_same_weights(
    name: str, more: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmltk.model.progress.SAVE_EVERY_S", 0.0)
    spec, data = model_spec(name).stages[0], clips(steps=(9, 5) if "align=ctc" in more else (3, 3))
    config = load_config("mosi", settings=[f"model={name}", "hid=5", "bs=4", "lr=0.01", "max_epochs=4", *more])
    whole = train_stage(spec, config, data, seed=3).net.state_dict()

    def stop(done: Epoch, _: int) -> None:
        if done.epoch == 2:
            raise KeyboardInterrupt

    file = tmp_path / "progress.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_stage(spec, config, data, seed=3, on_epoch=stop, progress=file)
    again = train_stage(spec, config, data, seed=3, progress=file).net.state_dict()
    assert all(torch.equal(value, again[key]) for key, value in whole.items())


@pytest.mark.parametrize(("name", "steps"), [("raven", (9, 5)), ("raven", (3, 5)), ("mctn", (4, 3))])
def test_sequences_that_are_not_aligned_are_refused(name: str, steps: tuple[int, int]) -> None:
    spec, data = model_spec(name).stages[0], clips(steps=steps)
    net = spec.build(DIMS, load_config("mosi", settings=[f"model={name}"]))
    message = rf"\(text 3, audio {steps[0]}, vision {steps[1]}\).*`fmltk align`, or use --align ctc"
    with pytest.raises(ConfigError, match=message):
        net.train()(data.inputs.batch(spec.inputs, np.arange(4)))


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("raven", ["variant=published"]),
        ("raven", ["variant=corrected"]),
        ("raven", ["variant=corrected", "align=ctc"]),
        ("mctn", ["variant=corrected", "standardise=true"]),
        ("mctn", ["variant=corrected", "standardise=true", "align=ctc", "clip_norm=1.0"]),
    ],
)
def test_real_aligned_sequences_are_trained_on(name: str, more: list[str], test_data: Path, tmp_path: Path) -> None:
    features, out = tmp_path / "features", tmp_path / "run"
    import_mmsa(test_data / "sequences" / "mmmo_text0.pkl", features)
    small = [f"model={name}", "max_epochs=8", "hid=16", "bs=8", "lr=0.005", *more]
    small += ["cell=8"] if name == "raven" else []
    summary = train(features, out=out, config=load_config("mosi", settings=small), options=RunOptions(jobs=0))
    assert summary["tasks"]["M_M"]["splits"]["train"]["n"] == 72
    scores = load_model(out).predict(features).set_index("utterance_id")["score_M"]
    held = read_predictions(out, 0).set_index("utterance_id")["pred_M"]
    np.testing.assert_allclose(scores[held.index], held, atol=1e-5)
