"""Other processes: on a terminal, waiting for them, finding them in /proc (not every machine has ps and pkill).

No test fails because the machine is busy: it waits for a condition, and the only limits are LIMIT_S and pytest's own,
which end a test that hangs.
"""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LIMIT_S = 900.0  # below pytest's own limit (pyproject.toml), so that the test itself says what did not happen
FOREVER_S = 3600.0  # how long a program sleeps that is to be stopped: longer than any limit


def wait_until(condition: Callable[[], object], *, every_s: float = 0.02) -> bool:
    """Return True as soon as the condition holds, and False if it does not within LIMIT_S."""
    end = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(every_s)
    return True


@contextmanager
def one_core() -> Iterator[None]:
    """Let this process, and what it starts, see one core: a program that starts a worker per core then starts one.

    Starting a worker costs seconds of imports, and a machine may have many cores.
    """
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    if before is not None:
        os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        if before is not None:
            os.sched_setaffinity(0, before)


def on_terminal(argv: Sequence[str], *, width: int = 80, **environment: str) -> tuple[int, str]:
    """Run a program on a terminal; return its exit code and what appears there, escape sequences and all."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR", "FORCE_COLOR")}
    env = {**kept, "TERM": "xterm-256color", **environment}
    process = subprocess.Popen(argv, stdin=follower, stdout=follower, stderr=follower, env=env)
    os.close(follower)
    written = b""
    while True:
        try:
            block = os.read(leader, 65_536)
        except OSError:  # the terminal's other end is closed
            break
        if not block:
            break
        written += block
    os.close(leader)
    return process.wait(), written.decode()


def is_alive(process_id: int) -> bool:
    """Whether a thread of the process runs; one that has ended and waits to be collected does not."""
    return any(_state(stat)[0] not in "ZX" for stat in Path(f"/proc/{process_id}/task").glob("*/stat"))


def child_ids(parent: int) -> set[int]:
    """Return the processes that `parent` has started and not yet collected."""
    return {process_id for process_id, (_, its_parent, *_) in _processes() if int(its_parent) == parent}


def session_ids(leader: int) -> set[int]:
    """Return the processes of a session that have not ended."""
    found = {process_id for process_id, (_, _, _, session, *_) in _processes() if int(session) == leader}
    return {process_id for process_id in found if is_alive(process_id)}


def kill_session(leader: int) -> None:
    """Kill every process of a session at once."""
    for process_id in session_ids(leader):
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)


def command_line(process_id: int) -> str:
    """Return the program and its arguments, joined by spaces; "" if the process has ended."""
    with suppress(OSError):
        return Path(f"/proc/{process_id}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    return ""


def _processes() -> list[tuple[int, list[str]]]:
    """Return every process of the machine: its id, and its state, parent, group and session."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("finds processes in /proc, which this system does not have")
    found = [(int(stat.parent.name), _state(stat)) for stat in Path("/proc").glob("[0-9]*/stat")]
    return [one for one in found if one[1][0] != "X"]


def _state(stat: Path) -> list[str]:
    """Return the fields of a stat file that follow the program's name; ["X"] if the process has ended."""
    with suppress(OSError):
        return stat.read_text(errors="replace").rpartition(")")[2].split()
    return ["X"]
