"""Files that are complete or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import stat
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.io.locks import is_held, remove_abandoned
from fmltk.toolkit.io.paths import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from importlib.resources.abc import Traversable
    from typing import BinaryIO

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath

TEMPORARY_PREFIX = ".tmp-"
_TEMPORARY_NAME = re.compile(r"\d+-[0-9a-f]{16}(\..*)?")  # of temporary_name, after the prefix
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")  # numpy's words, without a number


def cannot_read(path: AnyPath | Traversable, fault: OSError) -> str:
    """Return what an error says of a file that cannot be read: the same words, whoever reads it."""
    return f"cannot read {path}: {os.strerror(fault.errno) if fault.errno else fault}"


def check_regular(path: AnyPath) -> None:
    """Raise OSError unless `path` leads to a file. A pipe, socket or device is not one: reading it may never end."""
    if isinstance(path, RemotePath):
        if not path.is_file():
            raise _errno_error(errno.EISDIR if path.is_dir() else errno.ENOENT)
        return
    mode = path.stat().st_mode
    if stat.S_ISDIR(mode):
        raise _errno_error(errno.EISDIR)
    if not stat.S_ISREG(mode):
        kind = "pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"
        raise OSError(f"it is a {kind}, not a file; save to a file what it gives, and name that")


def _errno_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


def open_file(path: AnyPath) -> BinaryIO:
    """Open a file to read its bytes. Raises OSError, also for what is not a regular file (see `check_regular`)."""
    check_regular(path)
    if isinstance(path, RemotePath):
        return path.open()
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # nothing waits, should it be a pipe by now


def read_start(path: AnyPath, n_bytes: int, *, error: MakeError = StoreError) -> bytes:
    """Return the first bytes of a file, which tell its kind. Raises `error` if it cannot be read."""
    try:
        with open_file(path) as file:
            return file.read(n_bytes)
    except OSError as fault:
        raise error(cannot_read(path, fault)) from fault


def is_full(fault: OSError) -> bool:
    """Whether no space is left: on the disk, in a quota, or below the largest size of a file.

    >>> is_full(OSError(errno.ENOSPC, "")), is_full(OSError("9 requested and 4 written")), is_full(FileNotFoundError())
    (True, True, False)
    """
    if fault.errno is None:
        return _SHORT_WRITE.search(str(fault)) is not None
    return fault.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def store_errors(doing: str, *, error: MakeError = StoreError) -> Iterator[None]:
    """Turn the operating system's and pyarrow's errors into one clear `error`."""
    import pyarrow as pa

    try:
        yield
    except OSError as fault:
        if is_full(fault):
            raise error(
                f"no space left while {doing}; what was done is kept: free some space and run the same command again"
            ) from fault
        if fault.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise error(f"no permission while {doing}; choose another folder with -o, or change its rights") from fault
        if fault.errno in (errno.EEXIST, errno.ENOTDIR):
            raise error(f"{doing}: a file lies where a folder was expected; choose another path") from fault
        if fault.errno == errno.EISDIR:
            raise error(f"{doing}: a folder lies there; name a file, such as one in it") from fault
        raise error(f"{doing}: {fault.strerror or fault}") from fault
    except pa.ArrowException as fault:
        raise error(f"{doing}: {str(fault).splitlines()[0]}") from fault


@contextmanager
def atomic_path(path: AnyPath, *, error: MakeError = StoreError) -> Iterator[Path]:
    """Give an empty temporary file next to `path`; what is written there becomes `path` only if nothing fails.

    Its name ends as that of `path` does. If `path` lies in a bucket, it is on this machine's disk.

    Raises `error` if the file cannot be written.
    """
    if isinstance(path, RemotePath):
        with (
            store_errors(f"writing {path}", error=error),
            tempfile.TemporaryDirectory(prefix="fmltk-upload-") as folder,
        ):
            local = Path(folder) / path.name
            yield local
            path.upload(local)
        return
    with store_errors(f"writing {path}", error=error):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary, handle = _temporary_file(path)
        try:
            yield temporary
            replace_file(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)


def temporary_name(prefix: str) -> str:
    """Return a name that no other file has: with the prefix, this process's id and 16 random digits."""
    return f"{prefix}{os.getpid()}-{secrets.token_hex(8)}"


def _temporary_file(path: Path) -> tuple[Path, int]:
    """Make an empty file next to `path`; return it, and a handle whose lock says that it is in use."""
    while True:
        temporary = path.with_name(temporary_name(TEMPORARY_PREFIX) + path.suffix)
        # The kernel takes the umask off these rights; to ask for the umask is to change it for every thread.
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        if is_held(handle):
            return temporary, handle
        os.close(handle)  # another command took it for abandoned in the moment before it was locked


def replace_file(written: Path, path: Path) -> None:
    """Give a complete file its name, at once and for good: what is there is replaced, a crash loses nothing.

    Both are on one disk. Raises OSError.
    """
    with written.open("rb+") as file:
        os.fsync(file.fileno())
    written.replace(path)


def write_bytes(path: AnyPath, data: bytes, *, error: MakeError = StoreError) -> None:
    """Write a file atomically. Raises `error` if it cannot be written."""
    if isinstance(path, RemotePath):
        with store_errors(f"writing {path}", error=error):
            path.write_bytes(data)
        return
    with store_errors(f"writing {path}", error=error):
        try:
            temporary, handle = _temporary_file(path)
        except FileNotFoundError:  # the first file of its folder
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary, handle = _temporary_file(path)
        try:
            with open(handle, "wb", buffering=0, closefd=False) as file:
                rest = memoryview(data)
                while rest:
                    rest = rest[file.write(rest) :]
            os.fsync(handle)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
        finally:
            os.close(handle)


def remove_temporary_files(folder: AnyPath, places: Sequence[str] = ("",), *, prefix: str = TEMPORARY_PREFIX) -> None:
    """Remove what killed commands left half written, and nothing else: no file that a living one writes.

    places : where in `folder`, as `glob` patterns that end in "/". In a store nothing is ever half written.
    """
    if isinstance(folder, RemotePath):
        return
    for place in places:
        for path in folder.glob(f"{place}{prefix}*-*"):
            if _TEMPORARY_NAME.fullmatch(path.name.removeprefix(prefix)):
                remove_abandoned(path)
