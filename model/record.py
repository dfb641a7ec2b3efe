"""training.json: what a run was trained on, and whether a second call would train the same run."""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.checkpoint import schema_differences
from fmltk.model.config import write_toml
from fmltk.model.dataset import split_counts
from fmltk.model.prepared import fingerprint
from fmltk.model.products import BLAS, usable_ways, way_for
from fmltk.model.run_folder import (
    CONFIG_FILE,
    TRAINING_FILE,
    finished_seeds,
    run_config,
    run_document,
    training_file,
)
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.documents import write_json

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.model.plan import RunPlan
    from fmltk.model.prepared import Prepared
    from fmltk.model.reuse import Decision
    from fmltk.model.settings import Settings

COMPARED = ("scale", "splits", "label_sources", "device", "torch", "reuse")


def training_document(plan: RunPlan, prepared: Prepared, decisions: Mapping[int, Decision]) -> dict[str, Any]:
    """Return what training.json holds: all that two calls must agree on to be the same run, and what users ask later.

    prepared : the arrays of the run's first seeds
    """
    import torch

    arrays: list[NDArray[Any]] = [*prepared.vectors.values(), prepared.offsets]
    if prepared.steps is not None:
        arrays.append(prepared.steps)
    for sequences in prepared.sequences.values():
        arrays += [sequences.steps, sequences.offsets]
    if plan.model.reads_videos:
        arrays.append(np.argsort(prepared.positions))  # the order of the clips, whatever else the folder holds
    if plan.text is not None:
        arrays.append(np.frombuffer(plan.text.document["sha256"].encode(), np.uint8))
    dataset, reuse, schema = plan.dataset, plan.options.reuse, prepared.schema
    if reuse is not None and not schema:
        schema = run_document(reuse)["schema"]
    return {
        "fmltk": metadata.version("fmltk"),
        "torch": torch.__version__.split("+")[0],
        "features": str(plan.features),
        "labels": plan.labels,
        "reuse": None if reuse is None else str(reuse),
        "device": plan.options.device.split(":")[0],
        "products": _products(plan, prepared),
        "family": dataset.family,
        "scale": str(dataset.scale),
        "splits": split_counts(dataset),
        "label_sources": dict(dataset.sources),
        "remarks": list(dataset.remarks),
        "excluded": dict(plan.excluded),
        "schema": {letter: dict(document) for letter, document in schema.items()},
        "fingerprint": fingerprint(dataset, arrays),
        "decisions": {str(seed): decision.reason for seed, decision in decisions.items()},
    }


def _products(plan: RunPlan, prepared: Prepared) -> str:
    """Return how the run computes large products: those of text LSTMs, on a CPU."""
    steps = prepared.steps
    if steps is None or plan.model.reads_tokens or plan.options.device != "cpu":
        return BLAS
    return way_for(len(steps) / max(len(prepared.splits), 1) * plan.config.bs, steps.shape[1])


def open_run(out: Path, config: Settings, document: Mapping[str, Any]) -> str:
    """Begin a run folder, or check that what it holds is the same run; return how it computes large products.

    Raises ConfigError with what differs, also if this torch cannot compute as the run began.
    """
    if training_file(out) is None:
        if finished_seeds(out):
            raise ConfigError(
                f"{out} has trained seeds, but no {TRAINING_FILE} that says of what; choose another -o, or delete the "
                "folder"
            )
        write_toml(config, out / CONFIG_FILE)
        write_json(out / TRAINING_FILE, document, indent=1)
        return str(document["products"])
    settings, before = run_config(out).as_dict(), run_document(out)
    same_model = settings["model"] == config.model  # else they have different settings
    differences = [
        *_changes(settings, config.as_dict(), settings if same_model else ["model"]),
        *_changes(before, document, COMPARED),
    ]
    if not differences and before["fingerprint"] != document["fingerprint"]:
        words = schema_differences(before["schema"], document["schema"])
        differences.append("the features or the labels changed" + (f" ({'; '.join(words)})" if words else ""))
    if differences:
        raise ConfigError(f"{out} holds a run of other settings: {'; '.join(differences)}. Choose another -o")
    products = before.get("products", document["products"])  # 0.1.0 recorded none
    if products not in usable_ways():
        raise ConfigError(
            f"{out} was begun with products by {products!r}, and this torch has {', '.join(usable_ways())}: continue "
            "it where it was begun, or choose another -o"
        )
    return str(products)


def _changes(before: Mapping[str, Any], now: Mapping[str, Any], keys: Iterable[str]) -> list[str]:
    return [f"{key} was {before[key]!r}, now {now[key]!r}" for key in keys if before[key] != now[key]]
