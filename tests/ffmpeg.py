"""The ffmpeg that the program itself finds, to make test files with: a machine may have none on PATH."""

from __future__ import annotations

import subprocess

from fmltk.toolkit.media.process import find_ffmpeg


def run_ffmpeg(*arguments: object) -> None:
    """Run ffmpeg with the given arguments; a file that is there is written over."""
    argv = [find_ffmpeg().path, "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(argv, check=True)
