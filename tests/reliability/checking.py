"""Read one file under limits of time and memory, and say what came of it."""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import FmltkError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.reliability.readers import Reader

LIMIT_CPU_S = 10.0  # no file of a few kilobytes takes longer: what does is taken for a hang
LIMIT_MB = 256  # growth of the process while it reads such a file
ADDRESS_SPACE_MB = 4096  # what is asked for beyond this is refused, so that the machine survives the finding
KEEP_VARIABLE = "FMLTK_FUZZ_KEEP"  # a folder for the files that were found


class Hang(BaseException):
    """The limit of CPU time was reached. No Exception, so that nothing takes it for an error of its own."""


@dataclass
class Figures:
    """What came of the files that a reader was given."""

    n_files: int = 0
    n_read: int = 0
    slowest_s: float = 0.0
    peak_mb: float = 0.0


def check(reader: Reader, data: bytes, figures: Figures | None = None) -> None:
    """Let `reader` read `data`; raise AssertionError unless it is read, or refused by a one-line FmltkError."""
    figures = figures or Figures()
    folder = Path(tempfile.mkdtemp(prefix="fmltk-fuzz-", dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None))
    path = folder / f"given{reader.suffix}"
    path.write_bytes(data)
    (folder / "made").mkdir()
    started, refusal, fault = time.process_time(), None, None
    before_mb = _resident_mb("VmRSS")
    _forget_peak()
    try:
        with _limits():
            reader.read(path, folder / "made")
    except FmltkError as error:
        refusal = str(error)
    except (Exception, Hang) as error:  # whatever it is, it is the finding
        fault = error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    seconds, grown_mb = time.process_time() - started, _resident_mb("VmHWM") - before_mb
    figures.n_files += 1
    figures.n_read += refusal is None and fault is None
    figures.slowest_s = max(figures.slowest_s, seconds)
    figures.peak_mb = max(figures.peak_mb, grown_mb)
    complaint = None
    if fault is not None:
        complaint = f"{type(fault).__name__}: {fault}"
    elif refusal is not None and ("\n" in refusal.strip() or not refusal.strip()):
        complaint = f"its message is not one line: {refusal!r}"
    elif seconds > LIMIT_CPU_S:
        complaint = f"it took {seconds:.0f} CPU-seconds"
    elif grown_mb > LIMIT_MB:
        complaint = f"the process grew by {grown_mb:.0f} MB"
    if complaint is not None:
        raise AssertionError(f"{reader.name}: {complaint}; the file: {_keep(reader, data)}") from fault


def _keep(reader: Reader, data: bytes) -> str:
    folder = os.environ.get(KEEP_VARIABLE)
    if not folder:
        return f"set {KEEP_VARIABLE} to a folder to have it there"
    path = Path(folder) / reader.name / f"{hashlib.sha256(data).hexdigest()[:12]}{reader.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return str(path)


@contextmanager
def _limits() -> Iterator[None]:
    def stop(signal_number: int, frame: object) -> None:
        raise Hang(f"no end after {LIMIT_CPU_S:.0f} CPU-seconds")

    former = signal.signal(signal.SIGPROF, stop)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    room = int((_resident_mb("VmSize") + ADDRESS_SPACE_MB) * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (room if hard == resource.RLIM_INFINITY else min(room, hard), hard))
    signal.setitimer(signal.ITIMER_PROF, LIMIT_CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, former)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _resident_mb(name: str) -> float:
    """Return VmRSS, its peak VmHWM or VmSize of this process, in MB; 0 where the system does not tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next(float(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def _forget_peak() -> None:
    """Begin VmHWM again."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return
