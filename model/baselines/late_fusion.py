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
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.model.config import Config
    from fmltk.model.lstm import Packed


class LateFusionNet(nn.Module):
    """A network per modality -> concatenation -> y_M; with `multitask`, y_T, y_A and y_V from each network as well."""

    def __init__(self, dims: Mapping[str, int], config: Config, *, multitask: bool) -> None:
        super().__init__()
        if (config.fusion, config.losses) != ("concat", "weighted"):
            raise ConfigError("fusion and losses are choices of fmlmsn, and late-fusion has neither: leave them out")
        nets = {m: unimodal_net(m, dims[m], config) for m in UNIMODAL if m in dims}
        units = {m: net.d_out for m, net in nets.items()}
        self.nets = nn.ModuleDict(nets)
        tasks = tuple(nets) if multitask else ()
        n_classes = dims.get("classes", 0)
        self.unimodal = nn.ModuleDict(
            {m: Predictor(units[m], predictor_units(m, config), n_classes=n_classes) for m in tasks}
        )
        self.multimodal = Predictor(sum(units.values()), config.fdim, config.fdrp, n_classes)

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({task: intensity (B,)}, the multimodal predictor's hidden layer (B, fdim))."""
        representations = {m: net(inputs[m]) for m, net in self.nets.items()}
        predictions = {m: net(representations[m])[0] for m, net in self.unimodal.items()}
        y, hidden = self.multimodal(torch.cat(list(representations.values()), dim=1))
        return {**predictions, "M": y}, hidden


def _model(name: str, *, multitask: bool) -> ModelSpec:
    tasks = (*UNIMODAL, "M") if multitask else ("M",)
    stage = StageSpec("M", UNIMODAL, tasks, partial(LateFusionNet, multitask=multitask), needs_all=False)
    return ModelSpec(name, (stage,), takes_classes=True)


LATE_FUSION = _model("late-fusion", multitask=False)
LATE_FUSION_MT = _model("late-fusion-mt", multitask=True)
