"""A run that is killed while it trains."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SCRIPT = """
import os, signal, sys
from pathlib import Path
from fmltk.model import progress
from fmltk.model.config import load_config
from fmltk.model.options import RunOptions
from fmltk.model.run import train
features, out, file, epoch, *settings = sys.argv[1:]
progress.SAVE_EVERY_S = 0.0
save = progress.Progress.save
def save_and_die(self, path):
    save(self, path)
    if path.name == file and len(self.history) == int(epoch):
        os.kill(os.getpid(), signal.SIGKILL)
progress.Progress.save = save_and_die
config = load_config("ch-sims", settings=settings)
train(Path(features), out=Path(out), config=config, options=RunOptions(jobs=0))
"""


def run_and_kill(features: Path, out: Path, settings: Sequence[str], *, file: str = "", epoch: int = 0) -> int:
    """Train in a process of its own, which is killed once it has saved that epoch to that file; return its code."""
    command = [sys.executable, "-c", SCRIPT, str(features), str(out), file, str(epoch), *settings]
    return subprocess.run(command, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
