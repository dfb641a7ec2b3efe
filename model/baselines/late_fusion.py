"""LF-DNN and MLF-DNN: one network per modality, their representations concatenated.

LF-DNN learns the multimodal label alone; MLF-DNN learns the three unimodal labels as well.

Source: paper, section 5.2.
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


LF_DNN = ModelSpec("lf-dnn", (StageSpec("M", UNIMODAL, ("M",), partial(LateFusionNet, multitask=False)),))
MLF_DNN = ModelSpec("mlf-dnn", (StageSpec("M", UNIMODAL, (*UNIMODAL, "M"), partial(LateFusionNet, multitask=True)),))
