"""The demo: the commands it prints are the ones it runs, it can be run again, and its data says what it is."""

from __future__ import annotations

import json
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from fmltk.toolkit.cli import demo as demo_story
from fmltk.toolkit.cli.demo import Step, demo, story
from fmltk.toolkit.cli.main import fmltk
from fmltk.toolkit.conditions import CONDITIONS
from tests.ffmpeg import DEMO, copy_short_demo
from tests.processes import one_core

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("whole", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["short", "whole"])
@pytest.mark.installed
def test_the_whole_story_runs_and_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    """On half a second of each clip; with --slow also on the whole clips."""
    if not whole:
        copy_short_demo(tmp_path / "short")
        copy_bundled = demo_story._copy_bundled

        def copy_and_shorten(folder: Path) -> None:
            copy_bundled(folder)
            shutil.copytree(tmp_path / "short" / "videos", folder / "videos", dirs_exist_ok=True)

        monkeypatch.setattr(demo_story, "_copy_bundled", copy_and_shorten)
    with one_core():
        run_demo_twice(tmp_path / "demo")


def run_demo_twice(out: Path) -> None:
    done = CliRunner().invoke(fmltk, ["demo", "--out", str(out), "--json"], standalone_mode=False)
    assert done.exception is None, done.output
    document = json.loads(done.stdout)
    assert [step["exit_code"] for step in document["steps"]] == [0] * 7
    assert [step["command"].split()[1] for step in document["steps"]] == [
        *("extract", "annotation", "annotation", "annotation", "train", "predict", "report")
    ]
    assert "demonstration data" in (out / "report.html").read_text(encoding="utf-8")
    assert len((out / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 13
    before = {name: (out / name).read_bytes() for name in ("labels.parquet", "predictions.csv", "report.html")}
    again = CliRunner().invoke(fmltk, ["demo", "--out", str(out), "--json"], standalone_mode=False)
    assert again.return_value == 0, again.output
    assert {name: (out / name).read_bytes() for name in before} == before


def test_what_is_printed_is_what_is_run_and_a_failing_step_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[str] = []

    def record(step: Step, _: object) -> int:
        run.append(step.line)
        return 3 if step.argv[0] == "train" else 0

    monkeypatch.setattr(demo_story, "_run", record)
    done = CliRunner().invoke(demo, ["--out", str(tmp_path)], standalone_mode=False)
    printed = [line[2:] for line in done.output.splitlines() if line.startswith("$ ")]
    assert printed == run == [step.line for step in story(tmp_path)[:5]]
    assert done.return_value == 3
    assert "demonstration data" in done.output


def test_every_command_of_the_story_is_one_of_the_program_s(tmp_path: Path) -> None:
    for step in story(tmp_path / "a folder"):
        arguments = shlex.split(step.line)[1:]
        assert tuple(arguments) == step.argv
        assert arguments[0] in fmltk.list_commands(None)  # type: ignore[arg-type]


def test_the_bundled_ratings_are_exports_of_every_condition_and_say_what_they_are() -> None:
    exports = sorted((DEMO / "ratings").glob("*.json"))
    assert [path.name for path in exports] == sorted(f"demonstration_{name}.json" for name in CONDITIONS)
    for path in exports:
        tasks = json.loads(path.read_text(encoding="utf-8"))
        assert len(tasks) == 12
        assert {task["data"]["condition"] for task in tasks} == {path.stem.removeprefix("demonstration_")}
        assert all(len(task["annotations"]) == 5 for task in tasks)
    assert "demonstration data" in (DEMO / "README.md").read_text(encoding="utf-8")
