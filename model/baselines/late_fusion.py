"""late-fusion and late-fusion-mt: FmlMSN's three unimodal networks, their representations concatenated.

late-fusion learns the multimodal label alone; late-fusion-mt the three unimodal labels as well. They are FmlMSN's parts
without its stages, which tells what the stages bring; the published LF-DNN and MLF-DNN are in `lf_dnn`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.layers import Predictor
from fmltk.model.registry import ModelSpec, StageSpec
from fmltk.model.unimodal import predictor_units, unimodal_net
from fmltk.toolkit.conditions import UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.model.config import Config
    from fmltk.model.lstm import Packed


class LateFusionNet(nn.Module):
    """Three unimodal networks -> concatenation -> y_M; with `multitask`, y_T, y_A and y_V from each network as well."""

    def __init__(self, dims: Mapping[str, int], config: Config, *, multitask: bool) -> None:
        super().__init__()
        nets = {m: unimodal_net(m, dims[m], config) for m in UNIMODAL}
        units = {m: net.d_out for m, net in nets.items()}
        self.nets = nn.ModuleDict(nets)
        tasks = UNIMODAL if multitask else ()
        self.unimodal = nn.ModuleDict({m: Predictor(units[m], predictor_units(m, config)) for m in tasks})
        self.multimodal = Predictor(sum(units.values()), config.fdim, config.fdrp)

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({task: intensity (B,)}, the multimodal predictor's hidden layer (B, fdim))."""
        representations = {m: self.nets[m](inputs[m]) for m in UNIMODAL}
        predictions = {m: net(representations[m])[0] for m, net in self.unimodal.items()}
        y, hidden = self.multimodal(torch.cat([representations[m] for m in UNIMODAL], dim=1))
        return {**predictions, "M": y}, hidden


LATE_FUSION = ModelSpec("late-fusion", (StageSpec("M", UNIMODAL, ("M",), partial(LateFusionNet, multitask=False)),))
LATE_FUSION_MT = ModelSpec(
    "late-fusion-mt", (StageSpec("M", UNIMODAL, (*UNIMODAL, "M"), partial(LateFusionNet, multitask=True)),)
)
