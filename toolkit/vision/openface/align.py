"""From the rows of an OpenFace CSV to one row per frame of the clip's 30 Hz grid."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fmltk.toolkit.errors import MissingModalityError, OpenFaceError
from fmltk.toolkit.settings import DEFAULT_OPENFACE_CONFIDENCE, FRAME_RATE_HZ
from fmltk.toolkit.vision.openface.faces import count_elsewhere, follow_track, pick_faces
from fmltk.toolkit.vision.openface.layout import openface_features
from fmltk.toolkit.vision.row_times import DURATION_TOLERANCE_S, nearest_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fmltk.toolkit.vision.openface.rows import OpenFaceTable
    from fmltk.toolkit.vision.tracks import FaceTrack

OTHER_FACE = "OpenFace follows another face than the speaker's"


class OpenFaceSequence(NamedTuple):
    """OpenFace's values on a clip's grid.

    values : float32, shape (n_frames, d); valid : bool, shape (n_frames,); notes : what people should know, one line
    each
    """

    values: NDArray[np.float32]
    valid: NDArray[np.bool_]
    notes: tuple[str, ...]


def openface_sequence(
    table: OpenFaceTable,
    *,
    n_frames: int,
    start_s: float = 0.0,
    source_fps: float | None = None,
    rate_hz: float = FRAME_RATE_HZ,
    track: FaceTrack | None = None,
    groups: Iterable[str] | None = None,
    video_start_s: float = 0.0,
    frame_times_s: NDArray[np.float64] | None = None,
    file_duration_s: float | None = None,
    min_confidence: float = DEFAULT_OPENFACE_CONFIDENCE,
) -> OpenFaceSequence:
    """Return OpenFace's values on the clip's grid, and where they can be trusted.

    Grid frame k is at start_s + k / rate_hz. It takes the row nearest in time, the earlier of two equally near. A row's
    time is its timestamp, or frame / source_fps where the file has no timestamps. A grid frame is invalid where no row
    is within half a source frame (after the last row: a whole one, as that picture stays on screen), where OpenFace
    failed (success 0) or was less confident than `min_confidence`, or where one of the wanted values is not finite; all
    its values are then 0.

    In each frame, also in one with a single face, the successful face whose 2D landmarks' bounding box overlaps
    `track` most (intersection over union; equal: the lower face_id) is taken; without an overlap of MIN_OVERLAP the
    frame is invalid, for OpenFace follows somebody else. If the track is absent, or the file has no 2D landmarks, or
    there is no track, it is the face_id that overlapped the track most in sum, unless it is elsewhere in most frames,
    else the one with the most successful rows of the clip (equal: the lower id).

    Parameters
    ----------
    n_frames, start_s, rate_hz
        The clip's grid, on the clock of the file that the CSV describes.
    source_fps : frames per second of that file
        Needed where the CSV has no timestamps.
    track
        The speaker's boxes on the grid, in pixels of the picture that OpenFace saw.
    groups
        From OPENFACE_GROUPS; None is all seven: the 709 features of the paper.
    video_start_s
        When the file's first picture is shown; OpenFace counts from that picture.
    frame_times_s : float64, shape (n_source_frames,)
        When each picture of the file is shown (media.picture_times). Give it for a video of variable frame rate, where
        OpenFace's timestamps (frame / mean fps) drift from the file's clock; they are then not used, nor is
        video_start_s.
    file_duration_s
        For a clip cut from a longer file: when that file's picture ends. None: the clip is the whole file.
    min_confidence
        Rows of less confidence do not count; rows without one do.

    Returns
    -------
    OpenFaceSequence
        The columns of its values are those of openface_features(groups), with their units.

    Raises
    ------
    OpenFaceError
        If a wanted group is missing, the CSV's duration is not that of the clip (another clip's, or cut off), the file
        is of one picture, has no usable clock, or shows no face where the track is.
    MissingModalityError
        If OpenFace found no face in any frame of the clip, or none that it was confident of.
    ConfigError
        If a group is unknown.
    """
    names = _wanted_names(table, groups)
    if n_frames < 1:
        raise MissingModalityError(f"{table.path}: the clip has no frames to match OpenFace's rows with")
    if table.image_mode:
        raise OpenFaceError(
            f"{table.path}: is of one image (made by FaceLandmarkImg), not of a video; run FeatureExtraction -f VIDEO"
        )
    times, interval_s = _row_times(table, source_fps, video_start_s, frame_times_s)
    end_s = start_s + n_frames / rate_hz
    csv_end_s = float(times.max()) + interval_s
    _check_duration(table, csv_end_s, end_s, file_duration_s)

    grid = start_s + np.arange(n_frames) / rate_hz
    candidates, near = _candidates(table, times, grid, interval_s, frame_times_s)
    found = near & table.success[candidates]
    unsure = found & (table.confidence[candidates] < min_confidence)
    usable = found & ~unsure
    followed, overlap = follow_track(table, candidates, usable, track)
    rows = pick_faces(table, candidates, usable, overlap, followed)

    values = np.zeros((n_frames, len(names)), np.float32)
    chosen = rows >= 0
    values[chosen] = table.columns(names, rows[chosen])
    valid = chosen & np.isfinite(values).all(axis=1)
    values[~valid] = 0.0
    if not valid.any():
        if found.any() and not usable.any():
            most = float(table.confidence[candidates[found]].max())
            raise MissingModalityError(
                f"{table.path}: OpenFace's confidence is at most {most:g}; expected {min_confidence:g} or more in a "
                "frame at least (--openface-confidence)"
            )
        _explain_nothing(table, np.unique(candidates[near]), int(chosen.sum()))
    notes = []
    n_unsure = np.count_nonzero(unsure.any(axis=1) & ~usable.any(axis=1))
    if n_unsure:
        notes.append(f"{n_unsure} of {n_frames} frames are masked: OpenFace's confidence is under {min_confidence:g}")
    n_compared, n_elsewhere = count_elsewhere(usable, overlap, followed)
    if n_elsewhere:
        notes.append(f"{OTHER_FACE} in {n_elsewhere} of {n_compared} frames, which are masked")
    return OpenFaceSequence(values, valid, tuple(notes))


def _wanted_names(table: OpenFaceTable, groups: Iterable[str] | None) -> list[str]:
    features = openface_features(groups)
    missing = set(table.missing_names({feature.group for feature in features}))
    if missing:
        incomplete = []
        for group in dict.fromkeys(feature.group for feature in features if feature.name in missing):
            members = [feature.name for feature in openface_features([group])]
            n_present = sum(name not in missing for name in members)
            incomplete.append(f"{group} ({n_present} of {len(members)} columns)" if n_present else group)
        has = f"it has {', '.join(table.groups)}" if table.groups else "it has none of them whole"
        raise OpenFaceError(
            f"{table.path}: lacks the feature groups {', '.join(incomplete)}; {has}. Run OpenFace with -gaze -pose"
            " -2Dfp -3Dfp -pdmparams -aus, or ask for the present groups alone with --openface-features"
        )
    return [feature.name for feature in features]


def _row_times(
    table: OpenFaceTable,
    source_fps: float | None,
    video_start_s: float,
    frame_times_s: NDArray[np.float64] | None,
) -> tuple[NDArray[np.float64], float]:
    """Return each row's time in seconds on the file's clock, and the time from one source frame to the next."""
    fps = source_fps if source_fps is not None and np.isfinite(source_fps) and source_fps > 0 else None
    has_timestamps = bool(np.isfinite(table.timestamp_s).all())
    number = table.frame - _first_number(table, fps if has_timestamps else None)
    if frame_times_s is not None and len(frame_times_s) > 0:
        if number.max() >= len(frame_times_s):
            raise OpenFaceError(
                f"{table.path}: has a frame {table.frame.max()}, but the video has {len(frame_times_s)} frames: is it"
                " another clip's CSV?"
            )
        steps = np.diff(frame_times_s)
        return frame_times_s[number], float(np.median(steps)) if len(steps) else 0.0
    if has_timestamps:
        frames, first_rows = np.unique(table.frame, return_index=True)
        steps = np.diff(table.timestamp_s[first_rows]) / np.diff(frames)
        interval_s = float(np.median(steps)) if len(steps) else 1.0 / (fps or FRAME_RATE_HZ)
        if interval_s <= 0:
            raise OpenFaceError(f"{table.path}: its timestamps do not grow with the frames; run OpenFace again")
        return video_start_s + table.timestamp_s, interval_s
    if fps is None:
        raise OpenFaceError(f"{table.path}: has no timestamps, and the video's frame rate is not known either")
    return video_start_s + number / fps, 1.0 / fps


def _first_number(table: OpenFaceTable, fps: float | None) -> int:
    """Return what the file calls its video's first frame: 1 as OpenFace does, or 0 as some filtered files do.

    A filtered file may lack frame 0 itself: then its timestamps tell, where there are some (`fps` given).
    """
    if np.any(table.frame == 0):
        return 0
    if fps is None:
        return 1
    return int(np.clip(np.round(np.median(table.frame - table.timestamp_s * fps)), 0, 1))


def _check_duration(table: OpenFaceTable, csv_end_s: float, clip_end_s: float, file_duration_s: float | None) -> None:
    if csv_end_s < clip_end_s - DURATION_TOLERANCE_S:
        raise OpenFaceError(
            f"{table.path}: ends at {csv_end_s:.2f} s, but the clip ends at {clip_end_s:.2f} s: the CSV was cut off or"
            " belongs to another clip; run OpenFace again"
        )
    longest_s = clip_end_s if file_duration_s is None else max(file_duration_s, clip_end_s)
    if csv_end_s > longest_s + DURATION_TOLERANCE_S:
        raise OpenFaceError(
            f"{table.path}: lasts {csv_end_s:.2f} s, but the video lasts {longest_s:.2f} s: the CSV belongs to another"
            " clip; check its name"
        )


def _candidates(
    table: OpenFaceTable,
    times: NDArray[np.float64],
    grid: NDArray[np.float64],
    interval_s: float,
    frame_times_s: NDArray[np.float64] | None,
) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return each grid frame's rows ordered by face_id, and which are near enough, both (n_frames, n_faces)."""
    by_time = np.lexsort((table.face_id, table.frame, times))
    frame = table.frame[by_time]
    first = np.flatnonzero(np.r_[True, frame[1:] != frame[:-1]])  # of each frame's rows
    count = np.diff(np.r_[first, len(frame)])
    nearest, covered = nearest_rows(grid, times[by_time][first], interval_s, frame_times_s)
    slots = np.arange(int(count[nearest[covered]].max(initial=1)))
    candidates = by_time[(first[nearest][:, None] + slots).clip(max=len(frame) - 1)]
    return candidates, covered[:, None] & (slots < count[nearest][:, None])


def _explain_nothing(table: OpenFaceTable, rows: NDArray[np.intp], n_chosen: int) -> None:
    """Say why no grid frame is valid: `rows` are those near the grid, of which n_chosen were taken."""
    if not len(rows):
        raise OpenFaceError(f"{table.path}: has no row within the clip's time; is it another clip's CSV?")
    if not table.success[rows].any():
        n_frames = len(np.unique(table.frame[rows]))
        raise MissingModalityError(f"{table.path}: OpenFace found no face in any of {n_frames} frames")
    if n_chosen:
        raise OpenFaceError(f"{table.path}: each frame of the face holds a value that is not a finite number")
    raise OpenFaceError(
        f"{table.path}: none of its faces is where MTCNN follows the speaker; was OpenFace given another clip, or a"
        " video of another size or rotation?"
    )
