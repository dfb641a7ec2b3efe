"""MISA and Self-MM against MMSA's own modules and trainers; their sizes, variants, and that they learn."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from torch import nn

from fmltk.model import progress
from fmltk.model.baselines.misa import MisaSettings, difference, moment_discrepancy
from fmltk.model.baselines.self_mm import SelfMmObjective, SelfMmSettings
from fmltk.model.bert import Bert, BertShape, TextNetwork
from fmltk.model.config import load_config
from fmltk.model.inputs import StageInputs
from fmltk.model.layers import Dropout
from fmltk.model.memory import n_weights
from fmltk.model.network import make_network
from fmltk.model.registry import model_spec
from fmltk.model.sequences import Sequences
from fmltk.model.tensors import write_tensors
from fmltk.model.training import (
    StageData,
    batches,
    make_objective,
    make_optimiser,
    train_batch,
    train_batches,
    train_stage,
)
from fmltk.toolkit.text.bert import TextEncoder
from tests.model.baselines.mmsa import MOSEI, MOSI, SIMS
from tests.toolkit.text.conftest import VOCABULARY, make_bert_folder

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.model.settings import Settings

SCRIPT = Path(__file__).with_name("mmsa_bert.py")
DIMS = {"A": 5, "V": 7}
LENGTHS = {"T": 6, "A": 9, "V": 7}  # MMSA's MISA fails where the text is the longest
N, BATCH = 27, 4  # seven batches, the last of three clips
SETTINGS: dict[str, Settings] = {
    "misa": MisaSettings(model="misa", bs=BATCH, lr=0.003, hid=8, clip_value=0.02, accumulate=2, diff_weight=0.4),
    "self-mm": SelfMmSettings(
        model="self-mm",
        bs=BATCH,
        lr=0.004,
        weight_decay=0.02,
        accumulate=2,
        **{"tlr": 0.001, "alr": 0.005, "vlr": 0.003, "twd": 0.03, "awd": 0.01, "vwd": 0.04, "ahid": 3, "vhid": 4},
        **{"aout": 5, "vout": 6, "fdim": 9, "tdim": 8, "adim": 4, "vdim": 7, "tdrp": 0.0, "adrp": 0.0},
    ),
}
BASE = BertShape("bert", 21_128, 768, 12, 12, 3072, "gelu", 0.1, 0.1, 512, 2, 1e-12, 0)
COMMON = {
    "dataset_name": "sims",
    "train_mode": "regression",
    "num_classes": 3,
    "feature_dims": [768, *DIMS.values()],
    "seq_lens": list(LENGTHS.values()),
    "KeyEval": "Loss",
    "cur_seed": 1,
    "use_bert": True,
    "use_finetune": True,
    "transformers": "bert",
    "need_data_aligned": False,
    "need_model_aligned": False,
    "update_epochs": 2,
    "batch_size": BATCH,
}
ARGUMENTS: dict[str, dict[str, Any]] = {
    "misa": {
        "rnncell": "lstm",
        "use_cmd_sim": True,
        "learning_rate": 0.003,
        "hidden_size": 8,
        "dropout": 0.0,
        "diff_weight": 0.4,
        "sim_weight": 1.0,
        "recon_weight": 0.8,
        "grad_clip": 0.02,
        "epochs": [1],
    },
    "self_mm": {
        "save_labels": False,
        "excludeZero": True,
        "train_samples": N,
        **{"learning_rate_bert": 0.001, "learning_rate_audio": 0.005, "learning_rate_video": 0.003},
        **{"weight_decay_bert": 0.03, "weight_decay_audio": 0.01, "weight_decay_video": 0.04},
        **{"learning_rate_other": 0.004, "weight_decay_other": 0.02},
        **{"a_lstm_hidden_size": 3, "v_lstm_hidden_size": 4, "a_lstm_layers": 1, "v_lstm_layers": 1},
        **{"text_out": 768, "audio_out": 5, "video_out": 6, "a_lstm_dropout": 0.0, "v_lstm_dropout": 0.0},
        **{"post_fusion_dim": 9, "post_text_dim": 8, "post_audio_dim": 4, "post_video_dim": 7},
        **{f"post_{part}_dropout": 0.0 for part in ("fusion", "text", "audio", "video")},
        "H": 1.0,
        "epochs": [1, 3],
    },
}


def make_arrays() -> dict[str, NDArray[Any]]:
    """Token numbers, sequences of different lengths, labels of four tasks."""
    rng = np.random.default_rng(0)
    true = {letter: rng.integers(2, length + 1, N) for letter, length in LENGTHS.items()}
    text = np.zeros((N, 3, LENGTHS["T"]), np.float32)
    text[:, 1] = np.arange(LENGTHS["T"]) < true["T"][:, None]
    text[:, 0] = rng.integers(5, len(VOCABULARY), (N, LENGTHS["T"])) * text[:, 1]
    arrays: dict[str, NDArray[Any]] = {"text": text}
    for letter, name in (("A", "audio"), ("V", "vision")):
        values = rng.normal(0, 2, (N, LENGTHS[letter], DIMS[letter]))
        arrays[name] = (values * (np.arange(LENGTHS[letter]) < true[letter][:, None])[:, :, None]).astype(np.float32)
        arrays[f"{name}_lengths"] = true[letter]
    arrays["M"] = rng.uniform(-1, 1, N).astype(np.float32)
    return arrays | {f"own_{task}": rng.uniform(-1, 1, N).astype(np.float32) for task in "TAV"}


def ragged(values: NDArray[Any], lengths: NDArray[Any]) -> tuple[torch.Tensor, NDArray[np.int64]]:
    steps = np.concatenate([clip[:n] for clip, n in zip(values, lengths, strict=True)])
    return torch.from_numpy(steps), np.concatenate([[0], np.cumsum(lengths)])


def stage_data(dtype: torch.dtype = torch.float32) -> StageData:
    """The same arrays as our trainer has them, without padding."""
    arrays = make_arrays()
    ids, offsets = ragged(arrays["text"][:, 0].astype(np.int64), arrays["text"][:, 1].sum(axis=1).astype(np.int64))
    sequences = {}
    for letter, name in (("A", "audio"), ("V", "vision")):
        steps, ends = ragged(arrays[name], arrays[f"{name}_lengths"])
        sequences[letter] = Sequences(steps.to(dtype), ends)
    inputs = StageInputs({}, ids[:, None], offsets, sequences=sequences)
    labels = {"M": torch.from_numpy(arrays["M"]).to(dtype)}
    return StageData(inputs, labels, train=np.arange(N), valid=np.arange(N))


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bert_folder(tmp_path_factory.mktemp("bert") / "tiny")


@pytest.fixture(scope="module")
def theirs(mmsa_python: Path, bert: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, NDArray[Any]]:
    folder = tmp_path_factory.mktemp("mmsa")
    np.savez(folder / "data.npz", **make_arrays())  # type: ignore[arg-type]
    arguments = {name: {**COMMON, "pretrained": str(bert), **own} for name, own in ARGUMENTS.items()}
    (folder / "arguments.json").write_text(json.dumps(arguments))
    files = [str(folder / name) for name in ("data.npz", "arguments.json", "out.npz")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [str(mmsa_python), str(SCRIPT), *files],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz", allow_pickle=False) as file:
        return dict(file.items())


@pytest.fixture(scope="module")
def network(bert: Path, tmp_path_factory: pytest.TempPathFactory) -> TextNetwork:
    """The same BERT as ours starts from it."""
    config, weights = TextEncoder(str(bert)).network()
    file = tmp_path_factory.mktemp("weights") / "bert.safetensors"
    write_tensors(file, weights, {})
    return TextNetwork(BertShape.of(config), file)


def their_names(name: str, keys: list[str]) -> dict[str, str]:
    """Return MMSA's name of each of our weights."""
    return {key: (_of_misa if name == "misa" else _of_self_mm)(key) for key in keys}


