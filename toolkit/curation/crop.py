"""Each clip cropped to its speaker, with its audio: the paper crops videos "to filter out the extra faces".

Source: paper, section 5. The crop is upright, follows the speaker's box within each shot and never zooms: see
`upright_windows`. A shot without the speaker is black.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.catalog.sources import find_source, video_root
from fmltk.toolkit.curation.curate import read_rows
from fmltk.toolkit.errors import ConfigError, FmltkError, StoreError
from fmltk.toolkit.features.faces import FACE_FILE, SHOT_FILE, read_shots, read_speakers
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.io.outputs import hold_folder
from fmltk.toolkit.machine import n_cores
from fmltk.toolkit.media.audio import VIDEO_SOUND_RATE_HZ, read_audio
from fmltk.toolkit.media.frames import read_frames, read_note, write_video
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.run.vision import clip_path
from fmltk.toolkit.vision.align import crop_frame, upright_windows
from fmltk.toolkit.vision.shots import Shots
from fmltk.toolkit.vision.tracks import FaceTrack

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.io.paths import AnyPath

CROP_VERSION = 1  # raised when the same clip would be cropped in another way
_AHEAD = 4  # clips per core whose boxes are in memory


@dataclass(slots=True)
class CropSummary:
    """How many clips were cropped, how many were there already, and by utterance_id why others have no crop."""

    n_written: int = 0
    n_kept: int = 0
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Job:
    """A clip to crop: its row of the manifest, its shots, the speaker's boxes, where it lies and the crop goes."""

    row: Mapping[str, Any]
    shot_starts: NDArray[np.int32]
    frames: NDArray[np.int32]
    boxes: NDArray[np.float32]
    source: Path
    target: Path
    video_stream: int | None
    audio_stream: int | None

    @property
    def note(self) -> str:
        """The inputs of the crop: a file that says so is done."""
        made_of = (CROP_VERSION, *(self.row[name] for name in ("sha256", "start_s", "end_s")))
        digest = hashlib.sha256(repr(made_of).encode())
        digest.update(self.shot_starts.tobytes() + self.frames.tobytes() + self.boxes.tobytes())
        return f"fmltk crop {digest.hexdigest()}"


def crop_speakers(
    features: AnyPath, videos: Path, out: Path, *, excluded: Collection[str] = frozenset(), reporter: Reporter
) -> CropSummary:
    """Write each clip cropped to its speaker, with its audio, to ``out/<video_id>/<clip_id>.mp4``.

    A file that is there and was made of the same clip and the same boxes is kept, so that the same call continues one
    that was stopped.

    Parameters
    ----------
    features
        The feature folder, whose faces say where the speaker is.
    videos
        The videos that `fmltk extract` read.
    out
        The folder to write.
    excluded
        Ids of the clips that are left out.

    Raises ConfigError if `videos` does not exist or has none of the clips, StoreError if the folder has no faces or
    `out` cannot be written. A clip that cannot be cropped is left out with its reason.
    """
    folder = read_features(features)
    if not videos.exists():
        raise ConfigError(f"--videos {videos} does not exist; give what `fmltk extract` was given")
    for name in (FACE_FILE, SHOT_FILE):
        if not (folder.path / name).is_file():
            raise StoreError(f"{folder.path} has no {name}; run `fmltk extract` of this version with vision")
    rows = {row["utterance_id"]: row for row in read_rows(folder.path) if row["utterance_id"] not in excluded}
    sources = {one: find_source(row["source"], video_root(videos)) for one, row in rows.items()}
    if rows and not any(sources.values()):
        raise ConfigError(f"--videos {videos} has none of the {len(rows)} clips; give what `fmltk extract` was given")
    settings = folder.settings().get("settings", {})
    streams = {name: settings.get(name) for name in ("video_stream", "audio_stream")}
    shots = read_shots(folder.path / SHOT_FILE)
    jobs = (
        _Job(rows[one], shots[one], frames, boxes, source, clip_path(out, *_ids(rows[one])), **streams)
        for one, frames, boxes in read_speakers(folder.path / FACE_FILE)
        if (source := sources.get(one)) is not None
    )
    summary = CropSummary(left_out=dict.fromkeys(excluded, "excluded"))
    done = _crop_all(jobs, summary, reporter, out=out, n_clips=len(rows))
    for one in rows:
        if one not in done:
            summary.left_out[one] = (
                "the speaker's face was not found" if sources[one] else f"the video was not found below {videos}"
            )
    return summary


def _ids(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["video_id"], row["clip_id"]


def _crop_all(jobs: Iterator[_Job], summary: CropSummary, reporter: Reporter, *, out: Path, n_clips: int) -> set[str]:
    """Crop clips, one per core at a time, for ffmpeg does the work; return the ids of all."""
    seen = set()
    with (
        hold_folder(out, places=("", "*/")),
        reporter.progress("Cropping", n_clips) as progress,
        ThreadPoolExecutor(n_cores()) as threads,
    ):
        while batch := list(islice(jobs, _AHEAD * n_cores())):
            for job, outcome in zip(batch, threads.map(_crop, batch), strict=True):
                utterance = job.row["utterance_id"]
                seen.add(utterance)
                progress.advance()
                if isinstance(outcome, str):
                    summary.left_out[utterance] = outcome
                else:
                    summary.n_written += outcome
                    summary.n_kept += not outcome
    return seen


def _crop(job: _Job) -> bool | str:
    """Return whether the crop was written, or False where it was there already; else why there is none."""
    if read_note(job.target) == job.note:
        return False
    part = {"start_s": job.row["start_s"] or 0.0, "end_s": job.row["end_s"]}
    try:
        info = probe_media(job.source, video_stream=job.video_stream, audio_stream=job.audio_stream)
        track = _track(job, width=info.width, height=info.height)
        sound = None
        if info.has_audio and part["start_s"] < info.audio_end_s:
            sound = read_audio(job.source, info=info, rate_hz=VIDEO_SOUND_RATE_HZ, **part).samples
        cropped = _cropped(read_frames(job.source, info=info, **part), track)
        write_video(cropped, job.target, sound=sound, note=job.note)
    except StoreError:
        raise
    except FmltkError as error:
        return str(error)
    return True


def _cropped(frames: Iterable[NDArray[np.uint8]], track: FaceTrack) -> Iterator[NDArray[np.uint8]]:
    """Yield the window of each frame; black in a shot without the speaker, which shows somebody else or nobody."""
    seen = np.zeros(len(track.present), np.bool_)
    for first, last in track.shots.bounds:
        seen[first : last + 1] = track.present[first : last + 1].any()
    for frame, window, is_seen in zip(frames, upright_windows(track), seen, strict=False):
        part = crop_frame(frame, window)
        yield part if is_seen else np.zeros_like(part)


def _track(job: _Job, *, width: int, height: int) -> FaceTrack:
    """Return the speaker's boxes frame by frame."""
    n_frames = job.row["n_frames"]
    boxes = np.full((n_frames, 4), np.nan, np.float32)
    boxes[job.frames] = job.boxes
    present = np.isfinite(boxes[:, 0])
    nothing = np.full((n_frames, 5, 2), np.nan, np.float32)
    probabilities = np.where(present, np.float32(1), np.float32(np.nan))
    return FaceTrack(width, height, present, boxes, probabilities, nothing, Shots(job.shot_starts, n_frames))
