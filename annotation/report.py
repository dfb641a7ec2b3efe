"""What a report shows of ratings and labels: agreement, raters, classes, and where the modalities conflict."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.annotation import agreement_tables as tables
from fmltk.toolkit.classes import BINS, SEVEN
from fmltk.toolkit.conditions import CONDITIONS, UNIMODAL
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.report import charts
from fmltk.toolkit.report.document import Case, Contribution, Remark, Section, Table, Tile

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import pyarrow as pa

    from fmltk.toolkit.features.label_table import LabelTable
    from fmltk.toolkit.report.document import Block, ReportRequest

RATINGS_RANK, LABELS_RANK = 20, 30
N_DISPUTED = 5  # per condition
N_EXAMPLES = 10
MANY_RATERS = 40  # more have no chart, and a table that the reader opens
CLASS_NOTES = {
    BINS: "From negative (NG) over weakly negative, neutral and weakly positive to positive (PS).",
    SEVEN: "From strongly negative (SN) over neutral to strongly positive (SP).",
}
POOR_ALPHA = 0.667  # Krippendorff: below it no conclusions should be drawn


def rating_sections(request: ReportRequest) -> Contribution:
    """Return a section on every table of ratings among the paths."""
    from fmltk.annotation.ratings import read_ratings

    contribution = Contribution()
    for path in request.paths:
        if _has_ratings(path):
            contribution.used.append(path)
            contribution.sections.append(_ratings_section(path, read_ratings(path)))
    return contribution


def label_sections(request: ReportRequest) -> Contribution:
    """Return a section on every table of labels among the paths, and its clips as cases."""
    from fmltk.toolkit.features.label_file import has_labels, read_labels

    contribution = Contribution()
    for path in request.paths:
        if has_labels(path):
            labels = read_labels(path)
            contribution.used.append(path)
            contribution.sections.append(_labels_section(path, labels))
            contribution.cases += _cases(labels)
    return contribution


def _has_ratings(path: Path) -> bool:
    from fmltk.toolkit.io.parquet import column_names

    try:
        return path.is_file() and {"annotator", "condition", "value"} <= set(column_names(path, what="table"))
    except StoreError:
        return False


def _ratings_section(path: Path, ratings: pa.Table) -> Section:
    from fmltk.annotation.patterns import PATTERNS
    from fmltk.annotation.protocols import OUT_OF_PROTOCOL
    from fmltk.annotation.quality import marked_raters, overview
    from fmltk.annotation.ratings import FLAGS, flag_counts

    found = overview(ratings, n_items=N_DISPUTED)
    measures, raters = found.agreement, found.raters
    names = {entry["rater"] for entries in raters.values() for entry in entries}
    blocks: list[Block] = [
        Tile("ratings", f"{sum(entry['ratings'] for entry in measures.values()):,}"),
        Tile("raters", f"{len(names)}"),
        Tile("conditions", f"{len(measures)}"),
    ]
    blocks += _alpha_blocks(measures)
    blocks += _rater_charts(raters, {entry["scale"] for entry in measures.values()})
    blocks.append(
        Table(
            "Agreement",
            tables.AGREEMENT_COLUMNS,
            tables.agreement_rows(measures),
            note="Krippendorff's alpha with 95 % bootstrap intervals over clips; Fleiss' kappa of the clips with the "
            "same number of ratings; weighted kappa is the mean over pairs of raters (without weights on a nominal "
            "scale); agreement is the share of pairs of ratings that are equal.",
        )
    )
    blocks.append(_rater_table(raters))
    flags = flag_counts(ratings)
    blocks += [
        Remark(f"{flag} ({flags[flag]} ratings): {FLAGS[flag]}: {_by_rater(ratings, flag)}.", "bad")
        for flag in OUT_OF_PROTOCOL
        if flag in flags
    ]
    for pattern, meaning in PATTERNS.items():
        suspicious = marked_raters(pattern, raters)
        if suspicious:
            blocks.append(Remark(f"{pattern}, {meaning}: {', '.join(suspicious)}", "bad"))
    rows = tables.disputed_rows(found.disputed)
    blocks.append(Table("Most disputed clips", tables.DISPUTED_COLUMNS, rows, folded=True))
    return Section(f"Ratings: {path.name}", RATINGS_RANK, blocks)


def _by_rater(ratings: pa.Table, flag: str) -> str:
    from fmltk.annotation.ratings import flagged_raters

    return ", ".join(f"{name} ({count})" for name, count in flagged_raters(ratings, flag).items())


def _alpha_blocks(measures: dict[str, dict[str, Any]]) -> list[Block]:
    """Return the chart of alpha per condition, and a remark on those that are too low."""
    alphas = [
        (name, *(entry[f"alpha_{entry['level']}"][key] for key in ("alpha", "low", "high")))
        for name, entry in measures.items()
    ]
    known = [row for row in alphas if np.isfinite(row[1:]).all()]
    if not known:
        return []
    low = min(0.0, *(row[2] for row in known))
    unit = f"Krippendorff's alpha, {' and '.join(sorted({entry['level'] for entry in measures.values()}))}"
    blocks: list[Block] = [charts.intervals("Agreement per condition", known, unit=unit, limits=(low, 1))]
    poor = ", ".join(f"{name} ({alpha:.2f})" for name, alpha, *_ in known if alpha < POOR_ALPHA)
    if poor:
        text = f"Below {POOR_ALPHA}, the least that Krippendorff advises to draw conclusions from: {poor}."
        blocks.append(Remark(text))
    return blocks


def _rater_charts(raters: dict[str, list[dict[str, Any]]], scales: Collection[str]) -> list[Block]:
    """Return each rater's bias, averaged over the conditions, with its range over them; nothing on several scales."""
    if len(scales) > 1:
        return []
    biases: dict[str, list[float]] = {}
    for entries in raters.values():
        for entry in entries:
            if np.isfinite(entry["bias"]):
                biases.setdefault(entry["rater"], []).append(entry["bias"])
    if not 0 < len(biases) <= MANY_RATERS:
        return []
    from fmltk.toolkit.clip import reading_order

    names = sorted(biases, key=reading_order)
    rows = [(name, float(np.mean(biases[name])), min(biases[name]), max(biases[name])) for name in names]
    unit = "own rating minus the others'"
    return [charts.intervals("Bias of each rater", rows, unit=unit, describe="mean and range over the conditions")]


