"""Shots and people in a feature folder: a dialogue that is cut, to the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

from tests.composed import Composer, View, still
from tests.program import fmltk_here
from tests.toolkit.run.conftest import OFFLINE

if TYPE_CHECKING:
    from pathlib import Path

SHOTS = (12, 8, 11)
COMMAND = ("--modalities", "audio,vision", "--face-select", "largest", "--min-face", 60, *OFFLINE[2:])


@pytest.fixture(scope="module")
def videos(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A-B-A at one place, and A by herself."""
    folder = tmp_path_factory.mktemp("dialogue")
    composer = Composer(test_data, folder)
    first, second = View("ben"), View("carl", "listening")
    parts = [still(n, view) for n, view in zip(SHOTS, (first, second, first), strict=True)]
    composer.clip("dialogue", parts, voices=["ben"])
    composer.clip("alone", [still(20, first)], voices=["ben"])
    return folder


@pytest.fixture(scope="module")
def linked(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The features of both, faces linked by colours, from two workers."""
    out = tmp_path_factory.mktemp("linked")
    done = fmltk_here("extract", videos, "-o", out, *COMMAND, "--identity", "builtin", "--workers", 2)
    assert done.returncode == 0, done.stderr
    return out


def test_two_people_in_three_shots_are_two_and_the_speakers_shots_are_joined(linked: Path) -> None:
    manifest = pd.read_parquet(linked / "manifest.parquet").set_index("video_id")
    assert manifest["n_shots"].to_dict() == {"alone": 1, "dialogue": 3}
    assert manifest["n_faces"].to_dict() == {"alone": 1, "dialogue": 2}
    assert manifest.loc["dialogue", "face_coverage"] == pytest.approx(23 / 31)
    assert any("colours" in warning for warning in manifest.loc["dialogue", "warnings"])
    assert not any("colours" in warning for warning in manifest.loc["alone", "warnings"])
    shots = pd.read_parquet(linked / "faces" / "shots.parquet").groupby("utterance_id")[["first_frame", "last_frame"]]
    assert shots.get_group("dialogue$_$0").to_numpy().tolist() == [[0, 11], [12, 19], [20, 30]]
    faces = pd.read_parquet(linked / "faces" / "faces.parquet")
    faces = faces[faces["utterance_id"] == "dialogue$_$0"]
    assert faces.groupby("track")["person"].agg(["min", "max"]).to_numpy().tolist() == [[0, 0], [1, 1], [0, 0]]
    assert (faces["speaker"] == (faces["person"] == 0)).all()


def test_one_worker_writes_the_same_bytes(videos: Path, linked: Path, tmp_path: Path) -> None:
    done = fmltk_here("extract", videos, "-o", tmp_path, *COMMAND, "--identity", "builtin", "--workers", 1)
    assert done.returncode == 0, done.stderr
    written = ("manifest", "audio", "vision", "faces/faces", "faces/shots")
    assert {name: (tmp_path / f"{name}.parquet").read_bytes() for name in written} == {
        name: (linked / f"{name}.parquet").read_bytes() for name in written
    }


def test_a_folder_holds_people_told_apart_in_one_way(videos: Path, linked: Path) -> None:
    done = fmltk_here("extract", videos, "-o", linked, *COMMAND, "--identity", "none")
    assert done.returncode == 1
    assert "settings.identity: 'builtin' then, 'none' now" in done.stderr
