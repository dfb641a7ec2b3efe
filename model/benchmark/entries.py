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

    from fmltk.model.settings import Settings
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


def known_systems() -> list[str]:
    """Return the name of every system that can be in a benchmark."""
    return [*model_names(), *_FAMILY]


def choose_entries(
    models: Sequence[str], labels: LabelTable, *, variant: str | None, configs: Mapping[str, Path]
) -> tuple[list[Entry], dict[str, str]]:
    """Return the systems to train, and why any of those asked for is left out, by name.

    models : names of installed models, "fmlmsn-m", "fmlmsn-l", or "all"; variant : of those that have variants
    configs : by model, a TOML file of settings

    Raises ConfigError if a name is not known.
    """
    known = known_systems()
    wanted = known if ALL in models else list(dict.fromkeys(models))
    if not wanted:
        raise ConfigError(f"--models names none; models: all, {', '.join(known)}")
    for name, path in configs.items():
        if not path.is_file():
            raise ConfigError(f"--config {name}={path}: the file does not exist")
    for name in (*wanted, *configs):
        if name not in known:
            raise ConfigError(f"{name!r} is not a model{nearest(name, known)}; models: all, {', '.join(known)}")
    if variant is not None and not any(_has_variants(_model_of(name)) for name in wanted):
        raise ConfigError(f"--variant {variant}: {', '.join(wanted)} has one form only; leave it out")
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
    model = _model_of(name)
    if variant is not None and _has_variants(model):
        settings = (*settings, f"variant={variant}")
    return Entry(name, model, settings, configs.get(name, configs.get(model)), reuse)


def _model_of(name: str) -> str:
    return MAIN if name in _FAMILY else name


def _has_variants(model: str) -> bool:
    return "variant" in settings_class(model).__dataclass_fields__


def ablations(model: str, labels: LabelTable, config: Settings, *, file: Path | None) -> list[Entry]:
    """Return a model whole, and without each modality, kind of labels and kind of tasks that it and the data have.

    config : the settings that every model has; file : a TOML file of the model's own
    Without labels, the tasks learn the multimodal one; without tasks, their weights in the loss are 0.
    """
    spec = model_spec(model).within(config.modalities.split(","))
    read = spec.modalities(spec.stages[-1])
    entries = [Entry(model, model, config=file)]
    if len(read) > 1:
        for letter in read:
            rest = ",".join(one for one in read if one != letter)
            entries.append(Entry(f"{model}-without-{letter}", model, (f'modalities="{rest}"',), file))
    tasks = {task for stage in spec.stages for task in stage.tasks}
    for kind, conditions in (("unimodal", UNIMODAL), ("bimodal", BIMODAL)):
        learned = [one for one in conditions if one in tasks]
        if learned and any(np.isfinite(labels.values(one)).any() for one in learned):
            entries.append(Entry(f"{model}-without-{kind}-labels", model, (f"{kind}=multimodal",), file))
        weights = tuple(f"omega_{one.lower()}=0.0" for one in learned)
        if learned and kind == "unimodal":  # FmlMSN's stages are trained by their bimodal task
            entries.append(Entry(f"{model}-without-{kind}-tasks", model, weights, file))
    return entries
