"""The documented package: built, installed in an environment of its own, extracted, trained and predicted with."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.ffmpeg import DEMO, cut_clip

PAGE = Path(__file__).parents[3] / "docs" / "extractors.md"
N_CLIPS = 8


def documented(kind: str) -> str:
    """Return the package of docs/extractors.md: its `python` or its `toml`."""
    section = PAGE.read_text(encoding="utf-8").split("## A set of one's own")[1]
    return re.search(rf"```{kind}\n(.*?)```", section, re.DOTALL)[1]  # type: ignore[index]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that lies over the tests' own and has the documented package."""
    folder = tmp_path_factory.mktemp("package")
    (folder / "loudness_set.py").write_text(documented("python"))
    (folder / "pyproject.toml").write_text(documented("toml"))
    wheels, environment = folder / "wheels", folder / "environment"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", wheels, folder], check=True)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    python = environment / "bin" / "python"
    site = next(environment.glob("lib/python*/site-packages"))
    below = sysconfig.get_path("purelib")
    (site / "below.pth").write_text(f"import site; site.addsitedir({below!r})\n")
    (wheel,) = wheels.glob("*.whl")
    subprocess.run([*pip, "--python", python, "install", "--no-deps", "--no-index", wheel], check=True)
    return python


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 0.6 to 1.3 s of four videos, with labels.csv next to the folder `videos`."""
    folder = tmp_path_factory.mktemp("clips")
    rows = []
    for number in range(N_CLIPS):
        video, clip = f"v{number // 2}", f"{number % 2}"
        source = DEMO / "videos" / f"video_000{number % 4 + 1}" / "0001.mp4"
        cut_clip(source, folder / "videos" / video / f"{clip}.mp4", start_s=0.2, seconds=0.6 + 0.1 * number)
        split = ("train", "train", "valid", "test")[number // 2]
        rows.append([video, clip, round(number / 4 - 1, 1), split])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["video_id", "clip_id", "label", "split"], *rows])
    return folder


def fmltk(python: Path, *arguments: object) -> str:
    """Run the command in the environment; return what it printed."""
    argv = [python, "-c", "from fmltk.toolkit.cli.main import main; main()", *map(str, arguments)]
    done = subprocess.run(argv, env=dict(os.environ), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_documented_set_is_extracted_trained_on_and_predicted_with(
    python: Path, videos: Path, tmp_path: Path
) -> None:
    features, run = tmp_path / "features", tmp_path / "run"
    sets = ("--modalities", "audio", "--audio", "fmltk33", "--audio", "loudness:0.2")
    fmltk(python, "extract", videos / "videos", "-o", features, *sets, "--workers", "1")
    table = pq.read_table(features / "audio.loudness.parquet")
    document = json.loads(table.schema.metadata[b"fmltk"])
    assert (document["feature_names"], document["rate_hz"]) == (["rms", "peak"], 5.0)
    assert table["length"].to_pylist() == [3 + (k + 1) // 2 for k in range(N_CLIPS)]

    labels = ("--labels", videos / "labels.csv")
    reads = ("--model", "late-fusion", "--modalities", "A", "--use", "audio.loudness")
    fmltk(
        python,
        "train",
        features,
        *labels,
        "-o",
        run,
        *reads,
        "--set",
        "max_epochs=40",
        "--set",
        "lr=0.02",
        "--jobs",
        "0",
    )
    assert json.loads((run / "training.json").read_text())["schema"]["A"]["feature_names"] == ["rms", "peak"]

    scores = tmp_path / "scores.csv"
    fmltk(python, "predict", run, videos / "videos", "-o", scores)
    again = tmp_path / "again.csv"
    fmltk(python, "predict", run, features, "-o", again)
    found, expected = (pd.read_csv(path)["score_M"] for path in (scores, again))
    assert found.notna().all()
    pd.testing.assert_series_equal(found, expected)
