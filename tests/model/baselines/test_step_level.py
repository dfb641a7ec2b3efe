"""MFN, Graph-MFN and EF-LSTM against MMSA's own modules and trainers; their sizes, variants, and that they learn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.model.baselines.ef_lstm import EfLstmSettings
from fmltk.model.baselines.graph_mfn import GraphMfnSettings
from fmltk.model.baselines.mfn import MfnSettings
from fmltk.model.config import load_config, settings_class
from fmltk.model.data import Reading, pool, read_clip_features
from fmltk.model.memory import n_weights
from fmltk.model.options import RunOptions
from fmltk.model.predict import load_model
from fmltk.model.registry import model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import read_predictions
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
from tests.model.folders import planted, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.model.settings import Settings

NODES = ("TA", "TV", "AV", "TAV")
COMMON = {"bs": 8, "lr": 0.003, "weight_decay": 0.05}
MEMORY = {"thid": 5, "ahid": 3, "vhid": 4, "memory": 6, "candidate_dim": 8, "keep_dim": 9, "write_dim": 10, "fdim": 11}
SETTINGS: dict[str, Settings] = {
    "mfn": MfnSettings(model="mfn", attention_dim=7, **COMMON, **MEMORY),
    "graph-mfn": GraphMfnSettings(model="graph-mfn", node_dim=7, **COMMON, **MEMORY),
    "ef-lstm": EfLstmSettings(model="ef-lstm", hid=5, layers=2, drp=0.0, **COMMON),
}
MEMORY_ARGUMENTS = {
    "need_model_aligned": True,
    "hidden_dims": [5, 3, 4],
    "memsize": 6,
    "gamma1Config": {"drop": 0.0, "shapes": 9},
    "gamma2Config": {"drop": 0.0, "shapes": 10},
    "outConfig": {"drop": 0.0, "shapes": 11},
    "learning_rate": 0.003,
    "weight_decay": 0.05,
}
ARGUMENTS = {
    "mfn": {
        **MEMORY_ARGUMENTS,
        "windowsize": 2,
        "NN1Config": {"drop": 0.0, "shapes": 7},
        "NN2Config": {"drop": 0.0, "shapes": 8},
    },
    "graph_mfn": {
        **MEMORY_ARGUMENTS,
        "need_normalized": False,
        "inner_node_dim": 7,
        "NNConfig": {"drop": 0.0, "shapes": 8},
    },
    "ef_lstm": {
        **MEMORY_ARGUMENTS,
        "need_normalized": False,
        "hidden_dims": 5,
        "num_layers": 2,
        "dropout": 0.0,
    },
}
UNITS = ("thid", "ahid", "vhid", "memory", "attention_dim", "candidate_dim", "keep_dim", "write_dim", "node_dim", "hid")


def their_names() -> dict[str, str]:
    """Return MMSA's name of each of our weights."""
    names = {}
    for m, letter in (("T", "l"), ("A", "a"), ("V", "v")):
        for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            names[f"lstms.cells.{m}.{part}"] = f"lstm_{letter}.{part}"
        for part in ("weight", "bias"):
            names[f"singles.{m}.{part}"] = f"{letter}_transform.{part}"
    nets = {"attention": "att1", "memory.candidate": "att2", "memory.keep": "gamma1", "memory.write": "gamma2"}
    nodes = {f"nodes.{key}": f"networks.{number}" for key, number in zip(NODES, ("01", "02", "12", "012"), strict=True)}
    nodes |= {"top": "graph_mfn.t_network", "efficacies": "graph_mfn.efficacy_model"}
    for part in ("weight", "bias"):
        for ours, theirs in {**nets, "output": "out"}.items():
            names[f"{ours}.first.{part}"] = f"{theirs}_fc1.{part}"
            names[f"{ours}.second.{part}"] = f"{theirs}_fc2.{part}"
        for ours, theirs in nodes.items():
            names[f"graph.{ours}.0.{part}"] = f"{theirs}.0.{part}"
            names[f"graph.{ours}.1.{part}"] = f"{theirs}.1.0.{part}"
        names[f"graph.efficacies.2.{part}"] = f"graph_mfn.efficacy_model.2.{part}"
        names |= {f"hidden.{part}": f"linear.{part}", f"output.{part}": f"out.{part}", f"norm.{part}": f"norm.{part}"}
    same = [f"lstm.{kind}_l{k}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh") for k in (0, 1)]
    same += [f"norm.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")]
    return names | {name: name for name in same}


