"""bc-LSTM: a network per modality over the utterances of a video, then one over what the three found.

First each modality alone learns the multimodal label; what its dense layer says of each clip is then read, with what
the other two say, by a second network of the same kind.

Source: Poria et al. 2017, Context-dependent sentiment analysis in user-generated videos; its public script for Keras,
lstm.py of SenticNet's sc-lstm. Two things of that script are not kept: its second network reads the padding behind a
video (the first one's mask is lost between the two), and it tests the weights of ten epochs after the best.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fmltk.model.baselines.context import ContextSettings, Head, Polarity, clip_vectors, padded_videos
from fmltk.model.baselines.recurrent import VideoLstm, dense
from fmltk.model.layers import Dropout
from fmltk.model.registry import HIDDEN_PREFIX, VIDEOS, ModelSpec, StageSpec
from fmltk.model.settings import choice, count, positive, share
from fmltk.toolkit.conditions import UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Mapping


FUSED = tuple(HIDDEN_PREFIX + modality for modality in UNIMODAL)


@dataclass(frozen=True)
class BcLstmSettings(ContextSettings):
    """bc-LSTM's. fdim : units of the second network's dense layer; fxdrp : dropout on what its LSTM reads."""

    lr: float = positive(1.0)
    bs: int = count(10)
    patience: int = count(10)
    max_epochs: int = count(200)
    optimiser: str = choice("adadelta", "adam")
    drp: float = share(0.9)
    hdrp: float = share(0.9)
    xdrp: float = share(0.6)
    fdim: int = count(500)
    fxdrp: float = share(0.4)


class BcLstmNet(nn.Module):
    """Vectors of a video's clips -> LSTM both ways -> dropout -> dense layer H -> dropout -> y."""

    def __init__(self, dims: Mapping[str, int], settings: BcLstmSettings, task: str) -> None:
        super().__init__()
        fuses = task == "M"
        self.task, self.names = task, [name for name in (FUSED if fuses else [task]) if name in dims]
        d_in = sum(dims[name] for name in self.names)
        self.lstm = VideoLstm(d_in, settings.units, dropout=settings.fxdrp if fuses else settings.xdrp)
        self.dropout = Dropout(settings.drp)
        self.hidden = dense(self.lstm.d_out, settings.fdim if fuses else settings.hid)
        self.activation = torch.relu if fuses else torch.tanh
        self.hidden_dropout = Dropout(settings.hdrp)
        self.head = Head(self.hidden.out_features, settings)

    def forward(self, inputs: Mapping[str, Any]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({task: score (B,)}, H (B, hid or fdim))."""
        vectors = torch.cat([clip_vectors(inputs[name]) for name in self.names], dim=1)  # (B, d)
        videos, there = padded_videos(vectors, inputs[VIDEOS])
        states = self.lstm(videos, inputs[VIDEOS])[there]  # (B, 2 units)
        h = self.activation(self.hidden(self.dropout(states)))
        return {self.task: self.head(self.hidden_dropout(h))}, h


def _stage(name: str, inputs: tuple[str, ...], task: str) -> StageSpec:
    build = partial(BcLstmNet, task=task)
    return StageSpec(name, (*inputs, VIDEOS), (task,), build, objective=Polarity, needs_all=False)


BC_LSTM = ModelSpec(
    "bc-lstm",
    (*(_stage(modality, (modality,), modality) for modality in UNIMODAL), _stage("fusion", FUSED, "M")),
    BcLstmSettings,
    resources.files("fmltk.model") / "presets" / "bc-lstm",
)
