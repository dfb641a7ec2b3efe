"""What this machine has: cores and devices, and the environment in which numbers do not depend on the cores."""

from __future__ import annotations

import os

from fmltk.toolkit.errors import ConfigError

# One thread per worker: faster in sum, and numbers do not depend on the number of cores.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREAD_VARIABLES, "1")


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_device(device: str) -> None:
    """Raise ConfigError for a device that is neither the CPU nor a CUDA device that torch can use here.

    >>> check_device("cpu")
    """
    if device == "cpu":
        return  # without torch, whose import takes seconds
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"--device {device!r} is not a device; use cpu, cuda or cuda:1") from error
    if wanted.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: only cpu and cuda are supported")
    if wanted.type == "cpu":
        return
    n_devices = torch.cuda.device_count()
    if (wanted.index or 0) >= n_devices:
        raise ConfigError(
            f"--device {device}: torch sees {n_devices} CUDA devices here; use cpu, or see `fmltk doctor`"
        )
    try:
        torch.zeros(1, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {device}: torch cannot use it here ({str(error).splitlines()[0]}); use cpu"
        ) from error
