"""A linear layer on the outer product of three vectors, without the product in memory.

For MTFN the product has 2.2 million numbers per clip: a batch of 64 would be 560 MB, and its dropout and gradients as
much each. Here it is made a slice at a time, one value of the first vector each, forth and back; what is kept for the
way back is which values were dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from fmltk.model.layers import DROPOUT_STEPS, draw_kept

if TYPE_CHECKING:
    from torch import nn


def tensor_linear(a: Tensor, v: Tensor, t: Tensor, layer: nn.Linear, *, dropout: float = 0.0) -> Tensor:
    """Return layer(dropout(a x v x t)), (B, d_out), the product flattened with t's index running fastest.

    a, v, t : (B, d_a), (B, d_v), (B, d_t); dropout : share of the product's values that become 0, as `layers.Dropout`
    """
    run: Any = _TensorLinear.apply
    result: Tensor = run(a, v, t, layer.weight, layer.bias, round(dropout * DROPOUT_STEPS))
    return result


class _TensorLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, a: Tensor, v: Tensor, t: Tensor, weight: Tensor, bias: Tensor, dropped: int) -> Tensor:
        scale = DROPOUT_STEPS / (DROPOUT_STEPS - dropped)
        a = a * scale  # what is kept is as large on the average as what there was
        slices = _product(v, t)  # (B, d_v * d_t)
        n = slices.shape[1]
        out = bias.repeat(len(a), 1)  # (B, d_out)
        kept = []
        for k in range(a.shape[1]):
            part = slices * a[:, k, None]
            if dropped:
                kept.append(draw_kept(part, dropped))
                part.mul_(kept[-1])
            out.addmm_(part, weight[:, k * n : (k + 1) * n].t())
        ctx.save_for_backward(a, v, t, weight, *kept)
        ctx.scale = scale
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        a, v, t, weight, *kept = ctx.saved_tensors
        grad = grads[0]  # (B, d_out)
        slices = _product(v, t)
        n = slices.shape[1]
        d_weight, d_a, d_slices = torch.empty_like(weight), torch.empty_like(a), torch.zeros_like(slices)
        for k in range(a.shape[1]):
            columns = slice(k * n, (k + 1) * n)
            part = slices * a[:, k, None]
            d_part = grad @ weight[:, columns]  # (B, d_v * d_t)
            if kept:
                part.mul_(kept[k])
                d_part.mul_(kept[k])
            d_weight[:, columns] = grad.t() @ part
            torch.linalg.vecdot(d_part, slices, out=d_a[:, k])
            d_slices.addcmul_(d_part, a[:, k, None])
        d_product = d_slices.view(len(a), v.shape[1], t.shape[1])
        d_v = torch.bmm(d_product, t[:, :, None]).squeeze(2)
        d_t = torch.bmm(v[:, None, :], d_product).squeeze(1)
        return d_a * ctx.scale, d_v, d_t, d_weight, grad.sum(0), None


def _product(v: Tensor, t: Tensor) -> Tensor:
    return (v[:, :, None] * t[:, None, :]).flatten(1)  # (B, d_v * d_t)
