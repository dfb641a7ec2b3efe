"""From a clip's picture to its visual features: faces, the speaker, and the chosen layout."""

from __future__ import annotations

import contextlib
import functools
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import quote

from fmltk.toolkit.errors import FmltkError, MissingModalityError, StoreError
from fmltk.toolkit.features.faces import FaceRows
from fmltk.toolkit.features.fingerprints import pack_words
from fmltk.toolkit.features.shards import ClipSequence
from fmltk.toolkit.media.frames import count_blank_frames, count_frames, read_frames, write_video
from fmltk.toolkit.run.modalities import ClipSource, ModalityResult
from fmltk.toolkit.run.tasks import find_csv
from fmltk.toolkit.settings import BUILTIN, FRAME_RATE_HZ, OPENFACE_LAYOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.run.speaking import FoundSpeaker, LoadNetwork
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
    from fmltk.toolkit.vision.openface.align import OpenFaceSequence
    from fmltk.toolkit.vision.openface.rows import OpenFaceTable
    from fmltk.toolkit.vision.tracks import FaceTrack, FaceTracks

Place = TypeVar("Place", Path, "AnyPath")
OPENFACE_TIMEOUT_PER_FRAME_S = 1.0  # OpenFace does 25-40 frames a second on one core
OPENFACE_TIMEOUT_S = 120.0
OPENFACE_TIME_SHARE = 0.5  # of --clip-timeout, so that the message is OpenFace's own rather than the worker's end


@dataclass(frozen=True, slots=True)
class ClipFaces:
    """The faces of one clip, whose they are, which of them are the speaker's, and what the picture is known by.

    people : int32 (n_tracks,), each track's person; -1: of nobody who counts
    found : which tracks are the speaker's, and how that is known; speaker: them as one face, None where there is none
    compared : whether faces had to be compared to find the people
    """

    tracks: FaceTracks
    people: NDArray[np.int32]
    found: FoundSpeaker
    speaker: FaceTrack | None
    compared: bool
    fingerprint: NDArray[np.uint16]

    @property
    def n_frames(self) -> int:
        """How many 30 Hz frames the clip has."""
        return self.tracks.n_frames

    @property
    def coverage(self) -> float:
        """The share of frames in which the speaker's face is there, 0 to 1."""
        return 0.0 if self.speaker is None else float(self.speaker.present.mean())

    @property
    def median_px(self) -> float | None:
        """The median of the longer side of the speaker's box, in pixels; None without a face."""
        import numpy as np

        if self.speaker is None or not self.speaker.present.any():
            return None
        boxes = self.speaker.boxes[self.speaker.present]
        return float(np.median((boxes[:, 2:] - boxes[:, :2]).max(axis=1)))


