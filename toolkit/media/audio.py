"""Sound as mono float samples on the file's clock."""

from __future__ import annotations

import math
import struct
import tempfile
import wave
from dataclasses import dataclass
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
BLOCK_FRAMES = 131_072  # sampling moments, each of as many samples as there are channels
_AU_HEADER = struct.Struct(">4s5I")  # magic, length of the header, bytes of sound, encoding, rate, channels
MAX_DRIFT_S = 0.004  # sound follows its time stamps to this; rounded stamps (1 ms in Matroska) stay within it
CANCELLED = 0.01  # the mean of the channels has less than this share of their own power: they are in antiphase

VIDEO_SOUND_RATE_HZ = 44_100  # of the sound of videos that are written

MIN_TIMEOUT_S = 120.0
TIMEOUT_PER_SECOND = 2.0  # of decoded sound


@dataclass(frozen=True, slots=True)
class Sound:
    """The sound of a file or a part of it, mixed to one channel.

    Attributes
    ----------
    samples
        float32, shape (n_samples,), full scale 1 (lossy codecs overshoot it a little); more than 60 s come as a
        read-only memory map of a temporary file that has no name and goes with the array.
    cancelled
        Whether the channels are in antiphase, so that their mean is nearly silent although they are not.
    source_rate_hz, n_channels
        Samples per second and channels before they were mixed and resampled, as the decoder gives them.
    """

    samples: NDArray[np.float32]
    cancelled: bool
    source_rate_hz: int = 0
    n_channels: int = 0


def read_audio(
    path: Path,
    *,
    info: MediaInfo,
    start_s: float = 0.0,
    end_s: float | None = None,
    rate_hz: int = AUDIO_RATE_HZ,
    timeout_s: float | None = None,
) -> Sound:
    """Return the sound of a file as ``librosa.load`` gives it: the mean of the channels, resampled by soxr_hq.

    Sample k is the sound at ``start_s + k / rate_hz`` (a part is cut at the sound's own sampling rate, as an editor
    cuts, and resampled by itself). Every sample lies within 5 ms of its time stamp: sound that starts late is preceded
    by silence, gaps are filled with silence, overlaps are trimmed. Sound that outlasts the picture is kept whole. A
    part is always decoded from the file's start (under 1 ms per second skipped): decoders that synthesise noise (AAC,
    AC-3) give other samples when they start in the middle.

    Parameters
    ----------
    path, info : the file, and what `probe_media` says of it
    start_s, end_s : the part to read, in seconds on the file's clock; None is the end of the sound
    rate_hz : samples per second
    timeout_s : the longest to wait for ffmpeg, in all; by default 2 s per second decoded, at least 120 s

    Raises MissingModalityError if there is no audio (in that part), UnreadableMediaError if clearly less can be decoded
    than the file holds, ProcessError if ffmpeg fails or hangs, MediaError if the part is empty or there is no room for
    the temporary file.
    """
    if not info.has_audio:
        raise MissingModalityError(f"{path.name!r}: {info.audio_note}")
    if not 0 <= start_s < math.inf or (end_s is not None and not end_s > start_s):
        raise MediaError(f"{path.name!r}: the part from {start_s} s to {end_s} s is empty; end_s must be after start_s")
    last_s = info.audio_end_s if end_s is None else min(end_s, info.audio_end_s)
    if start_s >= last_s:
        raise MissingModalityError(
            f"{path.name!r}: the file has no audio after {start_s:g} s; it ends at {info.audio_end_s:.2f} s"
        )
    argv = _audio_command(path, info, start_s=start_s, end_s=None if end_s is None else last_s)
    limit_s = timeout_s or max(MIN_TIMEOUT_S, TIMEOUT_PER_SECOND * last_s)
    with Program(argv, timeout_s=limit_s, what=f"ffmpeg on the audio of {path.name!r}", hide=[path.parent]) as program:
        sound = _decode(program, rate_hz=rate_hz, spool=last_s - start_s > SPOOL_FROM_S, name=path.name)
        program.finish()
    length_s = len(sound.samples) / rate_hz
    if length_s == 0:
        raise UnreadableMediaError(f"{path.name!r}: nothing of its audio could be decoded; the file is damaged")
    if is_clearly_short(length_s, last_s - start_s):
        raise UnreadableMediaError(
            f"{path.name!r}: only {length_s:.2f} of {last_s - start_s:.2f} s of audio could be decoded; the file is "
            "damaged"
        )
    return sound


def write_sound(path: Path, samples: NDArray[np.float32], *, rate_hz: int = VIDEO_SOUND_RATE_HZ) -> None:
    """Write mono sound, float32 (n_samples,) of full scale 1, as a WAV of 16 bits; what is louder is clipped."""
    with path.open("wb") as file, wave.open(file, "wb") as recording:
        recording.setnchannels(1)
        recording.setsampwidth(2)
        recording.setframerate(rate_hz)
        recording.writeframes(np.rint(np.clip(samples, -1, 1) * 32_767).astype("<i2").tobytes())


