"""Files that are complete or absent: written under a temporary name, then renamed."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.io.paths import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmltk.toolkit.io.paths import AnyPath

TEMPORARY_PREFIX = ".tmp-"


@contextmanager
def store_errors(doing: str) -> Iterator[None]:
    """Turn the operating system's and pyarrow's errors into one clear StoreError."""
    import pyarrow as pa

    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StoreError(
                f"no space left while {doing}; what was done is kept: free some space and run the same command again"
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
            raise StoreError(
                f"no permission while {doing}; choose another folder with -o, or mend its rights"
            ) from error
        if error.errno in (errno.EEXIST, errno.ENOTDIR):
            raise StoreError(f"{doing}: a file lies where a folder was expected; choose another place") from error
        raise StoreError(f"{doing}: {error.strerror or error}") from error
    except pa.ArrowException as error:
        raise StoreError(f"{doing}: {str(error).splitlines()[0]}") from error


@contextmanager
def atomic_path(path: AnyPath) -> Iterator[Path]:
    """Give a temporary path beside `path`; what was written there becomes `path` only if nothing failed.

    Where `path` lies in a store, the temporary file is on this machine's disk.
    """
    if isinstance(path, RemotePath):
        with store_errors(f"writing {path}"), tempfile.TemporaryDirectory(prefix="fmltk-upload-") as folder:
            local = Path(folder) / path.name
            yield local
            path.upload(local)
        return
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{os.getpid()}-{path.name}")
    with store_errors(f"writing {path}"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write a file whole or not at all."""
    if isinstance(path, RemotePath):
        with store_errors(f"writing {path}"):
            path.write_bytes(data)
        return
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def remove_temporary_files(folder: AnyPath) -> None:
    """Remove what a killed run left half written, in the places that a run writes to, and nothing else.

    In a store nothing is ever half written.
    """
    if isinstance(folder, RemotePath):
        return
    for place in ("", "faces/", "faces/crops/*/", "shards/??/"):
        for path in folder.glob(f"{place}{TEMPORARY_PREFIX}*-*"):
            if path.name.removeprefix(TEMPORARY_PREFIX).partition("-")[0].isdecimal():
                with contextlib.suppress(OSError):
                    path.unlink()
