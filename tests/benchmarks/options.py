"""What settings cost or bring: each variant trained for some seeds on one feature folder, or on planted sequences.

python -m tests.benchmarks.options planted --seeds 5 "" "frames=padded" "frames=padded text_steps=padded"
python -m tests.benchmarks.options mosi/ --preset mosi-unaligned --set valid_fraction=0.1 "" "fusion=gated"

Each row of the table that it prints is one variant: mean and deviation over the seeds on validation and on test. The
variant is chosen by validation; the test columns are there to be reported.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.config import load_config
from fmltk.model.evaluation import format_score
from fmltk.model.options import RunOptions
from fmltk.model.run import train
from fmltk.toolkit.errors import TrainingError
from fmltk.toolkit.features.label_file import find_labels
from tests.model.folders import Clips, planted, small_settings, write_clips

if TYPE_CHECKING:
    from collections.abc import Sequence

PLANTED_SETTINGS = small_settings("max_epochs=20", "lr=0.01")
SHORTEST, LONGEST = 2, 60  # steps of the planted sequences


def varied_lengths(seed: int = 1) -> Clips:
    """300 planted clips whose sequences have 2 to 60 steps, most of them few, as transcripts and clips have."""
    clips = planted(300, seed=seed, noise=1.0)
    rng = np.random.default_rng(seed)
    for sequences in clips.sequences.values():
        for k, steps in enumerate(sequences):
            n = int(np.clip(rng.lognormal(2.5, 0.7), SHORTEST, LONGEST))
            sequences[k] = None if steps is None else steps[rng.integers(0, len(steps), n)]
    clips.lengths = dict.fromkeys("TAV", LONGEST)
    return clips


def measure(features: Path, settings: Sequence[str], *, preset: str, seeds: int) -> dict[str, Any]:
    """Return the summary of a run that is not kept, and the CPU-seconds that it took."""
    started = time.process_time()
    config = load_config(preset, settings=settings)
    with tempfile.TemporaryDirectory() as folder:
        options = RunOptions(seeds=tuple(range(seeds)), jobs=0)
        summary = train(features, find_labels(features), out=Path(folder) / "run", config=config, options=options)
    return {**summary, "cpu_s": time.process_time() - started}


def row(name: str, summary: dict[str, Any]) -> str:
    """Return a line of a Markdown table."""
    splits = list(summary["tasks"].values())[-1]["splits"]
    accuracy = "Acc-2 Non0" if "Acc-2 Non0" in splits["valid"]["metrics"] else "Acc-2"
    cells = [name or "(none)"]
    for split in ("valid", "test"):
        metrics = splits[split]["metrics"]
        cells += [format_score(m, metrics[m]["mean"], metrics[m]["std"]) for m in ("MAE", accuracy, "Corr")]
    return "| " + " | ".join([*cells, f"{summary['cpu_s']:.0f}"]) + " |"


def main() -> None:
    """Train every variant and print a row for each as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("features", help="a feature folder with labels, or `planted`")
    parser.add_argument("variants", nargs="+", help="settings between blanks, such as 'fusion=gated fdim=32'")
    parser.add_argument("--preset", default="ch-sims")
    parser.add_argument("--set", action="append", default=[], dest="common", metavar="KEY=VALUE")
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        features, common = Path(given.features), list(given.common)
        if given.features == "planted":
            features = write_clips(varied_lengths(), Path(folder) / "planted")
            common = [*PLANTED_SETTINGS, *common]
        print("| settings | valid MAE | Acc-2 | Corr | test MAE | Acc-2 | Corr | CPU-s |")
        print("|---|---|---|---|---|---|---|---|")
        for variant in given.variants:
            try:
                summary = measure(features, [*common, *variant.split()], preset=given.preset, seeds=given.seeds)
            except TrainingError as error:  # a seed that learned nothing is a result too
                print(f"| {variant or '(none)'} | {error} |", flush=True)
                continue
            print(row(variant, summary), flush=True)


if __name__ == "__main__":
    main()
