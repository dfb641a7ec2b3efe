"""FmlMSN: three pairwise stages with the labels of their conditions, then the fusion of what they learned.

Source: paper, section 4, algorithm 1.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from fmltk.model.fusion import FusionNet
from fmltk.model.pairwise import PairNet
from fmltk.model.registry import ModelSpec, StageSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from fmltk.model.config import Config

FUSION_INPUTS = ("H_AV", "H_AT", "H_VT")


def _build_fusion(dims: Mapping[str, int], config: Config) -> nn.Module:
    inputs = [name for name in FUSION_INPUTS if name in dims]
    return FusionNet(inputs, dims, config.fdim, config.fdrp)


FMLMSN = ModelSpec(
    "fmlmsn",
    (
        StageSpec("AV", ("A", "V"), ("A", "V", "AV"), partial(PairNet, "AV")),  # algorithm 1, step 1
        StageSpec("AT", ("A", "T"), ("A", "T", "AT"), partial(PairNet, "AT")),
        StageSpec("VT", ("V", "T"), ("V", "T", "VT"), partial(PairNet, "VT")),
        StageSpec("fusion", FUSION_INPUTS, ("M",), _build_fusion, needs_all=False),  # step 2
    ),
    takes_classes=True,
)
