"""Run the stages of all seeds, each when what it needs is done, in worker processes with one torch thread each."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import Pipe, get_context
from typing import TYPE_CHECKING

from fmltk.model.checkpoint import load_history
from fmltk.model.compute import one_thread
from fmltk.model.live import StageBoard, duration, read_state, seconds_left
from fmltk.model.registry import model_of
from fmltk.model.results import finish_seed
from fmltk.model.run_folder import stage_history_file
from fmltk.model.stages import run_stage
from fmltk.toolkit.errors import TrainingError
from fmltk.toolkit.io.standard_streams import guard_standard_streams
from fmltk.toolkit.machine import end_with_pipe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path

    from fmltk.model.results import SeedJob
    from fmltk.model.stages import StageJob, Watch
    from fmltk.toolkit.console import Reporter

POLL_S = 0.5
REPORT_EVERY_S = 10.0


def run_jobs(
    stages: Sequence[StageJob],
    seeds: Sequence[SeedJob],
    *,
    n_workers: int,
    reporter: Reporter,
    watch: Watch | None = None,
) -> None:
    """Train the stages, then bring the results of each seed together.

    Parameters
    ----------
    stages : the stages to train; one that needs another of the same seed waits for it
    seeds : the seeds whose stages are then all trained
    n_workers : worker processes; 0 runs everything in this process, whose thread count is restored afterwards
    watch : see `run_stage`; called in this process alone, so without worker processes

    Raises TrainingError as the stages do, or where a worker is killed; what is done is kept.
    """
    board = StageBoard(len(stages), "stages")
    if n_workers == 0:
        with one_thread():
            with reporter.live(board.view):
                for job in stages:
                    board.running = [_on_board(job)]
                    run_stage(job, watch)
                    board.n_done += 1
                    _report_done(job, reporter)
            for seed in seeds:
                finish_seed(seed)
        return
    theirs, ours = Pipe(duplex=False)
    context = get_context("spawn")
    pool = ProcessPoolExecutor(n_workers, mp_context=context, initializer=_start_worker, initargs=(theirs,))
    with theirs, ours, pool:
        try:
            with reporter.live(board.view) as is_shown:
                _run_parallel(pool, list(stages), reporter, board, says_lines=not is_shown)
            for future in [pool.submit(finish_seed, seed) for seed in seeds]:
                future.result()
        except BrokenProcessPool as error:
            raise TrainingError(
                "a worker process was killed, often for memory; the finished stages are kept: "
                "run the same command again, with a smaller --jobs"
            ) from error
        except BaseException:
            ours.close()  # which ends the workers at once, as it does where this process is killed
            raise


def _run_parallel(
    pool: ProcessPoolExecutor, waiting: list[StageJob], reporter: Reporter, board: StageBoard, *, says_lines: bool
) -> None:
    running: dict[Future[None], StageJob] = {}
    reported = time.monotonic()
    while waiting or running:
        busy = {(job.seed, job.stage) for job in (*waiting, *running.values())}
        for job in [job for job in waiting if not _needs(job) & busy]:
            running[pool.submit(run_stage, job)] = job
            waiting.remove(job)
        board.running = [_on_board(job) for job in running.values()]
        done, _ = wait(running, timeout=POLL_S, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
            board.n_done += 1
            _report_done(running.pop(future), reporter)
        if says_lines and time.monotonic() - reported >= REPORT_EVERY_S:
            reported = time.monotonic()
            for job in running.values():
                _report_progress(job, reporter)


def _on_board(job: StageJob) -> tuple[int, str, Path, int]:
    return job.seed, job.stage, job.progress_file, job.config.patience


def _needs(job: StageJob) -> set[tuple[int, str]]:
    return {(job.seed, stage) for stage in model_of(job.config).stage(job.stage).needs}


def _report_done(job: StageJob, reporter: Reporter) -> None:
    epochs, best = load_history(stage_history_file(job.folder, job.stage))
    kept = epochs[best - 1]
    reporter.say(
        f"seed {job.seed}, stage {job.stage}: {len(epochs)} epochs, best {best}: "
        f"loss {kept.train_loss:.4f}, validation {kept.valid_loss:.4f}{_mae(kept.valid_mae)}, "
        f"{sum(epoch.seconds for epoch in epochs):.1f} s"
    )


def _report_progress(job: StageJob, reporter: Reporter) -> None:
    state = read_state(job.progress_file)
    if state is None:
        return
    reporter.say(
        f"seed {job.seed}, stage {job.stage}: epoch {state['epoch']}: loss {state['train_loss']:.4f}, "
        f"validation {state['valid_loss']:.4f}{_mae(state['valid_mae'])}, best {state['best']}, "
        f"{duration(seconds_left(state, job.config.patience))} left if it improves no more"
    )


def _mae(error: float | None) -> str:
    return "" if error is None else f" (MAE {error:.4f})"


def _start_worker(parent: Connection) -> None:
    guard_standard_streams()
    end_with_pipe(parent.fileno(), lambda: os._exit(1))  # a stage is trained or not: nothing of a part of one is kept
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it, CUDA's LSTM gives other numbers each time
    import torch

    torch.set_num_threads(1)  # numbers differ between thread counts
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends the workers
