"""The part of a report on ratings and labels: agreement, annotators, classes, and where the modalities conflict."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.annotation import agreement_tables as tables
from fmltk.toolkit.classes import BINS, SEVEN
from fmltk.toolkit.conditions import CONDITIONS, UNIMODAL
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.report import charts, planes
from fmltk.toolkit.report.document import (
    CHECK,
    KNOW,
    SPOILS,
    Case,
    Contribution,
    Finding,
    Remark,
    Section,
    Source,
    Table,
    Tile,
    contribute,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
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
NAMED_RATERS = 6  # in a finding
LARGE_CLASS = 0.6  # of a condition's clips
POOR_ALPHA = 0.667  # Krippendorff: below it no conclusions should be drawn


def rating_sections(request: ReportRequest) -> Contribution:
    """Return a section on every table of ratings among the paths."""
    return contribute(request, _has_ratings, _ratings)


def label_sections(request: ReportRequest) -> Contribution:
    """Return a section on every table of labels among the paths, and its clips as cases."""
    from fmltk.toolkit.features.label_file import has_labels

    return contribute(request, has_labels, lambda path: _labels(path, request))


def _has_ratings(path: Path) -> bool:
    from fmltk.toolkit.io.parquet import column_names

    try:
        return path.is_file() and {"annotator", "condition", "value"} <= set(column_names(path, what="table"))
    except StoreError:
        return False


def _ratings(path: Path) -> Contribution:
    from fmltk.annotation.protocols import OUT_OF_PROTOCOL
    from fmltk.annotation.quality import overview
    from fmltk.annotation.ratings import FLAGS, flag_counts, read_ratings

    ratings = read_ratings(path)
    found = overview(ratings, n_items=N_DISPUTED)
    measures, raters = found.agreement, found.raters
    names = {entry["rater"] for entries in raters.values() for entry in entries}
    scales = {str(entry["scale"]) for entry in measures.values()}
    alphas = _alpha_chart(measures)
    table = _rater_table(raters)
    blocks: list[Block] = [
        Tile("ratings", f"{sum(entry['ratings'] for entry in measures.values()):,}"),
        Tile("annotators", f"{len(names)}"),
        Tile("conditions", f"{len(measures)}"),
        *alphas,
        *_rater_charts(raters, scales),
        Table(
            "Agreement",
            tables.AGREEMENT_COLUMNS,
            tables.agreement_rows(measures),
            note="Krippendorff's alpha with 95 % bootstrap intervals over clips; Fleiss' kappa of the clips with the "
            "same number of ratings; weighted kappa is the mean over pairs of annotators (without weights on a nominal "
            "scale); agreement is the share of pairs of ratings that are equal.",
        ),
        table,
    ]
    findings = _alpha_findings(path, measures, alphas) + _rater_findings(path, raters, table)
    flags = flag_counts(ratings)
    for flag in OUT_OF_PROTOCOL:
        if flag in flags:
            text = f"{flag} ({flags[flag]} ratings): {FLAGS[flag]}: {_by_rater(ratings, flag)}."
            blocks.append(Remark(text, "bad"))
            findings.append(Finding(f"{path.name}: {text}", CHECK, blocks[-1]))
    rows = tables.disputed_rows(found.disputed)
    blocks.append(Table("Most disputed clips", tables.DISPUTED_COLUMNS, rows, folded=True))
    facts = {"ratings": f"{ratings.num_rows:,}", "annotators": str(len(names)), "scale": ", ".join(sorted(scales))}
    return Contribution(
        sources=[Source(path, "ratings", path, facts)],
        findings=findings,
        sections=[Section(f"Ratings: {path.name}", RATINGS_RANK, blocks)],
    )


def _by_rater(ratings: pa.Table, flag: str) -> str:
    from fmltk.annotation.ratings import flagged_raters

    return ", ".join(f"{name} ({count})" for name, count in flagged_raters(ratings, flag).items())


def _alpha_chart(measures: dict[str, dict[str, Any]]) -> list[Block]:
    """Return the chart of alpha per condition, where it is known of one."""
    rows = [
        charts.Row(name, *(entry[f"alpha_{entry['level']}"][key] for key in ("alpha", "low", "high")))
        for name, entry in measures.items()
    ]
    known = [row for row in rows if np.isfinite([row.value, row.low, row.high]).all()]
    if not known:
        return []
    low = min(0.0, *(row.low for row in known))
    unit = f"Krippendorff's alpha, {' and '.join(sorted({entry['level'] for entry in measures.values()}))}"
    return [
        charts.intervals(
            "Agreement per condition",
            known,
            unit=unit,
            limits=(low, 1),
            reference=(POOR_ALPHA, f"alpha {POOR_ALPHA}"),
            reading="With 95 % bootstrap intervals over clips: 1 is full agreement, 0 what chance gives. Left of the "
            "line Krippendorff advises against conclusions.",
        )
    ]


def _alpha_findings(path: Path, measures: dict[str, dict[str, Any]], evidence: Sequence[Block]) -> list[Finding]:
    """Return which conditions' raters agree too little; by chance alone is worse."""
    found: dict[int, list[str]] = {SPOILS: [], CHECK: []}
    for name, entry in measures.items():
        alpha, low = (entry[f"alpha_{entry['level']}"][key] for key in ("alpha", "low"))
        if alpha < POOR_ALPHA:
            found[SPOILS if low <= 0 else CHECK].append(f"{name} ({alpha:.2f})")
    words = {
        SPOILS: "annotators may agree by chance alone: alpha's interval holds 0 in",
        CHECK: f"annotators agree less than conclusions need, alpha under {POOR_ALPHA}, in",
    }
    return [
        Finding(f"{path.name}: {words[weight]} {', '.join(names)}.", weight, evidence[0] if evidence else None)
        for weight, names in found.items()
        if names
    ]


