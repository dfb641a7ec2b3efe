"""Single clips: the truth and the prediction of every task (the paper's table 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.evaluation import evaluation_split
from fmltk.model.metrics import sign_correct
from fmltk.model.registry import model_of
from fmltk.model.run_folder import read_predictions, run_config, run_summary
from fmltk.model.tasks import stage_title, task_key, task_title
from fmltk.toolkit.conditions import UNIMODAL
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

    from fmltk.model.metrics import Family


def case_rows(
    run: Path, *, seed: int, split: str, sort: str, wrong: bool = False
) -> tuple[list[str], list[list[str]], list[dict[str, Any]]]:
    """Return (columns, rows, documents) of table 12: per clip the truth and prediction of every task.

    A cell is the class, or truth/prediction where they differ (marked by a star); on a scale without signs it is both
    numbers.

    sort : "disagreement" puts first the clips whose unimodal truths (where there are none: predictions) lie furthest
        apart, or are of the most classes; "error" those with the largest multimodal error; "id" goes by utterance_id
    wrong : only clips whose multimodal sign, or class, is wrong

    Raises ConfigError if `wrong` is asked for on a scale without signs.
    """
    summary = run_summary(run)
    split = evaluation_split(summary, split)
    family: Family = summary["family"]
    if wrong and family == "numbers":
        raise ConfigError(
            f"{run} has labels on a scale without signs, so no clip is right or wrong; give --sort error to begin with "
            "the largest errors"
        )
    frame = read_predictions(run, seed)
    frame = frame[frame["split"] == split].reset_index(drop=True)
    model = model_of(run_config(run))
    tasks = [(stage.name, task) for stage in model.stages for task in stage.tasks]
    tasks = [(stage, task) for stage, task in tasks if f"pred_{task_key(stage, task)}" in frame]
    documents = []
    for _, row in frame.iterrows():
        cells = {task_key(s, t): _case(row, s, t, family) for s, t in tasks}
        documents.append(
            {
                "utterance_id": row["utterance_id"],
                "text": row["text"],
                "disagreement": _n_opinions(row) if family == "nominal" else _disagreement(row),
                "error": _class_error(row) if family == "nominal" else _error(row),
                "reason": row["reason"],
                "tasks": cells,
            }
        )
    keys = {
        "disagreement": lambda case: (-_or_zero(case["disagreement"]), case["utterance_id"]),
        "error": lambda case: (-_or_zero(case["error"]), case["utterance_id"]),
        "id": lambda case: case["utterance_id"],
    }
    documents.sort(key=keys[sort])
    if wrong:
        documents = [case for case in documents if case["tasks"][task_key(*tasks[-1])]["wrong"]]
    cell = _number_cell if family == "numbers" else _cell
    rows = [
        [case["utterance_id"], case["text"] or "", _number(case["disagreement"]), *map(cell, case["tasks"].values())]
        for case in documents
    ]
    columns = [f"{stage_title(s)}: {task_title(t)}" if s != "fusion" else "M" for s, t in tasks]
    return ["utterance_id", "text", "disagreement", *columns], rows, documents


def _case(row: Any, stage: str, task: str, family: Family) -> dict[str, Any]:
    truth, prediction = row[f"truth_{task}"], row[f"pred_{task_key(stage, task)}"]
    if family == "nominal":
        has_both = isinstance(truth, str) and isinstance(prediction, str)
        return {"truth": truth, "prediction": prediction, "wrong": truth != prediction if has_both else None}
    truth, prediction = _float(truth), _float(prediction)
    wrong = None
    if np.isfinite(truth) and np.isfinite(prediction):
        wrong = bool(not sign_correct([prediction], [truth], family)[0])
    return {"truth": truth, "prediction": prediction, "wrong": wrong}


def _float(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _disagreement(row: pd.Series[Any]) -> float:
    """Return how far the unimodal truths lie apart; the predictions where a truth is missing."""
    for prefix in ("truth_", "pred_"):
        values = [_float(row.get(prefix + m)) for m in UNIMODAL]
        if np.isfinite(values).all() and (prefix == "pred_" or len(set(values)) > 1 or _has_own_labels(row)):
            return float(max(values) - min(values))
    return float("nan")


def _n_opinions(row: pd.Series[Any]) -> float:
    """Return how many different classes the unimodal truths are, less one; the predictions where a truth is missing."""
    for prefix in ("truth_", "pred_"):
        words = [row.get(prefix + m) for m in UNIMODAL]
        if all(isinstance(word, str) for word in words) and (prefix == "pred_" or set(words) != {row["truth_M"]}):
            return float(len(set(words)) - 1)
    return float("nan")


def _class_error(row: pd.Series[Any]) -> float:
    """Return 1 where the multimodal class is wrong, 0 where it is right, NaN where either is unknown."""
    words = row["truth_M"], row["pred_M"]
    return float(words[0] != words[1]) if all(isinstance(word, str) for word in words) else float("nan")


def _has_own_labels(row: pd.Series[Any]) -> bool:
    """Return whether the unimodal truths are more than copies of the multimodal one."""
    return any(_float(row[f"truth_{m}"]) != _float(row["truth_M"]) for m in UNIMODAL)


def _error(row: pd.Series[Any]) -> float:
    return abs(_float(row["truth_M"]) - _float(row["pred_M"]))


def _or_zero(value: float) -> float:
    return value if value == value else 0.0  # noqa: PLR0124


def _number(value: float) -> str:
    return f"{value:.2f}" if value == value else ""  # noqa: PLR0124


def _number_cell(case: Mapping[str, Any]) -> str:
    return "/".join(_number(case[name]) or "?" for name in ("truth", "prediction"))


def _cell(case: Mapping[str, Any]) -> str:
    def sign(value: Any) -> str:
        if isinstance(value, str):
            return value
        return "?" if value is None or value != value else "Pos" if value > 0 else "Neg"  # noqa: PLR0124

    if case["wrong"]:
        return f"{sign(case['truth'])}/{sign(case['prediction'])}*"
    return sign(case["prediction"])
