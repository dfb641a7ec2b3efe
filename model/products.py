"""Large matrix products on a CPU: the ways to compute them, and which is the fastest on this machine.

The ways differ in rounding, so a run keeps to the one that its training.json names. Which is the fastest is timed, for
the processor's instructions do not say: with AVX-512, oneDNN needs half of MKL's time on AMD and twice of it on Intel.
"""

from __future__ import annotations

import functools
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fmltk.model.compute import one_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BLAS = "blas"  # of torch, which is MKL on x86: the way of everything but training
LARGE_MULTIPLICATIONS = 10_000_000  # below, changing the layout for oneDNN costs more than it saves
ONEDNN_MULTIPLE = 128
TIMED_SHAPE = (1152, 768, 512)  # steps of a batch, features of a BERT, gates of an LSTM of 128
TIMES = 5
CLEARLY_FASTER = 0.85  # of the time: nearer ways are one way, so that runs on like machines take the same


@dataclass(frozen=True, slots=True)
class Products:
    """The two products of a linear layer.

    project : x (n, k), weight (m, k) -> x @ weight.T; gradient : d (n, m), x (n, k) -> d.T @ x, the weight's gradient
    """

    project: Callable[[Tensor, Tensor], Tensor]
    gradient: Callable[[Tensor, Tensor], Tensor]


def _onednn(a: Tensor, b: Tensor) -> Tensor:
    """Return a @ b.T, of shapes (n, k) and (m, k), by oneDNN where it is large.

    It keeps compiled code per shape: sizes are rounded up, so that batches of different numbers of steps share it.
    """
    n, k = a.shape
    if a.dtype != torch.float32 or n * k * b.shape[0] < LARGE_MULTIPLICATIONS:
        return a @ b.t()
    more_n, more_k = -n % ONEDNN_MULTIPLE, -k % ONEDNN_MULTIPLE
    left = nn.functional.pad(a, (0, more_k, 0, more_n)).contiguous().to_mkldnn()
    right = nn.functional.pad(b, (0, more_k)).contiguous().to_mkldnn()
    return nn.functional.linear(left, right).to_dense()[:n]


WAYS = {
    BLAS: Products(lambda x, weight: x @ weight.t(), lambda d, x: d.t() @ x),
    "blas-transposed": Products(lambda x, weight: x @ weight.t(), lambda d, x: (x.t() @ d).t()),
    "onednn": Products(_onednn, lambda d, x: _onednn(x.t(), d.t()).t()),
}
_way: ContextVar[str] = ContextVar("way", default=BLAS)


@contextmanager
def products_by(way: str) -> Iterator[None]:
    """Compute the large products of networks in this way until the end of the block.

    >>> with products_by("onednn"):
    ...     current_products() is WAYS["onednn"]
    True
    """
    token = _way.set(way)
    try:
        yield
    finally:
        _way.reset(token)


def current_products() -> Products:
    """Return how large products are computed now."""
    return WAYS[_way.get()]


def usable_ways() -> list[str]:
    """Return the names of the ways that this build of torch has."""
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return [name for name in WAYS if name != "onednn" or has_onednn]


def way_for(n_steps: float, n_features: int) -> str:
    """Return the way to train on batches of so many text steps of so many features: timed where they are large."""
    if n_steps * n_features * TIMED_SHAPE[2] < LARGE_MULTIPLICATIONS:
        return BLAS
    return fastest_way()


@functools.cache
def fastest_way() -> str:
    """Return the way that takes clearly less CPU time than those before it, timed once per process."""
    n, k, m = TIMED_SHAPE
    x, weight, d = torch.ones(n, k), torch.ones(m, k), torch.ones(n, m)
    seconds: dict[str, float] = {}
    with one_thread(), torch.inference_mode():
        for time_number in range(TIMES):  # in turn, so that other programs disturb all alike
            for name in usable_ways():
                took = _seconds(WAYS[name], x, weight, d)
                if time_number:  # the first compiles
                    seconds[name] = min(took, seconds.get(name, took))
    best = BLAS
    for name, took in seconds.items():
        if took < CLEARLY_FASTER * seconds[best]:
            best = name
    return best


def _seconds(products: Products, x: Tensor, weight: Tensor, d: Tensor) -> float:
    started = time.thread_time()
    products.project(x, weight)
    products.gradient(d, x)
    return time.thread_time() - started
