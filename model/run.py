"""Training: from a features folder to a run folder, whose files `run_folder` names."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.data import Reading, read_clip_features, read_clip_names
from fmltk.model.dataset import join, split_counts
from fmltk.model.estimate import report_cost
from fmltk.model.jobs import list_jobs
from fmltk.model.memory import report_memory, report_sequences
from fmltk.model.network import NETWORK, text_network_of
from fmltk.model.options import RunOptions, check_options
from fmltk.model.plan import RunPlan, prepare_groups, save_arrays
from fmltk.model.record import open_run, training_document
from fmltk.model.registry import model_of, model_spec
from fmltk.model.reuse import decide_seeds
from fmltk.model.run_folder import finished_seeds
from fmltk.model.schedule import run_jobs
from fmltk.model.scores import write_summary
from fmltk.model.token_data import identity_of, starting_text, text_model_of
from fmltk.model.videos import split_videos
from fmltk.toolkit.catalog.exclusions import exclusions_of
from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError, TrainingError
from fmltk.toolkit.features.label_file import as_labels, find_labels
from fmltk.toolkit.features.layout import is_feature_folder
from fmltk.toolkit.io.outputs import ScratchFolder, hold_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from fmltk.model.prepared import Prepared
    from fmltk.model.settings import Settings
    from fmltk.model.stages import Watch
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.features.label_table import LabelTable


def train(
    features: str | os.PathLike[str],
    labels: str | os.PathLike[str] | pd.DataFrame | LabelTable | None = None,
    *,
    out: str | os.PathLike[str],
    config: Settings,
    exclude: str | os.PathLike[str] | None = None,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train a model and write a run folder; the same call continues where an earlier one was stopped.

    Parameters
    ----------
    features : what `fmltk extract` or `fmltk dataset import` wrote
    labels : a file of labels (see `read_labels`), a data frame of them, or a LabelTable; by default labels.parquet in
        the features folder or next to it
    out : the run folder
    config : every setting that changes numbers
    exclude : a table of clips to leave out (see `fmltk.toolkit.catalog.exclusions.read_exclusions`); training.json has
        their reasons
    options : how the run is done: seeds, stages, worker processes, an earlier run, the device
    watch : called after each epoch of a run without worker processes (see `fmltk.model.stages.run_stage`)

    Returns the summary over the seeds; {} where `options.stages` leaves out the last stage.

    Raises ConfigError if the data or the settings do not fit, also if `out` holds a run of other data or settings, and
    TrainingError if a loss is not finite or the multimodal predictions are constant.
    """
    from fmltk.toolkit.console import Reporter as Console

    out, options, reporter = Path(out), options or RunOptions(), reporter or Console(quiet=True)
    folder = Path(features)
    excluded = exclusions_of(folder, None if exclude is None else Path(exclude))
    for remark in excluded.remarks():
        reporter.warn(remark)
    label_file = find_labels(folder) if labels is None else labels
    if model_spec(config.model).reads_whole:
        report_sequences(folder, reporter=reporter)
    plan = _plan_run(folder, label_file, out, config, options, excluded=excluded.reasons)
    decisions = decide_seeds(options, plan.dataset, config)
    for remark in plan.dataset.remarks:
        reporter.warn(remark)
    for seed, decision in decisions.items():
        reporter.say(f"seed {seed}: {decision.reason}")
    groups = prepare_groups(plan, decisions)
    plan = plan.without_arrays()  # memory: the arrays are in `groups`
    # Nothing is left behind by what was refused so far.
    with hold_folder(out, places=("", "seed_*/")):
        products = open_run(out, config, training_document(plan, groups[0].prepared, decisions))
        _report_start(plan, groups[0].prepared, reporter)
        with ScratchFolder(out) as arrays:
            save_arrays(groups, arrays, plan.text)
            stage_jobs, seed_jobs = list_jobs(plan, groups, arrays, products)
            to_train = {job.stage for job in stage_jobs}
            report_memory(
                [stage for stage in plan.model.stages if stage.name in to_train],
                _dimensions(groups[0].prepared),
                config,
                text=text_network_of(groups[0].prepared.schema),
                n_at_once=min(max(options.jobs, 1), max(len(stage_jobs), 1)),
                reporter=reporter,
            )
            del groups  # memory: the jobs map the saved arrays
            plan = replace(plan, text=None)
            report_cost(stage_jobs, reporter=reporter)
            run_jobs(stage_jobs, seed_jobs, n_workers=options.jobs, reporter=reporter, watch=watch)
        if not seed_jobs:
            if not set(options.seeds) <= set(finished_seeds(out)):
                reporter.say(f"trained {', '.join(options.stages)}; run again without --stages for the rest")
                return {}
            reporter.say(f"{out} is complete; nothing was left to train")
        summary = write_summary(out)
    _refuse_collapse(summary, reporter)
    return summary


