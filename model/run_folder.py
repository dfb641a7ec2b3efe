"""The folder of a training run: the names of its files, and the readers of what a run left in them.

RUN/config.toml     every setting
RUN/training.json   what it was trained on: schema, splits, label sources, versions, a fingerprint
RUN/summary.json    mean and deviation over the seeds
RUN/seed_0/         stage_*.safetensors and stage_*.json, bimodal.parquet (H),
                    predictions.parquet, history.parquet, metrics.json; progress_*.safetensors while a stage trains
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, get_args

from fmltk.model.config import config_from_dict
from fmltk.model.metrics import Family, metric_names
from fmltk.toolkit.errors import ConfigError, StoreError, advised
from fmltk.toolkit.features.layout import is_feature_folder
from fmltk.toolkit.io import documents

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from fmltk.model.settings import Settings
    from fmltk.toolkit.errors import MakeError

CONFIG_FILE, TRAINING_FILE, SUMMARY_FILE = "config.toml", "training.json", "summary.json"
OLD_TRAINING_FILE = "run.json"  # the name of TRAINING_FILE in fmltk 0.1.0; also a file of feature folders
PREDICTIONS_FILE, HIDDEN_FILE, HISTORY_FILE, METRICS_FILE = (
    *("predictions.parquet", "bimodal.parquet", "history.parquet", "metrics.json"),
)
_MOST_DIGITS = 18  # of a seed in a folder's name
_NUMBER = (float, type(None))
_SPREAD = {"mean": _NUMBER, "std": _NUMBER, "values": [_NUMBER]}
_TRAINING_SHAPE = {
    "scale": str,
    "family": str,
    "splits": {},
    "label_sources": {"*": str},
    "device": str,
    "torch": str,
    "reuse": (str, type(None)),
    "schema": {"*": {}},
    "fingerprint": str,
}
_damaged = advised(StoreError, "run the same `fmltk train` again")
_unknown = advised(StoreError, "train into another folder (-o)")  # nothing says what its seeds learned


def seed_folder(run: Path, seed: int) -> Path:
    """Return the folder of one seed of a run."""
    return run / f"seed_{seed}"


def stage_file(folder: Path, stage: str) -> Path:
    """Return a stage's checkpoint below a seed's folder."""
    return folder / f"stage_{stage.lower()}.safetensors"


def stage_history_file(folder: Path, stage: str) -> Path:
    """Return a stage's history below a seed's folder."""
    return folder / f"stage_{stage.lower()}.json"


def stage_progress_file(folder: Path, stage: str) -> Path:
    """Return the file of a stage that is still in training below a seed's folder."""
    return folder / f"progress_{stage.lower()}.safetensors"


def training_file(run: Path) -> Path | None:
    """Return the file that says what a run was trained on, also by its old name; None if the folder is not a run's.

    A feature folder has a run.json too, but never a config.toml.
    """
    if (run / TRAINING_FILE).is_file():
        return run / TRAINING_FILE
    if (run / OLD_TRAINING_FILE).is_file() and (run / CONFIG_FILE).is_file():
        return run / OLD_TRAINING_FILE
    return None


def run_document(run: Path) -> dict[str, Any]:
    """Return training.json of a run. Raises ConfigError if the folder is not a run's."""
    path = training_file(run)
    if path is None and is_feature_folder(run):
        raise ConfigError(f"{run} is a feature folder, not a run folder; `fmltk train {run}` makes one of it")
    if path is None:
        raise ConfigError(f"{run} is not a run folder: it has no {TRAINING_FILE}; `fmltk train` makes one")
    document = documents.read_json(path, error=_unknown)
    documents.check_shape(document, _TRAINING_SHAPE, name=str(path), error=_unknown)
    return document


def run_config(run: Path) -> Settings:
    """Return the settings of a run. Raises ConfigError if the folder is not a run's."""
    run_document(run)
    return config_from_dict(documents.read_toml(run / CONFIG_FILE), str(run / CONFIG_FILE))


def run_model(run: Path) -> str:
    """Return what tables call a run's model: its name, and its variant if it has any, such as lmf (published)."""
    settings = run_config(run).as_dict()
    return f"{settings['model']} ({settings['variant']})" if "variant" in settings else str(settings["model"])


def run_summary(run: Path) -> dict[str, Any]:
    """Return the summary of a complete run. Raises ConfigError if the folder is not a run's, StoreError without one."""
    run_document(run)
    path = run / SUMMARY_FILE
    summary = read_json(path)
    _check_summary(summary, str(path))
    return summary


