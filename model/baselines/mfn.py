"""MFN, the memory fusion network: three LSTMs, attention over what changes in their cells, and a gated memory.

Text is read step by step, its padding included; audio and vision are one vector each, the mean over all L steps, which
MMSA gives the network again at every step. The LSTMs do not read the memory, so everything but the memory itself is
computed for all steps at once.

Source: Zadeh et al. 2018, Memory fusion network; MMSA 2.2.1, models/singleTask/MFN.py and config_regression.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.feature_level import PublishedSettings
from fmltk.model.layers import Dropout
from fmltk.model.lstm import Packed
from fmltk.model.registry import ModelSpec, StageSpec
from fmltk.model.settings import choice, count, share
from fmltk.toolkit.conditions import UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class MemorySettings(PublishedSettings):
    """MFN's and Graph-MFN's: of each small network its hidden units and its dropout.

    thid, ahid, vhid : units of the three LSTMs; a text is always read with its padding
    memory : units of the memory
    candidate_dim : of what may be written to the memory
    keep_dim, write_dim : of the gates for what the memory keeps and for what is written
    fdim, fdrp : of the predictor
    """

    text_steps: str = choice("padded")
    thid: int = count(64)
    ahid: int = count(16)
    vhid: int = count(64)
    memory: int = count(64)
    candidate_dim: int = count(128)
    candidate_drp: float = share()
    keep_dim: int = count(64)
    keep_drp: float = share()
    write_dim: int = count(64)
    write_drp: float = share()
    fdim: int = count(64)
    fdrp: float = share()


@dataclass(frozen=True)
class MfnSettings(MemorySettings):
    """MFN's. attention_dim, attention_drp : of the attention over the cells."""

    attention_dim: int = count(128)
    attention_drp: float = share()


