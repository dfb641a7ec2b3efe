"""The three networks of MTCNN: PNet proposes faces, RNet refines them, ONet decides and places five landmarks.

The weights are those of facenet-pytorch (MIT licence), read from the installed distribution without importing it:
its ``__init__`` imports torchvision, which does not load with a CPU build of torch.

Source: Zhang et al., "Joint Face Detection and Alignment using Multi-task Cascaded Convolutional Networks", 2016.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (the name everyone knows)

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.machine import compute_exactly
from fmltk.toolkit.settings import OPENVINO, TORCH

if TYPE_CHECKING:
    from collections.abc import Callable

WEIGHTS_DISTRIBUTION = "facenet_pytorch"

Weights = dict[str, Tensor]  # by the names of facenet-pytorch's layers


def max_pool(x: Tensor, size: int) -> Tensor:
    """Return the maxima over size x size cells, every second cell, the last window may be partial.

    x : shape (B, C, h, w). Equal to ``max_pool2d(x, size, 2, ceil_mode=True)``, which also notes where each maximum was
    and takes eight times as long in the channels-last layout.
    """
    for dim in (2, 3):
        n_windows = -(-(x.shape[dim] - size) // 2) + 1
        first, second = (_every_second(x, dim, shift, n_windows) for shift in (0, 1))
        whole = second.shape[dim] == n_windows
        pooled = torch.maximum(first, second) if whole else first.clone()
        for shift in range(2 if whole else 1, size):
            other = _every_second(x, dim, shift, n_windows)
            held = pooled.narrow(dim, 0, other.shape[dim])
            torch.maximum(held, other, out=held)
        x = pooled
    return x


def _every_second(x: Tensor, dim: int, first: int, at_most: int) -> Tensor:
    last = min(first + 2 * at_most, x.shape[dim])
    return x[:, :, first:last:2] if dim == 2 else x[:, :, :, first:last:2]


class PNet:
    """Fully convolutional: one proposal per 12x12 field, every second pixel."""

    def __init__(self, weights: Weights) -> None:
        first = ("conv1.weight", "conv1.bias", "prelu1.weight")
        self._weights = weights | {name: _widened(weights[name]) for name in first}

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return face probabilities (B, h, w) and box regressions (B, 4, h, w) of pictures (B, 3, H, W)."""
        w = self._weights
        x = max_pool(_convolution(x, w, "1"), 2)  # (B, 16, h + 4, w + 4)
        x = x[:, : w["conv2.weight"].shape[1]].contiguous(memory_format=torch.channels_last)  # (B, 10, h + 4, w + 4)
        x = _convolution(_convolution(x, w, "2"), w, "3")  # (B, 32, h, w)
        faces = F.conv2d(x, w["conv4_1.weight"], w["conv4_1.bias"]).softmax(dim=1)[:, 1]
        return faces, F.conv2d(x, w["conv4_2.weight"], w["conv4_2.bias"])


class RNet:
    """One 24x24 crop: is it a face, and how should its box move."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return probabilities (B,) and box regressions (B, 4) of crops (B, 3, 24, 24)."""
        w = self._weights
        x = max_pool(_convolution(x, w, "1"), 3)  # (B, 28, 11, 11)
        x = max_pool(_convolution(x, w, "2"), 3)  # (B, 48, 4, 4)
        x = _flat(_convolution(x, w, "3"))  # (B, 576)
        x = F.prelu(_dense(x, w, "4"), w["prelu4.weight"])
        return _dense(x, w, "5_1").softmax(dim=1)[:, 1], _dense(x, w, "5_2")


class ONet:
    """One 48x48 crop: the final probability, box regression and five landmarks."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return probabilities (B,), regressions (B, 4), landmarks (B, 10: five x, five y) of crops (B, 3, 48, 48)."""
        w = self._weights
        x = max_pool(_convolution(x, w, "1"), 3)  # (B, 32, 23, 23)
        x = max_pool(_convolution(x, w, "2"), 3)  # (B, 64, 10, 10)
        x = max_pool(_convolution(x, w, "3"), 2)  # (B, 64, 4, 4)
        x = _flat(_convolution(x, w, "4"))  # (B, 1152)
        x = F.prelu(_dense(x, w, "5"), w["prelu5.weight"])
        return _dense(x, w, "6_1").softmax(dim=1)[:, 1], _dense(x, w, "6_2"), _dense(x, w, "6_3")


