"""FmlMSN: its network, training, evaluation and prediction."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fmltk.model.config import Config, load_config
    from fmltk.model.predict import FmlMSN, TrainedModel
    from fmltk.model.run import RunOptions, train

__all__ = ["Config", "FmlMSN", "RunOptions", "TrainedModel", "load_config", "train"]

_HOMES = {
    "Config": "config",
    "FmlMSN": "predict",
    "RunOptions": "run",
    "TrainedModel": "predict",
    "load_config": "config",
    "train": "run",
}


def __getattr__(name: str) -> Any:
    """Import on first use, for torch takes seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
