"""A million clips through the catalogue, the shards, the tables and resume: time, memory, files.

The videos are one tiny file under many names and the sequences a few made-up steps, so that what is measured is the
run's own code, real from the folder of videos to the padded tables; only what extracts a clip is left out.

    python tests/benchmarks/million_clips.py --clips 1000000 --folder /data/simulation
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.catalog.catalog import build_catalog
from fmltk.toolkit.features.clip_row import ClipRow, ModalityStatus
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.shards import ClipResult, ClipSequence, shard_key
from fmltk.toolkit.run.assemble import assemble
from fmltk.toolkit.run.folder import bind
from fmltk.toolkit.run.pad import pad
from fmltk.toolkit.run.tasks import RunPaths
from fmltk.toolkit.run.versions import numeric_versions
from fmltk.toolkit.run.work import Work
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARDS, TABLES = "encode and write shards", "survey, pad, write the tables"
RESUME, PAD = "resume: catalogue, listing, nothing left to do", "pad again"
CATALOGUE = "catalogue"
CLIPS_PER_VIDEO = 100
# Half of what they took with one-row Parquet shards, in µs of CPU per clip (1,000,000 clips, AMD EPYC).
LIMITS_US = {SHARDS: 460, TABLES: 619, RESUME: 63, PAD: 632}
MEMORY_LIMIT_MB = 600  # of the command's own process, with
MILLION = 1_000_000
WORDS = "a few words that somebody says"


@dataclass
class Step:
    """What one step took: wall and CPU seconds, and the process's peak memory until its end in MB."""

    name: str
    wall_s: float
    cpu_s: float
    peak_mb: float


@contextmanager
def measured(name: str, steps: list[Step]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    steps.append(Step(name, time.perf_counter() - wall, time.process_time() - cpu, peak_mb))
    print(f"{name}: {steps[-1].wall_s:.0f} s, {peak_mb:.0f} MB", file=sys.stderr, flush=True)


def make_videos(folder: Path, n_clips: int) -> None:
    """Make `folder`/videos with one file of many names, and transcripts.csv."""
    (folder / "videos").mkdir(parents=True)
    with (folder / "transcripts.csv").open("w") as table:
        table.write("video_id,clip_id,text,mode\n")
        for number in range(n_clips):
            video, clip = f"v{number // CLIPS_PER_VIDEO:06d}", f"{number % CLIPS_PER_VIDEO:04d}"
            if number % CLIPS_PER_VIDEO == 0:
                (folder / "videos" / video).mkdir()
            # sizes differ as those of real files do
            with (folder / "videos" / video / f"{clip}.mp4").open("wb") as file:
                file.truncate(200_000 + number * 7919 % 1_000_003)
            table.write(f"{video},{clip},{WORDS} {number},train\n")


def fake_result(clip: Any, rng: np.random.Generator) -> ClipResult:
    """Return a result of 4 to 11 steps of 4 features per modality."""
    row = replace(ClipRow.of(clip), status="ok", sha256="0" * 64, duration_s=1.0, fps=30.0, n_frames=8)
    sequences = {}
    for modality, dimension in (("audio", 33), ("vision", 4)):
        n_steps = int(rng.integers(4, 12))
        sequences[modality] = ClipSequence(rng.random((n_steps, dimension), np.float32))
        row = row.with_modality(modality, ModalityStatus("ok", n_steps))
    return ClipResult(row, sequences)


def simulate(folder: Path, n_clips: int) -> dict[str, Any]:
    """Run the whole way in `folder`, and return what each step took."""
    steps: list[Step] = []
    with measured("make the videos (not part of a run)", steps):
        make_videos(folder, n_clips)
    out = folder / "features"
    settings, padding = ExtractSettings(modalities=("audio", "vision")), PaddingSettings()
    paths = RunPaths(out)

    def catalogue() -> Any:
        return build_catalog(folder / "videos", transcripts=folder / "transcripts.csv")

    with measured(CATALOGUE, steps):
        catalog = catalogue()
    with measured("plan: what is to be done", steps):
        work = Work.plan(catalog, settings, paths)
        pending = work.pending(retry_failed=False)
    assert len(pending) == n_clips
    run = bind(out, settings, {"text_model": {}, "versions": numeric_versions()})
    rng = np.random.default_rng(0)
    with measured(SHARDS, steps):
        for key in pending:
            task = work.task(key)
            work.names[shard_key(key)] = work.shards.write(fake_result(task.clip, rng), task.input_hash)
    with measured(TABLES, steps):
        summary = assemble(out, work.shards, work.entries(), padding=padding, run=run)
    assert summary.counts == {"ok": n_clips}
    first = (out / "audio.parquet").stat().st_size
    del catalog, work, pending, summary
    with measured(RESUME, steps):
        catalog = catalogue()
        work = Work.plan(catalog, settings, paths)
        assert work.pending(retry_failed=False) == {}
    del catalog, work
    with measured(PAD, steps):
        pad(out, PaddingSettings(n_sigmas=2.0))
    assert (out / "audio.parquet").stat().st_size != first
    with measured("read ids and lengths back", steps):
        assert len(read_features(out)["audio"].utterance_ids) == n_clips
    files = [path.stat() for path in (out / "shards").rglob("*") if path.is_file()]
    return {
        "clips": n_clips,
        "steps": [asdict(step) for step in steps],
        "shard_files": len(files),
        "shards_mb": sum(state.st_blocks * 512 for state in files) / 2**20,
        "tables_mb": sum(path.stat().st_size for path in out.glob("*.parquet")) / 2**20,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the simulation runs, new; default: a temporary folder")
    parser.add_argument(
        "--unsynced", action="store_true", help="do not wait for the disk: 3 ms a shard, on the workers"
    )
    parser.add_argument("--json", action="store_true", help="one JSON document in place of a table")
    arguments = parser.parse_args()
    if arguments.unsynced:
        os.fsync = lambda _: None
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        found = simulate(Path(name), arguments.clips)
        shutil.rmtree(name, ignore_errors=True)
        Path(name).mkdir()
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    print("| step | wall s | CPU s | µs CPU per clip | goal | | peak MB |\n|---|---:|---:|---:|---:|---|---:|")
    for step in found["steps"]:
        per_clip, limit = step["cpu_s"] / found["clips"] * 1e6, LIMITS_US.get(step["name"])
        goal = "| |" if limit is None else f"| at most {limit} | {verdict(per_clip, limit)}"
        times = f"{step['wall_s']:.1f} | {step['cpu_s']:.1f} | {per_clip:.0f}"
        print(f"| {step['name']} | {times} {goal} | {step['peak_mb']:.0f} |")
    print(f"\n{found['shard_files']} shards, {found['shards_mb']:.0f} MB on disk; tables {found['tables_mb']:.0f} MB.")
    peak_mb = found["steps"][-1]["peak_mb"]
    of_million = f": {verdict(peak_mb, MEMORY_LIMIT_MB)}" if found["clips"] == MILLION else ""
    print(f"Memory of the command: {peak_mb:.0f} MB; at most {MEMORY_LIMIT_MB} with a million{of_million}.")


def verdict(value: float, limit: float) -> str:
    return "met" if value <= limit else "**missed**"


if __name__ == "__main__":
    main()
