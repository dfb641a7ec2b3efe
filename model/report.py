"""What a report shows of runs: learning curves, scores, predictions against truth, confusions, seeds, comparisons."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.classes import class_names, classes_of_values
from fmltk.toolkit.conditions import CONDITIONS, Scale
from fmltk.toolkit.report import charts
from fmltk.toolkit.report.document import Case, Contribution, Remark, Section, Table, Tile
from fmltk.toolkit.report.svg import SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from fmltk.toolkit.report.document import Block, Chart, ReportRequest

RUN_ORDER, COMPARE_ORDER = 40, 50


def run_sections(request: ReportRequest) -> Contribution:
    """Return a section on every run among the paths, one that compares them, and the first run's clips as cases."""
    from fmltk.model.run_folder import best_seed, read_predictions, run_summary, training_file

    contribution = Contribution()
    for path in request.paths:
        if training_file(path) is None:
            continue
        summary = run_summary(path)
        seed = best_seed(path)
        frame = read_predictions(path, seed)
        if not contribution.used:
            contribution.cases += _cases(frame, summary["family"], _scale(path)) + _attributed(path, seed)
        contribution.used.append(path)
        contribution.sections.append(_run_section(path, summary, seed, frame))
    if len(contribution.used) > 1:
        contribution.sections.append(_comparison(contribution.used))
    return contribution


def _scale(run: Path) -> Scale:
    from fmltk.model.run_folder import run_document

    return Scale.parse(run_document(run)["scale"])


def _run_section(run: Path, summary: Mapping[str, Any], seed: int, frame: pd.DataFrame) -> Section:
    from fmltk.model.calibration import calibration_blocks
    from fmltk.model.evaluation import class_rows, confusion_of_m, evaluation_rows, evaluation_split, format_score
    from fmltk.model.hidden_map import hidden_blocks
    from fmltk.model.metrics import metric_names
    from fmltk.model.nominal import CLASS_COLUMNS
    from fmltk.model.run_folder import run_config

    split = evaluation_split(summary, "test")
    columns, rows, document = evaluation_rows(run, split)
    last = list(summary["tasks"].values())[-1]["splits"][split]
    metrics = metric_names(summary["family"])
    blocks: list[Block] = [
        Tile("model", document["model"]),
        Tile("reads", document["reading"]),
        Tile("seeds", str(len(summary["seeds"]))),
        Tile(f"{split} clips", f"{last['n']:,}"),
        *(
            Tile(f"{name} of M", format_score(name, last["metrics"][name]["mean"]))
            for name in (metrics[0], "F1 macro", "MAE", "Corr")
            if name in last["metrics"]
        ),
    ]
    collapsed = summary["collapsed"]
    if collapsed:
        blocks.append(Remark(f"Constant predictions, so nothing learned: {', '.join(collapsed)}", "bad"))
    blocks.append(
        Table(
            f"Scores on the {split} split (the paper's tables 7 and 8)",
            columns,
            rows,
            note="Mean ± standard deviation over the seeds; accuracies and F1 in percent. Constant: always the median "
            "of the training labels; a model below it has learned nothing.",
        )
    )
    classes, _ = class_rows(*confusion_of_m(run, split))
    if classes:
        blocks.append(Table("Classes of M, the predictions of all seeds together", CLASS_COLUMNS, classes))
    blocks += _curves(run, summary)
    blocks.append(_errors(summary, split))
    part = frame[frame["split"] == split]
    blocks += _predictions(part, summary["family"], _scale(run), split, seed)
    if summary["family"] != "nominal":
        blocks += calibration_blocks(run, split, _scale(run))
    blocks += hidden_blocks(run, seed, part, summary["family"], _scale(run))
    if len(summary["seeds"]) > 1:
        blocks.append(_seeds(summary, last, metrics))
    blocks += _robustness(run)
    settings = [(name, str(value)) for name, value in sorted(run_config(run).as_dict().items())]
    blocks.append(Table("Settings", ("setting", "value"), settings, folded=True))
    return Section(f"Run: {run.name}", RUN_ORDER, blocks)


