"""What a file holds: duration, picture, sound, and when each starts.

Nothing that a header declares is believed where the packets can be asked: the file's packets are read once, without
decoding them, and one frame is decoded.
"""

from __future__ import annotations

import errno
import functools
import re
import stat
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import av
import ffmpeg
import numpy as np

from fmltk.toolkit.errors import MediaLimitError, ProcessError, UnreadableMediaError
from fmltk.toolkit.media.process import QUIET_OPTIONS, Program, file_url, find_ffmpeg, input_guards
from fmltk.toolkit.settings import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SHORT_S = 0.5  # a file is cut off where more than this and more than SHORT_SHARE of its duration are missing
SHORT_SHARE = 0.1

_LIBAV_MAX_PIXELS = 2**28  # av_image_check_size
_TIMESTAMPS_JUMP = 0x0200  # AVFMT_TS_DISCONT: MPEG program and transport streams
_COVER_ART = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
_SEEKABLE_FORMATS = ("mov", "matroska")  # containers with an index of key frames
_OPEN_TIMEOUT_S = 60.0
_MAX_PADDING_S = 0.15  # two packets of 1024 samples at 16 kHz
_VFR_TOLERANCE = 0.1  # a gap that differs by more than a tenth from the usual one


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a media file holds. Times are seconds on the file's clock, whose zero is the start of its first stream.

    Attributes
    ----------
    duration_s : the later end of picture and sound, from the packets
    has_video, has_audio : whether there is a picture (cover art is none) and a sound
    fps : frames per second, averaged over the file; 0 without picture
    width, height : upright size in pixels, after `rotation`; 0 without picture
    rotation : clockwise degrees by which players turn the stored picture: 0, 90, 180 or 270
    vfr : whether frames are unevenly spaced (variable frame rate)
    video_start_s, video_end_s : when the picture starts and ends; 0 without picture
    last_frame_s : how long the last frame is shown; 0 without picture
    audio_start_s, audio_end_s : when the sound starts and ends; 0 without sound
    audio_rate_hz : the sound's own sampling rate; 0 without sound
    pixel_format, container : ffmpeg's names, such as "yuv420p" and "mov"
    video_index, audio_index : number of the stream in the file; None where absent
    seekable : whether decoding may start at a key frame found in the file's index
    resets_clock : whether ffmpeg counts time from the start of the stream it decodes, not of the file (MPEG streams)
    max_pixels : the limit under which the file was probed, which also holds for decoding it
    """

    duration_s: float
    has_video: bool
    has_audio: bool
    fps: float
    width: int
    height: int
    rotation: int
    vfr: bool
    video_start_s: float
    video_end_s: float
    last_frame_s: float
    audio_start_s: float
    audio_end_s: float
    audio_rate_hz: int
    pixel_format: str
    container: str
    video_index: int | None
    audio_index: int | None
    seekable: bool
    resets_clock: bool
    max_pixels: int


def probe_media(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> MediaInfo:
    """Return what the file holds. Reads all its packets, so the answer is kept while the file stays unchanged.

    Raises
    ------
    UnreadableMediaError
        It cannot be opened, is empty, is no video or sound, names other files to be played (a playlist or script), is
        cut off, or holds neither picture nor sound.
    MediaLimitError
        Its picture has more than `max_pixels` pixels.
    """
    check_readable(path)
    found = path.stat()
    return _probe_once(path, max_pixels, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@functools.lru_cache(maxsize=64)  # many clips of one long video are probed one after the other
def _probe_once(path: Path, max_pixels: int, _version: tuple[int, ...]) -> MediaInfo:
    try:
        with av.open(
            file_url(path),
            options=input_guards(max_pixels=max_pixels),
            timeout=_OPEN_TIMEOUT_S,
            metadata_errors="ignore",
        ) as container:
            return _describe(container, path, max_pixels)
    except av.error.FFmpegError as error:
        raise UnreadableMediaError(f"{path.name!r}: {_explain(path, error)}") from error


def check_readable(path: Path) -> None:
    """Raise UnreadableMediaError, with the reason, unless `path` is a file that can be read and is not empty."""
    name = path.name
    try:
        str(path.absolute()).encode()
    except UnicodeError as error:
        raise UnreadableMediaError(f"{name!r}: its name or folder is not valid UTF-8; rename it") from error
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise UnreadableMediaError(f"{name!r}: this is a folder; a video or sound file was expected")
        if not stat.S_ISREG(found.st_mode):
            raise UnreadableMediaError(f"{name!r}: this is no regular file (a pipe, socket or device)")
        path.open("rb").close()
    except OSError as error:
        if error.errno == errno.ELOOP:
            reason = "the symbolic link leads back to itself; link it to a file"
        elif error.errno == errno.ENOENT and path.is_symlink():
            reason = f"the symbolic link leads to {str(path.readlink())!r}, which does not exist"
        elif error.errno == errno.ENOENT:
            reason = "there is no such file"
        elif error.errno == errno.EACCES:
            reason = "there is no permission to read it; change its permissions (chmod +r)"
        else:
            reason = f"the file cannot be opened: {error.strerror}"
        raise UnreadableMediaError(f"{name!r}: {reason}") from error
    if found.st_size == 0:
        raise UnreadableMediaError(f"{name!r}: the file is empty (0 bytes)")


def _explain(path: Path, error: av.error.FFmpegError) -> str:
    """Say why libav refused the file, from its first bytes."""
    with path.open("rb") as file:
        head = file.read(4096)
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"#EXTM3U"):
        return "this is an HLS playlist, which names other files; give the video itself"
    if b"<MPD" in head:
        return "this is a DASH manifest, which names other files; give the video itself"
    if start.startswith(b"ffconcat") or start.startswith((b"file ", b"file\t")):
        return "this is a concat script, which names other files; give the videos themselves"
    if head[4:8] in (b"ftyp", b"mdat", b"wide", b"free", b"skip"):
        return (
            "no decoder can read it: the file is damaged or cut off (an mp4 or mov whose index, the moov atom, is "
            "missing); copy or record it again"
        )
    if not any(byte < 9 or 13 < byte < 27 for byte in head):
        return "this is text, not a video or sound file"
    return f"no decoder can read it ({error.strerror}); it is damaged, encrypted, or not a video or sound file"


def _describe(container: Any, path: Path, max_pixels: int) -> MediaInfo:
    pictures = [s for s in container.streams.video if not s.disposition & _COVER_ART]
    sounds = list(container.streams.audio)
    if not pictures and not sounds:
        raise UnreadableMediaError(f"{path.name!r}: the file holds neither picture nor sound")
    video, audio = (pictures or [None])[0], (sounds or [None])[0]
    if video is not None:
        _check_size(path, *_stored_size(video), max_pixels)
    rotation, scans = _scan(container, video, audio, path, max_pixels)
    if video is not None and rotation is None:
        _ask_ffmpeg(path, video.index, max_pixels)
    picture, sound = scans.get(getattr(video, "index", None)), scans.get(getattr(audio, "index", None))
    if picture is None and sound is None:
        raise UnreadableMediaError(f"{path.name!r}: the file holds no data after its header; it is cut off")
    zero_s = 0.0 if container.start_time is None else container.start_time / av.time_base
    width, height = _stored_size(video) if picture else (0, 0)
    if rotation in (90, 270):
        width, height = height, width
    name = container.format.name.split(",")[0]
    if sound is not None and name == "mov":
        sound = _without_padding(sound, audio)
    ends = [scan.end_s - zero_s for scan in (picture, sound) if scan is not None]
    if name in _SEEKABLE_FORMATS:
        _check_complete(container, path, max(ends))
    return MediaInfo(
        duration_s=max(ends),
        has_video=picture is not None,
        has_audio=sound is not None,
        fps=picture.fps if picture else 0.0,
        width=width,
        height=height,
        rotation=rotation or 0,
        vfr=picture.uneven if picture else False,
        video_start_s=max(picture.start_s - zero_s, 0.0) if picture else 0.0,
        video_end_s=picture.end_s - zero_s if picture else 0.0,
        last_frame_s=picture.last_s if picture else 0.0,
        audio_start_s=max(sound.start_s - zero_s, 0.0) if sound else 0.0,
        audio_end_s=sound.end_s - zero_s if sound else 0.0,
        audio_rate_hz=audio.codec_context.sample_rate if sound and audio.codec_context else 0,
        pixel_format=str(video.codec_context.pix_fmt) if picture and video.codec_context else "",
        container=name,
        video_index=video.index if picture else None,
        audio_index=audio.index if sound else None,
        seekable=name in _SEEKABLE_FORMATS,
        resets_clock=bool(container.format.flags & _TIMESTAMPS_JUMP),
        max_pixels=max_pixels,
    )


@dataclass(frozen=True, slots=True)
class _Scan:
    """The times of one stream's packets, in seconds on libav's clock."""

    start_s: float
    end_s: float
    last_s: float
    fps: float
    uneven: bool


def _scan(
    container: Any, video: Any, audio: Any, path: Path, max_pixels: int
) -> tuple[int | None, dict[int | None, _Scan]]:
    """Read every packet of both streams; decode up to the first frame, for its rotation (None: no frame came)."""
    streams = [stream for stream in (video, audio) if stream is not None]
    times: dict[int, list[tuple[int, int]]] = {stream.index: [] for stream in streams}
    rotation: int | None = None
    if video is not None and video.codec_context is not None:
        video.codec_context.options = {"max_pixels": input_guards(max_pixels=max_pixels)["max_pixels"]}
        video.codec_context.thread_count = 1
    for packet in _packets(container, streams):
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is not None and packet.size > 0 and not packet.is_discard:
            times[packet.stream.index].append((stamp, packet.duration or 0))
        if rotation is None and packet.stream is video and video.codec_context is not None:
            rotation = _first_rotation(packet, path, max_pixels)
    return rotation, {s.index: _summarise(s, times[s.index]) for s in streams if times[s.index]}


def _stored_size(video: Any) -> tuple[int, int]:
    """Return width and height before rotation; 0, 0 where no decoder knows the codec."""
    context = video.codec_context
    return (0, 0) if context is None else (context.width, context.height)


def _packets(container: Any, streams: list[Any]) -> Any:
    """Yield packets up to the end, or up to where the file is damaged: what follows cannot be decoded either."""
    try:
        yield from container.demux(streams)
    except av.error.FFmpegError:
        return


def _first_rotation(packet: Any, path: Path, max_pixels: int) -> int | None:
    """Return the clockwise rotation of the packet's frame, or None where it gives no frame."""
    try:
        frames = packet.decode()
    except (av.error.FFmpegError, MemoryError):
        return None
    if not frames:
        return None
    _check_size(path, frames[0].width, frames[0].height, max_pixels)
    return int(-round(frames[0].rotation / 90) * 90 % 360)


