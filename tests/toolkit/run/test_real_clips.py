"""What a run says of clips as cameras, editors and network drives leave them: a row, and a word on what is odd."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.machine import GB, default_memory_limit
from fmltk.toolkit.run.extract import extract
from fmltk.toolkit.settings import ExtractSettings, RunOptions
from fmltk.toolkit.vision.geometry import GEOMETRY_FEATURES
from tests.ffmpeg import DEMO, run_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

X264 = ("-c:v", "libx264", "-crf", "20", "-c:a", "aac")
LARGEST_CHANGE = 0.02


def rows_of(folder: Path) -> pd.DataFrame:
    return read_features(folder).manifest().set_index("video_id")


def test_odd_clips_are_rows_with_a_word_on_what_is_odd(cut: Callable[..., None], tmp_path: Path) -> None:
    videos = tmp_path / "videos"
    cut(videos / "plain.mp4")
    noise = ("-f", "lavfi", "-i", "anoisesrc=r=44100:a=0.1:d=1")
    first, second = ("-disposition:a:0", 0), ("-disposition:a:1", "default")
    run_ffmpeg("-i", videos / "plain.mp4", *noise, "-map", "0:v", "-map", "1:a", "-map", "0:a", *X264, *first, *second,
               videos / "two.mp4")  # fmt: skip
    inverted = "pan=stereo|c0=c0|c1=-1*c0"
    run_ffmpeg(
        "-i", videos / "plain.mp4", "-af", inverted, "-c:v", "copy", "-c:a", "pcm_s16le", videos / "inverted.mkv"
    )
    run_ffmpeg("-i", DEMO / "videos/video_0001/0001.mp4", "-g", 60, "-c:v", "libx264", "-c:a", "aac", tmp_path / "a.ts")
    content = (tmp_path / "a.ts").read_bytes()
    (videos / "piece.ts").write_bytes(content[len(content) // 188 // 3 * 188 :])
    for name in ("@eaDir", "#recycle", "__MACOSX"):
        (videos / name).mkdir()
        (videos / name / "plain.mp4").write_bytes((videos / "plain.mp4").read_bytes())
    run_ffmpeg("-i", videos / "plain.mp4", "-t", 0.2, videos / "moving.gif")

    extract(videos, tmp_path / "out", modalities=("audio", "vision"), openface="none")
    rows = rows_of(tmp_path / "out")
    assert sorted(rows.index) == ["inverted", "piece", "plain", "two"]
    assert set(rows["status"]) == {"ok"}
    warnings = {name: list(rows.loc[name, "warnings"]) for name in rows.index}
    assert warnings["plain"] == []
    (said,) = warnings["two"]
    assert said.startswith("audio: stream 1 (aac 44100 Hz default) is used, not 0 (")
    assert warnings["inverted"][0].startswith("audio: the channels cancel each other")
    (said,) = (one for one in warnings["piece"] if "before the first frame" in one)
    n_blank = int(said.split()[3])
    vision = next(
        row for row in pq.read_table(tmp_path / "out" / "vision.parquet").to_pylist() if "piece" in row["utterance_id"]
    )
    assert n_blank > 3
    assert not any(vision["mask"][:n_blank])
    assert vision["mask"][n_blank + 3]
    problems = (tmp_path / "out" / "problems.csv").read_text()
    for name in ("'@eaDir", "#recycle", "__MACOSX", "moving.gif"):  # the apostrophe: no formula for a spreadsheet
        assert f"ignored-file,{name}," in problems


def test_square_and_anamorphic_clips_have_the_same_features(tmp_path: Path) -> None:
    source = DEMO / "videos/video_0001/0001.mp4"
    videos = tmp_path / "videos"
    videos.mkdir()
    wanted = ("-t", 0.5, *X264)
    run_ffmpeg("-i", source, *wanted, videos / "square.mp4")
    run_ffmpeg("-i", source, "-vf", "scale=480:360,setsar=4/3", *wanted, videos / "wide.mp4")
    run_ffmpeg("-i", source, "-vf", "scale=640:180,setsar=1/2", *wanted, videos / "high.mkv")
    extract(videos, tmp_path / "out", modalities=("vision",), openface="none")
    rows = rows_of(tmp_path / "out")
    assert {(row.width, row.height) for row in rows.itertuples()} == {(640, 360)}
    features = {row["utterance_id"].partition("$")[0]: np.array(row["features"])[: row["length"]].mean(axis=0)
                for row in pq.read_table(tmp_path / "out" / "vision.parquet").to_pylist()}  # fmt: skip

    def differences(name: str) -> NDArray[np.float64]:
        found: NDArray[np.float64] = np.abs(features[name] - features["square"])
        return found

    still = [k for k, one in enumerate(GEOMETRY_FEATURES) if "velocity" not in one.name]
    assert len(still) == 20
    for name in ("wide", "high"):
        assert differences(name)[still].max() < LARGEST_CHANGE


def test_a_clip_that_needs_too_much_memory_is_a_row_and_the_next_is_not(
    cut: Callable[..., None], tmp_path: Path
) -> None:
    videos = tmp_path / "videos"
    cut(videos / "b_small.mp4", 0.2, 0.4)
    run_ffmpeg(
        "-i", videos / "b_small.mp4", "-t", 0.1, "-vf", "scale=7680:4320", "-preset", "ultrafast", videos / "a_huge.mp4"
    )
    extract(videos, tmp_path / "out", modalities=("vision",), openface="none", worker_memory_gb=1.0, n_workers=1)
    rows = rows_of(tmp_path / "out")
    assert rows.loc["a_huge", "vision_error_class"] == "MediaLimitError"
    assert "needs more memory than a worker may take" in rows.loc["a_huge", "vision_error_message"]
    assert rows.loc["b_small", "status"] == "ok"


def test_streams_and_memory_are_settings() -> None:
    assert default_memory_limit() >= 2 * GB
    assert ExtractSettings(audio_stream=1).document()["audio_stream"] == 1
    with pytest.raises(ConfigError, match=r"worker_memory_gb is 0.5; expected 1 or more"):
        RunOptions(worker_memory_gb=0.5)
    with pytest.raises(ConfigError, match="video_stream is -1; expected 0 or more"):
        ExtractSettings(video_stream=-1)
