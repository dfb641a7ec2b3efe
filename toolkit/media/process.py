"""Finding ffmpeg, guarding what it opens, and running a program to its end.

When the caller itself is killed, a program that writes to it ends because its pipe is closed; those of `run_program`
also by the kernel's parent-death signal (Linux).
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError, ProcessError
from fmltk.toolkit.media.program import PIPE_BYTES, STDERR_KEPT_BYTES, Program, stderr_tail

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FFMPEG_VARIABLE = "FMLTK_FFMPEG"

# Demuxers that read one file and nothing else. A protocol whitelist alone lets a playlist or a concat script that is
# named .mp4 open other local files.
FORMAT_WHITELIST = "mov,matroska,avi,mpeg,mpegts,mpegvideo,flv,asf,ogg,mxf,dv,rm,nut,wav,mp3,flac"
PROTOCOL_WHITELIST = "file,pipe"

# Run by the child before the program: the kernel kills it when its parent dies. Unlike preexec_fn this is safe with
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
    """The output of a program that ended well: stdout as bytes, the last 64 KB of stderr as text."""

    stdout: bytes
    stderr: str


def find_ffmpeg() -> FFmpeg:
    """Return the ffmpeg to use: FMLTK_FFMPEG, else the one on PATH, else that of the package imageio-ffmpeg.

    Raises ConfigError if there is none, or FMLTK_FFMPEG names a file that is not an ffmpeg.
    """
    chosen = os.environ.get(FFMPEG_VARIABLE)
    if chosen:
        found = shutil.which(chosen)
        if found is None:
            raise ConfigError(f"{FFMPEG_VARIABLE} is {chosen!r}, which is not a program; give the path of an ffmpeg")
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
        raise ConfigError(f"{path!r} is not an ffmpeg: its -version answered {answer[:80]!r}")
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
