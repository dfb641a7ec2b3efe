"""Whatever a file holds, it is read or refused in one line: no crash, no hang, bounded memory.

Hypothesis damages good files. What it found once is in corpus/ and read again each time. To look for longer:
``FMLTK_FUZZ_EXAMPLES=20000 FMLTK_FUZZ_KEEP=found pytest -n 0 tests/reliability/test_fuzz.py``, without CI set.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings

from tests.reliability.checking import LIMIT_CPU_S, LIMIT_MB, Figures, Hang, check
from tests.reliability.mutations import damaged_files
from tests.reliability.page import write_section
from tests.reliability.readers import READERS, Reader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CORPUS = Path(__file__).with_name("corpus")
FOUND = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
EXAMPLES = 1500  # files per reader; a fiftieth of it unless --full-size
EXAMPLES_VARIABLE = "FMLTK_FUZZ_EXAMPLES"


@pytest.fixture(scope="module")
def figures(request: pytest.FixtureRequest) -> Iterator[dict[str, Figures]]:
    """What came of each reader's files; a run at full size writes it into docs/reliability.md."""
    found: dict[str, Figures] = {}
    started = time.monotonic()
    yield found
    if request.config.getoption("--full-size") and len(found) == len(READERS):
        write_section("fuzz", _report(found, time.monotonic() - started))


def _report(found: dict[str, Figures], seconds: float) -> str:
    total = sum(figures.n_files for figures in found.values())
    lines = [
        f"{total:,} damaged files in {seconds / 60:.0f} minutes; each was read, or refused by an error in one line.",
        "",
        "| files | given | read all the same | slowest, CPU-s | largest growth, MB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, one in found.items():
        lines.append(f"| {name} | {one.n_files:,} | {one.n_read:,} | {one.slowest_s:.2f} | {one.peak_mb:.0f} |")
    return "\n".join(lines)


@pytest.mark.parametrize("name", READERS)
def test_the_files_that_are_damaged_are_good_ones(name: str) -> None:
    reader = READERS[name]
    figures = Figures()
    for seed in reader.seeds():
        check(reader, seed if reader.dump is None else reader.dump(seed), figures)
    assert figures.n_read == figures.n_files > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_damaged_files_are_read_or_refused(name: str, sized: Callable[[int], int], figures: dict[str, Figures]) -> None:
    reader = READERS[name]
    here = Figures()

    @settings(max_examples=int(os.environ.get(EXAMPLES_VARIABLE) or sized(EXAMPLES)))
    @given(damaged_files(reader))
    def read(data: bytes) -> None:
        check(reader, data, here)

    read()
    figures[name] = here


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_was_found_once_stays_mended(path: Path) -> None:
    check(READERS[path.parent.name], path.read_bytes())


def _crashes(path: Path, folder: Path) -> None:
    raise IndexError("list index out of range")


def _hangs(path: Path, folder: Path) -> None:
    while True:
        pass


def _grows(path: Path, folder: Path) -> None:
    bytearray(os.urandom(1)) * ((LIMIT_MB + 50) * 2**20)


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [(_crashes, "IndexError: list index"), (_hangs, "Hang: no end after"), (_grows, "the process grew by 3")],
)
def test_the_check_itself_notices(
    fault: Callable[[Path, Path], None], complaint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tests.reliability.checking.LIMIT_CPU_S", 3.0)
    monkeypatch.setenv("FMLTK_FUZZ_KEEP", str(tmp_path))
    with pytest.raises(AssertionError, match=complaint):
        check(Reader("probe", ".txt", fault, list), b"found")
    (kept,) = (tmp_path / "probe").iterdir()
    assert kept.read_bytes() == b"found"
    assert issubclass(Hang, BaseException)
    assert not issubclass(Hang, Exception)
    assert LIMIT_CPU_S < 60
