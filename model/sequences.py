"""Whole sequences: kept without padding, padded batch by batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Padded:
    """The sequences of a batch.

    values : (B, L, d), zeros behind each sequence's end; lengths : int64 (B,), steps of each, at least 1
    """

    values: Tensor
    lengths: Tensor

    @property
    def valid(self) -> Tensor:
        """Which steps are not padding, bool (B, L)."""
        time = torch.arange(self.values.shape[1], device=self.values.device)
        return time < self.lengths[:, None]


@dataclass(frozen=True, slots=True)
class Sequences:
    """Sequences of n clips, one after the other.

    steps : (n_steps, d); offsets : int64 (n + 1,), clip k has the rows offsets[k] to offsets[k + 1]
    length : the steps that every batch is padded to, 0 for as many as its longest sequence has
    """

    steps: Tensor
    offsets: NDArray[np.int64]
    length: int = 0

    def batch(self, rows: NDArray[np.int64]) -> Padded:
        """Return some clips' sequences.

        >>> two = Sequences(torch.arange(3.0).view(3, 1), np.array([0, 1, 3]))
        >>> two.batch(np.array([1, 0])).values.squeeze(2).tolist()
        [[1.0, 2.0], [0.0, 0.0]]
        """
        starts = self.offsets[rows]
        lengths = self.offsets[rows + 1] - starts
        time = np.arange(self.length or int(lengths.max()))
        has = time < lengths[:, None]  # (B, L)
        device = self.steps.device
        source = torch.from_numpy((starts[:, None] + time)[has]).to(device)
        places = torch.from_numpy(np.flatnonzero(has)).to(device)
        flat = self.steps.new_zeros(has.size, self.steps.shape[1])
        flat.index_copy_(0, places, self.steps.index_select(0, source))
        return Padded(flat.view(*has.shape, -1), torch.from_numpy(lengths).to(device))  # (B, L, d)

    def to(self, device: str) -> Sequences:
        """Return the same on a device."""
        return replace(self, steps=self.steps.to(device))
