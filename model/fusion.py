"""Step 2: the meta-learner on the three pairs' hidden activations.

Source: paper, section 4.3, eq. 7. The paper puts them side by side; the gates and the attention are beyond it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.layers import Predictor
from fmltk.model.lstm import Packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Concatenation(nn.Module):
    """[H_1; H_2; H_3], as in the paper."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.d_out = sum(widths)

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Return (B, d_1 + d_2 + d_3) of parts (B, d_k)."""
        return torch.cat(list(parts), dim=1)


class Gates(Concatenation):
    """[g_1 H_1; g_2 H_2; g_3 H_3]: a gate of each pair, between 0 and 1, that all of them decide."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__(widths)
        self.gate = nn.Linear(sum(widths), len(widths))

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Return (B, d_1 + d_2 + d_3) of parts (B, d_k)."""
        gates = torch.sigmoid(self.gate(torch.cat(list(parts), dim=1)))  # (B, 3)
        return torch.cat([part * gates[:, k, None] for k, part in enumerate(parts)], dim=1)


class Attention(nn.Module):
    """a_1 H_1 + a_2 H_2 + a_3 H_3: the weights are a softmax over the pairs of what each says for itself."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.d_out = widths[0]  # of all: every pair has fdim hidden units
        self.scores = nn.ModuleList([nn.Linear(d, 1) for d in widths])

    def forward(self, parts: Sequence[Tensor]) -> Tensor:
        """Return (B, d) of parts (B, d)."""
        scores = [score(part) for score, part in zip(self.scores, parts, strict=True)]
        weights = torch.softmax(torch.cat(scores, dim=1), dim=1)  # (B, 3)
        return (torch.stack(list(parts), dim=1) * weights[:, :, None]).sum(dim=1)


JOINS: dict[str, type[Concatenation | Gates | Attention]] = {
    "concat": Concatenation,
    "gated": Gates,
    "attention": Attention,
}


class FusionNet(nn.Module):
    """The inputs joined -> dropout -> two hidden ReLU layers -> y_M."""

    def __init__(
        self, inputs: Sequence[str], dims: Mapping[str, int], d_hidden: int, dropout: float, *, join: str = "concat"
    ) -> None:
        super().__init__()
        self.inputs = tuple(inputs)
        joined = JOINS[join]([dims[name] for name in self.inputs])
        self.join = joined
        self.predictor = Predictor(joined.d_out, d_hidden, dropout, dims.get("classes", 0))

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,)}, last hidden layer (B, d_hidden)) of inputs such as H_AV (B, fdim)."""
        joined = self.join([_matrix(inputs[name]) for name in self.inputs])  # (B, 3 fdim), by attention (B, fdim)
        y, hidden = self.predictor(joined)
        return {"M": y}, hidden


def _matrix(value: Tensor | Packed) -> Tensor:
    if isinstance(value, Packed):
        raise TypeError("the fusion reads one vector per clip, not sequences")
    return value
