"""The memory that a run's weights and whole sequences need, said before any is taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from fmltk.model.bert import TextNetwork
from fmltk.model.network import make_network
from fmltk.model.registry import VIDEOS
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.machine import total_memory

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from fmltk.model.registry import StageSpec
    from fmltk.model.settings import Settings
    from fmltk.toolkit.console import Reporter

SAID_FROM_BYTES = 2**28  # a quarter of a GB: less is what any run needs
COPIES = 5  # the weights, their gradients, Adam's two means, the best epoch's weights
FLOAT_BYTES = 4


def report_memory(
    stages: Sequence[StageSpec],
    dims: Mapping[str, int],
    settings: Settings,
    *,
    text: TextNetwork | None = None,
    n_at_once: int,
    reporter: Reporter,
) -> None:
    """Say what memory a worker needs for the largest of the stages whose inputs' widths are known, if it is much.

    text : the BERT of stages that have one
    n_at_once : how many workers train at the same time; more than the machine's memory is a warning
    """
    known = [stage for stage in stages if set(stage.inputs) - {VIDEOS} <= set(dims)]
    counts = {stage.name: n_weights(stage, dims, settings, text) for stage in known}
    name = max(counts, key=lambda stage: counts[stage], default="")
    needed = COPIES * FLOAT_BYTES * counts.get(name, 0)
    if needed < SAID_FROM_BYTES:
        return
    reporter.say(
        f"stage {name} has {counts[name]:,} weights: a worker needs {needed / 1e9:.1f} GB for them, their gradients, "
        "Adam's two means and the best epoch's copy"
    )
    if n_at_once * needed > total_memory():
        reporter.warn(
            f"{n_at_once} at once need {n_at_once * needed / 1e9:.1f} GB, and this machine has "
            f"{total_memory() / 1e9:.1f} GB; "
            + (
                "use a smaller --jobs"
                if n_at_once > 1
                else "set fewer units, such as tout and vhid, or use another machine"
            )
        )


def n_weights(stage: StageSpec, dims: Mapping[str, int], settings: Settings, text: TextNetwork | None = None) -> int:
    """Return how many weights a stage's network has, without making any; text : its BERT, if it has one."""
    with torch.device("meta"):
        net = make_network(stage, dims, settings, None if text is None else TextNetwork(text.shape))
    return sum(weight.numel() for weight in net.parameters())


def report_sequences(folder: str | os.PathLike[str], *, reporter: Reporter) -> None:
    """Say what memory the sequences of a features folder take where they are read whole, if it is much.

    They are kept without padding, in one copy as they are and one as the networks read them.
    """
    tables = read_features(folder).modalities.values()
    n_bytes = sum(
        FLOAT_BYTES * int(np.minimum(table.lengths, table.length).sum()) * table.dimension for table in tables
    )
    if n_bytes < SAID_FROM_BYTES:
        return
    reporter.say(f"the sequences take {n_bytes / 1e9:.1f} GB without their padding, twice that while they are prepared")
    if 2 * n_bytes > total_memory():
        reporter.warn(
            f"preparing the sequences takes {2 * n_bytes / 1e9:.1f} GB, and this machine has "
            f"{total_memory() / 1e9:.1f} GB; pad to fewer steps (`fmltk pad --max-length`), or use another machine"
        )
