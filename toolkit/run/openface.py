"""The visual set `openface`: OpenFace's rows of a clip, from CSVs that exist or by running it."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError, FmltkError, MissingModalityError
from fmltk.toolkit.extractors.contract import Card, Features, Reads
from fmltk.toolkit.media.frames import write_video
from fmltk.toolkit.run.tasks import find_csv
from fmltk.toolkit.run.vision import clip_frames, no_face
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.run.modalities import ClipSource
    from fmltk.toolkit.run.vision import SeenClip
    from fmltk.toolkit.vision.openface.align import OpenFaceSequence
    from fmltk.toolkit.vision.openface.rows import OpenFaceTable
    from fmltk.toolkit.vision.tracks import FaceTrack

OPENFACE_TIMEOUT_PER_FRAME_S = 1.0  # OpenFace does 25-40 frames a second on one core
OPENFACE_TIMEOUT_S = 120.0
OPENFACE_TIME_SHARE = 0.5  # of --clip-timeout, so that the message is OpenFace's own rather than the worker's end


@dataclass(frozen=True, slots=True)
class OpenFaceSet:
    """The groups of OpenFace features in use; empty: all seven. The run's settings say where its rows come from."""

    groups: tuple[str, ...] = ()

    @property
    def card(self) -> Card:
        """The set's card."""
        from fmltk.toolkit.vision.openface.layout import openface_features

        return Card(
            name="openface",
            modality="vision",
            reads=Reads.RUN,
            features=tuple((one.name, one.unit) for one in openface_features(self.groups or None)),
            rate_hz=FRAME_RATE_HZ,
        )

    def load(self, device: str) -> Callable[[SeenClip], Features]:
        """Return the function of one clip; it runs on the CPU."""
        return _features


def extractor(argument: str | None) -> OpenFaceSet:
    """Refuse OpenFace next to another first visual set: `--vision openface[:DIR]` as the first is --openface."""
    raise ConfigError("openface can only be the first visual set of a folder: name it before the others, or use -o")


def _features(seen: SeenClip) -> Features:
    """Return OpenFace's features of a clip, where they are valid, and what is odd.

    Raises MissingModalityError if no frame has a face, OpenFaceError or ProcessError if OpenFace gave nothing usable.
    """
    rows = _from_folder if seen.source.paths.openface_folder is not None else _by_running
    values, valid, notes = rows(seen)
    return Features(values, valid, notes)


def _from_folder(seen: SeenClip) -> OpenFaceSequence:
    from fmltk.toolkit.media.picture_times import read_picture_times
    from fmltk.toolkit.vision.openface.align import openface_sequence
    from fmltk.toolkit.vision.openface.files import find_openface_csv

    source = seen.source
    clip, info, paths = source.clip, source.info, source.paths
    assert paths.openface_folder is not None  # noqa: S101 - the caller has seen to it
    with _without_folder(paths.openface_folder):
        if seen.speaker is None and find_csv(clip, paths) is None:
            raise MissingModalityError(f"{no_face(seen.n_frames)}, and the clip has no OpenFace CSV")
        found = find_openface_csv(paths.openface_folder, clip, shared_stems=paths.shared_stems)
        table = _read_csv(found.path, found.path.stat().st_mtime_ns)
        whole = found.of_whole_file
        cut = clip.start_s > 0 or clip.end_s is not None
        return openface_sequence(
            table,
            n_frames=seen.n_frames,
            start_s=clip.start_s if whole else 0.0,
            source_fps=info.fps,
            track=_in_stored_pixels(seen.speaker, info),
            groups=source.settings.openface_groups or None,
            video_start_s=info.first_key_s if whole else 0.0,
            frame_times_s=read_picture_times(clip.file, info=info) if whole and info.vfr else None,
            file_duration_s=info.video_end_s if whole and cut else None,
            min_confidence=source.settings.openface_confidence,
        )


def _in_stored_pixels(track: FaceTrack | None, info: MediaInfo) -> FaceTrack | None:
    """Return the track in the picture that OpenFace saw: it knows nothing of pixels that are not square."""
    import numpy as np

    if track is None or info.stored_size == (info.width, info.height):
        return track
    scale = np.divide(info.stored_size, (info.width, info.height))
    return replace(track, boxes=(track.boxes * np.tile(scale, 2)).astype(track.boxes.dtype))


@functools.lru_cache(maxsize=1)
def _read_csv(path: Path, _changed_ns: int) -> OpenFaceTable:
    """Read a CSV; many clips cut from one long video read it once."""
    from fmltk.toolkit.vision.openface.table import read_openface

    return read_openface(path)


def _by_running(seen: SeenClip) -> OpenFaceSequence:
    """Run OpenFace on a 30 Hz video of the speaker (or of the whole picture): its rows are the grid's frames."""
    from fmltk.toolkit.vision.openface.align import openface_sequence

    source, speaker = seen.source, seen.face
    with tempfile.TemporaryDirectory(prefix="fmltk-openface-") as name, _without_folder(Path(name)):
        table = _run_on_video(Path(name), source, speaker)
        return openface_sequence(
            table,
            n_frames=seen.n_frames,
            source_fps=FRAME_RATE_HZ,
            track=speaker if source.settings.openface_input == "clip" else None,
            groups=source.settings.openface_groups or None,
            min_confidence=source.settings.openface_confidence,
        )


def _run_on_video(folder: Path, source: ClipSource, speaker: FaceTrack) -> OpenFaceTable:
    from fmltk.toolkit.vision.align import crop_frame, upright_windows
    from fmltk.toolkit.vision.openface.program import run_openface
    from fmltk.toolkit.vision.openface.table import read_openface

    frames, paths = clip_frames(source), source.paths
    if source.settings.openface_input == "face":
        windows = upright_windows(speaker)
        frames = (crop_frame(frame, window) for frame, window in zip(frames, windows, strict=True))
    video = folder / "clip.mp4"
    write_video(frames, video)
    timeout_s = OPENFACE_TIMEOUT_S + OPENFACE_TIMEOUT_PER_FRAME_S * len(speaker.present)
    if paths.clip_timeout_s is not None:
        timeout_s = OPENFACE_TIME_SHARE * paths.clip_timeout_s
    assert paths.openface_program is not None  # noqa: S101 - the layout was chosen because there is one
    return read_openface(run_openface(paths.openface_program, video, folder, timeout_s=timeout_s))


@contextlib.contextmanager
def _without_folder(folder: Path) -> Iterator[None]:
    """Leave a folder's path out of messages: the manifest's bytes do not depend on where files lie."""
    try:
        yield
    except FmltkError as error:
        message = str(error).replace(f"{folder}/", "").removeprefix(f"{folder}: ").replace(str(folder), "the folder")
        raise type(error)(message) from error
