"""The part of a report on runs: learning curves, scores, predictions against truth, confusions, seeds, comparisons."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.evaluation import format_of_clips
from fmltk.model.run_cases import attributed_cases, class_words_of, numbers_of, run_cases
from fmltk.model.run_findings import class_findings, robustness_findings, run_findings
from fmltk.model.significance import p_text
from fmltk.toolkit.classes import class_names, classes_of_values
from fmltk.toolkit.conditions import CONDITIONS, Scale
from fmltk.toolkit.report import charts, planes
from fmltk.toolkit.report.document import (
    CHECK,
    KNOW,
    Contribution,
    Finding,
    Heading,
    Remark,
    Section,
    Source,
    Table,
    Tile,
    contribute,
)
from fmltk.toolkit.report.svg import SERIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from fmltk.toolkit.report.document import Block, Case, Chart, ReportRequest

RUN_ORDER, COMPARE_ORDER = 40, 50
SIGNIFICANT = 0.05


def run_sections(request: ReportRequest) -> Contribution:
    """Return a section on every run among the paths, one that compares them, and the first run's clips as cases."""
    from fmltk.model.run_folder import training_file

    found = contribute(request, lambda path: training_file(path) is not None, _contribution)
    if found.used:
        found.cases = _cases(found.used[0])
    if len(found.used) > 1:
        found.add(_comparison(found.used))
    return found


def _cases(run: Path) -> list[Case]:
    from fmltk.model.run_folder import best_seed, read_predictions, run_summary

    seed = best_seed(run)
    cases = run_cases(read_predictions(run, seed), run_summary(run)["family"], _scale(run))
    return cases + attributed_cases(run, seed)


def _scale(run: Path) -> Scale:
    from fmltk.model.run_folder import run_document

    return Scale.parse(run_document(run)["scale"])


def _contribution(run: Path) -> Contribution:
    from fmltk.model.evaluation import evaluation_split
    from fmltk.model.run_folder import best_seed, read_predictions, run_config, run_summary

    summary, seed = run_summary(run), best_seed(run)
    split = evaluation_split(summary, "test")
    frame = read_predictions(run, seed)
    part = frame[frame["split"] == split]
    family, scale = summary["family"], _scale(run)
    scores, classes = _scores(run, split), _classes(run, split)
    curves, errors, robustness = _curves(run, summary), _errors(summary, split), _robustness(run)
    blocks: list[Block] = [*_tiles(run, summary, split), *scores, *classes]
    blocks += [Heading("Learning"), *curves] if curves else []
    blocks += [Heading("Truth and prediction"), errors, *_predictions(part, family, scale, split, seed)]
    blocks += _calibration_and_map(run, seed, part, split, summary)
    blocks += _seeds(summary, split)
    blocks += [Heading("Missing and noisy features"), robustness[0]] if robustness else []
    settings = [(name, str(value)) for name, value in sorted(run_config(run).as_dict().items())]
    blocks.append(Table("Settings", ("setting", "value"), settings, folded=True))
    wrong = sum("M" in (case.wrong or ()) for case in run_cases(part, family, scale))
    evidence: dict[str, Block] = {"scores": scores[0], "errors": errors}
    if curves:
        evidence["curves"] = curves[0]
    findings = run_findings(run, summary, split, wrong=wrong, evidence=evidence)
    findings += [one for table in classes for one in class_findings(run, table)]
    findings += robustness_findings(run, robustness[1], robustness[0]) if robustness else []
    section = Section(f"Run: {run.name}", RUN_ORDER, blocks)
    return Contribution(sources=[_source(run, summary)], findings=findings, sections=[section])


def _source(run: Path, summary: Mapping[str, Any]) -> Source:
    from fmltk.model.run_folder import run_config, run_document, run_model, training_file

    document = run_document(run)
    splits = document.get("splits") or {}
    file = training_file(run)
    assert file is not None  # noqa: S101 - only runs come here
    facts = {
        "model": run_model(run),
        "reads": run_config(run).reading,
        "labels": f"on {document['scale']}",
        "clips": ", ".join(f"{count} {name}" for name, count in splits.items()),
        "seeds": ", ".join(map(str, summary["seeds"])),
        "features": document.get("features"),
        "fmltk": document.get("fmltk"),
        "torch": document.get("torch"),
    }
    return Source(run, "run", file, {name: str(value) for name, value in facts.items() if value})


