"""A stage's network, with a BERT in it where the stage reads tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fmltk.model.bert import BertShape, TextNetwork
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import nn

    from fmltk.model.registry import StageSpec

NETWORK = "network"  # key of the text's schema: the shape of the BERT that is trained, and which text model it was


def make_network(spec: StageSpec, dims: Mapping[str, int], settings: Any, text: TextNetwork | None) -> nn.Module:
    """Return the network of a stage.

    dims : the width of each input; text : of the BERT, None for stages without one

    Raises ConfigError if the stage reads tokens and no BERT is given.
    """
    if not spec.reads_tokens:
        return spec.build(dims, settings)
    if text is None:
        raise ConfigError(f"stage {spec.name} trains a text model, and none is given: name one with --text-model")
    return spec.build(dims, settings, text.make(settings))


def text_network_of(schema: Mapping[str, Mapping[str, Any]], weights: Path | None = None) -> TextNetwork | None:
    """Return the BERT that the text's schema describes, None if it describes none; weights : where they are."""
    document = schema.get("T", {}).get(NETWORK)
    return None if document is None else TextNetwork(BertShape.of(document["shape"]), weights)
