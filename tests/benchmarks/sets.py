"""What each feature set of sound costs: CPU-seconds per second, and how much memory, for clips of 10 s and 20 minutes.

    python tests/benchmarks/sets.py
    python tests/benchmarks/sets.py --device cuda    of hf:..., seconds instead of CPU-seconds

Each set is measured in a process of its own, with one thread, on noise. The models have the architecture and size of
the published ones of the same name, and random weights, which cost the same: no weights are fetched.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from fmltk.toolkit.extractors.contract import Card

SHORT_S, LONG_S = 10, 1200
MODELS = {"wav2vec2-base": "Wav2Vec2", "hubert-base": "Hubert", "wavlm-base": "WavLM", "whisper-tiny": "Whisper"}
SETS = (
    "fmltk33",
    "librosa:ch-sims-33",
    "librosa:fet-24",
    "egemaps",
    "egemaps-functionals",
    "compare",
    "opensmile:ComParE_2016/functionals",
    *(f"hf:{name}" for name in MODELS),
)
HEADER = (
    "| set | features | per second | CPU-s per second | memory of 10 s, MB | memory of 20 minutes, MB |",
    "|---|---:|---:|---:|---:|---:|",
)


def save_model(name: str, folder: Path) -> None:
    """Save a model of the published size with random weights."""
    from fmltk.toolkit.compat import guard_torchvision

    guard_torchvision()
    import transformers

    family = MODELS[name]
    config = getattr(transformers, f"{family}Config")()  # each family's default is its base; Whisper's is tiny
    getattr(transformers, f"{family}Model")(config).save_pretrained(folder)
    front = transformers.WhisperFeatureExtractor() if family == "Whisper" else transformers.Wav2Vec2FeatureExtractor()
    front.save_pretrained(folder)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(given: str, long_s: int, device: str) -> str:
    """Return a row of the table."""
    import torch

    from fmltk.toolkit.extractors.catalog import find_extractor
    from fmltk.toolkit.extractors.contract import Samples

    torch.set_num_threads(1)
    extractor = find_extractor("audio", given).extractor
    card, function = extractor.card, extractor.load(device)
    clock = time.process_time if device == "cpu" else time.perf_counter

    def hear(seconds: int) -> float:
        noise = np.random.default_rng(0).standard_normal(seconds * card.sample_rate_hz, np.float32) * np.float32(0.05)
        started = clock()
        function(Samples(noise, card.sample_rate_hz))
        return (clock() - started) / seconds

    hear(SHORT_S)
    cost, short_mb = hear(SHORT_S), peak_mb()
    hear(long_s)
    return row(given, card, [f"{cost:.3f}", f"{short_mb:.0f}", f"{peak_mb():.0f}"])


def row(given: str, card: Card, measured: list[str]) -> str:
    rate = "one per clip" if card.rate_hz is None else f"{card.rate_hz:.4g}"
    name = f"hf:{Path(given).name}" if given.startswith("hf:") else given
    return f"| `{name}` | {card.dimension or len(card.features)} | {rate} | {' | '.join(measured)} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=list(SETS))
    parser.add_argument("--long", type=int, default=LONG_S, help="seconds of the long clip")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(measure(options.one, options.long, options.device))
        return
    print("\n".join(HEADER), flush=True)
    threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    with tempfile.TemporaryDirectory() as folder:
        for given in options.only:
            name = given.removeprefix("hf:")
            one = given
            if name in MODELS:
                save_model(name, Path(folder) / name)
                one = f"hf:{Path(folder) / name}"
            command = [sys.executable, __file__, "--one", one, "--long", str(options.long), "--device",
                       options.device]  # fmt: skip
            done = subprocess.run(command, env={**os.environ, **threads}, stdout=subprocess.PIPE, text=True, check=True)
            print(done.stdout.strip(), flush=True)


if __name__ == "__main__":
    main()
