"""Step 2: the meta-learner on the three pairs' hidden activations.

Source: paper, section 4.3, eq. 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.layers import Predictor
from fmltk.model.lstm import Packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class FusionNet(nn.Module):
    """The inputs concatenated -> dropout -> two hidden ReLU layers -> y_M."""

    def __init__(self, inputs: Sequence[str], dims: Mapping[str, int], d_hidden: int, dropout: float) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        self.predictor = Predictor(sum(dims[name] for name in self.inputs), d_hidden, dropout, dims.get("classes", 0))

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,)}, last hidden layer (B, d_hidden)) of inputs such as H_AV (B, fdim)."""
        joined = torch.cat([_matrix(inputs[name]) for name in self.inputs], dim=1)  # (B, 3 fdim)
        y, hidden = self.predictor(joined)
        return {"M": y}, hidden


def _matrix(value: Tensor | Packed) -> Tensor:
    if isinstance(value, Packed):
        raise TypeError("the fusion reads one vector per clip, not sequences")
    return value
