"""The program of worker processes: one that is a worker, or one that loads everything and forks workers from itself.

A fork shares the memory of what was loaded and starts in a tenth of a second. It is made while its process has a single
thread: what other threads hold at that moment, such as a lock, would be held for ever in the fork.
"""

from __future__ import annotations

import contextlib
import gc
import os
import shutil
import sys
import tempfile
import time
import traceback
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Protocol

from fmltk.toolkit.console import echo_traceback
from fmltk.toolkit.errors import FmltkError
from fmltk.toolkit.io.standard_streams import guard_standard_streams
from fmltk.toolkit.machine import end_with_pipe, ending_with_pipe
from fmltk.toolkit.run.engine import UsedUpWorkerError

if TYPE_CHECKING:
    from collections.abc import Callable

FORK, STATUS, THREADS = "fork", "status", "threads"
_THREADS_END_S = 2.0  # a thread that has been joined leaves /proc within microseconds


class Loadable(Protocol):
    """The process that forks are made of."""

    def load(self) -> None:
        """Load what tasks need, so that forks share it. The task that needs a part reports if it cannot be loaded."""


def scratch_variables(scratch: str) -> dict[str, str]:
    """Return what gives a process temporary files of its own, which are removed whichever way it ends.

    numba's cache (of librosa's functions, --acoustics librosa) is among them: two processes that fill one may crash.
    """
    return dict.fromkeys(("TMPDIR", "NUMBA_CACHE_DIR"), scratch)


def main() -> None:
    """Be a worker, or the process that workers are forks of, as the arguments say."""
    descriptor, scratch, way = sys.argv[1:]
    sys.excepthook = echo_traceback
    guard_standard_streams()  # a message that cannot be written fails no clip
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # stdout is the run's: for its result alone
    pipe = Connection(int(descriptor))
    if way == FORK:
        _serve_forks(pipe, scratch)
    end_with_pipe(pipe.fileno(), partial(_end, scratch))
    _serve(_received(pipe, scratch)(), pipe, scratch)


def _received(pipe: Connection, scratch: str) -> Callable[[], Any]:
    """Return what makes a worker, which the run sends first."""
    try:
        make_worker: Callable[[], Any] = pipe.recv()
    except (EOFError, ConnectionError):
        _end(scratch)
    return make_worker


def _serve_forks(control: Connection, scratch: str) -> NoReturn:
    """Load a worker, and fork it whenever the run asks; the life of the process that workers are forks of."""
    with ending_with_pipe(control.fileno(), partial(_end, scratch)):
        worker: Loadable = _received(control, scratch)()
        worker.load()
    gc.collect()
    gc.freeze()  # forks share what is not touched
    try:
        control.send((THREADS, _n_threads()))
        while True:
            asked, argument = control.recv()
            if asked == STATUS:
                control.send(os.waitstatus_to_exitcode(os.waitpid(argument, 0)[1]))
            else:
                control.send(_fork(control, worker, argument))
    except (EOFError, ConnectionError):
        _end(scratch)


def _fork(control: Connection, worker: Loadable, scratch: str) -> tuple[int, str]:
    """Fork a worker that answers on the pipe which the run sends; return its id, or 0 and why there is none."""
    descriptor = recv_handle(control)
    try:
        process_id = os.fork()
    except OSError as error:
        os.close(descriptor)
        return 0, error.strerror or str(error)
    if process_id == 0:
        try:
            control.close()
            os.environ.update(scratch_variables(scratch))
            tempfile.tempdir = None  # as the variables say now
            end_with_pipe(descriptor, partial(_end, scratch))
            _serve(worker, Connection(descriptor), scratch)
        finally:
            os._exit(1)
    os.close(descriptor)
    return process_id, ""


def _n_threads() -> int:
    """Return how many threads this process has."""
    end = time.monotonic() + _THREADS_END_S
    while (n := len(list(Path("/proc/self/task").iterdir()))) > 1 and time.monotonic() < end:
        time.sleep(0.001)
    return n


def _serve(worker: object, pipe: Connection, scratch: str) -> NoReturn:
    """Answer tasks until the pipe closes; the life of a worker process."""
    try:
        pipe.send(("ready", None))
        while True:
            method, argument = pipe.recv()
            pipe.send(_answer(worker, method, argument))
    except (EOFError, ConnectionError):
        _end(scratch)


def _answer(worker: object, method: str, argument: object) -> tuple[str, Any]:
    try:
        return "value", getattr(worker, method)(argument)
    except UsedUpWorkerError:
        return "used up", None
    except FmltkError as error:
        return "error", error
    except Exception:
        return "crash", traceback.format_exc()


def _end(scratch: str) -> NoReturn:
    """End this process at once, its temporary files with it."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    # The classes that travel through the pipe are those of the imported module, not of this __main__.
    from fmltk.toolkit.run import worker_program

    worker_program.main()
