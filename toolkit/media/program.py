"""A running external program: the only module that starts any (ffmpeg, OpenFace).

Every program is given an argv list (never a shell string), no stdin unless it is fed, a session of its own and a limit
on the time spent waiting for it. When the caller stops early, fails or is interrupted, the program's whole process
group is killed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
import selectors
import signal
import subprocess
import sys
import time
from typing import IO, TYPE_CHECKING, NoReturn, Self, cast

from fmltk.toolkit.errors import ProcessError
from fmltk.toolkit.machine import n_cores

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

STDERR_KEPT_BYTES = 65_536
STDERR_LINES = 3
STDERR_LINE_CHARACTERS = 240
PIPE_BYTES = 1_048_576  # Linux's default limit for an unprivileged user (fs.pipe-max-size)
CPU_LIMIT_MARGIN_S = 120  # beyond the time limit; only an orphaned program ever reaches it
KILL_WAIT_S = 10.0

# Lines that ffmpeg adds after the one that says what went wrong.
_CONSEQUENCE = re.compile(
    r"Last message repeated|Terminating thread with return code|Task finished with error code|Conversion failed!"
    r"|Nothing was written into output file|Error opening input files|Error marking filters as finished"
    r"|Error (while|submitting packet to) dec|Decode error rate|Error sending frames to consumers"
    r"|Cannot determine format of input stream|Error binding filtergraph"
)


class Program:
    """A running program whose stdout is read, or whose stdin is written, piece by piece; a context manager.

    `timeout_s` bounds the total time spent waiting for the program, not the time its caller takes between two reads.
    Leaving the context kills the program's process group if it still runs. Any method raises ProcessError when the time
    is spent; `finish` also when the program failed.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        timeout_s: float,
        what: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        hide: Sequence[Path] = (),
        feed: bool = False,
    ) -> None:
        self._what = what
        self._hidden = [str(folder.absolute()) for folder in hide]
        self._timeout_s = timeout_s
        self._left_s = timeout_s
        self._stderr = b""
        try:
            self._process = _start(argv, cwd=cwd, env=env or {}, feed=feed)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ProcessError(f"{what}: {argv[0]!r} could not be started: {reason}") from error
        self._limit_orphan()
        self._selector = selectors.DefaultSelector()
        for pipe in (self._process.stdout, self._process.stderr, self._process.stdin):
            if pipe is not None:
                os.set_blocking(pipe.fileno(), False)
                if sys.platform == "linux":
                    with contextlib.suppress(OSError):
                        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self._stdout = cast("IO[bytes]", self._process.stdout)
        self._stdin = self._process.stdin
        self._selector.register(self._stdout, selectors.EVENT_READ)
        self._selector.register(cast("IO[bytes]", self._process.stderr), selectors.EVENT_READ)

    def __enter__(self) -> Self:
        """Return the program."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Kill the program if it still runs, and close its pipes."""
        self._kill()
        self._selector.close()
        for pipe in (self._process.stdout, self._process.stderr, self._process.stdin):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def read_into(self, buffer: memoryview) -> int:
        """Fill the buffer from stdout; return the number of bytes, fewer than its length only at the end of stdout."""
        filled = 0
        while filled < len(buffer):
            try:
                count = os.readv(self._stdout.fileno(), [buffer[filled:]])
            except BlockingIOError:
                self._wait()
                continue
            if count == 0:
                break
            filled += count
        return filled

    def read(self, n_bytes: int) -> bytes:
        """Return the next `n_bytes` of stdout, fewer only at its end."""
        buffer = bytearray(n_bytes)
        filled = self.read_into(memoryview(buffer))
        return bytes(buffer[:filled])

    def write(self, data: memoryview) -> bool:
        """Write all of `data` (bytes) to stdin; return False where the program has stopped reading."""
        if self._stdin is None:
            raise ValueError("this program was started without feed=True")
        self._selector.register(self._stdin, selectors.EVENT_WRITE)
        try:
            while len(data) > 0:
                try:
                    data = data[os.write(self._stdin.fileno(), data) :]
                except BlockingIOError:
                    self._wait()
        except BrokenPipeError:
            return False
        finally:
            self._selector.unregister(self._stdin)
        return True

    def finish(self) -> str:
        """Close stdin, let what is left of stdout go, wait for the end; return stderr's last 64 KB.

        Raises ProcessError if the status is not 0 or the time is spent.
        """
        if self._stdin is not None:
            self._stdin.close()
        while self._selector.get_map():
            self._wait(drain=True)
        try:
            status = self._process.wait(timeout=max(self._left_s, 0.1))
        except subprocess.TimeoutExpired:
            self._stop_late()
        if status != 0:
            ended = f"ended with status {status}" if status > 0 else f"was killed by {signal.Signals(-status).name}"
            raise ProcessError(f"{self._what} {ended}{self._said()}")
        return self.stderr

    @property
    def process_id(self) -> int:
        """The program's process id, which is its process group's too."""
        return self._process.pid

    @property
    def stderr(self) -> str:
        """The last 64 KB of stderr that were taken in so far."""
        return self._stderr.decode("utf-8", errors="replace")

    def _wait(self, *, drain: bool = False) -> None:
        """Wait until a pipe is ready, taking in what stderr holds; with `drain`, throw away what stdout holds."""
        started = time.monotonic()
        ready = self._selector.select(max(self._left_s, 0))
        self._left_s -= time.monotonic() - started
        if not ready:
            self._stop_late()
        for key, _ in ready:
            if key.fileobj is self._stdin or (key.fileobj is self._stdout and not drain):
                continue
            with contextlib.suppress(BlockingIOError):
                data = os.read(key.fd, STDERR_KEPT_BYTES)
                if not data:
                    self._selector.unregister(key.fileobj)
                elif key.fileobj is not self._stdout:
                    self._stderr = (self._stderr + data)[-STDERR_KEPT_BYTES:]

    def _stop_late(self) -> NoReturn:
        self._kill()
        raise ProcessError(f"{self._what} did not end within {self._timeout_s:g} s and was stopped{self._said()}")

    def _kill(self) -> None:
        """Kill the process group, unless the program has already been waited for (its id may be another's by now)."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=KILL_WAIT_S)

    def _limit_orphan(self) -> None:
        """Bound the program's CPU time: where its caller is killed and the program writes nothing, it still ends."""
        if sys.platform == "linux":
            limit = int(self._timeout_s * n_cores()) + CPU_LIMIT_MARGIN_S
            with contextlib.suppress(OSError, ValueError):  # gone already, or a lower limit is in force
                resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (limit, limit))

    def _said(self) -> str:
        tail = stderr_tail(self.stderr, folders=self._hidden, process_id=self._process.pid)
        return f"; it said: {tail}" if tail else ""


