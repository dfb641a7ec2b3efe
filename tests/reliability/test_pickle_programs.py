"""Programs of opcodes in place of a pickle: each is read or refused, and none ends, holds or swells the process."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from tests.reliability.checking import LIMIT_CPU_S, LIMIT_MB
from tests.reliability.page import write_section

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PROGRAMS = 1_000_000
SEED = 12


@pytest.mark.slow
def test_programs_of_opcodes_are_read_or_refused(
    tmp_path: Path, sized: Callable[[int], int], request: pytest.FixtureRequest
) -> None:
    started, n_programs, path = time.monotonic(), sized(PROGRAMS), tmp_path / "program.pkl"
    command = [sys.executable, "-m", "tests.reliability.pickle_programs", str(SEED), str(n_programs), str(path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=request.config.rootpath, check=False)
    assert ended.returncode == 0, f"the program is {path}; {ended.stderr[-3000:]}"
    figures = json.loads(ended.stdout)
    assert n_programs / 20 < figures["n_read"] < n_programs * 19 / 20, "neither all nonsense nor all good"
    assert figures["slowest_s"] < LIMIT_CPU_S
    assert figures["grown_mb"] < LIMIT_MB
    if request.config.getoption("--full-size"):
        minutes = (time.monotonic() - started) / 60
        text = (
            f"{n_programs:,} programs in {minutes:.0f} minutes: {figures['n_read']:,} were read, the others refused. "
            f"No signal, no hang; the slowest took {figures['slowest_s']:.2f} CPU-seconds, and the process grew by "
            f"{figures['grown_mb']:.0f} MB after the first fifth."
        )
        write_section("pickle programs", text)
