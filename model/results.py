"""What a run leaves behind: predictions, metrics and history of each seed, and their summary over the seeds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.checkpoint import load_history
from fmltk.model.metrics import constant_score, metric_names, score
from fmltk.model.prepared import Prepared
from fmltk.model.registry import HIDDEN_PREFIX, model_spec
from fmltk.model.stages import hidden_of, history_file
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

    from fmltk.model.config import Config
    from fmltk.model.metrics import Family
    from fmltk.model.registry import ModelSpec

COLLAPSE_SHARE = 0.01  # predictions that vary less than this share of the labels' deviation are constant
PREDICTIONS, HIDDEN, HISTORY, METRICS, SUMMARY = (
    "predictions.parquet",
    "bimodal.parquet",
    "history.parquet",
    "metrics.json",
    "summary.json",
)


@dataclass(frozen=True)
class ClipTable:
    """The clips of a run as its results name them: n rows.

    truths : by condition, float64 (n,); sources : by condition, where the training labels come from; reasons : per
    clip, why it has no multimodal prediction, "" where it has one
    """

    utterance_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    texts: tuple[str | None, ...]
    splits: NDArray[np.str_]
    truths: Mapping[str, NDArray[np.float64]]
    sources: Mapping[str, str]
    reasons: tuple[str, ...]
    family: Family


@dataclass(frozen=True, slots=True)
class SeedJob:
    """Bring together what the stages of one seed gave."""

    seed: int
    config: Config
    prepared: Path
    folder: Path
    device: str
    clips: ClipTable
    stage_predictions: Path | None = None  # predictions of stages whose H was reused


def task_key(stage: str, task: str) -> str:
    """Return the name of a stage's task in files: AV_A, AV_AV, fusion_M.

    >>> task_key("AV", "A")
    'AV_A'
    """
    return f"{stage}_{task}"


def finish_seed(job: SeedJob) -> None:
    """Write predictions.parquet, bimodal.parquet, history.parquet and metrics.json of one seed."""
    from fmltk.toolkit.io.files import write_bytes
    from fmltk.toolkit.io.parquet import write_table

    model = model_spec(job.config.model)
    prepared = Prepared.open(job.prepared)
    predictions: dict[str, NDArray[np.float64]] = {}
    hidden: dict[str, NDArray[np.float32]] = {}
    saved = None if job.stage_predictions is None else _saved_predictions(job.stage_predictions, job.clips)
    for stage in model.stages:
        if HIDDEN_PREFIX + stage.name in prepared.vectors:
            hidden[stage.name] = prepared.vectors[HIDDEN_PREFIX + stage.name]
            if saved is not None:
                predictions |= {task_key(stage.name, t): saved[task_key(stage.name, t)] for t in stage.tasks}
            continue
        values, activations = hidden_of(prepared, model, stage.name, job.folder, job.device)
        predictions |= {task_key(stage.name, t): v.numpy().astype(np.float64) for t, v in values.items()}
        if any(stage.name in other.needs for other in model.stages):
            hidden[stage.name] = activations.cpu().numpy()
    write_table(predictions_table(job.clips, model, predictions), job.folder / PREDICTIONS)
    if hidden:
        write_table(_hidden_table(job.clips, hidden), job.folder / HIDDEN)
    write_table(_history_table(job, model), job.folder / HISTORY)
    document = seed_metrics(job, model, predictions)
    write_bytes(job.folder / METRICS, json.dumps(_plain(document), indent=1).encode())


def condition_predictions(
    model: ModelSpec, predictions: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return one prediction per condition: the mean over the stages that predict it (T, A and V: two stages)."""
    merged = {}
    for condition in CONDITIONS:
        keys = [task_key(stage.name, condition) for stage in model.stages if condition in stage.tasks]
        values = [predictions[key] for key in keys if key in predictions]
        if values:
            merged[condition] = np.mean(values, axis=0)
    return merged


def predictions_table(clips: ClipTable, model: ModelSpec, predictions: Mapping[str, NDArray[np.float64]]) -> pa.Table:
    """Return one row per clip: truth_<condition>, pred_<condition>, pred_<stage>_<task>, reason; null where unknown."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        "utterance_id": pa.array(clips.utterance_ids, pa.string()),
        "video_id": pa.array(clips.video_ids, pa.string()),
        "text": pa.array(clips.texts, pa.string()),
        "split": pa.array(clips.splits.tolist(), pa.string()),
    }
    for condition in CONDITIONS:
        if condition in clips.truths:
            columns[f"truth_{condition}"] = _nullable(clips.truths[condition])
    for condition, values in condition_predictions(model, predictions).items():
        columns[f"pred_{condition}"] = _nullable(values)
    for key, values in predictions.items():
        columns[f"pred_{key}"] = _nullable(values)
    columns["reason"] = pa.array([reason or None for reason in clips.reasons], pa.string())
    return pa.table(columns)


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


def _saved_predictions(path: Path, clips: ClipTable) -> dict[str, NDArray[np.float64]]:
    frame = read_predictions(path).set_index("utterance_id").reindex(list(clips.utterance_ids))
    names = [name for name in frame.columns if name.startswith("pred_")]
    return {name.removeprefix("pred_"): frame[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in names}


def read_predictions(path: Path) -> pd.DataFrame:
    """Read a predictions.parquet of ours."""
    from fmltk.toolkit.io.parquet import open_parquet, reading

    with open_parquet(path, what="run") as file, reading(path):
        frame: pd.DataFrame = file.read().to_pandas()
    return frame


def _history_table(job: SeedJob, model: ModelSpec) -> pa.Table:
    import pyarrow as pa

    rows = []
    for stage in model.stages:
        path = history_file(job.folder, stage.name)
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
    return pa.Table.from_pylist(rows)


def seed_metrics(job: SeedJob, model: ModelSpec, predictions: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return every task's scores on every split, the constant predictor's, the stages' times, and what collapsed."""
    clips = job.clips
    tasks: dict[str, Any] = {}
    collapsed = []
    for stage in model.stages:
        for task in stage.tasks:
            key = task_key(stage.name, task)
            if key not in predictions:
                continue
            scores = {s: _score_split(clips, predictions[key], clips.truths[task], s) for s in _named(clips.splits)}
            tasks[key] = {"stage": stage.name, "task": task, "labels": clips.sources[task], "splits": scores}
            if is_collapsed(predictions[key], clips.truths[task]):
                collapsed.append(key)
    return {
        "seed": job.seed,
        "family": clips.family,
        "tasks": tasks,
        "constant": _constants(clips, [c for c in CONDITIONS if any(t["task"] == c for t in tasks.values())]),
        "stages": _stage_times(job, model),
        "collapsed": collapsed,
    }


