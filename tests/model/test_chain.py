"""The whole chain on the demo clips: extract, raters, labels, training, evaluation, prediction from raw clips."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.model.run_folder import read_predictions
from tests.ffmpeg import copy_short_demo
from tests.program import fmltk_here as fmltk
from tests.toolkit.run.conftest import OFFLINE

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

CONDITIONS = ("M", "T", "A", "V", "AT", "VT", "AV")
ONE = ("--workers", 1)
SMALL = ("thid=8", "ahid=8", "vhid=8", "tout=8", "fdim=8", "tdim=8", "adim=8", "vdim=8", "max_epochs=40", "lr=0.01")


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with videos (half a second of each demo clip), transcripts.csv, and ratings.csv of five raters."""
    folder = tmp_path_factory.mktemp("chain")
    copy_short_demo(folder)
    with (folder / "transcripts.csv").open(encoding="utf-8", newline="") as file:
        clips = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    with (folder / "ratings.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["utterance_id", "condition", "annotator", "value"])
        for k, clip in enumerate(clips):
            for condition in CONDITIONS:
                mood = 1 if (k + len(condition)) % 2 else -1
                for rater in range(5):
                    value = mood if rng.random() < 0.8 else 0
                    writer.writerow([f"{clip['video_id']}$_${clip['clip_id']}", condition, f"rater{rater}", value])
    return folder


def test_from_videos_to_scores_of_new_clips(story: Path) -> None:
    videos, features, run = story / "videos", story / "features", story / "run"
    done(fmltk("extract", videos, "-o", features, "--transcripts", story / "transcripts.csv", *OFFLINE, *ONE))
    done(fmltk("annotation", "import", story / "ratings.csv", "-o", story / "ratings.parquet"))
    done(fmltk("annotation", "aggregate", story / "ratings.parquet", "-o", story / "labels.parquet"))
    settings = [part for setting in SMALL for part in ("--set", setting)]
    trained = json.loads(
        done(
            fmltk(
                *("train", features, "--labels", story / "labels.parquet", "-o", run, "--jobs", 0, "--json"), *settings
            )
        )
    )
    assert {task["labels"] for task in trained["tasks"].values()} == {"labels"}
    assert trained["tasks"]["fusion_M"]["n"] > 0
    evaluated = json.loads(done(fmltk("evaluate", run, "--json")))
    assert evaluated["tasks"]["fusion_M"]["metrics"] == trained["tasks"]["fusion_M"]["metrics"]
    assert len(json.loads(done(fmltk("cases", run, "--json")))) == trained["tasks"]["fusion_M"]["n"]

    # New clips, here copies of old ones, so that the right scores are known: the run's own settings and lengths.
    new = story / "new" / "video_0004"
    new.mkdir(parents=True)
    (new / "0001.mp4").write_bytes((videos / "video_0004" / "0001.mp4").read_bytes())
    predicted = json.loads(
        done(
            fmltk(
                "predict",
                run,
                story / "new",
                "--transcripts",
                story / "transcripts.csv",
                "--openface",
                "none",
                "--json",
            )
        )
    )
    known = read_predictions(run, 0).set_index("utterance_id")
    clip = next(row for row in predicted if row["utterance_id"] == "video_0004$_$0001")
    for condition in CONDITIONS:
        assert clip[f"score_{condition}"] == pytest.approx(
            known.loc["video_0004$_$0001", f"pred_{condition}"], abs=1e-5
        )
        assert clip[f"class_{condition}"] in ("NG", "WN", "NU", "WP", "PS")

    refused = fmltk("predict", run, story / "new", "--openface", "none")
    assert refused.returncode == 1
    assert f"no clip of {story / 'new'} has a transcript, which the model reads; give --transcripts" in refused.stderr
