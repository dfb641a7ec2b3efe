"""The receiver of warnings of a call from Python."""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fmltk.toolkit.console import Reporter

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def python_warnings(reporter: Reporter | None) -> Iterator[Reporter]:
    """Give the caller's reporter, or without one a silent one whose warnings become UserWarnings at the caller's line.

    For the body of a function that users call themselves.
    """
    if reporter is not None:
        yield reporter
        return
    silent = Reporter(quiet=True)
    try:
        yield silent
    finally:
        for message in silent.warnings:
            warnings.warn(message, UserWarning, stacklevel=4)  # this, contextlib, the function, its caller