def _convolution(x: Tensor, weights: Weights, layer: str) -> Tensor:
    x = F.conv2d(x, weights[f"conv{layer}.weight"], weights[f"conv{layer}.bias"])
    return F.prelu(x, weights[f"prelu{layer}.weight"])


def _dense(x: Tensor, weights: Weights, layer: str) -> Tensor:
    return F.linear(x, weights[f"dense{layer}.weight"], weights[f"dense{layer}.bias"])


def _widened(weights: Tensor) -> Tensor:
    """Return a layer's weights for 16 channels, those beyond its own zero: 16 are computed faster than 10."""
    wide = weights.new_zeros(16, *weights.shape[1:])
    wide[: len(weights)] = weights
    return wide.contiguous(memory_format=torch.channels_last) if wide.dim() == 4 else wide


def _flat(x: Tensor) -> Tensor:
    """Cells (B, C, h, w) in a row as the weights expect them: width, height, channel."""
    return x.permute(0, 3, 2, 1).flatten(1)  # (B, w * h * C)


@dataclass(frozen=True)
class Networks:
    """The three networks, loaded and ready, on one device; called as PNet, RNet and ONet are."""

    pnet: Callable[[Tensor], tuple[Tensor, ...]]
    rnet: Callable[[Tensor], tuple[Tensor, ...]]
    onet: Callable[[Tensor], tuple[Tensor, ...]]
    device: torch.device


def weights_folder() -> Path:
    """Return the folder of pnet.pt, rnet.pt and onet.pt.

    Raises FeatureError where facenet-pytorch is not installed or lacks its weights.
    """
    spec = find_spec(WEIGHTS_DISTRIBUTION)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if all((Path(folder) / "data" / f"{name}.pt").is_file() for name in ("pnet", "rnet", "onet")):
            return Path(folder) / "data"
    raise FeatureError(
        "the face detector's weights (pnet.pt, rnet.pt, onet.pt) were not found in the installed package "
        "facenet-pytorch; install it again: pip install --force-reinstall --no-deps facenet-pytorch==2.5.3"
    )


def load_networks(device: str = "cpu", *, runtime: str = TORCH) -> Networks:
    """Return the networks with facenet-pytorch's weights, in channels-last layout.

    runtime : who runs them, "torch", or "openvino" on the processor

    Raises FeatureError where the weights are missing or damaged, or the device or the runtime is not usable.
    """
    folder = weights_folder()
    try:
        torch_device = torch.device(device)
        if torch_device.type == "cuda":
            compute_exactly()
        pnet, rnet, onet = (_load_weights(folder / f"{name}.pt", torch_device) for name in ("pnet", "rnet", "onet"))
        networks = Networks(PNet(pnet), RNet(rnet), ONet(onet), torch_device)
        if runtime == OPENVINO:
            networks = _compiled(pnet, rnet, onet)
        with torch.inference_mode():  # fails here rather than on a user's first frame
            for network, size in ((networks.pnet, 12), (networks.rnet, 24), (networks.onet, 48)):
                network(torch.zeros(1, size, size, 3, device=torch_device).permute(0, 3, 1, 2))
    except (RuntimeError, OSError, ValueError, EOFError, AssertionError, KeyError, UnpicklingError) as error:
        said = str(error).replace(str(folder), "facenet_pytorch's folder")
        raise FeatureError(f"the face detector cannot be loaded to the device {device!r}: {said}") from error
    return networks


def _compiled(pnet: Weights, rnet: Weights, onet: Weights) -> Networks:
    """Return the networks as OpenVINO runs them. Raises FeatureError where it is not installed."""
    try:
        from fmltk.toolkit.vision.mtcnn.openvino_networks import compile_onet, compile_pnet, compile_rnet
    except ImportError as error:
        raise FeatureError(f"OpenVINO cannot be loaded ({error}); run: pip install 'fmltk[fast]'") from error
    return Networks(compile_pnet(pnet), compile_rnet(rnet), compile_onet(onet), torch.device("cpu"))


def _load_weights(path: Path, device: torch.device) -> Weights:
    weights: Weights = torch.load(path, map_location="cpu", weights_only=True)
    return {
        name: tensor.to(device, memory_format=torch.channels_last) if tensor.dim() == 4 else tensor.to(device)
        for name, tensor in weights.items()
    }
