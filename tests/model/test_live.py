"""Training as people see it: one live view on a terminal, plain lines in a pipe."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fmltk.model import live
from fmltk.model.config import load_config
from fmltk.model.live import EPOCH_COLUMNS, Board, StageBoard, SystemBoard
from fmltk.toolkit.io.files import TEMPORARY_PREFIX
from tests.model.folders import planted, write_clips
from tests.processes import on_terminal

FMLTK = str(Path(sys.executable).with_name("fmltk"))
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
QUICK = ("--set", "max_epochs=12", "--set", "patience=12", "--set", "bs=8")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(planted(60, n_videos=10), tmp_path_factory.mktemp("data") / "features")


def state(epoch: int, best: int, *, seconds: float = 2.0, mae: float | None = 0.25) -> str:
    document = {
        "epoch": epoch,
        "train_loss": 0.5,
        "valid_loss": 0.75,
        "valid_mae": mae,
        "seconds": seconds,
        "best": best,
    }
    return json.dumps(document)


def test_a_stage_in_work_shows_its_epoch_losses_and_time(tmp_path: Path) -> None:
    known, damaged = tmp_path / "progress_0_AV.json", tmp_path / "progress_0_AT.json"
    known.write_text(state(12, 9))
    damaged.write_text('{"epoch": 1')
    board = StageBoard(4, "stages", running=[(0, "AV", known, 8), (0, "AT", damaged, 8), (1, "AV", tmp_path / "no", 8)])
    view = board.view()
    assert view.title == "0 of 4 stages trained"
    assert tuple(view.columns) == ("seed", "stage", *EPOCH_COLUMNS)
    assert view.rows[0] == (0, "AV", "12", "0.5000", "0.7500", "0.2500", "9", "10 s")
    assert [row[:3] for row in view.rows[1:]] == [(0, "AT", "starting"), (1, "AV", "starting")]
    assert {len(row) for row in view.rows} == {len(view.columns)}


def test_classes_have_no_mean_absolute_error(tmp_path: Path) -> None:
    path = tmp_path / "progress_0_M.json"
    path.write_text(state(1, 1, mae=None))
    assert StageBoard(1, "stages", running=[(0, "M", path, 8)]).view().rows[0][5] == ""


def test_the_time_left_is_that_of_the_others() -> None:
    board = Board(5, "stages", n_done=2)
    board.started -= 200
    assert board.title == "2 of 5 stages trained, about 5 min left"
    board.n_done = 5
    assert board.title == "5 of 5 stages trained"


def test_a_system_shows_the_stage_that_wrote_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "lmf" / f"{TEMPORARY_PREFIX}1-2" / "all"
    work.mkdir(parents=True)
    (tmp_path / "lmf" / "seed_0").mkdir()
    (tmp_path / "lmf" / "seed_0" / "metrics.json").write_text("{}")
    monkeypatch.setattr(live, "run_config", lambda folder: load_config("ch-sims", settings=["patience=3"]))
    (work / "progress_1_fusion.json").write_text(state(4, 3))
    board = SystemBoard(2, "systems", n_seeds=5, waiting={tmp_path / "lmf": "lmf", tmp_path / "tfn": "tfn"})
    assert board.view().rows == [("lmf", "1 (2 of 5)", "fusion", "4", "0.5000", "0.7500", "0.2500", "3", "4 s")]
    board.settle(tmp_path / "lmf")
    assert (board.view().rows, board.n_done) == ([], 1)


@pytest.mark.parametrize("jobs", ["0", "2"])
def test_train_has_one_live_view_on_a_terminal(jobs: str, features: Path, tmp_path: Path) -> None:
    argv = [FMLTK, "train", str(features), "-o", str(tmp_path / "run"), "--jobs", jobs, *QUICK]
    code, written = on_terminal(argv, width=140)
    assert code == 0, written
    shown = ESCAPE.sub("", written)
    assert re.search(r"\d of 4 stages trained", shown)
    assert re.search(r"seed +stage +epoch +loss +validation +MAE +best +left", shown)
    assert re.search(r"0 +(AV|AT|VT|fusion) +\d+ +\d\.\d{4} +\d\.\d{4} +\d\.\d{4} +\d+ +\d+ s", shown)
    lines = [line for line in shown.splitlines() if line.startswith("seed 0, stage ") and "epochs, best" in line]
    assert len(lines) == 4
    assert "\x1b[?25h" in written  # the cursor is there again


def test_train_in_a_pipe_writes_plain_lines(features: Path, tmp_path: Path) -> None:
    argv = [FMLTK, "train", str(features), "-o", str(tmp_path / "run"), "--jobs", "2", *QUICK]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout + done.stderr
    assert "stages trained" not in done.stderr
    assert len(re.findall(r"^seed 0, stage \w+: \d+ epochs, best \d+: loss", done.stderr, re.MULTILINE)) == 4


def test_a_benchmark_has_one_live_view_on_a_terminal(features: Path, tmp_path: Path) -> None:
    models = ("--models", "late-fusion,lf-dnn", "--seeds", "2", "--jobs", "2")
    code, written = on_terminal(
        [FMLTK, "benchmark", str(features), "-o", str(tmp_path / "bench"), *models, *QUICK], width=120
    )
    assert code == 0, written
    shown = ESCAPE.sub("", written)
    assert re.search(r"\d of 2 systems trained", shown)
    assert re.search(r"(late-fusion|lf-dnn) +\d \([12] of 2\) +\w+ +\d+ +\d+\.\d{4}", shown)
    assert {"late-fusion: trained", "lf-dnn: trained"} <= {line.strip() for line in shown.splitlines()}
