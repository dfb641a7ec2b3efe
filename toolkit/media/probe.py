"""Facts of a media file: duration, video, audio, and when each starts.

Nothing that a header declares is believed where the packets can be asked: the file's packets are read once, without
decoding them, and one frame is decoded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import av
import ffmpeg

from fmltk.toolkit.errors import MediaLimitError, ProcessError, UnreadableMediaError
from fmltk.toolkit.media.packets import TIMESTAMPS_JUMP, Packets, StreamTimes, without_padding
from fmltk.toolkit.media.process import QUIET_OPTIONS, file_url, find_ffmpeg, input_guards
from fmltk.toolkit.media.program import Program
from fmltk.toolkit.media.refusal import check_complete, check_readable, check_size, explain_refusal, oversize_error
from fmltk.toolkit.media.streams import Choice, choose_stream, declared_end_s, shown_size
from fmltk.toolkit.settings import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from pathlib import Path

_SEEKABLE_FORMATS = ("mov", "matroska")  # containers with an index of key frames
_OPEN_TIMEOUT_S = 60.0
_COUNTED_FROM_ZERO = ("matroska", "asf")  # the header's duration is the end of the last stream


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """The contents of a media file. Times are seconds on the file's clock, whose zero is the start of its first stream.

    Attributes
    ----------
    duration_s : the later end of picture and sound, from the packets
    has_video, has_audio : whether there is a picture (cover art is none) and a sound
    fps : frames per second, averaged over the file; 0 without picture
    width, height : size as it is shown, upright and in square pixels; 0 without picture
    stored_size : width and height as they are stored, after `rotation`; other than the size where pixels are not square
    rotation : clockwise degrees by which players turn the stored picture: 0, 90, 180 or 270
    vfr : whether frames are unevenly spaced (variable frame rate)
    video_start_s, video_end_s : when the picture starts and ends; 0 without picture
    first_key_s : when the first picture is shown that needs no other to be decoded; 0 without picture
    last_frame_s : how long the last frame is shown; 0 without picture
    audio_start_s, audio_end_s : when the sound starts and ends; 0 without sound
    audio_rate_hz : the sound's own sampling rate, as the header has it; 0 without sound
    pixel_format, container : ffmpeg's names, such as "yuv420p" and "mov"
    colours : ffmpeg's numbers of the picture's colour space and range, which may say that they are unknown
    video_index, audio_index : number of the stream in the file; None where absent
    video_note, audio_note : why the stream is missing, or which of several is used; "" where nothing is to be said
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
    stored_size: tuple[int, int]
    rotation: int
    vfr: bool
    video_start_s: float
    video_end_s: float
    first_key_s: float
    last_frame_s: float
    audio_start_s: float
    audio_end_s: float
    audio_rate_hz: int
    pixel_format: str
    colours: tuple[int, int]
    container: str
    video_index: int | None
    audio_index: int | None
    video_note: str
    audio_note: str
    seekable: bool
    resets_clock: bool
    max_pixels: int


def probe_media(
    path: Path,
    *,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    video_stream: int | None = None,
    audio_stream: int | None = None,
) -> MediaInfo:
    """Return what the file holds. Reads all its packets, so the answer is kept while the file stays unchanged.

    Parameters
    ----------
    path : the file
    max_pixels : larger pictures are refused
    video_stream, audio_stream : which of several to use, counted from 0 among those of their kind; None: see
        `fmltk.toolkit.media.streams.choose_stream`

    Raises
    ------
    UnreadableMediaError
        It cannot be opened, is empty, is not a video or sound, names other files to be played (a playlist or script),
        is cut off, or holds neither picture nor sound.
    MediaLimitError
        Its picture has more than `max_pixels` pixels.
    """
    check_readable(path)
    found = path.stat()
    version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    return _probe_once(path, max_pixels, (video_stream, audio_stream), version)


@functools.lru_cache(maxsize=64)  # many clips of one long video are probed one after the other
def _probe_once(
    path: Path, max_pixels: int, wanted: tuple[int | None, int | None], _version: tuple[int, ...]
) -> MediaInfo:
    try:
        with av.open(
            file_url(path),
            options=input_guards(max_pixels=max_pixels),
            timeout=_OPEN_TIMEOUT_S,
            metadata_errors="ignore",
        ) as container:
            video, audio = choose_stream(container, "video", wanted[0]), choose_stream(container, "audio", wanted[1])
            return _describe(container, video, audio, path, max_pixels)
    except MemoryError as error:  # libav's own is also an FFmpegError
        raise MediaLimitError(
            f"{path.name!r}: its header asks for more memory than a file of {path.stat().st_size:,} bytes can need; "
            "it is forged or damaged"
        ) from error
    except av.error.FFmpegError as error:
        raise UnreadableMediaError(f"{path.name!r}: {explain_refusal(path, error)}") from error


