"""Files and folders that commands write: held by one at a time, and clean after one that was killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fmltk.toolkit.errors import AnnotationError, StoreError
from fmltk.toolkit.io import locks, outputs
from fmltk.toolkit.io.files import TEMPORARY_PREFIX, atomic_path, remove_temporary_files, temporary_name
from fmltk.toolkit.io.outputs import LOCK_FILE, SCRATCH_PREFIX, ScratchFolder, hold_file, hold_folder
from fmltk.toolkit.io.paths import RemotePath
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# A process that holds something, says so, and waits to be killed.
HOLDER = """
import sys, time
from pathlib import Path
from fmltk.toolkit.io.files import atomic_path
from fmltk.toolkit.io.outputs import ScratchFolder, hold_file, hold_folder
with {what}:
    print("held", flush=True)
    time.sleep(3600)
"""


class Holder:
    """Another process that holds `what`, an expression, until it is killed."""

    def __init__(self, what: str) -> None:
        argv = [sys.executable, "-c", HOLDER.format(what=what)]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def hold() -> Iterator[Callable[[str], Holder]]:
    holders: list[Holder] = []

    def make(what: str) -> Holder:
        holders.append(Holder(what))
        return holders[-1]

    yield make
    for holder in holders:
        holder.kill()
        assert holder.process.stdout is not None
        holder.process.stdout.close()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["ratings.parquet", "report.html", "标注 结果.csv", "n" * 250, "-"])
def test_a_file_is_held_by_one_process_and_by_the_next_once_it_is_killed(
    name: str, tmp_path: Path, hold: Callable[[str], Holder]
) -> None:
    path = tmp_path / "out" / name
    holder = hold(f"hold_file(Path({str(path)!r}))")
    message = rf"another fmltk \(process {holder.process.pid} on \S+\) is writing .*; wait for it, or choose another"
    with pytest.raises(AnnotationError, match=message), hold_file(path, error=AnnotationError):
        pass
    with hold_file(path.with_name("another")):
        pass
    holder.kill()
    assert len(names(path.parent)) == 1, "what a killed process leaves locks nothing"
    with hold_file(path):
        path.touch()
    assert names(path.parent) == [name]


@pytest.mark.parametrize("name", ["features", "特征", "runs/first"])
def test_a_folder_is_held_by_one_process_and_by_the_next_once_it_is_killed(
    name: str, tmp_path: Path, hold: Callable[[str], Holder]
) -> None:
    folder = tmp_path / name
    holder = hold(f"hold_folder(Path({str(folder)!r}))")
    with pytest.raises(StoreError, match=rf"process {holder.process.pid} on .* is writing"), hold_folder(folder):
        pass
    holder.kill()
    with hold_folder(folder):
        assert names(folder) == [LOCK_FILE]
    assert names(folder) == []


def test_who_waits_gets_the_file_when_the_other_is_done(tmp_path: Path, hold: Callable[[str], Holder]) -> None:
    path = tmp_path / "ratings.parquet"
    holder = hold(f"hold_file(Path({str(path)!r}))")
    with pytest.raises(StoreError, match="another fmltk"), hold_file(path, wait_s=0.3):
        pass
    timer = threading.Timer(0.3, holder.kill)
    timer.start()
    with hold_file(path, wait_s=900):
        assert holder.process.poll() == -signal.SIGKILL
    timer.join()


def _add_one(path: Path, n_times: int) -> None:
    for _ in range(n_times):
        with hold_file(path, wait_s=900), atomic_path(path) as temporary:
            temporary.write_text(str(int(path.read_text() if path.exists() else "0") + 1))


def test_nothing_is_lost_where_many_processes_add_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "count"
    context = multiprocessing.get_context("fork")
    adders = [context.Process(target=_add_one, args=(path, 25)) for _ in range(4)]
    for adder in adders:
        adder.start()
    for adder in adders:
        adder.join()
    assert path.read_text() == "100"
    assert names(tmp_path) == ["count"]


@pytest.mark.parametrize("number", [37, 95, 38])  # ENOLCK, ENOTSUP, ENOSYS
def test_a_file_system_without_locks_is_named_and_the_work_is_done(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(locks.fcntl, "flock", refuse)
    warned = pytest.warns(UserWarning, match="has no locks: let no other fmltk write there")
    with warned, hold_folder(tmp_path), atomic_path(tmp_path / "a") as temporary:
        temporary.write_text("1")
    stranger = tmp_path / temporary_name(TEMPORARY_PREFIX)
    stranger.touch()
    remove_temporary_files(tmp_path)
    assert names(tmp_path) == sorted(["a", stranger.name]), "nobody knows whether it is in use"


def test_a_store_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "_acquire", None)
    with hold_folder(RemotePath("s3", "bucket/features")), hold_file(RemotePath("s3", "bucket/report.html")):
        pass


@pytest.mark.parametrize("name", ["ratings.parquet", "report.html", "scores"])
def test_what_a_killed_writer_leaves_is_removed_by_the_next_and_a_living_one_keeps_its_own(
    name: str, tmp_path: Path, hold: Callable[[str], Holder]
) -> None:
    write = f"atomic_path(Path({str(tmp_path / name)!r}))"
    killed, living = hold(write), hold(write)
    killed.kill()
    mine = [tmp_path / f"{TEMPORARY_PREFIX}notes.txt", tmp_path / f"{TEMPORARY_PREFIX}12-of-may"]
    for path in mine:
        path.touch()
    assert len(names(tmp_path)) == 4
    with hold_file(tmp_path / name):
        left = set(names(tmp_path)) - {f".{name}{LOCK_FILE}"}
    (kept,) = left - {path.name for path in mine}
    assert kept.startswith(f"{TEMPORARY_PREFIX}{living.process.pid}-")


@pytest.mark.parametrize("parent", [None, "run"])
def test_a_scratch_folder_is_removed_at_its_end_or_by_the_next(
    parent: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hold: Callable[[str], Holder]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(outputs.tempfile, "tempdir", None)
    base = None if parent is None else tmp_path / parent
    (base or tmp_path).mkdir(exist_ok=True)
    make = "ScratchFolder()" if base is None else f"ScratchFolder(Path({str(base)!r}))"
    killed, living = hold(make), hold(make)
    killed.kill()
    prefix = SCRATCH_PREFIX if base is None else TEMPORARY_PREFIX
    with ScratchFolder(base) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()
        assert folder.stat().st_mode & 0o777 == 0o700
        assert {name.rpartition("-")[0] for name in names(folder.parent)} == {
            f"{prefix}{living.process.pid}", f"{prefix}{os.getpid()}",
        }  # fmt: skip
    assert len(names(folder.parent)) == 1


def test_a_link_named_like_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    (target / "kept").touch()
    (tmp_path / temporary_name(TEMPORARY_PREFIX)).symlink_to(target)
    remove_temporary_files(tmp_path)
    assert (target / "kept").exists()
    with pytest.raises(StoreError), hold_folder(_linked(tmp_path / "run", target)):
        pass
    assert names(target) == ["kept"]


def _linked(folder: Path, target: Path) -> Path:
    folder.mkdir()
    (folder / LOCK_FILE).symlink_to(target / "made")
    return folder


def test_two_that_write_one_file_without_holding_it_both_finish(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a") as first, atomic_path(tmp_path / "a") as second:
        remove_temporary_files(tmp_path)
        first.write_text("1")
        second.write_text("2")
    assert names(tmp_path) == ["a"]
    assert wait_until(lambda: (tmp_path / "a").read_text() == "1")


@pytest.mark.parametrize("n_taken", [1, 2, 5])
def test_a_scratch_folder_that_another_process_removes_at_once_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_taken: int
) -> None:
    make, taken = Path.mkdir, []

    def made_and_taken(path: Path, *args: Any, **options: Any) -> None:
        make(path, *args, **options)
        if len(taken) < n_taken:  # as `remove_abandoned` of another process does before the lock is there
            taken.append(path)
            path.rmdir()

    with monkeypatch.context() as patched:
        patched.setattr(Path, "mkdir", made_and_taken)
        scratch = ScratchFolder(tmp_path)
    with scratch as folder:
        assert folder.is_dir()
        assert folder not in taken
    assert list(tmp_path.iterdir()) == []
