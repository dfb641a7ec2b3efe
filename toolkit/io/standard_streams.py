"""stdout and stderr that never raise: the first write that fails is remembered, and `main` reports it once.

A message that cannot be written stops no work; a result that cannot be written ends the command with exit code 1,
as a full disk does, or quietly where the reader of a pipe has seen enough (`fmltk doctor | head -1`).
"""

from __future__ import annotations

import errno
import io
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

    from typing_extensions import Buffer

READER_GONE = 141  # what a shell reports of a program that a closed pipe ended: 128 + SIGPIPE


class _Descriptor(io.FileIO):
    """A file descriptor whose first failed write is kept in `fault`; what follows is tried, and lost the same way."""

    def __init__(self, descriptor: int, *, is_closed: bool) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.fault: OSError | None = None
        self._is_closed = is_closed

    def write(self, data: Buffer, /) -> int:
        """Write, or remember why that is not possible; never raises OSError."""
        try:
            if self._is_closed:
                raise OSError(errno.EBADF, "it is closed")
            return super().write(data)
        except OSError as fault:
            self.fault = self.fault or fault
            return memoryview(data).nbytes


def guard_standard_streams() -> None:
    """Let stdout and stderr remember what goes wrong instead of raising it, and keep files off their descriptors.

    A closed descriptor would otherwise be given to the next file that is opened, into which other libraries then write
    their messages. A stream that a caller of Python has put there is left alone.
    """
    is_closed = [_occupy(descriptor) for descriptor in range(3)]
    if sys.stdout is sys.__stdout__:
        sys.stdout = _guarded(sys.stdout, 1, is_closed=is_closed[1])
    if sys.stderr is sys.__stderr__:
        sys.stderr = _guarded(sys.stderr, 2, is_closed=is_closed[2])


def stream_fault(stream: TextIO) -> OSError | None:
    """Flush a guarded stream and return why something written to it is lost, None where nothing is."""
    stream.flush()
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    return raw.fault if isinstance(raw, _Descriptor) else None


def _occupy(descriptor: int) -> bool:
    """Put /dev/null where a descriptor is closed; return whether it was."""
    try:
        os.fstat(descriptor)
    except OSError:
        null = os.open(os.devnull, os.O_RDWR)  # the lowest that is free: `descriptor` or one below it
        os.set_inheritable(null, True)
        return True
    return False


def _guarded(stream: TextIO | None, descriptor: int, *, is_closed: bool) -> io.TextIOWrapper:
    errors = "backslashreplace"  # a name that the terminal cannot show is not a reason to fail
    if not isinstance(stream, io.TextIOWrapper):  # Python gives None where the descriptor was closed
        return io.TextIOWrapper(io.BufferedWriter(_Descriptor(descriptor, is_closed=True)), "utf-8", errors)
    return io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(descriptor, is_closed=is_closed)),
        encoding=stream.encoding,
        errors=errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
