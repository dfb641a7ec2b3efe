"""Training speed and memory, measured: ``python tests/benchmarks/training.py``.

CPU-seconds per epoch with one thread, at CH-SIMS size (1368/456/457 clips, 39/400/55 steps of 768/33/709 features) and
at MOSEI size (16326 training clips), of FmlMSN's three stages and its fusion stage. Next to them, in the same run and
in turn, MMSA's LF-DNN (see systems.py), where its environment exists; and two references written in plain PyTorch as
one would write them by hand: a network of MLF-DNN's size and one of MTFN's. Every measurement has a process of its own,
so that its peak memory is its own. Other programs make the same work cost more: the least of --rounds is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fmltk.model.progress import Epoch

CH_SIMS_CLIPS = (1368, 456, 457)
MOSEI_CLIPS = (16326, 1871, 4659)
LENGTHS = {"text": 39, "audio": 400, "vision": 55}
DIMS = {"text": 768, "audio": 33, "vision": 709}
MEAN_TEXT, DEVIATION_TEXT = 17.8, 7.3  # tokens per clip of CH-SIMS: mean + 3 deviations = 39
EPOCHS = 4  # the first is left out: it warms the caches
TASKS = ("T", "A", "V", "AT", "VT", "AV", "M")
TARGETS = {"stages_per_lf_dnn": 0.85, "fusion_s": 0.02, "memory_mb": 900}


def text_lengths(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.clip(np.round(rng.normal(MEAN_TEXT, DEVIATION_TEXT, n)), 3, LENGTHS["text"]).astype(np.int64)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure_stages(clips: tuple[int, ...], device: str) -> dict[str, Any]:
    """FmlMSN's stages on arrays of that size, as a worker process of `fmltk train` has them."""
    import torch

    from fmltk.model.config import load_config
    from fmltk.model.inputs import StageInputs
    from fmltk.model.products import products_by, way_for
    from fmltk.model.registry import model_spec
    from fmltk.model.training import StageData, train_stage

    torch.set_num_threads(1)
    n = clips[0] + clips[1]
    lengths = text_lengths(n)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    generator = torch.Generator().manual_seed(0)
    steps = torch.randn(int(offsets[-1]), DIMS["text"], generator=generator).to(device)
    vectors = {"A": torch.randn(n, DIMS["audio"], generator=generator).to(device)}
    vectors["V"] = torch.randn(n, DIMS["vision"], generator=generator).to(device)
    vectors |= {f"H_{pair}": torch.rand(n, 64, generator=generator).to(device) for pair in ("AV", "AT", "VT")}
    labels = {task: (torch.rand(n, generator=generator) * 2 - 1).to(device) for task in TASKS}
    inputs = StageInputs(vectors, steps, offsets)
    config = load_config("ch-sims", settings=[f"max_epochs={EPOCHS}", "patience=100"])
    n_steps = len(steps) / n * config.bs if device == "cpu" else 0
    clock = time.process_time if device == "cpu" else time.perf_counter
    result: dict[str, Any] = {}
    for stage in model_spec("fmlmsn").stages:
        marks: list[float] = []

        def tell(epoch: Epoch, best: int, marks: list[float] = marks) -> None:
            marks.append(clock())

        rows = {"train": np.arange(clips[0]), "valid": np.arange(clips[0], n)}
        with products_by(way_for(n_steps, DIMS["text"])):
            train_stage(stage, config, StageData(inputs, labels, **rows), seed=0, on_epoch=tell)
        result[stage.name] = (marks[-1] - marks[0]) / (EPOCHS - 1)
    return {"seconds": result, "peak_mb": peak_mb()}


