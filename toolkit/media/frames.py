"""Pictures at exactly 30 Hz on the file's clock, streamed one by one; and video files written from pictures."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, cast

import av
import ffmpeg
import numpy as np

from fmltk.toolkit.errors import MediaError, MissingModalityError, ProcessError, UnreadableMediaError
from fmltk.toolkit.io.files import atomic_path
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.media.audio import write_sound
from fmltk.toolkit.media.pictures import Picture, stays_yuv
from fmltk.toolkit.media.process import QUIET_OPTIONS, file_url, find_ffmpeg, input_guards
from fmltk.toolkit.media.program import Program
from fmltk.toolkit.media.refusal import is_clearly_short, oversize_error
from fmltk.toolkit.settings import DEFAULT_MAX_PIXELS, FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.media.pictures import Frame
    from fmltk.toolkit.media.probe import MediaInfo

# Decoding may start at a key frame this long before the first wanted picture; the frames of one reordering group (at
# most 16 in H.264 and HEVC) lie in between.
SEEK_MARGIN_S = 2.0
SEEK_MARGIN_FRAMES = 16

# Reading converts to RGB as plain ffmpeg, OpenCV and PyAV do; swscale's exact rounding would be 1.1 levels brighter and
# cost 2.5 times as much. Writing is rare and exact.
READ_SCALE_FLAGS = "bicubic+bitexact"
WRITE_SCALE_FLAGS = "bicubic+accurate_rnd+full_chroma_int+bitexact"

SOUND_BITRATE = 160_000  # of the videos that are written

MAX_LATE_START_S = 0.1

MIN_TIMEOUT_S = 120.0
TIMEOUT_PER_SECOND = 20.0  # of decoded video


def read_frames(
    path: Path,
    *,
    info: MediaInfo,
    start_s: float = 0.0,
    end_s: float | None = None,
    rate_hz: int = FRAME_RATE_HZ,
    timeout_s: float | None = None,
) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of a file, upright, at an exact rate; frame k is the picture at ``start_s + k / rate_hz``.

    A frame shows the latest picture whose time, rounded to the nearest multiple of ``1 / rate_hz``, is not after it,
    in square pixels. Frames before the first picture that can be decoded are black (see `count_blank_frames`), so that
    frame k stays at k/rate_hz and with the sound. One frame is held at a time.

    Parameters
    ----------
    path, info : the file, and what `probe_media` says of it
    start_s, end_s : the part to read, in seconds on the file's clock; None is the end of the picture. For a `start_s`
        that is a multiple of ``1 / rate_hz`` the frames are those of the whole file from ``start_s * rate_hz`` on.
    rate_hz : frames per second
    timeout_s : the longest to wait for ffmpeg, in all, not counting the caller's own work; by default 20 s per second
        of video, at least 120 s

    Yields
    ------
    uint8 array, shape (height, width, 3), RGB

    Raises MissingModalityError without video frames (in that part), UnreadableMediaError if clearly fewer frames come
    than the file holds, ProcessError if ffmpeg fails or hangs, MediaError if the part is empty.
    """
    made = _read(path, info, start_s=start_s, end_s=end_s, rate_hz=rate_hz, timeout_s=timeout_s)
    return cast("Iterator[NDArray[np.uint8]]", made)


def read_pictures(
    path: Path, *, info: MediaInfo, start_s: float = 0.0, end_s: float | None = None, rate_hz: int = FRAME_RATE_HZ
) -> Iterator[Frame]:
    """Yield the frames of `read_frames`, those of large videos as they were decoded; see `Picture`.

    To be used where little of each frame is looked at. The numbers are the same, except after a change of size or
    colours in the middle of a file: there, the file's first colours count, and what has another size is scaled before
    it is RGB.
    """
    return _read(path, info, start_s=start_s, end_s=end_s, rate_hz=rate_hz, kept=stays_yuv(info))


