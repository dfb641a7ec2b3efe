"""Run the stages of all seeds, each when what it needs is done, in worker processes with one torch thread each."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fmltk.model.checkpoint import load_history
from fmltk.model.registry import model_spec
from fmltk.model.results import SeedJob, finish_seed
from fmltk.model.stages import StageJob, history_file, run_stage
from fmltk.toolkit.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from fmltk.toolkit.console import Reporter

POLL_S = 0.5
TELL_EVERY_S = 10.0


def run_jobs(jobs: Sequence[StageJob], finish: Sequence[SeedJob], *, n_workers: int, reporter: Reporter) -> None:
    """Train every job's stage, then bring each seed's results together.

    Parameters
    ----------
    jobs : the stages to train; one that needs another of the same seed waits for it
    n_workers : worker processes; 0 runs everything in this process, whose thread count is restored afterwards

    Raises TrainingError as the stages do, or where a worker is killed; what is done is kept.
    """
    if n_workers == 0:
        with _one_thread():
            for job in jobs:
                run_stage(job)
                _tell_done(job, reporter)
            for seed in finish:
                finish_seed(seed)
        return
    with _workers(n_workers) as pool:
        try:
            _run_parallel(pool, list(jobs), reporter)
            for future in [pool.submit(finish_seed, seed) for seed in finish]:
                future.result()
        except BrokenProcessPool as error:
            raise TrainingError(
                "a worker process was killed, often for memory; the finished stages are kept: "
                "run the same command again, with a smaller --jobs"
            ) from error
        except BaseException:
            for job in jobs[:1]:
                (job.prepared / "stop").touch()  # the stages that run now end with their epoch
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _run_parallel(pool: ProcessPoolExecutor, waiting: list[StageJob], reporter: Reporter) -> None:
    running: dict[Future[None], StageJob] = {}
    told = time.monotonic()
    while waiting or running:
        busy = {(job.seed, job.stage) for job in (*waiting, *running.values())}
        for job in [job for job in waiting if not _needs(job) & busy]:
            running[pool.submit(run_stage, job)] = job
            waiting.remove(job)
        done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
            _tell_done(running.pop(future), reporter)
        if time.monotonic() - told >= TELL_EVERY_S:
            told = time.monotonic()
            for job in running.values():
                _tell_progress(job, reporter)


def _needs(job: StageJob) -> set[tuple[int, str]]:
    return {(job.seed, stage) for stage in model_spec(job.config.model).stage(job.stage).needs}


def _tell_done(job: StageJob, reporter: Reporter) -> None:
    epochs, best = load_history(history_file(job.folder, job.stage))
    kept = epochs[best - 1]
    reporter.say(
        f"seed {job.seed}, stage {job.stage}: {len(epochs)} epochs, best {best}: "
        f"loss {kept.train_loss:.4f}, validation {kept.valid_loss:.4f} (MAE {kept.valid_mae:.4f}), "
        f"{sum(epoch.seconds for epoch in epochs):.1f} s"
    )


def _tell_progress(job: StageJob, reporter: Reporter) -> None:
    try:
        state: dict[str, Any] = json.loads(job.progress_file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # not yet through its first epoch, or just being written
    left = max(job.config.patience - (state["epoch"] - state["best"]), 0) * state["seconds"]
    reporter.say(
        f"seed {job.seed}, stage {job.stage}: epoch {state['epoch']}: loss {state['train_loss']:.4f}, "
        f"validation {state['valid_loss']:.4f} (MAE {state['valid_mae']:.4f}), best {state['best']}, "
        f"{left:.0f} s left if it improves no more"
    )


@contextmanager
def _workers(n: int) -> Iterator[ProcessPoolExecutor]:
    import multiprocessing

    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(n, mp_context=context, initializer=_start_worker) as pool:
        yield pool


def _start_worker() -> None:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, CUDA's LSTM gives other numbers each time
    import torch

    torch.set_num_threads(1)  # numbers differ between thread counts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells the workers when to stop


@contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def in_one_thread(function: Callable[[], Any]) -> Any:
    """Return function() computed with one torch thread, as every number of a run is."""
    with _one_thread():
        return function()
