"""The cost of training a BERT on this machine, measured before it begins."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmltk.model.compute import one_thread
from fmltk.model.inputs import predict_stage
from fmltk.model.network import make_network
from fmltk.model.prepared import Prepared
from fmltk.model.registry import model_of
from fmltk.model.stages import stage_data
from fmltk.model.training import draw_batches, make_optimiser, train_batches
from fmltk.toolkit.machine import forget_peak_memory, peak_memory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmltk.model.stages import StageJob
    from fmltk.toolkit.console import Reporter


def report_cost(jobs: Sequence[StageJob], *, reporter: Reporter) -> None:
    """Say what an epoch takes of the first stage that trains a BERT on the CPU, from one step; nothing of others."""
    for job in jobs:
        if job.device == "cpu" and model_of(job.config).stage(job.stage).reads_tokens:
            seconds, n_bytes = measure_epoch(job)
            reporter.say(
                f"stage {job.stage} with its text model, by one measured step on the CPU: about {seconds:.0f} s per "
                f"epoch and seed, {n_bytes / 1e9:.1f} GB per worker; it ends after {job.config.patience} epochs "
                f"without improvement, {job.config.max_epochs} at most (--set bert=last or bert=frozen takes less)"
            )
            return


def measure_epoch(job: StageJob) -> tuple[float, int]:
    """Return the seconds of an epoch on one thread, and the bytes that training takes at its peak, from one step.

    The step is on the first batches of an epoch, and as many validation clips are predicted.
    """
    spec = model_of(job.config).stage(job.stage)
    data = stage_data(job, Prepared.open(job.prepared))
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        forget_peak_memory()
        before = peak_memory()
        net = make_network(spec, data.inputs.dimensions(spec.inputs), job.config, data.text_network)
        optimiser = make_optimiser(net.train(), spec, job.config)
        parts = draw_batches(spec, job.config, data)
        first = parts[: job.config.accumulate]
        started = time.perf_counter()
        train_batches(net, optimiser, first, spec=spec, config=job.config, data=data)
        trained = time.perf_counter()
        some = data.valid[: len(np.concatenate(first))]
        predict_stage(net, spec, data.inputs, some)
        predicted = time.perf_counter() - trained
        n_bytes = peak_memory() - before
    best = sum(weight.numel() * weight.element_size() for weight in net.state_dict().values())  # the best epoch's copy
    seconds = (trained - started) / len(first) * len(parts) + predicted / max(len(some), 1) * len(data.valid)
    return seconds, n_bytes + best