def _of_misa(key: str) -> str:
    first, *rest = key.split(".")
    last = rest[-1]
    letter = rest[0].lower()
    if first == "bert":
        return key.replace("bert.", "bertmodel.model.", 1)
    if first == "lstms":
        return (
            f"{letter}layer_norm.{last}" if rest[1] == "norm" else f"{letter}rnn{1 if rest[1] == 'first' else 2}.{last}"
        )
    if first == "project":
        return f"project_{letter}.project_{letter}{'_layer_norm' if rest[1] == '2' else ''}.{last}"
    if first == "private":
        return f"private_{letter}.private_{letter}_{3 if letter == 'a' else 1}.{last}"
    if first == "reconstruct":
        return f"recon_{letter}.recon_{letter}_1.{last}"
    if first == "transformer":
        return key.replace("transformer.", "transformer_encoder.layers.0.", 1)
    layers = {"shared": "shared.shared_1", "fusion": "fusion.fusion_layer_1", "output": "fusion.fusion_layer_3"}
    return f"{layers[first]}.{last}"


def _of_self_mm(key: str) -> str:
    first, *rest = key.split(".")
    if first == "bert":
        return key.replace("bert.", "text_model.model.", 1)
    if first in ("audio", "vision"):
        part = "rnn" if rest[0] == "lstm" else "linear_1"
        return f"{'audio' if first == 'audio' else 'video'}_model.{part}.{rest[-1]}"
    head = {"M": "fusion", "T": "text", "A": "audio", "V": "video"}[rest[0]]
    return f"post_{head}_layer_{['first', 'second', 'output'].index(rest[1]) + 1}.{rest[-1]}"


