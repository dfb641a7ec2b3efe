"""The published systems beside MMSA's own, measured: ``python tests/benchmarks/systems.py``.

CPU-seconds of one epoch, validation included, with one thread, at CH-SIMS size (1368 and 456 clips, 39/400/55 steps of
768/33/709 features), and peak memory: our trainer, and MMSA 2.2.1's modules and trainers in their own environment, in
turn on the same machine. MMSA gets its batches ready made, without its loader. Every measurement has its own process.
Systems that MMSA does not have are measured alone, at MOSI's size (62 videos).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.bert import BertShape

if TYPE_CHECKING:
    from fmltk.model.progress import Epoch
    from fmltk.model.registry import StageSpec
    from fmltk.model.settings import Settings
    from fmltk.model.training import StageData

CLIPS = (1368, 456)
LENGTHS = {"text": 39, "audio": 400, "vision": 55}
DIMS = {"text": 768, "audio": 33, "vision": 709}
MEAN_TEXT, DEVIATION_TEXT = 17.8, 7.3  # tokens per clip of CH-SIMS: mean + 3 deviations = 39
LARGE = {
    "tfn": 4,
    "mtfn": 8,
    "mult": 8,
    "misa": 10,
    "self-mm": 10,
}  # measured on this fraction of the clips, and scaled
MMSA_PYTHON = Path.home() / ".cache" / "fmltk-tests" / "mmsa-2.2.1" / "bin" / "python"
SYSTEMS = ("lf-dnn", "mlf-dnn", "tfn", "mtfn", "lmf", "mlmf", "mfn", "graph-mfn", "ef-lstm", "mult", "misa", "self-mm")
TRAIN_BERT = ("misa", "self-mm")  # a random one of bert-base-chinese's size, saved for both
ALONE = ("bc-lstm", "mmmu-ba", "marn")
MOSI_CLIPS = (1150, 297)
BERT = BertShape("bert", 21_128, 768, 12, 12, 3072, "gelu", 0.1, 0.1, 512, 2, 1e-12, 0)

# Run by MMSA's Python. A first epoch on one batch warms the caches and is not counted.
THEIRS = """
import json, resource, sys, time
import torch
from MMSA.config import get_config_regression
from MMSA.models.AMIO import AMIO
from MMSA.trains import ATIO
from MMSA.trains.singleTask import MULT
plateau = torch.optim.lr_scheduler.ReduceLROnPlateau  # torch no longer has its `verbose`
sys.modules[MULT.__module__].ReduceLROnPlateau = lambda *given, verbose, **named: plateau(*given, **named)
name, n_train, n_valid, folder, bert = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
torch.set_num_threads(1)
torch.manual_seed(0)
args = get_config_regression(name, "sims")
args.update(device="cpu", early_stop=0, cur_seed=1, feature_dims=[768, 33, 709], seq_lens=[39, 400, 55],
    train_mode="regression", model_save_path=folder + "/best.pth", pretrained=bert, train_samples=n_train)
steps = {"audio": 1, "vision": 1} if args.get("need_normalized") else {"audio": 400, "vision": 55}

def loader(n):
    lengths = torch.clamp(torch.normal(17.8, 7.3, (n,)).round(), 3, 39)
    mask = torch.arange(39) < lengths[:, None]
    text = torch.randn(n, 39, 768) * mask[:, :, None]
    if args.get("use_bert"):
        ids = torch.randint(100, 21000, (n, 39)) * mask
        text = torch.stack([ids.float(), mask.float(), torch.zeros(n, 39)], dim=1)
    arrays = {"text": text, "audio": torch.randn(n, steps["audio"], 33), "vision": torch.randn(n, steps["vision"], 709)}
    labels = {task: torch.rand(n, 1) * 2 - 1 for task in "MTAV"}
    size = args["batch_size"]
    arrays |= {"audio_lengths": torch.full((n,), 400), "vision_lengths": torch.full((n,), 55), "index": torch.arange(n)}
    return [{**{k: v[s:s + size] for k, v in arrays.items()}, "labels": {k: v[s:s + size] for k, v in labels.items()},
        "id": list(range(n))[s:s + size]} for s in range(0, n, size)]

