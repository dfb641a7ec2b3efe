"""The text LSTM over sequences without padding: the arithmetic of ``torch.nn.LSTM`` in less time.

Source: paper, section 4.1.1 (which LSTM); the packing and the hand-written backward pass are fmltk's own.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fmltk.model.products import current_products


@dataclass(frozen=True, slots=True)
class Packed:
    """Sequences step by step, the longest first: all first steps, then all second steps, ...

    Attributes
    ----------
    steps : (n_steps, d), what is there of sum(sizes) steps: all of them, or those that are not padding
    sizes : how many sequences are still running at each step; falls, and starts with the number of sequences B
    batch_rows : int64 (B,), which row of the batch each sequence is
    places : int64 (n_steps,), which of the sum(sizes) steps each is, where the others are zeros; None: there are none
    """

    steps: Tensor
    sizes: tuple[int, ...]
    batch_rows: Tensor
    places: Tensor | None = None

    def filled(self, values: Tensor, blank: Tensor) -> Tensor:
        """Return (sum(sizes), k): a row of `values`, (n_steps, k), for each step that is there, else `blank`."""
        if self.places is None:
            return values
        return blank.repeat(sum(self.sizes), 1).index_copy_(0, self.places, values)

    def mean(self) -> Tensor:
        """Return the mean of each sequence's steps that are there, (B, d), in the batch's own order; 0 of none."""
        of_step = torch.cat([torch.arange(n, device=self.steps.device) for n in self.sizes])
        of_step = self.batch_rows[of_step if self.places is None else of_step[self.places]]
        n_sequences = len(self.batch_rows)
        sums = self.steps.new_zeros(n_sequences, self.steps.shape[1]).index_add_(0, of_step, self.steps)
        return sums / torch.bincount(of_step, minlength=n_sequences).clamp(min=1)[:, None]


class LastStateLSTM(nn.Module):
    """An LSTM that returns each sequence's last hidden state.

    Its parameters are those of ``torch.nn.LSTM``. On a CPU it runs `_PackedLSTM`, which is the same arithmetic without
    an autograd node per step and without a gradient for the input: less time, the same numbers to rounding.
    """

    def __init__(self, d_in: int, d_hidden: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(d_in, d_hidden)

    def forward(self, x: Packed) -> Tensor:
        """Return the last hidden states, (B, d_hidden), in the batch's own order."""
        lstm = self.lstm
        if x.steps.is_cuda:
            steps = x.filled(x.steps, x.steps.new_zeros(x.steps.shape[1]))
            packed = nn.utils.rnn.PackedSequence(steps, torch.tensor(x.sizes))
            last = lstm(packed)[1][0][0]  # (B, d_hidden), longest first
        else:
            w_in, w_hidden, bias_in, bias_hidden = lstm.parameters()
            run: Any = _PackedLSTM.apply
            last = run(x, w_in, w_hidden, bias_in + bias_hidden)
        return torch.empty_like(last).index_copy(0, x.batch_rows, last)


class _PackedLSTM(torch.autograd.Function):
    """The last hidden state of an LSTM over packed steps; gates in torch's order: input, forget, cell, output.

    One matrix product projects the inputs of every step; the backward pass gathers the gates' gradients of every step
    and ends in one product per weight. The input gets no gradient: it is data.
    """

    @staticmethod
    def forward(ctx: Any, x: Packed, w_in: Tensor, w_hidden: Tensor, bias: Tensor) -> Tensor:
        sizes, d = x.sizes, w_hidden.shape[1]
        products = current_products()
        gates = x.filled(products.project(x.steps, w_in).add_(bias), bias)  # (n_steps, 4 d)
        hidden, cell, squashed = (gates.new_empty(len(gates), d) for _ in range(3))
        last = gates.new_empty(sizes[0], d)
        before, start = 0, 0
        for step, n in enumerate(sizes):
            now, old = slice(start, start + n), slice(before, before + n)
            gate = gates[now]  # (n, 4 d)
            if step:
                gate.addmm_(hidden[old], w_hidden.t())
            gate[:, : 2 * d].sigmoid_()
            gate[:, 2 * d : 3 * d].tanh_()
            gate[:, 3 * d :].sigmoid_()
            i, f, g, o = gate.chunk(4, dim=1)
            torch.mul(i, g, out=cell[now])
            if step:
                cell[now].addcmul_(f, cell[old])
            torch.tanh(cell[now], out=squashed[now])
            torch.mul(o, squashed[now], out=hidden[now])
            still = sizes[step + 1] if step + 1 < len(sizes) else 0
            last[still:n] = hidden[start + still : start + n]
            before, start = start, start + n
        ctx.save_for_backward(x.steps, w_hidden, gates, hidden, cell, squashed)
        ctx.sizes, ctx.places, ctx.products = sizes, x.places, products
        return last

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        steps, w_hidden, gates, hidden, cell, squashed = ctx.saved_tensors
        sizes = ctx.sizes
        d_gates = torch.empty_like(gates)
        d_hidden = grads[0].clone()  # (B, d); a sequence's row is touched from its last step on
        d_cell = torch.zeros_like(d_hidden)
        start = len(gates)
        for step in range(len(sizes) - 1, -1, -1):
            n = sizes[step]
            start -= n
            now = slice(start, start + n)
            i, f, g, o = gates[now].chunk(4, dim=1)
            di, df, dg, do = d_gates[now].chunk(4, dim=1)
            dh, dc, tanh_c = d_hidden[:n], d_cell[:n], squashed[now]
            dc += torch.ops.aten.tanh_backward(dh * o, tanh_c)
            torch.ops.aten.sigmoid_backward.grad_input(dh * tanh_c, o, grad_input=do)
            torch.ops.aten.sigmoid_backward.grad_input(dc * g, i, grad_input=di)
            torch.ops.aten.tanh_backward.grad_input(dc * i, g, grad_input=dg)
            if step:
                old = slice(start - sizes[step - 1], start - sizes[step - 1] + n)
                torch.ops.aten.sigmoid_backward.grad_input(dc * cell[old], f, grad_input=df)
                dc *= f
                torch.mm(d_gates[now], w_hidden, out=dh)
            else:
                df.zero_()
        previous = _previous_states(hidden, sizes)  # (n_steps - B, d)
        d_w_hidden = d_gates[sizes[0] :].t() @ previous
        d_of_steps = d_gates if ctx.places is None else d_gates.index_select(0, ctx.places)
        return None, ctx.products.gradient(d_of_steps, steps), d_w_hidden, d_gates.sum(0)


def _previous_states(hidden: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return, for every step after the first, the hidden state before it."""
    parts, start = [], 0
    for n, following in itertools.pairwise(sizes):
        parts.append(hidden[start : start + following])
        start += n
    return torch.cat(parts) if parts else hidden[:0]
