"""The systems of a benchmark: every installed model, and FmlMSN's own variants in the paper's tables 6 and 9."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.model.config import settings_class
from fmltk.model.registry import model_names, model_spec
from fmltk.model.settings import nearest
from fmltk.toolkit.conditions import BIMODAL, UNIMODAL
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.toolkit.features.label_table import LabelTable

ALL = "all"
MAIN = "fmlmsn"
MULTIMODAL_LABELS, SAVED_HIDDEN = "fmlmsn-m", "fmlmsn-l"
REFERENCES = ("constant", "ridge")
_FAMILY = {  # name -> (what differs from FmlMSN, the run whose H it takes)
    MULTIMODAL_LABELS: (("bimodal=multimodal", "unimodal=multimodal"), None),
    SAVED_HIDDEN: (("retrain=never",), MAIN),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One system of a benchmark.

    name : of its run folder and its row; settings : KEY=VALUE texts, as `--set` takes them; config : a TOML file of
    settings; reuse : the name of the entry whose saved H it takes
    """

    name: str
    model: str
    settings: tuple[str, ...] = ()
    config: Path | None = None
    reuse: str | None = None


def choose_entries(
    models: Sequence[str], labels: LabelTable, *, variant: str | None, configs: Mapping[str, Path]
) -> tuple[list[Entry], dict[str, str]]:
    """Return the systems to train, and why any of those asked for is left out, by name.

    models : names of installed models, "fmlmsn-m", "fmlmsn-l", or "all"; variant : of those that have variants
    configs : by model, a TOML file of settings

    Raises ConfigError if a name is not known.
    """
    known = [*model_names(), *_FAMILY]
    wanted = known if ALL in models else list(dict.fromkeys(models))
    for name in (*wanted, *configs):
        if name not in known:
            raise ConfigError(f"there is no model {name!r}{nearest(name, known)}; models: all, {', '.join(known)}")
    entries, left_out = [], {}
    fine = any(np.isfinite(labels.values(condition)).any() for condition in (*UNIMODAL, *BIMODAL))
    for name in wanted:
        if name == MULTIMODAL_LABELS and not fine:
            left_out[name] = f"the labels are multimodal only, so that {MAIN} is the same"
        elif name == SAVED_HIDDEN and MAIN not in wanted:
            left_out[name] = f"it takes the saved H of {MAIN}, which is not among the models"
        else:
            entries.append(_entry(name, variant, configs))
    return entries, left_out


def _entry(name: str, variant: str | None, configs: Mapping[str, Path]) -> Entry:
    settings, reuse = _FAMILY.get(name, ((), None))
    model = MAIN if name in _FAMILY else name
    if variant is not None and "variant" in settings_class(model_spec(model).name).__dataclass_fields__:
        settings = (*settings, f"variant={variant}")
    return Entry(name, model, settings, configs.get(name, configs.get(model)), reuse)


def ablations(model: str, labels: LabelTable, *, config: Path | None) -> list[Entry]:
    """Return a model whole, and without each modality, kind of labels and kind of tasks that it and the data have.

    Without labels, the tasks learn the multimodal one; without tasks, their weights in the loss are 0.
    """
    spec = model_spec(model)
    read = spec.modalities(spec.stages[-1])
    entries = [Entry(model, model, config=config)]
    if len(read) > 1:
        for letter in read:
            rest = ",".join(one for one in read if one != letter)
            entries.append(Entry(f"{model}-without-{letter}", model, (f'modalities="{rest}"',), config))
    tasks = {task for stage in spec.stages for task in stage.tasks}
    for kind, conditions in (("unimodal", UNIMODAL), ("bimodal", BIMODAL)):
        learned = [one for one in conditions if one in tasks]
        if learned and any(np.isfinite(labels.values(one)).any() for one in learned):
            entries.append(Entry(f"{model}-without-{kind}-labels", model, (f"{kind}=multimodal",), config))
        weights = tuple(f"omega_{one.lower()}=0.0" for one in learned)
        if learned and kind == "unimodal":  # FmlMSN's stages are trained by their bimodal task
            entries.append(Entry(f"{model}-without-{kind}-tasks", model, weights, config))
    return entries
