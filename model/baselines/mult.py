"""MulT: each modality's steps as the other two's change them, then as their own past does; the last step decides.

The sequences need not be aligned. Text, audio and vision are read whole, their padding included.

Source: Tsai et al. 2019, Multimodal transformer for unaligned multimodal language sequences; MMSA 2.2.1,
models/singleTask/MULT.py, its trainer and config_regression.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.attention import Dropouts, Encoder, Steps
from fmltk.model.baselines.feature_level import PublishedSettings
from fmltk.model.layers import Dropout
from fmltk.model.registry import STEPS_SUFFIX, WHOLE, ModelSpec, StageSpec
from fmltk.model.settings import choice, count, share
from fmltk.toolkit.conditions import UNIMODAL
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.model.sequences import Padded

MEMORY_LAYERS = 3  # at least, of the encoders that read one modality's own past


@dataclass(frozen=True)
class MultSettings(PublishedSettings):
    """MulT's.

    dim, heads, levels : numbers per step, heads of each attention, layers of each encoder
    tkernel, akernel, vkernel : steps that the first layers of text, audio and vision join
    tdrp : dropout on text; embed_drp, res_drp, relu_drp : in the encoders; fdrp : in the predictor
    tattn_drp, aattn_drp, vattn_drp : on the attention to text, audio and vision
    variant : "published": the encoders do not see the steps' positions, as in the public code; "corrected": sines and
        cosines of the positions are added, as the paper says
    """

    accumulate: int = count(8)
    accumulate_rest: str = choice("drop", "step")
    dim: int = count(50)
    heads: int = count(10)
    levels: int = count(2)
    tkernel: int = count(5)
    akernel: int = count(1)
    vkernel: int = count(1)
    tdrp: float = share()
    tattn_drp: float = share()
    aattn_drp: float = share()
    vattn_drp: float = share()
    embed_drp: float = share()
    res_drp: float = share()
    relu_drp: float = share()
    fdrp: float = share()
    variant: str = choice("published", "corrected")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dim % self.heads:
            raise ConfigError(f"dim is {self.dim}; it must be a multiple of heads, {self.heads}")


class MultNet(nn.Module):
    """Three convolutions -> six encoders, of each modality by each other -> three of each alone -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: MultSettings) -> None:
        super().__init__()
        kernels = {"T": settings.tkernel, "A": settings.akernel, "V": settings.vkernel}
        attention = {"T": settings.tattn_drp, "A": settings.aattn_drp, "V": settings.vattn_drp}
        self.reads_padding = {"T": settings.text_steps == "padded", "A": settings.frames == "padded"}
        self.reads_padding["V"] = self.reads_padding["A"]
        d, positions = settings.dim, settings.variant == "corrected"
        drops = {
            m: Dropouts(one, settings.embed_drp, settings.relu_drp, settings.res_drp) for m, one in attention.items()
        }
        self.text_dropout = Dropout(settings.tdrp)
        self.kernels = kernels
        self.narrow = nn.ModuleDict({m: _Narrow(dims[m + STEPS_SUFFIX], d, kernels[m]) for m in UNIMODAL})
        self.cross = nn.ModuleDict(
            {
                target + source: Encoder(d, settings.heads, settings.levels, drops[source], positions=positions)
                for target in UNIMODAL
                for source in UNIMODAL
                if source != target
            }
        )
        n_layers = max(settings.levels, MEMORY_LAYERS)
        self.memory = nn.ModuleDict(
            {m: Encoder(2 * d, settings.heads, n_layers, drops[m], positions=positions) for m in UNIMODAL}
        )
        self.first, self.second = nn.Linear(6 * d, 6 * d), nn.Linear(6 * d, 6 * d)
        self.dropout = Dropout(settings.fdrp)
        self.output = nn.Linear(6 * d, 1)

    def forward(self, inputs: Mapping[str, Padded]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,)}, last layer in front of it (B, 6 dim))."""
        steps = {m: self._narrowed(m, inputs[m + STEPS_SUFFIX]) for m in UNIMODAL}
        last = []
        for target in UNIMODAL:
            others = [source for source in UNIMODAL if source != target]
            changed = [self.cross[target + source](steps[target], steps[source]) for source in others]  # (B, L, d)
            memory: Any = self.memory[target]
            last.append(memory.last_of(Steps(torch.cat(changed, dim=2), steps[target].lengths)))  # (B, 2 d)
        joined = torch.cat(last, dim=1)  # (B, 6 d)
        h = joined + self.second(self.dropout(torch.relu(self.first(joined))))
        return {"M": self.output(h).squeeze(-1)}, h

    def _narrowed(self, modality: str, x: Padded) -> Steps:
        values = self.text_dropout(x.values) if modality == "T" else x.values
        lengths = None if self.reads_padding[modality] else (x.lengths - self.kernels[modality] + 1).clamp(min=1)
        return Steps(self.narrow[modality](values), lengths)


class _Narrow(nn.Module):
    """A convolution over time to d numbers per step, without padding; shorter sequences get zeros at their end."""

    def __init__(self, d_in: int, d: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.convolution = nn.Conv1d(d_in, d, kernel, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, L - kernel + 1, d) of steps (B, L, d_in)."""
        lacking = max(self.kernel - x.shape[1], 0)
        convolved: Tensor = self.convolution(nn.functional.pad(x.transpose(1, 2), (0, lacking)))  # (B, d, L')
        return convolved.transpose(1, 2)


MULT = ModelSpec(
    "mult",
    (StageSpec("M", WHOLE, ("M",), MultNet, evaluation_batch=32),),
    MultSettings,
    resources.files("fmltk.model") / "presets" / "mult",
)
