"""MMSA's own modules and trainers on small arrays, and what makes ours comparable with them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fmltk.model.inputs import StageInputs
from fmltk.model.training import StageData

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SCRIPT = Path(__file__).with_name("mmsa_systems.py")
DIMS = {"T": 6, "A": 5, "V": 7}
LENGTHS = {"T": 4, "A": 9, "V": 6}
N = 24  # three batches
COMMON = {
    "dataset_name": "sims",
    "train_mode": "regression",
    "num_classes": 3,
    "feature_dims": list(DIMS.values()),
    "seq_lens": list(LENGTHS.values()),
    "early_stop": 0,
    "KeyEval": "Loss",
    "cur_seed": 1,
    "need_normalized": True,
    "need_model_aligned": False,
}


def make_arrays() -> dict[str, NDArray[Any]]:
    """Sequences of different lengths, padded with zeros, and labels of four tasks."""
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for letter, name in (("T", "text"), ("A", "audio"), ("V", "vision")):
        length = LENGTHS[letter]
        true = rng.integers(1, length + 1, N)
        values = rng.normal(1, 2, (N, length, DIMS[letter]))
        arrays[name] = (values * (np.arange(length) < true[:, None])[:, :, None]).astype(np.float32)
        arrays[f"{name}_lengths"] = true
    arrays |= {task: rng.uniform(-1, 1, N).astype(np.float32) for task in "MTAV"}
    return arrays


def run_mmsa(python: Path, systems: Mapping[str, Mapping[str, Any]], folder: Path) -> dict[str, NDArray[Any]]:
    """Return what MMSA's modules and trainers of some systems give, by "<system>/<what>/<name>"."""
    np.savez(folder / "data.npz", **make_arrays())  # type: ignore[arg-type]
    arguments = {name: {**COMMON, **own} for name, own in systems.items()}
    (folder / "arguments.json").write_text(json.dumps(arguments))
    files = [str(folder / name) for name in ("data.npz", "arguments.json", "out.npz")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HOME": str(folder)}
    done = subprocess.run(
        [str(python), str(SCRIPT), *files], check=False, capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    with np.load(folder / "out.npz", allow_pickle=False) as file:
        return dict(file.items())


def stage_data(tasks: Sequence[str]) -> StageData:
    """The same arrays as our trainer has them: texts without their padding, which the batches put back."""
    arrays = make_arrays()
    lengths = arrays["text_lengths"]
    steps = np.concatenate([values[:n] for values, n in zip(arrays["text"], lengths, strict=True)])
    vectors = {"A": arrays["audio"].mean(axis=1), "V": arrays["vision"].mean(axis=1)}
    inputs = StageInputs(
        {name: torch.from_numpy(values) for name, values in vectors.items()},
        torch.from_numpy(steps),
        np.concatenate([[0], np.cumsum(lengths)]),
        text_length=LENGTHS["T"],
    )
    labels = {task: torch.from_numpy(arrays[task]) for task in tasks}
    return StageData(inputs, labels, train=np.arange(N), valid=np.arange(N))