def _summarise(stream: Any, times: list[tuple[int, int]]) -> _Scan:
    stamps: NDArray[np.int64] = np.unique(np.array([stamp for stamp, _ in times], dtype=np.int64))
    durations: NDArray[np.int64] = np.array([duration for _, duration in times], dtype=np.int64)
    unit_s = float(stream.time_base)
    gaps = np.diff(stamps)
    usual = float(np.median(gaps)) if gaps.size else 0.0
    last = int(durations[int(np.argmax([stamp for stamp, _ in times]))]) or int(usual)
    span_s = float(stamps[-1] - stamps[0]) * unit_s
    declared = float(getattr(stream, "average_rate", None) or 0)
    fps = (len(stamps) - 1) / span_s if span_s > 0 else declared
    uneven = bool(gaps.size and np.any(np.abs(gaps - usual) > max(1.5, _VFR_TOLERANCE * usual)))
    if declared and not uneven and abs(fps / declared - 1) < 0.01:
        fps = declared  # the exact ratio, where the packets' rounded times agree with it
    return _Scan(float(stamps[0]) * unit_s, float(stamps[-1] + last) * unit_s, last * unit_s, fps, uneven)


def _without_padding(sound: _Scan, stream: Any) -> _Scan:
    """Take off the silence that fills up the last packet, where an mp4 or mov says how much it is."""
    if stream.duration is None:
        return sound
    declared_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return replace(sound, end_s=declared_s) if 0 < sound.end_s - declared_s < _MAX_PADDING_S else sound


