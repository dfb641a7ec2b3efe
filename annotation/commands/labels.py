"""`fmltk annotation aggregate` and `summary`: from ratings to labels, and what labels look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fmltk.annotation.commands.paths import CLIPS, PARQUET, refuse_overwriting
from fmltk.annotation.settings import FILE, Policy, ScaleOptions, ShippedOptions, SplitOptions
from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.conditions import WEIGHED
from fmltk.toolkit.console import output_options
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.option_types import out_option

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import pyarrow as pa

    from fmltk.annotation.aggregate import Aggregated
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.features.label_table import LabelTable


@click.command()
@click.argument("ratings", required=False, type=FILE)
@out_option("output", type=PARQUET, required=True, help="The labels, such as labels.parquet.")
@settings_options(ShippedOptions, "shipped")
@CLIPS
@settings_options(Policy, "policy")
@click.option(
    "--dimension",
    metavar="NAME",
    help="The dimension to make labels of; by default each gets a file of its own, such as labels.valence.parquet.",
)
@click.option(
    "--also",
    type=click.Choice(WEIGHED),
    multiple=True,
    help="Add labels weighed by the annotators' reliability; all but the first need fmltk[reliability]. Repeatable.",
)
@settings_options(SplitOptions, "split")
@settings_options(ScaleOptions, "scales")
@output_options
def aggregate(
    ratings: Path | None,
    *,
    output: Path,
    shipped: ShippedOptions,
    clips: Path | None,
    policy: Policy,
    dimension: str | None,
    also: tuple[str, ...],
    split: SplitOptions,
    scales: ScaleOptions,
    reporter: Reporter,
) -> None:
    r"""Make one label per clip and condition from RATINGS: the mean of five, its class, its spread.

    A clip whose panel is not whole has no label, and the reason why. Median and majority stand next to the mean. Of
    words without order the label is the most frequent one. Ratings of several dimensions give a file for each.

    \b
    fmltk annotation aggregate ratings.parquet -o labels.parquet
    fmltk annotation aggregate ratings.parquet -o labels.parquet --clips stimuli/
    fmltk annotation aggregate ratings.parquet --labels label.csv -o labels.parquet --panel at-least-3
    """
    from contextlib import ExitStack
    from dataclasses import asdict

    from fmltk.annotation.aggregate import aggregate_ratings
    from fmltk.annotation.label_join import join_labels
    from fmltk.annotation.ratings import clip_ids, dimensions_of, of_dimension, read_ratings
    from fmltk.toolkit.features.label_file import write_labels
    from fmltk.toolkit.io.outputs import hold_file

    if ratings is None and shipped.path is None:
        raise ConfigError("give RATINGS, --labels label.csv, or both")
    if ratings is None and clips is not None:
        raise ConfigError("--clips says which clips were to be rated: give RATINGS too, or leave it out")
    refuse_overwriting(output, (ratings, shipped.path))
    rated = None if ratings is None else read_ratings(ratings)
    dimensions = (None,) if rated is None else dimensions_of(rated)
    if rated is not None and dimension is not None:
        of_dimension(rated, dimension)  # there is such a one
    outputs = {name: output for name in dimensions if dimension in (None, name)}
    if len(outputs) > 1:
        outputs = {name: output.with_name(f"{output.stem}.{name}.parquet") for name in outputs}
    with ExitStack() as held:
        for path in outputs.values():
            held.enter_context(hold_file(path))
        known = {} if rated is None else _listed(clips, rated, reporter) | clip_ids(rated)
        given = _shipped_labels(shipped, scales, known.keys(), reporter)
        documents, first = [], None
        for name in dimensions:
            own = None
            if rated is not None:
                own = aggregate_ratings(of_dimension(rated, name), policy, also=also, clips=known)
            metadata = {"policy": asdict(policy)} | ({} if name is None else {"dimension": name})
            labels = join_labels(own, given, prefer=shipped.prefer, metadata=metadata)
            labels = _split(labels, given, split, reporter) if first is None else _split_as(labels, first)
            first = first or labels
            if name in outputs:
                write_labels(labels, outputs[name])
                documents.append(_aggregate_document(labels, own, outputs[name]))
    for document in documents:
        _show_aggregate(document, reporter)
    labelled = next(iter(outputs.values()))
    features = labelled.with_name("features")
    if (features / "manifest.parquet").is_file():
        reporter.suggest("train", features, "--labels", labelled)
    else:
        reporter.suggest("annotation", "summary", labelled)
    if reporter.json_output:
        reporter.json(documents[0] if len(documents) == 1 else documents)


def _shipped_labels(
    shipped: ShippedOptions, scales: ScaleOptions, known: Collection[str], reporter: Reporter
) -> LabelTable | None:
    """Return the labels that a data set ships, under the ids of the clips that are known."""
    from fmltk.toolkit.features.label_file import read_labels

    if shipped.path is None:
        return None
    given = read_labels(shipped.path, scales=scales.by_condition, encoding=shipped.encoding, needs_labels=False)
    given, notes = given.aligned(known)
    for note in (*given.notes, *notes):
        reporter.say(note)
    return given


def _listed(clips: Path | None, ratings: pa.Table, reporter: Reporter) -> dict[str, tuple[str, str]]:
    """Return the ids of --clips, and say how the list is understood and what it lacks."""
    from fmltk.annotation.clip_list import read_clip_list

    if clips is None:
        return {}
    listed = read_clip_list(clips, ratings.column("utterance_id").unique().to_pylist())
    for note in listed.notes:
        reporter.say(note)
    for warning in listed.warnings():
        reporter.warn(warning)
    return listed.ids


def _split_as(labels: LabelTable, first: LabelTable) -> LabelTable:
    """Return the labels with the splits of the first dimension's, so that all dimensions have one."""
    drawn = {one: part for one, part in zip(first.utterance_ids, first.splits, strict=True) if part}
    return labels.with_splits(drawn, **first.metadata["split"])


