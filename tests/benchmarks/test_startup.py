"""How long a user waits for `fmltk --help`."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

HELP_LIMIT_S = 0.5
N_RUNS = 9


@pytest.mark.slow
def test_help_answers_within_half_a_second(capsys: pytest.CaptureFixture[str]) -> None:
    command = [str(Path(sys.executable).with_name("fmltk")), "--help"]
    times_s = []
    for _ in range(N_RUNS):
        start_s = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times_s.append(time.perf_counter() - start_s)
    median_s = statistics.median(times_s)
    with capsys.disabled():
        print(f"\nfmltk --help: median {median_s:.3f} s of {N_RUNS} runs, {min(times_s):.3f} to {max(times_s):.3f} s")
    assert median_s < HELP_LIMIT_S
