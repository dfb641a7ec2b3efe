"""`fmltk annotation aggregate` and `summary`: from ratings to labels, and what labels look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fmltk.annotation.commands.paths import PARQUET, refuse_overwriting
from fmltk.annotation.settings import FILE, Policy, ScaleOptions, ShippedOptions, SplitOptions
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.annotation.aggregate import Aggregated
    from fmltk.annotation.label_table import LabelTable
    from fmltk.annotation.shipped import ShippedLabels
    from fmltk.toolkit.console import Reporter


@click.command()
@click.argument("ratings", required=False, type=FILE)
@click.option("--output", "-o", type=PARQUET, required=True, help="The labels, such as labels.parquet.")
@settings_options(ShippedOptions, "shipped")
@settings_options(Policy, "policy")
@click.option("--dawid-skene", is_flag=True, help="Add labels weighted by reliability (needs fmltk[reliability]).")
@settings_options(SplitOptions, "split")
@settings_options(ScaleOptions, "scales")
@output_options
def aggregate(
    ratings: Path | None,
    *,
    output: Path,
    shipped: ShippedOptions,
    policy: Policy,
    dawid_skene: bool,
    split: SplitOptions,
    scales: ScaleOptions,
    reporter: Reporter,
) -> None:
    r"""Make one label per clip and condition from RATINGS: the mean of five, its class, its spread.

    A clip whose panel is not whole has no label, and the reason why. Median and majority stand beside the mean.

    \b
    fmltk annotation aggregate ratings.parquet -o labels.parquet
    fmltk annotation aggregate ratings.parquet --labels label.csv -o labels.parquet --panel at-least-3
    """
    from dataclasses import asdict

    from fmltk.annotation.aggregate import aggregate_ratings
    from fmltk.annotation.label_table import join_labels, write_labels
    from fmltk.annotation.ratings import read_ratings
    from fmltk.annotation.shipped import read_shipped

    if ratings is None and shipped.path is None:
        raise ConfigError("give RATINGS, --labels label.csv, or both")
    refuse_overwriting(output, (ratings, shipped.path))
    aggregated = None
    if ratings is not None:
        aggregated = aggregate_ratings(read_ratings(ratings), policy, dawid_skene=dawid_skene)
    by_condition = {condition: scales.scale(condition) for condition in CONDITIONS}
    given = None if shipped.path is None else read_shipped(shipped.path, scales=by_condition, encoding=shipped.encoding)
    labels = join_labels(aggregated, given, shipped_scales=by_condition, prefer=shipped.prefer)
    labels.metadata["policy"] = asdict(policy)
    labels = _split(labels, given, split, reporter)
    write_labels(labels, output)
    _show_aggregate(labels, aggregated, output, reporter)


def _split(labels: LabelTable, shipped: ShippedLabels | None, split: SplitOptions, reporter: Reporter) -> LabelTable:
    from fmltk.annotation.label_table import with_split
    from fmltk.annotation.splits import split_by_video, split_stratified

    how, seed = split.how, split.seed
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
    from fmltk.annotation.splits import SPLITS

    conditions = {name: _condition_figures(labels, name, aggregated) for name in labels.scales}
    parts = labels.column("split")
    splits = {part: parts.count(part) for part in SPLITS if part in parts}
    if reporter.json_output:
        document = {"output": output, "clips": labels.table.num_rows, "conditions": conditions, "splits": splits}
        reporter.json(document | labels.metadata)
        return
    reporter.table(
        ("condition", "scale", "labelled", "null", "why", "between the paper's values"),
        [
            (
                name,
                *(entry[key] for key in ("scale", "labelled", "null")),
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


def _condition_figures(labels: LabelTable, condition: str, aggregated: Aggregated | None) -> dict[str, Any]:
    """Return how many clips of a condition have a label, why others have none, and how other methods differ."""
    import numpy as np

    from fmltk.annotation.aggregate import compare_methods

    values = labels.values(condition)
    n_labelled = int((~np.isnan(values)).sum())
    figures = {"scale": str(labels.scales[condition]), "labelled": n_labelled, "null": len(values) - n_labelled}
    rated = aggregated.conditions.get(condition) if aggregated else None
    if rated is None:
        return figures
    reasons = dict(sorted(rated.kinds.items()))
    return {**figures, "reasons": reasons, "between": rated.n_between, "beside_the_mean": compare_methods(rated)}


@click.command()
@click.argument("labels", type=FILE)
@click.option("--encoding", help="Encoding of a label.csv; recognised where it is not given.")
@settings_options(ScaleOptions, "scales")
@output_options
def summary(labels: Path, *, encoding: str | None, scales: ScaleOptions, reporter: Reporter) -> None:
    r"""Show clips per split, per class and condition, and how often conditions differ in sign.

    LABELS is a labels.parquet, or a label.csv in MMSA's layout.

    \b
    fmltk annotation summary labels.parquet
    fmltk annotation summary label.csv --preset mosi
    """
    from fmltk.annotation.label_table import read_labels
    from fmltk.annotation.summary import summarise_labels

    table = read_labels(labels) if labels.suffix == ".parquet" else _read_csv(labels, scales, encoding)
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


def _read_csv(path: Path, scales: ScaleOptions, encoding: str | None) -> LabelTable:
    from fmltk.annotation.label_table import join_labels, with_split
    from fmltk.annotation.shipped import read_shipped

    by_condition = {condition: scales.scale(condition) for condition in CONDITIONS}
    shipped = read_shipped(path, scales=by_condition, encoding=encoding)
    return with_split(join_labels(None, shipped, shipped_scales=by_condition), shipped.splits, how="given", seed=None)