def _split(labels: LabelTable, shipped: LabelTable | None, split: SplitOptions, reporter: Reporter) -> LabelTable:
    from fmltk.toolkit.classes import class_names
    from fmltk.toolkit.features.splits import split_by_video, split_stratified

    how, seed = split.how, split.seed
    utterances = labels.utterance_ids
    named = zip(shipped.utterance_ids, shipped.splits, strict=True) if shipped else ()
    given = {utterance: name for utterance, name in named if name is not None}
    if how == "none":
        return labels.with_splits({}, how="none", seed=None)
    if how == "given" and not given:
        raise ConfigError("--split given needs --labels with a column mode or split; or draw one with --split video")
    if how == "given" or (how is None and given):
        without = sum(name not in given for name in utterances)
        if without:
            reporter.warn(f"{counted(without, 'clip has', 'clips have')} no split in the table of labels: it is null")
        return labels.with_splits(given, how="given", seed=None)
    condition = labels.first_condition
    if not labels.labelled(condition).any():
        reporter.warn("no clip has a label: no split was drawn")
        return labels.with_splits({}, how="none", seed=None)
    if how == "stratified":
        if not class_names(labels.scales[condition]):
            raise ConfigError(f"the scale {labels.scales[condition]} has no classes to stratify by; use --split video")
        classes = dict(zip(utterances, labels.classes(condition), strict=True))
        return labels.with_splits(split_stratified(classes, seed=seed), how=f"stratified by {condition}", seed=seed)
    if how is None and len(set(labels.video_ids)) < len(SPLITS):
        reporter.warn("fewer than three videos: no split was drawn; --split stratified splits clips")
        return labels.with_splits({}, how="none", seed=None)
    names = labels.scales[condition].names
    values = labels.class_numbers(condition, names) if names else labels.values(condition)
    drawn = split_by_video(labels.video_ids, values, seed=seed, n_classes=len(names))
    return labels.with_splits(dict(zip(utterances, drawn.tolist(), strict=True)), how="video", seed=seed)


def _aggregate_document(labels: LabelTable, aggregated: Aggregated | None, output: Path) -> dict[str, Any]:
    """Return what is said of labels, as JSON can hold it."""
    conditions = {name: _condition_figures(labels, name, aggregated) for name in labels.scales}
    splits = {split: labels.splits.count(split) for split in SPLITS if split in labels.splits}
    document = {"output": output, "clips": labels.table.num_rows, "conditions": conditions, "splits": splits}
    return document | dict(labels.metadata)


