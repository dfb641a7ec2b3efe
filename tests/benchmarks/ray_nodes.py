"""Extraction on a Ray cluster, from a bucket: python tests/benchmarks/ray_nodes.py

Two nodes of one CPU each on this machine, an S3 server next to them, and real clips of half a second:

- two nodes against one: clips per second while every worker has clips, start-up apart, with the CPU-seconds of a clip
  and the load of the machine, since nodes on one machine share its cores with all that runs there;
- 500 clips, a node killed after a fifth of them and another added after two fifths: how long a worker that is ready
  waits for a clip, how long the clip of the lost node waits, and how many clips are taken ahead of the workers.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.features.clip_row import OK
from fmltk.toolkit.io.paths import locate
from fmltk.toolkit.media.process import find_ffmpeg
from fmltk.toolkit.run import ray_engine
from fmltk.toolkit.run.extract import extract

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.processes import session_ids  # noqa: E402 - found by the line above
from tests.toolkit.run.scale.nodes import BUCKET, Cluster, bucket_at, s3_server  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from fmltk.toolkit.run.engine import Outcome, Task

CLIP_S = 0.5
STEP_S = 0.08  # from the start of one clip to the next of the same video
N_DIFFERENT = 60
SPEEDUP, LONGEST_WAIT_S, AHEAD_PER_WORKER = 1.7, 5.0, 2
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Event:
    """A clip was handed to a worker, or came back, or was lost with it."""

    at_s: float
    worker: str
    clip: str
    is_given: bool
    cpu_s: float


@dataclass
class Watch:
    """What an engine does with the clips that are to be extracted.

    cpu_s : of what is running, in all; on_back : called with the number of clips that are done
    """

    cpu_s: Callable[[], float]
    on_back: Callable[[int], None] = lambda _: None
    events: list[Event] = field(default_factory=list)
    taken: int = 0
    returned: int = 0
    furthest: int = 0

    def note(self, worker: Any, task: Task[Any], *, given: bool) -> None:
        self.events.append(Event(time.monotonic(), str(worker), str(task.key), given, self.cpu_s()))


def watched(watch: Watch) -> type[ray_engine.RayEngine]:
    """Return RayEngine, which tells `watch` of each clip that it extracts."""

    class Watched(ray_engine.RayEngine):
        def _give(self, actor: Any, task: Task[Any]) -> None:
            if task.method == "extract":
                watch.note(actor, task, given=True)
            super()._give(actor, task)

        def _collect(self, reference: Any, again: Any) -> Outcome[Any] | Task[Any] | None:
            held = self._busy.get(reference)
            outcome = super()._collect(reference, again)
            if held is not None and held[1].method == "extract":
                watch.note(*held, given=False)
            return outcome

        def run(self, tasks: Iterable[Task[Any]]) -> Iterator[Outcome[Any]]:
            def counted() -> Iterator[Task[Any]]:
                for task in tasks:
                    watch.taken += 1
                    yield task

            for outcome in super().run(counted()):
                watch.returned += 1
                watch.furthest = max(watch.furthest, watch.taken - watch.returned)
                yield outcome
                if outcome.task.method == "extract":
                    watch.on_back(sum(not event.is_given for event in watch.events))

    return Watched


def make_clips(folder: Path, n: int) -> list[Path]:
    """Cut n different clips of half a second from the bundled videos."""
    videos = sorted((ROOT / "toolkit" / "demo" / "videos").rglob("*.mp4"))
    folder.mkdir()
    clips = []
    for k in range(n):
        clips.append(folder / f"{k:03d}.mp4")
        start = STEP_S * (k // len(videos))
        command = [
            find_ffmpeg().path,
            "-v",
            "error",
            "-nostdin",
            "-ss",
            f"{start:.2f}",
            "-i",
            str(videos[k % len(videos)]),
        ]
        subprocess.run([*command, "-t", str(CLIP_S), "-preset", "ultrafast", str(clips[-1])], check=True)
    return clips


def upload(clips: list[Path], url: str, n: int) -> None:
    """Put n clips into a folder of the bucket, the different ones in turn."""
    for k in range(n):
        (locate(url) / f"{k:03d}.mp4").upload(clips[k % len(clips)])  # type: ignore[union-attr]


def cpu_seconds(processes: Iterable[int]) -> float:
    """Return what these processes, and those of their children that have ended, have used."""
    ticks = 0
    for process in processes:
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += sum(map(int, fields[11:15]))
    return ticks / TICKS_PER_S


def run(cluster: Cluster, url: str, out: str, watch: Watch, *, n_workers: int) -> dict[str, int]:
    """Extract the clips of a folder; return how many ended how."""
    before = ray_engine.RayEngine
    ray_engine.RayEngine = watched(watch)  # type: ignore[misc]
    try:
        summary = extract(
            url, out, modalities=("audio", "vision"), openface="none", engine="ray", ray_address=cluster.address,
            n_workers=n_workers, usual_duration_s=(0.1, 10.0),
        )  # fmt: skip
    finally:
        ray_engine.RayEngine = before  # type: ignore[misc]
    return dict(summary.counts)


@dataclass(frozen=True)
class Rate:
    """clips_per_s : while all workers have clips; cpu_s : per clip, of workers, nodes and this process; load : mean."""

    clips_per_s: float
    cpu_s: float
    load: float


def measure_rate(cluster: Cluster, url: str, n_workers: int) -> Rate:
    def cpu_s() -> float:
        nodes = [process for node in cluster.nodes for process in session_ids(node.pid)]
        return cpu_seconds([os.getpid(), *nodes])

    watch = Watch(cpu_s)
    counts = run(cluster, url, f"s3://{BUCKET}/rate{n_workers}", watch, n_workers=n_workers)
    if set(counts) != {OK} and any(n for status, n in counts.items() if status != OK):
        raise SystemExit(f"not every clip was extracted: {counts}")
    firsts = [next(e for e in watch.events if e.worker == worker) for worker in {e.worker for e in watch.events}]
    start = max(firsts, key=lambda event: event.at_s)
    back = [event for event in watch.events if not event.is_given and event.at_s > start.at_s]
    last = [event for event in watch.events if event.is_given][-1]  # from here on, workers run out of clips
    within = [event for event in back if event.at_s <= last.at_s]
    return Rate(len(within) / (last.at_s - start.at_s), (last.cpu_s - start.cpu_s) / len(within), os.getloadavg()[0])


def two_against_one(cluster: Cluster, clips: list[Path], n: int) -> bool:
    """Print the rates of one node and of two; return whether the speed-up is what it should be."""
    url = f"s3://{BUCKET}/pair"
    upload(clips, url, n)
    one = measure_rate(cluster, url, 1)
    cluster.add_node()
    two = measure_rate(cluster, url, 2)
    print(f"{n} clips of {CLIP_S} s from a bucket, audio and vision; start-up apart, while every worker has clips:\n")
    print("| nodes of one CPU | clips per second | CPU-seconds per clip, all processes | load of the machine |")
    print("|---|---:|---:|---:|")
    for name, rate in (("one", one), ("two", two)):
        print(f"| {name} | {rate.clips_per_s:.2f} | {rate.cpu_s:.2f} | {rate.load:.1f} |")
    ratio = two.clips_per_s / one.clips_per_s
    met = ratio >= SPEEDUP
    print(f"\n- Two nodes against one: {ratio:.2f} times; at least {SPEEDUP}: {'met' if met else '**missed**'}.")
    return met


def with_faults(cluster: Cluster, clips: list[Path], n: int) -> bool:
    """Extract n clips while a node is killed and another is added; print how long who waited."""
    url = f"s3://{BUCKET}/many"
    upload(clips, url, n)
    at_s: dict[str, float] = {}

    def on_back(done: int) -> None:
        for what, when, act in (
            ("killed", n // 5, lambda: cluster.kill(1)),
            ("added", 2 * n // 5, cluster.add_node),
        ):
            if done >= when and what not in at_s:
                at_s[what] = time.monotonic()
                threading.Thread(target=act).start()

    watch = Watch(lambda: 0.0, on_back)
    started = time.monotonic()
    counts = run(cluster, url, f"s3://{BUCKET}/faults", watch, n_workers=2)
    wall_s = time.monotonic() - started
    waits = longest_waits(watch.events)
    lost = [event for event in watch.events if not event.is_given and _given_again(watch.events, event)]
    found = max((_given_again(watch.events, event) - event.at_s for event in lost), default=0.0)
    noticed = max((event.at_s for event in lost), default=at_s["killed"]) - at_s["killed"]
    new = [event.at_s for event in first_events(watch.events).values() if event.at_s > at_s["added"]]
    ahead = watch.furthest
    met = {
        "wait": waits <= LONGEST_WAIT_S,
        "ahead": ahead <= AHEAD_PER_WORKER * 2,
        "all": counts.get(OK, 0) == n,
        "joined": bool(new),
    }
    verdict = {what: "met" if good else "**missed**" for what, good in met.items()}
    print(f"\n{n} clips, a node killed after {n // 5} and another added after {2 * n // 5} ({wall_s:.0f} s in all):\n")
    print(f"- Clips extracted: {counts.get(OK, 0)} of {n}, all by their rows: {verdict['all']}.")
    print(
        f"- The longest that a worker which was ready waited for a clip: {waits:.2f} s; at most 5 s: {verdict['wait']}."
    )
    print(f"- The lost node was noticed after {noticed:.1f} s, and its clip was handed out again {found:.2f} s later.")
    first = f"{new[0] - at_s['added']:.1f} s" if new else "never"
    print(f"- From the command that adds a node to its first clip, Ray's and the worker's start included: {first}"
          f" ({verdict['joined']}).")  # fmt: skip
    print(f"- Clips taken ahead of those that are done: {ahead} at most, of two workers; at most "
          f"{AHEAD_PER_WORKER} per worker: {verdict['ahead']}.")  # fmt: skip
    print(f"- Peak memory of the command: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB.")
    return all(met.values())


def first_events(events: list[Event]) -> dict[str, Event]:
    """Return the first event of each worker."""
    return {event.worker: event for event in reversed(events)}


def longest_waits(events: list[Event]) -> float:
    """Return the longest time from a clip that a worker brought back to the next that it was given."""
    longest = 0.0
    for worker in {event.worker for event in events}:
        for before, after in pairwise(event for event in events if event.worker == worker):
            if after.is_given:
                longest = max(longest, after.at_s - before.at_s)
    return longest


def _given_again(events: list[Event], lost: Event) -> float:
    """Return when the clip of an event was handed out after it, 0 if it was not."""
    return next((e.at_s for e in events if e.is_given and e.clip == lost.clip and e.at_s > lost.at_s), 0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=500)
    parser.add_argument("--pair", type=int, default=60, help="clips for two nodes against one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as name:  # sockets need a short path
        folder = Path(name)
        clips = make_clips(folder / "videos", min(N_DIFFERENT, options.clips))
        cluster = Cluster(folder / "r")
        cluster.folder.mkdir()
        with s3_server(folder / "s3.log") as port, bucket_at(port):
            try:
                cluster.start()
                met = [two_against_one(cluster, clips, options.pair), with_faults(cluster, clips, options.clips)]
            finally:
                cluster.stop()
    return 0 if all(met) else 1


if __name__ == "__main__":
    sys.exit(main())
