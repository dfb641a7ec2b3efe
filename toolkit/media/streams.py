"""Which picture and which sound of a file are meant, and what its header says of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import av

_COVER_ART = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
# Made for some listeners, or spoken over the sound of the film: never preferred to a plain track.
_SECOND_CHOICE = (
    av.stream.Disposition.comment
    | av.stream.Disposition.dub
    | av.stream.Disposition.karaoke
    | av.stream.Disposition.lyrics
    | av.stream.Disposition.hearing_impaired
    | av.stream.Disposition.visual_impaired
    | av.stream.Disposition.clean_effects
    | av.stream.Disposition.descriptions
    | av.stream.Disposition.dependent
)
_SQUARE_TOLERANCE = 0.015
_MAX_ASPECT = 10.0


@dataclass(frozen=True, slots=True)
class Choice:
    """The stream of one kind that is used.

    Attributes
    ----------
    stream
        PyAV's stream; None where there is none.
    absent
        Why there is none, as a sentence without the file's name; "" where there is one.
    note
        If the file contains several: which one is used and which are not; "" otherwise.
    """

    stream: Any = None
    absent: str = ""
    note: str = ""


def choose_stream(container: Any, kind: str, wanted: int | None) -> Choice:
    """Return the stream of a kind that players and ffmpeg would choose, or the one that is asked for.

    That is a default track before others, a plain one before commentary and tracks for the hard of hearing, then the
    picture with the most pixels or the sound of the highest bit rate, then the first. Cover art is not a picture.

    Parameters
    ----------
    container
        PyAV's open file.
    kind
        "video" or "audio".
    wanted
        The number of the stream among those of its kind, from 0, as in ffmpeg's ``-map 0:a:1``; None to choose.
    """
    streams = [one for one in getattr(container.streams, kind) if not one.disposition & _COVER_ART]
    if wanted is not None and wanted >= len(streams):
        absent = f"--{kind}-stream {wanted}: the file has {len(streams)} {kind} streams, counted from 0"
        return Choice(absent=absent)
    if not streams:
        return Choice(absent=f"the file has no {kind}")
    best = max(range(len(streams)), key=lambda number: _rank(streams[number])) if wanted is None else wanted
    if len(streams) == 1:
        return Choice(streams[best])
    others = ", ".join(f"{number} ({_describe(one)})" for number, one in enumerate(streams) if number != best)
    how = "is used" if wanted is None else "is used as asked for"
    note = f"stream {best} ({_describe(streams[best])}) {how}, not {others}; --{kind}-stream chooses"
    return Choice(streams[best], note=note)


def _rank(stream: Any) -> tuple[bool, bool, bool, int]:
    context = stream.codec_context
    size = 0
    if context is not None:
        # Not the number of channels: PyAV 18 frees a layout of its own making twice when it is asked for it.
        size = context.width * context.height if stream.type == "video" else context.bit_rate or 0
    return (
        context is not None,  # there is a decoder
        not stream.disposition & _SECOND_CHOICE,
        bool(stream.disposition & av.stream.Disposition.default),
        size,
    )


def _describe(stream: Any) -> str:
    """Return what tells a stream from the others: codec, size, language, title, whether it is the default."""
    context = stream.codec_context
    words = [context.name if context is not None else "unknown codec"]
    if context is not None:
        words.append(f"{context.width}x{context.height}" if stream.type == "video" else f"{context.sample_rate} Hz")
    words += [stream.metadata[key] for key in ("language", "title") if stream.metadata.get(key, "und") != "und"]
    if stream.disposition & av.stream.Disposition.default:
        words.append("default")
    return " ".join(words)


def declared_end_s(stream: Any, container: str) -> float | None:
    """Return when a stream ends by the file's header, in seconds on libav's clock; None where it does not say.

    container : ffmpeg's name of the format, such as "mov"
    """
    if container == "mov" and stream.duration is not None:
        return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
    if container == "avi" and stream.type == "video" and stream.average_rate:
        return float(stream.frames / stream.average_rate)
    if container == "matroska" and "DURATION" in stream.metadata:
        clock = re.fullmatch(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", stream.metadata["DURATION"].strip())
        return None if clock is None else int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    return None


def shown_size(width: int, height: int, stream: Any) -> tuple[int, int]:
    """Return the size of a stored picture in square pixels: nothing is made smaller, the other side is stretched.

    A ratio within 1.5 % of 1 is a rounded 1, and one beyond 1:10 or 10:1 is damage.
    """
    ratio = float(stream.sample_aspect_ratio or 1)
    if abs(ratio - 1) < _SQUARE_TOLERANCE or not 1 / _MAX_ASPECT <= ratio <= _MAX_ASPECT:
        return width, height
    return (round(width * ratio), height) if ratio > 1 else (width, round(height / ratio))