def _tiles(run: Path, summary: Mapping[str, Any], split: str) -> list[Block]:
    from fmltk.model.evaluation import format_score, score_interval
    from fmltk.model.metrics import metric_names
    from fmltk.model.run_folder import run_config, run_model

    last = list(summary["tasks"].values())[-1]["splits"][split]
    tiles: list[Block] = [
        Tile("model", run_model(run)),
        Tile("reads", run_config(run).reading),
        Tile("seeds", str(len(summary["seeds"]))),
        Tile(f"{split} clips", f"{last['n']:,}"),
    ]
    for name in (metric_names(summary["family"])[0], "F1 macro", "MAE", "Corr"):
        if name not in last["metrics"]:
            continue
        value, n = last["metrics"][name]["mean"], last["n"]
        text = format_of_clips(name, value, None, n).split(" (")[0]
        ends = score_interval(name, value, n)
        note = "" if ends is None else f"{format_score(name, ends[0])} to {format_score(name, ends[1])} (95 %)"
        tiles.append(Tile(f"{name} of M", text, note=note))
    return tiles


def _scores(run: Path, split: str) -> list[Table]:
    from fmltk.model.evaluation import FEW_CLIPS, evaluation_rows, spread_note

    columns, rows, document = evaluation_rows(run, split)
    few = [task["n"] for task in document["tasks"].values() if task["n"] < FEW_CLIPS]
    intervals = f" Over fewer than {FEW_CLIPS} clips, 95 % intervals over clips instead." if few else ""
    return [
        Table(
            f"Scores on the {split} split (the paper's tables 7 and 8)",
            columns,
            rows,
            note=f"{spread_note(columns)}{intervals} Constant: always the median of the training labels; a model "
            "below it has learned nothing.",
        )
    ]


def _classes(run: Path, split: str) -> list[Table]:
    from fmltk.model.evaluation import class_rows, confusion_of_m
    from fmltk.model.nominal import CLASS_COLUMNS

    rows, _ = class_rows(*confusion_of_m(run, split))
    cells = [["–" if cell == "nan" else cell for cell in row] for row in rows]
    return [Table("Classes of M, the predictions of all seeds together", CLASS_COLUMNS, cells)] if rows else []


def _calibration_and_map(
    run: Path, seed: int, part: pd.DataFrame, split: str, summary: Mapping[str, Any]
) -> list[Block]:
    from fmltk.model.calibration import calibration_blocks
    from fmltk.model.hidden_map import hidden_blocks

    family, scale = summary["family"], _scale(run)
    blocks = [] if family == "nominal" else calibration_blocks(run, split, scale)
    hidden = hidden_blocks(run, seed, part, family, scale)
    return [*blocks, Heading("Inputs of the fusion"), *hidden] if hidden else blocks


def _curves(run: Path, summary: Mapping[str, Any]) -> list[Block]:
    """Return one chart per stage: training and validation loss of each seed, and the epoch kept."""
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
            series += [
                charts.Line(f"training{seed}", epochs, own["train_loss"].to_numpy(), dashed=True, colour=number),
                charts.Line(f"validation{seed}", epochs, own["valid_loss"].to_numpy(), colour=number, point=kept),
            ]
        if series:
            blocks.append(
                charts.lines(
                    f"Learning: stage {stage_title(stage)}",
                    series,
                    x_label="epoch",
                    y_label="loss",
                    reading="Solid: validation; dashed: training; the point is the epoch kept. Dashed lines that "
                    "fall while solid ones rise learn the training clips by heart.",
                )
            )
    return blocks


