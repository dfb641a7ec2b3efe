"""What a researcher writes by hand today: ffmpeg to frames, MTCNN on every frame, librosa, BERT one sentence at a time.

The yardstick of tests/benchmarks/extraction.py. Nothing of fmltk is used but the guard that lets facenet_pytorch and
transformers be imported beside a CPU build of torch.
"""

from __future__ import annotations

import subprocess
import sys
import time
import types
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 30


def cpu_s() -> float:
    """CPU-seconds of this process and of the programs that it has run to their end."""
    import resource

    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


class ByHand:
    """The models, loaded once, and the steps for one clip."""

    def __init__(self, text_model: str) -> None:
        lend_torchvision()
        import torch
        from facenet_pytorch import MTCNN
        from transformers import AutoModel, AutoTokenizer

        from fmltk.toolkit.media.process import find_ffmpeg

        torch.set_num_threads(1)
        self.ffmpeg = find_ffmpeg().path
        self.detector = MTCNN(keep_all=True)
        self.tokenizer = AutoTokenizer.from_pretrained(text_model)
        self.model = AutoModel.from_pretrained(text_model).eval()

    def frames(self, path: Path, width: int, height: int) -> list[np.ndarray]:
        """Return every frame at 30 Hz, uint8 (height, width, 3)."""
        command = [self.ffmpeg, "-v", "error", "-i", str(path), "-vf", f"fps={RATE_HZ}", "-f", "rawvideo", "-pix_fmt",
                   "rgb24", "-"]  # fmt: skip
        raw = subprocess.run(command, capture_output=True, check=True).stdout
        return list(np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3))

    def faces(self, frames: list[np.ndarray]) -> int:
        """Detect in every frame; return in how many there is a face."""
        return sum(self.detector.detect(frame)[0] is not None for frame in frames)

    def audio(self, path: Path) -> np.ndarray:
        """Return the 33 features, (steps, 33)."""
        import librosa

        command = [self.ffmpeg, "-v", "error", "-i", str(path), "-f", "f32le", "-ac", "1", "-ar", "22050", "-"]
        samples = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.float32)
        parts = [
            librosa.feature.zero_crossing_rate(samples),
            librosa.feature.mfcc(y=samples, sr=22050, n_mfcc=20, htk=True),
            librosa.feature.chroma_cqt(y=samples, sr=22050),
        ]
        return np.concatenate(parts).T

    def text(self, sentence: str) -> np.ndarray:
        """Return the last hidden states, (tokens, d)."""
        import torch

        with torch.no_grad():
            return self.model(**self.tokenizer(sentence, return_tensors="pt")).last_hidden_state[0].numpy()


def lend_torchvision() -> None:
    """Give facenet_pytorch the two functions of torchvision it uses, where torchvision cannot be imported."""
    from fmltk.toolkit.compat import Torchvision, guard_torchvision

    if guard_torchvision() is Torchvision.USABLE:
        return
    import torch

    def batched_nms(boxes: torch.Tensor, scores: torch.Tensor, groups: torch.Tensor, threshold: float) -> torch.Tensor:
        apart = boxes + (groups.to(boxes) * (boxes.max() + 1))[:, None] if len(boxes) else boxes
        area = (apart[:, 2] - apart[:, 0]) * (apart[:, 3] - apart[:, 1])
        order, kept = scores.argsort(descending=True), []
        while len(order):
            kept.append(order[0])
            first, rest = apart[order[0]], apart[order[1:]]
            side = (torch.minimum(first[2:], rest[:, 2:]) - torch.maximum(first[:2], rest[:, :2])).clamp(min=0)
            overlap = side[:, 0] * side[:, 1]
            order = order[1:][overlap / (area[order[0]] + area[order[1:]] - overlap) <= threshold]
        return torch.stack(kept) if kept else torch.empty(0, dtype=torch.int64)

    names = ("torchvision", "torchvision.ops", "torchvision.ops.boxes", "torchvision.transforms",
             "torchvision.transforms.functional")  # fmt: skip
    modules = {name: types.ModuleType(name) for name in names}
    modules["torchvision.ops.boxes"].batched_nms = batched_nms  # type: ignore[attr-defined]
    modules["torchvision.transforms.functional"].to_tensor = lambda image: image  # type: ignore[attr-defined]
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "torchvision"}
    sys.modules.update(modules)
    import facenet_pytorch  # noqa: F401 - it takes the functions from the stand-ins

    for name in names:
        del sys.modules[name]
    sys.modules.update(hidden)


def timed(step: object, *arguments: object) -> tuple[object, float, float]:
    """Return what a step returns, and its CPU- and wall-seconds."""
    cpu, wall = cpu_s(), time.perf_counter()
    value = step(*arguments)  # type: ignore[operator]
    return value, cpu_s() - cpu, time.perf_counter() - wall
