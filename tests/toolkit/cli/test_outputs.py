"""Outputs that cannot be written: closed, full, or read no longer; and commands that are ended from outside."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

FMLTK = str(Path(sys.executable).with_name("fmltk"))
RATINGS = "utterance_id,condition,annotator,value\n" + "".join(
    f"v$_${clip},{condition},rater {rater},1\n" for clip in range(9) for condition in ("AT", "VT") for rater in range(5)
)


def run(arguments: str, redirection: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line with a redirection, as a shell does."""
    script = f"cd {folder}; {FMLTK} {arguments} {redirection}"
    env = {**os.environ, "XDG_CONFIG_HOME": str(folder / "config")}
    return subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, env=env)


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    (tmp_path / "ratings.csv").write_text(RATINGS)
    return tmp_path


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    (tmp_path / "label.csv").write_text("video_id,clip_id,label\nv,1,0.2\nv,2,1\nw,1,-1\n")
    return tmp_path


def test_a_full_disk_is_in_force() -> None:
    with pytest.raises(OSError, match="No space left"), Path("/dev/full").open("wb", buffering=0) as full:
        full.write(b"1")


SUMMARY = "annotation summary label.csv --quiet"


@pytest.mark.parametrize("arguments", ["--version", SUMMARY, f"{SUMMARY} --json"])
@pytest.mark.parametrize(
    ("redirection", "why"),
    [
        (">&-", "it is closed"),
        ("> /dev/full", "No space left on device"),
        ("<&- >&-", "it is closed"),
    ],
)
def test_a_result_that_cannot_be_written_is_one_line(arguments: str, redirection: str, why: str, labels: Path) -> None:
    done = run(arguments, redirection, labels)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"Error: cannot write the result to stdout: {why}; direct it to another file\n"


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full", ">&- 2>&-", "> /dev/full 2> /dev/full"])
def test_messages_that_cannot_be_written_stop_no_work_but_are_not_exit_code_0(redirection: str, ratings: Path) -> None:
    done = run("annotation import ratings.csv -o ratings.parquet", redirection, ratings)
    assert (done.returncode, done.stderr) == (1, "")
    assert sorted(path.name for path in ratings.glob("*")) == [
        "ratings.csv", "ratings.dropped.jsonl", "ratings.parquet", "ratings.report.json",
    ]  # fmt: skip
    report = json.loads((ratings / "ratings.report.json").read_text())
    assert report["n_ratings"] == 90
    assert (ratings / "ratings.dropped.jsonl").read_bytes() == b"", "no message lies in a file of the command's own"


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
def test_an_error_that_cannot_be_written_keeps_its_exit_code(redirection: str, tmp_path: Path) -> None:
    assert run("extract nowhere", redirection, tmp_path).returncode == 1
    assert run("extract", redirection, tmp_path).returncode == 2


@pytest.mark.parametrize("arguments", ["--help", SUMMARY])
def test_a_reader_that_has_seen_enough_is_no_error(arguments: str, labels: Path) -> None:
    done = run(arguments, "| true; exit ${PIPESTATUS[0]}", labels)
    assert (done.returncode in (0, 141), done.stderr) == (True, "")
    read, write = os.pipe()
    os.close(read)  # nobody reads, from the beginning
    try:
        argv = [FMLTK, *arguments.split()]
        closed = subprocess.run(argv, stdout=write, stderr=subprocess.PIPE, check=False, cwd=labels)
    finally:
        os.close(write)
    assert (closed.returncode, closed.stderr) == (141, b"")


def test_a_result_that_is_read_to_its_end_is_whole(labels: Path) -> None:
    done = run(f"{SUMMARY} --json", "| cat; exit ${PIPESTATUS[0]}", labels)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_command_that_is_ended_removes_its_temporary_files(number: signal.Signals, code: int, ratings: Path) -> None:
    (ratings / "pipe.csv").write_text(RATINGS * 3_000)  # takes seconds to read
    argv = [FMLTK, "annotation", "import", "pipe.csv", "-o", "ratings.parquet"]
    program = subprocess.Popen(argv, cwd=ratings, stderr=subprocess.PIPE, text=True)
    while not list(ratings.glob(".tmp-*")) and program.poll() is None:
        signal.sigtimedwait([], 0.02)
    program.send_signal(number)
    _, messages = program.communicate()
    assert program.returncode == code
    assert "Traceback" not in messages
    assert sorted(path.name for path in ratings.iterdir()) == ["pipe.csv", "ratings.csv"]
