"""External programs: the only module that starts any (ffmpeg, OpenFace).

Every program is given an argv list (never a shell string), no stdin, a session of its own and a limit on the time spent
waiting for it. When the caller stops early, fails or is interrupted, the program's whole process group is killed. When
the caller itself is killed, a program that writes to it ends because its pipe is closed; those of `run_program` also by
the kernel's parent-death signal (Linux).
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import re
import resource
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn, Self, cast

from fmltk.toolkit.errors import ConfigError, ProcessError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import TracebackType

FFMPEG_VARIABLE = "FMLTK_FFMPEG"

# Demuxers that read one file and nothing else. A protocol whitelist alone lets a playlist or a concat script that is
# named .mp4 open other local files.
FORMAT_WHITELIST = "mov,matroska,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,mxf,dv,rm,nut,wav,mp3,flac"
PROTOCOL_WHITELIST = "file,pipe"

STDERR_KEPT_BYTES = 65_536
STDERR_LINES = 3
STDERR_LINE_CHARACTERS = 240
PIPE_BYTES = 1_048_576  # Linux's default limit for an unprivileged user (fs.pipe-max-size)
CPU_LIMIT_MARGIN_S = 120  # beyond the time limit; only an orphaned program ever reaches it
KILL_WAIT_S = 10.0

# What ffmpeg adds after the line that says what went wrong.
_CONSEQUENCE = re.compile(
    r"Last message repeated|Terminating thread with return code|Task finished with error code|Conversion failed!"
    r"|Nothing was written into output file|Error opening input files|Error marking filters as finished"
    r"|Error (while|submitting packet to) dec|Decode error rate|Error sending frames to consumers"
    r"|Cannot determine format of input stream|Error binding filtergraph"
)

# Run by the child before the program: the kernel kills it when its parent dies. Unlike preexec_fn this is safe beside
# threads. The parent's id is compared because the parent may have died before prctl.
_DIE_WITH_PARENT = (
    "import ctypes, os, sys\n"
    "ctypes.CDLL(None).prctl(1, 9)\n"
    "if os.getppid() != int(sys.argv[1]): sys.exit(1)\n"
    "try: os.execvp(sys.argv[2], sys.argv[2:])\n"
    "except OSError as error: sys.exit(f'{sys.argv[2]}: {error.strerror}')\n"
)


@dataclass(frozen=True, slots=True)
class FFmpeg:
    """An ffmpeg program: its path, and its version as it states it ("5.1.9-0+deb12u1", "n9.0.2-17-g2a571b6068")."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class ProgramResult:
    """What a program that ended well wrote: stdout as bytes, the last 64 KB of stderr as text."""

    stdout: bytes
    stderr: str


def find_ffmpeg() -> FFmpeg:
    """Return the ffmpeg to use: FMLTK_FFMPEG, else the one on PATH, else that of the package imageio-ffmpeg.

    Raises ConfigError if there is none, or FMLTK_FFMPEG names a file that is no ffmpeg.
    """
    chosen = os.environ.get(FFMPEG_VARIABLE)
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise ConfigError(f"{FFMPEG_VARIABLE} is {chosen!r}, which is no program; give the path of an ffmpeg")
        return _ask_version(str(Path(found).absolute()))
    found = shutil.which("ffmpeg")
    if found is not None:
        return _ask_version(str(Path(found).absolute()))
    try:
        import imageio_ffmpeg

        return _ask_version(str(imageio_ffmpeg.get_ffmpeg_exe()))
    except (ImportError, RuntimeError) as error:
        raise ConfigError(
            "no ffmpeg was found; install it with your system's packages, or `pip install 'fmltk[ffmpeg]'`, "
            f"or set {FFMPEG_VARIABLE} to its path"
        ) from error


