"""`fmltk annotation aggregate`, `agreement` and `summary`: from ratings to labels, and what both look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fmltk.annotation.commands.options import FILE, PARQUET, parse_scales, refuse_overwriting, scale_options
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.annotation.aggregate import Aggregated
    from fmltk.annotation.label_table import LabelTable
    from fmltk.annotation.shipped import ShippedLabels
    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.console import Reporter


@click.command()
@click.argument("ratings", required=False, type=FILE)
@click.option("--output", "-o", type=PARQUET, required=True, help="The labels, such as labels.parquet.")
@click.option("--labels", "label_file", type=FILE, help="Labels that a data set ships: a label.csv in MMSA's layout.")
@click.option("--encoding", help="Encoding of label.csv; recognised where it is not given.")
@click.option("--panel", default="strict", show_default=True, help="strict: exactly the panel; at-least-N: N or more.")
@click.option("--panel-size", default=5, show_default=True, type=click.IntRange(1), help="Ratings of a whole panel.")
@click.option(
    "--more",
    type=click.Choice(["null", "first", "all"]),
    default="null",
    show_default=True,
    help="What more ratings than a panel give: no label, the mean of the first, or the mean of all.",
)
@click.option(
    "--between",
    type=click.Choice(["nearest", "null"]),
    default="nearest",
    show_default=True,
    help="Class of a mean between the paper's eleven values: that of its interval, or none.",
)
@click.option("--dawid-skene", is_flag=True, help="Add labels weighted by reliability (needs fmltk[reliability]).")
@click.option(
    "--prefer", type=click.Choice(["ratings", "shipped"]), help="Which counts where a clip has both for one condition."
)
@click.option(
    "--split",
    type=click.Choice(["given", "video", "stratified", "none"]),
    help="given: label.csv's mode (default where it has one); video: 6:2:2, whole videos together (default otherwise); "
    "stratified: 6:2:2 by class of the first labelled condition, M before the others.",
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Draws the split.")
@scale_options
@output_options
def aggregate(
    ratings: Path | None,
    output: Path,
    label_file: Path | None,
    encoding: str | None,
    panel: str,
    panel_size: int,
    more: str,
    between: str,
    dawid_skene: bool,
    prefer: str | None,
    split: str | None,
    seed: int,
    preset: str,
    scales: tuple[str, ...],
    reporter: Reporter,
) -> None:
    r"""Make one label per clip and condition from RATINGS: the mean of five, its class, its spread.

    A clip whose panel is not whole has no label, and the reason why. Median and majority stand beside the mean.

    \b
    fmltk annotation aggregate ratings.parquet -o labels.parquet
    fmltk annotation aggregate ratings.parquet --labels label.csv -o labels.parquet --panel at-least-3
    """
    from dataclasses import asdict

    from fmltk.annotation.aggregate import Policy, aggregate_ratings, parse_panel
    from fmltk.annotation.importing.records import PRESETS
    from fmltk.annotation.label_table import join_labels, write_labels
    from fmltk.annotation.ratings import read_ratings
    from fmltk.annotation.shipped import read_shipped

    if ratings is None and label_file is None:
        raise ConfigError("give RATINGS, --labels label.csv, or both")
    refuse_overwriting(output, (ratings, label_file))
    policy = Policy(panel=panel_size, at_least=parse_panel(panel), more=more, nearest=between == "nearest")
    aggregated = None
    if ratings is not None:
        aggregated = aggregate_ratings(read_ratings(ratings), policy, dawid_skene=dawid_skene)
    shipped_scales: dict[str, Scale] = {**dict.fromkeys(CONDITIONS, PRESETS[preset]), **parse_scales(scales)}
    shipped = None if label_file is None else read_shipped(label_file, scales=shipped_scales, encoding=encoding)
    labels = join_labels(aggregated, shipped, shipped_scales=shipped_scales, prefer=prefer)
    labels.metadata["policy"] = asdict(policy)
    labels = _split(labels, shipped, split, seed, reporter)
    write_labels(labels, output)
    _show_aggregate(labels, aggregated, output, reporter)


def _split(
    labels: LabelTable, shipped: ShippedLabels | None, how: str | None, seed: int, reporter: Reporter
) -> LabelTable:
    from fmltk.annotation.label_table import with_split
    from fmltk.annotation.splits import split_by_video, split_stratified

    utterances = labels.column("utterance_id")
    given = shipped.splits if shipped else {}
    if how == "none":
        return with_split(labels, {}, how="none", seed=None)
    if how == "given" and not given:
        raise ConfigError("--split given needs --labels with a column mode; or draw one with --split video")
    if how == "given" or (how is None and given):
        without = sum(name not in given for name in utterances)
        if without:
            reporter.warn(f"{without} clips have no split in the table of labels: theirs is null")
        return with_split(labels, given, how="given", seed=None)
    if how == "stratified":
        condition = next((name for name in CONDITIONS if name in labels.scales), "M")
        classes = dict(zip(utterances, labels.column(f"class_{condition}"), strict=True))
        return with_split(labels, split_stratified(classes, seed=seed), how=f"stratified by {condition}", seed=seed)
    videos = dict(zip(utterances, labels.column("video_id"), strict=True))
    if how is None and len(set(videos.values())) < 3:
        reporter.warn("fewer than three videos: no split was drawn; --split stratified splits clips")
        return with_split(labels, {}, how="none", seed=None)
    return with_split(labels, split_by_video(videos, seed=seed), how="video", seed=seed)


def _show_aggregate(labels: LabelTable, aggregated: Aggregated | None, output: Path, reporter: Reporter) -> None:
    import numpy as np

    from fmltk.annotation.aggregate import compare_methods

    rated = aggregated.conditions if aggregated else {}
    conditions: dict[str, dict[str, Any]] = {}
    for name, scale in labels.scales.items():
        values = labels.values(name)
        entry: dict[str, Any] = {"scale": str(scale), "labelled": int((~np.isnan(values)).sum())}
        entry["null"] = len(values) - entry["labelled"]
        if name in rated:
            entry |= {"reasons": dict(sorted(rated[name].kinds.items())), "between": rated[name].n_between}
            entry["beside_the_mean"] = compare_methods(rated[name])
        conditions[name] = entry
    parts = labels.column("split")
    splits = {part: parts.count(part) for part in ("train", "valid", "test") if part in parts}
    if reporter.json_output:
        reporter.json(
            {"output": output, "clips": labels.table.num_rows, "conditions": conditions, "splits": splits}
            | labels.metadata
        )
        return
    reporter.table(
        ("condition", "scale", "labelled", "null", "why", "between the paper's values"),
        [
            (
                name,
                entry["scale"],
                entry["labelled"],
                entry["null"],
                ", ".join(f"{count} {kind}" for kind, count in entry.get("reasons", {}).items()),
                entry.get("between"),
            )
            for name, entry in conditions.items()
        ],
    )
    rows = [
        (name, method, *values.values())
        for name, entry in conditions.items()
        for method, values in entry.get("beside_the_mean", {}).items()
    ]
    if rows:
        reporter.table(("condition", "beside the mean", "clips", "without", "other class", "mean distance"), rows)
    text = ", ".join(f"{part} {count}" for part, count in splits.items()) or "none"
    reporter.say(f"{labels.table.num_rows} clips in {output}; split: {text}")


@click.command()
@click.argument("ratings", type=FILE)
@click.option(
    "--items", "n_items", default=20, show_default=True, type=click.IntRange(0), help="Disputed clips per condition."
)
@click.option("--bootstrap", "n_bootstrap", default=1000, show_default=True, type=click.IntRange(1), help="Resamples.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Draws the resamples.")
@output_options
def agreement(ratings: Path, n_items: int, n_bootstrap: int, seed: int, reporter: Reporter) -> None:
    r"""Show how far the raters of RATINGS agree, each rater beside the others, and the most disputed clips.

    \b
    fmltk annotation agreement ratings.parquet
    """
    from fmltk.annotation.agreement import agreement as measure
    from fmltk.annotation.quality import PATTERNS, marked_raters, most_disputed, rater_quality
    from fmltk.annotation.ratings import read_ratings

    table = read_ratings(ratings)
    measures = measure(table, n_bootstrap=n_bootstrap, seed=seed)
    raters = {name: rater_quality(table, name) for name in measures}
    disputed = {name: most_disputed(table, name, n_items=n_items) for name in measures}
    if reporter.json_output:
        reporter.json({"agreement": measures, "raters": raters, "disputed": disputed, "patterns": PATTERNS})
        return
    columns = ("condition", "clips", "raters", "ratings", "alpha nominal", "alpha ordinal", "alpha interval")
    reporter.table(
        (*columns, "Fleiss' kappa", "on clips", "weighted kappa", "agreement"),
        [
            (
                name,
                entry["clips"],
                entry["raters"],
                entry["ratings"],
                *(_with_interval(entry[f"alpha_{level}"]) for level in ("nominal", "ordinal", "interval")),
                entry["fleiss_kappa"]["kappa"],
                f"{entry['fleiss_kappa']['clips']} x {entry['fleiss_kappa']['ratings_per_clip']}",
                entry["weighted_kappa"]["mean"],
                entry["percent_agreement"],
            )
            for name, entry in measures.items()
        ],
    )
    figures = ("rated", "skipped", "empty", "draft", "skip_share", "bias", "spread", "correlation", "kappa", "seconds")
    reporter.table(
        ("condition", "rater", *figures, "suspicious"),
        [
            (name, entry["rater"], *(entry[figure] for figure in figures), ", ".join(entry["patterns"]))
            for name, entries in raters.items()
            for entry in entries
        ],
    )
    reporter.table(
        ("condition", "most disputed", "ratings", "mean", "spread"),
        [
            (
                name,
                item["utterance_id"],
                ", ".join(f"{count} x {value}" for value, count in item["ratings"].items()),
                item["mean"],
                item["spread"],
            )
            for name, items in disputed.items()
            for item in items
        ],
    )
    for pattern, meaning in PATTERNS.items():
        marked = marked_raters(raters, pattern)
        if marked:
            reporter.warn(f"{pattern}, {meaning}: {', '.join(marked)}")


def _with_interval(entry: dict[str, float]) -> str:
    if entry["alpha"] != entry["alpha"]:
        return "-"
    return f"{entry['alpha']:.3f} ({entry['low']:.3f} to {entry['high']:.3f})"


@click.command()
@click.argument("labels", type=FILE)
@click.option("--encoding", help="Encoding of a label.csv; recognised where it is not given.")
@scale_options
@output_options
def summary(labels: Path, encoding: str | None, preset: str, scales: tuple[str, ...], reporter: Reporter) -> None:
    r"""Show clips per split, per class and condition, and how often conditions differ in sign.

    LABELS is a labels.parquet, or a label.csv in MMSA's layout.

    \b
    fmltk annotation summary labels.parquet
    fmltk annotation summary label.csv --preset mosi
    """
    from fmltk.annotation.label_table import read_labels
    from fmltk.annotation.summary import summarise_labels

    table = read_labels(labels) if labels.suffix == ".parquet" else _read_csv(labels, preset, scales, encoding)
    document = summarise_labels(table)
    if reporter.json_output:
        reporter.json(document)
        return
    sizes = document["sizes"]
    reporter.table(("", *sizes), [("clips (table 1)", *sizes.values())])
    _show_classes(document["classes"], "all (table 2)", reporter, null=document["null"])
    for part, classes in document["by_split"].items():
        _show_classes(classes, f"{part} (figure 2)", reporter)
    signs = [
        (pair, entry["clips"], entry["differ"], entry["differ"] / entry["clips"] if entry["clips"] else None)
        for pair, entry in document["signs"].items()
    ]
    if signs:
        reporter.table(("conditions", "clips with both", "differ in sign", "share"), signs)
    if document["three_signs"] is not None:
        reporter.table(("", "clips"), [("T, A and V have three different signs", document["three_signs"])])


def _show_classes(
    classes: dict[str, dict[str, int]], title: str, reporter: Reporter, *, null: dict[str, int] | None = None
) -> None:
    """Show one table for each set of class names, since conditions may have been rated on different scales."""
    by_names: dict[tuple[str, ...], list[tuple[object, ...]]] = {}
    for condition, counts in classes.items():
        if not counts and null is None:
            continue  # a scale without classes has nothing to show
        row = (condition, *counts.values(), *(() if null is None else (null[condition],)))
        by_names.setdefault(tuple(counts), []).append(row)
    for names, rows in by_names.items():
        reporter.table((title, *names, *(() if null is None else ("no label",))), rows)


def _read_csv(path: Path, preset: str, scales: tuple[str, ...], encoding: str | None) -> LabelTable:
    from fmltk.annotation.importing.records import PRESETS
    from fmltk.annotation.label_table import join_labels, with_split
    from fmltk.annotation.shipped import read_shipped

    by_condition = {**dict.fromkeys(CONDITIONS, PRESETS[preset]), **parse_scales(scales)}
    shipped = read_shipped(path, scales=by_condition, encoding=encoding)
    return with_split(join_labels(None, shipped, shipped_scales=by_condition), shipped.splits, how="given", seed=None)
