"""Transformer encoders whose queries are one modality's steps and whose keys and values are another's, or its own.

Layer normalisation comes before each part. Query t sees the keys up to step t + |L_query - L_key|: of its own sequence
those up to itself. Weights start as Xavier's, biases at 0.

Source: Tsai et al. 2019, Multimodal transformer for unaligned multimodal language sequences, section 3.2; its public
code, modules/transformer.py.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fmltk.model.layers import Dropout

WAVELENGTHS = 10_000.0  # of the positions' sines: from 2 pi to 2 pi times this


@dataclass(frozen=True, slots=True)
class Dropouts:
    """Shares that are dropped: of the attention, of what an encoder reads, behind the ReLU, in front of each sum."""

    attention: float = 0.0
    embedding: float = 0.0
    relu: float = 0.0
    residual: float = 0.0


@dataclass(frozen=True, slots=True)
class Steps:
    """The steps of a batch.

    values : (B, L, d); lengths : int64 (B,), where the padding is left out, None where it is read
    """

    values: Tensor
    lengths: Tensor | None = None

    @property
    def sizes(self) -> Tensor:
        """How many steps are read of each, int64 (B,), or (1,) where all L are."""
        return torch.tensor([self.values.shape[1]]) if self.lengths is None else self.lengths

    def last(self) -> Tensor:
        """Return the last step that is read of each, (B, d)."""
        if self.lengths is None:
            return self.values[:, -1]
        return self.values[torch.arange(len(self.lengths), device=self.values.device), self.lengths - 1]


def visible(queries: Steps, keys: Steps) -> Tensor | None:
    """Return which keys each query sees, bool (B or 1, L_query, L_key); None where it is all.

    >>> three, two = Steps(torch.zeros(1, 3, 4)), Steps(torch.zeros(1, 2, 4))
    >>> visible(three, three)[0].int().tolist(), visible(two, three)[0].int().tolist(), visible(three, two)
    ([[1, 0, 0], [1, 1, 0], [1, 1, 1]], [[1, 1, 0], [1, 1, 1]], None)
    """
    t = torch.arange(queries.values.shape[1])[:, None]
    j = torch.arange(keys.values.shape[1])
    n_queries, n_keys = (one.sizes.cpu()[:, None, None] for one in (queries, keys))
    seen = (j <= t + (n_queries - n_keys).abs()) & (j < n_keys)
    return None if bool(seen.all()) else seen.to(queries.values.device)


class Attention(nn.Module):
    """Scaled dot-product attention of several heads."""

    def __init__(self, d: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.project = nn.Linear(d, 3 * d)  # to queries, keys and values
        self.output = nn.Linear(d, d)
        self.dropout = Dropout(dropout)
        for layer in (self.project, self.output):
            _xavier(layer)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None) -> Tensor:
        """Return what each query attends to, (B, L_query, d); keys, values : (B, L_key, d)."""
        weights, biases = self.project.weight.chunk(3), self.project.bias.chunk(3)
        inputs = (queries, keys, values)
        q, k, v = (self._heads(nn.functional.linear(*one)) for one in zip(inputs, weights, biases, strict=True))
        mask = None if seen is None else seen[:, None]  # (B or 1, 1, L_query, L_key)
        if self.training and self.dropout.dropped:
            scores = q @ k.transpose(2, 3) / math.sqrt(q.shape[3])  # (B, heads, L_query, L_key)
            shares = torch.softmax(scores if mask is None else scores.masked_fill(~mask, -math.inf), dim=3)
            attended = self.dropout(shares) @ v
        else:
            attended = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        result: Tensor = self.output(attended.transpose(1, 2).flatten(2))
        return result

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], self.n_heads, -1).transpose(1, 2)  # (B, heads, L, d / heads)


class EncoderLayer(nn.Module):
    """Attention and two linear layers, each behind a normalisation and in front of a sum with what it read."""

    def __init__(self, d: int, n_heads: int, drop: Dropouts) -> None:
        super().__init__()
        self.attention = Attention(d, n_heads, drop.attention)
        self.first, self.second = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)
        self.norms = nn.ModuleList([nn.LayerNorm(d), nn.LayerNorm(d)])
        self.relu_dropout, self.dropout = Dropout(drop.relu), Dropout(drop.residual)
        for layer in (self.first, self.second):
            _xavier(layer)

    def forward(self, x: Tensor, keys: Tensor, values: Tensor, seen: Tensor | None) -> Tensor:
        """Return (B, L_query, d) of x (B, L_query, d) and what it attends to (B, L_key, d), all not yet normalised."""
        norm = self.norms[0]
        normed_keys = norm(keys)
        normed_values = normed_keys if values is keys else norm(values)
        x = x + self.dropout(self.attention(norm(x), normed_keys, normed_values, seen))
        hidden = self.relu_dropout(torch.relu(self.first(self.norms[1](x))))  # (B, L_query, 4 d)
        result: Tensor = x + self.dropout(self.second(hidden))
        return result


class Encoder(nn.Module):
    """Layers that read one sequence of another, or of itself, and a last normalisation."""

    def __init__(self, d: int, n_heads: int, n_layers: int, drop: Dropouts, *, positions: bool) -> None:
        super().__init__()
        self.scale = math.sqrt(d)
        self.positions = positions
        self.dropout = Dropout(drop.embedding)
        self.layers = nn.ModuleList(EncoderLayer(d, n_heads, drop) for _ in range(n_layers))
        self.norm = nn.LayerNorm(d)

    def forward(self, target: Steps, source: Steps) -> Tensor:
        """Return the target's steps as the source's change them, (B, L, d)."""
        x, keys = self._embedded(target), self._embedded(source)
        values = self._embedded(source) if self.training and self.dropout.dropped else keys  # dropped apart
        seen = visible(target, source)
        for layer in self.layers:
            x = layer(x, keys, values, seen)
        result: Tensor = self.norm(x)
        return result

    def last_of(self, steps: Steps) -> Tensor:
        """Return the last step as those before it and itself change it, (B, d); no other is made in the last layer."""
        x = self._embedded(steps)
        seen = visible(steps, steps)
        *layers, final = self.layers
        for layer in layers:
            x = layer(x, x, x, seen)
        last = Steps(x, steps.lengths).last()[:, None]  # (B, 1, d)
        time = torch.arange(x.shape[1], device=x.device)
        ends = None if steps.lengths is None else time < steps.lengths[:, None, None]  # (B, 1, L)
        result: Tensor = self.norm(final(last, x, x, ends)).squeeze(1)
        return result

    def _embedded(self, steps: Steps) -> Tensor:
        x = steps.values * self.scale
        if self.positions:
            x = x + _positions(x) * (x[:, :, :1] != 0)  # steps of zeros, the padding, have none
        dropped: Tensor = self.dropout(x)
        return dropped


def _positions(x: Tensor) -> Tensor:
    """Return sines, then cosines, of the positions 1, 2, ... of (B, L, d) steps, (L, d); a last odd number is 0."""
    half = x.shape[2] // 2
    rates = torch.exp(torch.arange(half) * -(math.log(WAVELENGTHS) / (half - 1)))
    angles = torch.arange(1, x.shape[1] + 1)[:, None] * rates  # (L, d / 2)
    return nn.functional.pad(torch.cat([torch.sin(angles), torch.cos(angles)], dim=1), (0, x.shape[2] % 2)).to(x)


def _xavier(layer: nn.Linear) -> None:
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
