"""The plan of a run: seeds that learn from the features, or from the H of an earlier run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from fmltk.model.prepared import Prepared, prepare
from fmltk.model.reuse import read_hidden
from fmltk.model.stages import BERT_FILE
from fmltk.model.tensors import write_tensors
from fmltk.toolkit.conditions import CONDITIONS, MODALITY_OF
from fmltk.toolkit.io.files import store_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.model.dataset import Dataset
    from fmltk.model.options import RunOptions
    from fmltk.model.registry import ModelSpec
    from fmltk.model.reuse import Decision
    from fmltk.model.settings import Settings
    from fmltk.model.token_data import StartingText


@dataclass(frozen=True)
class RunPlan:
    """The shared inputs of all jobs of a run.

    features, labels : what is read, and what training.json calls it; out : the run folder
    excluded : by utterance_id, why the user leaves a clip out
    text : the text model that a network which reads tokens starts from
    """

    features: Path
    labels: str
    out: Path
    config: Settings
    options: RunOptions
    model: ModelSpec
    dataset: Dataset
    excluded: Mapping[str, str]
    text: StartingText | None = None

    def without_arrays(self) -> RunPlan:
        """Return the plan with the names, texts and labels of its clips alone: what is left to know once prepared."""
        return replace(self, dataset=replace(self.dataset, features=self.dataset.features.without_arrays()))


@dataclass(frozen=True)
class SeedGroup:
    """Seeds that learn from the same arrays.

    name : of the arrays' folder; reused : the run whose H they are, None where they are the features
    """

    name: str
    seeds: tuple[int, ...]
    prepared: Prepared
    reused: Path | None = None


def prepare_groups(plan: RunPlan, decisions: Mapping[int, Decision]) -> list[SeedGroup]:
    """Return the arrays of a run and the seeds that learn from each; the features', if any, come first.

    decisions : eq. 8's, by seed; without one, a seed takes the H of `options.reuse` where there is such a run
    """
    earlier = plan.options.reuse
    trained = [
        seed for seed in plan.options.seeds if earlier is None or (seed in decisions and decisions[seed].retrain)
    ]
    groups = []
    if trained:
        used = {letter for stage in plan.model.stages for letter in plan.model.modalities(stage)}
        letters = [letter for letter in MODALITY_OF if letter in used]
        groups.append(SeedGroup("features", tuple(trained), prepare(plan.dataset, letters, plan.config)))
    for seed in plan.options.seeds:
        if seed not in trained and earlier is not None:
            groups.append(SeedGroup(f"hidden_{seed}", (seed,), _prepare_hidden(earlier, seed, plan.dataset), earlier))
    return groups


def _prepare_hidden(run: Path, seed: int, dataset: Dataset) -> Prepared:
    """Return saved H as the arrays of a fusion stage; a clip that the earlier run lacks takes no part."""
    hidden = read_hidden(run, seed, dataset.utterance_ids)
    n = len(dataset.utterance_ids)
    has = np.ones(n, bool)
    for values in hidden.values():
        has &= np.isfinite(values).all(axis=1)
    return Prepared(
        vectors=hidden,
        steps=None,
        offsets=np.zeros(n + 1, np.int64),
        targets=np.stack([dataset.targets[condition] for condition in CONDITIONS]).astype(np.float32),
        splits=dataset.splits,
        videos=np.array(dataset.video_ids, dtype=np.str_),
        present=dict.fromkeys(MODALITY_OF, has),
        scalers={},
        schema={},
        n_classes=dataset.n_classes,
        positions=dataset.features.positions,
    )


def save_arrays(groups: Sequence[SeedGroup], folder: Path, text: StartingText | None = None) -> None:
    """Write each group's arrays into a folder of its name below `folder`, from which every process maps them.

    text : whose weights are written next to them
    """
    with store_errors(f"writing the arrays of the run to {folder}"):
        for group in groups:
            group.prepared.save(folder / group.name)
            if text is not None:
                write_tensors(folder / group.name / BERT_FILE, text.weights, {})
