"""A benchmark on a cluster of two nodes gives the numbers of one machine."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.model.folders import planted, write_clips

FMLTK = str(Path(sys.executable).with_name("fmltk"))

pytestmark = pytest.mark.ray


def test_two_nodes_give_the_tables_of_one_machine(cluster: Any, tmp_path: Path) -> None:
    features = write_clips(planted(100), tmp_path / "features")
    quick = tmp_path / "quick.toml"
    quick.write_text("patience = 1\nmax_epochs = 2\n")
    found = {}
    for name, engine in (("ray", ["--engine", "ray", "--ray-address", cluster.address]), ("local", ["--jobs", "1"])):
        done = subprocess.run(
            [FMLTK, "benchmark", str(features), "-o", str(tmp_path / name), "--models", "late-fusion,lmf", "--seeds",
             "2", "--config", f"late-fusion={quick}", "--config", f"lmf={quick}", "--json", *engine],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found[name] = [(one["name"], one["metrics"]) for one in json.loads(done.stdout)["systems"]]
    assert found["ray"] == found["local"]
