"""FmlMSN: three pairwise stages, then the fusion of what they learned.

Source: paper, section 4, algorithm 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.model.fusion import FusionNet
from fmltk.model.pairwise import PairNet
from fmltk.model.registry import ModelSpec, StageSpec, register_model

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

    from fmltk.model.config import Config

PAIRS = ("AV", "AT", "VT")  # algorithm 1, step 1
FUSION_INPUTS = ("H_AV", "H_AT", "H_VT")  # algorithm 1, step 2


def _build_av(dims: Mapping[str, int], config: Config) -> nn.Module:
    return PairNet("AV", dims, config)


def _build_at(dims: Mapping[str, int], config: Config) -> nn.Module:
    return PairNet("AT", dims, config)


def _build_vt(dims: Mapping[str, int], config: Config) -> nn.Module:
    return PairNet("VT", dims, config)


def _build_fusion(dims: Mapping[str, int], config: Config) -> nn.Module:
    return FusionNet(FUSION_INPUTS, dims, config.fdim, config.fdrp)


FMLMSN = register_model(
    ModelSpec(
        "fmlmsn",
        "three pairwise stages with seven labels, then fusion",
        (
            StageSpec("AV", ("A", "V"), ("A", "V", "AV"), _build_av),
            StageSpec("AT", ("A", "T"), ("A", "T", "AT"), _build_at),
            StageSpec("VT", ("V", "T"), ("V", "T", "VT"), _build_vt),
            StageSpec("fusion", FUSION_INPUTS, ("M",), _build_fusion),
        ),
    )
)
