"""Labels on scales that have no negative side, such as 1..5: no score speaks of signs, and each next command runs."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from click.testing import CliRunner

from fmltk.model import commands
from fmltk.model.compare import compare, comparison_rows
from fmltk.toolkit.cli.main import fmltk
from fmltk.toolkit.errors import ConfigError
from tests.model.folders import Clips, planted, small_settings, write_clips

if TYPE_CHECKING:
    from pathlib import Path

SMALL = small_settings("max_epochs=20", "lr=0.02")


def invoke(command: Any, *words: object) -> Any:
    return CliRunner().invoke(command, [str(word) for word in words])


def train(*words: object) -> Any:
    settings = [word for setting in SMALL for word in ("--set", setting)]
    return invoke(commands.train, *words, *settings, "--jobs", "0")


def on_scale(clips: Clips, low: float, high: float, path: Path) -> Path:
    """Write a table of the multimodal labels, moved from -1..1 to another scale, that does not state it."""
    values = np.round((clips.labels["M"] + 1) / 2 * (high - low) + low, 2)
    rows = zip(clips.ids, values, clips.splits, strict=True)
    path.write_text("utterance_id,label,split\n" + "".join(f"{a},{b:g},{c}\n" for a, b, c in rows))
    return path


@pytest.mark.parametrize(
    ("scale", "low", "high"), [("1..5", 1, 5), ("1..7", 1, 7), ("0..100:continuous", 0, 100), ("0..1:continuous", 0, 1)]
)
def test_scores_on_a_scale_without_signs_are_its_errors(scale: str, low: float, high: float, tmp_path: Path) -> None:
    clips = planted(60)
    folder = write_clips(clips, tmp_path / "features")
    table = on_scale(clips, low, high, tmp_path / "scores.csv")
    run = tmp_path / "run"
    done = train(folder, "--labels", table, f"--scale={scale}", "--model", "late-fusion", "-o", run)
    assert done.exit_code == 0, done.stderr
    assert f"the scale {scale} has no negative side, so scores are MAE and Corr" in done.stderr
    shown = invoke(commands.evaluate, run).stdout
    assert "MAE" in shown
    assert not {"Acc", "F1"} & set(shown.replace("-", " ").split())
    title, header, *cases = invoke(commands.cases, run).stdout.splitlines()
    assert "12 of 12 clips, truth/prediction; labels" in title
    refused = invoke(commands.cases, run, "--wrong").exception
    assert "on a scale without signs, so no clip is right or wrong; give --sort error" in str(refused)
    assert "disagreement" in header
    assert len(cases) == 12
    assert not any(word in row for row in cases for word in ("Pos", "Neg", "*"))
    words = shlex.split(done.stderr.splitlines()[-1].removeprefix("next: fmltk "))
    assert words == ["report", *map(str, (folder, table, run)), f"--scale={scale}", "-o", str(run / "report.html")]
    assert invoke(fmltk, *words).exit_code == 0


def test_a_run_on_such_a_scale_is_reported_compared_and_reused(tmp_path: Path) -> None:
    clips = planted(60)
    folder = write_clips(clips, tmp_path / "features")
    table = on_scale(clips, 1, 5, tmp_path / "scores.csv")
    run, light = tmp_path / "run", tmp_path / "light"
    assert train(folder, "--labels", table, "--scale=1..5", "-o", run).exit_code == 0
    done = train(folder, "--labels", table, "--scale=1..5", "--reuse", run, "--retrain", "auto", "-o", light)
    assert done.exit_code == 0, done.stderr
    assert "the scale 1..5 has no signs for eq. 8 to compare, so step 1 runs" in done.stderr
    result = compare([run, light], "test")
    columns, _, _, tests = comparison_rows(result)
    assert [column for column in columns if column.startswith(("Acc", "F1"))] == []
    assert {row[1] for row in tests} == {"MAE"}
    report = invoke(fmltk, "report", folder, run, "-o", tmp_path / "r.html")
    assert report.exit_code == 0, report.stderr
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "upper half" in page
    assert "wrong sign of M" not in page


@pytest.mark.parametrize(
    ("scale", "low", "high", "said"),
    [
        ("1..7", 1, 7, r"labels on the scale 1\.\.7, the first run on 1\.\.5; compare runs of one scale"),
        ("-3..3", -3, 3, r"labels on the scale -3\.\.3, the first run on 1\.\.5"),
        ("1..5", 1, 4, None),
    ],
)
def test_runs_of_other_labels_are_not_compared_without_a_word(
    scale: str, low: float, high: float, said: str | None, tmp_path: Path
) -> None:
    clips = planted(60)
    folder = write_clips(clips, tmp_path / "features")
    runs = tmp_path / "first", tmp_path / "second"
    for run, own, ends in zip(runs, ("1..5", scale), ((1, 5), (low, high)), strict=True):
        table = on_scale(clips, *ends, tmp_path / f"{run.name}.csv")
        done = train(folder, "--labels", table, f"--scale={own}", "--model", "late-fusion", "-o", run)
        assert done.exit_code == 0, done.stderr
    if said is not None:
        with pytest.raises(ConfigError, match=said):
            compare(runs, "test")
        return
    done = invoke(commands.compare, *runs)
    n_others = int(np.sum(np.array(clips.labels["M"])[np.array(clips.splits) == "test"] > -1))
    assert f"{runs[1]} has another label for {n_others} of these clips: scores are against the first" in done.stderr
    assert "another label" not in invoke(commands.compare, runs[0], runs[0]).stderr


@pytest.mark.parametrize("labels", ["found", "given", "with another name"])
def test_the_command_after_training_names_the_labels_that_were_read(labels: str, tmp_path: Path) -> None:
    folder = write_clips(planted(60), tmp_path / "features")
    table = folder / "labels.parquet"
    if labels == "with another name":
        table = table.rename(tmp_path / "my labels.parquet")
    words = [] if labels == "found" else ["--labels", table]
    done = train(folder, *words, "--model", "late-fusion", "-o", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
    named = shlex.split(done.stderr.splitlines()[-1].removeprefix("next: fmltk "))
    assert named == ["report", str(folder), str(table), str(tmp_path / "run"), "-o", str(tmp_path / "run/report.html")]
