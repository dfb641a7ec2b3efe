"""MTCNN's networks run by OpenVINO: the same layers and weights in float32, in 0.7 to 0.95 of the time on x86.

The graphs are built here, layer by layer: OpenVINO's converter, which reports its use to Intel, is never called.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino
import torch
from openvino import opset13 as ops

from fmltk.toolkit.vision.mtcnn.pyramid import FIELD, STRIDE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.vision.mtcnn.networks import Weights

# One thread, as every worker has, and no bfloat16 where the processor has it.
COMPILE_SETTINGS = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
# OpenVINO prepares itself again for each new shape, for as long as a small picture takes: shapes are rounded up.
SIDE_STEP = 16  # cells of PNet's pictures
RNET_BATCHES, ONET_BATCHES = (4, 8), (1, 2, 3, 4)  # crops; more at once are no faster each


@functools.cache
def _core() -> Any:
    """Return OpenVINO, loaded once and for good.

    Loading it gives this thread another stack for signals, and freeing it takes that away. Of several that are freed in
    any order, a stack that is gone stays the thread's: the next signal (a child that ends, Ctrl-C) kills the process.
    """
    return openvino.Core()


class CompiledNetwork:
    """One network, compiled for one input, pictures float32 (B, H, W, 3)."""

    def __init__(self, outputs: list[Any], picture: Any) -> None:
        compiled = _core().compile_model(openvino.Model(outputs, [picture]), "CPU", COMPILE_SETTINGS)
        self._request = compiled.create_infer_request()
        self._n_outputs = len(outputs)

    def run(self, pictures: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the network's outputs."""
        # The request keeps the address alone: the tensor, which holds the array, must outlive the call.
        tensor = openvino.Tensor(np.ascontiguousarray(pictures), shared_memory=True)
        self._request.set_input_tensor(tensor)
        found = self._request.infer()
        return [found[k] for k in range(self._n_outputs)]


