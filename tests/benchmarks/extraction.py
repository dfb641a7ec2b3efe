"""What extraction costs, beside the script that one would write by hand (by_hand.py), in one run.

    python tests/benchmarks/extraction.py $FMLTK_TEST_DATA/videos --write docs/performance.md

CPU-seconds per second of video, stage by stage, for every clip of the folder; start-up apart; then whole runs of
`fmltk extract` with one and two workers, and the peak memory of a worker. `--write` puts the tables into the page,
between its two markers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from fmltk.toolkit.catalog import VIDEO_SUFFIXES
from fmltk.toolkit.media.probe import probe_media

sys.path.insert(0, str(Path(__file__).parent))
from by_hand import ByHand, cpu_s, timed

SENTENCE = "I would not say that I liked it, but it was not bad at all."
FMLTK = str(Path(sys.executable).with_name("fmltk"))
BEGIN, END = "<!-- extraction: begin -->", "<!-- extraction: end -->"
STAGES = ("decode", "faces", "audio", "text")


@dataclass
class Costs:
    """CPU- and wall-seconds per stage for one clip, and how long the clip is."""

    name: str
    size: str
    seconds: float
    cpu: dict[str, float] = field(default_factory=dict)
    wall: dict[str, float] = field(default_factory=dict)

    def add(self, stage: str, cpu: float, wall: float) -> None:
        self.cpu[stage] = self.cpu.get(stage, 0.0) + cpu
        self.wall[stage] = self.wall.get(stage, 0.0) + wall


def measure_by_hand(paths: list[Path], text_model: str) -> tuple[float, list[Costs]]:
    hand, start_up, _ = timed(ByHand, text_model)
    assert isinstance(hand, ByHand)
    start_up += timed(hand.audio, paths[0])[1] - timed(hand.audio, paths[0])[1]  # the first call compiles
    found = []
    for path in paths:
        info = probe_media(path)
        costs = Costs(path.name, f"{info.width}x{info.height}", info.duration_s)
        frames, *spent = timed(hand.frames, path, info.width, info.height)
        costs.add("decode", *spent)
        costs.add("faces", *timed(hand.faces, frames)[1:])
        costs.add("audio", *timed(hand.audio, path)[1:])
        costs.add("text", *timed(hand.text, SENTENCE)[1:])
        found.append(costs)
    return start_up, found


class OneWorker:
    """fmltk's own steps, as a worker takes them."""

    def __init__(self) -> None:
        import torch

        from fmltk.toolkit.audio.acoustic import warm_up
        from fmltk.toolkit.text.bert import TextEncoder
        from fmltk.toolkit.vision.faces import FaceDetector

        torch.set_num_threads(1)
        self.detector, self.encoder = FaceDetector(), TextEncoder("minilm")
        warm_up()

    def decode(self, path: Path) -> int:
        from fmltk.toolkit.media.frames import read_frames

        return sum(1 for _ in read_frames(path, info=probe_media(path)))

    def decode_and_track(self, path: Path) -> object:
        from fmltk.toolkit.media.frames import read_frames
        from fmltk.toolkit.vision.geometry import geometry_sequence
        from fmltk.toolkit.vision.tracking import select_speaker, track_faces

        tracks = track_faces(read_frames(path, info=probe_media(path)), self.detector)
        speaker = select_speaker(tracks)
        return None if speaker is None else geometry_sequence(speaker)

    def audio(self, path: Path) -> object:
        from fmltk.toolkit.audio.acoustic import acoustic_sequence
        from fmltk.toolkit.media.audio import read_audio

        return acoustic_sequence(read_audio(path, info=probe_media(path)))

    def text(self, _: Path) -> object:
        return self.encoder.encode(SENTENCE)


def measure_fmltk(paths: list[Path]) -> tuple[float, list[Costs]]:
    worker, start_up, _ = timed(OneWorker)
    assert isinstance(worker, OneWorker)
    found = []
    for path in paths:
        info = probe_media(path)
        costs = Costs(path.name, f"{info.width}x{info.height}", info.duration_s)
        decoding = timed(worker.decode, path)[1:]
        both = timed(worker.decode_and_track, path)[1:]
        costs.add("decode", *decoding)
        costs.add("faces", both[0] - decoding[0], both[1] - decoding[1])
        costs.add("audio", *timed(worker.audio, path)[1:])
        costs.add("text", *timed(worker.text, path)[1:])
        found.append(costs)
    return start_up, found