def _errors(summary: Mapping[str, Any], split: str) -> Chart:
    """Return the mean absolute error of every task, with its range over the seeds, next to the constant predictor's.

    For classes it is the macro F1, in which every class counts alike.
    """
    nominal = summary["family"] == "nominal"
    name = "F1 macro" if nominal else "MAE"
    rows = []
    for key, task in summary["tasks"].items():
        values = [value for value in task["splits"][split]["metrics"][name]["values"] if value is not None]
        if values:
            rows.append(charts.Row(key.replace("_", ": "), float(np.mean(values)), min(values), max(values)))
    constants = {
        condition: float(splits[split][name]) for condition, splits in summary["constant"].items() if split in splits
    }
    shared = constants.get("M") if len(set(constants.values())) == 1 else None
    if shared is None:
        rows += [charts.Row(f"constant: {condition}", one, one, one) for condition, one in constants.items()]
    title, unit = ("Macro F1 per task", "macro F1") if nominal else ("Error per task", "mean absolute error")
    better = "right" if nominal else "left"
    return charts.intervals(
        title,
        rows,
        unit=unit,
        reference=None if shared is None else (shared, "the constant"),
        reading=f"Mean and range over the seeds, further {better} is better. The constant always says the training "
        "labels' median or commonest class: what is not better has learned nothing.",
    )


