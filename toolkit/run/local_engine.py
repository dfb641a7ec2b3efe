"""Where clips run: worker processes on this machine, one clip at a time each. ray_engine.py has them on a cluster.

A worker is this module started as a program of its own (`python -m fmltk.toolkit.run.local_engine`), so that a script
or a notebook can call `extract` as it is, without a guard for child processes. A worker that dies or hangs costs the
clip it had in hand and is replaced; when the run itself is killed, its workers see their pipe close and end at once.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import deque
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, NoReturn

from fmltk.toolkit.console import echo_traceback
from fmltk.toolkit.errors import ClipTimeoutError, FmltkError, RunError, WorkerDiedError
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.io.standard_streams import guard_standard_streams
from fmltk.toolkit.machine import ONE_THREAD, end_with_pipe
from fmltk.toolkit.run.engine import Engine, Outcome, Task, TaskKey, UsedUpWorkerError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType


_LITTLE_MEMORY = " (perhaps for lack of memory; --worker-memory allows more)"
_DEATH_HINTS = {
    int(signal.SIGKILL): " (often: out of memory; fewer --workers need less)",
    int(signal.SIGABRT): _LITTLE_MEMORY,
    int(signal.SIGSEGV): _LITTLE_MEMORY,
}
START_TIMEOUT_S = 300.0  # a worker that has not answered by then will not


class _Worker:
    """One worker process, its pipe, and the task it has in hand."""

    def __init__(self, make_worker: Callable[[], object]) -> None:
        recipe = ForkingPickler.dumps(make_worker)
        ours, theirs = Pipe()
        with theirs:
            # Temporary files of its own, which are removed whichever of the two processes is killed; numba's cache (of
            # librosa's functions, --acoustics librosa) among them, since two processes that fill one may crash.
            self._scratch = ScratchFolder()
            scratch = str(self._scratch.path)
            own = dict.fromkeys(("TMPDIR", "NUMBA_CACHE_DIR"), scratch)
            environment = {**os.environ, **ONE_THREAD, **own}
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "fmltk.toolkit.run.local_engine", str(theirs.fileno()), scratch],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    env=environment,
                    process_group=0,  # Ctrl-C is for the run, which then ends its workers
                )
            except OSError as error:
                ours.close()
                self._scratch.remove()
                raise RunError(f"a worker process cannot be started: {error.strerror}; try fewer --workers") from error
        self.pipe = ours
        self.task: Task[Any] | None = None
        self.deadline = time.monotonic() + START_TIMEOUT_S
        self.ready = False
        with contextlib.suppress(ConnectionError):  # it has died already, which is seen when its answer is awaited
            self.pipe.send_bytes(recipe)

    def give(self, task: Task[Any]) -> None:
        self.task = task
        self.deadline = float("inf") if task.timeout_s is None else time.monotonic() + task.timeout_s
        self.pipe.send((task.method, task.argument))

    def stop(self) -> None:
        self.pipe.close()
        self.process.kill()
        self.process.wait()
        self._scratch.remove()


class LocalEngine(Engine):
    """Runs tasks in worker processes on this machine.

    make_worker
        A picklable callable of no argument that each worker calls once; tasks are calls of the result's methods.
    n_workers
        How many clips are in work at a time, at least 1.
    """

    def __init__(self, make_worker: Callable[[], object], *, n_workers: int) -> None:
        self._make_worker = make_worker
        self._n_workers = max(1, n_workers)
        self._workers: list[_Worker] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._workers:
            self._workers.pop().stop()

    def run(self, tasks: Iterable[Task[TaskKey]]) -> Iterator[Outcome[TaskKey]]:
        """Yield the outcome of every task as it ends; at most one task per worker is taken from `tasks` ahead.

        Raises RunError if workers die before they are ready for a first task.
        """
        waiting = iter(tasks)
        queue: deque[Task[TaskKey]] = deque()
        exhausted = False
        try:
            while True:
                while not exhausted and len(queue) < self._n_workers:
                    task = next(waiting, None)
                    exhausted = task is None
                    if task is not None:
                        queue.append(task)
                self._hand_out(queue)
                if not queue and all(worker.task is None for worker in self._workers):
                    return
                for worker in self._wait():
                    outcome = self._collect(worker)
                    if isinstance(outcome, Task):
                        queue.appendleft(outcome)
                    elif outcome is not None:
                        yield outcome
        finally:  # left early: an answer that nobody awaits must not become a later task's
            for worker in [worker for worker in self._workers if worker.task is not None]:
                self._workers.remove(worker)
                worker.stop()

    def _hand_out(self, queue: deque[Task[TaskKey]]) -> None:
        idle = [worker for worker in self._workers if worker.ready and worker.task is None]
        while queue and idle:
            worker = idle.pop()
            try:
                worker.give(queue[0])
            except OSError:  # it died while it had nothing to do
                self._workers.remove(worker)
                worker.stop()
            else:
                queue.popleft()
        starting = sum(not worker.ready for worker in self._workers)
        while len(queue) > starting and len(self._workers) < self._n_workers:
            self._workers.append(_Worker(self._make_worker))
            starting += 1

    def _wait(self) -> list[_Worker]:
        """Return the workers that have answered, died, or are late."""
        active = {worker.pipe: worker for worker in self._workers if worker.task is not None or not worker.ready}
        nearest = min(worker.deadline for worker in active.values())
        timeout = None if nearest == float("inf") else max(0.0, nearest - time.monotonic())
        answered = [active[pipe] for pipe in wait(list(active), timeout) if isinstance(pipe, Connection)]
        now = time.monotonic()
        return answered + [one for one in active.values() if one.deadline <= now and one not in answered]

    def _collect(self, worker: _Worker) -> Outcome[Any] | Task[Any] | None:
        """Return an outcome, a task to hand out again, or None where a worker became ready."""
        task = worker.task
        try:
            if not worker.pipe.poll():
                return self._replace_late(worker)
            kind, value = worker.pipe.recv()
        except (EOFError, OSError):
            return self._replace_dead(worker)
        worker.task = None
        if kind == "ready":
            worker.ready = True
            return None
        if task is None:
            raise RunError("a worker answered without having been asked; please report it")
        if kind == "used up":
            self._workers.remove(worker)
            worker.stop()
            return task
        if kind == "crash":
            value = RunError(f"the worker failed in a way fmltk does not know; please report it:\n{value}")
        return Outcome(task, value=value) if kind == "value" else Outcome(task, error=value)

    def _replace_late(self, worker: _Worker) -> Outcome[Any]:
        self._workers.remove(worker)
        worker.stop()
        if worker.task is None:
            raise RunError(
                f"a worker process did not start within {START_TIMEOUT_S:g} s; is the machine out of memory?"
            )
        limit = worker.task.timeout_s or 0.0
        return Outcome(
            worker.task,
            error=ClipTimeoutError(
                f"took longer than {limit:g} s and was stopped; allow more with --clip-timeout and --retry-failed"
            ),
        )

    def _replace_dead(self, worker: _Worker) -> Outcome[Any]:
        self._workers.remove(worker)
        try:
            status = worker.process.wait(timeout=10)
        except subprocess.TimeoutExpired:  # it closed its pipe and lives on
            status = -signal.SIGKILL
        worker.stop()
        how = f"ended with status {status}" if status >= 0 else f"was killed by {signal.Signals(-status).name}"
        if worker.task is None:
            raise RunError(f"a worker process {how} before it was ready; its messages are above")
        hint = _DEATH_HINTS.get(-status, "")
        return Outcome(
            worker.task, error=WorkerDiedError(f"the worker process {how}{hint}; --retry-failed tries the clip again")
        )


def _serve(pipe: Connection, scratch: str) -> None:
    """Answer tasks until the pipe closes; the life of a worker process."""
    sys.excepthook = echo_traceback
    guard_standard_streams()  # a message that cannot be written fails no clip
    with contextlib.suppress(OSError):
        os.dup2(2, 1)  # stdout is the run's: for its result alone
    end_with_pipe(pipe.fileno(), lambda: _end(scratch))
    try:
        make_worker = pipe.recv()
    except (EOFError, ConnectionError):
        _end(scratch)
    worker = make_worker()
    pipe.send(("ready", None))
    while True:
        try:
            method, argument = pipe.recv()
        except (EOFError, ConnectionError):
            _end(scratch)
        try:
            answer: tuple[str, Any] = ("value", getattr(worker, method)(argument))
        except UsedUpWorkerError:
            answer = ("used up", None)
        except FmltkError as error:
            answer = ("error", error)
        except Exception:
            answer = ("crash", traceback.format_exc())
        try:
            pipe.send(answer)
        except (BrokenPipeError, ConnectionError):
            _end(scratch)


def _end(scratch: str) -> NoReturn:
    """End this process at once, its temporary files with it."""
    shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


if __name__ == "__main__":
    # The classes that travel through the pipe are those of the imported module, not of this __main__.
    from fmltk.toolkit.run import local_engine

    local_engine._serve(Connection(int(sys.argv[1])), sys.argv[2])
