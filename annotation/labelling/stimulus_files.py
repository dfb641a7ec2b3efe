"""Writing one stimulus: silent video from pictures alone, sound from samples alone, both as long as the clip."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import MediaError, MissingModalityError
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.media.probe import MediaInfo

SILENT, SOUND, FULL = "silent", "audio", "full"
MAX_DIFFERENCE_S = 0.1  # by which a stimulus may differ from its clip in length
MIN_TIMEOUT_S = 120.0
TIMEOUT_PER_SECOND = 30.0  # of encoded video
_SEEK_MARGIN_S = 3.0
# Tags that a container has of its own; anything else would be a trace of the source.
_HARMLESS_TAGS = {
    "major_brand",
    "minor_version",
    "compatible_brands",
    "encoder",
    "handler_name",
    "language",
    "vendor_id",
}


@dataclass(frozen=True, slots=True)
class Cut:
    """The part of a file that a clip is: from the clip's start to `end_s`, in `n_frames` pictures at 30 Hz."""

    clip: Clip
    path: Path
    info: MediaInfo
    end_s: float
    n_frames: int
    max_height: int

    @property
    def duration_s(self) -> float:
        """How long a stimulus of it lasts."""
        return self.n_frames / FRAME_RATE_HZ


def cut_of(clip: Clip, *, max_height: int) -> Cut:
    """Return what a clip's stimuli are made of.

    Raises MissingModalityError if the clip has no file, MediaError if it is in a bucket, cannot be read or is empty.
    """
    from fmltk.toolkit.media.probe import probe_media

    if clip.path is None:
        raise MissingModalityError("the clip has no video file")
    if not isinstance(clip.path, Path):
        raise MediaError(f"{clip.source}: stimuli are made of files on this machine; copy the videos here first")
    info = probe_media(clip.path)
    end_s = info.duration_s if clip.end_s is None else min(clip.end_s, info.duration_s)
    if end_s - clip.start_s <= 0:
        raise MediaError(f"{clip.source}: there is nothing from {clip.start_s} s to {clip.end_s} s")
    n_frames = max(math.ceil((end_s - clip.start_s) * FRAME_RATE_HZ - 1e-6), 1)
    return Cut(clip, clip.path, info, end_s, n_frames, max_height)


def check_stimulus(path: Path, part: str, *, duration_s: float) -> None:
    """Raise MediaError unless the file holds exactly what the part is, as long as it is to be, and no metadata.

    Read from the file itself: a silent video has one stream, of pictures; sound has one stream, of sound.
    """
    import av

    from fmltk.toolkit.media.process import file_url

    wanted = {SILENT: ["video"], SOUND: ["audio"], FULL: ["audio", "video"]}[part]
    try:
        with av.open(file_url(path)) as container:
            kinds = sorted(stream.type for stream in container.streams)
            tags = {tag for source in (container, *container.streams) for tag in source.metadata}
            length_s = (container.duration or 0) / av.time_base
    except av.error.FFmpegError as error:
        raise MediaError(f"the {part} stimulus cannot be read back: {error.strerror}") from error
    if kinds != wanted:
        raise MediaError(
            f"the {part} stimulus holds streams of {', '.join(kinds) or 'nothing'}, not {', '.join(wanted)}"
        )
    if tags - _HARMLESS_TAGS:
        raise MediaError(f"the {part} stimulus carries metadata: {', '.join(sorted(tags - _HARMLESS_TAGS))}")
    if abs(length_s - duration_s) > MAX_DIFFERENCE_S:
        raise MediaError(f"the {part} stimulus lasts {length_s:.2f} s, its clip {duration_s:.2f} s")


