"""TFN and MTFN: the outer product of the three representations with 1 in front.

TFN learns the multimodal label alone; MTFN the three unimodal labels as well. The multimodal intensity is a sigmoid
stretched to -3..3, on CH-SIMS's labels of -1..1 as well. Nearly all weights are those of the layer behind the product:
`tensor_linear` computes both at once.

Source: Zadeh et al. 2017, Tensor fusion network; MMSA 2.2.1, models/singleTask/TFN.py and models/multiTask/MTFN.py (see
`feature_level`).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.feature_level import ORDER, build_net, feature_level_model
from fmltk.model.baselines.lf_dnn import LfDnnSettings, MlfDnnSettings
from fmltk.model.baselines.tensor_linear import tensor_linear

if TYPE_CHECKING:
    from collections.abc import Mapping

LOW, HIGH = -3.0, 3.0  # what the multimodal intensity is stretched to


class TensorFusion(nn.Module):
    """[1; h_A] x [1; h_V] x [1; h_T] -> dropout -> two hidden ReLU layers -> y_M between -3 and 3."""

    def __init__(self, units: Mapping[str, int], settings: LfDnnSettings) -> None:
        super().__init__()
        d_product = math.prod(units[m] + 1 for m in ORDER)
        self.dropout = settings.fdrp
        self.first = nn.Linear(d_product, settings.fdim)
        self.second = nn.Linear(settings.fdim, settings.fdim)
        self.output = nn.Linear(settings.fdim, 1)

    def forward(self, representations: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return (intensity (B,), last hidden layer (B, fdim))."""
        a, v, t = (nn.functional.pad(representations[m], (1, 0), value=1.0) for m in ORDER)  # (B, d_m + 1)
        dropout = self.dropout if self.training else 0.0
        h = torch.relu(tensor_linear(a, v, t, self.first, dropout=dropout))  # (B, fdim)
        h = torch.relu(self.second(h))  # (B, fdim)
        y = torch.sigmoid(self.output(h)).squeeze(-1)  # (B,), 0..1
        return LOW + (HIGH - LOW) * y, h

    def weight_groups(self, _: LfDnnSettings) -> list[dict[str, Any]]:
        """Return one group of all weights."""
        return [{"params": list(self.parameters())}]


def build_tfn(dims: Mapping[str, int], settings: LfDnnSettings) -> nn.Module:
    """Return TFN, or MTFN where the settings are its."""
    return build_net(dims, settings, settings.tout, lambda units: TensorFusion(units, settings))


TFN = feature_level_model("tfn", build_tfn, LfDnnSettings, multitask=False)
MTFN = feature_level_model("mtfn", build_tfn, MlfDnnSettings, multitask=True)
