"""The suite's own rules: what is missing is a skip on a user's machine and a failure in continuous integration."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROBES = """
import pytest

def test_of_real_data(test_data):
    assert test_data.is_dir()

def test_of_a_program(may_install):
    may_install("A program")

@pytest.mark.browser
def test_in_a_browser():
    pass

@pytest.mark.slow
def test_at_one_size_only():
    pass

@pytest.mark.slow
def test_at_any_size(sized):
    print("SIZE", sized(500), sized(20))
"""


def run_probes(folder: Path, *options: str, **environment: str) -> str:
    """Run five small tests under this suite's conftest, on a machine with neither browser nor data."""
    shutil.copy(Path(__file__).with_name("conftest.py"), folder)
    (folder / "test_probes.py").write_text(PROBES, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  browser:\n  slow:\n  xdist_group:\n", encoding="utf-8")
    left_out = {"CI", "FMLTK_TEST_DATA", "PYTEST_ADDOPTS"}
    env = {name: value for name, value in os.environ.items() if name not in left_out}
    env |= {"PATH": str(folder), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment}
    command = [sys.executable, "-m", "pytest", "-rA", "-s", "-p", "no:cacheprovider", *options, str(folder)]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False).stdout


def test_what_is_missing_is_skipped_with_its_reason(tmp_path: Path) -> None:
    output = run_probes(tmp_path)
    assert "1 passed, 4 skipped" in output
    assert "A program is not installed yet, which takes minutes: run once with --slow" in output
    assert "FMLTK_TEST_DATA is not set" in output
    assert "chromium and chromedriver not on PATH (Debian: apt-get install chromium chromium-driver)" in output
    assert "slow and not to be made smaller: run with --slow" in output


def test_what_is_missing_fails_in_continuous_integration(tmp_path: Path) -> None:
    output = run_probes(tmp_path, CI="true")
    assert "1 passed, 2 skipped, 2 errors" in output
    assert "FMLTK_TEST_DATA is not set: in continuous integration this must be there" in output


def test_what_is_there_is_used(tmp_path: Path) -> None:
    for program in ("chromium", "chromedriver"):
        (tmp_path / program).write_text("#!/bin/sh\n", encoding="utf-8")
        (tmp_path / program).chmod(0o755)
    output = run_probes(tmp_path, CI="true", FMLTK_TEST_DATA=str(tmp_path))
    assert "3 passed, 2 skipped" in output
    assert f"real data: {tmp_path}" in output


@pytest.mark.parametrize(("options", "sizes"), [((), "SIZE 10 1"), (("--full-size",), "SIZE 500 20")])
def test_slow_tests_run_at_a_fiftieth_or_whole(tmp_path: Path, options: tuple[str, ...], sizes: str) -> None:
    assert sizes in run_probes(tmp_path, *options)


def test_nothing_is_left_out_for_being_slow_on_request(tmp_path: Path) -> None:
    output = run_probes(tmp_path, "--slow")
    assert "3 passed, 2 skipped" in output  # without data and browser
    assert "SIZE 10 1" in output