@pytest.fixture(scope="module")
def theirs(mmsa_python: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    return run_mmsa(mmsa_python, ARGUMENTS, tmp_path_factory.mktemp("mmsa"))


@pytest.mark.parametrize("name", SETTINGS)
def test_copied_weights_give_mmsas_outputs_and_gradients(name: str, theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_outputs_and_gradients(theirs, SETTINGS[name], their_names())


@pytest.mark.parametrize("name", SETTINGS)
def test_three_steps_of_the_trainer_end_in_mmsas_weights(name: str, theirs: dict[str, NDArray[Any]]) -> None:
    assert_same_steps(theirs, SETTINGS[name], their_names())


@pytest.mark.parametrize(
    ("name", "preset", "dims", "count"),
    [
        ("mfn", "ch-sims", SIMS, 601_505),
        ("mfn", "mosi-aligned", MOSI, 2_172_657),
        ("mfn", "mosei-unaligned", MOSEI, 1_276_865),
        ("ef-lstm", "ch-sims", SIMS, 215_695),
        ("ef-lstm", "mosi-unaligned", MOSI, 885_605),
        ("ef-lstm", "mosei", MOSEI, 1_754_725),
        ("graph-mfn", "ch-sims", SIMS, 2_724_860 + 253_712),  # those that torch sees, and the nodes in a dict
        ("graph-mfn", "mosi", MOSI, 2_110_624 + 208_656),
        ("graph-mfn", "mosei-aligned", MOSEI, 675_792 + 133_712),
    ],
)
def test_presets_have_the_published_number_of_weights(name: str, preset: str, dims: dict[str, int], count: int) -> None:
    widths = {**dims, "A_pooled": dims["A"], "V_pooled": dims["V"], "steps": 39 if dims is SIMS else 50}
    assert n_weights(model_spec(name).stages[0], widths, load_config(preset, settings=[f"model={name}"])) == count


@pytest.mark.parametrize("name", SETTINGS)
def test_it_learns_and_predicts_what_its_run_holds(name: str, features: Path, tmp_path: Path) -> None:
    known = settings_class(name).__dataclass_fields__
    more = [f"{unit}=8" for unit in UNITS if unit in known]
    more += [f"{drop}=0.0" for drop in ("fdrp", "write_drp", "candidate_drp", "drp", "weight_decay") if drop in known]
    settings = [f"model={name}", *more, "bs=16", "lr=0.02", "max_epochs=12"]
    out = tmp_path / "run"
    summary = train(features, out=out, config=load_config("ch-sims", settings=settings), options=RunOptions(jobs=0))
    error = summary["tasks"]["M_M"]["splits"]["valid"]["metrics"]["MAE"]["mean"]
    assert error < summary["constant"]["M"]["valid"]["MAE"], "it learned nothing"
    scores = load_model(out).predict(features).set_index("utterance_id")["score_M"]
    held = read_predictions(out, 0).set_index("utterance_id")["pred_M"]
    np.testing.assert_allclose(scores[held.index], held, atol=1e-5)


@pytest.mark.parametrize("name", ["lf-dnn", "graph-mfn"])
def test_real_aligned_sequences_are_trained_on(name: str, test_data: Path, tmp_path: Path) -> None:
    features = tmp_path / "features"
    import_mmsa(test_data / "sequences" / "mmmo_text0.pkl", features)
    config = load_config("mosi-aligned", settings=[f"model={name}", "max_epochs=15"])
    summary = train(features, out=tmp_path / "run", config=config, options=RunOptions(jobs=0))
    assert {split: scores["n"] for split, scores in summary["tasks"]["M_M"]["splits"].items()} == {
        "train": 72,
        "valid": 18,
        "test": 30,
    }


def test_the_corrected_graph_trains_all_its_weights() -> None:
    spec = model_spec("graph-mfn").stages[0]
    assert spec.groups is not None
    for variant, n_left_out in (("published", 4 * 4), ("corrected", 0)):  # four nodes of two layers each
        config = SETTINGS["graph-mfn"].changed(variant=variant)
        net = spec.build({"T": 6, "A_pooled": 5, "V_pooled": 7}, config)
        (group,) = spec.groups(net, config)
        assert len(list(net.parameters())) - len(group["params"]) == n_left_out


def test_pooled_steps_are_read_as_the_variant_says(tmp_path: Path) -> None:
    clips = planted(6)
    folder = write_clips(clips, tmp_path / "features")
    for how, picked in (("strided", [0, 4]), ("windows", [0, 1])):
        features = read_clip_features(folder, reading=Reading(pooled=how), lengths={"T": 4})
        for row, utterance in enumerate(features.utterance_ids):
            sequence = clips.sequences["A"][clips.ids.index(utterance)]
            assert sequence is not None
            padded = np.zeros((8, sequence.shape[1]))
            padded[: len(sequence)] = sequence
            np.testing.assert_allclose(features.pooled["A"][row, 0], padded[picked].mean(axis=0), atol=1e-6)
    assert features.pooled["V"].shape == (6, 4, 10)
    three = pool(np.array([[[1.0], [2.0], [4.0]]], np.float32), 2, "windows")
    np.testing.assert_array_equal(three[0, :, 0], [1.5, 4.0])  # the last step is repeated


def test_its_text_is_always_padded_and_it_has_no_variants() -> None:
    with pytest.raises(ConfigError, match="text_steps is 'valid'; it must be one of padded"):
        load_config("ch-sims", settings=["model=mfn", "text_steps=valid"])
    with pytest.raises(ConfigError, match="mfn has no setting 'variant'"):
        load_config("ch-sims", settings=["model=mfn", "variant=corrected"])
