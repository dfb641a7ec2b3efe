"""The jobs of a run: the stages that are left to train, and the seeds whose results are then brought together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.model.registry import HIDDEN_PREFIX
from fmltk.model.results import SeedJob
from fmltk.model.reuse import copy_stages
from fmltk.model.run_folder import finished_seeds, seed_folder
from fmltk.model.scores import ClipTable
from fmltk.model.stages import StageJob, is_done
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fmltk.model.plan import RunPlan, SeedGroup
    from fmltk.model.registry import StageSpec


def list_jobs(
    plan: RunPlan, groups: Sequence[SeedGroup], arrays: Path, products: str
) -> tuple[list[StageJob], list[SeedJob]]:
    """Return the stages that are left to train, and the seeds that are complete once they are.

    arrays : the folder that holds each group's arrays, in a folder of the group's name
    products : how the stages compute large products

    Raises ConfigError if a stage needs one that is neither trained, to be trained, nor saved.
    """
    finished = finished_seeds(plan.out)
    stage_jobs: list[StageJob] = []
    seed_jobs: list[SeedJob] = []
    for group in groups:
        for seed in group.seeds:
            if seed in finished:
                continue
            left, complete = _stages_left(plan, group, seed)
            folder = seed_folder(plan.out, seed)
            common = seed, plan.config, arrays / group.name, folder, plan.options.device
            stage_jobs += [StageJob(stage.name, *common, products) for stage in left]
            if complete:
                seed_jobs.append(SeedJob(*common, _clip_table(plan, group), group.reused))
    return stage_jobs, seed_jobs


def _stages_left(plan: RunPlan, group: SeedGroup, seed: int) -> tuple[list[StageSpec], bool]:
    """Return the stages of a seed to train now, and whether every stage is then trained."""
    folder = seed_folder(plan.out, seed)
    folder.mkdir(parents=True, exist_ok=True)
    if group.reused is not None:
        copy_stages(group.reused, seed, folder, plan.model)
    saved = {stage.name for stage in plan.model.stages if HIDDEN_PREFIX + stage.name in group.prepared.vectors}
    have = saved | {stage.name for stage in plan.model.stages if is_done(folder, stage.name)}
    chosen = plan.options.stages or tuple(stage.name for stage in plan.model.stages)
    left = [stage for stage in plan.model.stages if stage.name in chosen and stage.name not in have]
    have |= {stage.name for stage in left}
    for stage in left:
        missing = sorted(set(stage.needs) - have)
        if missing:
            raise ConfigError(
                f"stage {stage.name} needs stage {', '.join(missing)}: train it as well, or name a run with --reuse"
            )
    return left, all(stage.name in have for stage in plan.model.stages)


def _clip_table(plan: RunPlan, group: SeedGroup) -> ClipTable:
    dataset = plan.dataset
    needed = plan.model.modalities(plan.model.stages[-1])
    reasons = []
    for row, ok in enumerate(group.prepared.usable(needed)):
        lacking = [dataset.features.reasons[letter][row] for letter in needed if letter in dataset.features.reasons]
        reasons.append("" if ok else "; ".join(reason for reason in lacking if reason) or "no saved H")
    return ClipTable(
        dataset.utterance_ids,
        dataset.video_ids,
        dataset.features.texts,
        dataset.splits,
        dataset.truths,
        dataset.sources,
        tuple(reasons),
        dataset.family,
        dataset.scale.names,
    )
