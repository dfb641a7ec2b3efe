"""The Ray engine: Ray hands them out, and on every machine they run as they do on this one.

A Ray actor of one CPU holds one worker process of `engine.py`, so a clip meets the same process, threads and limits
wherever it runs. Each actor has one clip in hand and the next is taken from the caller only when an actor is free: a
million clips that wait cost nothing here.

The fate of a clip whose worker is gone:

- Its worker process died (killed, crashed, out of memory): the clip may be the cause. It is tried again in a fresh
  process, and after `MAX_DEATHS` deaths it becomes a row with WorkerDiedError.
- Its actor or its machine was lost: not the clip's fault. It is tried again elsewhere, at most `MAX_LOSSES` times, so
  that a clip that takes whole machines with it is not tried for ever.
"""

from __future__ import annotations

import os
import time
from collections import Counter, deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Self

from fmltk.toolkit.errors import ConfigError, RunError, WorkerDiedError
from fmltk.toolkit.machine import ONE_THREAD
from fmltk.toolkit.run.engine import Engine, Outcome, Task, TaskKey
from fmltk.toolkit.run.local_engine import LocalEngine
from fmltk.toolkit.run.versions import differences

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

MAX_DEATHS = 3  # of its worker process, until a clip is given up
MAX_LOSSES = 5  # of the actor or machine, until a clip is given up
MAX_LOST_STARTS = 5  # actors in a row that were lost before they had done anything, until the run is given up
START_TIMEOUT_S = 900.0  # for the first of the actors that wait: a cluster may have to start a machine
STOP_TIMEOUT_S = 5.0
POLL_S = 10.0


class Host:
    """An actor: one worker process on the actor's machine, under the local engine's rules."""

    def __init__(self, make_worker: Callable[[], object]) -> None:
        self._engine = LocalEngine(make_worker, n_workers=1)

    def do(self, task: Task[Any]) -> Outcome[Any]:
        """Run one task. Raises RunError if the worker process does not start."""
        (outcome,) = self._engine.run([task])
        return outcome

    def stop(self) -> None:
        """End the worker process, and remove its temporary files."""
        self._engine.__exit__(None, None, None)


