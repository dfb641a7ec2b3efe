"""The layers that the network is built of: predictors, the text LSTM over packed steps, dropout, the masked L1 loss."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Mapping

ONEDNN_FROM_MULTIPLICATIONS = 10_000_000  # below, changing the layout costs more than it saves
ONEDNN_MULTIPLE = 128
ONEDNN_IS_FASTER = torch.backends.cpu.get_cpu_capability() == "AVX512"  # with AVX2, MKL was: 12 % of a whole epoch


@dataclass(frozen=True, slots=True)
class Packed:
    """Sequences of different lengths without padding, the longest first, step by step.

    Attributes
    ----------
    steps : (n_steps, d), all first steps, then all second steps, ...
    sizes : how many sequences are still running at each step; falls, and starts with the number of sequences B
    order : (B,), which sequence of the batch each row stands for
    """

    steps: Tensor
    sizes: tuple[int, ...]
    order: Tensor


class Dropout(nn.Module):
    """Dropout whose mask is made of 16 random bits per value, drawn 64 at a time: a fifth of the time of torch's own.

    The share is a multiple of 1 / 65536; what is kept is divided by exactly the share that is kept.
    """

    def __init__(self, share: float) -> None:
        super().__init__()
        self.dropped = round(share * 2**16)

    def forward(self, x: Tensor) -> Tensor:
        """Return x with a share of its values 0 while training, x itself otherwise."""
        if not self.training or self.dropped == 0:
            return x
        words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
        bits = words.view(torch.int16)[: x.numel()].view(x.shape)
        scale = 2**16 / (2**16 - self.dropped)
        return x * (bits >= self.dropped - 2**15).to(x.dtype).mul_(scale)


class Predictor(nn.Module):
    """A sentiment-intensity predictor: two hidden ReLU layers and one output (paper, eqs. 4, 5 and 7).

    The second hidden layer's activations are what the fusion reads from a bimodal predictor (section 4.3).
    """

    def __init__(self, d_in: int, d_hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.first = nn.Linear(d_in, d_hidden)
        self.second = nn.Linear(d_hidden, d_hidden)
        self.output = nn.Linear(d_hidden, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (intensity (B,), second hidden layer (B, d_hidden)) of x (B, d_in)."""
        h = torch.relu(self.first(self.dropout(x)))  # (B, d_hidden)
        h = torch.relu(self.second(h))  # (B, d_hidden)
        return self.output(h).squeeze(-1), h


def relu_layers(d_in: int, d_hidden: int, n_layers: int = 3) -> nn.Sequential:
    """Return `n_layers` fully connected ReLU layers of `d_hidden` units (paper, section 4.1.2)."""
    layers: list[nn.Module] = []
    for index in range(n_layers):
        layers += [nn.Linear(d_in if index == 0 else d_hidden, d_hidden), nn.ReLU()]
    return nn.Sequential(*layers)


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
            packed = nn.utils.rnn.PackedSequence(x.steps, torch.tensor(x.sizes))
            last = lstm(packed)[1][0][0]  # (B, d_hidden), longest first
        else:
            w_in, w_hidden, bias_in, bias_hidden = lstm.parameters()
            run: Any = _PackedLSTM.apply
            last = run(x.steps, w_in, w_hidden, bias_in + bias_hidden, x.sizes)
        return torch.empty_like(last).index_copy(0, x.order, last)


class _PackedLSTM(torch.autograd.Function):
    """The last hidden state of an LSTM over packed steps; gates in torch's order: input, forget, cell, output.

    One matrix product projects the inputs of every step; the backward pass gathers the gates' gradients of every step
    and ends in one product per weight. The input gets no gradient: it is data.
    """

    @staticmethod
    def forward(
        ctx: Any, steps: Tensor, w_in: Tensor, w_hidden: Tensor, bias: Tensor, sizes: tuple[int, ...]
    ) -> Tensor:
        d = w_hidden.shape[1]
        gates = _product(steps, w_in).add_(bias)  # (n_steps, 4 d)
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
        ctx.save_for_backward(steps, w_hidden, gates, hidden, cell, squashed)
        ctx.sizes = sizes
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
        return None, _product(d_gates.t(), steps.t()), d_w_hidden, d_gates.sum(0), None


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b.T, of shapes (n, k) and (m, k).

    With AVX-512, large products go to oneDNN, which needs half the time of MKL on processors that are not Intel's. It
    keeps compiled code per shape: sizes are rounded up, so that batches of different numbers of steps share it.
    """
    n, k = a.shape
    large = ONEDNN_IS_FASTER and n * k * b.shape[0] >= ONEDNN_FROM_MULTIPLICATIONS
    if not large or a.dtype != torch.float32 or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return a @ b.t()
    more_n, more_k = -n % ONEDNN_MULTIPLE, -k % ONEDNN_MULTIPLE
    left = nn.functional.pad(a, (0, more_k, 0, more_n)).contiguous().to_mkldnn()
    right = nn.functional.pad(b, (0, more_k)).contiguous().to_mkldnn()
    return nn.functional.linear(left, right).to_dense()[:n]


def _previous_states(hidden: Tensor, sizes: tuple[int, ...]) -> Tensor:
    """Return, for every step after the first, the hidden state before it."""
    parts, start = [], 0
    for n, following in itertools.pairwise(sizes):
        parts.append(hidden[start : start + following])
        start += n
    return torch.cat(parts) if parts else hidden[:0]


def masked_l1(prediction: Tensor, label: Tensor) -> Tensor:
    """Return the mean absolute error over the clips that have a label (not NaN), 0 if none has.

    prediction, label : (B,). Source: paper, eq. 6, phi.
    """
    known = ~torch.isnan(label)
    errors = (prediction - torch.nan_to_num(label)).abs() * known
    return errors.sum() / known.sum().clamp(min=1)


def weighted_loss(
    predictions: Mapping[str, Tensor], labels: Mapping[str, Tensor], weights: Mapping[str, float]
) -> Tensor:
    """Return the sum of the tasks' losses by their weights (paper, eq. 6)."""
    losses = [weights[task] * masked_l1(predictions[task], labels[task]) for task in predictions]
    return torch.stack(losses).sum()
