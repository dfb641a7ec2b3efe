"""Extraction with OpenFace: its values reach the features, its faults are rows of the manifest."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from fmltk.toolkit.features.feature_set import FeatureSet, read_features
from fmltk.toolkit.run.extract import extract
from fmltk.toolkit.settings import ExtractSettings
from fmltk.toolkit.vision.openface.layout import OPENFACE_FEATURES
from tests.ffmpeg import cut_clip

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

NAMES = [feature.name for feature in OPENFACE_FEATURES]

# A stand-in for FeatureExtraction: takes its options, and writes a recorded CSV as long as the video it is given.
STAND_IN = """#!{python}
import csv, os, sys, time
import av
arguments = dict(zip(sys.argv[1::2], sys.argv[2::2]))
video, folder = arguments["-f"], arguments["-out_dir"]
mode = {mode!r}
if mode == "fail":
    sys.exit("cannot load the models")
if mode == "hang":
    time.sleep(3600)
if mode == "nothing":
    sys.exit(0)
with av.open(video) as container:
    n_frames = sum(1 for _ in container.decode(video=0))
rows = list(csv.reader(open({recorded!r})))
header = [name.strip() for name in rows[0]]
os.makedirs(folder, exist_ok=True)  # as OpenFace does
out = folder + "/" + video.rsplit("/", 1)[-1].rsplit(".", 1)[0] + ".csv"
with open(out, "w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(header)
    for k in range(n_frames):
        row = list(rows[1 + k % (len(rows) - 1)])
        row[header.index("frame")], row[header.index("timestamp")] = k + 1, round(k / 30, 3)
        writer.writerow(row)
"""


def one_clip(folder: Path, test_data: Path, *names: str) -> Path:
    videos = folder / "videos"
    videos.mkdir()
    for name in names:
        shutil.copy(test_data / "videos" / "grid_bbaf2n.mpg", videos / f"{name}.mpg")
    return videos


def one_second(folder: Path, test_data: Path, *names: str) -> Path:
    """The first second of the same clip under each name: finding its faces costs a third."""
    videos = folder / "videos"
    for name in names:
        cut_clip(test_data / "videos" / "grid_bbaf2n.mpg", videos / f"{name}.mp4", start_s=0, seconds=1)
    return videos


def vision(videos: Path, out: Path, openface: str | Path, **settings: object) -> FeatureSet:
    extract(videos, out, modalities=("vision",), openface=openface, settings=ExtractSettings(**settings))  # type: ignore[arg-type]
    return read_features(out)


def test_values_of_a_folder_of_csvs_are_the_csvs_own_at_the_nearest_time(test_data: Path, tmp_path: Path) -> None:
    videos = one_clip(tmp_path, test_data, "grid_bbaf2n")
    table = vision(videos, tmp_path / "features", test_data / "openface")["vision"]
    assert table.feature_names == NAMES
    assert table.dimension == 709
    ((_, values, valid),) = table.sequences()
    recorded = pd.read_csv(test_data / "openface" / "grid_bbaf2n.csv")
    assert len(values) == 90
    assert valid.all()
    for k in (0, 1, 7, 44, 89):
        nearest = (recorded["timestamp"] - k / 30).abs().idxmin()
        np.testing.assert_allclose(values[k], recorded.loc[nearest, NAMES].to_numpy(np.float32), rtol=1e-6)


def test_a_clip_cut_from_a_video_takes_its_slice(test_data: Path, tmp_path: Path) -> None:
    videos = one_clip(tmp_path, test_data, "grid_bbaf2n")
    (tmp_path / "cuts.csv").write_text("video_id,clip_id,text,start_s,end_s\ngrid_bbaf2n,a,hello,1.0,2.0\n")
    extract(
        videos, tmp_path / "features", transcripts=tmp_path / "cuts.csv", modalities=("vision",),
        openface=test_data / "openface",
    )  # fmt: skip
    features = read_features(tmp_path / "features")
    assert features["vision"].utterance_ids == ["grid_bbaf2n$_$a"]
    ((_, values, _),) = features["vision"].sequences()
    recorded = pd.read_csv(test_data / "openface" / "grid_bbaf2n.csv")
    assert len(values) == 30
    nearest = (recorded["timestamp"] - (1.0 + 12 / 30)).abs().idxmin()
    np.testing.assert_allclose(values[12], recorded.loc[nearest, NAMES].to_numpy(np.float32), rtol=1e-6)


def test_csvs_that_cannot_be_used_fail_their_clip_alone(test_data: Path, tmp_path: Path) -> None:
    names = ("good", "empty", "header_only", "cut_off", "wrong_clip", "all_failed", "absent", "aus_only")
    videos, csvs = one_second(tmp_path, test_data, *names), tmp_path / "csv"
    no_face = test_data / "videos" / "edge_cases" / "pyfeat_no_face.mp4"
    cut_clip(no_face, videos / "no_face.mp4", start_s=0, seconds=1)
    csvs.mkdir()
    lines = (test_data / "openface" / "grid_bbaf2n.csv").read_text().splitlines()[:26]  # 25 frames per second
    success = lines[0].replace(" ", "").split(",").index("success")
    failed = [",".join([*row.split(",")[:success], "0", *row.split(",")[success + 1 :]]) for row in lines[1:]]
    contents = {
        "good": lines, "empty": [], "header_only": lines[:1], "cut_off": [*lines[:20], lines[20][:500]],
        "wrong_clip": (test_data / "openface" / "lp_d11.csv").read_text().splitlines(),
        "all_failed": [lines[0], *failed],
        "aus_only": (test_data / "openface" / "variant_aus_only.csv").read_text().splitlines()[:26],
    }  # fmt: skip
    for name, rows in contents.items():
        (csvs / f"{name}.csv").write_text("".join(f"{row}\n" for row in rows))
    manifest = vision(videos, tmp_path / "features", csvs).manifest().set_index("video_id")
    assert manifest.loc["good", "status"] == "ok"
    for name in ("empty", "header_only", "cut_off", "wrong_clip", "absent", "aus_only"):
        assert manifest.loc[name, "vision_error_class"] == "OpenFaceError", name
        assert str(tmp_path) not in manifest.loc[name, "vision_error_message"]
    assert manifest.loc["all_failed", "vision_status"] == "missing"
    assert manifest.loc["absent", "vision_error_message"].startswith("no OpenFace CSV of clip 'absent$_$0'")
    assert "absent.csv" in manifest.loc["absent", "vision_error_message"]
    assert manifest.loc["no_face", "vision_status"] == "missing"
    assert "and the clip has no OpenFace CSV" in manifest.loc["no_face", "vision_error_message"]
    assert "gaze" in manifest.loc["aus_only", "vision_error_message"]
    units = vision(videos / "aus_only.mp4", tmp_path / "units", csvs, openface_groups=("action_units",))["vision"]
    assert units.dimension == 35
    assert units.utterance_ids == ["aus_only$_$0"]


@pytest.fixture
def openface(test_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def install(mode: str) -> None:
        program = tmp_path / "FeatureExtraction"
        recorded = str(test_data / "openface" / "grid_bbaf2n.csv")
        program.write_text(STAND_IN.format(python=sys.executable, mode=mode, recorded=recorded))
        program.chmod(0o755)
        monkeypatch.setenv("FMLTK_OPENFACE", str(program))

    return install


@pytest.mark.parametrize("seen", ["face", "clip"])
def test_openface_is_run_where_it_is_found(test_data: Path, tmp_path: Path, openface, seen: str) -> None:
    openface("work")
    videos = one_second(tmp_path, test_data, "grid_bbaf2n")
    features = vision(videos, tmp_path / "features", "auto", openface_input=seen)
    assert features["vision"].document["layout"] == "openface"
    ((_, values, valid),) = features["vision"].sequences()
    recorded = pd.read_csv(test_data / "openface" / "grid_bbaf2n.csv")[NAMES].to_numpy(np.float32)
    assert valid.all()
    np.testing.assert_allclose(values, recorded[np.arange(30) % len(recorded)], rtol=1e-6)


@pytest.mark.parametrize(
    ("mode", "error_class", "reason"),
    [("fail", "ProcessError", "cannot load the models"), ("nothing", "OpenFaceError", "no CSV"),
     ("hang", "ProcessError", "did not end within")],
)  # fmt: skip
def test_an_openface_that_fails_fails_the_clip_and_never_falls_back(
    cut: Callable[..., None],
    tmp_path: Path,
    openface,
    mode: str,
    error_class: str,
    reason: str,
) -> None:
    openface(mode)
    cut(tmp_path / "videos" / "short.mp4", 0.0, 0.3)
    clip_timeout_s = 40.0 if mode == "hang" else None  # of which OpenFace has half, and the faces come before it
    summary = extract(tmp_path / "videos", tmp_path / "features", modalities=("vision",), clip_timeout_s=clip_timeout_s)
    (failure,) = summary.failures
    assert failure["error_class"] == error_class
    assert reason in failure["error_message"]
    assert "/tmp" not in failure["error_message"]
    assert not (tmp_path / "features" / "vision.parquet").exists()
