"""RAVEN: every word is shifted by what the voice and the face did during it; an LSTM reads the shifted words.

The public code reads up to 20 frames of audio and vision per word. Feature folders have one step per word, so that
here each word has one frame, or none.

Source: Wang et al. 2019, Words can shift; its public code, code/model.py, consts.py and main.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.baselines.word_steps import EXTRA_LOSS, WordSettings, WordSteps, groups_by_module
from fmltk.model.layers import Dropout
from fmltk.model.objective import Objective
from fmltk.model.registry import STEPS_SUFFIX, WHOLE, ModelSpec, StageSpec
from fmltk.model.settings import choice, count, positive, share

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.model.sequences import Padded


@dataclass(frozen=True)
class RavenSettings(WordSettings):
    """RAVEN's.

    cell : units of the networks of audio and vision; hid : of the LSTM over the words
    shift : the most that a word is shifted by, as a share of its length
    drp : dropout on audio, vision and the shifted words
    variant : "published": no gradient reaches the networks of audio and vision, which keep their initial weights, and
        audio is normalised by the statistics of the batch that is predicted, as in the public code; "corrected": they
        are trained, and audio is normalised as in training
    """

    lr: float = positive(0.001)
    bs: int = count(20)
    patience: int = count(500)
    cell: int = count(150)
    hid: int = count(300)
    shift: float = positive(0.2)
    drp: float = share(0.2)
    variant: str = choice("published", "corrected")


class SquaredError(Objective):
    """The mean squared error, and the loss of the alignment; the best epoch has the least absolute error."""

    def loss(self, outputs: Mapping[str, Tensor], rows: NDArray[np.int64]) -> Tensor:
        """Return the loss of a batch of training clips, a scalar."""
        truth = self.truths(rows)["M"]
        known = ~torch.isnan(truth)
        return ((outputs["M"] - truth)[known] ** 2).mean() + outputs[EXTRA_LOSS]


class FrameState(nn.Module):
    """A modality's vector for each word: its frame -> linear -> LSTM's state -> times a gate that reads the word."""

    def __init__(self, d_in: int, d: int, d_word: int, dropout: float) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.narrow = nn.Linear(d_in, d)
        self.lstm = nn.LSTMCell(d, d)
        self.gate = nn.Linear(d + d_word, 1)

    def forward(self, frames: Tensor, has: Tensor, words: Tensor, *, cut: bool) -> Tensor:
        """Return (B, L, d) of frames (B, L, d_in) and words (B, L, d_word).

        has : bool (B, L), which words have a frame; cut : whether no gradient reaches the linear layer
        """
        x = self.narrow(self.dropout(frames))
        h = self.lstm((x.detach() if cut else x).flatten(0, 1))[0].unflatten(0, has.shape)  # (B, L, d)
        h = h * has[..., None]  # without a frame, the state is 0
        gated: Tensor = h * self.gate(torch.cat([h, words], dim=2))
        return gated


class RavenNet(nn.Module):
    """Words shifted by audio and vision -> LSTM's state at the last word -> y_M."""

    def __init__(self, dims: Mapping[str, int], settings: RavenSettings) -> None:
        super().__init__()
        d_word = dims["T" + STEPS_SUFFIX]
        self.words = WordSteps(dims, settings)
        self.cut = settings.variant == "published"
        self.norm = nn.BatchNorm1d(dims["steps"], track_running_stats=not self.cut)
        self.frames = nn.ModuleDict(
            {m: FrameState(dims[m + STEPS_SUFFIX], settings.cell, d_word, settings.drp) for m in "AV"}
        )
        self.shift = nn.Linear(2 * settings.cell, d_word)
        self.most = settings.shift
        self.dropout = Dropout(settings.drp)
        self.lstm = nn.LSTM(d_word, settings.hid, batch_first=True)
        self.output = nn.Linear(settings.hid, 1)

    def forward(self, inputs: Mapping[str, Padded]) -> tuple[dict[str, Tensor], Tensor]:
        """Return ({"M": intensity (B,), "extra_loss": of the alignment}, the last word's state (B, hid))."""
        steps, loss = self.words(inputs)
        words = steps["T"]  # (B, L, d_word)
        has = {m: (steps[m] != 0).any(dim=2) for m in "AV"}
        read = {"A": self.norm(steps["A"]), "V": steps["V"]}
        states = [self.frames[m](read[m], has[m], words, cut=self.cut) for m in "AV"]
        shift = self.shift(torch.cat(states, dim=2))  # (B, L, d_word)
        shift = shift * self.most / shift.norm(dim=2, keepdim=True).clamp(min=1.0)
        shifted = words + (shift.detach() if self.cut else shift) * words.norm(dim=2, keepdim=True)
        h = self.lstm(self.dropout(shifted))[0]  # (B, L, hid)
        last = h[torch.arange(len(h), device=h.device), inputs["T" + STEPS_SUFFIX].lengths - 1]  # (B, hid)
        return {"M": self.output(last).squeeze(-1), EXTRA_LOSS: loss}, last


RAVEN = ModelSpec(
    "raven",
    (
        StageSpec(
            "M",
            WHOLE,
            ("M",),
            RavenNet,
            groups=groups_by_module,
            smallest_batch=2,
            evaluation_batch=20,
            objective=SquaredError,
        ),
    ),
    RavenSettings,
    resources.files("fmltk.model") / "presets" / "raven",
)
