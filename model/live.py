"""The view of training while it runs: a line for each stage or system in work, with its epoch, losses and time.

The numbers come from the files that stages write after each epoch, so that it does not matter which process trains.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

from fmltk.model.run_folder import finished_seeds, run_config
from fmltk.toolkit.console import LiveView
from fmltk.toolkit.errors import FmltkError, StoreError
from fmltk.toolkit.io.documents import read_json
from fmltk.toolkit.io.files import TEMPORARY_PREFIX

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# "left" is the time to the end of a stage that improves no more.
EPOCH_COLUMNS = ("epoch", "loss", "validation", "MAE", "best", "left")


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the last epoch of a stage and the best one so far; None before the first, or while it is written."""
    try:
        return read_json(path)
    except StoreError:
        return None


def seconds_left(state: Mapping[str, Any], patience: int) -> float:
    """Return how long a stage takes if it improves no more."""
    return float(max(patience - (state["epoch"] - state["best"]), 0) * state["seconds"])


def duration(seconds: float) -> str:
    """Return a time for people.

    >>> duration(8), duration(300), duration(7500)
    ('8 s', '5 min', '2 h 5 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


@dataclass
class Board:
    """The parts that are done, and those in work.

    n_jobs : how many there are in all; unit : what one is; n_done : how many are done
    """

    n_jobs: int
    unit: str
    n_done: int = 0
    started: float = field(default_factory=time.monotonic)

    @property
    def title(self) -> str:
        """How many are done, and how long the others take if they take as long."""
        text = f"{self.n_done} of {self.n_jobs} {self.unit} trained"
        if not 0 < self.n_done < self.n_jobs:
            return text
        per_job = (time.monotonic() - self.started) / self.n_done
        return f"{text}, about {duration(per_job * (self.n_jobs - self.n_done))} left"


@dataclass
class StageBoard(Board):
    """The stages of a run: `running` has (seed, stage, the file of its last epoch, patience) of those in work."""

    running: list[tuple[int, str, Path, int]] = field(default_factory=list)

    def view(self) -> LiveView:
        """Return a line for each stage in work."""
        rows = [
            (seed, stage, *_epoch_cells(read_state(path), patience)) for seed, stage, path, patience in self.running
        ]
        return LiveView(self.title, ("seed", "stage", *EPOCH_COLUMNS), rows)


@dataclass
class SystemBoard(Board):
    """The systems of a benchmark: `waiting` has the name of each that is not done, by its run folder."""

    n_seeds: int = 1
    waiting: dict[Path, str] = field(default_factory=dict)

    def settle(self, folder: Path) -> None:
        """Count a system that is done, trained or not."""
        del self.waiting[folder]
        self.n_done += 1

    def view(self) -> LiveView:
        """Return a line for each system in work: the stage that wrote its epoch last."""
        rows = []
        for folder, name in list(self.waiting.items()):
            newest = _newest_state(folder)
            if newest is not None:
                (_, seed, stage), state = newest.stem.split("_", 2), read_state(newest)
                seeds = f"{seed} ({len(finished_seeds(folder)) + 1} of {self.n_seeds})"
                with suppress(FmltkError):  # its settings are being written
                    rows.append((name, seeds, stage, *_epoch_cells(state, _patience(folder))))
        return LiveView(self.title, ("system", "seed", "stage", *EPOCH_COLUMNS), rows)


def _newest_state(folder: Path) -> Path | None:
    """Return the file of the epoch that a run ended last, of those that a process is training."""
    found = []
    for path in folder.glob(f"{TEMPORARY_PREFIX}*/*/progress_*.json"):
        try:
            found.append((path.stat().st_mtime_ns, path))
        except OSError:  # its run has just ended
            continue
    return max(found)[1] if found else None


@cache
def _patience(folder: Path) -> int:
    """Return the patience of a run that has begun."""
    return run_config(folder).patience


def _epoch_cells(state: Mapping[str, Any] | None, patience: int) -> tuple[str, ...]:
    if state is None:
        return ("starting", *("" for _ in EPOCH_COLUMNS[1:]))
    mae = "" if state["valid_mae"] is None else f"{state['valid_mae']:.4f}"
    losses = (f"{state[name]:.4f}" for name in ("train_loss", "valid_loss"))
    return (str(state["epoch"]), *losses, mae, str(state["best"]), duration(seconds_left(state, patience)))