def _start(argv: Sequence[str], *, cwd: Path | None, env: Mapping[str, str], feed: bool) -> subprocess.Popen[bytes]:
    environment = {key: value for key, value in os.environ.items() if key != "FFREPORT"}
    environment |= {"LC_ALL": "C.UTF-8", "AV_LOG_FORCE_NOCOLOR": "1", **env}
    return subprocess.Popen(
        list(argv),
        bufsize=0,
        stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=cwd,
        env=environment,
        start_new_session=True,
    )


def stderr_tail(text: str, *, folders: Sequence[str] = (), process_id: int | None = None) -> str:
    r"""Return the last three lines that say something, joined by " | ", without what differs from run to run.

    Removed: memory addresses (ffmpeg's ``@ 0x55..``), the given folders, the process id, colours, repetitions, and the
    lines in which ffmpeg only says that it stops, where another line says why.

    >>> stderr_tail("[mov @ 0x55d0c0ffee00] moov atom not found\nfile:/tmp/a.mp4: Invalid data\n", folders=["/tmp"])
    '[mov] moov atom not found | file:a.mp4: Invalid data'
    """
    text = re.sub(r" ?@ 0x[0-9a-fA-F]+", "", text)
    text = re.sub(r"\b0x[0-9a-fA-F]{6,}\b", "0x", text)
    text = re.sub(r"\x1b\[[0-9;]*m", "", text)
    for folder in folders:
        text = re.sub(re.escape(folder.rstrip("/")) + r"/?", "", text)
    if process_id is not None:
        text = re.sub(rf"\b{process_id}\b", "PID", text)
    lines: list[str] = []
    for line in re.split(r"[\r\n]+", text):
        said = line.strip()[:STDERR_LINE_CHARACTERS]
        if said and (not lines or lines[-1] != said):
            lines.append(said)
    causes = [line for line in lines if not _CONSEQUENCE.search(line)]
    return " | ".join((causes or lines)[-STDERR_LINES:])