def _describe(container: Any, video: Choice, audio: Choice, path: Path, max_pixels: int) -> MediaInfo:
    if video.stream is None and audio.stream is None:
        raise UnreadableMediaError(f"{path.name!r}: the file contains neither video nor audio")
    if video.stream is not None:
        check_size(path, *_stored_size(video.stream), max_pixels)
    packets = Packets(container, video.stream, audio.stream, path, max_pixels)
    if video.stream is not None and packets.rotation is None:
        _ask_ffmpeg(path, video.stream.index, max_pixels)
    picture, sound = packets.times(video.stream), packets.times(audio.stream)
    if picture is None and sound is None:
        raise UnreadableMediaError(f"{path.name!r}: the file holds no data after its header; it is cut off")
    for stream, times in ((video.stream, picture), (audio.stream, sound)):
        if times is None and stream is not None and stream.frames:
            raise UnreadableMediaError(
                f"{path.name!r}: its header declares {stream.frames:,} packets of {stream.type}, and none can be read; "
                "it is damaged or forged"
            )
    name = container.format.name.split(",")[0]
    _check_whole(path, container, name, packets, [one for one in (video.stream, audio.stream) if one is not None])
    if sound is not None and name == "mov":
        sound = without_padding(sound, audio.stream)
    zero_s = 0.0 if container.start_time is None else container.start_time / av.time_base
    info = MediaInfo(
        duration_s=max(times.end_s - zero_s for times in (picture, sound) if times is not None),
        container=name,
        seekable=name in _SEEKABLE_FORMATS,
        resets_clock=bool(container.format.flags & TIMESTAMPS_JUMP),
        max_pixels=max_pixels,
        **_picture_fields(video, picture, packets.rotation or 0, zero_s),
        **_sound_fields(audio, sound, zero_s),
    )
    check_size(path, info.width, info.height, max_pixels)
    return info


def _check_whole(path: Path, container: Any, name: str, packets: Packets, streams: list[Any]) -> None:
    """Raise UnreadableMediaError where a stream ends clearly earlier than the file's header says."""
    declared = {stream.index: declared_end_s(stream, name) for stream in streams}
    for stream in streams:
        end_s, times = declared[stream.index], packets.times(stream)
        if end_s is not None and times is not None:
            check_complete(path, times.end_s, declared_s=end_s)
    if name in _COUNTED_FROM_ZERO and not any(declared.values()):
        check_complete(path, packets.last_end_s, declared_s=(container.duration or 0) / av.time_base)


def _picture_fields(video: Choice, picture: StreamTimes | None, rotation: int, zero_s: float) -> dict[str, Any]:
    stored = _stored_size(video.stream) if picture else (0, 0)
    width, height = shown_size(*stored, video.stream) if picture else stored
    if rotation in (90, 270):
        stored, width, height = stored[::-1], height, width
    context = video.stream.codec_context if picture else None
    return {
        "has_video": picture is not None,
        "fps": picture.fps if picture else 0.0,
        "width": width,
        "height": height,
        "stored_size": stored,
        "rotation": rotation,
        "vfr": picture.uneven if picture else False,
        "video_start_s": max(picture.start_s - zero_s, 0.0) if picture else 0.0,
        "video_end_s": picture.end_s - zero_s if picture else 0.0,
        "first_key_s": max(picture.key_s - zero_s, 0.0) if picture else 0.0,
        "last_frame_s": picture.last_s if picture else 0.0,
        "pixel_format": str(context.pix_fmt) if context else "",
        "colours": (int(context.colorspace), int(context.color_range)) if context else (0, 0),
        "video_index": video.stream.index if picture else None,
        "video_note": video.note if picture else video.absent or "the file's video contains no data",
    }


def _sound_fields(audio: Choice, sound: StreamTimes | None, zero_s: float) -> dict[str, Any]:
    context = audio.stream.codec_context if sound else None
    return {
        "has_audio": sound is not None,
        "audio_start_s": max(sound.start_s - zero_s, 0.0) if sound else 0.0,
        "audio_end_s": sound.end_s - zero_s if sound else 0.0,
        "audio_rate_hz": context.sample_rate if context else 0,
        "audio_index": audio.stream.index if sound else None,
        "audio_note": audio.note if sound else audio.absent or "the file's audio contains no data",
    }


def _stored_size(video: Any) -> tuple[int, int]:
    """Return width and height before rotation; 0, 0 where no decoder knows the codec."""
    context = video.codec_context
    return (0, 0) if context is None else (context.width, context.height)


def _ask_ffmpeg(path: Path, index: int, max_pixels: int) -> None:
    """Raise MediaLimitError where no frame could be decoded because of its size, which only ffmpeg's messages say."""
    source = ffmpeg.input(file_url(path), **QUIET_OPTIONS, **input_guards(max_pixels=max_pixels))[str(index)]
    output = source.output("pipe:1", format="null", **{"frames:v": 1})
    argv = ffmpeg.compile(output, cmd=find_ffmpeg().path)
    with Program(argv, timeout_s=_OPEN_TIMEOUT_S, what=f"ffmpeg on the video of {path.name!r}") as program:
        try:
            stderr = program.finish()
        except ProcessError:
            stderr = program.stderr
    error = oversize_error(path, stderr, max_pixels=max_pixels)
    if error is not None:
        raise error
