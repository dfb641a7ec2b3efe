"""The paper's tables 7 and 8 of a run: every task of every stage, and M."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.metrics import metric_names, score
from fmltk.model.nominal import CLASS_COLUMNS, class_numbers, class_table, count_pairs, decided
from fmltk.model.run_folder import read_predictions, run_config, run_document, run_model, run_seeds, run_summary
from fmltk.model.significance import correlation_interval, share_interval
from fmltk.model.tasks import stage_title, task_title
from fmltk.toolkit.classes import class_names, classes_of_values
from fmltk.toolkit.conditions import CONDITIONS, Scale
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

PERCENT = ("Acc", "F1")
FEW_CLIPS = 10  # of fewer a score is given with its interval over clips


def format_score(metric: str, value: float | None, deviation: float | None = None) -> str:
    """Return a score as the paper prints it: shares in percent, others with three decimals, NaN named.

    >>> format_score("Acc-2", 0.8359, 0.0021), format_score("MAE", 0.385), format_score("Corr", float("nan"))
    ('83.59 ± 0.21', '0.385', 'nan (constant)')
    """
    if value is None or value != value:  # noqa: PLR0124 - NaN is not itself
        return "nan (constant)" if metric == "Corr" else "nan"
    percent = metric.startswith(PERCENT)
    text = f"{100 * value:.2f}" if percent else f"{value:.3f}"
    if deviation is None or deviation != deviation:  # noqa: PLR0124
        return text
    return f"{text} ± {100 * deviation:.2f}" if percent else f"{text} ± {deviation:.3f}"


def spread_note(metrics: Collection[str]) -> str:
    """Return how a table of these metrics is to be read.

    >>> spread_note(["MAE", "Corr"])
    'Mean ± standard deviation over the seeds.'
    """
    percent = "; accuracies and F1 in percent" if any(name.startswith(PERCENT) for name in metrics) else ""
    return f"Mean ± standard deviation over the seeds{percent}."


def score_interval(metric: str, value: float | None, n: int) -> tuple[float, float] | None:
    """Return the 95 % interval over n clips of an accuracy or a correlation; None of what has no simple one.

    >>> [round(end, 2) for end in score_interval("Acc-2", 2 / 3, 3)]
    [0.21, 0.94]
    """
    if value is None or value != value or n < 1:  # noqa: PLR0124 - NaN is not itself
        return None
    if metric.startswith("Acc"):
        return share_interval(value, n)
    return correlation_interval(value, n) if metric == "Corr" else None


def format_of_clips(metric: str, value: float | None, deviation: float | None, n: int) -> str:
    """Return a score over n clips: of few clips no digits that they do not carry, but the 95 % interval over clips.

    >>> format_of_clips("Acc-2", 1.0, None, 1), format_of_clips("Corr", float("nan"), None, 1)
    ('100 (21 to 100)', '– (1 clip)')
    >>> format_of_clips("MAE", 0.385, 0.01, 3), format_of_clips("MAE", 0.385, 0.01, 300)
    ('0.4', '0.385 ± 0.010')
    """
    if n >= FEW_CLIPS:
        return format_score(metric, value, deviation)
    if value is None or value != value:  # noqa: PLR0124
        return f"– ({n} clip{'' if n == 1 else 's'})" if n < 2 else format_score(metric, value)
    times, digits = (100, 0) if metric.startswith(PERCENT) else (1, 1)
    ends = score_interval(metric, value, n)
    interval = "" if ends is None else f" ({times * ends[0]:.{digits}f} to {times * ends[1]:.{digits}f})"
    return f"{times * value:.{digits}f}{interval}"


def evaluation_split(summary: Mapping[str, Any], split: str) -> str:
    """Return the split to report: `split`, else validation where the data has no test split."""
    named = next(iter(summary["tasks"].values()))["splits"]
    if split in named and named[split]["n"]:
        return split
    if split == "test" and "valid" in named:
        return "valid"
    raise ConfigError(f"the run has no {split} split; it has {', '.join(named)}")


def evaluation_rows(
    run: Path, split: str, *, ensemble: bool = False
) -> tuple[list[str], list[list[str]], dict[str, Any]]:
    """Return (columns, rows, document) of tables 7 and 8: every task, M, and the constant predictor of each label.

    ensemble : also score the mean of the seeds' predictions of each condition
    """
    summary = run_summary(run)
    split = evaluation_split(summary, split)
    metrics = metric_names(summary["family"])
    rows = []
    for task in summary["tasks"].values():
        scores = task["splits"][split]
        n = scores["n"]
        cells = [format_of_clips(m, scores["metrics"][m]["mean"], scores["metrics"][m]["std"], n) for m in metrics]
        rows.append([stage_title(task["stage"]), task_title(task["task"]), task["labels"], str(scores["n"]), *cells])
    together = ensemble_scores(run, split) if ensemble else {}
    for condition, scores in together.items():
        cells = [format_of_clips(m, scores["metrics"][m], None, scores["n"]) for m in metrics]
        rows.append([f"ensemble of {len(summary['seeds'])}", task_title(condition), "", str(scores["n"]), *cells])
    for condition, splits in summary["constant"].items():
        if split in splits:
            n = splits[split].get("n", FEW_CLIPS)  # runs of fmltk 0.1 do not say it
            cells = [format_of_clips(m, splits[split][m], None, n) for m in metrics]
            rows.append(["constant", task_title(condition), "", str(splits[split].get("n", "")), *cells])
    document = {
        "run": str(run),
        "model": run_model(run),
        "reading": run_config(run).reading,
        "split": split,
        "seeds": summary["seeds"],
        "family": summary["family"],
        "tasks": {key: {"labels": task["labels"], **task["splits"][split]} for key, task in summary["tasks"].items()},
        "constant": {condition: splits.get(split) for condition, splits in summary["constant"].items()},
        "ensemble": together,
        "stages": summary["stages"],
        "collapsed": summary["collapsed"],
    }
    return ["stage", "task", "labels", "n", *metrics], rows, document


def ensemble_scores(run: Path, split: str) -> dict[str, dict[str, Any]]:
    """Return n and the metrics by condition of the mean of all seeds' predictions; of classes, of their probabilities.

    Raises ConfigError if the run has one seed.
    """
    seeds, family = run_seeds(run), run_summary(run)["family"]
    if len(seeds) < 2:
        raise ConfigError(f"{run} has one seed, and an ensemble is of several; train it with --seeds 5")
    frames = [read_predictions(run, seed) for seed in seeds]
    frames = [frame[frame["split"] == split] for frame in frames]
    names = Scale.parse(run_document(run)["scale"]).names
    scores = {}
    for condition in CONDITIONS:
        if f"pred_{condition}" not in frames[0]:
            continue
        if names:
            mean = decided(np.mean([np.stack(frame[f"prob_{condition}"].tolist()) for frame in frames], axis=0))
            truth = class_numbers(list(frames[0][f"truth_{condition}"]), names, source=str(run))
        else:
            columns = [frame[f"pred_{condition}"].to_numpy(dtype=np.float64, na_value=np.nan) for frame in frames]
            mean = np.mean(columns, axis=0)
            truth = frames[0][f"truth_{condition}"].to_numpy(dtype=np.float64, na_value=np.nan)
        known = np.isfinite(mean) & np.isfinite(truth)
        if known.any():
            scores[condition] = {"n": int(known.sum()), "metrics": score(mean[known], truth[known], family)}
    return scores


def pairs_of_m(run: Path, split: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return M's predictions and their truth, (n,), of all seeds together; clips that lack either are left out.

    For labels that are words they are the numbers of the classes.
    """
    names = Scale.parse(run_document(run)["scale"]).names
    frames = [read_predictions(run, seed) for seed in run_seeds(run)]
    columns = []
    for name in ("pred_M", "truth_M"):
        parts = [frame.loc[frame["split"] == split, name] for frame in frames]
        if names:
            columns.append(class_numbers([word for part in parts for word in part], names, source=str(run)))
        else:
            columns.append(np.concatenate([part.to_numpy(dtype=np.float64, na_value=np.nan) for part in parts]))
    predicted, truth = columns
    known = np.isfinite(predicted) & np.isfinite(truth)
    return predicted[known], truth[known]


