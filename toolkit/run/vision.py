"""From a clip's picture to its visual features: faces, the speaker, and the chosen layout."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from fmltk.toolkit.errors import FmltkError, MissingModalityError
from fmltk.toolkit.io.files import atomic_path
from fmltk.toolkit.io.paths import RemotePath
from fmltk.toolkit.media.frames import read_frames, write_video
from fmltk.toolkit.run.tasks import find_csv
from fmltk.toolkit.settings import FRAME_RATE_HZ, OPENFACE_LAYOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.run.tasks import RunPaths
    from fmltk.toolkit.settings import ExtractSettings
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
    from fmltk.toolkit.vision.openface.table import OpenFaceTable
    from fmltk.toolkit.vision.tracking import FaceTrack, FaceTracks

OPENFACE_TIMEOUT_PER_FRAME_S = 1.0  # OpenFace does 25-40 frames a second on one core
OPENFACE_TIMEOUT_S = 120.0
OPENFACE_TIME_SHARE = 0.5  # of --clip-timeout, so that the message is OpenFace's own rather than the worker's end


@dataclass(frozen=True, slots=True)
class ClipFaces:
    """The faces of one clip, and which of them is the speaker's."""

    tracks: FaceTracks
    speaker: FaceTrack | None
    speaker_id: int | None
    n_faces: int

    @property
    def n_frames(self) -> int:
        """How many 30 Hz frames the clip has."""
        return self.tracks.n_frames

    @property
    def coverage(self) -> float:
        """The share of frames in which the speaker's face is there, 0 to 1."""
        return 0.0 if self.speaker is None else float(self.speaker.present.mean())


def clip_frames(clip: Clip, info: MediaInfo) -> Iterator[NDArray[np.uint8]]:
    """Yield the clip's frames at 30 Hz, uint8 (height, width, 3) RGB."""
    return read_frames(clip.file, info=info, start_s=clip.start_s, end_s=clip.end_s, rate_hz=FRAME_RATE_HZ)


def find_faces(clip: Clip, info: MediaInfo, detector: FaceDetector, settings: ExtractSettings) -> ClipFaces:
    """Follow every face through the clip and choose the speaker's.

    Raises MissingModalityError if the clip has no picture.
    """
    from fmltk.toolkit.vision.tracking import count_faces, find_speaker, speaker_track, track_faces

    tracks = track_faces(clip_frames(clip, info), detector, tracking=settings.face_tracking)
    speaker_id = find_speaker(tracks, settings.face_select)
    speaker = None if speaker_id is None else speaker_track(tracks, speaker_id)
    return ClipFaces(tracks, speaker, speaker_id, count_faces(tracks))


