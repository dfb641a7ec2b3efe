"""The two unimodal networks: an LSTM for text, three ReLU layers for audio and for vision.

Source: paper, section 4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.layers import Dropout, relu_layers
from fmltk.model.lstm import LastStateLSTM

if TYPE_CHECKING:
    from fmltk.model.config import Config
    from fmltk.model.lstm import Packed


class TextNet(nn.Module):
    """Steps of d_t features -> the LSTM's last hidden state -> dropout -> linear, (B, tout). Source: section 4.1.1.

    with_mean : the mean of the steps stands next to the last state (beyond the paper)
    """

    def __init__(self, d_in: int, d_hidden: int, d_out: int, dropout: float, *, with_mean: bool = False) -> None:
        super().__init__()
        self.with_mean = with_mean
        self.lstm = LastStateLSTM(d_in, d_hidden)
        self.dropout = Dropout(dropout)
        self.output = nn.Linear(d_hidden + d_in if with_mean else d_hidden, d_out)
        self.d_out = d_out

    def forward(self, x: Packed) -> Tensor:
        """Return R_T, (B, tout)."""
        last: Tensor = self.lstm(x)  # (B, thid)
        if self.with_mean:
            last = torch.cat([last, x.mean()], dim=1)  # (B, thid + d_t)
        representation: Tensor = self.output(self.dropout(last))  # (B, tout)
        return representation


class FrameNet(nn.Module):
    """The mean over a clip's valid frames -> dropout -> three ReLU layers, (B, d_hidden). Source: section 4.1.2."""

    def __init__(self, d_in: int, d_hidden: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.layers = relu_layers(d_in, d_hidden)
        self.d_out = d_hidden

    def forward(self, x: Tensor) -> Tensor:
        """Return R_A or R_V, (B, d_hidden), of mean features (B, d_in)."""
        representation: Tensor = self.layers(self.dropout(x))
        return representation


def unimodal_net(modality: str, d_in: int, config: Config) -> TextNet | FrameNet:
    """Return the network of modality "T", "A" or "V" with the sizes of table 3."""
    if modality == "T":
        return TextNet(d_in, config.thid, config.tout, config.tdrp, with_mean=config.text_mean)
    if modality == "A":
        return FrameNet(d_in, config.ahid, config.adrp)
    return FrameNet(d_in, config.vhid, config.vdrp)


def predictor_units(modality: str, config: Config) -> int:
    """Return the hidden units of a unimodal predictor: tdim, adim or vdim."""
    return {"T": config.tdim, "A": config.adim, "V": config.vdim}[modality]
