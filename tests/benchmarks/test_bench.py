"""`make bench` at its smallest: that programs run and that the page receives what they print."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    program = ModuleType("bench")
    program.__file__ = str(HERE / "bench.py")
    sys.modules["bench"] = program  # dataclasses look their module up
    exec(compile((HERE / "bench.py").read_text(encoding="utf-8"), program.__file__, "exec"), program.__dict__)
    return program


def test_the_page_has_a_place_for_every_benchmark(bench: ModuleType) -> None:
    page = bench.PAGE.read_text(encoding="utf-8")
    for name in bench.benchmarks():
        changed = bench.put(page, name, "1.23 s")
        assert f"<!-- {name}: begin -->\n\n1.23 s\n\n<!-- {name}: end -->" in changed
        assert bench.put(changed, name, "1.23 s") == changed
    with pytest.raises(SystemExit, match="no place for 'other'"):
        bench.put(page, "other", "measured")


def test_every_program_of_the_folder_is_run(bench: ModuleType) -> None:
    # Run by themselves: they need MMSA's environment, a GPU, or data that are not in the repository.
    alone = {"bench.py", "by_hand.py", "gpu.py", "options.py", "speaker.py", "systems.py"}
    programs = {path.name for path in HERE.glob("*.py")} - alone
    assert {one.program for one in bench.benchmarks().values()} == {p for p in programs if not p.startswith("test_")}


def test_what_a_program_prints_is_put_into_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Speed\n<!-- clips: begin -->old<!-- clips: end -->\nend\n")
    command = [sys.executable, str(HERE / "bench.py"), "--small", "--page", str(page), "--only"]
    done = subprocess.run([*command, "clips"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    written = page.read_text()
    assert written.startswith("# Speed\n<!-- clips: begin -->\n\n| step |")
    assert "500 shards" in written
    assert written.endswith("<!-- clips: end -->\nend\n")


def test_a_benchmark_that_fails_leaves_its_section_and_one_that_misses_a_target_does_not(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, program = tmp_path / "page.md", tmp_path / "program.py"
    page.write_text("<!-- a: begin -->old<!-- a: end -->")
    monkeypatch.setattr(bench, "HERE", tmp_path)
    program.write_text("print('half of it'); raise SystemExit(1)")
    assert bench.run("a", bench.Benchmark("program.py"), page, small=False) == "a failed with exit code 1"
    assert "old" in page.read_text()
    program.write_text("print('missed: speed'); raise SystemExit(1)")
    assert bench.run("a", bench.Benchmark("program.py"), page, small=False) == "a missed a target"
    assert "missed: speed" in page.read_text()