def vision_features(
    clip: Clip, info: MediaInfo, faces: ClipFaces, settings: ExtractSettings, paths: RunPaths
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the layout's features float32 (n_frames, d) and where they are valid, bool (n_frames,).

    Raises MissingModalityError if no frame has a face, OpenFaceError or ProcessError if OpenFace gave nothing usable.
    """
    if settings.vision_layout != OPENFACE_LAYOUT:
        from fmltk.toolkit.vision.geometry import geometry_sequence

        values, valid = geometry_sequence(_speaker(faces))
    elif paths.openface_folder is not None:
        values, valid = _openface_from_folder(clip, info, faces, settings, paths)
    else:
        values, valid = _openface_by_running(clip, info, faces, settings, paths)
    if not valid.any():
        raise MissingModalityError(f"the face is usable in none of the {faces.n_frames} frames")
    return values, valid


def _speaker(faces: ClipFaces) -> FaceTrack:
    if faces.speaker is None:
        raise MissingModalityError(_no_face(faces))
    return faces.speaker


def _no_face(faces: ClipFaces) -> str:
    return f"no face was found in any of the {faces.n_frames} frames"


def _openface_from_folder(
    clip: Clip, info: MediaInfo, faces: ClipFaces, settings: ExtractSettings, paths: RunPaths
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    from fmltk.toolkit.media.picture_times import read_picture_times
    from fmltk.toolkit.vision.openface.align import openface_sequence
    from fmltk.toolkit.vision.openface.files import find_openface_csv

    assert paths.openface_folder is not None  # noqa: S101 - the caller has seen to it
    with _without_folder(paths.openface_folder):
        if faces.speaker is None and find_csv(clip, paths) is None:
            raise MissingModalityError(f"{_no_face(faces)}, and there is no OpenFace CSV of the clip")
        found = find_openface_csv(paths.openface_folder, clip, shared_stems=paths.shared_stems)
        table = _read_csv(found.path, found.path.stat().st_mtime_ns)
        whole = found.of_whole_file
        cut = clip.start_s > 0 or clip.end_s is not None
        return openface_sequence(
            table,
            n_frames=faces.n_frames,
            start_s=clip.start_s if whole else 0.0,
            source_fps=info.fps,
            track=faces.speaker,
            groups=settings.openface_groups or None,
            video_start_s=info.video_start_s if whole else 0.0,
            frame_times_s=read_picture_times(clip.file, info=info) if whole and info.vfr else None,
            file_duration_s=info.video_end_s if whole and cut else None,
        )


@functools.lru_cache(maxsize=1)
def _read_csv(path: Path, _changed_ns: int) -> OpenFaceTable:
    """Read a CSV; many clips cut from one long video read it once."""
    from fmltk.toolkit.vision.openface.table import read_openface

    return read_openface(path)


def _openface_by_running(
    clip: Clip, info: MediaInfo, faces: ClipFaces, settings: ExtractSettings, paths: RunPaths
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Run OpenFace on a 30 Hz video of the speaker (or of the whole picture): its rows are the grid's frames."""
    from fmltk.toolkit.vision.openface.align import openface_sequence

    speaker = _speaker(faces)
    with tempfile.TemporaryDirectory(prefix="fmltk-openface-") as name, _without_folder(Path(name)):
        table = _run_on_video(Path(name), clip, info, speaker, settings, paths)
        return openface_sequence(
            table,
            n_frames=faces.n_frames,
            source_fps=FRAME_RATE_HZ,
            track=speaker if settings.openface_input == "clip" else None,
            groups=settings.openface_groups or None,
        )


def _run_on_video(
    folder: Path, clip: Clip, info: MediaInfo, speaker: FaceTrack, settings: ExtractSettings, paths: RunPaths
) -> OpenFaceTable:
    from fmltk.toolkit.vision.align import crop_frame, upright_windows
    from fmltk.toolkit.vision.openface.program import run_openface
    from fmltk.toolkit.vision.openface.table import read_openface

    frames = clip_frames(clip, info)
    if settings.openface_input == "face":
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


def write_crops(clip: Clip, info: MediaInfo, faces: ClipFaces, settings: ExtractSettings, paths: RunPaths) -> None:
    """Write the speaker's aligned face as a 30 Hz video below faces/crops/; black where it is absent."""
    import numpy as np

    from fmltk.toolkit.vision.align import align_face

    speaker, size = _speaker(faces), settings.face_crops
    black = np.zeros((size, size, 3), np.uint8)
    crops = (
        align_face(frame, landmarks, size) if present else black
        for frame, landmarks, present in zip(clip_frames(clip, info), speaker.landmarks, speaker.present, strict=True)
    )
    path = crop_path(paths.features, clip)
    if isinstance(path, RemotePath):
        with atomic_path(path) as local:
            write_video(crops, local)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(crops, path)


def crop_path(features: AnyPath, clip: Clip) -> AnyPath:
    """Return where a clip's aligned face video lies; ids that are no file names are percent-encoded."""
    return features / "faces" / "crops" / _file_name(clip.video_id) / f"{_file_name(clip.clip_id)}.mp4"


def _file_name(text: str) -> str:
    kept = "".join(quote(letter, safe="") if letter in '/\\:*?"<>|%' or ord(letter) < 32 else letter for letter in text)
    return kept.replace(".", "%2E", 1) if kept.startswith(".") else kept
