"""The loss of a stage, and what it remembers of its training clips from epoch to epoch.

Source: paper, section 4.2 (eq. 6).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from fmltk.model.layers import weighted_loss

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Objective:
    """The L1 losses of the tasks by their weights (eq. 6).

    A system with other losses, or with a state, names a subclass in its StageSpec. Whatever its network returns next to
    the tasks' intensities, such as {"shared_T": (B, d)}, is for its loss alone.

    Attributes
    ----------
    weights : of each task of the stage
    labels : by task, float32 (n,), of all clips, NaN where there is none
    train : int64, the rows of the training clips
    config : the settings
    epoch : the number of the epoch, from 1; the trainer sets it
    """

    def __init__(
        self, weights: Mapping[str, float], labels: Mapping[str, Tensor], train: NDArray[np.int64], config: Any
    ) -> None:
        self.weights = dict(weights)
        self.labels = labels
        self.train = train
        self.config = config
        self.epoch = 1

    def truths(self, rows: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return the labels of some clips, by task."""
        device = next(iter(self.labels.values())).device
        index = torch.from_numpy(rows).to(device)
        return {task: self.labels[task].index_select(0, index) for task in self.weights}

    def loss(self, outputs: Mapping[str, Tensor], rows: NDArray[np.int64]) -> Tensor:
        """Return the loss of a batch of training clips, a scalar, from what the network returns of them."""
        return self.valid_loss({task: outputs[task] for task in self.weights}, self.truths(rows))

    def after_backward(self, outputs: Mapping[str, Tensor], rows: NDArray[np.int64]) -> None:
        """Change the state by a batch; called once its gradients are there, and before a step."""

    def valid_loss(self, predictions: Mapping[str, Tensor], truths: Mapping[str, Tensor]) -> Tensor:
        """Return what the best epoch has the least of, a scalar, of the validation clips' intensities by task."""
        return weighted_loss(predictions, truths, self.weights)

    def state(self) -> dict[str, Tensor]:
        """Return all that it remembers from epoch to epoch, by name, for `restore`; nothing here."""
        return {}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Remember what `state` returned."""
