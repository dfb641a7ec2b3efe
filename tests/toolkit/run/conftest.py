"""Small folders of clips, made once from the bundled ones."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import pytest

from tests.ffmpeg import DEMO, cut_clip
from tests.processes import one_core

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OFFLINE = ("--text-model", "minilm", "--openface", "none")  # what needs neither a hub nor OpenFace


@pytest.fixture(autouse=True)
def _one_worker() -> Iterator[None]:
    """Let a run that is given no number of workers start one, on every machine."""
    with one_core():
        yield


@pytest.fixture(scope="session")
def cut() -> Callable[[Path, float, float], None]:
    """Cut a piece of a bundled clip, by default its first second: cut(target, start_s, seconds)."""

    def make(target: Path, start_s: float = 0.0, seconds: float = 1.0, source: str = "video_0001/0001") -> None:
        cut_clip(DEMO / "videos" / f"{source}.mp4", target, start_s=start_s, seconds=seconds)

    return make


@pytest.fixture(scope="session")
def short_clips(tmp_path_factory: pytest.TempPathFactory, cut: Callable[..., None]) -> Path:
    """Six clips of 0.8 to 1.3 s in two videos, with transcripts.csv beside the folder `videos`."""
    folder = tmp_path_factory.mktemp("short")
    rows = []
    for number in range(6):
        video_id, clip_id = f"video_{number // 3:04d}", f"{number % 3:04d}"
        source = f"video_000{number // 3 + 1}/000{number % 3 + 1}"
        cut(folder / "videos" / video_id / f"{clip_id}.mp4", 0.2, 0.8 + 0.1 * number, source)
        rows.append([video_id, clip_id, f"This is clip number {number}, and it is {'good ' * number}.", "train"])
    with (folder / "transcripts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video_id", "clip_id", "text", "mode"], *rows])
    return folder


def tables(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every final table of a feature folder."""
    names = ("manifest", "text", "audio", "vision", "faces/faces", "faces/shots", "fingerprints")
    return {name: (folder / f"{name}.parquet").read_bytes() for name in names}