def _check_size(path: Path, width: int, height: int, max_pixels: int) -> None:
    if width * height > max_pixels:
        raise _limit_error(path, width, height, max_pixels)


def _limit_error(path: Path, width: int, height: int, max_pixels: int) -> MediaLimitError:
    size = f"{path.name!r}: its picture is {width} x {height}, more than {max_pixels} pixels"
    if width * height >= _LIBAV_MAX_PIXELS:
        return MediaLimitError(f"{size} (--max-pixels), and more than any decoder takes; the file is forged or damaged")
    return MediaLimitError(f"{size}; raise the limit with --max-pixels {width * height} if you trust the file")


def oversize_error(path: Path, stderr: str, *, max_pixels: int) -> MediaLimitError | None:
    """Return the error to raise where ffmpeg's messages say that it refused a picture for its size, else None."""
    match = re.search(r"Picture size (\d+)x(\d+) (?:is invalid|exceeds)", stderr)
    return _limit_error(path, int(match[1]), int(match[2]), max_pixels) if match else None


def _ask_ffmpeg(path: Path, index: int, max_pixels: int) -> None:
    """Raise MediaLimitError where no frame could be decoded because of its size, which only ffmpeg's messages say."""
    source = ffmpeg.input(file_url(path), **QUIET_OPTIONS, **input_guards(max_pixels=max_pixels))[str(index)]
    output = source.output("pipe:1", format="null", **{"frames:v": 1})
    argv = ffmpeg.compile(output, cmd=find_ffmpeg().path)
    with Program(argv, timeout_s=_OPEN_TIMEOUT_S, what=f"ffmpeg on the picture of {path.name!r}") as program:
        try:
            stderr = program.finish()
        except ProcessError:
            stderr = program.stderr
    error = oversize_error(path, stderr, max_pixels=max_pixels)
    if error is not None:
        raise error


def _check_complete(container: Any, path: Path, end_s: float) -> None:
    """Raise where the header declares clearly more than the packets hold: the file was cut."""
    declared_s = (container.duration or 0) / av.time_base
    if is_clearly_short(end_s, declared_s):
        raise UnreadableMediaError(
            f"{path.name!r}: the file is cut off: its header declares {declared_s:.2f} s, but only {end_s:.2f} s are "
            "there; copy it again, or remux it to keep what is left"
        )


def is_clearly_short(found_s: float, expected_s: float) -> bool:
    """Return whether more than half a second and more than a tenth of the expected time are missing.

    >>> is_clearly_short(9.9, 10.0), is_clearly_short(4.2, 10.0)
    (False, True)
    """
    return expected_s - found_s > SHORT_S and found_s < (1 - SHORT_SHARE) * expected_s
