"""The packets of a file: when each stream starts and ends, and what the first decoded frame says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from fmltk.toolkit.errors import UnreadableMediaError
from fmltk.toolkit.media.process import input_guards
from fmltk.toolkit.media.refusal import check_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

TIMESTAMPS_JUMP = 0x0200  # AVFMT_TS_DISCONT: MPEG program and transport streams
_VFR_TOLERANCE = 0.1  # a gap that differs by more than a tenth from the usual one
_MAX_STEP_BACK_S = 0.1  # beyond it ffmpeg takes the clock for a new one
_MAX_PADDING_S = 0.15  # two packets of 1024 samples at 16 kHz


@dataclass(frozen=True, slots=True)
class StreamTimes:
    """The times of one stream's packets, in seconds on libav's clock.

    Attributes
    ----------
    start_s, end_s
        Start and end of the stream.
    last_s
        How long the last packet lasts.
    key_s
        The start of the first packet from which decoding can begin; `start_s` where none says so.
    fps, uneven
        Packets per second, and whether their distances differ.
    """

    start_s: float
    end_s: float
    last_s: float
    key_s: float
    fps: float
    uneven: bool


class Packets:
    """Facts from reading all packets of an open file. Nothing is decoded but the first picture.

    Attributes
    ----------
    rotation
        Clockwise degrees by which the first picture is to be turned; None where no picture could be decoded.
    last_end_s
        The latest end of any stream, subtitles among them, in seconds on libav's clock.
    """

    def __init__(self, container: Any, video: Any, audio: Any, path: Path, max_pixels: int) -> None:
        self.rotation: int | None = None
        self.last_end_s = 0.0
        self._video, self._audio, self._path, self._max_pixels = video, audio, path, max_pixels
        self._stamps: defaultdict[int, list[int]] = defaultdict(list)
        self._durations: defaultdict[int, list[int]] = defaultdict(list)
        self._first_key: dict[int, int] = {}
        self._latest: dict[int, int] = {}
        self._read(container)

    def _read(self, container: Any) -> None:
        if self._video is not None and self._video.codec_context is not None:
            limit = input_guards(max_pixels=self._max_pixels)["max_pixels"]
            self._video.codec_context.options = {"max_pixels": limit}
            self._video.codec_context.thread_count = 1
        may_jump = container.format.flags & TIMESTAMPS_JUMP
        ours = {stream.index for stream in (self._video, self._audio) if stream is not None}
        for packet in _until_damaged(container):
            stamp = packet.pts if packet.pts is not None else packet.dts
            if stamp is not None and packet.size > 0 and not packet.is_discard:
                index, duration = packet.stream.index, packet.duration or 0
                self.last_end_s = max(self.last_end_s, float((stamp + duration) * packet.stream.time_base))
                if index in ours:
                    if may_jump and packet.dts is not None:
                        self._check_clock(packet)
                    self._stamps[index].append(stamp)
                    self._durations[index].append(duration)
                    if packet.is_keyframe:
                        self._first_key.setdefault(index, stamp)
            if self.rotation is None and packet.stream is self._video and self._video.codec_context is not None:
                self._look(packet)

    def _check_clock(self, packet: Any) -> None:
        """Raise UnreadableMediaError where the decoding time goes back: what follows would be laid over the rest."""
        unit_s, latest = float(packet.stream.time_base), self._latest.get(packet.stream.index, packet.dts)
        if (latest - packet.dts) * unit_s > _MAX_STEP_BACK_S:
            raise UnreadableMediaError(
                f"{self._path.name!r}: its clock goes back from {latest * unit_s:.2f} to {packet.dts * unit_s:.2f} s, "
                "as in recordings that were joined byte by byte; give it one clock: ffmpeg -i FILE -c copy NEW.mkv"
            )
        self._latest[packet.stream.index] = packet.dts

    def _look(self, packet: Any) -> None:
        """Take the rotation from the first picture."""
        try:
            frames = packet.decode()
        except (av.error.FFmpegError, MemoryError):
            return
        for frame in frames[:1]:
            check_size(self._path, frame.width, frame.height, self._max_pixels)
            self.rotation = int(-round(frame.rotation / 90) * 90 % 360)

    def times(self, stream: Any) -> StreamTimes | None:
        """Return the times of the picture or the sound; None where it has no packet."""
        if stream is None or not self._stamps[stream.index]:
            return None
        stamps: NDArray[np.int64] = np.array(self._stamps[stream.index], dtype=np.int64)
        last = self._durations[stream.index][int(stamps.argmax())]
        first_key = self._first_key.get(stream.index)
        stamps = np.unique(stamps)
        gaps = np.diff(stamps)
        usual = float(np.median(gaps)) if gaps.size else 0.0
        last = last or int(usual)
        unit_s = float(stream.time_base)
        span_s = float(stamps[-1] - stamps[0]) * unit_s
        declared = float(getattr(stream, "average_rate", None) or 0)
        fps = (len(stamps) - 1) / span_s if span_s > 0 else declared
        uneven = bool(gaps.size and np.any(np.abs(gaps - usual) > max(1.5, _VFR_TOLERANCE * usual)))
        if declared and not uneven and abs(fps / declared - 1) < 0.01:
            fps = declared  # the exact ratio, where the packets' rounded times agree with it
        return StreamTimes(
            start_s=float(stamps[0]) * unit_s,
            end_s=float(stamps[-1] + last) * unit_s,
            last_s=last * unit_s,
            key_s=float(stamps[0] if first_key is None else first_key) * unit_s,
            fps=fps,
            uneven=uneven,
        )


def without_padding(sound: StreamTimes, stream: Any) -> StreamTimes:
    """Take off the silence that fills up the last packet, where an mp4 or mov says how much it is."""
    if stream.duration is None:
        return sound
    declared_s = float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    return replace(sound, end_s=declared_s) if 0 < sound.end_s - declared_s < _MAX_PADDING_S else sound


def _until_damaged(container: Any) -> Iterator[Any]:
    """Yield the packets up to the end, or up to where the file is damaged: what follows cannot be decoded either."""
    try:
        yield from container.demux()
    except av.error.FFmpegError:
        return
