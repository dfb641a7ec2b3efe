"""One stage of step 1: two modalities, three tasks, hard parameter sharing.

Source: paper, section 4.2, eqs. 3-6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.layers import Predictor, masked_loss
from fmltk.model.objective import Objective
from fmltk.model.unimodal import predictor_units, unimodal_net

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.model.config import Config
    from fmltk.model.lstm import Packed


LOG_SCALE = "log_scale_"  # an output of a stage that weighs its losses by their noise


class PairObjective(Objective):
    """Eq. 6; with losses = "uncertainty" each task's loss weighed by the noise that the stage finds in its labels.

    A task whose errors have the scale b costs loss / b + log b (the negative log-likelihood of Laplace's distribution,
    for an L1 loss); log b is learned. Validation stays eq. 6, so that epochs and settings compare.

    Source: Kendall, Gal and Cipolla 2018, Multi-task learning using uncertainty to weigh losses.
    """

    def loss(self, outputs: Mapping[str, Tensor], rows: NDArray[np.int64]) -> Tensor:
        """Return the loss of a batch of training clips, a scalar."""
        if self.config.losses == "weighted":
            return super().loss(outputs, rows)
        parts = []
        for task, truth in self.truths(rows).items():
            log_scale = outputs[LOG_SCALE + task]
            loss = masked_loss(outputs[task], truth) * torch.exp(-log_scale) + log_scale
            parts.append(self.weights[task] * loss)
        return torch.stack(parts).sum()


class PairNet(nn.Module):
    """The pair AV, AT or VT: y_alpha and y_beta from each modality, y_pair from their outer product."""

    def __init__(self, pair: str, dims: Mapping[str, int], config: Config) -> None:
        super().__init__()
        self.pair = pair
        self.alpha, self.beta = pair[0], pair[1]  # "AT" -> audio, text
        nets = {m: unimodal_net(m, dims[m], config) for m in pair}
        self.nets = nn.ModuleDict(nets)
        n_classes = dims.get("classes", 0)
        self.unimodal = nn.ModuleDict(
            {m: Predictor(net.d_out, predictor_units(m, config), n_classes=n_classes) for m, net in nets.items()}
        )
        self.bimodal = Predictor(nets[self.alpha].d_out * nets[self.beta].d_out, config.fdim, config.fdrp, n_classes)
        tasks = (*pair, pair) if config.losses == "uncertainty" else ()
        self.log_scales = nn.ParameterDict({task: nn.Parameter(torch.zeros(())) for task in tasks})

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({task: intensity (B,)}, H (B, fdim)) of the pair's two inputs."""
        r_alpha = self.nets[self.alpha](inputs[self.alpha])  # (B, d_alpha)
        r_beta = self.nets[self.beta](inputs[self.beta])  # (B, d_beta)
        product = torch.bmm(r_alpha[:, :, None], r_beta[:, None, :]).flatten(1)  # (B, d_alpha * d_beta), eq. 3
        y_pair, hidden = self.bimodal(product)  # eq. 5
        predictions = {
            self.alpha: self.unimodal[self.alpha](r_alpha)[0],  # eq. 4
            self.beta: self.unimodal[self.beta](r_beta)[0],
            self.pair: y_pair,
        }
        return predictions | {LOG_SCALE + task: value for task, value in self.log_scales.items()}, hidden
