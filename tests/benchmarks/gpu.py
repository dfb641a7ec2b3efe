"""What a GPU gives: extraction and training there, beside the same machine's processor.

    python tests/benchmarks/gpu.py $FMLTK_TEST_DATA/videos

Extraction: seconds of video per second, start-up apart, of `fmltk extract` on the processor and on the GPU with some
numbers of workers, and of facenet-pytorch's MTCNN on the GPU with 32 pictures at once, decoding apart. Then how far
features of the GPU are from the processor's, and whether a second run there gives the same bytes. Training: seconds
per epoch of FmlMSN on both. Text is encoded by a model of BERT-base's size with random weights.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.settings import FRAME_RATE_HZ

sys.path.insert(0, str(Path(__file__).parent))
import training
from by_hand import lend_torchvision
from extraction import fill_folder, save_bert_base

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND = "import sys; from fmltk.toolkit.cli.main import main; sys.exit(main())"
PICTURES_AT_ONCE = 32
MODALITIES = ("text", "audio", "vision")


def extract(videos: Path, out: Path, *, device: str, workers: int, model: Path) -> float:
    """Return the wall seconds of one extraction; end with its messages if it fails."""
    command = [sys.executable, "-c", COMMAND, "extract", str(videos), "-o", str(out), "--transcripts",
               str(videos / "transcripts.csv"), "--text-model", str(model), "--openface", "none", "--device", device,
               "--workers", str(workers), "--quiet"]  # fmt: skip
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"extract on {device} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def rate(paths: Sequence[Path], folder: Path, *, device: str, workers: int, model: Path) -> tuple[float, float]:
    """Return seconds of video per second once all workers are at work, and the seconds before that."""
    seconds = sum(probe_media(path).duration_s for path in paths)
    taken = []
    for n in (workers, 2 * workers):
        videos = fill_folder(folder / f"{device}-{workers}-{n}", list(paths), n)
        taken.append(extract(videos, folder / f"features-{device}-{workers}-{n}", device=device, workers=workers,
                             model=model))  # fmt: skip
    each = (taken[1] - taken[0]) / (workers * seconds)
    return 1 / each, taken[0] - workers * seconds * each


def facenet_rate(paths: Sequence[Path]) -> float:
    """Return the seconds of video per second that facenet-pytorch's MTCNN does on the GPU, decoding apart."""
    lend_torchvision()
    from facenet_pytorch import MTCNN

    detector = MTCNN(keep_all=True, device="cuda")
    spent = seconds = 0.0
    for _ in range(2):  # the first warms up
        spent = seconds = 0.0
        for path in paths:
            frames = list(read_frames(path, info=probe_media(path)))
            started = time.perf_counter()
            for k in range(0, len(frames), PICTURES_AT_ONCE):
                detector.detect(np.stack(frames[k : k + PICTURES_AT_ONCE]))
            spent += time.perf_counter() - started
            seconds += len(frames) / FRAME_RATE_HZ
    return seconds / spent


def differences(first: Path, second: Path) -> dict[str, tuple[float, float]]:
    """Return by modality the largest and the median absolute difference of two folders' features."""
    found = {}
    for modality in MODALITIES:
        sides = [read_features(folder)[modality].sequences() for folder in (first, second)]
        apart = []
        for (one, a, _), (other, b, _) in zip(*sides, strict=True):
            assert one == other
            assert a.shape == b.shape, (one, modality, a.shape, b.shape)
            apart.append(np.abs(a - b).ravel())
        every = np.concatenate(apart)
        found[modality] = (float(every.max()), float(np.median(every)))
    return found


def same_bytes(first: Path, second: Path) -> bool:
    return all((first / f"{m}.parquet").read_bytes() == (second / f"{m}.parquet").read_bytes() for m in MODALITIES)


def epoch_line(size: str, device: str) -> str:
    """Measure FmlMSN's stages at that size on a device."""
    measured = training.part(size, 1, "--device", device)
    each = ", ".join(f"{stage} {seconds:.3f}" for stage, seconds in measured["seconds"].items())
    return f"- {size} on {device}: three stages {training.stages_seconds(measured):.2f} s per epoch ({each})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, help="a folder of clips")
    parser.add_argument("--cpu-workers", type=int, nargs="*", default=[1, os.cpu_count() or 1])
    parser.add_argument("--gpu-workers", type=int, nargs="*", default=[1, 8])
    parser.add_argument("--skip", nargs="*", default=[], choices=["extraction", "facenet", "training", "mosei"])
    options = parser.parse_args()
    paths = sorted(path for path in options.videos.iterdir() if path.suffix in (".mp4", ".mpg"))
    print(f"{torch.cuda.get_device_name(0)}, {os.cpu_count()} cores, torch {torch.__version__}\n", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if "extraction" not in options.skip:
            model = save_bert_base(folder / "bert-base")
            print("| device | workers | seconds of video per second | start-up, s |\n|---|---:|---:|---:|", flush=True)
            for device, counts in (("cpu", options.cpu_workers), ("cuda", options.gpu_workers)):
                for workers in counts:
                    speed, start_s = rate(paths, folder, device=device, workers=workers, model=model)
                    print(f"| {device} | {workers} | {speed:.1f} | {start_s:.1f} |", flush=True)
            videos = fill_folder(folder / "once", paths)
            for name, device in (("cpu", "cpu"), ("cuda", "cuda"), ("again", "cuda")):
                extract(videos, folder / name, device=device, workers=2, model=model)
            print()
            for modality, (most, median) in differences(folder / "cpu", folder / "cuda").items():
                print(f"- {modality}: GPU and processor differ by {most:.2g} at most, {median:.2g} in the median")
            print(f"- A second run on the GPU gives the same bytes: {same_bytes(folder / 'cuda', folder / 'again')}")
        if "facenet" not in options.skip:
            print(f"- facenet-pytorch on the GPU, {PICTURES_AT_ONCE} pictures at once, decoding and all else apart: "
                  f"{facenet_rate(paths):.1f} seconds of video per second", flush=True)  # fmt: skip
    if "training" not in options.skip:
        for size in ("ch-sims", *(() if "mosei" in options.skip else ("mosei",))):
            for device in ("cpu", "cuda"):
                print(epoch_line(size, device), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
