"""Every benchmark, one after the other, and what they print put into docs/performance.md between its markers.

    python tests/benchmarks/bench.py                      all, as `make bench` does: about 40 minutes
    python tests/benchmarks/bench.py --only extraction    one; each is also a program of its own

Nothing else should run on the machine. The clips are those of $FMLTK_TEST_DATA/videos, without it the bundled ones. A
benchmark that fails leaves its section as it was; that, or a missed target, is said at the end with exit code 1.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "performance.md"
DEMO = HERE.parents[1] / "toolkit" / "demo" / "videos" / "video_0001"
SMALL_VIDEOS = sorted(DEMO.glob("*.mp4"))[:1]


@dataclass(frozen=True)
class Benchmark:
    """A program of this folder, its arguments, those that make it small, and whether it prints Markdown."""

    program: str
    arguments: tuple[str, ...] = ()
    small: tuple[str, ...] = ()
    markdown: bool = False

    def command(self, *, small: bool) -> list[str]:
        return [sys.executable, str(HERE / self.program), *(self.small if small else self.arguments)]


def benchmarks() -> dict[str, Benchmark]:
    data = os.environ.get("FMLTK_TEST_DATA")
    videos = f"{data}/videos" if data else str(DEMO)
    few = tuple(map(str, SMALL_VIDEOS))
    return {
        "start": Benchmark("start.py", markdown=True),
        "extraction": Benchmark("extraction.py", (videos,), (*few, "--copies", "1", "--long", "12"), markdown=True),
        "faces": Benchmark("faces_tracking.py", (videos,), (*few, "--seconds", "1")),
        "every": Benchmark("faces_tracking.py", (videos, "--every", "2"), (*few, "--every", "2", "--seconds", "1")),
        "clips": Benchmark(
            "million_clips.py", ("--clips", "50000", "--unsynced"), ("--clips", "500", "--unsynced"), markdown=True
        ),
        "annotations": Benchmark("million_annotations.py", (), ("--annotations", "5000")),
        "encoders": Benchmark("encoders.py", (), ("--only", "glove"), markdown=True),
        "sets": Benchmark("sets.py", (), ("--only", "fmltk33", "--long", "20"), markdown=True),
        "ray": Benchmark("ray_nodes.py", (), ("--clips", "15", "--pair", "6"), markdown=True),
        "training": Benchmark(
            "training.py", (), ("--divide", "100", "--rounds", "1", "--skip", "mmsa", "mosei", "mtfn")
        ),
    }


def put(page: str, section: str, text: str) -> str:
    """Return the page with `text` between the markers of a section.

    >>> put("<!-- a: begin -->old<!-- a: end -->.", "a", "new")
    '<!-- a: begin -->\\n\\nnew\\n\\n<!-- a: end -->.'
    """
    begin, end = f"<!-- {section}: begin -->", f"<!-- {section}: end -->"
    if page.count(begin) != 1 or page.count(end) != 1:
        raise SystemExit(f"the page has no place for {section!r}: it needs {begin} and {end}, once each")
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n\n{text}\n\n{end}{rest.partition(end)[2]}"


def run(name: str, benchmark: Benchmark, page: Path, *, small: bool) -> str | None:
    """Run one benchmark and write its section; return what is wrong, None if nothing is."""
    started = time.monotonic()
    print(f"{name}: {' '.join(benchmark.command(small=small)[1:])}", file=sys.stderr, flush=True)
    done = subprocess.run(benchmark.command(small=small), stdout=subprocess.PIPE, text=True, check=False)
    took_s = time.monotonic() - started
    print(f"{name}: {took_s:.0f} s, exit code {done.returncode}", file=sys.stderr, flush=True)
    print(done.stdout, flush=True)
    if done.returncode and "missed" not in done.stdout:  # the word that each has for a target
        return f"{name} failed with exit code {done.returncode}"
    text = done.stdout.strip() if benchmark.markdown else f"```text\n{done.stdout.rstrip()}\n```"
    day = datetime.datetime.now(datetime.UTC).date()
    size = ", small: the numbers say nothing" if small else ""
    text += f"\n\nMeasured on {day}, in {took_s:.0f} s{size}."
    page.write_text(put(page.read_text(encoding="utf-8"), name, text), encoding="utf-8")
    return f"{name} missed a target" if done.returncode else None


def main() -> int:
    known = benchmarks()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=known, action="append", help="may be given several times")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--small", action="store_true", help="with little input, to try whether they run")
    options = parser.parse_args()
    chosen = options.only or list(known)
    for name in chosen:
        put(options.page.read_text(encoding="utf-8"), name, "")  # a page without its places is said before the work
    wrong = [run(name, known[name], options.page, small=options.small) for name in chosen]
    for one in filter(None, wrong):
        print(one, file=sys.stderr)
    return 1 if any(wrong) else 0


if __name__ == "__main__":
    sys.exit(main())
