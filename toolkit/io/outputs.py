"""A command owns its outputs until it ends: a second command is refused, and what a killed one left is removed.

Locks are the operating system's: they go with the process, also where it is killed, so that a lock file that is left
behind locks nothing. Folders in a store cannot be held.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.io.files import TEMPORARY_PREFIX, remove_temporary_files, store_errors, temporary_name
from fmltk.toolkit.io.locks import is_held, try_lock
from fmltk.toolkit.io.paths import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath

LOCK_FILE = ".lock"  # of a folder, in it; that of ratings.parquet is .ratings.parquet.lock, next to it
SCRATCH_PREFIX = "fmltk-scratch-"
_POLL_S = 0.1
_LONGEST_NAME = 200  # bytes of a file's name that its lock's has; a name has 255 at most
_OWNER = re.compile(rb"(\d+) ([\w.-]+)\n")


@contextmanager
def hold_folder(folder: AnyPath, *, places: Sequence[str] = ("",), error: MakeError = StoreError) -> Iterator[None]:
    """Make a folder and hold it for this command alone.

    places : where below it a killed command may have left temporary files, as `glob` patterns that end in "/"

    Raises `error` if another fmltk writes there, or the folder cannot be written.
    """
    if isinstance(folder, RemotePath):
        yield
        return
    with store_errors(f"writing {folder}", error=error):
        folder.mkdir(parents=True, exist_ok=True)
        lock = _acquire(folder / LOCK_FILE, folder, wait_s=0.0, error=error)
    with lock:
        remove_temporary_files(folder, places)
        yield


@contextmanager
def hold_file(path: AnyPath, *, wait_s: float = 0.0, error: MakeError = StoreError) -> Iterator[None]:
    """Hold a file that this command writes, which need not exist yet; its folder is made.

    wait_s : how long to wait for another command that writes it

    Raises `error` if another fmltk writes it for longer than that, or its folder cannot be written.
    """
    if isinstance(path, RemotePath):
        yield
        return
    name = os.fsdecode(os.fsencode(path.name)[:_LONGEST_NAME])
    with store_errors(f"writing {path}", error=error):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = _acquire(path.with_name(f".{name}{LOCK_FILE}"), path, wait_s=wait_s, error=error)
    with lock:
        remove_temporary_files(path.parent)
        yield


def _acquire(lock: Path, output: Path, *, wait_s: float, error: MakeError) -> contextlib.ExitStack:
    """Return what gives the lock back when it is closed."""
    end = time.monotonic() + wait_s
    while True:
        handle = _open(lock)
        held = try_lock(handle)
        if held is None:
            warnings.warn(
                f"the file system of {output} has no locks: let no other fmltk write there until this one ends",
                stacklevel=2,
            )
        if held is not False and _is_at(handle, lock):  # else its last holder has just removed it
            return _held(handle, lock)
        owner = _OWNER.match(os.pread(handle, 300, 0))
        os.close(handle)
        if held is False and time.monotonic() >= end:
            who = f" (process {owner[1].decode()} on {owner[2].decode()})" if owner else ""
            raise error(f"another fmltk{who} is writing {output}; wait for it, or choose another output with -o")
        if held is False:
            time.sleep(_POLL_S)


def _open(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
    except PermissionError:  # left by another user; to read it is enough to lock it
        return os.open(lock, os.O_RDONLY | os.O_NOFOLLOW)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.lstat())
    except FileNotFoundError:
        return False


def _held(handle: int, lock: Path) -> contextlib.ExitStack:
    stack = contextlib.ExitStack()
    stack.callback(os.close, handle)
    stack.callback(_remove, lock)  # first, while it is held
    with contextlib.suppress(OSError):  # a full disk; who holds it is for people alone
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
    return stack


def _remove(lock: Path) -> None:
    with contextlib.suppress(OSError):
        lock.unlink()


class ScratchFolder:
    """A folder for temporary files, in `parent` or where the system keeps such; a context manager that gives its path.

    It is removed at the end; where the process is killed, by the next one that makes such a folder there.
    """

    def __init__(self, parent: Path | None = None) -> None:
        prefix = SCRATCH_PREFIX if parent is None else TEMPORARY_PREFIX
        base = Path(tempfile.gettempdir()) if parent is None else parent
        remove_temporary_files(base, prefix=prefix)
        while True:
            self.path = base / temporary_name(prefix)
            self.path.mkdir(mode=0o700)
            try:
                self._handle = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:  # another process took it for abandoned before it was held
                continue
            if is_held(self._handle):
                return
            os.close(self._handle)

    def remove(self) -> None:
        """Remove the folder and what is in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._handle)

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.remove()
