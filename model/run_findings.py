"""Findings of a run, in words, for the top of its report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.evaluation import FEW_CLIPS, format_of_clips
from fmltk.model.run_folder import run_document
from fmltk.model.tasks import stage_title
from fmltk.toolkit.conditions import MODALITY_OF, UNIMODAL
from fmltk.toolkit.report.document import CHECK, KNOW, SPOILS, Finding

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from fmltk.toolkit.report.document import Block, Table

UNSURE_CLIPS = 100  # with fewer, an accuracy of 80 % has an interval of more than 16 points
SMALL_LOSS = 0.01  # a part of the error: what a modality adds below it hardly counts


def run_findings(
    run: Path, summary: Mapping[str, Any], split: str, *, wrong: int, evidence: Mapping[str, Block]
) -> list[Finding]:
    """Return what stands out in a run; `wrong` clips have the wrong sign, or class, of M.

    evidence : blocks of the run's section, by "scores", "errors" and, where there are some, "curves"
    """
    scores, errors = evidence.get("scores"), evidence.get("errors")
    last = list(summary["tasks"].values())[-1]["splits"][split]
    found = [Finding(f"{run.name}: {text}", CHECK, scores) for text in run_document(run)["remarks"]]
    if summary["collapsed"]:
        names = ", ".join(summary["collapsed"])
        found.append(Finding(f"{run.name}: constant predictions, so nothing was learned: {names}.", SPOILS, scores))
    found += _few_clips(run, last, split, scores)
    found += _no_better(run, summary, split, errors)
    found += _still_learning(run, summary, evidence.get("curves"))
    if wrong:
        what = "class" if summary["family"] == "nominal" else "sign"
        verb = "has" if wrong == 1 else "have"
        found.append(
            Finding(
                f"{run.name}: {wrong} of {last['n']} {split} clips {verb} the wrong {what} of M.", KNOW, clips="wrong"
            )
        )
    return found


def _few_clips(run: Path, last: Mapping[str, Any], split: str, scores: Block | None) -> list[Finding]:
    n = last["n"]
    if n >= UNSURE_CLIPS:
        return []
    name = next((name for name in last["metrics"] if name.startswith("Acc")), None)
    value = None if name is None else last["metrics"][name]["mean"]
    text = f"{run.name}: {n} {split} clip{'' if n == 1 else 's'}, so scores say little"
    if name is not None and value is not None and n < FEW_CLIPS:
        text += f": {name} of M is {format_of_clips(name, value, None, n)} %"
    return [Finding(f"{text}.", SPOILS if n < FEW_CLIPS else CHECK, scores)]


def _no_better(run: Path, summary: Mapping[str, Any], split: str, errors: Block | None) -> list[Finding]:
    """Return which of M and the unimodal tasks is predicted no better than by a constant."""
    name, sign = ("F1 macro", -1) if summary["family"] == "nominal" else ("MAE", 1)
    found = []
    for condition in ("M", *UNIMODAL):
        constant = summary["constant"].get(condition, {}).get(split, {}).get(name)
        own = [
            (sign * value, task["stage"])
            for task in summary["tasks"].values()
            if task["task"] == condition and (value := task["splits"][split]["metrics"][name]["mean"]) is not None
        ]
        if constant is None or not own or min(own)[0] < sign * constant:
            continue
        what = "the model" if condition == "M" else f"{MODALITY_OF[condition]} alone"
        value = sign * min(own)[0]
        text = f"{run.name}: {what} predicts no better than the constant ({name} {value:.3f} against {constant:.3f})."
        found.append(Finding(text, SPOILS if condition == "M" else CHECK, errors))
    return found


def _still_learning(run: Path, summary: Mapping[str, Any], curves: Block | None) -> list[Finding]:
    """Return which stages' best epoch is the last that was run, in every seed."""
    from fmltk.model.run_folder import read_history, run_seeds

    histories = [read_history(run, seed) for seed in run_seeds(run)]
    late = []
    for stage in summary["stages"]:
        own = [history[history["stage"] == stage] for history in histories if len(history)]
        if own and all(len(one) and bool(one.sort_values("epoch")["best"].iloc[-1]) for one in own):
            late.append(stage_title(stage))
    if not late:
        return []
    text = f"{run.name}: the last epoch is the best in {'; '.join(late)}: more epochs may learn more."
    return [Finding(text, CHECK, curves)]


def robustness_findings(run: Path, document: Mapping[str, Any], chart: Block) -> list[Finding]:
    """Return what the model loses without each modality, and which it hardly needs."""
    errors = {
        row["name"]: [one for one in row["metrics"].get("MAE", []) if one is not None] for row in document["rows"]
    }
    means = {name: float(np.mean(values)) for name, values in errors.items() if values}
    whole = means.pop("as it is", None)
    found = []
    for name, error in means.items():
        if whole is None or not name.startswith("without"):
            continue
        if error < whole * (1 + SMALL_LOSS):
            text = f"{run.name}: {name} the error of M stays at {error:.3f} (as it is {whole:.3f}): it hardly counts."
            found.append(Finding(text, CHECK, chart))
        else:
            text = f"{run.name}: {name} the error of M is {error:.3f} instead of {whole:.3f}."
            found.append(Finding(text, KNOW, chart))
    return found


def class_findings(run: Path, table: Table) -> list[Finding]:
    """Return which classes that occur are never predicted; the table has class, n, predicted, and more."""
    never = [str(name) for name, n, predicted, *_ in table.rows if str(n) != "0" and str(predicted) == "0"]
    return [Finding(f"{run.name}: never predicted: {', '.join(never)}.", CHECK, table)] if never else []
