"""Training on H that an earlier run saved (FmlMSN-L), and deciding whether that is good enough.

Source: paper, section 4.3 (eq. 8) and section 5.5.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmltk.model.checkpoint import load_stage
from fmltk.model.inputs import StageInputs, predict_stage
from fmltk.model.metrics import accuracy_2
from fmltk.model.nominal import decided
from fmltk.model.registry import HIDDEN_PREFIX, model_of
from fmltk.model.run_folder import HIDDEN_FILE, seed_folder, stage_file
from fmltk.model.videos import Videos
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.model.dataset import Dataset
    from fmltk.model.options import RunOptions
    from fmltk.model.registry import ModelSpec
    from fmltk.model.settings import Settings


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether step 1 runs again, and why. p is eq. 8's mean share of right signs, NaN where it was not computed."""

    retrain: bool
    p: float
    reason: str


def read_hidden(run: Path, seed: int, utterance_ids: Sequence[str]) -> dict[str, NDArray[np.float32]]:
    """Return saved H by input name, float32 (n, d) in the order of `utterance_ids`, NaN rows where the run has none.

    Raises ConfigError if the run has no such seed or no saved H.
    """
    table = _saved_table(run, seed)
    at = {utterance: row for row, utterance in enumerate(table["utterance_id"].to_pylist())}
    rows = np.array([at.get(utterance, -1) for utterance in utterance_ids], np.int64)
    hidden = {}
    for name in table.column_names:
        if name.startswith(HIDDEN_PREFIX):
            column = table[name].combine_chunks()
            values = column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)
            hidden[name] = np.where(rows[:, None] >= 0, values[rows], np.nan).astype(np.float32)
    return hidden


def _saved_table(run: Path, seed: int) -> pa.Table:
    from fmltk.toolkit.io.parquet import open_parquet_table, read_table, reading

    path = seed_folder(run, seed) / HIDDEN_FILE
    try:
        with open_parquet_table(path, what="run") as file, reading(path):
            return read_table(file, path)
    except StoreError as error:
        raise ConfigError(f"--reuse {run}: seed {seed} has no saved H ({error})") from error


def refuse_other_splits(run: Path, seed: int, dataset: Dataset) -> None:
    """Raise ConfigError if a clip is in another split than in the earlier run, for its step 1 may have learned it."""
    table = _saved_table(run, seed)
    before = dict(zip(table["utterance_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    now = zip(dataset.utterance_ids, dataset.splits.tolist(), strict=True)
    moved = [(utterance, split) for utterance, split in now if before.get(utterance, split) != split]
    if moved:
        utterance, split = moved[0]
        are = counted(len(moved), "clip is", "clips are")
        raise ConfigError(
            f"--reuse {run}: {are} in another split there ({utterance!r}: {before[utterance]}, now "
            f"{split}), so clips that it learned from would be tested on; give that run's splits, or train all stages"
        )


def decide_seeds(options: RunOptions, dataset: Dataset, config: Settings) -> dict[int, Decision]:
    """Return eq. 8's decision of each seed; {} where no earlier run is given, or its H are taken without asking.

    Raises ConfigError if the earlier run lacks a seed's H, or has other splits.
    """
    if options.reuse is None:
        return {}
    for seed in options.seeds:
        refuse_other_splits(options.reuse, seed, dataset)
    if config.retrain != "auto":
        return {}
    return {seed: decide(options.reuse, seed, dataset, config) for seed in options.seeds}


def decide(run: Path, seed: int, dataset: Dataset, config: Settings) -> Decision:
    """Apply eq. 8: the saved fusion network on saved H of validation clips drawn at random.

    Every draw takes `retrain_clips` clips without replacement (all, where there are fewer); p is the mean over
    `retrain_draws` draws of the share of right signs; below `retrain_threshold`, step 1 runs again.
    """
    if dataset.family == "numbers":
        why = f"the scale {dataset.scale} has no signs for eq. 8 to compare, so step 1 runs"
        return Decision(True, float("nan"), why)
    hidden = read_hidden(run, seed, dataset.utterance_ids)
    truth = dataset.truths["M"]
    known = (dataset.splits == "valid") & np.isfinite(truth)
    for values in hidden.values():
        known &= np.isfinite(values).all(axis=1)
    rows = np.flatnonzero(known)
    if not len(rows):
        return Decision(True, float("nan"), "no validation clip has saved H and a label, so step 1 runs")
    model = model_of(config)
    final = model.stages[-1]
    checkpoint = load_stage(stage_file(seed_folder(run, seed), final.name))
    inputs = StageInputs(
        {name: torch.from_numpy(values) for name, values in hidden.items()},
        None,
        np.zeros(1, np.int64),
        videos=Videos.of(dataset.video_ids, dataset.features.positions, dataset.splits),
    )
    prediction = decided(predict_stage(checkpoint.net, final, inputs, rows)[0]["M"].numpy().astype(np.float64))
    generator = np.random.default_rng(seed)
    n = min(config.retrain_clips, len(rows))
    draws = [generator.choice(len(rows), n, replace=False) for _ in range(config.retrain_draws)]
    p = float(np.mean([accuracy_2(prediction[draw], truth[rows][draw], dataset.family) for draw in draws]))
    retrain = p < config.retrain_threshold
    few = f" (all {n}, for the data has no more)" if n < config.retrain_clips else ""
    why = (
        f"p = {p:.3f} over {config.retrain_draws} draws of {n} validation clips{few} is "
        f"{'below' if retrain else 'not below'} {config.retrain_threshold:g} (eq. 8), so step 1 "
        f"{'runs again' if retrain else 'is skipped and the saved H are fused'}"
    )
    return Decision(retrain, p, why)


def copy_stages(run: Path, seed: int, folder: Path, model: ModelSpec) -> None:
    """Copy the stages whose H is reused, so that the new run can predict by itself."""
    source = seed_folder(run, seed)
    needed = {name for stage in model.stages for name in stage.needs}
    for name in sorted(needed):
        path = stage_file(source, name)
        if not path.is_file():
            raise ConfigError(
                f"--reuse {run}: {path.name} of seed {seed} is missing; was that run of model {model.name}?"
            )
        shutil.copyfile(path, stage_file(folder, name))
