"""A clip's video frames: their faces, which of them is the speaker's, and that face cut out."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from urllib.parse import quote

from fmltk.toolkit.errors import MissingModalityError
from fmltk.toolkit.features.faces import FaceRows
from fmltk.toolkit.features.fingerprints import pack_words
from fmltk.toolkit.media.frames import count_blank_frames, count_frames, read_frames, read_pictures, write_video
from fmltk.toolkit.run.modalities import ClipSource, ModalityResult
from fmltk.toolkit.settings import BUILTIN, FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.media.pictures import Frame
    from fmltk.toolkit.run.speaking import FoundSpeaker, LoadNetwork
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
    from fmltk.toolkit.vision.tracks import FaceTrack, FaceTracks

Place = TypeVar("Place", Path, "AnyPath")


@dataclass(frozen=True, slots=True)
class SeenClip:
    """A clip, how many 30 Hz frames it has, and the face of the person who speaks, None where there is none."""

    source: ClipSource
    n_frames: int
    speaker: FaceTrack | None

    @property
    def face(self) -> FaceTrack:
        """The speaker's face. Raises MissingModalityError if there is none."""
        if self.speaker is None:
            raise MissingModalityError(no_face(self.n_frames))
        return self.speaker


def seen_before(source: ClipSource, rows: FaceRows, shot_starts: NDArray[np.int32], n_frames: int) -> SeenClip:
    """Return a clip whose faces are known from its shard."""
    import numpy as np

    from fmltk.toolkit.vision.shots import Shots
    from fmltk.toolkit.vision.tracks import FaceTracks, join_tracks

    tracks = FaceTracks(
        n_frames,
        source.info.width,
        source.info.height,
        rows.frame,
        rows.track,
        rows.boxes,
        rows.probabilities,
        rows.landmarks.reshape(-1, 5, 2),
        Shots(shot_starts, n_frames),
    )
    chosen = np.zeros(tracks.n_tracks, np.bool_)
    chosen[rows.track[rows.speaker]] = True
    return SeenClip(source, n_frames, join_tracks(tracks, chosen) if chosen.any() else None)


def no_face(n_frames: int) -> str:
    """Return what is said of a clip without a face."""
    return f"no face was found in any of the {n_frames} frames"


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


def look(
    source: ClipSource, detector: FaceDetector, load_network: LoadNetwork | None = None
) -> tuple[ModalityResult, SeenClip]:
    """Return what a clip's picture tells of it, its faces among it, and what visual sets are given.

    load_network : gives LR-ASD's network where it is to say who of several people speaks

    Raises MissingModalityError if the clip has no video.
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
            f"vision: the first {n_blank} of {expected} frames come before the first frame that can be decoded"
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
    return found, SeenClip(source, faces.n_frames, faces.speaker)


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


def clip_pictures(source: ClipSource) -> Iterator[Frame]:
    """Yield the same frames for those who look at little of each."""
    clip = source.clip
    return read_pictures(clip.file, info=source.info, start_s=clip.start_s, end_s=clip.end_s)


def find_faces(source: ClipSource, detector: FaceDetector, load_network: LoadNetwork | None = None) -> ClipFaces:
    """Follow every face through the clip, find out whose it is, and choose the speaker's.

    Raises MissingModalityError if the clip has no video.
    """
    from fmltk.toolkit.run.speaking import find_clip_speaker
    from fmltk.toolkit.vision.fingerprint import PictureSigns
    from fmltk.toolkit.vision.looks import looks_of
    from fmltk.toolkit.vision.people import link_people, may_be_linked
    from fmltk.toolkit.vision.speaker import counted_tracks
    from fmltk.toolkit.vision.tracking import track_faces
    from fmltk.toolkit.vision.tracks import join_tracks

    picture, settings = PictureSigns(), source.settings
    frames = picture.watch(clip_pictures(source))
    tracks = track_faces(frames, detector, tracking=settings.face_tracking, every=settings.face_every)
    counted = counted_tracks(tracks)
    people = link_people(tracks, counted, lambda: clip_pictures(source), looks_of(settings.identity))
    found = find_clip_speaker(source, tracks, people, load_network)
    return ClipFaces(
        tracks,
        people,
        found,
        speaker=join_tracks(tracks, found.tracks) if found.tracks.any() else None,
        compared=may_be_linked(tracks, counted),
        fingerprint=pack_words(picture.signs()),
    )


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


def write_crops(seen: SeenClip, files: Mapping[int, BinaryIO]) -> None:
    """Cut out the speaker's aligned face in one pass over the video, for all who need it.

    As a 30 Hz video below faces/crops/, black where the face is absent, where the settings ask for it; and into a file
    per side in pixels, uint8 (size, size, 3) each, the frames with the face alone.

    Raises MissingModalityError without a face.
    """
    import numpy as np

    from fmltk.toolkit.vision.align import align_face

    source, face, video_size = seen.source, seen.face, seen.source.settings.face_crops
    black = np.zeros((video_size, video_size, 3), np.uint8)

    def video() -> Iterator[NDArray[np.uint8]]:
        for frame, landmarks, present in zip(clip_frames(source), face.landmarks, face.present, strict=True):
            sizes = {*files, video_size} - {0} if present else ()
            crops = {size: align_face(frame, landmarks, size) for size in sizes}
            for size, file in files.items():
                if present:
                    file.write(crops[size].tobytes())
            yield crops.get(video_size, black)

    if video_size:
        write_video(video(), crop_path(source.paths.features, source.clip))
    else:
        deque(video(), maxlen=0)


def crop_path(features: AnyPath, clip: Clip) -> AnyPath:
    """Return where a clip's aligned face video lies."""
    return clip_path(features / "faces" / "crops", clip.video_id, clip.clip_id)


def clip_path(folder: Place, video_id: str, clip_id: str) -> Place:
    """Return where a video of a clip lies in a folder of its own; ids that are not file names are percent-encoded."""
    return folder / _file_name(video_id) / f"{_file_name(clip_id)}.mp4"


def _file_name(text: str) -> str:
    kept = "".join(quote(letter, safe="") if letter in '/\\:*?"<>|%' or ord(letter) < 32 else letter for letter in text)
    return kept.replace(".", "%2E", 1) if kept.startswith(".") else kept
