"""The shared parts of systems that read whole videos: their settings, the clips' vectors, and what they learn.

A clip is one vector per modality: the mean over its steps. The published systems learn two classes, positive and
negative, by cross-entropy; the score of a clip is the probability of the positive class less that of the negative one,
so that its sign is the class. Learning the intensity itself is fmltk's adaptation.

Source: see `bc_lstm` and `mmmu_ba`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.baselines.recurrent import dense
from fmltk.model.lstm import Packed
from fmltk.model.objective import Objective
from fmltk.model.settings import Settings, choice, count, share

if TYPE_CHECKING:
    from collections.abc import Mapping

SMALLEST_SHARE = 1e-7  # a probability counts as at least this much, as in Keras


@dataclass(frozen=True)
class ContextSettings(Settings):
    """Settings of bc-LSTM and MMMU-BA; `bs` counts videos.

    learns : the classes as published, or "intensity": the label itself, by its L1 loss
    zero : the class of a label of 0; the public labels count it as positive
    units : of each direction of the recurrent layers
    hid : of the dense layer behind each modality's
    drp, hdrp : dropout behind the recurrent layers, and behind the dense ones
    xdrp : dropout on what a modality's recurrent layer reads
    """

    standardise: bool = False
    unimodal: str = choice("multimodal", "labels", "auto")
    learns: str = choice("polarity", "intensity")
    zero: str = choice("positive", "negative")
    units: int = count(300)
    hid: int = count(100)
    drp: float = share()
    hdrp: float = share()
    xdrp: float = share()


class Polarity(Objective):
    """Cross-entropy of the two classes; where the settings say so, the L1 losses of the intensities instead."""

    def valid_loss(self, predictions: Mapping[str, Tensor], truths: Mapping[str, Tensor]) -> Tensor:
        """Return the loss of scores in -1..1, or of intensities, by task."""
        if self.config.learns == "intensity":
            return super().valid_loss(predictions, truths)
        zero_is_positive = self.config.zero == "positive"
        losses = [
            weight * polarity_loss(predictions[task], truths[task], zero_is_positive=zero_is_positive)
            for task, weight in self.weights.items()
        ]
        return torch.stack(losses).sum()


def polarity_loss(score: Tensor, label: Tensor, *, zero_is_positive: bool) -> Tensor:
    """Return the cross-entropy of the classes, the mean over the clips that have a label (not NaN), 0 if none has.

    score : (B,), P(positive) - P(negative); label : (B,)
    """
    known = ~torch.isnan(label)
    positive = label >= 0 if zero_is_positive else label > 0
    right = (1 + torch.where(positive, score, -score)) / 2  # the probability of the clip's own class
    losses = -right.clamp(SMALLEST_SHARE, 1 - SMALLEST_SHARE).log() * known
    return losses.sum() / known.sum().clamp(min=1)


class Head(nn.Module):
    """The outputs of the last layer per clip: a score of two classes, or one intensity."""

    def __init__(self, d_in: int, settings: ContextSettings) -> None:
        super().__init__()
        self.output = dense(d_in, 2 if settings.learns == "polarity" else 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B,) of x (B, d_in)."""
        y: Tensor = self.output(x)
        if y.shape[1] == 1:
            return y.squeeze(1)
        negative, positive = torch.softmax(y, dim=1).unbind(1)
        return positive - negative


def clip_vectors(x: Tensor | Packed) -> Tensor:
    """Return one vector per clip, (B, d): the mean over a text's steps, what the means of A and V are already."""
    if not isinstance(x, Packed):
        return x
    rows = torch.cat([x.batch_rows[:n] for n in x.sizes])  # (n_steps,)
    steps = x.filled(x.steps, x.steps.new_zeros(x.steps.shape[1]))
    sums = steps.new_zeros(len(x.batch_rows), steps.shape[1]).index_add_(0, rows, steps)
    return sums / torch.bincount(rows, minlength=len(sums))[:, None]


def padded_videos(vectors: Tensor, lengths: Tensor, n_clips: int = 0) -> tuple[Tensor, Tensor]:
    """Return (videos (V, L, d), which of their clips are there (V, L)), with zeros at the end.

    vectors : (B, d), of videos one after another; lengths : (V,); n_clips : L is at least so many
    """
    videos = nn.utils.rnn.pad_sequence(list(torch.split(vectors, lengths.tolist())), batch_first=True)
    videos = nn.functional.pad(videos, (0, 0, 0, max(n_clips - videos.shape[1], 0)))
    return videos, torch.arange(videos.shape[1], device=vectors.device) < lengths[:, None]