class Mlp(nn.Module):
    """A hidden ReLU layer, dropout, and a linear layer."""

    def __init__(self, d_in: int, d_hidden: int, d_out: int, dropout: float) -> None:
        super().__init__()
        self.first = nn.Linear(d_in, d_hidden)
        self.dropout = Dropout(dropout)
        self.second = nn.Linear(d_hidden, d_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return (..., d_out) of x (..., d_in)."""
        return self.after_first(self.first(x))

    def after_first(self, x: Tensor) -> Tensor:
        """Return (..., d_out) of what the first layer made, (..., d_hidden)."""
        result: Tensor = self.second(self.dropout(torch.relu(x)))
        return result


class ThreeLstms(nn.Module):
    """An LSTM per modality, stepped together; returns their states at every step."""

    def __init__(self, dims: Mapping[str, int], units: Mapping[str, int]) -> None:
        super().__init__()
        self.cells = nn.ModuleDict({m: nn.LSTMCell(dims[m], units[m]) for m in UNIMODAL})
        self.units = [units[m] for m in UNIMODAL]

    def forward(self, inputs: Mapping[str, Tensor | Packed], n_steps: int) -> tuple[Tensor, Tensor]:
        """Return the hidden states and the cells of T, A and V side by side, each (1 + n_steps, B, D), the first 0."""
        cells: list[Any] = [self.cells[m] for m in UNIMODAL]
        gates = [
            input_gates(cell.weight_ih, cell.bias_ih + cell.bias_hh, inputs[m], n_steps)
            for cell, m in zip(cells, UNIMODAL, strict=True)
        ]
        from_inputs = torch.cat(gates, dim=3)  # (L, B, 4, D)
        h = c = from_inputs.new_zeros(from_inputs.shape[1], sum(self.units))  # (B, D)
        all_h, all_c = [h], [c]
        for from_input in from_inputs:
            parts = zip(cells, torch.split(h, self.units, dim=1), strict=True)
            recurrent = [(part @ cell.weight_hh.t()).view(len(h), 4, -1) for cell, part in parts]  # (B, 4, d)
            i, f, g, o = (from_input + torch.cat(recurrent, dim=2)).unbind(1)
            c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            all_h.append(h)
            all_c.append(c)
        return torch.stack(all_h), torch.stack(all_c)


def input_gates(weight: Tensor, bias: Tensor, x: Tensor | Packed, n_steps: int) -> Tensor:
    """Return what a cell's input gives its gates at every step, (n_steps, B, 4, d); a vector is there at each step.

    weight, bias : (4 d, d_in) and (4 d,); x : packed texts, steps (B, n_steps, d_in), or vectors (B, d_in)
    """
    if isinstance(x, Packed):
        flat = x.filled(nn.functional.linear(x.steps, weight, bias), bias)  # (n_steps * B, 4 d)
        return flat.view(n_steps, len(x.batch_rows), 4, -1)
    gates = nn.functional.linear(x, weight, bias)  # (B, 4 d) or (B, n_steps, 4 d)
    gates = gates.view(*gates.shape[:-1], 4, -1)
    return gates.transpose(0, 1) if x.ndim == 3 else gates.expand(n_steps, -1, -1, -1)


class GatedMemory(nn.Module):
    """A memory that is read and written step by step: mem = keep * mem + write * candidate."""

    def __init__(self, d_attended: int, settings: MemorySettings) -> None:
        super().__init__()
        d_memory = settings.memory
        self.candidate = Mlp(d_attended, settings.candidate_dim, d_memory, settings.candidate_drp)
        self.keep = Mlp(d_attended + d_memory, settings.keep_dim, d_memory, settings.keep_drp)
        self.write = Mlp(d_attended + d_memory, settings.write_dim, d_memory, settings.write_drp)

    def forward(self, attended: Tensor) -> Tensor:
        """Return the memory after the last step, (B, memory), of what was attended to, (L, B, d_attended)."""
        d = attended.shape[2]
        candidates = torch.tanh(self.candidate(attended))  # (L, B, memory)
        gates = (self.keep, self.write)
        known = [nn.functional.linear(attended, gate.first.weight[:, :d], gate.first.bias) for gate in gates]
        from_memory = [gate.first.weight[:, d:].t() for gate in gates]  # (memory, d_hidden)
        memory = candidates.new_zeros(candidates.shape[1:])
        for candidate, *parts in zip(candidates, *known, strict=True):
            keep, write = (
                torch.sigmoid(gate.after_first(torch.addmm(part, memory, weights)))
                for gate, part, weights in zip(gates, parts, from_memory, strict=True)
            )
            memory = keep * memory + write * candidate
        return memory


class MfnNet(nn.Module):
    """Three LSTMs -> attention over the cells of each two steps -> memory; last states and memory -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: MfnSettings) -> None:
        super().__init__()
        units = {"T": settings.thid, "A": settings.ahid, "V": settings.vhid}
        d = sum(units.values())
        self.lstms = ThreeLstms(dims, units)
        self.attention = Mlp(2 * d, settings.attention_dim, 2 * d, settings.attention_drp)
        self.memory = GatedMemory(2 * d, settings)
        self.output = Mlp(d + settings.memory, settings.fdim, 1, settings.fdrp)

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,)}, last states and memory (B, d))."""
        h, c = self.lstms(inputs, n_text_steps(inputs["T"]))
        window = torch.cat([c[:-1], c[1:]], dim=2)  # (L, B, 2 D), each step's cells and those before it
        attended = torch.softmax(self.attention(window), dim=2) * window
        last = torch.cat([h[-1], self.memory(attended)], dim=1)  # (B, D + memory)
        return {"M": self.output(last).squeeze(-1)}, last


def n_text_steps(text: Tensor | Packed) -> int:
    """Return L of a batch of texts that are read with their padding."""
    if not isinstance(text, Packed):
        raise TypeError("the text is read step by step, not as one vector")
    return len(text.sizes)


MFN = ModelSpec(
    "mfn",
    (StageSpec("M", UNIMODAL, ("M",), MfnNet),),
    MfnSettings,
    resources.files("fmltk.model") / "presets" / "mfn",
)
