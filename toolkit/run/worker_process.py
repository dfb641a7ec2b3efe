"""How worker processes of this machine are started and ended, seen from the run.

Each is a program of its own (`python -m fmltk.toolkit.run.worker_program`), so that a script or a notebook can call
`extract` as it is, without a guard for child processes; or, on Linux, a fork of such a program that has loaded
everything, which no fork of the script itself could be.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
from abc import ABC, abstractmethod
from multiprocessing.connection import Connection, Pipe
from multiprocessing.reduction import ForkingPickler, send_handle
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import RunError
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.machine import ONE_THREAD
from fmltk.toolkit.run.worker_program import FORK, STATUS, scratch_variables

if TYPE_CHECKING:
    from collections.abc import Callable

START_TIMEOUT_S = 300.0  # a worker that has not answered by then will not
_NO_BACKGROUND_THREAD = {"JE_ARROW_MALLOC_CONF": "background_thread:false"}  # pyarrow's allocator starts one on import
CAN_FORK = sys.platform == "linux"  # elsewhere a fork may not use what its system's libraries hold


class WorkerProcess(ABC):
    """A worker process; a run ends each that it starts."""

    @abstractmethod
    def end(self, *, within_s: float = 0.0) -> int:
        """Return its status as subprocess does, killed where it does not end by itself in this time."""


class Starter(ABC):
    """Starts worker processes."""

    @abstractmethod
    def start(self, ours: Connection, theirs: Connection, scratch: str) -> WorkerProcess:
        """Return a new worker that answers at the other end of `ours`; scratch: the folder of its temporary files.

        Raises RunError if there can be none.
        """

    @abstractmethod
    def close(self) -> None:
        """End what there is besides workers."""


class Spawner(Starter):
    """Starts each worker as a program of its own, which calls `make_worker`."""

    def __init__(self, make_worker: Callable[[], object]) -> None:
        self._make_worker = make_worker

    def start(self, ours: Connection, theirs: Connection, scratch: str) -> WorkerProcess:
        """Return a new worker. Raises RunError if the system starts no process."""
        recipe = ForkingPickler.dumps(self._make_worker)
        process = _start_program(theirs, scratch, "worker")
        with contextlib.suppress(ConnectionError):  # it has died already, which is seen when its answer is awaited
            ours.send_bytes(recipe)
        return process

    def close(self) -> None:
        """Do nothing: there are workers alone."""


class Forker(Starter):
    """Starts one program that calls `make_worker` and the result's `load`; each worker is a fork of it.

    If a loaded part leaves threads behind, which no fork survives, each worker is a program of its own.
    """

    def __init__(self, make_worker: Callable[[], object]) -> None:
        self._make_worker = make_worker
        self._origin: _Origin | None = None
        self._spawner: Spawner | None = None

    def start(self, ours: Connection, theirs: Connection, scratch: str) -> WorkerProcess:
        """Return a new worker; where the program that workers are forks of was killed, another is started.

        Raises RunError if that program ends or hangs before it is ready, or the system starts no process.
        """
        while self._spawner is None:
            if self._origin is None:
                self._origin = _Origin(self._make_worker)
            if self._origin.n_threads > 1:
                self.close()
                self._spawner = Spawner(self._make_worker)
                break
            with contextlib.suppress(EOFError, OSError):
                return self._origin.fork(theirs, scratch)
            self.close()
        return self._spawner.start(ours, theirs, scratch)

    def close(self) -> None:
        """End the program that workers are forks of; the workers live on."""
        if self._origin is not None:
            self._origin.end()
            self._origin = None


class _Origin:
    """The program that workers are forks of, once it is ready."""

    def __init__(self, make_worker: Callable[[], object]) -> None:
        recipe = ForkingPickler.dumps(make_worker)
        self._control, theirs = Pipe()
        self._scratch = ScratchFolder()
        self._process: WorkerProcess | None = None
        try:
            with theirs:
                self._process = _start_program(theirs, str(self._scratch.path), FORK)
            self.n_threads = self._load(recipe)
        except BaseException:
            self.end()
            raise

    def _load(self, recipe: bytes | memoryview) -> int:
        """Return how many threads the program has when everything is loaded."""
        assert self._process is not None  # noqa: S101 - it was started
        try:
            self._control.send_bytes(recipe)
            if not self._control.poll(START_TIMEOUT_S):
                raise did_not_start()
            n_threads: int = self._control.recv()[1]
        except (EOFError, ConnectionError) as error:
            raise died_at_start(self._process.end(within_s=10)) from error
        return n_threads

    def fork(self, theirs: Connection, scratch: str) -> WorkerProcess:
        """Return a new worker. Raises EOFError or OSError if the program was killed, RunError if it cannot fork."""
        self._control.send((FORK, scratch))
        send_handle(self._control, theirs.fileno(), 0)
        process_id, reason = self._control.recv()
        if reason:
            raise _cannot_start(reason)
        return _Fork(process_id, self)

    def status_of(self, process_id: int) -> int:
        """Return the status of a worker that has ended; that of a kill where the program was killed too."""
        try:
            self._control.send((STATUS, process_id))
            status: int = self._control.recv()
        except (EOFError, OSError):
            return -signal.SIGKILL
        return status

    def end(self) -> None:
        """End the program, and remove its temporary files."""
        self._control.close()
        if self._process is not None:
            self._process.end()
        self._scratch.remove()


class _Program(WorkerProcess):
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    def end(self, *, within_s: float = 0.0) -> int:
        try:
            return self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()


class _Fork(WorkerProcess):
    """A fork, which is not a child of the run: a handle of the system's says when it ends, and kills no other."""

    def __init__(self, process_id: int, origin: _Origin) -> None:
        self._process_id, self._origin = process_id, origin
        self._handle = os.pidfd_open(process_id)
        self._status: int | None = None

    def end(self, *, within_s: float = 0.0) -> int:
        if self._status is None:
            ended = select.poll()
            ended.register(self._handle, select.POLLIN)
            if not ended.poll(1000 * within_s):
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
                ended.poll()
            os.close(self._handle)
            self._status = self._origin.status_of(self._process_id)
        return self._status


def died_at_start(status: int) -> RunError:
    """Return what is said of a worker that ended before it could do a task."""
    return RunError(f"a worker process {describe_status(status)} before it was ready; its messages are above")


def did_not_start() -> RunError:
    """Return what is said of a worker that does not become ready."""
    return RunError(f"a worker process did not start within {START_TIMEOUT_S:g} s; is the machine out of memory?")


def describe_status(status: int) -> str:
    """Return how a process ended, in words.

    >>> describe_status(-9), describe_status(7)
    ('was killed by SIGKILL', 'ended with status 7')
    """
    return f"ended with status {status}" if status >= 0 else f"was killed by {signal.Signals(-status).name}"


def _start_program(theirs: Connection, scratch: str, way: str) -> WorkerProcess:
    try:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fmltk.toolkit.run.worker_program", str(theirs.fileno()), scratch, way],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD, **_NO_BACKGROUND_THREAD, **scratch_variables(scratch)},
            process_group=0,  # Ctrl-C is for the run, which then ends its workers
        )
    except OSError as error:
        raise _cannot_start(str(error.strerror)) from error
    return _Program(process)


def _cannot_start(reason: str) -> RunError:
    return RunError(f"a worker process cannot be started: {reason}; try fewer --workers")