class PictureNetwork:
    """PNet, compiled; called as `networks.PNet` is."""

    def __init__(self, network: CompiledNetwork) -> None:
        self._network = network

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return face probabilities (B, h, w) and box regressions (B, 4, h, w) of pictures (B, 3, H, W)."""
        pictures = x.permute(0, 2, 3, 1).numpy()
        n, height, width, _ = pictures.shape
        if height % STRIDE or width % STRIDE:  # pooling rounds up at an odd side, and there alone
            faces, shifts = self._network.run(pictures)
            return torch.from_numpy(faces), torch.from_numpy(shifts)
        faces, shifts = self._network.run(_filled(pictures, (n, _up(height), _up(width), 3)))
        rows, columns = ((side - FIELD) // STRIDE + 1 for side in (height, width))
        return torch.from_numpy(faces[:, :rows, :columns]), torch.from_numpy(shifts[:, :, :rows, :columns])


class CropNetwork:
    """RNet or ONet, compiled for a few numbers of crops; called as those of `networks` are."""

    def __init__(self, networks: dict[int, CompiledNetwork]) -> None:
        self._networks = networks
        self._most = max(networks)

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return the network's outputs for crops (B, 3, side, side)."""
        crops = x.permute(0, 2, 3, 1).numpy()
        batches = [self._run(crops[i : i + self._most]) for i in range(0, max(len(crops), 1), self._most)]
        return tuple(torch.from_numpy(np.concatenate(parts)) for parts in zip(*batches, strict=True))

    def _run(self, crops: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """Return the outputs for a batch, by the network for the fewest crops that hold it."""
        size = min(size for size in self._networks if size >= len(crops))
        outputs = self._networks[size].run(_filled(crops, (size, *crops.shape[1:])))
        return [values[: len(crops)].copy() for values in outputs]


def _up(side: int) -> int:
    return -(-side // SIDE_STEP) * SIDE_STEP


def _filled(pictures: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the pictures (B, H, W, 3) with zeros behind and beyond them, up to a shape."""
    if pictures.shape == shape:
        return pictures
    filled = np.zeros(shape, np.float32)
    n, height, width, _ = pictures.shape
    filled[:n, :height, :width] = pictures
    return filled


def compile_pnet(weights: Weights) -> PictureNetwork:
    """Return PNet; see `networks.PNet`."""
    picture, x = _input(-1, -1)
    x = _pool(_convolution(x, weights, "1"), 2)  # (B, 10, h + 4, w + 4)
    x = _convolution(_convolution(x, weights, "2"), weights, "3")  # (B, 32, h, w)
    shifts = _filtered(x, weights, "conv4_2")
    faces = _second(ops.softmax(_filtered(x, weights, "conv4_1"), 1))
    return PictureNetwork(CompiledNetwork([faces, shifts], picture))


def compile_rnet(weights: Weights) -> CropNetwork:
    """Return RNet; see `networks.RNet`."""
    return CropNetwork({batch: _rnet(weights, batch) for batch in RNET_BATCHES})


def _rnet(weights: Weights, batch: int) -> CompiledNetwork:
    picture, x = _input(batch, 24)
    x = _pool(_convolution(x, weights, "1"), 3)  # (B, 28, 11, 11)
    x = _pool(_convolution(x, weights, "2"), 3)  # (B, 48, 4, 4)
    x = _flat(_convolution(x, weights, "3"))  # (B, 576)
    x = _prelu(_dense(x, weights, "4"), weights, "4")
    faces = _second(ops.softmax(_dense(x, weights, "5_1"), 1))
    return CompiledNetwork([faces, _dense(x, weights, "5_2")], picture)


def compile_onet(weights: Weights) -> CropNetwork:
    """Return ONet; see `networks.ONet`."""
    return CropNetwork({batch: _onet(weights, batch) for batch in ONET_BATCHES})


def _onet(weights: Weights, batch: int) -> CompiledNetwork:
    picture, x = _input(batch, 48)
    x = _pool(_convolution(x, weights, "1"), 3)  # (B, 32, 23, 23)
    x = _pool(_convolution(x, weights, "2"), 3)  # (B, 64, 10, 10)
    x = _pool(_convolution(x, weights, "3"), 2)  # (B, 64, 4, 4)
    x = _flat(_convolution(x, weights, "4"))  # (B, 1152)
    x = _prelu(_dense(x, weights, "5"), weights, "5")
    faces = _second(ops.softmax(_dense(x, weights, "6_1"), 1))
    return CompiledNetwork([faces, _dense(x, weights, "6_2"), _dense(x, weights, "6_3")], picture)


def _input(n: int, side: int) -> tuple[Any, Any]:
    """Return the input (n, side, side, 3), and it as the layers take it (n, 3, side, side); -1: any number."""
    picture = ops.parameter(openvino.PartialShape([n, side, side, 3]), openvino.Type.f32)
    return picture, ops.transpose(picture, [0, 3, 1, 2])


def _values(tensor: torch.Tensor) -> NDArray[np.float32]:
    values: NDArray[np.float32] = tensor.contiguous().numpy()
    return values


def _filtered(x: Any, weights: Weights, layer: str) -> Any:
    bias = _values(weights[f"{layer}.bias"]).reshape(1, -1, 1, 1)
    sums = ops.convolution(x, ops.constant(_values(weights[f"{layer}.weight"])), [1, 1], [0, 0], [0, 0], [1, 1])
    return ops.add(sums, ops.constant(bias))


def _convolution(x: Any, weights: Weights, layer: str) -> Any:
    return _prelu(_filtered(x, weights, f"conv{layer}"), weights, layer)


def _prelu(x: Any, weights: Weights, layer: str) -> Any:
    return ops.prelu(x, ops.constant(_values(weights[f"prelu{layer}.weight"])))


def _pool(x: Any, size: int) -> Any:
    return ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [size, size], rounding_type="ceil").output(0)


def _dense(x: Any, weights: Weights, layer: str) -> Any:
    sums = ops.matmul(x, ops.constant(_values(weights[f"dense{layer}.weight"])), False, True)
    return ops.add(sums, ops.constant(_values(weights[f"dense{layer}.bias"])))


def _flat(x: Any) -> Any:
    """Cells (B, C, h, w) in a row as the weights expect them: width, height, channel."""
    return ops.reshape(ops.transpose(x, [0, 3, 2, 1]), [0, -1], True)


def _second(x: Any) -> Any:
    """Return what a softmax gives its second class, without the axis."""
    return ops.gather(x, ops.constant(1), ops.constant(1))
