"""EF-LSTM: text, audio and vision side by side at every step, through one LSTM.

On CH-SIMS its published result is a constant predictor.

Source: MMSA 2.2.1, models/singleTask/EF_LSTM.py and config_regression.json.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.baselines.feature_level import PublishedSettings
from fmltk.model.layers import Dropout
from fmltk.model.lstm import Packed
from fmltk.model.registry import ModelSpec, StageSpec
from fmltk.model.settings import choice, count, share

if TYPE_CHECKING:
    from collections.abc import Mapping

INPUTS = ("T", "A_pooled", "V_pooled")


@dataclass(frozen=True)
class EfLstmSettings(PublishedSettings):
    """EF-LSTM's.

    hid, layers, drp : units and layers of the LSTM; dropout between its layers and around the layer behind it
    variant : "published": audio and vision are pooled over steps far apart, as in the public code; "corrected":
        neighbours are pooled
    """

    text_steps: str = choice("padded")
    hid: int = count(32)
    layers: int = count(3)
    drp: float = share(0.5)
    variant: str = choice("published", "corrected")


class EfLstmNet(nn.Module):
    """Steps of T|A|V -> batch normalisation of each step -> LSTM's last state -> ReLU layer -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: EfLstmSettings) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(dims["steps"])
        between = settings.drp if settings.layers > 1 else 0.0
        self.lstm = nn.LSTM(sum(dims[name] for name in INPUTS), settings.hid, settings.layers, dropout=between)
        self.dropout = Dropout(settings.drp)
        self.hidden = nn.Linear(settings.hid, settings.hid)
        self.output = nn.Linear(settings.hid, 1)

    def forward(self, inputs: Mapping[str, Tensor | Packed]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,)}, hidden layer (B, hid))."""
        joined = torch.cat([_steps(inputs[name]) for name in INPUTS], dim=2)  # (B, L, D)
        x = self.norm(joined).transpose(0, 1)  # (L, B, D)
        last = self.lstm(x)[1][0][-1]  # (B, hid)
        h = torch.relu(self.hidden(self.dropout(last)))  # (B, hid)
        return {"M": self.output(self.dropout(h)).squeeze(-1)}, h


def _steps(x: Tensor | Packed) -> Tensor:
    """Return steps, (B, L, d), the padding of texts as zeros."""
    if not isinstance(x, Packed):
        return x
    flat = x.filled(x.steps, x.steps.new_zeros(x.steps.shape[1]))  # (L * B, d)
    return flat.view(len(x.sizes), len(x.batch_rows), -1).transpose(0, 1)


EF_LSTM = ModelSpec(
    "ef-lstm",
    (StageSpec("M", INPUTS, ("M",), EfLstmNet),),
    EfLstmSettings,
    resources.files("fmltk.model") / "presets" / "ef-lstm",
)