def _show_aggregate(document: dict[str, Any], reporter: Reporter) -> None:
    if reporter.json_output:
        return
    conditions = document["conditions"]
    reporter.table(
        ("condition", "scale", "labelled", "null", "why", "between the paper's values"),
        [
            (
                name,
                *(entry[key] for key in ("scale", "labelled", "null")),
                ", ".join(f"{count} {kind}" for kind, count in entry.get("reasons", {}).items()),
                entry.get("between") if "numbers" not in entry else None,
            )
            for name, entry in conditions.items()
        ],
        title=document.get("dimension"),
    )
    for name, entry in conditions.items():
        if not entry["labelled"] and entry.get("reasons"):
            most = max(entry["reasons"], key=entry["reasons"].__getitem__)
            reporter.warn(
                f"no clip has a label for {name}: {most}; --panel and --protocol-strict say which ratings count"
            )
    _show_numbers({name: entry["numbers"] for name, entry in conditions.items() if "numbers" in entry}, reporter)
    without = [f"{name} ({entry['scale']})" for name, entry in conditions.items() if "numbers" in entry]
    if without:
        reporter.say(
            f"no classes: {', '.join(without)}; the five bins are those of -1..1, the seven those of -3..3, so these "
            "labels are numbers alone"
        )
    words = {name: entry["classes"] for name, entry in conditions.items() if "classes" in entry}
    _show_classes(words, "clips per class", reporter)
    rows = [
        (name, method, *values.values())
        for name, entry in conditions.items()
        for method, values in entry.get("beside_the_mean", {}).items()
    ]
    if rows:
        reporter.table(("condition", "next to the mean", "clips", "without", "other class", "mean distance"), rows)
    for name, entry in conditions.items():
        for what, count in entry.get("noted", {}).items():
            reporter.say(f"{name}, {what}: {count} labels (note_{name} says by whom)")
    text = ", ".join(f"{part} {count}" for part, count in document["splits"].items()) or "none"
    reporter.say(f"{counted(document['clips'], 'clip')} in {document['output']}; split: {text}")


def _condition_figures(labels: LabelTable, condition: str, aggregated: Aggregated | None) -> dict[str, Any]:
    """Return how many clips of a condition have a label, why others have none, and how other methods differ."""
    from fmltk.annotation.aggregate import compare_methods
    from fmltk.annotation.summary import count_classes, describe_numbers
    from fmltk.toolkit.classes import class_names

    labelled = labels.labelled(condition)
    scale, n_labelled = labels.scales[condition], int(labelled.sum())
    figures: dict[str, Any] = {"scale": str(scale), "labelled": n_labelled, "null": len(labelled) - n_labelled}
    if scale.kind == "nominal":
        figures["classes"] = count_classes(labels.classes(condition), scale)
    elif not class_names(scale):
        figures["numbers"] = describe_numbers(labels.values(condition))
    rated = aggregated.conditions.get(condition) if aggregated else None
    if rated is None:
        return figures
    reasons = dict(sorted(rated.kinds.items()))
    noted = {"noted": dict(sorted(rated.n_noted.items()))} if rated.n_noted else {}
    return {
        **figures,
        **noted,
        "reasons": reasons,
        "between": rated.n_between,
        "beside_the_mean": compare_methods(rated),
    }


@click.command()
@click.argument("labels", type=FILE)
@click.option("--encoding", help="Encoding of a text file; recognised where it is not given.")
@settings_options(ScaleOptions, "scales")
@output_options
def summary(labels: Path, *, encoding: str | None, scales: ScaleOptions, reporter: Reporter) -> None:
    r"""Show clips per split, per class and condition, and how often conditions differ in sign.

    LABELS is a labels.parquet, MMSA's label.csv or such a table; --preset or --scale says the scale where it does not.

    \b
    fmltk annotation summary labels.parquet
    fmltk annotation summary label.csv --preset mosi
    """
    from fmltk.annotation.summary import summarise_labels
    from fmltk.toolkit.features.label_file import read_labels

    table = read_labels(labels, scales=scales.by_condition, encoding=encoding)
    for note in table.notes:
        reporter.say(note)
    document = summarise_labels(table)
    if reporter.json_output:
        reporter.json(document)
        return
    sizes = document["sizes"]
    reporter.table(("", *sizes), [("clips (table 1)", *sizes.values())])
    _show_classes(document["classes"], "all (table 2)", reporter, null=document["null"])
    for part, classes in document["by_split"].items():
        _show_classes(classes, f"{part} (figure 2)", reporter)
    _show_numbers(document["numbers"], reporter, null=document["null"])
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
        if not counts:
            continue  # a scale without classes
        row = (condition, *counts.values(), *(() if null is None else (null[condition],)))
        by_names.setdefault(tuple(counts), []).append(row)
    for names, rows in by_names.items():
        reporter.table((title, *names, *(() if null is None else ("no label",))), rows)


def _show_numbers(
    numbers: dict[str, dict[str, float | None]], reporter: Reporter, *, null: dict[str, int] | None = None
) -> None:
    """Show how the labels of scales without classes are spread."""
    from fmltk.annotation.summary import NUMBER_FIGURES

    rows = [(name, *own.values(), *(() if null is None else (null[name],))) for name, own in numbers.items()]
    if rows:
        reporter.table(("labels", *NUMBER_FIGURES, *(() if null is None else ("no label",))), rows)
