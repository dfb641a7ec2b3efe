"""How often the speaker is right on composed clips with several people, by each way, and what finding it costs.

    python tests/benchmarks/speaker.py $FMLTK_TEST_DATA

Per clip: people counted, and the share of the frames that show who speaks in which their face was chosen, by size, by
mouth motion and by LR-ASD; "unsure" where the manifest says so. CPU-seconds are per second of video, decoding included.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from fmltk.toolkit.vision.active_speaker.weights import find_weights, load_network
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
from tests.composed import CLIPS, Composer
from tests.speaker_cases import Case

if TYPE_CHECKING:
    from fmltk.toolkit.run.speaking import LoadNetwork

WAYS = ("largest", "mouth", "asd")


def measured(case: Case, way: str, load_network: LoadNetwork) -> tuple[str, float]:
    """Return what a cell of the table says, and the CPU-seconds it took per second of video."""
    started = time.process_time()
    found = case.find(load_network if way == "asd" else None, face_select="largest" if way == "largest" else "speaker")
    cpu_s = time.process_time() - started
    right = f"{case.right(found):.0%}"
    return "unsure" if found.source == "unsure" else right, cpu_s / (case.clip.n_frames / 30)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder of the test data")
    parser.add_argument("--only", nargs="*", choices=CLIPS, default=list(CLIPS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    network = load_network(find_weights(options.data / "asd/finetuning_TalkSet.model"))
    detector = FaceDetector()
    print("| clip | people | counted | faces, CPU-s | largest | mouth | asd | mouth, CPU-s | asd, CPU-s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        composer = Composer(options.data, Path(folder))
        for name in options.only:
            clip = CLIPS[name](composer)
            started = time.process_time()
            case = Case.of(clip, detector)
            faces_s = (time.process_time() - started) / (clip.n_frames / 30)
            cells = [measured(case, way, lambda: network) for way in WAYS]
            counted = int(case.people.max(initial=-1)) + 1
            texts, costs = [text for text, _ in cells], [f"{cost:.2f}" for _, cost in cells[1:]]
            row = [name, str(len(clip.people)), str(counted), f"{faces_s:.2f}", *texts, *costs]
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