def _predictions(frame: pd.DataFrame, family: Any, scale: Scale, split: str, seed: int) -> list[Block]:
    """Return truth against prediction and the confusion matrix of each condition that has both."""
    from fmltk.model.metrics import sign_correct

    blocks: list[Block] = []
    matrices: list[Block] = []
    for condition in CONDITIONS:
        if f"truth_{condition}" not in frame or f"pred_{condition}" not in frame:
            continue
        if family == "nominal":
            pairs = [
                (a, b)
                for a, b in zip(*class_words_of(frame, condition), strict=True)
                if a is not None and b is not None
            ]
            matrices += [_confusion(condition, pairs, scale.names)] if pairs else []
            continue
        truth, predicted = numbers_of(frame, f"truth_{condition}"), numbers_of(frame, f"pred_{condition}")
        known = np.isfinite(truth) & np.isfinite(predicted)
        if not known.any():
            continue
        truth, predicted = truth[known], predicted[known]
        wrong = ~sign_correct(predicted, truth, family)
        limits = (float(scale.low), float(scale.high))
        blocks.append(
            planes.scatter(
                f"{condition}: truth against prediction, {split}, seed {seed}",
                truth,
                np.clip(predicted, *limits),
                names=frame["utterance_id"][known].tolist(),
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


def _confusion(condition: str, pairs: Sequence[tuple[str, str]], names: Sequence[str]) -> Chart:
    """Return the confusion matrix of (true class, predicted class) of some clips."""
    n_of = Counter(pairs)
    counts = np.array([[n_of[true, other] for other in names] for true in names])
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    return planes.matrix(
        f"{condition}: true class against predicted class",
        names,
        names,
        shares,
        texts=[[str(count) if count else "" for count in row] for row in counts.tolist()],
        row_label="true",
        column_label="predicted",
        reading="Numbers of clips; right ones lie on the diagonal from the upper left. The darker, the larger the "
        "share of its row.",
    )


def _robustness(run: Path) -> tuple[Chart, dict[str, Any]] | None:
    """Return what the last `fmltk evaluate --drop` or `--noise` found, if there was one."""
    from fmltk.model.robustness import read_robustness

    document = read_robustness(run)
    if document is None:
        return None
    rows = []
    for row in document["rows"]:
        values = [value for value in row["metrics"].get("MAE", []) if value is not None]
        if values:
            rows.append(charts.Row(row["name"], float(np.mean(values)), min(values), max(values)))
    if not rows:
        return None
    chart = charts.intervals(
        f"M where features are missing or noisy, {document['n']} {document['split']} clips",
        rows,
        unit="mean absolute error",
        reading="Mean and range over the seeds, further left is better. A row near the first one hardly counts for M.",
    )
    return chart, document


def _seeds(summary: Mapping[str, Any], split: str) -> list[Block]:
    """Return the scores of M of each seed, where there are several."""
    from fmltk.model.metrics import metric_names

    if len(summary["seeds"]) < 2:
        return []
    metrics = metric_names(summary["family"])
    last = list(summary["tasks"].values())[-1]["splits"][split]
    rows = [
        (str(seed), *(format_of_clips(name, last["metrics"][name]["values"][k], None, last["n"]) for name in metrics))
        for k, seed in enumerate(summary["seeds"])
    ]
    return [Table("M by seed", ("seed", *metrics), rows)]


def _comparison(runs: Sequence[Path]) -> Contribution:
    from fmltk.model.compare import compare, comparison_rows, other_labels_notes
    from fmltk.toolkit.errors import ConfigError

    try:
        result = compare(runs, "test")
    except ConfigError as error:
        remark = Remark(f"These runs cannot be compared: {error}", "bad")
        return Contribution(
            findings=[Finding(remark.text, CHECK, remark)],
            sections=[Section("Runs compared", COMPARE_ORDER, [remark])],
        )
    columns, rows, test_columns, tests = comparison_rows(result)
    left_out = f" {result['n_left_out']} others are not predicted by every run." if result["n_left_out"] else ""
    table = Table(
        f"Scores of M on the {result['split']} split (the paper's tables 5 and 6)",
        columns,
        rows,
        note=" ".join([f"The same {result['n_clips']} clips for all.{left_out}", *other_labels_notes(result)]),
    )
    blocks: list[Block] = [
        table,
        Heading("Side by side"),
        *_side_by_side(result),
        *_curves_side_by_side(runs),
        Table(
            "Paired t-tests of the first run against each other (table 9)",
            test_columns,
            tests,
            note="Difference: the first minus the other.",
        ),
    ]
    return Contribution(
        findings=_comparison_findings(result, blocks[-1]), sections=[Section("Runs compared", COMPARE_ORDER, blocks)]
    )


def _side_by_side(result: Mapping[str, Any]) -> list[Block]:
    """Return every seed's error and accuracy of each run, on common axes."""
    blocks: list[Block] = []
    for metric in dict.fromkeys(("MAE", next(iter(result["systems"][0]["metrics"])), "Corr")):
        rows = [
            (system["name"], scores["values"], *_span(scores))
            for system in result["systems"]
            if (scores := system["metrics"].get(metric)) is not None
        ]
        if rows and np.isfinite([value for _, values, *_ in rows for value in values]).any():
            what = "the 95 % interval of the mean over the seeds"
            blocks.append(
                charts.dots(f"{metric} of M, run by run", rows, unit=f"{metric} of M", interval=what, dot="a seed")
            )
    return blocks


def _span(scores: Mapping[str, Any]) -> tuple[float, float]:
    """Return the interval over the seeds; of one seed its value."""
    if np.isfinite([scores["low"], scores["high"]]).all():
        return scores["low"], scores["high"]
    return scores["mean"], scores["mean"]


def _curves_side_by_side(runs: Sequence[Path]) -> list[Block]:
    """Return the validation loss of each run's last stage, of its best seed, in one chart."""
    from fmltk.model.run_folder import best_seed, read_history

    series = []
    for number, run in enumerate(runs[: len(SERIES)]):
        history = read_history(run, best_seed(run))
        own = history[history["stage"] == history["stage"].iloc[-1]] if len(history) else history
        if len(own):
            epochs = own["epoch"].to_numpy()
            series.append(charts.Line(run.name, epochs, own["valid_loss"].to_numpy(), colour=number))
    if len(series) < 2:
        return []
    return [
        charts.lines(
            "Validation loss of the last stage, best seeds",
            series,
            x_label="epoch",
            y_label="loss",
            reading="How fast and how far each run learns; losses compare where the runs minimise the same loss.",
        )
    ]


def _comparison_findings(result: Mapping[str, Any], table: Block) -> list[Finding]:
    """Return what the tests over clips say of the first run against each other."""
    metric = "Acc" if result["family"] == "nominal" else "MAE"
    found = []
    for test in result["tests"]:
        outcome = test["over_clips"][metric]
        if outcome["n"] < 2 or not np.isfinite(outcome["p"]):
            continue
        sign = 1 if metric == "Acc" else -1
        first, second = (test["a"], test["b"]) if sign * outcome["difference"] >= 0 else (test["b"], test["a"])
        p = p_text(outcome["p"])
        p = f"p {p}" if p.startswith("<") else f"p = {p}"
        if outcome["p"] < SIGNIFICANT:
            text = f"{first} is better than {second} in {metric} by {abs(outcome['difference']):.3f} ({p})."
        else:
            text = f"The {outcome['n']} clips do not tell {test['a']} and {test['b']} apart in {metric} ({p})."
        found.append(Finding(text, KNOW, table))
    return found