def write_folder(folder: Path, clips: tuple[int, ...]) -> None:
    """A feature folder of that size, as `fmltk extract` writes it."""
    import pyarrow as pa

    from fmltk.toolkit.features.clip_row import ClipRow, ModalityStatus
    from fmltk.toolkit.features.manifest import ManifestWriter
    from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
    from fmltk.toolkit.io.parquet import write_table

    n = sum(clips)
    ids = [f"v{k // 38:04d}$_${k:05d}" for k in range(n)]
    lengths = {"text": text_lengths(n), "audio": np.full(n, 300), "vision": np.full(n, 40)}
    rng = np.random.default_rng(0)
    labels = np.round(rng.uniform(-1, 1, n), 1)
    for name, length in LENGTHS.items():
        with ModalityWriter(
            folder / f"{name}.parquet", ModalitySpec(name, DIMS[name], length, name == "vision")
        ) as writer:
            for k in range(n):
                steps = int(min(lengths[name][k], length))
                frames = rng.normal(0, 1, (steps, DIMS[name])) + labels[k]  # learnable, so that the run ends well
                writer.append(ids[k], frames.astype(np.float32))
    with ManifestWriter(folder / "manifest.parquet", {}) as manifest:
        for k in range(n):
            status = dict.fromkeys(LENGTHS, ModalityStatus("ok"))
            manifest.append(
                ClipRow(utterance_id=ids[k], video_id=ids[k][:5], clip_id=ids[k][-5:], status="ok", modalities=status)
            )
    splits = np.repeat(["train", "valid", "test"], clips).tolist()
    columns: dict[str, Any] = {"utterance_id": ids, "video_id": [u[:5] for u in ids], "split": splits}
    columns |= {f"label_{task}": labels for task in TASKS}
    document = json.dumps({"scales": dict.fromkeys(TASKS, "-1..1")}).encode()
    write_table(pa.table(columns).replace_schema_metadata({b"fmltk": document}), folder / "labels.parquet")


def measure_run(folder: Path) -> dict[str, Any]:
    """A whole run, reading included, in one process."""
    from fmltk.model.config import load_config
    from fmltk.model.options import RunOptions
    from fmltk.model.run import train

    config = load_config("ch-sims", settings=["max_epochs=2"])
    started = time.process_time()
    train(folder, out=folder / "run", config=config, options=RunOptions(jobs=0))
    return {"seconds": time.process_time() - started, "peak_mb": peak_mb()}


def measure_reference(name: str, clips: tuple[int, ...]) -> dict[str, Any]:
    """One epoch of a reference network by hand: padded tensors in memory, torch's LSTM, autograd."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    torch.manual_seed(0)
    n = clips[0]
    data = {m: torch.randn(n, LENGTHS[m], DIMS[m]) for m in LENGTHS}
    lengths = torch.from_numpy(text_lengths(n))
    labels = torch.rand(4, n) * 2 - 1

    def deep(d_in: int, d: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(d_in, d), nn.ReLU(), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, d), nn.ReLU())

    def head(d_in: int, d: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(d_in, d), nn.ReLU(), nn.Linear(d, d), nn.ReLU(), nn.Linear(d, 1))

    lstm, text = nn.LSTM(768, 128, batch_first=True), nn.Linear(128, 128)
    audio, vision = deep(33, 16), deep(709, 128)
    fused = 128 + 16 + 128 if name == "mlf-dnn" else 129 * 17 * 129  # MTFN: the outer product of all three, 1 appended
    heads = nn.ModuleList([head(128, 64), head(16, 16), head(128, 64), head(fused, 128)])
    modules = nn.ModuleList([lstm, text, audio, vision, heads])
    optimiser = torch.optim.Adam(modules.parameters(), lr=1e-3)
    pack = nn.utils.rnn.pack_padded_sequence
    batches = torch.randperm(n).split(64)
    if name == "mtfn":
        batches = batches[:2]  # minutes per epoch: two batches are measured and scaled
    started = time.process_time()
    for batch in batches:
        packed = pack(data["text"][batch], lengths[batch], batch_first=True, enforce_sorted=False)
        t = text(lstm(packed)[1][0][0])
        a, v = audio(data["audio"][batch].mean(1)), vision(data["vision"][batch].mean(1))
        if name == "mlf-dnn":
            m = torch.cat([t, a, v], dim=1)
        else:
            one = torch.ones(len(batch), 1)
            ta = torch.cat([t, one], 1)[:, :, None] * torch.cat([a, one], 1)[:, None, :]
            m = (ta.flatten(1)[:, :, None] * torch.cat([v, one], 1)[:, None, :]).flatten(1)
        outputs = [net(x).squeeze(1) for net, x in zip(heads, (t, a, v, m), strict=True)]
        loss = torch.stack([(y - labels[k][batch]).abs().mean() for k, y in enumerate(outputs)]).sum()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    share = sum(len(batch) for batch in batches) / n
    return {"seconds": (time.process_time() - started) / share, "share": share, "peak_mb": peak_mb()}


def measure_mmsa(clips: tuple[int, ...]) -> dict[str, Any]:
    """One epoch of MMSA's LF-DNN, by its own trainer in its own environment."""
    from systems import MMSA_PYTHON, THEIRS, run

    with tempfile.TemporaryDirectory() as folder:
        return run([str(MMSA_PYTHON), "-c", THEIRS, "lf_dnn", str(clips[0]), str(clips[1]), folder, folder])


