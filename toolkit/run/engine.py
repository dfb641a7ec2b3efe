"""The contract of an engine: tasks go in, outcomes come out, wherever they run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

    from fmltk.toolkit.errors import FmltkError

TaskKey = TypeVar("TaskKey")


@dataclass(frozen=True, slots=True)
class Task(Generic[TaskKey]):
    """A call of one of the worker's methods. `timeout_s` None: no limit."""

    key: TaskKey
    method: str
    argument: Any
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Outcome(Generic[TaskKey]):
    """The outcome of a task: its value, or the error that ended it."""

    task: Task[TaskKey]
    value: Any = None
    error: FmltkError | None = None


class UsedUpWorkerError(Exception):
    """Raised by a worker that cannot do a task because of what it did before: a new worker is to try."""


class Engine(ABC):
    """Runs tasks, wherever that is: what `extract` needs of it."""

    def __enter__(self) -> Self:
        return self

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End every worker."""

    @abstractmethod
    def run(self, tasks: Iterable[Task[TaskKey]]) -> Iterator[Outcome[TaskKey]]:
        """Yield the outcome of every task as it ends; at most one task per worker is taken from `tasks` ahead."""

    def call(self, method: str, argument: Any, *, timeout_s: float | None = None) -> Any:
        """Run one task and return its value, or raise its error."""
        (outcome,) = self.run([Task(None, method, argument, timeout_s)])
        if outcome.error is not None:
            raise outcome.error
        return outcome.value
