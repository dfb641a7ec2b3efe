"""One stage of step 1: two modalities, three tasks, hard parameter sharing.

Source: paper, section 4.2, eqs. 3-6.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor, nn

from fmltk.model.layers import Predictor
from fmltk.model.unimodal import predictor_units, unimodal_net

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.model.config import Config
    from fmltk.model.lstm import Packed


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

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({task: intensity (B,)}, H (B, fdim)) of the pair's two inputs."""
        r_alpha = self.nets[self.alpha](inputs[self.alpha])  # (B, d_alpha)
        r_beta = self.nets[self.beta](inputs[self.beta])  # (B, d_beta)
        product = (r_alpha[:, :, None] * r_beta[:, None, :]).flatten(1)  # (B, d_alpha * d_beta), eq. 3
        y_pair, hidden = self.bimodal(product)  # eq. 5
        predictions = {
            self.alpha: self.unimodal[self.alpha](r_alpha)[0],  # eq. 4
            self.beta: self.unimodal[self.beta](r_beta)[0],
            self.pair: y_pair,
        }
        return predictions, hidden
