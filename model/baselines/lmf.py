"""LMF and MLMF: the outer product of the three representations with 1 in front, by low-rank factors.

LMF learns the multimodal label alone; MLMF the three unimodal labels as well. The public code declares a dropout after
the fusion and never applies it, in the authors' own repository as in MMSA; neither variant has it.

Source: Liu et al. 2018, Efficient low-rank multimodal fusion; MMSA 2.2.1, models/singleTask/LMF.py and
models/multiTask/MLMF.py (see `feature_level`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.feature_level import ORDER, FeatureSettings, HeadSettings, build_net, feature_level_model
from fmltk.model.settings import count, positive

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class LmfSettings(FeatureSettings):
    """LMF's. rank : of the factors; factor_lr : their learning rate. The text network gives thid // 2 numbers."""

    rank: int = count(4)
    factor_lr: float = positive(0.001)


@dataclass(frozen=True)
class MlmfSettings(LmfSettings, HeadSettings):
    """MLMF's: with the unimodal predictors."""


class LowRankFusion(nn.Module):
    """z = prod_m [1; h_m] F_m, one number per rank -> y_M = w z + b."""

    def __init__(self, units: Mapping[str, int], rank: int) -> None:
        super().__init__()
        self.factors = nn.ParameterDict({m: torch.empty(rank, units[m] + 1) for m in ORDER})
        self.weights = nn.Parameter(torch.empty(1, rank))
        self.bias = nn.Parameter(torch.zeros(1))
        for factor in (*self.factors.values(), self.weights):
            nn.init.xavier_normal_(factor)

    def forward(self, representations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (intensity (B,), z (B, rank))."""
        z = torch.ones((), device=self.bias.device)
        for m in ORDER:
            factor = self.factors[m]
            z = z * torch.addmm(factor[:, 0], representations[m], factor[:, 1:].t())  # (B, rank), the 1 in front
        return (z @ self.weights.t() + self.bias).squeeze(-1), z

    def weight_groups(self, settings: LmfSettings) -> list[dict[str, Any]]:
        """Return the factors' group, and one of w and b where they are trained: in the public code they are not."""
        groups: list[dict[str, Any]] = [{"params": list(self.factors.values()), "lr": settings.factor_lr}]
        return groups if settings.variant == "published" else [*groups, {"params": [self.weights, self.bias]}]


def build_lmf(dims: Mapping[str, int], settings: LmfSettings) -> nn.Module:
    """Return LMF, or MLMF where the settings are its."""
    return build_net(dims, settings, max(settings.thid // 2, 1), lambda units: LowRankFusion(units, settings.rank))


LMF = feature_level_model("lmf", build_lmf, LmfSettings, multitask=False)
MLMF = feature_level_model("mlmf", build_lmf, MlmfSettings, multitask=True)
