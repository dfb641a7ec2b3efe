"""One stage of one seed as a job that any process can do: read the prepared arrays, train, save."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmltk.model.checkpoint import StageCheckpoint, load_stage, save_history, save_stage
from fmltk.model.inputs import StageInputs, predict_stage, spread
from fmltk.model.network import text_network_of
from fmltk.model.prepared import Prepared
from fmltk.model.products import BLAS, products_by
from fmltk.model.registry import HIDDEN_PREFIX, model_of
from fmltk.model.run_folder import stage_file, stage_history_file, stage_progress_file
from fmltk.model.training import StageData, train_stage
from fmltk.toolkit.errors import TrainingError
from fmltk.toolkit.features.splits import video_folds
from fmltk.toolkit.machine import check_device

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.model.progress import Epoch
    from fmltk.model.registry import ModelSpec, StageSpec
    from fmltk.model.settings import Settings

    Watch = Callable[[str, Epoch, int], None]

BERT_FILE = "bert.safetensors"  # next to the arrays: the weights that a BERT in a network starts from


@dataclass(frozen=True, slots=True)
class StageJob:
    """Train `stage` with `seed`, from the arrays in `prepared`, into `folder`.

    products : how large products are computed while it trains (`fmltk.model.products`)
    """

    stage: str
    seed: int
    config: Settings
    prepared: Path
    folder: Path
    device: str
    products: str = BLAS

    @property
    def progress_file(self) -> Path:
        """Receives the job's progress."""
        return self.prepared / f"progress_{self.seed}_{self.stage}.json"


def is_done(folder: Path, stage: str) -> bool:
    """Return whether a stage was trained; the checkpoint is written last."""
    return stage_file(folder, stage).is_file() and stage_history_file(folder, stage).is_file()


def stage_data(job: StageJob, prepared: Prepared) -> StageData:
    """Return what a job's stage learns from; prepared : the arrays of the job."""
    model = model_of(job.config)
    spec = model.stage(job.stage)
    usable = prepared.usable(model.modalities(spec))
    return StageData(
        stage_inputs(prepared, model, spec, job.folder, job.device),
        prepared.labels(spec.tasks, job.device),
        train=np.flatnonzero(usable & (prepared.splits == "train")),
        valid=np.flatnonzero(usable & (prepared.splits == "valid")),
        text_network=text_network_of(prepared.schema, job.prepared / BERT_FILE) if spec.reads_tokens else None,
    )


def run_stage(job: StageJob, watch: Watch | None = None) -> None:
    """Train one stage and save it.

    watch : called after each epoch with the stage's name, the epoch and the best one so far; what it raises ends the
    training

    Raises TrainingError as `train_stage` does.
    """
    check_device(job.device)
    prepared = Prepared.open(job.prepared)
    model = model_of(job.config)
    spec = model.stage(job.stage)
    data = stage_data(job, prepared)

    def report_progress(epoch: Epoch, best: int) -> None:
        job.progress_file.write_text(json.dumps({**dataclasses.asdict(epoch), "best": best}), encoding="utf-8")
        if watch is not None:
            watch(job.stage, epoch, best)

    unfinished = stage_progress_file(job.folder, job.stage)
    with products_by(job.products):
        trained = train_stage(spec, job.config, data, seed=job.seed, on_epoch=report_progress, progress=unfinished)
    folds = None
    if job.config.fusion_inputs == "cross-fit" and model.feeds_another(spec):
        folds = _out_of_fold(spec, job, data, prepared.videos)
    letters = [letter for letter in spec.letters if letter in prepared.scalers]
    checkpoint = StageCheckpoint(
        job.stage,
        trained.net,
        job.config,
        data.inputs.dimensions(spec.inputs),
        {letter: prepared.schema[letter] for letter in letters},
        {letter: prepared.scalers[letter] for letter in letters},
        trained.best_epoch,
        folds,
    )
    save_history(stage_history_file(job.folder, job.stage), trained)
    save_stage(stage_file(job.folder, job.stage), checkpoint)
    unfinished.unlink(missing_ok=True)


def stage_inputs(prepared: Prepared, model: ModelSpec, spec: StageSpec, folder: Path, device: str) -> StageInputs:
    """Return what a stage reads of all clips; hidden activations come from saved H or from the earlier stages' nets."""
    inputs = prepared.inputs(device)
    missing = [name for name in spec.needs if HIDDEN_PREFIX + name not in inputs.vectors]
    hidden = {HIDDEN_PREFIX + name: hidden_of(prepared, model, name, folder, device)[1] for name in missing}
    return dataclasses.replace(inputs, vectors={**inputs.vectors, **hidden})


def hidden_of(
    prepared: Prepared, model: ModelSpec, stage: str, folder: Path, device: str
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Return ({task: intensity (n,) or probabilities}, H (n, d)) of a saved stage, NaN where a clip lacks an input.

    Training clips have their out-of-fold H where the stage was cross-fitted.
    """
    checkpoint = load_stage(stage_file(folder, stage))
    spec = model.stage(stage)
    inputs = stage_inputs(prepared, model, spec, folder, device)
    rows = np.flatnonzero(prepared.usable(model.modalities(spec)))
    predictions, hidden = predict_stage(checkpoint.net.to(device), spec, inputs, rows)
    n, index = len(prepared.splits), torch.from_numpy(rows)
    full = {task: spread(value, rows, n) for task, value in predictions.items()}
    activations = torch.full((n, hidden.shape[1]), float("nan")).index_copy(0, index, hidden)  # (n, d)
    if checkpoint.out_of_fold is not None:
        activations.index_copy_(0, *checkpoint.out_of_fold)
    return full, activations.to(device)


def _out_of_fold(
    spec: StageSpec, job: StageJob, data: StageData, videos: NDArray[np.str_]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (rows, H) of the training clips, each from a network that never saw its video.

    Every fold starts from the same initial weights (the seed is the stage's), which keeps the hidden units of the folds
    and of the stage comparable.
    """
    rows, hidden = [], []
    for held_out in folds_of(videos[data.train], job.config.folds):
        rest = dataclasses.replace(data, train=data.train[~held_out])
        with products_by(job.products):
            fold = train_stage(spec, job.config, rest, seed=job.seed)
        rows.append(torch.from_numpy(data.train[held_out]))
        hidden.append(predict_stage(fold.net, spec, data.inputs, data.train[held_out])[1])
    return torch.cat(rows), torch.cat(hidden)


def folds_of(videos: NDArray[np.str_], n_folds: int) -> list[NDArray[np.bool_]]:
    """Return masks of the clips held out, one per fold of whole videos; of fewer videos than folds, one per video.

    videos : n names. Raises TrainingError with fewer than two videos.

    >>> [fold.tolist() for fold in folds_of(np.array(["a", "a", "b"]), 2)]
    [[True, True, False], [False, False, True]]
    """
    n_videos = len(np.unique(videos))
    if n_videos < 2:
        raise TrainingError("out-of-fold inputs need at least two training videos")
    n_folds = min(n_folds, n_videos)
    of_clip = video_folds(videos.tolist(), n_folds, seed=None)
    return [of_clip == fold for fold in range(n_folds)]