def _curves(run: Path, summary: Mapping[str, Any]) -> list[Block]:
    """Return one chart per stage: training and validation loss of the first seed, the epoch kept, others faintly."""
    from fmltk.model.run_folder import read_history, run_seeds
    from fmltk.model.tasks import stage_title

    histories = [read_history(run, seed) for seed in run_seeds(run)[: len(SERIES)]]
    blocks: list[Block] = []
    for stage in summary["stages"]:
        series = []
        for number, history in enumerate(histories):
            own = history[history["stage"] == stage] if len(history) else history
            if not len(own):
                continue
            epochs = own["epoch"].to_numpy()
            seed = f", seed {summary['seeds'][number]}" if len(histories) > 1 else ""
            best = own[own["best"]]
            kept = None if not len(best) else (float(best["epoch"].iloc[0]), float(best["valid_loss"].iloc[0]))
            if len(histories) == 1:
                series.append(charts.Line("training", epochs, own["train_loss"].to_numpy(), dashed=True, colour=number))
            series.append(
                charts.Line(f"validation{seed}", epochs, own["valid_loss"].to_numpy(), colour=number, point=kept)
            )
        if series:
            title = f"Learning: stage {stage_title(stage)}; the point is the epoch kept"
            blocks.append(charts.lines(title, series, x_label="epoch", y_label="loss"))
    return blocks


def _errors(summary: Mapping[str, Any], split: str) -> Chart:
    """Return the mean absolute error of every task, with its range over the seeds, next to the constant predictor's.

    Of classes it is the macro F1, in which every class counts alike.
    """
    nominal = summary["family"] == "nominal"
    name = "F1 macro" if nominal else "MAE"
    rows = []
    for key, task in summary["tasks"].items():
        values = [value for value in task["splits"][split]["metrics"][name]["values"] if value is not None]
        if values:
            rows.append((key.replace("_", ": "), float(np.mean(values)), min(values), max(values)))
    for condition, splits in summary["constant"].items():
        if split in splits:
            value = float(splits[split][name])
            rows.append((f"constant: {condition}", value, value, value))
    title, unit = ("Macro F1 per task", "macro F1") if nominal else ("Error per task", "mean absolute error")
    return charts.intervals(title, rows, unit=unit, limits=None, describe="mean and range over the seeds")


def _predictions(frame: pd.DataFrame, family: Any, scale: Scale, split: str, seed: int) -> list[Block]:
    """Return truth against prediction and the confusion matrix of each condition that has both."""
    from fmltk.model.metrics import sign_correct

    blocks: list[Block] = []
    matrices: list[Block] = []
    for condition in CONDITIONS:
        if f"truth_{condition}" not in frame or f"pred_{condition}" not in frame:
            continue
        if family == "nominal":
            pairs = [(a, b) for a, b in zip(*_words(frame, condition), strict=True) if a is not None and b is not None]
            matrices += [_confusion(condition, pairs, scale.names)] if pairs else []
            continue
        truth, predicted = _numbers(frame, f"truth_{condition}"), _numbers(frame, f"pred_{condition}")
        known = np.isfinite(truth) & np.isfinite(predicted)
        if not known.any():
            continue
        truth, predicted = truth[known], predicted[known]
        wrong = ~sign_correct(predicted, truth, family)
        limits = (float(scale.low), float(scale.high))
        blocks.append(
            charts.scatter(
                f"{condition}: truth against prediction, {split}, seed {seed}",
                truth,
                np.clip(predicted, *limits),
                wrong=wrong,
                limits=limits,
                x_label="truth",
                y_label="prediction",
            )
        )
        if class_names(scale):
            classes = (classes_of_values(values, scale).tolist() for values in (truth, predicted))
            matrices.append(_confusion(condition, list(zip(*classes, strict=True)), class_names(scale)))
    return blocks + matrices


def _numbers(frame: pd.DataFrame, column: str) -> NDArray[np.float64]:
    values: NDArray[np.float64] = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)
    return values


def _words(frame: pd.DataFrame, condition: str) -> tuple[list[str | None], list[str | None]]:
    """Return the true and the predicted classes of a condition."""
    return _texts(frame, f"truth_{condition}"), _texts(frame, f"pred_{condition}")