model = AMIO(args)
train, valid = loader(n_train), loader(n_valid)
for batches in (train[:1], train):
    started = time.process_time()
    try:
        ATIO().getTrain(args).do_train(model, {"train": batches, "valid": valid, "test": []})
    except UnboundLocalError:  # three trainers fail in what they print after an epoch; validation is then done here
        ATIO().getTrain(args).do_test(model, valid)
    seconds = time.process_time() - started
print(json.dumps({"seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
"""


def text_lengths(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(np.round(rng.normal(MEAN_TEXT, DEVIATION_TEXT, n)), 3, LENGTHS["text"]).astype(np.int64)


def save_bert(folder: Path) -> Path:
    """Write a random BERT of bert-base-chinese's size, which MMSA's Python reads too; return its weights' file."""
    import torch

    from fmltk.model.bert import Bert
    from fmltk.model.tensors import write_tensors

    torch.manual_seed(0)
    (folder / "config.json").write_text(json.dumps({**dataclasses.asdict(BERT), "architectures": ["BertModel"]}))
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{k}" for k in range(BERT.vocab_size - 5))]
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    weights = {name: 0.02 * torch.randn_like(value) for name, value in Bert(BERT).state_dict().items()}
    write_tensors(folder / "model.safetensors", weights, {"format": "pt"})
    return folder / "model.safetensors"


def measure_ours(name: str, clips: tuple[int, int], bert: str | None) -> dict[str, Any]:
    """Train a system on arrays of that size, as a worker of `fmltk train` does; the first epoch is not counted."""
    import torch

    from fmltk.model.bert import TextNetwork
    from fmltk.model.config import load_config
    from fmltk.model.inputs import StageInputs
    from fmltk.model.registry import model_spec
    from fmltk.model.sequences import Sequences
    from fmltk.model.training import StageData

    torch.set_num_threads(1)
    n = sum(clips)
    offsets = np.concatenate([[0], np.cumsum(text_lengths(n))])
    steps = torch.randn(int(offsets[-1]), DIMS["text"])
    model = model_spec(name)
    spec = model.stages[0]
    if model.reads_tokens:
        steps = torch.randint(100, BERT.vocab_size, (int(offsets[-1]), 1))
    pooled = LENGTHS["text"] if model.reads_pooled else 0
    widths = dict(zip(spec.inputs[1:], (DIMS["audio"], DIMS["vision"]), strict=True))
    vectors, sequences = {}, {}
    if model.reads_whole:
        for letter, kind in (("A", "audio"), ("V", "vision")):
            ends = np.arange(n + 1) * LENGTHS[kind]
            length = 0 if model.reads_tokens else LENGTHS[kind]
            sequences[letter] = Sequences(torch.randn(int(ends[-1]), DIMS[kind]), ends, length)
    else:
        vectors = {key: torch.randn(n, pooled, d) if pooled else torch.randn(n, d) for key, d in widths.items()}
    labels = {task: torch.rand(n) * 2 - 1 for task in "MTAV"}
    config = load_config("ch-sims", settings=[f"model={name}", "max_epochs=3", "patience=100"])
    data = StageData(
        StageInputs(vectors, steps, offsets, 0 if model.reads_tokens else LENGTHS["text"], sequences=sequences),
        labels,
        train=np.arange(clips[0]),
        valid=np.arange(clips[0], n),
        text_network=TextNetwork(BERT, Path(bert)) if bert else None,
    )
    return {"seconds": epoch_seconds(spec, config, data), "peak_mb": peak_mb()}


def measure_alone(name: str) -> dict[str, Any]:
    """Train a system that MMSA does not have on arrays of MOSI's size; its stages one after another, added up."""
    import torch

    from fmltk.model.config import load_config
    from fmltk.model.inputs import StageInputs
    from fmltk.model.registry import model_spec
    from fmltk.model.training import StageData
    from fmltk.model.videos import Videos

    torch.set_num_threads(1)
    n, n_videos, length = sum(MOSI_CLIPS), 62, 20 if name == "marn" else 1
    offsets = np.arange(n + 1) * length
    steps = torch.randn(n * length, 300 if length > 1 else 100)
    vectors = {"A": torch.randn(n, 73), "V": torch.randn(n, 100), **{f"H_{m}": torch.randn(n, 100) for m in "TAV"}}
    vectors |= {"A_pooled": torch.randn(n, length, 5), "V_pooled": torch.randn(n, length, 20)}
    videos = Videos(np.arange(n) * n_videos // n, np.arange(n))
    text_length = length if length > 1 else 0
    labels = {task: torch.rand(n) * 6 - 3 for task in "MTAV"}
    rows = {"train": np.arange(MOSI_CLIPS[0]), "valid": np.arange(MOSI_CLIPS[0], n)}
    data = StageData(StageInputs(vectors, steps, offsets, text_length, videos=videos), labels, **rows)
    config = load_config("mosi", settings=[f"model={name}", "max_epochs=3", "patience=100"])
    seconds = [epoch_seconds(stage, config, data) for stage in model_spec(name).stages]
    return {"seconds": sum(seconds), "peak_mb": peak_mb()}


def epoch_seconds(spec: StageSpec, config: Settings, data: StageData) -> float:
    """Return the CPU-seconds of an epoch, the first one not counted."""
    from fmltk.model.training import train_stage

    marks: list[float] = []

    def mark(epoch: Epoch, best: int) -> None:
        marks.append(time.process_time())

    train_stage(spec, config, data, seed=0, on_epoch=mark)
    return (marks[-1] - marks[0]) / (len(marks) - 1)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(command: list[str]) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.decode().splitlines()[-1])
    return result


def main() -> int:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--bert", help=argparse.SUPPRESS)
    parser.add_argument("--mmsa", default=str(MMSA_PYTHON), help="the Python of an environment with mmsa==2.2.1")
    parser.add_argument("--divide", type=int, default=1, help="measure this fraction of the clips, to try the script")
    parser.add_argument("systems", nargs="*", default=(*SYSTEMS, *ALONE))
    options = parser.parse_args()
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread", file=sys.stderr)
    slower = []
    for name in [options.part] if options.part else options.systems:
        share = max(LARGE.get(name, 1), options.divide)
        clips = (CLIPS[0] // share, CLIPS[1] // share)
        if options.part:
            print(json.dumps(measure_alone(name) if name in ALONE else measure_ours(name, clips, options.bert)))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            bert = ["--bert", str(save_bert(Path(folder)))] if name in TRAIN_BERT else []
            ours = run([sys.executable, __file__, "--part", name, "--divide", str(options.divide), *bert])
            if name in ALONE:
                print(f"{name}: {ours['seconds']:.2f} s, {ours['peak_mb']:.0f} MB", flush=True)
                continue
            arguments = [name.replace("-", "_"), *map(str, clips), folder, folder]
            theirs = run([options.mmsa, "-c", THEIRS, *arguments])
        ratio = ours["seconds"] / theirs["seconds"]
        costs = [f"{one['seconds'] * share:.2f} s, {one['peak_mb']:.0f} MB" for one in (ours, theirs)]
        part = f" (1/{share} of the clips)" if share > 1 else ""
        print(f"{name}: {costs[0]}; MMSA {costs[1]}; ratio {ratio:.2f}{part}", flush=True)
        if ratio > 1:
            slower.append(name)
    print(f"slower than MMSA: {', '.join(slower) or 'none'}")
    return 1 if slower else 0


if __name__ == "__main__":
    sys.exit(main())
