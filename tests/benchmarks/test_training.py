"""Training speed against its targets: whole with --full-size, at a fiftieth of the clips otherwise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

CLIPS = 1368  # CH-SIMS's training split


@pytest.mark.slow
def test_training_meets_its_targets(sized: Callable[[int], int], capsys: pytest.CaptureFixture[str]) -> None:
    divide = CLIPS // sized(CLIPS)
    script = Path(__file__).with_name("training.py")
    command = [
        sys.executable,
        str(script),
        "--divide",
        str(divide),
        *(["--skip", "mtfn", "mmsa"] if divide > 1 else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    with capsys.disabled():
        print("\n" + done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "missed: none" in done.stdout
