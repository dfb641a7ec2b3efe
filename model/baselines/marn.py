"""MARN: three LSTMs that read, next to their own states, what several attentions over all three found a word before.

Text, audio and vision have one step per word (`fmltk align`); the padding behind the last word is read as well.

Source: Zadeh et al. 2018, Multi-attention recurrent network for human communication comprehension; the public code of
S. Verma, marn_module.py and MARN.py, which takes its two blocks from the CMU Multimodal SDK (MIT). That code compares
validation predictions with training labels when it chooses an epoch, and drops the last batch; fmltk does neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.feature_level import PublishedSettings
from fmltk.model.baselines.mfn import Mlp, input_gates, n_text_steps
from fmltk.model.registry import ModelSpec, StageSpec
from fmltk.model.settings import choice, count, positive, share, whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.model.lstm import Packed

INPUTS = {"V": "V_pooled", "A": "A_pooled", "T": "T"}


@dataclass(frozen=True)
class MarnSettings(PublishedSettings):
    """MARN's.

    thid, ahid, vhid : units of the three LSTMs
    tz, az, vz : numbers of each modality in what the attentions found
    heads : attentions
    fdim : hidden units of the predictor
    variant : "published": vision and audio never read their own last states, which the public code forgets to keep;
        "corrected": they do
    """

    lr: float = positive(0.0001)
    bs: int = count(256)
    patience: int = count(250)
    max_epochs: int = count(250)
    plateau: int = whole(100)
    plateau_factor: float = share(0.5)
    text_steps: str = choice("padded")
    thid: int = count(128)
    ahid: int = count(30)
    vhid: int = count(32)
    tz: int = count(32)
    az: int = count(16)
    vz: int = count(16)
    heads: int = count(4)
    fdim: int = count(10)
    variant: str = choice("published", "corrected")


class HybridCell(nn.Module):
    """An LSTM cell whose gates also read z; in the order forget, input, output, candidate."""

    def __init__(self, d_in: int, d_hidden: int, d_z: int) -> None:
        super().__init__()
        self.from_input, self.from_state, self.from_z = (nn.Linear(d, 4 * d_hidden) for d in (d_in, d_hidden, d_z))
        for layer in (self.from_input, self.from_state, self.from_z):
            nn.init.zeros_(layer.bias)
            nn.init.ones_(layer.bias[:d_hidden])  # the forget gates start open

    def forward(self, gates: Tensor, h: Tensor | None, cell: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next (h, cell), (B, d).

        gates : what the input gives them, (B, 4 d); h : None where the cell does not read its last state
        """
        gates = gates + self.from_z(z) + (self.from_state.bias if h is None else self.from_state(h))
        f, i, o, g = gates.chunk(4, dim=1)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        return torch.sigmoid(o) * torch.tanh(cell), cell


class Attentions(nn.Module):
    """The states of V, A and T -> several shares of each of their numbers -> z, one layer per modality.

    The shares of all attentions and numbers together are 1, as in the public code.
    """

    def __init__(self, units: Mapping[str, int], z_units: Mapping[str, int], heads: int) -> None:
        super().__init__()
        self.heads, self.units = heads, list(units.values())
        d = sum(self.units)
        self.shares = nn.Linear(d, heads * d)
        self.reduce = nn.ModuleDict({m: nn.Linear(heads * units[m], z_units[m]) for m in units})

    def forward(self, states: Mapping[str, Tensor]) -> Tensor:
        """Return z, (B, sum of z_units), of states (B, d_m)."""
        shares = torch.softmax(self.shares(torch.cat(list(states.values()), dim=1)), dim=1)  # (B, heads * D)
        parts = torch.split(shares, [self.heads * d for d in self.units], dim=1)
        attended = [part * h.repeat(1, self.heads) for part, h in zip(parts, states.values(), strict=True)]
        return torch.cat([self.reduce[m](one) for m, one in zip(states, attended, strict=True)], dim=1)


class MarnNet(nn.Module):
    """Steps of V, A and T -> three cells, with attention over their states at every step -> the last z -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: MarnSettings) -> None:
        super().__init__()
        units = {"V": settings.vhid, "A": settings.ahid, "T": settings.thid}
        z_units = {"V": settings.vz, "A": settings.az, "T": settings.tz}
        d_z = sum(z_units.values())
        self.d_z, self.units = d_z, units
        self.cells = nn.ModuleDict({m: HybridCell(dims[name], units[m], d_z) for m, name in INPUTS.items()})
        self.attentions = Attentions(units, z_units, settings.heads)
        self.output = Mlp(d_z, settings.fdim, 1, 0.0)
        self.forgetful = ("V", "A") if settings.variant == "published" else ()

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,)}, the last z (B, d_z))."""
        n_steps = n_text_steps(inputs["T"])
        gates = {
            m: self._input_gates(m, inputs[name], n_steps).unbind() for m, name in INPUTS.items()
        }  # L of (B, 4 d_m)
        n, zeros = len(gates["T"][0]), gates["T"][0].new_zeros
        h, cell = ({m: zeros(n, d) for m, d in self.units.items()} for _ in range(2))
        z = zeros(n, self.d_z)
        for step in range(n_steps):
            for m, one in self.cells.items():
                h[m], cell[m] = one(gates[m][step], None if m in self.forgetful else h[m], cell[m], z)
            z = self.attentions(h)
        return {"M": self.output(z).squeeze(-1)}, z

    def _input_gates(self, modality: str, x: Tensor | Packed, n_steps: int) -> Tensor:
        layer: Any = self.cells[modality].from_input
        return input_gates(layer.weight, layer.bias, x, n_steps).flatten(2)


MARN = ModelSpec(
    "marn",
    (StageSpec("M", tuple(INPUTS.values()), ("M",), MarnNet),),
    MarnSettings,
    resources.files("fmltk.model") / "presets" / "marn",
)