@functools.lru_cache(maxsize=8)
def _ask_version(path: str) -> FFmpeg:
    try:
        answer = run_program([path, "-version"], timeout_s=60, what="ffmpeg -version").stdout.decode(errors="replace")
    except ProcessError as error:
        raise ConfigError(f"{path!r} does not work as ffmpeg: {error}") from error
    match = re.match(r"ffmpeg version (\S+)", answer)
    if match is None:
        raise ConfigError(f"{path!r} is no ffmpeg: its -version answered {answer[:80]!r}")
    return FFmpeg(path=path, version=match[1])


def file_url(path: Path) -> str:
    """Return the path as ffmpeg takes any name: absolute, behind ``file:``, so that no dash or colon is an option.

    >>> file_url(Path("/clips/-a:b.mp4"))
    'file:/clips/-a:b.mp4'
    """
    return f"file:{path.absolute()}"


# One thread (the same bytes everywhere, and one core per worker), no console, nothing on stderr but errors.
QUIET_OPTIONS: dict[str, object] = {"nostdin": None, "loglevel": "error", "filter_complex_threads": 1, "threads": 1}


def input_guards(*, max_pixels: int) -> dict[str, str]:
    """Return the options that go before ``-i``, and into PyAV: what a file may be and how large its pictures.

    Decoders compare the limit with sizes that they have rounded up to their blocks, so they are given a little more.
    """
    return {
        "protocol_whitelist": PROTOCOL_WHITELIST,
        "format_whitelist": FORMAT_WHITELIST,
        "max_pixels": str(max_pixels * 5 // 4 + 65_536),
    }


def run_program(
    argv: Sequence[str],
    *,
    timeout_s: float,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    hide: Sequence[Path] = (),
) -> ProgramResult:
    r"""Run a program to its end and return what it wrote.

    Parameters
    ----------
    argv : the program and its arguments
    timeout_s : the longest it may take, in seconds
    what : how an error names it, for example "OpenFace on clip.mp4"
    cwd : its working directory; by default a fresh temporary folder, removed afterwards
    env : variables added to the environment
    hide : folders that errors leave out of paths, so that a message is the same wherever the files lie

    Raises ProcessError if it cannot be started, does not end in time (its process group is killed), or ends with a
    status other than 0; the message carries the last lines of its stderr, or of its stdout where stderr is empty.

    >>> run_program(["echo", "hello"], timeout_s=10, what="echo").stdout
    b'hello\n'
    """
    with contextlib.ExitStack() as stack:
        folder = cwd or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fmltk-")))
        command = list(argv)
        if sys.platform == "linux":
            command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        program = stack.enter_context(
            Program(command, timeout_s=timeout_s, what=what, cwd=folder, env=env, hide=[*hide, folder])
        )
        blocks = []
        while block := program.read(PIPE_BYTES):
            blocks.append(block)
        try:
            stderr = program.finish()
        except ProcessError as error:
            said = b"".join(blocks)[-STDERR_KEPT_BYTES:].decode("utf-8", errors="replace")
            tail = stderr_tail(said, folders=[str(path) for path in (*hide, folder)])
            if program.stderr.strip() or not tail:
                raise
            raise ProcessError(f"{error}; it said: {tail}") from error
    return ProgramResult(stdout=b"".join(blocks), stderr=stderr)


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
        environment = {key: value for key, value in os.environ.items() if key != "FFREPORT"}
        environment |= {"LC_ALL": "C.UTF-8", "AV_LOG_FORCE_NOCOLOR": "1", **(env or {})}
        try:
            self._process = subprocess.Popen(
                list(argv),
                bufsize=0,
                stdin=subprocess.PIPE if feed else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=environment,
                start_new_session=True,
            )
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
            limit = int(self._timeout_s * (os.cpu_count() or 1)) + CPU_LIMIT_MARGIN_S
            with contextlib.suppress(OSError, ValueError):  # gone already, or a lower limit is in force
                resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (limit, limit))

    def _said(self) -> str:
        tail = stderr_tail(self.stderr, folders=self._hidden, process_id=self._process.pid)
        return f"; it said: {tail}" if tail else ""


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
