"""Small media files with known content, and both sources of ffmpeg."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import imageio_ffmpeg
import numpy as np
import pytest

from fmltk.toolkit.media.process import FFMPEG_VARIABLE, find_ffmpeg
from tests.ffmpeg import run_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

WIDTH, HEIGHT, CELL = 64, 48, 16  # a picture holds its number as 12 bits: 4 x 3 cells, black or white


class NumberedPictures:
    """Pictures that hold their own number below 4096, and files of them."""

    @staticmethod
    def draw(number: int) -> NDArray[np.uint8]:
        """Return the picture of a number."""
        bits = np.array([(number >> bit) & 1 for bit in range(12)], dtype=np.uint8).reshape(3, 4)
        return np.repeat(np.kron(bits * 255, np.ones((CELL, CELL), dtype=np.uint8))[:, :, None], 3, axis=2)

    @staticmethod
    def number(picture: NDArray[np.uint8]) -> int:
        """Return the number that a picture holds."""
        cells = picture.mean(axis=2).reshape(3, CELL, 4, CELL).mean(axis=(1, 3)) > 127
        return sum(1 << bit for bit, on in enumerate(cells.ravel()) if on)

    def write(self, path: Path, times: Sequence[Fraction | int], *, codec: str = "libx264", **options: str) -> None:
        """Write picture 0, 1, 2, ... each at its time in seconds (to 1/90000 s; Matroska keeps 1/1000 s)."""
        with av.open(str(path), "w") as container:
            rate = Fraction(len(times) - 1) / Fraction(times[-1] - times[0])
            stream = container.add_stream(codec, rate=rate.limit_denominator(1001), options=options)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, 90_000)
            for number, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(self.draw(number), format="rgb24")
                frame.pts, frame.time_base = round(time * 90_000), Fraction(1, 90_000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


@pytest.fixture(scope="session")
def numbered() -> NumberedPictures:
    """Pictures that hold their own number."""
    return NumberedPictures()


@pytest.fixture(params=[pytest.param("system", marks=pytest.mark.system_ffmpeg), "package"])
def both_ffmpegs(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """Runs a test with the ffmpeg on PATH, a link to the package's where there is none, and with imageio-ffmpeg's."""
    package = imageio_ffmpeg.get_ffmpeg_exe()
    if request.param == "package":
        monkeypatch.setenv(FFMPEG_VARIABLE, package)
    else:
        monkeypatch.delenv(FFMPEG_VARIABLE, raising=False)
        if shutil.which("ffmpeg") is None:
            folder = tmp_path_factory.mktemp("path")
            (folder / "ffmpeg").symlink_to(package)
            monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return find_ffmpeg().path


@pytest.fixture(scope="session")
def talking_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds at 25 fps, 160x120, with a tone: an ordinary small mp4."""
    path = tmp_path_factory.mktemp("media") / "clip.mp4"
    source = ["-f", "lavfi", "-i", "testsrc=s=160x120:r=25:d=2", "-f", "lavfi", "-i", "sine=r=44100:d=2"]
    run_ffmpeg(*source, "-pix_fmt", "yuv420p", "-c:v", "libx264", "-c:a", "aac", "-movflags", "+faststart", path)
    return path