def has_mmsa() -> bool:
    from systems import MMSA_PYTHON

    return MMSA_PYTHON.is_file()


def stages_seconds(measured: dict[str, Any]) -> float:
    return float(sum(seconds for stage, seconds in measured["seconds"].items() if stage != "fusion"))


def part(name: str, divide: int, *arguments: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--part", name, "--divide", str(divide), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--divide", type=int, default=1, help="measure this fraction of the clips, to try the script")
    parser.add_argument("--skip", nargs="*", default=[], help="mmsa, mosei, mtfn, mlf-dnn, run")
    parser.add_argument("--rounds", type=int, default=3, help="how often ours and MMSA's are measured, in turn")
    options = parser.parse_args()
    small, large_size = (tuple(max(n // options.divide, 4) for n in size) for size in (CH_SIMS_CLIPS, MOSEI_CLIPS))
    if options.part:
        parts = {
            "ch-sims": lambda: measure_stages(small, options.device),
            "mosei": lambda: measure_stages(large_size, options.device),
            "write": lambda: write_folder(options.folder, small) or {},
            "run": lambda: measure_run(options.folder),
            "mlf-dnn": lambda: measure_reference("mlf-dnn", small),
            "mtfn": lambda: measure_reference("mtfn", small),
        }
        print(json.dumps(parts[options.part]()))
        return 0
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread, device {options.device}")
    compares = "mmsa" not in options.skip and has_mmsa()
    rounds = [
        (part("ch-sims", options.divide, "--device", options.device), measure_mmsa(small) if compares else None)
        for _ in range(options.rounds)
    ]
    ours = min((mine for mine, _ in rounds), key=stages_seconds)
    stages, fusion = stages_seconds(ours), min(mine["seconds"]["fusion"] for mine, _ in rounds)
    each = ", ".join(f"{stage} {seconds:.3f}" for stage, seconds in ours["seconds"].items() if stage != "fusion")
    print(
        f"FmlMSN, CH-SIMS size: three stages {stages:.2f} s per epoch ({each}), fusion {fusion:.4f}; "
        f"{ours['peak_mb']:.0f} MB; the least of {options.rounds} rounds"
    )
    memory = ours["peak_mb"]
    found = {"fusion_s": fusion}
    if compares:
        theirs = min(one["seconds"] for _, one in rounds if one)
        found["stages_per_lf_dnn"] = stages / theirs
        pairs = ", ".join(f"{stages_seconds(mine) / one['seconds']:.2f}" for mine, one in rounds if one)
        print(f"MMSA's LF-DNN: {theirs:.2f} s per epoch; ours {stages / theirs:.2f} times that (by round: {pairs})")
    if "mosei" not in options.skip:
        large = part("mosei", options.divide, "--device", options.device)
        total = stages_seconds(large)
        growth = (total / large_size[0]) / (stages / small[0])
        print(
            f"FmlMSN, MOSEI size: three stages {total:.2f} s per epoch, {growth:.2f} times CH-SIMS's per clip; "
            f"{large['peak_mb']:.0f} MB"
        )
    if "run" not in options.skip:
        with tempfile.TemporaryDirectory() as folder:
            part("write", options.divide, "--folder", folder)
            run = part("run", options.divide, "--folder", folder)
        memory = max(memory, run["peak_mb"])
        print(f"whole run of 2 epochs per stage, reading included: {run['seconds']:.1f} s; {run['peak_mb']:.0f} MB")
    for name in ("mlf-dnn", "mtfn"):
        if name not in options.skip:
            reference = part(name, options.divide)
            print(f"{name}-sized reference: {reference['seconds']:.2f} s per epoch; {reference['peak_mb']:.0f} MB")
    found["memory_mb"] = memory
    missed = [what for what, value in found.items() if options.device == "cpu" and value > TARGETS[what]]
    print(f"targets: {TARGETS}; missed: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
