"""The command line in the process of the test: starting one costs seconds of imports, which few tests are about."""

from __future__ import annotations

import io
from contextlib import redirect_stderr, redirect_stdout
from subprocess import CompletedProcess

import pytest

from fmltk.toolkit.cli.main import main


def fmltk_here(*arguments: object) -> CompletedProcess[str]:
    """Run a command line; return its exit code and what it printed, as a process of its own would give them."""
    argv = [str(argument) for argument in arguments]
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        main(argv)
    return CompletedProcess(argv, int(end.value.code or 0), out.getvalue(), err.getvalue())
