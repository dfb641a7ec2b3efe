"""Pipes, sockets and devices where a file belongs: one line at once, never an endless read."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fmltk.annotation.json_stream import iterate_json_array
from fmltk.annotation.raters import read_salt
from fmltk.model.tensors import read_tensors
from fmltk.toolkit.errors import FmltkError
from fmltk.toolkit.interchange.safe_pickle import load_pickle
from fmltk.toolkit.io.documents import read_json, read_toml
from fmltk.toolkit.io.encodings import read_text
from fmltk.toolkit.io.parquet import is_parquet, open_parquet
from fmltk.toolkit.io.tables import read_rows
from tests.model.folders import planted, write_clips
from tests.program import fmltk_here

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KINDS = {"pipe": "a pipe", "socket": "a socket", "zero": "a device", "random": "a device", "terminal": "a device"}
LIMIT_S = 120


@pytest.fixture(autouse=True)
def _no_endless_read() -> Iterator[None]:
    """End a test that waits for a pipe, which no timeout of pytest's does in time."""

    def end(number: int, frame: object) -> None:
        raise AssertionError(f"still reading after {LIMIT_S} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(LIMIT_S)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def special(kind: str, path: Path) -> Path:
    """Make a file of a kind that is not a file; devices by a link, as a wrong mount or a joke leaves them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = Path.cwd()
        os.chdir(path.parent)  # the name of a socket has 107 bytes at most
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
        os.chdir(here)
    else:
        path.symlink_to({"zero": "/dev/zero", "random": "/dev/urandom", "terminal": "/dev/ptmx"}[kind])
    return path


READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "text": ("subtitles.srt", read_text),
    "table": ("label.csv", lambda path: list(read_rows(path))),
    "sheet": ("label.xlsx", lambda path: list(read_rows(path))),
    "lines": ("transcripts.jsonl", lambda path: list(read_rows(path))),
    "parquet": ("labels.parquet", open_parquet),
    "kind": ("ratings.parquet", is_parquet),
    "json": ("run.json", read_json),
    "toml": ("config.toml", read_toml),
    "export": ("AT.json", lambda path: list(iterate_json_array(path))),
    "pickle": ("all.pkl", load_pickle),
    "tensors": ("model.safetensors", read_tensors),
    "salt": ("rater-salt", read_salt),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_what_is_not_a_file(reader: str, kind: str, tmp_path: Path) -> None:
    name, read = READERS[reader]
    path = special(kind, tmp_path / name)
    with pytest.raises(FmltkError, match=r"cannot (read|use the salt)") as refused:
        read(path)
    assert f"it is {KINDS[kind]}, not a file" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_clips(planted(n=40, n_videos=10), folder / "features")
    return folder


COMMANDS = [
    ("annotation import {} -o r.parquet", "AT.json"),
    ("annotation import AT.csv -o r.parquet --raters {}", "raters.csv"),
    ("annotation aggregate {} -o l.parquet", "ratings.parquet"),
    ("annotation aggregate --labels {} -o l.parquet", "label.csv"),
    ("annotation prepare videos -o stimuli --transcripts {}", "transcripts.tsv"),
    ("extract videos -o out --transcripts {}", "transcripts.jsonl"),
    ("extract videos -o out --exclude {}", "exclude.csv"),
    ("extract {} -o out", "videos.csv"),
    ("train features -o run --config {}", "config.toml"),
    ("train features -o run --labels {}", "labels.csv"),
    ("dataset import {} -o out", "all.pkl"),
    ("dataset import {} -o out", "all.parquet"),
    ("dataset check features --labels {}", "labels.parquet"),
    ("report {} -o report.html", "labels.parquet"),
]


@pytest.mark.parametrize("kind", ["pipe", "zero"])
@pytest.mark.parametrize(("command", "name"), COMMANDS)
def test_every_command_says_what_is_not_a_file(
    command: str, name: str, kind: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "features").symlink_to(made / "features")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "clip.mp4").write_text("text")
    (tmp_path / "AT.csv").write_text("utterance_id,condition,annotator,value\nv$_$1,AT,a,1\n")
    done = fmltk_here(*command.format(special(kind, tmp_path / "given" / name)).split())
    assert done.returncode == 1
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert name in line
    assert not list(tmp_path.glob("*.parquet"))


@pytest.mark.parametrize("kind", ["pipe", "socket", "zero", "terminal"])
def test_stimuli_of_what_is_not_a_video_fail_and_the_others_are_made(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    special(kind, tmp_path / "videos" / "v" / "1.mp4")
    (tmp_path / "videos" / "v" / "2.mp4").write_text("text")
    done = fmltk_here("annotation", "prepare", "videos", "-o", "stimuli")
    assert done.returncode == 1
    assert f"it is {KINDS[kind]}, not a file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_table_that_the_shell_gives_as_standard_input_is_a_file_where_it_comes_from_one(tmp_path: Path) -> None:
    table = tmp_path / "label.csv"
    table.write_text("video_id,clip_id,label\nv,1,0.2\n")
    link = tmp_path / "stdin.csv"
    with table.open("rb") as file:
        link.symlink_to(f"/proc/self/fd/{file.fileno()}")
        assert [row["label"] for _, row in read_rows(link)] == ["0.2"]
