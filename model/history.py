"""A run's history for TensorBoard."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.model.run_folder import read_history, run_seeds
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "tensorboard"


def require_tensorboard() -> None:
    """Raise ConfigError where TensorBoard is not installed, before anything is trained."""
    import importlib.util

    if importlib.util.find_spec("tensorboard") is None:
        raise ConfigError('--tensorboard needs the package tensorboard: pip install "fmltk[tensorboard]"')


def write_tensorboard(run: Path) -> None:
    """Write every seed's history below RUN/tensorboard, one folder per seed and stage."""
    from torch.utils.tensorboard.writer import SummaryWriter

    for seed in run_seeds(run):
        frame = read_history(run, seed)
        for stage, epochs in frame.groupby("stage"):
            with SummaryWriter(str(run / FOLDER / f"seed_{seed}" / str(stage))) as writer:
                for row in epochs.itertuples():
                    for name in ("train_loss", "valid_loss", "valid_mae"):
                        if getattr(row, name) == getattr(row, name):  # classes have no mean absolute error
                            writer.add_scalar(name, getattr(row, name), row.epoch)
