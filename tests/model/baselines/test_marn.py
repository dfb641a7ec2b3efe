"""MARN against its steps rebuilt number by number from the published description; its size, and that it learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from fmltk.model.baselines.marn import MarnNet, MarnSettings
from fmltk.model.config import load_config
from fmltk.model.data import Reading, read_clip_features
from fmltk.model.inputs import StageInputs
from fmltk.model.memory import n_weights
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.prepared import prepare_features
from fmltk.model.registry import model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
from fmltk.model.standardise import Scaler
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.interchange.mmsa import import_mmsa
from tests.model.folders import planted, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

L = 5
DIMS = {"V_pooled": 3, "A_pooled": 4, "T": 6, "steps": L}
SIZES: dict[str, Any] = {"thid": 5, "ahid": 2, "vhid": 3, "tz": 3, "az": 2, "vz": 1, "heads": 2, "fdim": 4}
UNITS = {"V": 3, "A": 2, "T": 5}


def apply(layer: Any, x: Array) -> Array:
    return np.asarray(layer.weight.detach().numpy().astype(float) @ x + layer.bias.detach().numpy())


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def rebuilt(net: Any, steps: dict[str, Array], *, keeps_states: bool) -> float:
    """Return the intensity of one clip, of its steps (L, d) by modality."""
    h, c = ({m: np.zeros(d) for m, d in UNITS.items()} for _ in range(2))
    z = np.zeros(6)
    for step in range(L):
        new = {}
        for m, d in UNITS.items():
            cell = net.cells[m]
            read = h[m] if keeps_states or m == "T" else np.zeros(d)
            gates = apply(cell.from_input, steps[m][step]) + apply(cell.from_state, read) + apply(cell.from_z, z)
            f, i, o, g = gates.reshape(4, d)
            c[m] = sigmoid(f) * c[m] + sigmoid(i) * np.tanh(g)
            new[m] = sigmoid(o) * np.tanh(c[m])
        h = new
        shares = np.exp(apply(net.attentions.shares, np.concatenate([h[m] for m in "VAT"])))
        shares /= shares.sum()  # over all numbers of both attentions
        found, start = [], 0
        for m, d in UNITS.items():
            own = shares[start : start + 2 * d] * np.concatenate([h[m], h[m]])
            found.append(apply(net.attentions.reduce[m], own))
            start += 2 * d
        z = np.concatenate(found)
    return float(apply(net.output.second, np.maximum(apply(net.output.first, z), 0))[0])


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_it_is_its_steps_one_after_another(variant: str) -> None:
    torch.manual_seed(0)
    net = MarnNet(DIMS, MarnSettings(variant=variant, **SIZES))
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.4 * torch.randn_like(weight))
    lengths, steps = [5, 2, 1], torch.randn(8, 6)
    vectors = {"V_pooled": torch.randn(3, L, 3), "A_pooled": torch.randn(3, L, 4)}
    inputs = StageInputs(vectors, steps, np.concatenate([[0], np.cumsum(lengths)]), text_length=L)
    found = net(inputs.batch(["V_pooled", "A_pooled", "T"], np.arange(3)))[0]["M"]
    for k, part in enumerate(steps.split(lengths)):
        text = torch.cat([part, torch.zeros(L - len(part), 6)])
        clip = {"V": vectors["V_pooled"][k], "A": vectors["A_pooled"][k], "T": text}
        expected = rebuilt(
            net, {m: x.numpy().astype(float) for m, x in clip.items()}, keeps_states=variant != "published"
        )
        assert found[k].item() == pytest.approx(expected, abs=1e-6)


def test_published_states_are_read_by_text_alone_and_trained_alike() -> None:
    for variant, unread in (("published", {"V", "A"}), ("corrected", set())):
        torch.manual_seed(0)
        net = MarnNet(DIMS, MarnSettings(variant=variant, **SIZES))
        inputs = StageInputs(
            {"V_pooled": torch.randn(2, L, 3), "A_pooled": torch.randn(2, L, 4)},
            torch.randn(4, 6),
            np.array([0, 3, 4]),
            text_length=L,
        )
        net(inputs.batch(["V_pooled", "A_pooled", "T"], np.arange(2)))[0]["M"].sum().backward()
        assert {m for m, cell in net.cells.items() if cell.from_state.weight.grad is None} == unread


@pytest.mark.parametrize(
    ("dims", "count"),
    [
        # each of W, U, V: 4 d (d_in + 1); attention over 190 states, 4 times; the layers of z; the predictor
        ({"T": 300, "A_pooled": 5, "V_pooled": 20}, 447_149),
        ({"T": 300, "A_pooled": 74, "V_pooled": 35}, 447_149 + 4 * 30 * 69 + 4 * 32 * 15),
        ({"T": 768, "A_pooled": 33, "V_pooled": 709}, 447_149 + 4 * 128 * 468 + 4 * 30 * 28 + 4 * 32 * 689),
    ],
)
@pytest.mark.parametrize("preset", ["mosi", "mosei", "ch-sims"])
def test_presets_have_the_public_codes_number_of_weights(dims: dict[str, int], count: int, preset: str) -> None:
    spec = model_spec("marn").stages[0]
    assert n_weights(spec, {**dims, "steps": 20}, load_config(preset, settings=["model=marn"])) == count


@pytest.mark.parametrize("variant", ["published", "corrected"])
def test_it_learns_and_predicts_what_its_run_holds(variant: str, features: Path, tmp_path: Path) -> None:
    sizes = [f"{key}={max(value, 6)}" for key, value in SIZES.items()]
    settings = ["model=marn", *sizes, f"variant={variant}", "bs=16", "lr=0.02", "max_epochs=12"]
    out = tmp_path / "run"
    summary = train(features, out=out, config=load_config("ch-sims", settings=settings), options=RunOptions(jobs=0))
    error = summary["tasks"]["M_M"]["splits"]["valid"]["metrics"]["MAE"]["mean"]
    assert error < summary["constant"]["M"]["valid"]["MAE"], "it learned nothing"
    scores = load_model(out).predict(features).set_index("utterance_id")["score_M"]
    held = read_predictions(out, 0).set_index("utterance_id")["pred_M"]
    np.testing.assert_allclose(scores[held.index], held, atol=1e-5)


def test_real_aligned_sequences_are_trained_on(test_data: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    import_mmsa(test_data / "sequences" / "mmmo_text0.pkl", features)
    config = load_config("mosi-aligned", settings=["model=marn", "standardise=true", "lr=0.002", "max_epochs=20"])
    summary = train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))
    assert summary["tasks"]["M_M"]["splits"]["test"]["n"] == 30


@pytest.mark.parametrize("holes", [[1], [0, 2], [3]])
def test_a_word_without_a_token_keeps_its_place_next_to_audio_and_vision(holes: list[int], tmp_path: Path) -> None:
    clips = planted(6)
    folder = write_clips(clips, tmp_path / "features")
    texts = {utterance: np.full((4, 2), k + 1, np.float32) for k, utterance in enumerate(sorted(clips.ids))}
    none = sorted(clips.ids)[-1]  # all of its words are without a token
    with ModalityWriter(folder / "text.parquet", ModalitySpec("text", 2, 8, True, {"feature_names": []})) as writer:
        for utterance, steps in texts.items():
            mask = np.ones(4, bool)
            mask[holes if utterance != none else slice(None)] = False
            writer.append(utterance, steps, mask)
    config = load_config("mosi", settings=["model=marn"])
    pooled = read_clip_features(folder, reading=Reading.of(model_spec("marn"), config))
    plain = read_clip_features(folder)
    assert pooled.text is not None
    assert plain.text is not None
    assert pooled.text.lengths.tolist() == [4] * 6
    assert plain.text.lengths.tolist() == [4 - len(holes)] * 5 + [0]
    first = pooled.text.steps[:4, 0]
    np.testing.assert_array_equal(first, [np.nan if k in holes else 1 for k in range(4)])
    inputs, present = prepare_features(
        pooled, {m: Scaler.unchanged(d) for m, d in (("T", 2), ("A", 8), ("V", 10))}, config
    )
    text: Any = inputs.batch(["T"], np.array([0]))["T"]
    read = text.filled(text.steps, torch.zeros(2))
    np.testing.assert_array_equal(read[:4, 0], [0 if k in holes else 1 for k in range(4)])
    assert present["T"].tolist() == [True] * 5 + [False]