def theirs_by_our_names(
    found: dict[str, NDArray[Any]], name: str, what: str, net: nn.Module
) -> dict[str, torch.Tensor]:
    names = their_names(name, list(net.state_dict()))
    prefix = f"{name.replace('-', '_')}/{what}/"
    return {ours: torch.from_numpy(found[prefix + their]) for ours, their in names.items() if prefix + their in found}


def copied(found: dict[str, NDArray[Any]], name: str, network: TextNetwork) -> nn.Module:
    """Our network with MMSA's weights and without dropout."""
    data = stage_data()
    spec = model_spec(name).stages[0]
    net = make_network(spec, data.inputs.dimensions(spec.inputs), SETTINGS[name], network)
    net.load_state_dict(theirs_by_our_names(found, name, "start", net))
    for module in net.modules():
        if isinstance(module, Dropout):
            module.dropped = 0
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    return net


@pytest.mark.parametrize("name", SETTINGS)
def test_copied_weights_give_mmsas_outputs_loss_and_gradients(
    name: str, theirs: dict[str, NDArray[Any]], network: TextNetwork
) -> None:
    spec, data, config = model_spec(name).stages[0], stage_data(), SETTINGS[name].changed(clip_value=0.0)
    net = copied(theirs, name, network)
    first = np.arange(BATCH)
    outputs, hidden = net.eval()(data.inputs.batch(spec.inputs, first))
    system = name.replace("-", "_")
    for key, value in theirs.items():
        if key.startswith(f"{system}/output/"):
            ours = key.rpartition("/")[2].replace("Feature_f", "Feature_m").replace("Feature_", "representation_")
            ours = ours[:-1] + ours[-1].upper()
            assert value.std() > 1e-3, "constant outputs would prove nothing"
            expected = torch.from_numpy(value).reshape(outputs[ours].shape)
            torch.testing.assert_close(outputs[ours], expected, atol=1e-5, rtol=0, msg=key)
    assert len(hidden) == BATCH
    objective = make_objective(spec, config, data)
    if isinstance(objective, SelfMmObjective):
        arrays = make_arrays()
        objective.own |= {task: torch.from_numpy(arrays[f"own_{task}"]) for task in "TAV"}
    still = torch.optim.SGD(net.parameters(), lr=0.0)
    loss = train_batch(net.train(), still, first, spec=spec, config=config, data=data, objective=objective)
    torch.testing.assert_close(loss, torch.from_numpy(theirs[f"{system}/loss"]).reshape(()), atol=1e-5, rtol=1e-5)
    gradients = theirs_by_our_names(theirs, name, "gradient", net)
    for key, weight in net.named_parameters():
        assert weight.grad is not None, key
        torch.testing.assert_close(weight.grad, gradients[key], atol=1e-5, rtol=1e-4, msg=key)


@pytest.mark.parametrize(("name", "n_epochs"), [("misa", 1), ("self-mm", 1), ("self-mm", 3)])
def test_epochs_of_the_trainer_end_in_mmsas_weights_and_labels(
    name: str, n_epochs: int, theirs: dict[str, NDArray[Any]], network: TextNetwork
) -> None:
    """An epoch is three steps of two batches; the seventh is dropped. In float64: Adam scales rounding up."""
    spec, data, config = model_spec(name).stages[0], stage_data(torch.float64), SETTINGS[name]
    net = copied(theirs, name, network).double().train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimiser, objective = make_optimiser(net, spec, config), make_objective(spec, config, data)
    for epoch in range(1, n_epochs + 1):
        objective.epoch = epoch
        parts = batches(data.train, config.bs)
        train_batches(net, optimiser, parts, spec=spec, config=config, data=data, objective=objective)
        if isinstance(objective, SelfMmObjective):
            for task in "MTAV":
                expected = theirs[f"self_mm/labels{n_epochs}/{epoch}/{task}"]
                np.testing.assert_allclose(objective.own[task].numpy(), expected, atol=1e-5, err_msg=f"{epoch} {task}")
            moved = (objective.own["T"] - objective.own["M"]).abs().max()
            assert (moved > 0.1) == (epoch > 1)
    after, expected_after = net.state_dict(), theirs_by_our_names(theirs, name, f"end{n_epochs}", net)
    assert max((after[key] - before[key]).abs().max() for key in after) > 1e-3, "nothing was learned"
    for key, value in after.items():
        torch.testing.assert_close(value, expected_after[key], atol=1e-5, rtol=0, msg=key)