def in_child(step: str, paths: list[Path]) -> tuple[float, list[Costs], float]:
    """Run one side in a process of its own; return its start-up, costs and peak memory in MB."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
        if step == "by hand":
            from fmltk.toolkit.text.folder import find_text_model

            start_up, found = measure_by_hand(paths, str(find_text_model("minilm").folder))
        else:
            start_up, found = measure_fmltk(paths)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        with os.fdopen(writer, "w") as file:
            json.dump([start_up, [vars(costs) for costs in found], peak], file)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as file:
        start_up, found, peak = json.load(file)
    os.waitpid(pid, 0)
    return start_up, [Costs(**costs) for costs in found], peak


def whole_run(videos: Path, workers: int) -> tuple[float, float, float]:
    """Return wall seconds, CPU-seconds and the worker's peak memory in MB of one `fmltk extract`."""
    with tempfile.TemporaryDirectory() as folder:
        argv = [FMLTK, "extract", str(videos), "-o", f"{folder}/features", "--openface", "none", "--text-model",
                "minilm", "--transcripts", str(videos / "transcripts.csv"), "--workers", str(workers),
                "-q"]  # fmt: skip
        cpu, wall = cpu_s(), time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        spent = time.perf_counter() - wall, cpu_s() - cpu
    return *spent, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024


def copies(paths: list[Path], folder: Path, n_copies: int) -> float:
    """Put each clip `n_copies` times into a folder, with transcripts; return the seconds of video."""
    rows = ["video_id,clip_id,text"]
    for number in range(n_copies):
        for path in paths:
            target = folder / f"{path.stem}_{number}{path.suffix}"
            shutil.copy(path, target)
            rows.append(f'{target.stem},0,"{SENTENCE}"')
    (folder / "transcripts.csv").write_text("\n".join(rows) + "\n")
    return n_copies * sum(probe_media(path).duration_s for path in paths)


def table(hand: list[Costs], ours: list[Costs]) -> list[str]:
    """Return a Markdown table: by hand / fmltk for each stage and in sum."""
    header = ["clip", "size", *STAGES, "sum", "times less"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for theirs, mine in zip(hand, ours, strict=True):
        pairs = [(theirs.cpu[stage] / theirs.seconds, mine.cpu[stage] / mine.seconds) for stage in STAGES]
        pairs.append((sum(one for one, _ in pairs), sum(one for _, one in pairs)))
        cells = [f"{one:.3f} / {other:.3f}" for one, other in pairs]
        lines.append(f"| {mine.name} | {mine.size} | {' | '.join(cells)} | {pairs[-1][0] / pairs[-1][1]:.1f} |")
    return lines


def report(videos: Path, n_copies: int) -> str:
    """Measure both sides and return the page's section."""
    paths = sorted(path for path in videos.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    hand_start, hand, hand_peak = in_child("by hand", paths)
    start, ours, peak = in_child("fmltk", paths)
    seconds = sum(costs.seconds for costs in ours)
    hand_s, our_s = (sum(sum(costs.cpu.values()) for costs in found) for found in (hand, ours))
    floor_s = sum(costs.cpu["decode"] + costs.cpu["text"] for costs in ours)
    with tempfile.TemporaryDirectory() as name:
        length = copies(paths, Path(name), n_copies)
        one, two = whole_run(Path(name), 1), whole_run(Path(name), 2)
    without_start = (one[0] - start) / max(two[0] - start, 1e-9)
    lines = [
        "CPU-seconds per second of video, one thread, by hand / fmltk, on "
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}:",
        "",
        *table(hand, ours),
        "",
        f"- Over the set ({seconds:.0f} s of video): by hand {hand_s:.1f}, fmltk {our_s:.1f} CPU-seconds, "
        f"**{hand_s / our_s:.1f} times less**, and {our_s / floor_s:.2f} times decoding plus text.",
        f"- Start-up (imports, models, first calls): by hand {hand_start:.1f}, fmltk {start:.1f} CPU-seconds.",
        f"- Peak memory: by hand {hand_peak:.0f} MB, a worker of fmltk {peak:.0f} MB.",
        f"- `fmltk extract` of {length:.0f} s of video: {one[0]:.1f} s with one worker, {two[0]:.1f} s with two, "
        f"{one[0] / two[0]:.2f} times as fast; without a worker's start-up {without_start:.2f} times.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--copies", type=int, default=3, help="how often each clip stands in the whole runs")
    parser.add_argument("--write", type=Path, help="a page with the markers that the tables go between")
    arguments = parser.parse_args()
    text = report(arguments.videos, arguments.copies)
    print(text)
    if arguments.write is not None:
        page = arguments.write.read_text(encoding="utf-8")
        before, _, rest = page.partition(BEGIN)
        arguments.write.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{rest.partition(END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()
