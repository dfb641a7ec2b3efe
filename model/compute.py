"""Where a model is computed: the device, and one torch thread, as every number of a run is."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator


def check_device(device: str) -> None:
    """Raise ConfigError for a device that is neither the CPU nor a CUDA device that torch sees."""
    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"--device {device!r} is not a device; use cpu, cuda or cuda:1") from error
    if wanted.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: only cpu and cuda are supported")
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        n = torch.cuda.device_count()
        raise ConfigError(f"--device {device}: torch sees {n} CUDA devices here; use cpu, or see `fmltk doctor`")


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one torch thread, for numbers differ between thread counts; the count is restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