def _rater_table(raters: dict[str, list[dict[str, Any]]]) -> Table:
    rows = tables.rater_rows(raters)
    return Table(
        "Raters",
        tables.RATER_COLUMNS,
        rows,
        note="Bias: own rating minus the mean of the others' on the same clips. Correlation and kappa: with the "
        "others. Seconds: median time per clip.",
        folded=len(rows) > MANY_RATERS,
    )


def _labels_section(path: Path, labels: LabelTable) -> Section:
    from fmltk.annotation.summary import summarise_labels

    document = summarise_labels(labels)
    sizes = document["sizes"]
    blocks: list[Block] = [
        Tile("clips", f"{sizes['total']:,}"),
        *(Tile(part, f"{count:,}") for part, count in sizes.items() if part != "total"),
        Tile("conditions", f"{len(document['classes'])}"),
    ]
    blocks += _class_blocks(document)
    blocks += _number_blocks(labels, document)
    blocks += _conflict_blocks(labels, document)
    for condition in labels.scales:
        name = f"note_{condition}"
        n_noted = labels.table.num_rows - labels.table[name].null_count if name in labels.table.column_names else 0
        if n_noted:
            text = "were adjudicated, are a ground truth, or of a panel in which a rater was replaced"
            blocks.append(Remark(f"{n_noted} labels of {condition} {text}: {name} says by whom."))
    reasons = _null_reasons(labels)
    if reasons:
        blocks.append(Table("Clips without a label, and why", ("condition", "reason", "clips"), reasons))
    return Section(f"Labels: {path.name}", LABELS_RANK, blocks)


def _class_blocks(document: dict[str, Any]) -> list[Block]:
    """Return the paper's table 2 and figure 2, apart for each scale."""
    blocks: list[Block] = []
    by_names: dict[tuple[str, ...], list[str]] = {}
    for condition, counts in document["classes"].items():
        if counts:
            by_names.setdefault(tuple(counts), []).append(condition)
    for names, conditions in by_names.items():
        rows = [(c, document["scales"][c], *document["classes"][c].values(), document["null"][c]) for c in conditions]
        blocks.append(
            Table(
                "Clips per class" + (" (the paper's table 2)" if names in CLASS_NOTES else ""),
                ("condition", "scale", *names, "no label"),
                rows,
                note=CLASS_NOTES.get(names, "Words without order."),
            )
        )
        parts = {"all clips": document["classes"], **document["by_split"]}
        if len(document["by_split"]) == 1:
            parts.pop(next(iter(document["by_split"])))
        blocks += [
            charts.stacked_shares(
                f"Classes: {part}" + ("" if part == "all clips" else " (figure 2)"), {c: classes[c] for c in conditions}
            )
            for part, classes in parts.items()
            if any(sum(classes[c].values()) for c in conditions)
        ]
    return blocks


