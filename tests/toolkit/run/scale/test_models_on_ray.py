"""A benchmark and a search on a Ray cluster of two nodes give what they give on one machine."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fmltk.model.benchmark.run import BenchmarkOptions, benchmark
from fmltk.model.tuning.run import TuningOptions, tune
from tests.model.folders import planted, write_clips

if TYPE_CHECKING:
    from pathlib import Path

    from tests.toolkit.run.scale.nodes import Cluster

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ray")]


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(planted(60), tmp_path_factory.mktemp("planted") / "features")


def test_a_benchmark_on_two_nodes_has_the_same_table(cluster: Cluster, features: Path, tmp_path: Path) -> None:
    here = BenchmarkOptions(models=("late-fusion", "lf-dnn", "lmf"), seeds=(0, 1), settings=("max_epochs=2",), jobs=2)
    local = benchmark(features, out=tmp_path / "local", options=here)
    there = replace(here, engine="ray", ray_address=cluster.address)
    on_ray = benchmark(features, out=tmp_path / "ray", options=there)
    for name in ("systems", "intervals", "tests"):
        path = f"tables/{name}.csv"
        assert (tmp_path / "ray" / path).read_bytes() == (tmp_path / "local" / path).read_bytes(), name
    for one, other in zip(local.scored, on_ray.scored, strict=True):
        assert one.scores["MAE"].tolist() == other.scores["MAE"].tolist(), one.system.name


def test_a_search_on_two_nodes_has_the_same_trials(cluster: Cluster, features: Path, tmp_path: Path) -> None:
    here = TuningOptions(model="late-fusion", n_trials=2, jobs=1, settings=("max_epochs=2",))
    local = tune(features, out=tmp_path / "local", options=here)
    on_ray = tune(features, out=tmp_path / "ray", options=replace(here, engine="ray", ray_address=cluster.address))
    assert on_ray["trials"] == local["trials"]
    assert (tmp_path / "ray" / "best.toml").read_bytes() == (tmp_path / "local" / "best.toml").read_bytes()