def _check_summary(summary: Mapping[str, Any], name: str) -> None:
    """Raise StoreError if a summary does not hold what is read from it, as one of a stranger may not."""
    documents.check_shape(summary, {"family": str, "seeds": [int]}, name=name, error=_damaged)
    if summary["family"] not in get_args(Family) or not summary["seeds"]:
        raise _damaged(f"{name} is damaged: its family is {summary['family']!r}, its seeds are {summary['seeds']}")
    metrics = metric_names(summary["family"])
    scores: dict[str, Any] = {"n": int, "metrics": dict.fromkeys(metrics, _SPREAD)}
    shape = {
        "tasks": {"*": {"stage": str, "task": str, "labels": str, "splits": {"*": scores}}},
        "constant": {"*": {"*": dict.fromkeys(metrics, _NUMBER) | {metrics[0]: float}}},
        "stages": {"*": dict.fromkeys((error_name(summary), "seconds_per_epoch"), _SPREAD)},
        "collapsed": [str],
    }
    documents.check_shape(summary, shape, name=name, error=_damaged)
    tasks = list(summary["tasks"].values())
    if not tasks or not summary["stages"] or any(task["splits"].keys() != tasks[0]["splits"].keys() for task in tasks):
        raise _damaged(f"{name} is damaged: its tasks are not scored on the same splits")
    if any(len(stage[error_name(summary)]["values"]) != len(summary["seeds"]) for stage in summary["stages"].values()):
        raise _damaged(f"{name} is damaged: its stages have not one value per seed")


def error_name(summary: Mapping[str, Any]) -> str:
    """Return what a stage's seeds are compared by: the mean absolute error on validation; of classes, the loss."""
    return "valid_loss" if summary["family"] == "nominal" else "valid_mae"


def finished_seeds(run: Path) -> list[int]:
    """Return the finished seeds of a folder, in order; [] where there is none."""
    names = (path.parent.name.removeprefix("seed_") for path in run.glob(f"seed_*/{METRICS_FILE}"))
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal() and len(name) <= _MOST_DIGITS)


def run_seeds(run: Path) -> list[int]:
    """Return the finished seeds of a run. Raises ConfigError if the folder is not a run's, or lacks the seed."""
    run_document(run)
    seeds = finished_seeds(run)
    if not seeds:
        raise ConfigError(f"{run} has no finished seed; run the same `fmltk train` again")
    return seeds


def best_seed(run: Path) -> int:
    """Return the seed with the smallest validation error of the last stage; the test split is not looked at."""
    summary = run_summary(run)
    last = list(summary["stages"])[-1]
    errors = summary["stages"][last][error_name(summary)]["values"]
    known = (math.inf if error is None else error for error in errors)
    return int(min(zip(known, summary["seeds"], strict=True))[1])


def chosen_seed(run: Path, seed: int | None) -> int:
    """Return `seed`, or the best on validation for None. Raises ConfigError if the run has no such seed."""
    seeds = run_seeds(run)
    if seed is None:
        return best_seed(run)
    if seed not in seeds:
        raise ConfigError(f"{run} has no seed {seed}; its seeds: {', '.join(map(str, seeds))}")
    return seed


def read_predictions(run: Path, seed: int) -> pd.DataFrame:
    """Return predictions.parquet of a seed: a row per clip, as docs/data-format.md lists its columns."""
    return _read_table(seed_folder(run, seed) / PREDICTIONS_FILE)


def read_history(run: Path, seed: int) -> pd.DataFrame:
    """Return history.parquet of a seed: a row per epoch and stage."""
    return _read_table(seed_folder(run, seed) / HISTORY_FILE)


def read_hidden(run: Path, seed: int) -> pd.DataFrame | None:
    """Return bimodal.parquet of a seed: a row per clip, H_<stage> a list of numbers; None where the model has no H."""
    path = seed_folder(run, seed) / HIDDEN_FILE
    return _read_table(path) if path.is_file() else None


def _read_table(path: Path) -> pd.DataFrame:
    from fmltk.toolkit.io.parquet import open_parquet_table, read_table, reading

    with open_parquet_table(path, what="run") as file, reading(path):
        frame: pd.DataFrame = read_table(file, path).to_pandas()
    return frame


def read_kept(path: Path, shape: object, error: MakeError) -> dict[str, Any] | None:
    """Return a JSON file that a command may have left in a run, else None. Raises `error` if it is broken."""
    if not path.is_file():
        return None
    document = documents.read_json(path, error=error)
    documents.check_shape(document, shape, name=str(path), error=error)
    return document


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of a run. Raises StoreError if it is absent, as in a run that is not complete, or broken."""
    return documents.read_json(path, error=_damaged)
