"""The ffmpeg that the program itself finds, to make test files with: a machine may have none on PATH."""

from __future__ import annotations

import shutil
import subprocess
from importlib import resources
from pathlib import Path

import av

from fmltk.toolkit.media.process import find_ffmpeg

DEMO = Path(str(resources.files("fmltk.toolkit").joinpath("demo")))


def run_ffmpeg(*arguments: object) -> None:
    """Run ffmpeg with the given arguments; a file that is there is written over."""
    argv = [find_ffmpeg().path, "-nostdin", "-v", "error", "-y", *map(str, arguments)]
    subprocess.run(argv, check=True)


def cut_clip(source: Path, target: Path, *, start_s: float, seconds: float) -> None:
    """Write a piece of a clip, encoded again so that it starts and ends where it should."""
    target.parent.mkdir(parents=True, exist_ok=True)
    piece = ("-ss", start_s, "-t", seconds, "-i", source)
    run_ffmpeg(*piece, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", target)


def copy_turned(source: Path, target: Path, angle: int) -> None:
    """Copy the picture of a video with the note that players turn it clockwise by `angle` degrees."""
    with av.open(str(source)) as stored, av.open(str(target), "w") as copy:
        stream = copy.add_stream_from_template(stored.streams.video[0])
        stream.set_display_rotation(-angle)
        for packet in stored.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                copy.mux(packet)


def copy_short_demo(folder: Path) -> None:
    """Copy what the demo bundles into `folder`, with half a second of each clip: an eighth of its cost."""
    shutil.copytree(DEMO, folder, dirs_exist_ok=True)
    for source in DEMO.glob("videos/*/*.mp4"):
        cut_clip(source, folder / source.relative_to(DEMO), start_s=0.2, seconds=0.5)