def _read(
    path: Path,
    info: MediaInfo,
    *,
    start_s: float,
    end_s: float | None,
    rate_hz: int,
    timeout_s: float | None = None,
    kept: bool = False,
) -> Iterator[Frame]:
    """Yield frames as RGB, or `kept` as the decoder makes them."""
    if not info.has_video:
        raise MissingModalityError(f"{path.name!r}: {info.video_note}")
    if not 0 <= start_s < math.inf or (end_s is not None and not end_s > start_s):
        raise MediaError(f"{path.name!r}: the part from {start_s} s to {end_s} s is empty; end_s must be after start_s")
    n_frames = count_frames(info, start_s=start_s, end_s=end_s, rate_hz=rate_hz)
    if n_frames == 0:
        raise MissingModalityError(
            f"{path.name!r}: the file has no video after {start_s:g} s; it ends at {info.video_end_s:.2f} s"
        )
    n_blank = count_blank_frames(info, start_s=start_s, rate_hz=rate_hz)
    if n_blank >= n_frames:
        raise MissingModalityError(f"{path.name!r}: the file has no video before {info.first_key_s:.2f} s")
    pixels = info.pixel_format if kept else "rgb24"
    argv = _frames_command(path, info, start_s=start_s, n_frames=n_frames, rate_hz=rate_hz, pixels=pixels)
    limit_s = timeout_s or max(MIN_TIMEOUT_S, TIMEOUT_PER_SECOND * n_frames / rate_hz)
    frames = _stream(argv, path, info, n_expected=n_frames, rate_hz=rate_hz, timeout_s=limit_s, kept=kept)
    return _blackened(frames, n_blank)


def count_frames(
    info: MediaInfo, *, start_s: float = 0.0, end_s: float | None = None, rate_hz: int = FRAME_RATE_HZ
) -> int:
    """Return how many frames `read_frames` yields of an undamaged file: the part's length times the rate, rounded.

    At least 1 where the part holds any picture, 0 where it holds none.
    """
    last_s = info.video_end_s if end_s is None else min(end_s, info.video_end_s)
    return max(round((last_s - start_s) * rate_hz), 1) if start_s < last_s else 0


def count_blank_frames(info: MediaInfo, *, start_s: float = 0.0, rate_hz: int = FRAME_RATE_HZ) -> int:
    """Return how many frames of the part that begins at `start_s` come before the first picture that can be decoded.

    There are such frames where the sound starts first, and where a recording or a stream was joined in the middle of a
    group of pictures. Up to 0.1 s, which is how containers and codecs begin, the first picture counts from 0 on.
    """
    if info.first_key_s <= MAX_LATE_START_S:
        return 0
    return max(round(info.first_key_s * rate_hz) - math.floor(start_s * rate_hz + 1e-6), 0)


def _blackened(frames: Iterator[Frame], n_blank: int) -> Iterator[Frame]:
    for number, frame in enumerate(frames):
        yield frame if number >= n_blank else np.zeros(frame.shape, np.uint8)


