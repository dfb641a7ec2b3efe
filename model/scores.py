"""The scores of a run: metrics.json of each seed, and summary.json over the seeds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.checkpoint import load_history
from fmltk.model.metrics import constant_score, metric_names, score
from fmltk.model.nominal import count_pairs, decided
from fmltk.model.run_folder import (
    METRICS_FILE,
    SUMMARY_FILE,
    finished_seeds,
    read_json,
    seed_folder,
    stage_history_file,
)
from fmltk.model.tasks import condition_predictions, task_key
from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.io.documents import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.model.metrics import Family
    from fmltk.model.registry import ModelSpec

COLLAPSE_SHARE = 0.01  # predictions that vary less than this share of the labels' deviation are constant


@dataclass(frozen=True)
class ClipTable:
    """The clips of a run as its results name them: n rows.

    truths : by condition, float64 (n,); sources : by condition, where the training labels come from; reasons : per
    clip, why it has no multimodal prediction, "" where it has one; classes : of nominal labels, their names
    """

    utterance_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    texts: tuple[str | None, ...]
    splits: NDArray[np.str_]
    truths: Mapping[str, NDArray[np.float64]]
    sources: Mapping[str, str]
    reasons: tuple[str, ...]
    family: Family
    classes: tuple[str, ...] = ()


def write_seed_metrics(
    folder: Path, seed: int, clips: ClipTable, model: ModelSpec, predictions: Mapping[str, NDArray[np.float64]]
) -> None:
    """Write metrics.json: every task's scores on every split, the constant predictor's, times, and what collapsed.

    folder : the seed's, which holds the stages' histories; predictions : by `task_key`, float64 (n,), or of nominal
    labels (n, n_classes)
    """
    merged = {c: decided(values) for c, values in condition_predictions(model, predictions).items()}
    predictions = {key: decided(values) for key, values in predictions.items()}
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
    document = {
        "seed": seed,
        "family": clips.family,
        "tasks": tasks,
        "constant": _constants(clips, merged),
        "stages": _stage_times(folder, model),
        "collapsed": collapsed,
    }
    write_json(folder / METRICS_FILE, document, indent=1, ensure_ascii=True)


def is_collapsed(prediction: NDArray[np.float64], truth: NDArray[np.float64]) -> bool:
    """Return whether predictions are as good as constant while the labels are not."""
    known = np.isfinite(prediction) & np.isfinite(truth)
    if known.sum() < 2 or np.std(truth[known]) == 0:
        return False
    return bool(np.std(prediction[known]) < COLLAPSE_SHARE * np.std(truth[known]))


def _named(splits: NDArray[np.str_]) -> list[str]:
    return [split for split in SPLITS if np.any(splits == split)]


def _score_split(
    clips: ClipTable, prediction: NDArray[np.float64], truth: NDArray[np.float64], split: str
) -> dict[str, Any]:
    known = (clips.splits == split) & np.isfinite(prediction) & np.isfinite(truth)
    if not known.any():
        return {"n": 0, "metrics": dict.fromkeys(metric_names(clips.family), float("nan"))}
    scores = {"n": int(known.sum()), "metrics": score(prediction[known], truth[known], clips.family)}
    if clips.classes:
        scores["confusion"] = count_pairs(prediction[known], truth[known], len(clips.classes)).tolist()
    return scores


def _constants(clips: ClipTable, predictions: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Return the constant predictor's scores and n by condition, on the clips that the model predicts.

    A condition that is scored against label_M on M's clips has M's, not its own.

    predictions : by condition, float64 (n,)
    """
    scored = {c: np.where(np.isfinite(p), clips.truths[c], np.nan) for c, p in predictions.items()}
    constants: dict[str, Any] = {}
    for condition, truth in scored.items():
        if condition != "M" and np.array_equal(truth, scored["M"], equal_nan=True):
            continue
        learned = clips.truths[condition][clips.splits == "train"]
        for split in _named(clips.splits):
            known = (clips.splits == split) & np.isfinite(truth)
            if known.any() and np.isfinite(learned).any():
                own = constant_score(learned, truth[known], clips.family)
                constants.setdefault(condition, {})[split] = {"n": int(known.sum()), **own}
    return constants


def _stage_times(folder: Path, model: ModelSpec) -> dict[str, Any]:
    times = {}
    for stage in model.stages:
        path = stage_history_file(folder, stage.name)
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
            if "confusion" in scores:
                counts = [seed["tasks"][key]["splits"][split]["confusion"] for seed in seeds]
                splits[split]["confusion"] = np.sum(counts, axis=0).tolist()  # of all seeds together
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


def write_summary(run: Path) -> dict[str, Any]:
    """Write and return summary.json of a run, over its finished seeds."""
    summary = summarise([read_json(seed_folder(run, seed) / METRICS_FILE) for seed in finished_seeds(run)])
    write_json(run / SUMMARY_FILE, summary, indent=1, ensure_ascii=True)
    return summary
