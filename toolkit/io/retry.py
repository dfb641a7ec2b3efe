"""Doing something again after a pause where a service is overloaded or away."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Result = TypeVar("Result")
Failure = TypeVar("Failure", bound=Exception)


def retried(
    action: Callable[[], Result],
    *,
    attempts: int,
    first_wait_s: float,
    longest_wait_s: float,
    errors: type[Failure],
    is_final: Callable[[Failure], bool] = lambda error: False,
) -> Result:
    """Return what `action` returns; where it raises one of `errors`, try again after a pause that doubles each time.

    A pause is half of its length to all of it, at random, so that many workers do not come back at once.

    Raises the error of the last attempt, or at once one that `is_final`.

    >>> answers = iter([OSError("busy"), 42])
    >>> def ask():
    ...     answer = next(answers)
    ...     if isinstance(answer, OSError):
    ...         raise answer
    ...     return answer
    >>> retried(ask, attempts=3, first_wait_s=0.0, longest_wait_s=0.0, errors=OSError)
    42
    """
    for attempt in range(attempts - 1):
        try:
            return action()
        except errors as error:
            if is_final(error):
                raise
        time.sleep(random.uniform(0.5, 1.0) * min(first_wait_s * 2**attempt, longest_wait_s))  # noqa: S311
    return action()
