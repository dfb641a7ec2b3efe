"""One trial: train with some settings, and say how far the validation clips are from their labels.

The clips that are not of the training or the validation split have no label here: see `fmltk.model.tuning.run`.
"""

from __future__ import annotations

import contextlib
import shutil
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.config import default_preset, load_config
from fmltk.model.options import RunOptions
from fmltk.model.registry import model_of
from fmltk.model.run import train
from fmltk.model.run_folder import finished_seeds, read_predictions
from fmltk.model.tuning.pruner import EPOCHS_PER_STAGE, stage_pruner
from fmltk.toolkit.errors import FmltkError, TrainingError
from fmltk.toolkit.features.label_file import read_labels
from fmltk.toolkit.io.documents import json_text

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from optuna import Study

    from fmltk.model.progress import Epoch

JOURNAL_FILE = "journal.log"
STUDY = "fmltk"
ERRORS = "valid_errors"  # of a trial, by utterance_id in their order
COMPLETE, PRUNED, FAILED = "complete", "pruned", "failed"


@dataclass(frozen=True, slots=True)
class TrialJob:
    """One trial of a study.

    folder : of the tuning; number, trial_id : Optuna's; settings : KEY=VALUE texts of every trial; values : by setting
    """

    folder: Path
    features: Path
    number: int
    trial_id: int
    model: str
    preset: str | None
    settings: tuple[str, ...]
    values: dict[str, Any]
    seeds: tuple[int, ...]
    exclude: Path | None
    device: str
    text_model: str | None


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The outcome of a trial: its state, its mean absolute error, and why it failed."""

    state: str
    value: float = float("nan")
    reason: str = ""


class TuningWorker:
    """Runs trials, one after the other. Its method is what tasks of the engine call."""

    def run(self, job: TrialJob) -> TrialResult:
        """Run a trial; its run folder is removed, its errors stay with the study."""
        import optuna

        out = job.folder / f"trial_{job.number}"
        trial = optuna.trial.Trial(open_study(job.folder), job.trial_id)
        try:
            with contextlib.suppress(TrainingError):  # constant predictions are a result, and a bad one
                self._train(job, out, trial)
            return _result(out, job.seeds, trial)
        except optuna.TrialPruned:
            return TrialResult(PRUNED)
        except FmltkError as error:
            return TrialResult(FAILED, reason=str(error))
        finally:
            shutil.rmtree(out, ignore_errors=True)

    def _train(self, job: TrialJob, out: Path, trial: Any) -> None:
        import optuna

        labels = job.folder / "labels.parquet"
        values = [f"{name}={json_text(value)}" for name, value in job.values.items()]
        settings = [f'model="{job.model}"', *job.settings, *values]
        config = load_config(job.preset, settings=settings, default=default_preset(read_labels(labels).scale))
        stages = [stage.name for stage in model_of(config).stages]

        def watch(stage: str, epoch: Epoch, _best: int) -> None:
            if len(job.seeds) > 1:
                return  # the first seed alone says little
            trial.report(epoch.valid_mae, stages.index(stage) * EPOCHS_PER_STAGE + epoch.epoch)
            if trial.should_prune():
                raise optuna.TrialPruned

        options = RunOptions(seeds=job.seeds, jobs=0, device=job.device, text_model=job.text_model)
        train(job.features, labels, out=out, config=config, exclude=job.exclude, options=options, watch=watch)


def _result(out: Path, seeds: tuple[int, ...], trial: Any) -> TrialResult:
    if not set(seeds) <= set(finished_seeds(out)):
        return TrialResult(FAILED, reason="training ended without a result")
    errors = np.mean([valid_errors(out, seed) for seed in seeds], axis=0)
    trial.set_user_attr(ERRORS, [round(float(error), 6) for error in errors])
    return TrialResult(COMPLETE, float(errors.mean()))


def valid_errors(run: Path, seed: int) -> NDArray[np.float64]:
    """Return the absolute error of M of each labelled validation clip, in the order of their ids, float64 (n,)."""
    frame = read_predictions(run, seed)
    frame = frame[(frame["split"] == "valid") & frame["truth_M"].notna() & frame["pred_M"].notna()]
    frame = frame.sort_values("utterance_id")
    errors: NDArray[np.float64] = np.abs(frame["pred_M"].to_numpy(float) - frame["truth_M"].to_numpy(float))
    return errors


def open_study(folder: Path, *, seed: int = 0) -> Study:
    """Return the study of a folder; the first call makes it. Its journal is shared by all workers."""
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    journal = JournalFileBackend(str(folder / JOURNAL_FILE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True)
    return optuna.create_study(
        storage=optuna.storages.JournalStorage(journal),
        study_name=STUDY,
        load_if_exists=True,
        direction="minimize",
        sampler=sampler,
        pruner=stage_pruner(),
    )