def vision_result(
    source: ClipSource, detector: FaceDetector, load_network: LoadNetwork | None = None
) -> ModalityResult:
    """Return the clip's visual features float32 (n_frames, d), its faces, and what is said of them.

    load_network : gives LR-ASD's network where it is to say who of several people speaks

    Raises MissingModalityError if the clip has no video. Where only the features fail, the result has the error.
    """
    clip, info, settings = source.clip, source.info, source.settings
    faces = find_faces(source, detector, load_network)
    warnings = [f"vision: {info.video_note}"] if info.video_note else []
    expected = count_frames(info, start_s=clip.start_s, end_s=clip.end_s, rate_hz=FRAME_RATE_HZ)
    if faces.n_frames < expected:
        warnings.append(
            f"vision: {faces.n_frames} of {expected} frames could be decoded; the file is damaged at its end"
        )
    if source.paths.openface_folder is not None and info.stored_size != (info.width, info.height):
        warnings.append(
            f"vision: the pixels are not square ({info.stored_size[0]}x{info.stored_size[1]} shown as "
            f"{info.width}x{info.height}), and OpenFace takes them for square: its angles and 2D landmarks are squeezed"
        )
    n_blank = count_blank_frames(info, start_s=clip.start_s, rate_hz=FRAME_RATE_HZ)
    if n_blank:
        warnings.append(
            f"vision: the first {n_blank} of {expected} frames come before the first picture that can be decoded"
        )
    if faces.found.warning:
        warnings.append(f"vision: {faces.found.warning}")
    if settings.identity == BUILTIN and faces.compared:
        warnings.append(
            "vision: faces of several shots were linked by colours, which is weak; pip install 'fmltk[identity]'"
        )
    found = ModalityResult(
        columns={
            "n_frames": faces.n_frames,
            "n_faces": int(faces.people.max(initial=-1)) + 1,
            "face_coverage": faces.coverage,
            "n_shots": faces.tracks.shots.n_shots,
            "median_face_px": faces.median_px,
            "speaker_source": faces.found.source,
            "speaker_share": faces.found.share,
            "speaker_margin": faces.found.margin,
        },
        warnings=tuple(warnings),
        parts={"faces": _face_rows(faces), "shot_starts": faces.tracks.shots.starts},
        fingerprint=faces.fingerprint,
    )
    try:
        if settings.face_crops:
            write_crops(source, faces)
        values, valid, notes = vision_features(source, faces)
        found = replace(found, warnings=(*warnings, *(f"vision: {note}" for note in notes)))
        counted = {"vision_valid": float(valid.mean()), "longest_gap_s": longest_gap_s(valid)}
        return replace(found, sequence=ClipSequence(values, valid), columns={**found.columns, **counted})
    except StoreError:
        raise
    except Exception as error:  # a part of the clip's row, beside what is known of its faces
        return replace(found, error=error)


def longest_gap_s(valid: NDArray[np.bool_]) -> float:
    """Return the longest time without a valid 30 Hz frame, in seconds; valid : bool (n_frames,).

    >>> import numpy as np
    >>> longest_gap_s(np.array([False] * 3 + [True] * 9 + [False] * 6 + [True]))
    0.2
    """
    import numpy as np

    known = np.flatnonzero(np.concatenate([[True], valid, [True]]))  # the clip's ends count as known
    return float(np.diff(known).max() - 1) / FRAME_RATE_HZ


def clip_frames(source: ClipSource) -> Iterator[NDArray[np.uint8]]:
    """Yield the clip's frames at 30 Hz, uint8 (height, width, 3) RGB."""
    clip = source.clip
    return read_frames(clip.file, info=source.info, start_s=clip.start_s, end_s=clip.end_s, rate_hz=FRAME_RATE_HZ)


def find_faces(source: ClipSource, detector: FaceDetector, load_network: LoadNetwork | None = None) -> ClipFaces:
    """Follow every face through the clip, find out whose it is, and choose the speaker's.

    Raises MissingModalityError if the clip has no picture.
    """
    from fmltk.toolkit.run.speaking import find_clip_speaker
    from fmltk.toolkit.vision.fingerprint import PictureSigns
    from fmltk.toolkit.vision.looks import looks_of
    from fmltk.toolkit.vision.people import link_people, may_be_linked
    from fmltk.toolkit.vision.speaker import counted_tracks
    from fmltk.toolkit.vision.tracking import track_faces
    from fmltk.toolkit.vision.tracks import join_tracks

    picture, settings = PictureSigns(), source.settings
    tracks = track_faces(picture.watch(clip_frames(source)), detector, tracking=settings.face_tracking)
    counted = counted_tracks(tracks)
    people = link_people(tracks, counted, lambda: clip_frames(source), looks_of(settings.identity))
    found = find_clip_speaker(source, tracks, people, load_network)
    return ClipFaces(
        tracks,
        people,
        found,
        speaker=join_tracks(tracks, found.tracks) if found.tracks.any() else None,
        compared=may_be_linked(tracks, counted),
        fingerprint=pack_words(picture.signs()),
    )


