"""MMSA's own modules and trainers on small arrays, and what makes ours comparable with them."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fmltk.model.data import pool
from fmltk.model.inputs import StageInputs
from fmltk.model.registry import model_spec
from fmltk.model.sequences import Sequences
from fmltk.model.training import StageData, batches, make_optimiser, train_batch, train_batches

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from torch import nn

    from fmltk.model.settings import Settings

SCRIPT = Path(__file__).with_name("mmsa_systems.py")
DIMS = {"T": 6, "A": 5, "V": 7}
LENGTHS = {"T": 4, "A": 9, "V": 6}


@dataclass(frozen=True)
class Shape:
    """Features and steps by modality."""

    dims: Mapping[str, int] = field(default_factory=lambda: DIMS)
    lengths: Mapping[str, int] = field(default_factory=lambda: LENGTHS)


UNALIGNED = Shape()
N = 24
# Of Adam in both: with the default of 1e-8 a gradient that is mere rounding moves its weight as far as any other.
ADAM_EPS = 1e-3
FIRST = 8  # clips of the batch whose outputs and gradients are compared
# Features per step of the published sets.
SIMS, MOSI, MOSEI = {"T": 768, "A": 33, "V": 709}, {"T": 768, "A": 5, "V": 20}, {"T": 768, "A": 74, "V": 35}
COMMON = {
    "dataset_name": "sims",
    "train_mode": "regression",
    "num_classes": 3,
    "early_stop": 0,
    "KeyEval": "Loss",
    "cur_seed": 1,
    "need_normalized": True,
    "need_model_aligned": False,
    "adam_eps": ADAM_EPS,
}


def make_arrays(shape: Shape = UNALIGNED) -> dict[str, NDArray[Any]]:
    """Sequences of different lengths, padded with zeros, and labels of four tasks."""
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for letter, name in (("T", "text"), ("A", "audio"), ("V", "vision")):
        length = shape.lengths[letter]
        true = rng.integers(1, length + 1, N)
        values = rng.normal(1, 2, (N, length, shape.dims[letter]))
        arrays[name] = (values * (np.arange(length) < true[:, None])[:, :, None]).astype(np.float32)
        arrays[f"{name}_lengths"] = true
    arrays |= {task: rng.uniform(-1, 1, N).astype(np.float32) for task in "MTAV"}
    return arrays


def run_mmsa(
    python: Path, systems: Mapping[str, Mapping[str, Any]], folder: Path, shape: Shape = UNALIGNED
) -> dict[str, NDArray[Any]]:
    """Return what MMSA's modules and trainers of some systems give, by "<system>/<what>/<name>"."""
    np.savez(folder / "data.npz", **make_arrays(shape))  # type: ignore[arg-type]
    sizes = {"feature_dims": list(shape.dims.values()), "seq_lens": list(shape.lengths.values())}
    arguments = {name: {**COMMON, **sizes, **own} for name, own in systems.items()}
    (folder / "arguments.json").write_text(json.dumps(arguments))
    files = [str(folder / name) for name in ("data.npz", "arguments.json", "out.npz")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    done = subprocess.run(
        [str(python), str(SCRIPT), *files], check=False, capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz", allow_pickle=False) as file:
        return dict(file.items())


def stage_data(tasks: Sequence[str], shape: Shape = UNALIGNED) -> StageData:
    """The same arrays as our trainer has them: texts without their padding, which the batches put back."""
    arrays, length = make_arrays(shape), shape.lengths
    text = _unpadded(arrays, "text", length["T"])
    vectors = {"A": arrays["audio"].mean(axis=1), "V": arrays["vision"].mean(axis=1)}
    for letter, name in (("A", "audio"), ("V", "vision")):
        vectors[f"{letter}_pooled"] = pool(arrays[name], length["T"], "strided")
    inputs = StageInputs(
        {name: torch.from_numpy(values) for name, values in vectors.items()},
        text.steps,
        text.offsets,
        text_length=length["T"],
        sequences={m: _unpadded(arrays, name, length[m]) for m, name in (("A", "audio"), ("V", "vision"))},
    )
    labels = {task: torch.from_numpy(arrays[task]) for task in tasks}
    return StageData(inputs, labels, train=np.arange(N), valid=np.arange(N))


def _unpadded(arrays: Mapping[str, NDArray[Any]], name: str, length: int) -> Sequences:
    lengths = arrays[f"{name}_lengths"]
    steps = np.concatenate([values[:n] for values, n in zip(arrays[name], lengths, strict=True)])
    return Sequences(torch.from_numpy(steps), np.concatenate([[0], np.cumsum(lengths)]), length)


def assert_same_outputs_and_gradients(
    found: Mapping[str, NDArray[Any]], config: Settings, names: Mapping[str, str], *, shape: Shape = UNALIGNED
) -> None:
    """With MMSA's weights, ours gives MMSA's outputs in eval mode and its gradients of the first batch.

    found : of `run_mmsa`; names : MMSA's name of each of our weights
    """
    spec = model_spec(config.model).stages[0]
    data = stage_data(spec.tasks, shape)
    net = _copied(found, config, names, data)
    first = np.arange(FIRST)
    outputs, _ = net.eval()(data.inputs.batch(spec.inputs, first))
    for task in spec.tasks:
        expected = torch.from_numpy(found[f"{_theirs(config)}/output/{task}"]).flatten()
        torch.testing.assert_close(outputs[task], expected, atol=1e-5, rtol=0)
    assert outputs["M"].std() > 0.01, "constant outputs would prove nothing"
    net.train()
    train_batch(net, torch.optim.SGD(net.parameters(), lr=0.0), first, spec=spec, config=config, data=data)
    gradients = _by_our_names(found, config, "gradient", names)
    for key, weight in net.named_parameters():
        grad = torch.zeros_like(weight) if weight.grad is None else weight.grad
        _assert_close(grad, gradients[key], key, rtol=1e-4)


def assert_same_steps(
    found: Mapping[str, NDArray[Any]],
    config: Settings,
    names: Mapping[str, str],
    *,
    shape: Shape = UNALIGNED,
) -> None:
    """With MMSA's weights, the three steps of an epoch of our trainer end in the weights in which MMSA's own ends."""
    spec = model_spec(config.model).stages[0]
    data = stage_data(spec.tasks, shape)
    net = _copied(found, config, names, data).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    optimiser = make_optimiser(net, spec, config)
    for group in optimiser.param_groups:
        group["eps"] = ADAM_EPS
    parts = batches(data.train, config.bs, smallest=spec.smallest_batch)
    train_batches(net, optimiser, parts, spec=spec, config=config, data=data)
    expected = _by_our_names(found, config, "end", names)
    after = net.state_dict()
    assert max((after[key] - before[key]).abs().max() for key in after) > 1e-3, "nothing was learned"
    for key, value in after.items():
        _assert_close(value, expected[key], key, rtol=0)


def _copied(
    found: Mapping[str, NDArray[Any]], config: Settings, names: Mapping[str, str], data: StageData
) -> nn.Module:
    spec = model_spec(config.model).stages[0]
    net = spec.build(data.inputs.dimensions(spec.inputs), config)
    weights = _by_our_names(found, config, "start", names)
    net.load_state_dict({key: weights[key].reshape(value.shape) for key, value in net.state_dict().items()})
    return net


def _by_our_names(
    found: Mapping[str, NDArray[Any]], config: Settings, what: str, names: Mapping[str, str]
) -> dict[str, torch.Tensor]:
    values = {ours: found.get(f"{_theirs(config)}/{what}/{their}") for ours, their in names.items()}
    return {ours: torch.from_numpy(value) for ours, value in values.items() if value is not None}


def _theirs(config: Settings) -> str:
    return config.model.replace("-", "_")


def _assert_close(found: torch.Tensor, expected: torch.Tensor, key: str, *, rtol: float) -> None:
    shaped = expected.reshape(found.shape)
    torch.testing.assert_close(found, shaped, atol=1e-5, rtol=rtol, msg=lambda text: f"{key}: {text}")
