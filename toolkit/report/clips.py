"""Clips to watch in a report: small previews inside the file up to a limit, relative links to the videos beyond it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fmltk.toolkit.catalog.sources import find_source, video_root
from fmltk.toolkit.errors import ConfigError, MediaError
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.settings import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.report.document import Case

PREVIEW_HEIGHT = 270
PREVIEW_TIMEOUT_S = 120.0
STRIP_PICTURES, STRIP_HEIGHT = 3, 120


@dataclass(slots=True)
class Clips:
    """Clips that can be watched, by utterance_id: previews (base64 of MP4) and links (relative URLs)."""

    previews: dict[str, str]
    links: dict[str, str]


def gather_clips(cases: Sequence[Case], videos: Path, out: Path, *, limit_bytes: int, reporter: Reporter) -> Clips:
    """Return the clips of `cases`, most wanted first: previews until they take `limit_bytes`, links for the others.

    videos : the folder that the cases' sources are below, or the file or table that `fmltk extract` was given
    out : the report, which links are relative to

    Raises ConfigError if `videos` does not exist.
    """
    if not videos.exists():
        raise ConfigError(f"--videos {videos} does not exist; give the folder that `fmltk extract` read")
    root = video_root(videos)
    found = [(case, path) for case in cases if (path := find_source(case.source, root)) is not None]
    if not found and any(case.source for case in cases):
        reporter.warn(f"--videos {videos} holds none of the {len(cases)} clips; give the folder that was extracted")
    clips = Clips({}, {})
    left = limit_bytes
    if limit_bytes > 0:
        _require_ffmpeg(reporter)
    with reporter.progress("Previews", len(found)) as progress:
        for case, path in found:
            data = _preview(case, path) if left > 0 else None
            progress.advance()
            if data is not None and len(data) <= left:
                clips.previews[case.utterance_id] = data
                left -= len(data)
                continue
            if data is not None:
                left = 0  # full: later clips are not tried, so that what is embedded does not depend on their sizes
            clips.links[case.utterance_id] = _link(case, path, out)
    return clips


def _require_ffmpeg(reporter: Reporter) -> None:
    from fmltk.toolkit.media.process import find_ffmpeg

    try:
        find_ffmpeg()
    except ConfigError as error:
        reporter.warn(f"clips are linked, not embedded: {error}")


def _preview(case: Case, path: Path) -> str | None:
    """Return the clip as a small MP4 that every browser plays, as base64; None where ffmpeg cannot make one."""
    source = _source(case, path)
    return _made_by_ffmpeg(
        case,
        [source["v:0"].filter("scale", -2, f"min({PREVIEW_HEIGHT},trunc(ih/2)*2)"), source["a:0?"]],
        format="mp4",
        vcodec="libx264",
        preset="veryfast",
        crf=30,
        pix_fmt="yuv420p",
        acodec="aac",
        ac=1,
        audio_bitrate=48_000,
        map_metadata=-1,
        movflags="+faststart",
        fflags="+bitexact",
        **{"flags:v": "+bitexact", "flags:a": "+bitexact", "threads": 1},
    )


def picture_strip(case: Case, path: Path) -> str | None:
    """Return three pictures of a clip next to each other, a JPEG as base64; None where ffmpeg cannot make one."""
    third_s = (case.duration_s or 0.0) / STRIP_PICTURES
    source = _source(case, path)["v:0"]
    apart = f"isnan(prev_selected_t)*gte(t,{third_s / 2:.3f})+gte(t-prev_selected_t,{third_s:.3f})"
    strip = (
        source.filter("select", apart)
        .filter("scale", -2, STRIP_HEIGHT)
        .filter("tile", f"{STRIP_PICTURES}x1", padding=2)
    )
    options: dict[str, Any] = {"frames:v": 1, "q:v": 5, "flags:v": "+bitexact", "threads": 1}
    return _made_by_ffmpeg(case, [strip], format="mjpeg", vcodec="mjpeg", pix_fmt="yuvj420p", **options)


def _source(case: Case, path: Path) -> Any:
    """Return a clip's part of its file, as ffmpeg reads it."""
    import ffmpeg

    from fmltk.toolkit.media.process import QUIET_OPTIONS, file_url, input_guards

    cut = {} if not case.start_s else {"ss": case.start_s}
    if case.end_s is not None:
        cut["t"] = case.end_s - (case.start_s or 0.0)
    return ffmpeg.input(file_url(path), **QUIET_OPTIONS, **input_guards(max_pixels=DEFAULT_MAX_PIXELS), **cut)


def _made_by_ffmpeg(case: Case, streams: Sequence[Any], **options: Any) -> str | None:
    """Return what ffmpeg makes of streams of a clip, as base64; None where it cannot."""
    import ffmpeg

    from fmltk.toolkit.media.process import file_url, find_ffmpeg, run_program

    try:
        program = find_ffmpeg()
        with ScratchFolder() as folder:
            target = folder / "made"
            output = ffmpeg.output(*streams, file_url(target), **options).overwrite_output()
            argv = ffmpeg.compile(output, cmd=program.path)
            run_program(argv, timeout_s=PREVIEW_TIMEOUT_S, what=f"ffmpeg on {case.source!r}", hide=[folder])
            return base64.b64encode(target.read_bytes()).decode() if target.is_file() else None
    except (MediaError, ConfigError):
        return None


def _link(case: Case, path: Path, out: Path) -> str:
    relative = os.path.relpath(path.absolute(), out.absolute().parent)
    url = quote(os.fsencode(relative))
    if case.start_s or case.end_s is not None:
        end = "" if case.end_s is None else f",{case.end_s:.3f}"
        url += f"#t={case.start_s or 0:.3f}{end}"
    return url