def vision_features(
    source: ClipSource, faces: ClipFaces
) -> tuple[NDArray[np.float32], NDArray[np.bool_], tuple[str, ...]]:
    """Return the layout's features float32 (n_frames, d), where they are valid, bool (n_frames,), and what is odd.

    Raises MissingModalityError if no frame has a face, OpenFaceError or ProcessError if OpenFace gave nothing usable.
    """
    if source.settings.vision_layout != OPENFACE_LAYOUT:
        from fmltk.toolkit.vision.geometry import geometry_sequence

        values, valid = geometry_sequence(_speaker(faces))
        notes: tuple[str, ...] = ()
    elif source.paths.openface_folder is not None:
        values, valid, notes = _openface_from_folder(source, faces)
    else:
        values, valid, notes = _openface_by_running(source, faces)
    if not valid.any():
        raise MissingModalityError(f"the face is usable in none of the {faces.n_frames} frames")
    return values, valid, notes


def _face_rows(faces: ClipFaces) -> FaceRows:
    import numpy as np

    tracks = faces.tracks
    return FaceRows(
        frame=tracks.frame.astype(np.int32),
        track=tracks.track.astype(np.int32),
        person=faces.people[tracks.track],
        speaker=faces.found.tracks[tracks.track],
        boxes=tracks.boxes.astype(np.float32).reshape(-1, 4),
        probabilities=tracks.probabilities.astype(np.float32),
        landmarks=tracks.landmarks.astype(np.float32).reshape(-1, 10),
    )


def _speaker(faces: ClipFaces) -> FaceTrack:
    if faces.speaker is None:
        raise MissingModalityError(_no_face(faces))
    return faces.speaker


def _no_face(faces: ClipFaces) -> str:
    return f"no face was found in any of the {faces.n_frames} frames"


def _openface_from_folder(source: ClipSource, faces: ClipFaces) -> OpenFaceSequence:
    from fmltk.toolkit.media.picture_times import read_picture_times
    from fmltk.toolkit.vision.openface.align import openface_sequence
    from fmltk.toolkit.vision.openface.files import find_openface_csv

    clip, info, paths = source.clip, source.info, source.paths
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
            track=_in_stored_pixels(faces.speaker, info),
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


def _openface_by_running(source: ClipSource, faces: ClipFaces) -> OpenFaceSequence:
    """Run OpenFace on a 30 Hz video of the speaker (or of the whole picture): its rows are the grid's frames."""
    from fmltk.toolkit.vision.openface.align import openface_sequence

    speaker = _speaker(faces)
    with tempfile.TemporaryDirectory(prefix="fmltk-openface-") as name, _without_folder(Path(name)):
        table = _run_on_video(Path(name), source, speaker)
        return openface_sequence(
            table,
            n_frames=faces.n_frames,
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


def write_crops(source: ClipSource, faces: ClipFaces) -> None:
    """Write the speaker's aligned face as a 30 Hz video below faces/crops/; black where it is absent."""
    import numpy as np

    from fmltk.toolkit.vision.align import align_face

    speaker, size = _speaker(faces), source.settings.face_crops
    black = np.zeros((size, size, 3), np.uint8)
    crops = (
        align_face(frame, landmarks, size) if present else black
        for frame, landmarks, present in zip(clip_frames(source), speaker.landmarks, speaker.present, strict=True)
    )
    write_video(crops, crop_path(source.paths.features, source.clip))


def crop_path(features: AnyPath, clip: Clip) -> AnyPath:
    """Return where a clip's aligned face video lies."""
    return clip_path(features / "faces" / "crops", clip.video_id, clip.clip_id)


def clip_path(folder: Place, video_id: str, clip_id: str) -> Place:
    """Return where a video of a clip lies in a folder of its own; ids that are not file names are percent-encoded."""
    return folder / _file_name(video_id) / f"{_file_name(clip_id)}.mp4"


def _file_name(text: str) -> str:
    kept = "".join(quote(letter, safe="") if letter in '/\\:*?"<>|%' or ord(letter) < 32 else letter for letter in text)
    return kept.replace(".", "%2E", 1) if kept.startswith(".") else kept