def _number_blocks(labels: LabelTable, document: dict[str, Any]) -> list[Block]:
    """Return how the labels of scales without classes are spread."""
    from fmltk.annotation.summary import NUMBER_FIGURES

    numbers = document["numbers"]
    if not numbers:
        return []
    rows = [(c, document["scales"][c], *figures.values(), document["null"][c]) for c, figures in numbers.items()]
    blocks: list[Block] = [Table("Labels without classes", ("condition", "scale", *NUMBER_FIGURES, "no label"), rows)]
    for condition in numbers:
        scale, values = labels.scales[condition], labels.values(condition)
        if not np.isnan(values).all():
            unit = f"label on the scale {scale}"
            limits = (float(scale.low), float(scale.high))
            blocks.append(charts.histogram(f"Labels of {condition}", values, unit=unit, limits=limits))
    return blocks


def _conflict_blocks(labels: LabelTable, document: dict[str, Any]) -> list[Block]:
    signs = document["signs"]
    names = [name for name in CONDITIONS if name in labels.scales and labels.scales[name].has_signs]
    if len(names) < 2:
        return []
    shares = np.full((len(names), len(names)), np.nan)
    texts = [["" for _ in names] for _ in names]
    for pair, entry in signs.items():
        first, second = (names.index(name) for name in pair.split("-"))
        if entry["clips"]:
            share = entry["differ"] / entry["clips"]
            for row, column in ((first, second), (second, first)):
                shares[row, column] = share
                texts[row][column] = f"{100 * share:.0f} %"
    blocks: list[Block] = [
        charts.matrix(
            "Conditions that differ in sign, share of clips",
            names,
            names,
            shares,
            texts=texts,
            row_label="condition",
            column_label="condition",
        )
    ]
    if document["three_signs"] is not None:
        n_clips = document["three_signs"]
        clips = "clip" if n_clips == 1 else "clips"
        blocks.append(Remark(f"In {n_clips} {clips} text, audio and silent video have three different signs."))
    return blocks + _conflict_examples(labels)


def _conflict_examples(labels: LabelTable) -> list[Block]:
    """Return the clips whose text, audio and silent video lie furthest apart."""
    if not set(UNIMODAL) <= set(labels.scales) or len({labels.scales[name] for name in UNIMODAL}) > 1:
        return []
    values = np.stack([labels.values(name) for name in UNIMODAL])  # (3, n_clips)
    apart = values.max(axis=0) - values.min(axis=0)
    furthest = [k for k in np.argsort(-np.nan_to_num(apart), kind="stable").tolist() if apart[k] > 0][:N_EXAMPLES]
    if not furthest:
        return []
    utterances = labels.utterance_ids
    names = [name for name in CONDITIONS if name in labels.scales and labels.scales[name].kind != "nominal"]
    rows = [(utterances[k], float(apart[k]), *(float(labels.values(name)[k]) for name in names)) for k in furthest]
    return [Table("Strongest conflicts between T, A and V", ("clip", "furthest apart by", *names), rows)]


def _null_reasons(labels: LabelTable) -> list[tuple[str, str, int]]:
    counts: dict[tuple[str, str], int] = {}
    for condition in labels.scales:
        empty = ~labels.labelled(condition)
        for reason, is_empty in zip(labels.reasons(condition), empty.tolist(), strict=True):
            if is_empty:
                key = (condition, reason or "unknown")
                counts[key] = counts.get(key, 0) + 1
    return [(condition, reason, count) for (condition, reason), count in sorted(counts.items())]


def _cases(labels: LabelTable) -> list[Case]:
    values = {name: [float(value) for value in labels.values(name)] for name in labels.scales}
    classes: dict[str, list[str | None]] = {name: labels.classes(name) for name in labels.scales}
    splits = labels.splits
    return [
        Case(
            utterance,
            split=splits[row],
            truths={name: numbers[row] for name, numbers in values.items() if math.isfinite(numbers[row])},
            classes={name: word for name, own in classes.items() if (word := own[row]) is not None},
        )
        for row, utterance in enumerate(labels.utterance_ids)
    ]
