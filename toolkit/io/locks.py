"""Which temporary files are in use: their writer holds a lock on them, which goes with the process however it ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Errors of a file system that has no locks (some network drives), or none on a folder.
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL, errno.EBADF)


def try_lock(handle: int) -> bool | None:
    """Lock an open file or folder for this process; False where another holds it, None without locks.

    Raises OSError for anything else.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as fault:
        if fault.errno in _NO_LOCKS:
            return None
        raise
    return True


def is_held(handle: int) -> bool:
    """Whether this process may use a file or folder that it has just made: no other took it for abandoned."""
    return try_lock(handle) is not False and os.fstat(handle).st_nlink > 0


def remove_abandoned(path: Path) -> None:
    """Remove a temporary file or folder whose writer has died; what a writer holds, or cannot be removed, stays."""
    is_folder = path.is_dir() and not path.is_symlink()
    flags = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR | os.O_NONBLOCK
    with contextlib.suppress(OSError):
        handle = os.open(path, flags | os.O_NOFOLLOW)
        try:
            if try_lock(handle):
                shutil.rmtree(path) if is_folder else path.unlink()
        finally:
            os.close(handle)