def _plan_run(
    features: Path,
    labels: str | os.PathLike[str] | pd.DataFrame | LabelTable,
    out: Path,
    config: Settings,
    options: RunOptions,
    *,
    excluded: Mapping[str, str],
) -> RunPlan:
    """Check the settings and read the data; where every seed fuses saved H, no sequence is read."""
    model = model_of(config)
    check_options(options, config, model)
    if is_feature_folder(out):
        raise ConfigError(f"{out} is a feature folder; a run has a folder of its own: choose another -o")
    label_table = as_labels(labels)
    only_fuses = options.reuse is not None and config.retrain == "never"
    reading = Reading.of(model, config, options.text_model)
    clips = read_clip_names(features) if only_fuses else read_clip_features(features, reading=reading)
    text = None
    if model.reads_tokens and clips.text is not None:
        text = starting_text(text_model_of(identity_of(clips.schema["T"]), options.text_model), clips.text.steps[:, 0])
        clips = replace(clips, schema={**clips.schema, "T": {**clips.schema["T"], NETWORK: text.document}})
    dataset = join(clips, label_table, config, excluded=excluded)
    if dataset.n_classes and not model.takes_classes:
        raise ConfigError(
            f"the labels are the classes {dataset.scale}, and {model.name} learns numbers: take --model fmlmsn, "
            "late-fusion or late-fusion-mt, or name other labels with --labels"
        )
    return RunPlan(
        features=features,
        labels=os.fspath(labels) if isinstance(labels, str | os.PathLike) else "a table in memory",
        out=out,
        config=config,
        options=options,
        model=model,
        dataset=dataset,
        excluded=excluded,
        text=text,
    )


def _report_start(plan: RunPlan, prepared: Prepared, reporter: Reporter) -> None:
    counts = split_counts(plan.dataset)
    reporter.say(
        f"{plan.model.name}: {counted(counts['train'], 'clip')} to train on, {counts['valid']} to validate, "
        f"{counts['test']} to test; seeds {', '.join(map(str, plan.options.seeds))}"
    )
    spec, kept = model_spec(plan.config.model), {stage.name for stage in plan.model.stages}
    absent = [stage.name for stage in spec.stages if stage.name not in kept]
    if absent:
        reporter.say(f"trained on {plan.config.modalities} alone; stages left out: {', '.join(absent)}")
    _report_reading(plan, prepared, reporter)
    tasks = {task for stage in plan.model.stages for task in stage.tasks}
    sources = {condition: source for condition, source in plan.dataset.sources.items() if condition in tasks}
    others = [f"{condition} from {source}" for condition, source in sources.items() if source != "labels"]
    if others:
        reporter.say(f"labels: {', '.join(others)}; the others are the data's own")
    left_out = int(np.sum(~prepared.usable(plan.model.modalities(plan.model.stages[-1]))))
    if left_out:
        reporter.warn(
            f"{counted(left_out, 'clip')} without a modality: no part in the stages that need it, nor in the fusion "
            "(--missing mean takes the training mean instead); predictions are null there, with the reason"
        )


def _report_reading(plan: RunPlan, prepared: Prepared, reporter: Reporter) -> None:
    """Say what a model makes of steps or of videos where that is not plain from its name."""
    lengths = {MODALITY_OF[letter]: int(document["length"]) for letter, document in prepared.schema.items()}
    if plan.model.reads_pooled and len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        reporter.say(f"steps: {found}; audio and vision are pooled to the text's (`fmltk align` gives one per word)")
    if not plan.model.reads_videos:
        return
    videos, splits = plan.dataset.video_ids, plan.dataset.splits
    reporter.say(
        f"a batch is whole videos, of {len(set(videos))}; their clips are in the order of the manifest's start_s, or "
        "clip_id where it has none"
    )
    if len(set(videos)) == len(videos):
        reporter.warn("each video has one clip, so it is read without context")
    several = split_videos(videos, splits)
    if several:
        named = ", ".join(map(repr, several[:3])) + (", ..." if len(several) > 3 else "")
        reporter.warn(
            f"{len(several)} videos have clips in more than one split ({named}): such clips are not read together, but "
            "share speaker and room; labels that name no splits get one by video"
        )


def _dimensions(prepared: Prepared) -> dict[str, int]:
    inputs = prepared.inputs("cpu")
    return inputs.dimensions(inputs.names)


def _refuse_collapse(summary: Mapping[str, Any], reporter: Reporter) -> None:
    """Warn of constant predictions; raise TrainingError where it is the multimodal one."""
    collapsed: list[str] = summary["collapsed"]
    if not collapsed:
        return
    fatal = [name for name in collapsed if name.endswith("_M")]
    others = [name for name in collapsed if name not in fatal]
    if others:
        reporter.warn(f"constant predictions: {', '.join(others)}; these tasks learned nothing")
    if fatal:
        raise TrainingError(
            f"the multimodal predictions are constant ({', '.join(fatal)}): the run collapsed. Its files are kept. "
            "Train longer (max_epochs) or lower lr, look at `fmltk dataset check`, or try another seed"
        )
