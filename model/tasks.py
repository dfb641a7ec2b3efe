"""The tasks of a model's stages: their names in files and in the paper's tables, and one prediction per condition."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.conditions import BIMODAL, CONDITIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fmltk.model.registry import ModelSpec


def task_key(stage: str, task: str) -> str:
    """Return the name of a stage's task in files: AV_A, AV_AV, fusion_M.

    >>> task_key("AV", "A")
    'AV_A'
    """
    return f"{stage}_{task}"


def stage_title(stage: str) -> str:
    """Return a stage as the paper's tables name it.

    >>> stage_title("AV"), stage_title("fusion")
    ('A, V', 'fusion')
    """
    return ", ".join(stage) if stage in BIMODAL else stage


def task_title(task: str) -> str:
    """Return a task as the paper's tables name it.

    >>> task_title("AV"), task_title("M")
    ('A+V', 'A+V+T')
    """
    return "A+V+T" if task == "M" else "+".join(task)


def condition_predictions(
    model: ModelSpec, predictions: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[np.float64]]:
    """Return one prediction per condition: the mean over the stages that predict it (T, A and V: two stages).

    predictions : by `task_key`, float64 (n,), NaN where a clip lacks an input
    """
    merged = {}
    for condition in CONDITIONS:
        keys = [task_key(stage.name, condition) for stage in model.stages if condition in stage.tasks]
        values = [predictions[key] for key in keys if key in predictions]
        if values:
            merged[condition] = np.mean(values, axis=0)
    return merged
