"""A million annotations in one export: counted right, in bounded memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "million_annotations.py"
BASE_MB = 350  # Python with the libraries, and one batch of records
BYTES_PER_ANNOTATION = 700  # the ratings themselves, several times over while they are merged


@pytest.mark.slow
def test_a_million_annotations_import_in_memory_that_does_not_follow_the_file(sized):
    n_annotations = sized(1_000_000)
    command = [sys.executable, SCRIPT, "--annotations", str(n_annotations)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    counts, *steps = map(json.loads, done.stdout.splitlines())
    assert counts["annotations"] >= n_annotations
    assert [step["step"] for step in steps] == ["import", "aggregate", "agreement"]
    for step in steps:
        assert step["peak_mb"] < BASE_MB + n_annotations * BYTES_PER_ANNOTATION / 1e6