def _stream(
    argv: list[str], path: Path, info: MediaInfo, *, n_expected: int, rate_hz: int, timeout_s: float, kept: bool
) -> Iterator[Frame]:
    if info.width * info.height == 0:
        raise UnreadableMediaError(f"{path.name!r}: no frame of its video could be decoded; the file is damaged")
    n_frames = 0
    shape = (info.height * info.width * 3 // 2,) if kept else (info.height, info.width, 3)
    what = f"ffmpeg on the video of {path.name!r}"
    with Program(argv, timeout_s=timeout_s, what=what, hide=[path.parent]) as program:
        while True:
            frame = np.empty(shape, dtype=np.uint8)
            filled = program.read_into(frame.data.cast("B"))
            if filled < frame.nbytes:
                break
            n_frames += 1
            yield Picture(frame, info.height, info.width, colours=info.colours) if kept else frame
        try:
            stderr = program.finish()
        except ProcessError as error:
            raise oversize_error(path, program.stderr, max_pixels=info.max_pixels) or error from error
    if filled:
        raise UnreadableMediaError(f"{path.name!r}: ffmpeg stopped inside frame {n_frames}; the video is damaged")
    if n_frames == 0:
        raise UnreadableMediaError(f"{path.name!r}: no frame of its video could be decoded; the file is damaged")
    if is_clearly_short(n_frames / rate_hz, n_expected / rate_hz):
        raise oversize_error(path, stderr, max_pixels=info.max_pixels) or UnreadableMediaError(
            f"{path.name!r}: only {n_frames / rate_hz:.2f} of {n_expected / rate_hz:.2f} s of its video could be "
            "decoded; the file is damaged"
        )


def _frames_command(
    path: Path, info: MediaInfo, *, start_s: float, n_frames: int, rate_hz: int, pixels: str
) -> list[str]:
    first = math.floor(start_s * rate_hz + 1e-6)  # on the file's own grid, so that any part has the whole file's frames
    beside_grid_s = max(start_s - first / rate_hz, 0.0)
    if beside_grid_s < 1e-6:
        beside_grid_s = 0.0
    seek_s = _seek_point(info, start_s)
    options: dict[str, object] = {**QUIET_OPTIONS, **input_guards(max_pixels=info.max_pixels)}
    if seek_s > 0:
        options |= {"ss": seek_s, "noaccurate_seek": None}
    shift_s = seek_s - beside_grid_s + (info.video_start_s if info.resets_clock else 0.0)
    stream = ffmpeg.input(file_url(path), **options)[str(info.video_index)]
    if shift_s:
        stream = stream.filter("setpts", f"PTS+({shift_s:.9f})/TB")
    # Versions of ffmpeg differ in where they believe that the last picture ends, and some would drop it: repeat it
    # beyond one step of the grid, then for as long as it is shown, and count the frames.
    beyond_s = max(2 / rate_hz, 1 / info.fps if info.fps else 0.0)
    stream = stream.filter("tpad", stop_mode="clone", stop_duration=f"{beyond_s:.6f}")
    stream = stream.filter("fps", fps=rate_hz, start_time=0, eof_action="pass")
    stream = stream.filter("tpad", stop_mode="clone", stop=math.ceil(info.last_frame_s * rate_hz) + 1)
    if first > 0:
        stream = stream.filter("trim", start_frame=first)
    stream = stream.filter("scale", info.width, info.height, flags=READ_SCALE_FLAGS).filter("format", pixels)
    counted = {"frames:v": n_frames}
    output = ffmpeg.output(
        stream, "pipe:1", format="rawvideo", pix_fmt=pixels, fps_mode="passthrough", threads=1, **counted
    )
    return list(ffmpeg.compile(output, cmd=find_ffmpeg().path))


def _seek_point(info: MediaInfo, start_s: float) -> int:
    """Return the whole second from which ffmpeg may look back for a key frame; 0 decodes from the start."""
    margin_s = SEEK_MARGIN_S + (SEEK_MARGIN_FRAMES / info.fps if info.fps else 0.0)
    return max(math.floor(start_s - margin_s), 0) if info.seekable else 0


def write_video(
    frames: Iterable[NDArray[np.uint8]],
    path: AnyPath,
    *,
    rate_hz: int = FRAME_RATE_HZ,
    lossless: bool = False,
    sound: NDArray[np.float32] | None = None,
    note: str = "",
    timeout_s: float = 3600.0,
) -> int:
    """Write pictures as an H.264 mp4 and return how many; the same pictures and sound give the same bytes.

    The file appears under its name only when whole. Odd sizes are kept (4:4:4 where 4:2:0 cannot hold them).

    Parameters
    ----------
    frames : uint8 arrays, all of one shape (height, width, 3), RGB
    path : the file to write, ending in .mp4, on this machine or in a store; replaced if it exists
    rate_hz : frames per second
    lossless : keep every RGB value exactly (x264's RGB mode) instead of near-transparent YUV (crf 12)
    sound : float32, shape (n_samples,), mono at VIDEO_SOUND_RATE_HZ, full scale 1, which begins with the first picture;
        it becomes AAC and is not cut where it outlasts the pictures
    note : a comment that the file holds, for `read_note`
    timeout_s : the longest to wait for ffmpeg, in all

    Raises MediaError without frames, if their shapes differ, or the file cannot be written; ProcessError if ffmpeg
    fails.
    """
    pending = iter(frames)
    first = next(pending, None)
    if first is None:
        raise MediaError(f"{path.name!r}: a video of no frames cannot be written")
    with ScratchFolder() as folder, atomic_path(path, error=MediaError) as draft:
        recording = None if sound is None else folder / "sound.wav"
        if recording is not None and sound is not None:
            write_sound(recording, sound)
        argv = _write_command(draft, first.shape, rate_hz=rate_hz, lossless=lossless, recording=recording, note=note)
        what = f"ffmpeg writing {path.name!r}"
        with Program(argv, timeout_s=timeout_s, what=what, hide=[draft.parent], feed=True) as program:
            n_frames = _feed(program, first, pending, what)
            program.finish()
    return n_frames


def read_note(path: Path) -> str:
    """Return the comment that `write_video` left in a file; "" where the file is missing or cannot be read."""
    if not path.is_file():
        return ""
    try:
        with av.open(file_url(path), options=input_guards(max_pixels=DEFAULT_MAX_PIXELS)) as file:
            return str(file.metadata.get("comment", ""))
    except av.error.FFmpegError:
        return ""


def _feed(program: Program, first: NDArray[np.uint8], pending: Iterator[NDArray[np.uint8]], what: str) -> int:
    """Give pictures to ffmpeg, one by one, and return how many there are; `what` is what ffmpeg does, for messages."""
    for n_frames, frame in enumerate(itertools.chain([first], pending)):
        if frame.shape != first.shape or frame.dtype != np.uint8:
            raise MediaError(
                f"{what}: frame {n_frames} is {frame.dtype} {frame.shape}, the first is uint8 {first.shape}"
            )
        if not program.write(np.ascontiguousarray(frame).data.cast("B")):
            program.finish()
            raise ProcessError(f"{what} stopped before frame {n_frames}")
    return n_frames + 1


def _write_command(
    draft: Path, shape: tuple[int, ...], *, rate_hz: int, lossless: bool, recording: Path | None, note: str
) -> list[str]:
    height, width = shape[:2]
    source = ffmpeg.input(
        "pipe:0", format="rawvideo", pix_fmt="rgb24", s=f"{width}x{height}", framerate=rate_hz, **QUIET_OPTIONS
    )
    if lossless:
        codec = {"vcodec": "libx264rgb", "crf": 0, "pix_fmt": "rgb24"}
    else:
        codec = {"vcodec": "libx264", "crf": 12, "pix_fmt": "yuv444p" if width % 2 or height % 2 else "yuv420p"}
    streams = [source.filter("scale", width, height, flags=WRITE_SCALE_FLAGS)]
    options: dict[str, object] = {"flags:v": "+bitexact", **codec}
    if recording is not None:
        streams.append(ffmpeg.input(file_url(recording), **QUIET_OPTIONS).audio)
        options |= {"acodec": "aac", "audio_bitrate": SOUND_BITRATE, "flags:a": "+bitexact"}
    if note:
        options["metadata"] = f"comment={note}"
    output = ffmpeg.output(
        *streams,
        file_url(draft),
        format="mp4",
        preset="medium",
        threads=1,
        fps_mode="passthrough",
        map_metadata=-1,
        movflags="+faststart",
        fflags="+bitexact",
        **options,
    )
    return list(ffmpeg.compile(output.overwrite_output(), cmd=find_ffmpeg().path))
