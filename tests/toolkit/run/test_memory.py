"""Memory is bounded by one clip's pieces, not by its length: 20 minutes need what 10 seconds need."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.features.feature_set import read_features
from tests.ffmpeg import run_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TWENTY_MINUTES_S = 1200
ALLOWED_GROWTH_MB = 150  # ten seconds of this clip's frames are 200

PEAK = """
import resource, sys
from fmltk.toolkit.run.extract import extract
extract(sys.argv[1], sys.argv[2], modalities=("audio", "vision"), openface="none", n_workers=1)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
"""


def peak_mb(video: Path, out: Path) -> float:
    """Return the largest resident size of any process of an extraction, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, str(video), str(out)], capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def repeat(source: Path, target: Path, seconds: float) -> None:
    run_ffmpeg("-stream_loop", -1, "-i", source, "-t", seconds, "-c", "copy", target)


@pytest.mark.slow
def test_a_clip_of_twenty_minutes_needs_the_memory_of_a_short_one(
    sized: Callable[[int], int], cut: Callable[..., None], tmp_path: Path
) -> None:
    cut(tmp_path / "source.mp4", 0.0, 3.0)
    seconds = max(sized(TWENTY_MINUTES_S) // 2, 12)
    repeat(tmp_path / "source.mp4", tmp_path / "short.mp4", 2)
    repeat(tmp_path / "source.mp4", tmp_path / "long.mp4", seconds)
    short = peak_mb(tmp_path / "short.mp4", tmp_path / "a")
    long = peak_mb(tmp_path / "long.mp4", tmp_path / "b")
    row = read_features(tmp_path / "b").manifest().iloc[0]
    assert row["status"] == "ok"
    assert row["n_frames"] == pytest.approx(30 * seconds, abs=5)
    assert long - short < ALLOWED_GROWTH_MB, f"{short:.0f} MB for 2 s, {long:.0f} MB for {seconds} s"
