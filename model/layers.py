"""The layers that the networks are built of: predictors, ReLU layers, dropout; and the masked losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

DROPOUT_STEPS = 2**16  # a share that is dropped is a multiple of 1 / DROPOUT_STEPS


def draw_kept(x: Tensor, dropped: int) -> Tensor:
    """Return at random which values of x are kept, bool of its shape; `dropped` of DROPOUT_STEPS are not.

    The masks are made of 16 random bits per value, drawn 64 at a time: a fifth of the time of torch's own dropout.
    """
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    return bits >= dropped - DROPOUT_STEPS // 2


class Dropout(nn.Module):
    """Dropout by `draw_kept`; what is kept is divided by exactly the share that is kept."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(share * DROPOUT_STEPS)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a share of its values 0 while training, x itself otherwise."""
        if not self.training or self.dropped == 0:
            return x
        scale = DROPOUT_STEPS / (DROPOUT_STEPS - self.dropped)
        return x * draw_kept(x, self.dropped).to(x.dtype).mul_(scale)


class Predictor(nn.Module):
    """A sentiment-intensity predictor: two hidden ReLU layers and one output (paper, eqs. 4, 5 and 7).

    With `n_classes` it gives a score of each class instead, whose softmax is its probability. The second hidden layer's
    activations are what the fusion reads from a bimodal predictor (section 4.3).
    """

    def __init__(self, d_in: int, d_hidden: int, dropout: float = 0.0, n_classes: int = 0) -> None:
        super().__init__()
        self.n_classes = n_classes
        self.dropout = Dropout(dropout)
        self.first = nn.Linear(d_in, d_hidden)
        self.second = nn.Linear(d_hidden, d_hidden)
        self.output = nn.Linear(d_hidden, n_classes or 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (intensity (B,) or scores (B, n_classes), second hidden layer (B, d_hidden)) of x (B, d_in)."""
        h = torch.relu(self.first(self.dropout(x)))  # (B, d_hidden)
        h = torch.relu(self.second(h))  # (B, d_hidden)
        y = self.output(h)
        return y if self.n_classes else y.squeeze(-1), h


def relu_layers(d_in: int, d_hidden: int, n_layers: int = 3) -> nn.Sequential:
    """Return `n_layers` fully connected ReLU layers of `d_hidden` units (paper, section 4.1.2)."""
    layers: list[nn.Module] = []
    for index in range(n_layers):
        layers += [nn.Linear(d_in if index == 0 else d_hidden, d_hidden), nn.ReLU()]
    return nn.Sequential(*layers)


def masked_l1(prediction: Tensor, label: Tensor) -> Tensor:
    """Return the mean absolute error over the clips that have a label (not NaN), 0 if none has.

    prediction, label : (B,). Source: paper, eq. 6, phi.
    """
    known = ~torch.isnan(label)
    errors = (prediction - torch.nan_to_num(label)).abs() * known
    return errors.sum() / known.sum().clamp(min=1)


def masked_cross_entropy(scores: Tensor, label: Tensor) -> Tensor:
    """Return the mean cross-entropy over the clips that have a class (not NaN), 0 if none has.

    scores : (B, n_classes); label : (B,), the number of each clip's class
    """
    known = ~torch.isnan(label)
    errors = nn.functional.cross_entropy(scores, torch.nan_to_num(label).long(), reduction="none") * known
    return errors.sum() / known.sum().clamp(min=1)


def masked_loss(prediction: Tensor, label: Tensor) -> Tensor:
    """Return the loss of a task: L1 of intensities (B,), cross-entropy of scores of classes (B, n_classes)."""
    return masked_cross_entropy(prediction, label) if prediction.ndim == 2 else masked_l1(prediction, label)


def weighted_loss(
    predictions: Mapping[str, Tensor], labels: Mapping[str, Tensor], weights: Mapping[str, float]
) -> Tensor:
    """Return the sum of the tasks' losses by their weights (paper, eq. 6)."""
    losses = [weights[task] * masked_loss(predictions[task], labels[task]) for task in predictions]
    return torch.stack(losses).sum()
