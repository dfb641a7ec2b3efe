"""The work of a benchmark's worker process: one system, all its seeds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmltk.model.checkpoint import load_stage
from fmltk.model.config import default_preset, load_config
from fmltk.model.options import RunOptions
from fmltk.model.registry import model_spec
from fmltk.model.run import train
from fmltk.model.run_folder import SUMMARY_FILE, finished_seeds, read_json, run_config, seed_folder, stage_file
from fmltk.toolkit.errors import FmltkError, TrainingError
from fmltk.toolkit.features.label_file import read_labels
from fmltk.toolkit.io.documents import write_json
from fmltk.toolkit.machine import forget_peak_memory, peak_memory

if TYPE_CHECKING:
    from pathlib import Path

COST_FILE = "cost.json"


@dataclass(frozen=True, slots=True)
class Job:
    """One system on one split of the data.

    out : the run folder; settings : KEY=VALUE texts; config : a TOML file; reuse : the run whose H is taken
    text_model : of systems that train one; fold : "fold 2", "" without folds
    """

    name: str
    model: str
    features: Path
    labels: Path
    out: Path
    seeds: tuple[int, ...]
    preset: str | None
    settings: tuple[str, ...]
    config: Path | None
    reuse: Path | None
    exclude: Path | None
    device: str
    text_model: str | None
    fold: str = ""

    @property
    def title(self) -> str:
        """The system's name, with its fold where there are folds."""
        return f"{self.name}, {self.fold}" if self.fold else self.name


class BenchmarkWorker:
    """Trains systems, one after the other. Its method is what tasks of the engine call."""

    def train(self, job: Job) -> str:
        """Train a system, or the rest of it, and write what it cost; return why it gave no result, "" where it did.

        A system whose predictions are constant has a result.
        """
        forget_peak_memory()
        began = time.process_time()
        before = finished_seeds(job.out)
        try:
            self._train(job)
        except TrainingError as error:
            constant = (job.out / SUMMARY_FILE).is_file() and set(job.seeds) <= set(finished_seeds(job.out))
            if not constant:  # seeds of an earlier call may be there, with a summary of their own
                return str(error)
        except FmltkError as error:
            return str(error)
        if finished_seeds(job.out) != before:
            _write_cost(job, cpu_s=time.process_time() - began)
        return ""

    def _train(self, job: Job) -> None:
        default = default_preset(read_labels(job.labels).scale)
        config = load_config(
            job.preset, path=job.config, settings=(f'model="{job.model}"', *job.settings), default=default
        )
        text_model = job.text_model if model_spec(job.model).reads_tokens else None
        options = RunOptions(seeds=job.seeds, jobs=0, reuse=job.reuse, device=job.device, text_model=text_model)
        train(job.features, job.labels, out=job.out, config=config, exclude=job.exclude, options=options)


def _write_cost(job: Job, *, cpu_s: float) -> None:
    """Write the CPU-seconds of all calls so far, the largest peak of memory, and the number of weights."""
    path = job.out / COST_FILE
    before: dict[str, Any] = read_json(path) if path.is_file() else {}
    peak = max(before.get("peak_mb") or 0, peak_memory() / 2**20)
    document = {"cpu_s": before.get("cpu_s", 0.0) + cpu_s, "peak_mb": peak, "n_weights": _n_weights(job.out)}
    write_json(path, document, indent=1)


def _n_weights(run: Path) -> int:
    """Return how many weights the stages of a run's model have."""
    folder = seed_folder(run, finished_seeds(run)[0])
    files = (stage_file(folder, stage.name) for stage in model_spec(run_config(run).model).stages)
    nets = (load_stage(path).net for path in files if path.is_file())
    return sum(weight.numel() for net in nets for weight in net.parameters())