def _decode(program: Program, *, rate_hz: int, spool: bool, name: str) -> Sound:
    header = _read_header(program)
    if header is None:
        return Sound(np.empty(0, dtype=np.float32), cancelled=False)
    own_rate_hz, n_channels = header
    mixer = _Mixer()
    blocks = _resampled(mixer.blocks(program, n_channels), from_hz=own_rate_hz, to_hz=rate_hz)
    samples = _collect(blocks, spool=spool, name=name)
    return Sound(samples, mixer.cancelled, own_rate_hz, n_channels)


def _read_header(program: Program) -> tuple[int, int] | None:
    """Return the sampling rate and the number of channels of what ffmpeg writes; None where it writes nothing."""
    header = program.read(_AU_HEADER.size)
    if len(header) < _AU_HEADER.size:
        return None
    _, n_bytes, _, _, rate_hz, n_channels = _AU_HEADER.unpack(header)
    program.read(n_bytes - _AU_HEADER.size)
    return rate_hz, n_channels


class _Mixer:
    """The mean of interleaved channels, block by block, and whether they cancel each other."""

    def __init__(self) -> None:
        self._power = self._mixed_power = 0.0

    @property
    def cancelled(self) -> bool:
        return self._mixed_power < CANCELLED**2 * self._power

    def blocks(self, program: Program, n_channels: int) -> Iterator[NDArray[np.float32]]:
        """Yield the samples that follow the header, mixed: float32, shape (n,)."""
        while True:
            block = np.empty((BLOCK_FRAMES, n_channels), dtype=">f4")
            n_frames = program.read_into(block.data.cast("B")) // (block.itemsize * n_channels)
            if n_frames == 0:
                return
            channels = block[:n_frames].astype(np.float32)
            mixed = channels[:, 0] if n_channels == 1 else channels.mean(axis=1)
            self._power += float(np.vdot(channels, channels)) / n_channels
            self._mixed_power += float(np.vdot(mixed, mixed))
            yield mixed


def _resampled(blocks: Iterator[NDArray[np.float32]], *, from_hz: int, to_hz: int) -> Iterator[NDArray[np.float32]]:
    """Yield sound at another rate, as ``librosa.resample`` gives it of the whole (its default, soxr_hq)."""
    if from_hz == to_hz:
        yield from blocks
        return
    import soxr

    stream = soxr.ResampleStream(from_hz, to_hz, 1, dtype="float32", quality="HQ")
    n_in = n_out = 0
    for block in blocks:
        n_in += len(block)
        resampled = stream.resample_chunk(block)
        n_out += len(resampled)
        yield resampled
    n_left = max(math.ceil(n_in * (to_hz / from_hz)) - n_out, 0)  # librosa pads or cuts to this length
    rest = stream.resample_chunk(np.empty(0, np.float32), last=True)[:n_left]
    yield np.pad(rest, (0, n_left - len(rest)))


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
                f"{name!r}: no room for its audio in {tempfile.gettempdir()!r} ({error.strerror}); "
                "free some, or set TMPDIR to another folder"
            ) from error
        if n_samples == 0:
            return np.empty(0, dtype=np.float32)
        return np.memmap(file, dtype=np.float32, mode="r", shape=(n_samples,))


def _audio_command(path: Path, info: MediaInfo, *, start_s: float, end_s: float | None) -> list[str]:
    """Return the command that writes the sound of a part, all channels at their own rate, as a .au stream of floats.

    That format has a header of fixed length, which says what the decoder gave: containers are sometimes wrong about it.
    """
    source = ffmpeg.input(file_url(path), **input_guards(max_pixels=info.max_pixels), **QUIET_OPTIONS)
    sound = source[str(info.audio_index)]
    if info.resets_clock and info.audio_start_s > 0:
        sound = sound.filter("asetpts", f"PTS+({info.audio_start_s:.9f})/TB")
    timing = {"async": 1, "first_pts": 0, "min_hard_comp": MAX_DRIFT_S}  # a dict: "async" is a keyword of Python
    sound = sound.filter("aresample", **timing)
    if end_s is None and info.container == "mov":
        end_s = info.audio_end_s  # without what fills up the last packet
    if end_s is not None:
        end_s = max(end_s, start_s + 1 / (info.audio_rate_hz or AUDIO_RATE_HZ))  # one sample at least
    part = {"start": f"{start_s:.6f}"} | ({} if end_s is None else {"end": f"{end_s:.6f}"})
    output = sound.filter("atrim", **part).output("pipe:1", format="au", acodec="pcm_f32be", threads=1)
    return list(ffmpeg.compile(output, cmd=find_ffmpeg().path))