def confusion_of_m(run: Path, split: str) -> tuple[tuple[str, ...], list[list[int]]]:
    """Return the classes of the labels' scale and the counts of (true, predicted) clips; neither where it has none.

    All seeds' predictions are counted together.
    """
    scale = Scale.parse(run_document(run)["scale"])
    names = class_names(scale)
    if not names:
        return (), []
    predicted, true = pairs_of_m(run, split)
    if not scale.names:
        predicted, true = (
            class_numbers(classes_of_values(values, scale).tolist(), names, source=str(run))
            for values in (predicted, true)
        )
    return names, count_pairs(predicted, true, len(names)).tolist()


def class_rows(names: Sequence[str], confusion: Sequence[Sequence[int]]) -> tuple[list[list[str]], list[list[str]]]:
    """Return the rows of two tables of `confusion_of_m`: how each class fares, and the confusion."""
    rows = [
        [row["class"], str(row["n"]), str(row["predicted"]), *(format_score("F1", row[m]) for m in CLASS_COLUMNS[3:])]
        for row in class_table(confusion, names)
    ]
    return rows, [[name, *map(str, counts)] for name, counts in zip(names, confusion, strict=True)]


def describe_sources(labels: Mapping[str, str]) -> str:
    """Return in words which labels a run learned.

    >>> describe_sources({"T": "labels", "AT": "multimodal", "VT": "multimodal", "M": "labels"})
    'AT, VT: multimodal; else own'
    """
    sources = [source for source in dict.fromkeys(labels.values()) if source != "labels"]
    parts = [f"{', '.join(task for task in labels if labels[task] == source)}: {source}" for source in sources]
    return "; ".join([*parts, "else own"]) if parts else "own" if labels else ""
