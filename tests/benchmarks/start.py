"""What a user waits for before work begins: `fmltk --help`, the start of `extract`, and commands on small files.

    python tests/benchmarks/start.py

CPU-seconds, since a machine that does something else changes the time on the wall; each next to its goal.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

BIN = Path(sys.executable).parent
FMLTK = str(BIN / "fmltk")
CLIPS = sorted((Path(__file__).parents[2] / "toolkit" / "demo" / "videos" / "video_0001").glob("*.mp4"))
COPIES = 4  # of each clip, in the second of two runs: what they take more is work, the rest is the start
N_RUNS = 5
MODELS = {
    "text": "from fmltk.toolkit.text.bert import TextEncoder; TextEncoder('minilm').encode('a word')",
    "audio": "import numpy as np; from fmltk.toolkit.audio.acoustic import acoustic_sequence; "
    "acoustic_sequence(np.zeros(512, np.float32))",
    "vision": "from fmltk.toolkit.vision.mtcnn.detector import FaceDetector; FaceDetector()",
}
WORKERS = """
import sys
from functools import partial
from pathlib import Path
from fmltk.toolkit.clip import Clip
from fmltk.toolkit.run.clip_worker import limited_worker
from fmltk.toolkit.run.engine import Task
from fmltk.toolkit.run.local_engine import LocalEngine
from fmltk.toolkit.run.tasks import RunPaths
from fmltk.toolkit.settings import ExtractSettings
from fmltk.toolkit.text.folder import find_text_model
n, clip = int(sys.argv[1]), Clip("a", "0", Path(sys.argv[2]))
make = partial(limited_worker, ExtractSettings(), RunPaths(Path("."), text_model=find_text_model("minilm")), None)
with LocalEngine(make, n_workers=n, forks=True) as engine:
    assert all(one.error is None for one in engine.run([Task(k, "inspect", clip) for k in range(n)]))
"""


@dataclass(frozen=True)
class Goal:
    """What is measured, in CPU-seconds, and the most that it may take."""

    name: str
    measured_s: float
    limit_s: float

    @property
    def is_met(self) -> bool:
        return self.measured_s <= self.limit_s

    def line(self) -> str:
        return f"| {self.name} | {self.limit_s} | {self.measured_s:.2f} | {'met' if self.is_met else '**missed**'} |"


def cost_of(*argv: str, one_thread: bool = False) -> tuple[float, float]:
    """Return CPU-seconds, its children's included, and peak memory in MB of a program."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS") if one_thread else ()
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    process = subprocess.Popen(
        argv, env={**environment, **dict.fromkeys(names, "1")}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    messages = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {argv}: {messages.decode()}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def median_s(*argv: str, n_runs: int = N_RUNS) -> float:
    cost_of(*argv)  # the first compiles
    return statistics.median(cost_of(*argv)[0] for _ in range(n_runs))


def extract_s(folder: Path, n_copies: int) -> float:
    """Return the CPU-seconds of one `fmltk extract` of the shortest second of three clips, each several times."""
    videos = folder / f"videos{n_copies}"
    videos.mkdir()
    for clip in CLIPS:
        for copy in range(n_copies):
            (videos / f"{clip.stem}_{copy}.mp4").write_bytes(clip.read_bytes() + bytes(copy + 1))
            (videos / f"{clip.stem}_{copy}.txt").write_text("I did not expect to like it")
    out = str(folder / f"features{n_copies}")
    options = ("--text-model", "minilm", "--openface", "none", "--workers", "1", "-q")
    return cost_of(FMLTK, "extract", str(videos), "-o", out, *options)[0]


def small_files(folder: Path) -> tuple[str, str]:
    """Write a small pickle and a small table of ratings; return their paths."""
    import pickle

    import numpy as np

    chance = np.random.default_rng(0)
    data = {}
    for split in ("train", "valid", "test"):
        steps = {name: chance.random((4, 6, 3)).astype(np.float32) for name in ("text", "audio", "vision")}
        ids = [f"{split}$_${clip}" for clip in range(4)]
        data[split] = {**steps, "id": ids, "raw_text": ["words"] * 4, "regression_labels": np.linspace(-1, 1, 4)}
    (folder / "small.pkl").write_bytes(pickle.dumps(data))
    rows = [f"v$_${clip},AT,{rater},{clip % 3 - 1}" for clip in range(6) for rater in "abcde"]
    (folder / "ratings.csv").write_text("\n".join(["utterance_id,condition,annotator,value", *rows]))
    return str(folder / "small.pkl"), str(folder / "ratings.csv")


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        goals = [Goal("`fmltk --help`", median_s(FMLTK, "--help"), 0.3)]
        few, many = extract_s(folder, 1), extract_s(folder, COPIES)
        start_s = few - (many - few) / (COPIES - 1)
        goals.append(Goal("`fmltk extract` of three clips, start alone", start_s, 4.0))
        one, three = (
            statistics.median(cost_of(sys.executable, "-c", WORKERS, str(n), str(CLIPS[0]))[0] for _ in range(3))
            for n in (1, 3)
        )
        goals.append(Goal("each further worker", (three - one) / 2, 0.5))
        pickled, ratings = small_files(folder)
        out = str(folder / "imported")
        goals.append(
            Goal(
                "`fmltk dataset import` of a small file",
                median_s(FMLTK, "dataset", "import", pickled, "-o", out, n_runs=3),
                1.5,
            )
        )
        table = str(folder / "ratings.parquet")
        goals.append(
            Goal(
                "`fmltk annotation import` of a small file",
                median_s(FMLTK, "annotation", "import", ratings, "-o", table, n_runs=3),
                1.5,
            )
        )
        report = str(folder / "report.html")
        goals.append(
            Goal("`fmltk report` of these", median_s(FMLTK, "report", out, table, "-o", report, n_runs=3), 1.5)
        )
    print("| start, in CPU-seconds | at most | measured | |\n|---|---:|---:|---|")
    print("\n".join(goal.line() for goal in goals), end="\n\n")
    for kind, program in [*MODELS.items(), ("all three", "; ".join(MODELS.values()))]:
        cpu, peak_mb = cost_of(sys.executable, "-c", program, one_thread=True)
        print(f"- A process that loads what {kind} needs: {cpu:.1f} CPU-seconds, {peak_mb:.0f} MB.")
    return 0 if all(goal.is_met for goal in goals) else 1


if __name__ == "__main__":
    sys.exit(main())