@pytest.mark.parametrize(
    ("name", "dims", "preset", "weights"),
    [
        ("misa", SIMS, "ch-sims", 21_664_749),
        ("misa", MOSI, "mosi", 1_138_033),
        ("misa", MOSEI, "mosei", 1_435_105),
        ("self-mm", SIMS, "ch-sims", 381_380),
        ("self-mm", MOSI, "mosi", 159_332),
        ("self-mm", MOSEI, "mosei", 165_668),
    ],
)
def test_networks_have_mmsas_numbers_of_weights(name: str, dims: dict[str, int], preset: str, weights: int) -> None:
    """Next to the BERT's, and but for MISA's layers that are used nowhere: a discriminator and a layer norm."""
    unused = 516 + 3_072 if name == "misa" else 0
    own = {"A_steps": dims["A"], "V_steps": dims["V"], "T_ids": 1}
    text = TextNetwork(BASE)
    with torch.device("meta"):
        of_bert = sum(weight.numel() for weight in Bert(BASE).parameters())
    assert of_bert == 102_267_648 - 590_592, "bert-base-chinese without its pooler"
    config = load_config(preset, settings=[f"model={name}"])
    assert n_weights(model_spec(name).stages[0], own, config, text) - of_bert + unused == weights


def test_the_corrected_misa_reads_all_steps_of_audio_and_vision(network: TextNetwork) -> None:
    """Published: a change behind as many steps as the text has tokens is not seen."""
    data, spec = stage_data(), model_spec("misa").stages[0]
    text, audio = np.diff(data.inputs.offsets), np.diff(data.inputs.sequences["A"].offsets)
    row = int(np.flatnonzero(text < audio)[0])
    for variant, sees in (("published", False), ("corrected", True)):
        config = SETTINGS["misa"].changed(variant=variant)
        torch.manual_seed(0)
        net = make_network(spec, data.inputs.dimensions(spec.inputs), config, network).eval()
        batch = data.inputs.batch(spec.inputs, np.array([row]))
        before = net(batch)[0]["M"]
        batch["A_steps"].values[0, text[row] :] += 5.0
        assert (net(batch)[0]["M"] != before) == sees


def test_misa_reads_zeros_where_the_text_is_longer(network: TextNetwork) -> None:
    data, spec = stage_data(), model_spec("misa").stages[0]
    net = make_network(spec, data.inputs.dimensions(spec.inputs), SETTINGS["misa"], network).eval()
    text, vision = np.diff(data.inputs.offsets), np.diff(data.inputs.sequences["V"].offsets)
    row = int(np.flatnonzero(text > vision)[0])
    alone = net(data.inputs.batch(spec.inputs, np.array([row])))[0]["M"]
    among = net(data.inputs.batch(spec.inputs, np.arange(N)))[0]["M"][row]
    torch.testing.assert_close(alone[0], among, atol=1e-5, rtol=0)


def test_codes_apart_and_alike_by_hand() -> None:
    """Two clips of two features: centred, (1, 0) and (-1, 0); products 4 / 4, 0, 0, 0 of unit rows."""
    a = torch.tensor([[3.0, 5.0], [1.0, 5.0]])
    assert difference(a, a).item() == pytest.approx(4 / 4, abs=1e-4)
    assert difference(a, a.flip(1)).item() == pytest.approx(4 / 4, abs=1e-4)
    b = torch.tensor([[2.0, 5.0], [0.0, 5.0]])
    assert moment_discrepancy(a, b).item() == pytest.approx(1.0)  # means differ by 1, higher moments do not
    assert moment_discrepancy(a, a * 2).item() == pytest.approx(np.hypot(2, 5) + 3 + 15)  # moments 1, 2 and 4


@pytest.mark.parametrize("epoch", [1, 2, 4])
def test_self_mm_that_was_stopped_continues_to_the_same_labels_and_weights(
    epoch: int, network: TextNetwork, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SAVE_EVERY_S", 0.0)
    spec, data = model_spec("self-mm").stages[0], replace(stage_data(), text_network=network)
    config = SETTINGS["self-mm"].changed(max_epochs=5, tdrp=0.2)
    objectives: list[SelfMmObjective] = []
    start = SelfMmObjective.__init__

    def remembered(self: SelfMmObjective, *arguments: Any) -> None:
        start(self, *arguments)
        objectives.append(self)

    monkeypatch.setattr(SelfMmObjective, "__init__", remembered)
    whole = train_stage(spec, config, data, seed=0)

    def stop(done: Any, _: int) -> None:
        if done.epoch == epoch:
            raise KeyboardInterrupt

    file = tmp_path / "progress.safetensors"
    with pytest.raises(KeyboardInterrupt):
        train_stage(spec, config, data, seed=0, on_epoch=stop, progress=file)
    again = train_stage(spec, config, data, seed=0, progress=file)
    for key, value in whole.net.state_dict().items():
        assert torch.equal(again.net.state_dict()[key], value), key
    first, _, last = objectives
    for key, value in first.state().items():
        assert torch.equal(last.state()[key], value), key
