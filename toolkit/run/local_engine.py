"""The local engine: worker processes on this machine, one clip at a time each. ray_engine.py has them on a cluster.

A worker that dies or hangs costs the clip it had in hand and is replaced; when the run itself is killed, its workers
see their pipe close and end at once.
"""

from __future__ import annotations

import signal
import time
from collections import deque
from multiprocessing.connection import Connection, Pipe, wait
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ClipTimeoutError, RunError, WorkerDiedError
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.run import worker_process
from fmltk.toolkit.run.engine import Engine, Outcome, Task, TaskKey
from fmltk.toolkit.run.worker_process import CAN_FORK, Forker, Spawner, describe_status, did_not_start, died_at_start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

    from fmltk.toolkit.run.worker_process import Starter

_LITTLE_MEMORY = " (perhaps for lack of memory; --worker-memory allows more)"
_DEATH_HINTS = {
    int(signal.SIGKILL): " (often: out of memory; fewer --workers need less)",
    int(signal.SIGABRT): _LITTLE_MEMORY,
    int(signal.SIGSEGV): _LITTLE_MEMORY,
}


class _Worker:
    """One worker process, its pipe, and the task it has in hand."""

    def __init__(self, starter: Starter) -> None:
        self.pipe, theirs = Pipe()
        self._scratch = ScratchFolder()  # removed whichever of the two processes is killed
        try:
            with theirs:
                self.process = starter.start(self.pipe, theirs, str(self._scratch.path))
        except BaseException:
            self.pipe.close()
            self._scratch.remove()
            raise
        self.task: Task[Any] | None = None
        self.deadline = time.monotonic() + worker_process.START_TIMEOUT_S
        self.ready = False

    def give(self, task: Task[Any]) -> None:
        self.task = task
        self.deadline = float("inf") if task.timeout_s is None else time.monotonic() + task.timeout_s
        self.pipe.send((task.method, task.argument))

    def stop(self) -> None:
        self.pipe.close()
        self.process.end()
        self._scratch.remove()


class LocalEngine(Engine):
    """Runs tasks in worker processes on this machine.

    make_worker
        A picklable callable of no argument, called once per worker; tasks are calls of the result's methods.
    n_workers
        How many clips are in work at a time, at least 1.
    forks
        Whether it is called once in all, and its result's `load` too, where the system can fork: workers then are forks
        of that one process, and share what is loaded. Not for what holds a GPU.
    """

    def __init__(self, make_worker: Callable[[], object], *, n_workers: int, forks: bool = False) -> None:
        self._starter: Starter = Forker(make_worker) if forks and CAN_FORK else Spawner(make_worker)
        self._n_workers = max(1, n_workers)
        self._workers: list[_Worker] = []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._workers:
            self._workers.pop().stop()
        self._starter.close()

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
            self._workers.append(_Worker(self._starter))
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
            raise did_not_start()
        limit = worker.task.timeout_s or 0.0
        return Outcome(
            worker.task,
            error=ClipTimeoutError(
                f"took longer than {limit:g} s and was stopped; allow more with --clip-timeout and --retry-failed"
            ),
        )

    def _replace_dead(self, worker: _Worker) -> Outcome[Any]:
        self._workers.remove(worker)
        status = worker.process.end(within_s=10)  # it may have closed its pipe and live on
        worker.stop()
        if worker.task is None:
            raise died_at_start(status)
        how = f"{describe_status(status)}{_DEATH_HINTS.get(-status, '')}"
        return Outcome(
            worker.task, error=WorkerDiedError(f"the worker process {how}; --retry-failed tries the clip again")
        )