def is_collapsed(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> bool:
    """Return whether predictions are as good as constant while the labels are not."""
    known = np.isfinite(prediction) & np.isfinite(truth)
    if known.sum() < 2 or np.std(truth[known]) == 0:
        return False
    return bool(np.std(prediction[known]) < COLLAPSE_SHARE * np.std(truth[known]))


def _named(splits: NDArray[np.str_]) -> list[str]:
    return [split for split in ("train", "valid", "test") if np.any(splits == split)]


def _score_split(
    clips: ClipTable, prediction: NDArray[np.float64], truth: NDArray[np.float64], split: str
) -> dict[str, Any]:
    known = (clips.splits == split) & np.isfinite(prediction) & np.isfinite(truth)
    if not known.any():
        return {"n": 0, "metrics": dict.fromkeys(metric_names(clips.family), float("nan"))}
    return {"n": int(known.sum()), "metrics": score(prediction[known], truth[known], clips.family)}


def _constants(clips: ClipTable, conditions: Sequence[str]) -> dict[str, Any]:
    """Return the constant predictor's scores by condition; one that is scored against label_M has M's, not its own."""
    constants: dict[str, Any] = {}
    for condition in conditions:
        truth = clips.truths[condition]
        if condition != "M" and np.array_equal(truth, clips.truths["M"], equal_nan=True):
            continue
        train = truth[(clips.splits == "train") & np.isfinite(truth)]
        for split in _named(clips.splits):
            known = (clips.splits == split) & np.isfinite(truth)
            if known.any() and len(train):
                constants.setdefault(condition, {})[split] = constant_score(train, truth[known], clips.family)
    return constants


def _stage_times(job: SeedJob, model: ModelSpec) -> dict[str, Any]:
    times = {}
    for stage in model.stages:
        path = history_file(job.folder, stage.name)
        if path.is_file():
            epochs, best = load_history(path)
            seconds = [epoch.seconds for epoch in epochs]
            times[stage.name] = {
                "epochs": len(epochs),
                "best_epoch": best,
                "valid_loss": epochs[best - 1].valid_loss,
                "valid_mae": epochs[best - 1].valid_mae,
                "seconds": sum(seconds),
                "seconds_per_epoch": sum(seconds) / len(seconds),
            }
    return times


def summarise(seeds: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return mean and sample standard deviation over the seeds of every task's every metric."""
    first = seeds[0]
    tasks: dict[str, Any] = {}
    for key, task in first["tasks"].items():
        splits = {}
        for split, scores in task["splits"].items():
            values = {
                m: [_number(seed["tasks"][key]["splits"][split]["metrics"][m]) for seed in seeds]
                for m in scores["metrics"]
            }
            splits[split] = {"n": scores["n"], "metrics": {m: _spread(v) for m, v in values.items()}}
        tasks[key] = {"stage": task["stage"], "task": task["task"], "labels": task["labels"], "splits": splits}
    stages = {
        name: {k: _spread([_number(seed["stages"][name][k]) for seed in seeds]) for k in stage}
        for name, stage in first["stages"].items()
    }
    collapsed = sorted({f"seed {seed['seed']}: {key}" for seed in seeds for key in seed["collapsed"]})
    return {
        "seeds": [seed["seed"] for seed in seeds],
        "family": first["family"],
        "tasks": tasks,
        "constant": first["constant"],
        "stages": stages,
        "collapsed": collapsed,
    }


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _spread(values: Sequence[float]) -> dict[str, Any]:
    array = np.asarray(values, np.float64)
    deviation = float(array.std(ddof=1)) if len(array) > 1 else float("nan")
    return {"mean": float(array.mean()), "std": deviation, "values": array.tolist()}


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run. Raises StoreError if it is absent or broken."""
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise StoreError(f"{path} does not exist; the run is not complete: run the same `fmltk train` again") from error
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be read ({error}); run the same `fmltk train` again") from error
    return document


def write_summary(run: Path, seed_folders: Sequence[Path]) -> dict[str, Any]:
    """Write and return summary.json of a run."""
    from fmltk.toolkit.io.files import write_bytes

    summary = summarise([read_json(folder / METRICS) for folder in seed_folders])
    write_bytes(run / SUMMARY, json.dumps(_plain(summary), indent=1).encode())
    return summary


def _plain(value: Any) -> Any:
    """Return a document with NaN as null, which JSON can hold."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
