"""Clips to watch in a report: small previews inside the file up to a limit, relative links to the videos beyond it."""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import quote

from fmltk.toolkit.errors import ConfigError, MediaError
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.settings import DEFAULT_MAX_PIXELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.report.document import Case

PREVIEW_HEIGHT = 270
PREVIEW_TIMEOUT_S = 120.0


@dataclass(slots=True)
class Clips:
    """What can be watched, by utterance_id: previews (base64 of MP4) and links (relative URLs)."""

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
    root = videos if videos.is_dir() else videos.parent
    found = [(case, path) for case in cases if (path := _locate(case, root)) is not None]
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


def _locate(case: Case, root: Path) -> Path | None:
    """Return a case's video below `root`; None where there is none, or its name leads elsewhere."""
    if not case.source or ".." in PurePosixPath(case.source).parts:
        return None
    path = root / case.source
    if not path.absolute().is_relative_to(root.absolute()):
        return None
    try:
        return path if path.is_file() else None
    except (OSError, ValueError):
        return None


def _preview(case: Case, path: Path) -> str | None:
    """Return the clip as a small MP4 that every browser plays, as base64; None where ffmpeg cannot make one."""
    import ffmpeg

    from fmltk.toolkit.media.process import QUIET_OPTIONS, file_url, find_ffmpeg, input_guards, run_program

    try:
        program = find_ffmpeg()
        with ScratchFolder() as folder:
            target = folder / "preview.mp4"
            cut = {} if not case.start_s else {"ss": case.start_s}
            if case.end_s is not None:
                cut["t"] = case.end_s - (case.start_s or 0.0)
            source = ffmpeg.input(file_url(path), **QUIET_OPTIONS, **input_guards(max_pixels=DEFAULT_MAX_PIXELS), **cut)
            output = ffmpeg.output(
                source["v:0"].filter("scale", -2, f"min({PREVIEW_HEIGHT},trunc(ih/2)*2)"),
                source["a:0?"],
                file_url(target),
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
            argv = ffmpeg.compile(output.overwrite_output(), cmd=program.path)
            run_program(argv, timeout_s=PREVIEW_TIMEOUT_S, what=f"ffmpeg on {case.source!r}", hide=[folder])
            return base64.b64encode(target.read_bytes()).decode()
    except (MediaError, ConfigError):
        return None  # the link remains


def _link(case: Case, path: Path, out: Path) -> str:
    relative = os.path.relpath(path.absolute(), out.absolute().parent)
    url = quote(os.fsencode(relative))
    if case.start_s or case.end_s is not None:
        end = "" if case.end_s is None else f",{case.end_s:.3f}"
        url += f"#t={case.start_s or 0:.3f}{end}"
    return url
