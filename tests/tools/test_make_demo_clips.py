"""The bundled clips are those of the script that makes them, and are what the demonstration needs."""

from __future__ import annotations

import csv
import importlib.util
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from fmltk.toolkit.vision.mtcnn.detector import FaceDetector

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

DEMO = Path(str(resources.files("fmltk.toolkit"))) / "demo"
VIDEOS = sorted(DEMO.glob("videos/*/*.mp4"))


@pytest.fixture(scope="module")
def script() -> Iterator[ModuleType]:
    path = Path(__file__).with_name("make_demo_clips.py")
    spec = importlib.util.spec_from_file_location("make_demo_clips", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_every_planned_clip_is_bundled_and_nothing_else(script: ModuleType) -> None:
    planned = {(clip.video_id, clip.clip_id) for clip in script.CLIPS}
    assert {(path.parent.name, path.stem) for path in VIDEOS} == planned
    assert len(planned) == 12


def test_the_transcript_table_is_the_scripts(script: ModuleType, tmp_path: Path) -> None:
    script.write_transcripts(tmp_path / "transcripts.csv")
    assert (tmp_path / "transcripts.csv").read_bytes() == (DEMO / "transcripts.csv").read_bytes()


def test_the_transcript_table_has_words_and_no_labels() -> None:
    with (DEMO / "transcripts.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["video_id", "clip_id", "text", "mode"]
    assert all(len(row["text"].split()) >= 9 for row in rows)
    splits = {
        video: {row["mode"] for row in rows if row["video_id"] == video} for video in {r["video_id"] for r in rows}
    }
    assert all(len(modes) == 1 for modes in splits.values()), "a video is in two splits"
    assert set.union(*splits.values()) == {"train", "valid", "test"}


def test_the_clips_are_small() -> None:
    assert sum(path.stat().st_size for path in DEMO.rglob("*") if path.is_file()) < 2_000_000


@pytest.mark.parametrize("path", VIDEOS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_clip_is_three_to_six_seconds_of_speech_and_picture(path: Path) -> None:
    with av.open(str(path)) as container:
        video, sound = container.streams.video[0], container.streams.audio[0]
        assert (video.width, video.height, video.codec_context.name) == (640, 360, "h264")
        assert sound.codec_context.name == "aac"
        assert 3.0 <= container.duration / av.time_base <= 6.0
        loudest = max(abs(frame.to_ndarray()).max() for frame in container.decode(sound))
    assert loudest > 0.1


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector()


@pytest.mark.parametrize("path", VIDEOS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_clip_shows_one_face_all_along_and_it_moves(path: Path, detector: FaceDetector) -> None:
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    found = detector.detect([*frames[::25], frames[-1]])
    assert [len(faces.boxes) for faces in found] == [1] * len(found)
    assert min(faces.probabilities[0] for faces in found) > 0.99
    boxes = np.array([faces.boxes[0] for faces in found])
    assert np.ptp(boxes, axis=0).max() > 15, "the box stays where it is"


def test_the_camera_keeps_to_the_photograph(script: ModuleType) -> None:
    """A turned view reaches further than its width: its corners must stay inside the mirrored margin."""
    for clip in script.CLIPS:
        for view in clip.views:
            reach = (view.width**2 + (view.width * script.HEIGHT_PX / script.WIDTH_PX) ** 2) ** 0.5 / 2
            assert view.x - reach >= -script.MARGIN_PX, clip
            assert view.x + reach <= 512 + script.MARGIN_PX, clip


def test_a_view_goes_from_one_to_the_other_slowly_at_both_ends(script: ModuleType) -> None:
    first, last = script.View(0, 0, 100), script.View(10, 20, 300, 8)
    assert first.towards(last, 0.0) == first
    assert first.towards(last, 1.0) == last
    assert first.towards(last, 0.5).as_tuple() == pytest.approx((5, 10, 200, 4))
    assert first.towards(last, 0.1).x < 1.0