def write_silent(cut: Cut, target: Path) -> None:
    """Encode the pictures of a clip as H.264, which every browser plays, at 30 Hz from the clip's start."""
    import ffmpeg

    from fmltk.toolkit.media.process import QUIET_OPTIONS, file_url, find_ffmpeg, input_guards, run_program

    if not cut.info.has_video:
        raise MissingModalityError(f"{cut.clip.source}: the file has no video")
    if cut.clip.start_s >= cut.info.video_end_s:
        raise MissingModalityError(f"{cut.clip.source}: the video ends at {cut.info.video_end_s:.2f} s")
    options: dict[str, object] = {**QUIET_OPTIONS, **input_guards(max_pixels=cut.info.max_pixels)}
    seek_s = max(math.floor(cut.clip.start_s - _SEEK_MARGIN_S), 0) if cut.info.seekable else 0
    if seek_s:
        options |= {"ss": seek_s, "noaccurate_seek": None}
    shift_s = seek_s - cut.clip.start_s + (cut.info.video_start_s if cut.info.resets_clock else 0.0)
    stream = ffmpeg.input(file_url(cut.path), **options)[str(cut.info.video_index)]
    stream = stream.filter("setpts", f"PTS+({shift_s:.9f})/TB")
    stream = stream.filter("fps", fps=FRAME_RATE_HZ, start_time=0)
    stream = stream.filter("tpad", stop_mode="clone", stop=cut.n_frames).filter("trim", end_frame=cut.n_frames)
    height = max(min(cut.info.height, cut.max_height) // 2 * 2, 2)
    width = max(round(cut.info.width * height / cut.info.height / 2) * 2, 2)
    stream = stream.filter("scale", width, height, flags="bicubic+bitexact").filter("format", "yuv420p")
    output = stream.filter("setsar", 1).output(
        file_url(target),
        format="mp4",
        vcodec="libx264",
        preset="veryfast",
        crf=18,
        threads=1,
        map_metadata=-1,
        movflags="+faststart",
        fflags="+bitexact",
        an=None,
        sn=None,
        dn=None,
        **{"flags:v": "+bitexact", "a53cc": 0},
    )
    argv = ffmpeg.compile(output.overwrite_output(), cmd=find_ffmpeg().path)
    timeout_s = MIN_TIMEOUT_S + TIMEOUT_PER_SECOND * cut.duration_s
    run_program(argv, timeout_s=timeout_s, what=f"ffmpeg on the video of {cut.clip.source!r}", hide=[cut.path.parent])


def write_sound(cut: Cut, target: Path) -> None:
    """Write the sound of a clip as WAV, mono, padded with silence to the clip's length: exact, and heard everywhere."""
    import numpy as np

    from fmltk.toolkit.media.audio import VIDEO_SOUND_RATE_HZ, read_audio
    from fmltk.toolkit.media.audio import write_sound as write_wave

    part = {"start_s": cut.clip.start_s, "end_s": cut.end_s}
    samples = read_audio(cut.path, info=cut.info, rate_hz=VIDEO_SOUND_RATE_HZ, **part).samples
    n_samples = round(cut.duration_s * VIDEO_SOUND_RATE_HZ)
    whole = np.zeros(n_samples, np.float32)
    kept = min(len(samples), n_samples)
    whole[:kept] = samples[:kept]
    write_wave(target, whole)


def write_full(cut: Cut, target: Path) -> None:
    """Join the silent video and the sound of a clip into one file."""
    import ffmpeg

    from fmltk.toolkit.io.outputs import ScratchFolder
    from fmltk.toolkit.media.process import QUIET_OPTIONS, file_url, find_ffmpeg, run_program

    with ScratchFolder() as folder:
        silent, sound = folder / "silent.mp4", folder / "sound.wav"
        write_silent(cut, silent)
        write_sound(cut, sound)
        inputs = [ffmpeg.input(file_url(path), **QUIET_OPTIONS) for path in (silent, sound)]
        output = ffmpeg.output(
            inputs[0].video,
            inputs[1].audio,
            file_url(target),
            format="mp4",
            vcodec="copy",
            acodec="aac",
            audio_bitrate=160_000,
            map_metadata=-1,
            movflags="+faststart",
            fflags="+bitexact",
            **{"flags:a": "+bitexact"},
        )
        argv = ffmpeg.compile(output.overwrite_output(), cmd=find_ffmpeg().path)
        run_program(argv, timeout_s=MIN_TIMEOUT_S, what=f"ffmpeg joining {cut.clip.source!r}", hide=[folder])


WRITERS = {SILENT: write_silent, SOUND: write_sound, FULL: write_full}