class RayEngine(Engine):
    """Runs tasks in the actors of a Ray cluster.

    make_worker
        A picklable callable of no argument that each worker calls once; tasks are calls of the result's methods.
    n_workers
        How many clips are in work at a time; None: one per CPU that the cluster has now. Actors that find no place yet
        wait for one, which makes a cluster that grows on demand grow.
    address
        Address of the cluster, as `ray.init` takes it; None: RAY_ADDRESS, else a cluster of this machine alone.
    n_gpus
        GPUs that each actor takes.
    prepare
        A task that every worker does first. All must answer it alike: another answer is a machine with other versions.
    """

    def __init__(
        self,
        make_worker: Callable[[], object],
        *,
        n_workers: int | None = None,
        address: str | None = None,
        n_gpus: float = 0.0,
        prepare: Task[Any] | None = None,
    ) -> None:
        self._make_worker = make_worker
        self._n_workers = n_workers
        self._address = address
        self._n_gpus = n_gpus
        self._prepare = prepare
        self._prepared: dict[str, Any] | None = None
        self._idle: list[Any] = []
        self._starting: dict[Any, Any] = {}  # by the reference of its first task's outcome
        self._busy: dict[Any, tuple[Any, Task[Any]]] = {}
        self._lost_starts = 0
        self._connected_here = False

    def __enter__(self) -> Self:
        ray = _import_ray()
        if not ray.is_initialized():
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
            os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
            try:
                ray.init(
                    address=self._address,
                    log_to_driver=False,
                    configure_logging=False,
                    namespace="fmltk",
                    **_node_address(self._address or os.environ.get("RAY_ADDRESS")),
                )
            except (ConnectionError, ValueError, RuntimeError) as error:
                raise ConfigError(
                    f"no Ray cluster answers at {self._address or os.environ.get('RAY_ADDRESS')}: "
                    f"{_first_line(error)}; {_cure()}"
                ) from error
            self._connected_here = True
            _print_nothing(ray)
        if self._n_workers is None:
            self._n_workers = max(1, int(ray.cluster_resources().get("CPU", 1)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ray = _import_ray()
        asked = [actor.stop.remote() for actor in self._idle]
        if asked:
            ray.wait(asked, num_returns=len(asked), timeout=STOP_TIMEOUT_S)
        for actor in [*self._idle, *self._starting.values(), *(actor for actor, _ in self._busy.values())]:
            ray.kill(actor)
        self._idle, self._starting, self._busy = [], {}, {}
        if self._connected_here:
            ray.shutdown()

    def run(self, tasks: Iterable[Task[TaskKey]]) -> Iterator[Outcome[TaskKey]]:
        """Yield the outcome of every task as it ends; at most one task per worker is taken from `tasks` ahead.

        Raises RunError if no worker can be started, or workers differ in what `prepare` gives.
        """
        ray = _import_ray()
        assert self._n_workers is not None  # noqa: S101 - __enter__ has set it
        waiting, queue, exhausted = iter(tasks), deque[Task[TaskKey]](), False
        again = _Attempts()
        try:
            while True:
                while not exhausted and len(queue) < self._n_workers:
                    task = next(waiting, None)
                    exhausted = task is None
                    if task is not None:
                        queue.append(task)
                while queue and self._idle:
                    self._give(self._idle.pop(), queue.popleft())
                if not queue and not self._busy:
                    return
                while len(queue) > len(self._starting) and self._n_actors() < self._n_workers:
                    self._start()
                for reference in self._wait(ray):
                    outcome = self._collect(reference, again)
                    if isinstance(outcome, Task):
                        queue.appendleft(outcome)
                    elif outcome is not None:
                        yield outcome
        finally:  # left early: an answer that nobody awaits must not become a later task's
            for actor, _ in self._busy.values():
                ray.kill(actor)
            self._busy.clear()

    def _n_actors(self) -> int:
        return len(self._idle) + len(self._starting) + len(self._busy)

    def _give(self, actor: Any, task: Task[Any]) -> None:
        self._busy[actor.do.remote(task)] = (actor, task)

    def _start(self) -> None:
        ray = _import_ray()
        actor = (
            ray.remote(Host)
            .options(
                num_cpus=1,
                num_gpus=self._n_gpus,
                max_restarts=0,  # one that is lost is replaced here, where it is known which clip it had
                runtime_env={"env_vars": ONE_THREAD},
            )
            .remote(self._make_worker)
        )
        first = actor.do.remote(self._prepare) if self._prepare is not None else actor.__ray_ready__.remote()
        self._starting[first] = actor

    def _wait(self, ray: Any) -> list[Any]:
        """Return the references that have an answer."""
        deadline = time.monotonic() + START_TIMEOUT_S
        references = [*self._busy, *self._starting]
        while True:
            done, _ = ray.wait(references, num_returns=1, timeout=POLL_S)
            if done:
                return list(done)
            if not self._busy and time.monotonic() > deadline:
                raise RunError(
                    f"the Ray cluster started no worker within {START_TIMEOUT_S:g} s; see `ray status` for free "
                    "CPUs, or ask for fewer --workers"
                )

    def _collect(self, reference: Any, again: _Attempts) -> Outcome[Any] | Task[Any] | None:
        """Return an outcome, a task to hand out again, or None where a worker became ready or was lost."""
        ray = _import_ray()
        starting = reference in self._starting
        actor, task = (self._starting.pop(reference), None) if starting else self._busy.pop(reference)
        try:
            answer = ray.get(reference)
        except ray.exceptions.RayError as error:
            ray.kill(actor)
            if task is None:
                self._lost_starts += 1
                if self._lost_starts >= MAX_LOST_STARTS:
                    lost = f"{MAX_LOST_STARTS} workers in a row were lost at their start"
                    raise RunError(f"{lost}: {_cause(error)}") from error
                return None
            return again.after_loss(task)
        self._idle.append(actor)
        if task is None:
            self._check_prepared(answer)
            return None
        self._lost_starts = 0
        outcome: Outcome[Any] = replace(answer, task=task)
        return again.after_death(outcome) if isinstance(outcome.error, WorkerDiedError) else outcome

    def _check_prepared(self, answer: Any) -> None:
        if self._prepare is None:
            return
        if answer.error is not None:
            raise answer.error
        if self._prepared is None:
            self._prepared = answer.value
        changed = differences(self._prepared, answer.value)
        if changed:
            raise RunError(
                f"the machines of the cluster differ ({'; '.join(changed)}), and so would their numbers; "
                "give all of them the same image or environment"
            )


class _Attempts:
    """How often each clip has lost its worker."""

    def __init__(self) -> None:
        self._deaths: Counter[Any] = Counter()
        self._losses: Counter[Any] = Counter()

    def after_death(self, outcome: Outcome[Any]) -> Outcome[Any] | Task[Any]:
        """Return the task to try again, or its last outcome."""
        key = outcome.task.key
        self._deaths[key] += 1
        if self._deaths[key] < MAX_DEATHS:
            return outcome.task
        error = WorkerDiedError(f"{MAX_DEATHS} times in a row {outcome.error}")
        return Outcome(outcome.task, error=error)

    def after_loss(self, task: Task[Any]) -> Outcome[Any] | Task[Any]:
        """Return the task to try again, or the outcome of one that was lost too often."""
        self._losses[task.key] += 1
        if self._losses[task.key] < MAX_LOSSES:
            return task
        message = f"the machine that had the clip was lost {MAX_LOSSES} times; --retry-failed tries the clip again"
        return Outcome(task, error=WorkerDiedError(message))


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ConfigError("--engine ray needs Ray on all its machines: pip install 'fmltk[ray]'") from error
    return ray


def _print_nothing(ray: Any) -> None:
    """Keep Ray from printing on stdout, where results belong, which nodes it has lost: it has no option for that."""
    ray._private.worker._worker_logs_enabled = False


def _cure() -> str:
    """Return what to do about a cluster that does not answer; Ray sends a token to no address unless asked to."""
    start = "start one with `ray start --head`, or leave out --ray-address"
    if os.environ.get("RAY_AUTH_MODE"):
        return start
    return (
        f"{start}; a cluster that was started by a user who has a token (~/.ray/auth_token) needs RAY_AUTH_MODE=token"
    )


def _node_address(address: str | None) -> dict[str, str]:
    """Return what a cluster on loopback needs: Ray looks for it at the machine's outer address otherwise."""
    host = (address or "").rpartition(":")[0]
    return {"_node_ip_address": "127.0.0.1"} if host in ("127.0.0.1", "localhost") else {}


def _cause(error: Any) -> str:
    """Return why an actor was lost, in one line: what it raised itself, or what Ray says."""
    return _first_line(getattr(error, "cause", None) or error)


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
