"""FmlMSN: three pairwise stages with the labels of their conditions, then the fusion of what they learned.

Source: paper, section 4, algorithm 1.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fmltk.model.fusion import FusionNet
from fmltk.model.pairwise import PairNet, PairObjective
from fmltk.model.registry import ModelSpec, StageSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from fmltk.model.config import Config

FUSION_INPUTS = ("H_AV", "H_AT", "H_VT")


def _build_fusion(dims: Mapping[str, int], config: Config) -> nn.Module:
    inputs = [name for name in FUSION_INPUTS if name in dims]
    return FusionNet(inputs, dims, config.fdim, config.fdrp, join=config.fusion)


def _pair(pair: str) -> StageSpec:
    return StageSpec(pair, tuple(pair), (*pair, pair), partial(PairNet, pair), objective=PairObjective)


FMLMSN = ModelSpec(
    "fmlmsn",
    (
        _pair("AV"),  # algorithm 1, step 1
        _pair("AT"),
        _pair("VT"),
        StageSpec("fusion", FUSION_INPUTS, ("M",), _build_fusion, needs_all=False),  # step 2
    ),
    takes_classes=True,
)
