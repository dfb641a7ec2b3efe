"""How long a user waits for `fmltk --help`, and what a worker loads for which modality.

python tests/benchmarks/start.py
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

HELP_LIMIT_S = 0.5
N_RUNS = 9
FMLTK = str(Path(sys.executable).with_name("fmltk"))
MODELS = {
    "text": "from fmltk.toolkit.text.bert import TextEncoder; TextEncoder('minilm').encode('a word')",
    "audio": "import numpy as np; from fmltk.toolkit.audio.acoustic import acoustic_sequence; "
    "acoustic_sequence(np.zeros(512, np.float32))",
    "vision": "from fmltk.toolkit.vision.mtcnn.detector import FaceDetector; FaceDetector()",
}


def help_times_s() -> list[float]:
    times_s = []
    for _ in range(N_RUNS):
        start_s = time.perf_counter()
        subprocess.run([FMLTK, "--help"], check=True, capture_output=True)
        times_s.append(time.perf_counter() - start_s)
    return times_s


def cost_of(program: str) -> tuple[float, float]:
    """Return CPU-seconds and peak memory in MB of a Python program."""
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.Popen([sys.executable, "-c", program], env={**os.environ, **one_thread},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"failed: {program}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> int:
    times_s = help_times_s()
    median_s = statistics.median(times_s)
    verdict = "met" if median_s < HELP_LIMIT_S else "**missed**"
    print(f"- `fmltk --help`: median {median_s:.2f} s of {N_RUNS} runs; at most {HELP_LIMIT_S} s: {verdict}.")
    for name, program in [*MODELS.items(), ("all three", "; ".join(MODELS.values()))]:
        cpu, peak_mb = cost_of(program)
        print(f"- A worker for {name}: {cpu:.1f} CPU-seconds until its first clip, {peak_mb:.0f} MB.")
    return 1 if median_s >= HELP_LIMIT_S else 0


if __name__ == "__main__":
    sys.exit(main())
