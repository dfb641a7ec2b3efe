"""LF-DNN and MLF-DNN: the three representations concatenated.

LF-DNN learns the multimodal label alone; MLF-DNN the three unimodal labels as well.

Source: MMSA 2.2.1, models/singleTask/LF_DNN.py and models/multiTask/MLF_DNN.py (see `feature_level`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.feature_level import ORDER, FeatureSettings, HeadSettings, build_net, feature_level_model
from fmltk.model.layers import Predictor
from fmltk.model.settings import count, share

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class LfDnnSettings(FeatureSettings):
    """LF-DNN's and TFN's. tout : outputs of the text network; fdim, fdrp : of the predictor after the fusion."""

    tout: int = count(256)
    fdim: int = count(32)
    fdrp: float = share()


@dataclass(frozen=True)
class MlfDnnSettings(LfDnnSettings, HeadSettings):
    """MLF-DNN's and MTFN's: with the unimodal predictors."""


class Concatenation(nn.Module):
    """[h_A; h_V; h_T] -> dropout -> two hidden ReLU layers -> y_M."""

    def __init__(self, units: Mapping[str, int], settings: LfDnnSettings) -> None:
        super().__init__()
        self.predictor = Predictor(sum(units.values()), settings.fdim, settings.fdrp)

    def forward(self, representations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (intensity (B,), last hidden layer (B, fdim))."""
        joined = torch.cat([representations[m] for m in ORDER if m in representations], dim=1)  # (B, d_A + d_V + d_T)
        y, hidden = self.predictor(joined)
        return y, hidden

    def weight_groups(self, _: LfDnnSettings) -> list[dict[str, Any]]:
        """Return one group of all weights."""
        return [{"params": list(self.parameters())}]


def build_lf_dnn(dims: Mapping[str, int], settings: LfDnnSettings) -> nn.Module:
    """Return LF-DNN, or MLF-DNN where the settings are its."""
    return build_net(dims, settings, settings.tout, lambda units: Concatenation(units, settings))


LF_DNN = feature_level_model("lf-dnn", build_lf_dnn, LfDnnSettings, multitask=False, needs_all=False)
MLF_DNN = feature_level_model("mlf-dnn", build_lf_dnn, MlfDnnSettings, multitask=True, needs_all=False)
