"""What a file holds: duration, picture, sound, and when each starts.

Nothing that a header declares is believed where the packets can be asked: the file's packets are read once, without
decoding them, and one frame is decoded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import av
import ffmpeg
import numpy as np

from fmltk.toolkit.errors import ProcessError, UnreadableMediaError
from fmltk.toolkit.media.process import QUIET_OPTIONS, file_url, find_ffmpeg, input_guards
from fmltk.toolkit.media.program import Program
from fmltk.toolkit.media.refusal import check_complete, check_readable, check_size, explain_refusal, oversize_error
from fmltk.toolkit.settings import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

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
        raise UnreadableMediaError(f"{path.name!r}: {explain_refusal(path, error)}") from error


def _describe(container: Any, path: Path, max_pixels: int) -> MediaInfo:
    video = next((s for s in container.streams.video if not s.disposition & _COVER_ART), None)
    audio = next(iter(container.streams.audio), None)
    if video is None and audio is None:
        raise UnreadableMediaError(f"{path.name!r}: the file holds neither picture nor sound")
    if video is not None:
        check_size(path, *_stored_size(video), max_pixels)
    rotation, scans = _scan(container, video, audio, path, max_pixels)
    if video is not None and rotation is None:
        _ask_ffmpeg(path, video.index, max_pixels)
    picture, sound = scans.get(getattr(video, "index", None)), scans.get(getattr(audio, "index", None))
    if picture is None and sound is None:
        raise UnreadableMediaError(f"{path.name!r}: the file holds no data after its header; it is cut off")
    name = container.format.name.split(",")[0]
    if sound is not None and name == "mov":
        sound = _without_padding(sound, audio)
    zero_s = 0.0 if container.start_time is None else container.start_time / av.time_base
    duration_s = max(scan.end_s - zero_s for scan in (picture, sound) if scan is not None)
    if name in _SEEKABLE_FORMATS:
        check_complete(path, duration_s, declared_s=(container.duration or 0) / av.time_base)
    return MediaInfo(
        duration_s=duration_s,
        container=name,
        seekable=name in _SEEKABLE_FORMATS,
        resets_clock=bool(container.format.flags & _TIMESTAMPS_JUMP),
        max_pixels=max_pixels,
        **_picture_fields(video, picture, rotation or 0, zero_s),
        **_sound_fields(audio, sound, zero_s),
    )


def _picture_fields(video: Any, picture: _Scan | None, rotation: int, zero_s: float) -> dict[str, Any]:
    width, height = _stored_size(video) if picture else (0, 0)
    if rotation in (90, 270):
        width, height = height, width
    return {
        "has_video": picture is not None,
        "fps": picture.fps if picture else 0.0,
        "width": width,
        "height": height,
        "rotation": rotation,
        "vfr": picture.uneven if picture else False,
        "video_start_s": max(picture.start_s - zero_s, 0.0) if picture else 0.0,
        "video_end_s": picture.end_s - zero_s if picture else 0.0,
        "last_frame_s": picture.last_s if picture else 0.0,
        "pixel_format": str(video.codec_context.pix_fmt) if picture and video.codec_context else "",
        "video_index": video.index if picture else None,
    }


def _sound_fields(audio: Any, sound: _Scan | None, zero_s: float) -> dict[str, Any]:
    return {
        "has_audio": sound is not None,
        "audio_start_s": max(sound.start_s - zero_s, 0.0) if sound else 0.0,
        "audio_end_s": sound.end_s - zero_s if sound else 0.0,
        "audio_rate_hz": audio.codec_context.sample_rate if sound and audio.codec_context else 0,
        "audio_index": audio.index if sound else None,
    }


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
    check_size(path, frames[0].width, frames[0].height, max_pixels)
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