def _rater_findings(path: Path, raters: dict[str, list[dict[str, Any]]], table: Block) -> list[Finding]:
    """Return which raters show each pattern and where, with the evidence that most clips speak for."""
    from fmltk.annotation.patterns import PATTERNS

    found = []
    for pattern, meaning in PATTERNS.items():
        marks = [
            (mark["n_clips"], entry["rater"], condition, mark["evidence"])
            for condition, entries in raters.items()
            for entry in entries
            for mark in entry["marks"]
            if mark["pattern"] == pattern
        ]
        if marks:
            conditions: dict[str, list[str]] = {}
            for _, rater, condition, _ in marks:
                conditions.setdefault(rater, []).append(condition)
            who = "; ".join(f"{rater} in {', '.join(own)}" for rater, own in list(conditions.items())[:NAMED_RATERS])
            who += f"; and {len(conditions) - NAMED_RATERS} more" if len(conditions) > NAMED_RATERS else ""
            _, rater, condition, evidence = max(marks)
            text = f"{path.name}: annotators marked {pattern}, {meaning}: {who}"
            found.append(Finding(f"{text}. For example {rater} in {condition}: {evidence}.", CHECK, table))
    return found


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
    rows = [charts.Row(name, float(np.mean(biases[name])), min(biases[name]), max(biases[name])) for name in names]
    unit = f"own rating minus the others', on the scale {next(iter(scales))}"
    return [
        charts.intervals(
            "Bias of each annotator",
            rows,
            unit=unit,
            reference=(0.0, "no bias"),
            reading="Mean and range over the conditions: right of the line an annotator says more positive values "
            "than the others do of the same clips, left of it more negative ones.",
        )
    ]


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


def _labels(path: Path, request: ReportRequest) -> Contribution:
    from fmltk.annotation.summary import summarise_labels
    from fmltk.toolkit.features.label_file import as_labels
    from fmltk.toolkit.report.features import clip_ids

    read = as_labels(path, scale=request.scale)
    labels, notes = read.aligned(clip_ids(request))
    for note in (*read.notes, *notes):
        request.reporter.say(note)
    document = summarise_labels(labels)
    sizes = document["sizes"]
    classes, conflicts = _class_blocks(document), _conflict_blocks(labels, document)
    blocks: list[Block] = [
        Tile("clips", f"{sizes['total']:,}"),
        *(Tile(part, f"{count:,}") for part, count in sizes.items() if part != "total"),
        Tile("conditions", f"{len(document['classes'])}"),
        *classes,
        *_number_blocks(labels, document),
        *conflicts,
    ]
    for condition in labels.scales:
        name = f"note_{condition}"
        n_noted = labels.table.num_rows - labels.table[name].null_count if name in labels.table.column_names else 0
        if n_noted:
            text = "were adjudicated, are a ground truth, or of a panel in which an annotator was replaced"
            blocks.append(Remark(f"{n_noted} labels of {condition} {text}: {name} says by whom."))
    findings = _class_findings(path, document, classes) + _sign_findings(path, document, conflicts)
    reasons = _null_reasons(labels)
    if reasons:
        table = Table("Clips without a label, and why", ("condition", "reason", "clips"), reasons)
        blocks.append(table)
        counts = ", ".join(f"{condition}: {n}" for condition, n in _null_counts(reasons).items())
        findings.append(Finding(f"{path.name}: clips without a label: {counts}.", CHECK, table))
    facts = {
        "clips": ", ".join(f"{count:,} {part}" for part, count in sizes.items()),
        "scales": ", ".join(f"{condition} {scale}" for condition, scale in document["scales"].items()),
    }
    return Contribution(
        sources=[Source(path, "labels", path, facts)],
        findings=findings,
        sections=[Section(f"Labels: {path.name}", LABELS_RANK, blocks)],
        cases=_cases(labels),
    )


def _null_counts(reasons: Sequence[tuple[str, str, int]]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for condition, _, n in reasons:
        counts[condition] += n
    return counts


def _class_findings(path: Path, document: dict[str, Any], evidence: Sequence[Block]) -> list[Finding]:
    """Return the conditions in which one class has most clips."""
    large = []
    for condition, counts in document["classes"].items():
        total = sum(counts.values()) if counts else 0
        if total and max(counts.values()) > LARGE_CLASS * total:
            name = max(counts, key=lambda one: counts[one])
            large.append(f"{condition} {name} {100 * counts[name] / total:.0f} %")
    if not large:
        return []
    return [Finding(f"{path.name}: one class has most clips: {', '.join(large)}.", CHECK, evidence[0])]


def _sign_findings(path: Path, document: dict[str, Any], evidence: Sequence[Block]) -> list[Finding]:
    """Return the two conditions that differ in sign most often, and in how many clips T, A and V all differ."""
    shares = {pair: one["differ"] / one["clips"] for pair, one in document["signs"].items() if one["clips"]}
    if not evidence or not shares or max(shares.values()) == 0:
        return []
    pair = max(shares, key=lambda one: shares[one])
    first, second = pair.split("-")
    text = f"{path.name}: {first} and {second} differ in sign in {100 * shares[pair]:.0f} % of the clips."
    return [Finding(text, KNOW, evidence[0])]


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
        planes.matrix(
            "Conditions that differ in sign, share of clips",
            names,
            names,
            shares,
            texts=texts,
            row_label="condition",
            column_label="condition",
            reading="The share of clips that two conditions give different signs; the darker, the more they conflict.",
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
