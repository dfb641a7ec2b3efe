"""The machine: cores, memory and devices, and the needs of every worker process on it.

That is an environment in which numbers do not depend on the cores, and an end when the process that started it ends.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

GB = 10**9
_LEAST_LIMIT_BYTES = 2 * GB
_FILE_BYTES = 256 << 20  # what opening a file may take beyond
_BYTES_PER_FILE_BYTE = 16  # an index entry of 32 bytes for every packet of two bytes

# One thread per worker: faster in sum, and numbers do not depend on the number of cores.
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
ONE_THREAD = dict.fromkeys(THREAD_VARIABLES, "1")


def n_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def total_memory() -> int:
    """Return the bytes of memory that this machine (or container) has."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with contextlib.suppress(OSError, ValueError):  # not in a container, or "max"
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii")))
    return total


def forget_peak_memory() -> None:
    """Begin to count this process's peak of memory from now on, where the system can."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory() -> int:
    """Return the bytes of memory that this process had at most, since `forget_peak_memory` where the system can.

    >>> peak_memory() > 1_000_000
    True
    """
    import resource

    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def default_memory_limit() -> int:
    """Return the bytes that one worker may take: a quarter of this machine's memory, at least 2 GB."""
    return max(total_memory() // 4, _LEAST_LIMIT_BYTES)


def limit_memory(n_bytes: int) -> None:
    """Let this process, and each that it starts, allocate no more than `n_bytes`: beyond it comes MemoryError.

    Files that are mapped read-only do not count. A system without such a limit (macOS) limits nothing.
    """
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        limit = n_bytes if hard == resource.RLIM_INFINITY else min(n_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


@contextmanager
def memory_for_file(file_bytes: int) -> Iterator[None]:
    """Within a process of limited memory, allow for a while only what a file of this size can need to be opened.

    A header of a few bytes may declare a table of gigabytes.
    """
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY:  # not a worker: other threads of the process are not to be surprised
        yield
        return
    allowed = _allocated_bytes() + _FILE_BYTES + _BYTES_PER_FILE_BYTE * file_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (min(allowed, soft), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _allocated_bytes() -> int:
    """Return what counts against the limit of this process."""
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[5]  # data and stack
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory could not be had: numpy's, libav's, ffmpeg's and torch's do so.

    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("no"))
    (True, False)
    """
    return isinstance(error, MemoryError) or "allocate memory" in str(error)


def end_with_pipe(descriptor: int, end: Callable[[], object]) -> None:
    """Call `end` as soon as the other end of a pipe closes, also while this process is at work; does not wait for that.

    The other end is the process that started this one: however that ends, its workers end within a moment.
    """
    threading.Thread(target=_watch, args=(descriptor, end), daemon=True).start()


@contextmanager
def ending_with_pipe(descriptor: int, end: Callable[[], object]) -> Iterator[None]:
    """Do as `end_with_pipe` within this alone: afterwards no thread is left, so that the process may fork."""
    enough, close_it = os.pipe()
    thread = threading.Thread(target=_watch, args=(descriptor, end, enough), daemon=True)
    thread.start()
    try:
        yield
    finally:
        os.close(close_it)
        thread.join()
        os.close(enough)


def _watch(descriptor: int, end: Callable[[], object], enough: int | None = None) -> None:
    """Call `end` when the other end of a pipe closes; return when that of `enough` does."""
    hang_up = select.poll()
    for one in (descriptor, enough):
        if one is not None:
            hang_up.register(one, 0)  # that it hung up is reported without being asked for
    if any(found == descriptor for found, _ in hang_up.poll()):
        end()


def check_device(device: str) -> None:
    """Raise ConfigError for a device that is neither the CPU nor a CUDA device that torch can use here.

    From then on, this process computes on a GPU in float32 and the same way each time.

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
    compute_exactly()


def compute_exactly() -> None:
    """Have GPUs multiply all 24 bits of a float32: by default, convolutions and LSTMs round to 11 first (TF32)."""
    from torch.backends import cuda, cudnn

    # Not by the settings of torch 2.9 and later: code that asks for these ones, as torch's own does, would then fail.
    cudnn.allow_tf32 = cuda.matmul.allow_tf32 = False
    cudnn.deterministic, cudnn.benchmark = True, False
