"""Recurrent layers over the clips of a video, forwards and backwards, as the Keras of 2017 and 2018 computes them.

They differ from torch's: the gates are hard sigmoids, one bias per gate, a GRU resets its state before the product, and
dropout leaves out the same inputs, or the same states, at every step of a video, drawn for each gate.

Source: Keras 2.1, keras/layers/recurrent.py (MIT): its defaults, and what a masked step does.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fmltk.model.layers import Dropout


class VideoRnn(nn.Module):
    """The shared part of both kinds: the projections of all steps at once, masks, and the two directions side by side.

    Its weights have the shapes (2, gates, d_in, units), (2, gates, units, units) and (2, gates, units): the directions
    come first.
    """

    n_gates: int

    def __init__(self, d_in: int, units: int, *, dropout: float, recurrent_dropout: float = 0.0) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(2, self.n_gates, d_in, units))
        self.recurrent = nn.Parameter(torch.empty(2, self.n_gates, units, units))
        self.bias = nn.Parameter(torch.zeros(2, self.n_gates, units))
        self.dropout = Dropout(dropout)
        self.recurrent_dropout = Dropout(recurrent_dropout)
        self.d_out = 2 * units
        limit = (6 / (d_in + self.n_gates * units)) ** 0.5
        nn.init.uniform_(self.kernel, -limit, limit)
        with torch.no_grad():
            for direction in self.recurrent:
                drawn = nn.init.orthogonal_(torch.empty(units, self.n_gates * units))
                direction.copy_(drawn.view(units, self.n_gates, units).transpose(0, 1))

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        """Return the states at every step, (V, L, 2 units), of padded videos (V, L, d_in).

        Behind a video's end, the states forwards stay the last one, and those backwards are 0.
        """
        steps = torch.arange(x.shape[1], device=x.device)
        there = steps < lengths[:, None]  # (V, L)
        turned = (lengths[:, None] - 1 - steps).clamp(min=0)[:, :, None]  # (V, L, 1), the last clip first
        both = torch.stack([x, x.gather(1, turned.expand_as(x))])  # (2, V, L, d_in)
        gates = self._project(both)  # (L, 2, gates, V, units)
        h = gates.new_zeros(2, *gates.shape[3:])  # (2, V, units)
        cell, kept = h, self._kept_states(h)
        states = []
        n_steps = int(lengths.max())
        for now, given in zip(there.t()[:n_steps, :, None], gates[:n_steps].unbind(), strict=True):
            new_h, new_cell = self.step(given, h, cell, kept)
            h, cell = torch.where(now, new_h, h), torch.where(now, new_cell, cell)
            states.append(h)
        states += [h] * (x.shape[1] - len(states))
        forwards, backwards = torch.stack(states, dim=2)  # (V, L, units) each
        backwards = backwards.gather(1, turned.expand_as(backwards)) * there[:, :, None]
        return torch.cat([forwards, backwards], dim=2)

    def step(self, gates: Tensor, h: Tensor, cell: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the next states and cells, (2, V, units), of what the inputs give the gates, (2, gates, V, units)."""
        raise NotImplementedError

    def _project(self, both: Tensor) -> Tensor:
        if self.training and self.dropout.dropped:
            z, v, _, d = both.shape
            kept = self.dropout(both.new_ones(z, v, 1, self.n_gates, d))
            gates = torch.einsum("zvlgd,zgdu->lzgvu", both[:, :, :, None] * kept, self.kernel)
        else:
            gates = torch.einsum("zvld,zgdu->lzgvu", both, self.kernel)
        return gates + self.bias[:, :, None]

    def _kept_states(self, h: Tensor) -> Tensor | None:
        """Return which of the states each gate reads in this batch, (2, gates, V, units); None where it reads all."""
        if not self.training or not self.recurrent_dropout.dropped:
            return None
        kept: Tensor = self.recurrent_dropout(h.new_ones(2, self.n_gates, *h.shape[1:]))
        return kept


class VideoLstm(VideoRnn):
    """The LSTM; gates in the order input, forget, cell, output."""

    n_gates = 4

    def __init__(self, d_in: int, units: int, *, dropout: float, recurrent_dropout: float = 0.0) -> None:
        super().__init__(d_in, units, dropout=dropout, recurrent_dropout=recurrent_dropout)
        nn.init.ones_(self.bias[:, 1])  # the forget gates start open

    def step(self, gates: Tensor, h: Tensor, cell: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the next states and cells."""
        read = h[:, None] if kept is None else h[:, None] * kept  # (2, 1 or 4, V, units)
        i, f, g, o = (gates + read @ self.recurrent).unbind(1)
        cell = hard_sigmoid(f) * cell + hard_sigmoid(i) * torch.tanh(g)
        return hard_sigmoid(o) * torch.tanh(cell), cell


class VideoGru(VideoRnn):
    """The GRU that resets its state before the product; gates in the order update, reset, candidate."""

    n_gates = 3

    def step(self, gates: Tensor, h: Tensor, cell: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
        """Return the next states; there are no cells."""
        read = h[:, None].expand(-1, 3, -1, -1) if kept is None else h[:, None] * kept  # (2, 3, V, units)
        update, reset = hard_sigmoid(gates[:, :2] + read[:, :2] @ self.recurrent[:, :2]).unbind(1)
        candidate = torch.tanh(gates[:, 2] + (reset * read[:, 2]) @ self.recurrent[:, 2])
        return update * h + (1 - update) * candidate, cell


def hard_sigmoid(x: Tensor) -> Tensor:
    """Return 0.2 x + 0.5, limited to 0..1.

    >>> hard_sigmoid(torch.tensor([-3.0, 0.0, 1.0])).tolist()
    [0.0, 0.5, 0.699999988079071]
    """
    return (0.2 * x + 0.5).clamp(0, 1)


def dense(d_in: int, d_out: int) -> nn.Linear:
    """Return a linear layer that starts as Keras's: Glorot's uniform weights, biases of 0."""
    layer = nn.Linear(d_in, d_out)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
