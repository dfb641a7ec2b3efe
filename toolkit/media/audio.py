"""Sound as mono float samples on the file's clock."""

from __future__ import annotations

import math
import tempfile
from typing import TYPE_CHECKING

import ffmpeg
import numpy as np

from fmltk.toolkit.errors import MediaError, MissingModalityError, UnreadableMediaError
from fmltk.toolkit.media.process import QUIET_OPTIONS, file_url, find_ffmpeg, input_guards
from fmltk.toolkit.media.program import Program
from fmltk.toolkit.media.refusal import is_clearly_short
from fmltk.toolkit.settings import AUDIO_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.toolkit.media.probe import MediaInfo

SPOOL_FROM_S = 60.0  # longer sound is kept in an unnamed temporary file, so that memory stays flat
BLOCK_SAMPLES = 262_144

MIN_TIMEOUT_S = 120.0
TIMEOUT_PER_SECOND = 2.0  # of decoded sound


def read_audio(
    path: Path,
    *,
    info: MediaInfo,
    start_s: float = 0.0,
    end_s: float | None = None,
    rate_hz: int = AUDIO_RATE_HZ,
    timeout_s: float | None = None,
) -> NDArray[np.float32]:
    """Return the sound of a file, mixed to one channel; sample k is the sound at ``start_s + k / rate_hz``.

    A sound that starts late is preceded by silence, gaps are filled with silence, and sound that outlasts the picture
    is kept whole. A part is always decoded from the file's start (under 1 ms per second skipped): decoders that
    synthesise noise (AAC, AC-3) give other samples when they start in the middle.

    Parameters
    ----------
    path, info : the file, and what `probe_media` says of it
    start_s, end_s : the part to read, in seconds on the file's clock, cut to the sample; None is the end of the sound
    rate_hz : samples per second
    timeout_s : the longest to wait for ffmpeg, in all; by default 2 s per second decoded, at least 120 s

    Returns
    -------
    float32 array, shape (n_samples,), range [-1, 1]; more than 60 s come as a read-only memory map of a temporary file
    that has no name and goes with the array

    Raises MissingModalityError if there is no sound (in that part), UnreadableMediaError if clearly less can be decoded
    than the file holds, ProcessError if ffmpeg fails or hangs, MediaError if the part is empty or there is no room for
    the temporary file.
    """
    if not info.has_audio:
        raise MissingModalityError(f"{path.name!r}: the file has no sound")
    if not 0 <= start_s < math.inf or (end_s is not None and not end_s > start_s):
        raise MediaError(f"{path.name!r}: the part from {start_s} s to {end_s} s is empty; end_s must be after start_s")
    last_s = info.audio_end_s if end_s is None else min(end_s, info.audio_end_s)
    if start_s >= last_s:
        raise MissingModalityError(
            f"{path.name!r}: the file has no sound after {start_s:g} s; it ends at {info.audio_end_s:.2f} s"
        )
    argv = _audio_command(path, info, start_s=start_s, end_s=last_s, rate_hz=rate_hz)
    limit_s = timeout_s or max(MIN_TIMEOUT_S, TIMEOUT_PER_SECOND * last_s)
    with Program(argv, timeout_s=limit_s, what=f"ffmpeg on the sound of {path.name!r}", hide=[path.parent]) as program:
        samples = _collect(_blocks(program), spool=last_s - start_s > SPOOL_FROM_S, name=path.name)
        program.finish()
    if len(samples) == 0:
        raise UnreadableMediaError(f"{path.name!r}: nothing of its sound could be decoded; the file is damaged")
    if is_clearly_short(len(samples) / rate_hz, last_s - start_s):
        raise UnreadableMediaError(
            f"{path.name!r}: only {len(samples) / rate_hz:.2f} of {last_s - start_s:.2f} s of sound could be decoded; "
            "the file is damaged"
        )
    return samples


def _blocks(program: Program) -> Iterator[NDArray[np.float32]]:
    while True:
        block = np.empty(BLOCK_SAMPLES, dtype="<f4")
        n_samples = program.read_into(block.data.cast("B")) // block.itemsize
        if n_samples == 0:
            return
        yield np.clip(block[:n_samples], -1.0, 1.0)  # lossy codecs overshoot


def _collect(blocks: Iterator[NDArray[np.float32]], *, spool: bool, name: str) -> NDArray[np.float32]:
    if not spool:
        return np.concatenate([np.empty(0, dtype=np.float32), *blocks])
    with tempfile.TemporaryFile(prefix="fmltk-") as file:
        n_samples = 0
        try:
            for block in blocks:
                file.write(block.data.cast("B"))
                n_samples += len(block)
            file.flush()
        except OSError as error:
            raise MediaError(
                f"{name!r}: no room for its sound in {tempfile.gettempdir()!r} ({error.strerror}); "
                "free some, or set TMPDIR to another folder"
            ) from error
        if n_samples == 0:
            return np.empty(0, dtype=np.float32)
        return np.memmap(file, dtype=np.float32, mode="r", shape=(n_samples,))


def _audio_command(path: Path, info: MediaInfo, *, start_s: float, end_s: float, rate_hz: int) -> list[str]:
    first = round(start_s * rate_hz)
    last = max(round(end_s * rate_hz), first + 1)
    source = ffmpeg.input(file_url(path), **input_guards(max_pixels=info.max_pixels), **QUIET_OPTIONS)
    sound = source[str(info.audio_index)]
    if info.resets_clock and info.audio_start_s > 0:
        sound = sound.filter("asetpts", f"PTS+({info.audio_start_s:.9f})/TB")
    # rematrix_maxval makes one channel the mean of two, as librosa's to_mono does, and not 1.4 times that.
    resampling = {"async": 1, "first_pts": 0, "rematrix_maxval": 1.0}  # a dict: "async" is a keyword of Python
    sound = sound.filter("aresample", rate_hz, **resampling)
    sound = sound.filter("aformat", sample_fmts="flt", channel_layouts="mono")
    sound = sound.filter("atrim", start_sample=first, end_sample=last)
    output = sound.output("pipe:1", format="f32le", acodec="pcm_f32le", threads=1)
    return list(ffmpeg.compile(output, cmd=find_ffmpeg().path))
