"""A million clips, at a fiftieth unless --full-size: no step is quadratic, none holds every clip's features."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

N_CLIPS = 1_000_000
FIRST = 8  # of the size: what a step costs per clip is compared between an eighth and the whole
SLOWER = 4.0  # a quadratic step would cost eight times as much per clip, and a busy machine up to twice
BYTES_PER_CLIP = 12_000  # ids, lengths, names, paths; a clip's features alone are more where they are real
FEW_S = 0.3  # a step of less says nothing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(4 * 3600)]


@pytest.fixture(scope="module")
def program() -> ModuleType:
    path = Path(__file__).with_name("million_clips.py")
    spec = importlib.util.spec_from_file_location("million_clips", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["million_clips"] = module
    spec.loader.exec_module(module)
    return module


def test_cost_per_clip_does_not_grow_with_their_number(
    program: ModuleType, sized: Callable[[int], int], tmp_path: Path
) -> None:
    n_clips = sized(N_CLIPS) // 2
    few = program.simulate(tmp_path / "few", n_clips // FIRST)
    many = program.simulate(tmp_path / "many", n_clips)

    def cost(found: dict[str, Any]) -> dict[str, float]:
        return {step["name"]: step["cpu_s"] / found["clips"] for step in found["steps"] if step["cpu_s"] > FEW_S}

    before, after = cost(few), cost(many)
    assert "survey, pad, write the tables" in before
    for name in before.keys() & after.keys():
        assert after[name] < SLOWER * before[name], name
    grown_mb = many["steps"][-1]["peak_mb"] - few["steps"][-1]["peak_mb"]
    assert grown_mb * 2**20 < BYTES_PER_CLIP * (n_clips - n_clips // FIRST)
    assert many["shard_files"] == n_clips