def _confusion(condition: str, pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> Chart:
    """Return the confusion matrix of (true class, predicted class) of some clips."""
    n_of = Counter(pairs)
    counts = np.array([[n_of[true, other] for other in names] for true in names])
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return charts.matrix(
        f"{condition}: true class against predicted class",
        names,
        names,
        shares,
        texts=[[str(count) if count else "" for count in row] for row in counts.tolist()],
        row_label="true",
        column_label="predicted",
    )


def _robustness(run: Path) -> list[Block]:
    """Return what the last `fmltk evaluate --drop` or `--noise` found, if there was one."""
    from fmltk.model.robustness import read_robustness

    document = read_robustness(run)
    if document is None:
        return []
    rows = []
    for row in document["rows"]:
        values = [value for value in row["metrics"].get("MAE", []) if value is not None]
        if values:
            rows.append((row["name"], float(np.mean(values)), min(values), max(values)))
    if not rows:
        return []
    title = f"M where features are missing or noisy, {document['n']} {document['split']} clips"
    return [charts.intervals(title, rows, unit="mean absolute error", describe="mean and range over the seeds")]


def _seeds(summary: Mapping[str, Any], last: Mapping[str, Any], metrics: Sequence[str]) -> Table:
    from fmltk.model.evaluation import format_score

    rows = [
        (str(seed), *(format_score(name, last["metrics"][name]["values"][k]) for name in metrics))
        for k, seed in enumerate(summary["seeds"])
    ]
    return Table("M by seed", ("seed", *metrics), rows)


def _comparison(runs: Sequence[Path]) -> Section:
    from fmltk.model.compare import compare, comparison_rows
    from fmltk.toolkit.errors import ConfigError

    try:
        result = compare(runs, "test")
    except ConfigError as error:
        return Section("Runs compared", COMPARE_ORDER, [Remark(f"These runs cannot be compared: {error}", "bad")])
    columns, rows, test_columns, tests = comparison_rows(result)
    left_out = f" {result['n_left_out']} others are not predicted by every run." if result["n_left_out"] else ""
    blocks: list[Block] = [
        Table(
            f"Scores of M on the {result['split']} split (the paper's tables 5 and 6)",
            columns,
            rows,
            note=f"The same {result['n_clips']} clips for all.{left_out}",
        ),
        Table(
            "Paired t-tests of the first run against each other (table 9)",
            test_columns,
            tests,
            note="Difference: the first minus the other.",
        ),
    ]
    return Section("Runs compared", COMPARE_ORDER, blocks)


def _cases(frame: pd.DataFrame, family: Any, scale: Scale) -> list[Case]:
    from fmltk.model.metrics import sign_correct

    if family == "nominal":
        return _class_cases(frame)
    truths = {c: _numbers(frame, f"truth_{c}") for c in CONDITIONS if f"truth_{c}" in frame}
    predictions = {c: _numbers(frame, f"pred_{c}") for c in CONDITIONS if f"pred_{c}" in frame}
    classes = {c: classes_of_values(values, scale) for c, values in truths.items()}
    wrong = {
        c: ~sign_correct(predictions[c], truths[c], family) & np.isfinite(predictions[c]) & np.isfinite(truths[c])
        for c in predictions
        if c in truths
    }
    return [
        Case(
            str(utterance),
            text=text,
            split=split or None,
            reason=reason,
            truths=_finite(truths, row),
            predictions=_finite(predictions, row),
            classes={c: name for c, names in classes.items() if (name := names[row]) is not None},
            wrong=[c for c, flags in wrong.items() if flags[row]],
        )
        for row, (utterance, text, split, reason) in enumerate(
            zip(*(_texts(frame, name) for name in ("utterance_id", "text", "split", "reason")), strict=True)
        )
    ]


def _attributed(run: Path, seed: int) -> list[Case]:
    """Return what the last `fmltk cases --attribution` found of this seed, if there was one."""
    from fmltk.model.attribution import read_attribution

    document = read_attribution(run)
    if document is None or document["seed"] != seed:
        return []
    known = {clip: {k: v for k, v in own.items() if v is not None} for clip, own in document["clips"].items()}
    return [Case(clip, shares=own) for clip, own in known.items() if own]


def _class_cases(frame: pd.DataFrame) -> list[Case]:
    """Return the clips of a run of classes: the true ones, and the conditions that are predicted wrong."""
    both = {c: list(zip(*_words(frame, c), strict=True)) for c in CONDITIONS if f"pred_{c}" in frame}
    return [
        Case(
            str(utterance),
            text=text,
            split=split or None,
            reason=reason,
            classes={c: true for c, pairs in both.items() if (true := pairs[row][0]) is not None},
            wrong=[c for c, pairs in both.items() if None not in pairs[row] and pairs[row][0] != pairs[row][1]],
        )
        for row, (utterance, text, split, reason) in enumerate(
            zip(*(_texts(frame, name) for name in ("utterance_id", "text", "split", "reason")), strict=True)
        )
    ]


def _texts(frame: pd.DataFrame, column: str) -> list[str | None]:
    return [value if isinstance(value, str) else None for value in frame[column]]


def _finite(values: Mapping[str, NDArray[np.float64]], row: int) -> dict[str, float]:
    return {name: float(own[row]) for name, own in values.items() if math.isfinite(own[row])}
