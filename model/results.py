"""The results of a seed's stages, brought together: predictions, saved H, history and metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.checkpoint import load_history
from fmltk.model.nominal import class_words, decided
from fmltk.model.prepared import Prepared
from fmltk.model.registry import HIDDEN_PREFIX, model_of
from fmltk.model.run_folder import HIDDEN_FILE, HISTORY_FILE, PREDICTIONS_FILE, read_predictions, stage_history_file
from fmltk.model.scores import write_seed_metrics
from fmltk.model.stages import hidden_of
from fmltk.model.tasks import condition_predictions, task_key
from fmltk.toolkit.conditions import CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.model.registry import ModelSpec
    from fmltk.model.scores import ClipTable
    from fmltk.model.settings import Settings


PROBABILITY = "prob_"  # columns of probabilities, one list per clip


@dataclass(frozen=True, slots=True)
class SeedJob:
    """Bring together what the stages of one seed gave.

    prepared : the folder of the run's arrays; folder : the seed's; reused : the run whose H were taken, with the
    predictions of the stages that made them
    """

    seed: int
    config: Settings
    prepared: Path
    folder: Path
    device: str
    clips: ClipTable
    reused: Path | None = None


def finish_seed(job: SeedJob) -> None:
    """Write predictions.parquet, bimodal.parquet, history.parquet and metrics.json of one seed."""
    from fmltk.toolkit.io.parquet import write_table

    model = model_of(job.config)
    prepared = Prepared.open(job.prepared)
    predictions: dict[str, NDArray[np.float64]] = {}
    hidden: dict[str, NDArray[np.float32]] = {}
    saved = None if job.reused is None else _saved_predictions(job.reused, job.seed, job.clips)
    for stage in model.stages:
        if HIDDEN_PREFIX + stage.name in prepared.vectors:
            hidden[stage.name] = prepared.vectors[HIDDEN_PREFIX + stage.name]
            if saved is not None:
                predictions |= {task_key(stage.name, t): saved[task_key(stage.name, t)] for t in stage.tasks}
            continue
        values, activations = hidden_of(prepared, model, stage.name, job.folder, job.device)
        predictions |= {task_key(stage.name, t): v.numpy().astype(np.float64) for t, v in values.items()}
        if model.feeds_another(stage):
            hidden[stage.name] = activations.cpu().numpy()
    write_table(predictions_table(job.clips, model, predictions), job.folder / PREDICTIONS_FILE)
    if hidden:
        write_table(_hidden_table(job.clips, hidden), job.folder / HIDDEN_FILE)
    write_table(_history_table(job, model), job.folder / HISTORY_FILE)
    write_seed_metrics(job.folder, job.seed, job.clips, model, predictions)


def predictions_table(clips: ClipTable, model: ModelSpec, predictions: Mapping[str, NDArray[np.float64]]) -> pa.Table:
    """Return one row per clip: truth_<condition>, pred_<condition>, pred_<stage>_<task>, reason; null where unknown.

    For nominal labels these are the classes' names, and prob_<condition>, prob_<stage>_<task> lists of probabilities in
    the order of the scale in training.json.
    """
    import pyarrow as pa

    from fmltk.toolkit.io.parquet import nested_array

    columns: dict[str, Any] = {
        "utterance_id": pa.array(clips.utterance_ids, pa.string()),
        "video_id": pa.array(clips.video_ids, pa.string()),
        "text": pa.array(clips.texts, pa.string()),
        "split": pa.array(clips.splits.tolist(), pa.string()),
    }
    for condition in CONDITIONS:
        if condition in clips.truths:
            columns[f"truth_{condition}"] = _values(clips.truths[condition], clips)
    merged = {**condition_predictions(model, predictions), **predictions}
    columns |= {f"pred_{key}": _values(decided(values), clips) for key, values in merged.items()}
    columns |= {f"{PROBABILITY}{key}": nested_array(values) for key, values in merged.items() if values.ndim == 2}
    columns["reason"] = pa.array([reason or None for reason in clips.reasons], pa.string())
    return pa.table(columns)


def _values(values: NDArray[np.float64], clips: ClipTable) -> pa.Array:
    import pyarrow as pa

    return pa.array(class_words(values, clips.classes), pa.string()) if clips.classes else _nullable(values)


def _nullable(values: NDArray[np.float64]) -> pa.Array:
    import pyarrow as pa

    return pa.array(np.asarray(values, np.float64), mask=~np.isfinite(values))


def _hidden_table(clips: ClipTable, hidden: Mapping[str, NDArray[np.float32]]) -> pa.Table:
    import pyarrow as pa

    from fmltk.toolkit.io.parquet import nested_array

    columns: dict[str, Any] = {
        "utterance_id": pa.array(clips.utterance_ids, pa.string()),
        "split": pa.array(clips.splits.tolist(), pa.string()),
    }
    columns |= {HIDDEN_PREFIX + stage: nested_array(values.astype(np.float32)) for stage, values in hidden.items()}
    return pa.table(columns)


def _saved_predictions(run: Path, seed: int, clips: ClipTable) -> dict[str, NDArray[np.float64]]:
    frame = read_predictions(run, seed).set_index("utterance_id").reindex(list(clips.utterance_ids))
    if clips.classes:
        none = np.full(len(clips.classes), np.nan)
        names = [name for name in frame.columns if name.startswith(PROBABILITY)]
        own = {n: [none if isinstance(value, float) else value for value in frame[n]] for n in names}
        return {n.removeprefix(PROBABILITY): np.stack(values).astype(np.float64) for n, values in own.items()}
    names = [name for name in frame.columns if name.startswith("pred_")]
    return {name.removeprefix("pred_"): frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names}


def _history_table(job: SeedJob, model: ModelSpec) -> pa.Table:
    import pyarrow as pa

    rows = []
    for stage in model.stages:
        path = stage_history_file(job.folder, stage.name)
        if not path.is_file():
            continue
        epochs, best = load_history(path)
        rows += [
            {
                "seed": job.seed,
                "stage": stage.name,
                "epoch": epoch.epoch,
                "train_loss": epoch.train_loss,
                "valid_loss": epoch.valid_loss,
                "valid_mae": epoch.valid_mae,
                "seconds": epoch.seconds,
                "best": epoch.epoch == best,
            }
            for epoch in epochs
        ]
    types = {name: pa.float64() for name in ("train_loss", "valid_loss", "valid_mae", "seconds")}
    types = {"seed": pa.int64(), "stage": pa.string(), "epoch": pa.int64(), **types, "best": pa.bool_()}
    return pa.Table.from_pylist(rows, schema=pa.schema(types))
