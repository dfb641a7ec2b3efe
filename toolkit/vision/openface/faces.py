"""Which of several faces in OpenFace's rows is the speaker's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import OpenFaceError
from fmltk.toolkit.vision.openface.layout import N_FACE_LANDMARKS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.vision.openface.rows import OpenFaceTable
    from fmltk.toolkit.vision.tracks import FaceTrack

# Intersection over union of a face's 2D landmarks and its MTCNN box: 0.61 to 0.84 in 1,600 frames of nine clips.
MIN_OVERLAP = 0.3


def pick_faces(
    table: OpenFaceTable,
    candidates: NDArray[np.intp],
    usable: NDArray[np.bool_],
    overlap: NDArray[np.float64],
    followed: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """Return for each grid frame the row of the speaker's face, -1 where there is none.

    candidates, usable, overlap : shape (n_frames, n_faces), ordered by face_id; followed : shape (n_frames,)
    """
    face = table.face_id[candidates]
    favourite = _favourite(table, candidates[usable], face, overlap)
    compared = usable & (face == favourite) & followed[:, None]
    is_speaker = 2 * np.count_nonzero(overlap[compared] >= MIN_OVERLAP) >= np.count_nonzero(compared)
    score = np.where(
        followed[:, None], np.where(overlap >= MIN_OVERLAP, overlap, 0.0), (face == favourite) & is_speaker
    )
    score = np.where(usable, score, 0.0)
    best = np.argmax(score, axis=1)  # the first of equals: the lower face_id
    rows = np.arange(len(best))
    return np.where(score[rows, best] > 0, candidates[rows, best], -1)


def count_elsewhere(
    usable: NDArray[np.bool_], overlap: NDArray[np.float64], followed: NDArray[np.bool_]
) -> tuple[int, int]:
    """Return in how many frames OpenFace has a face and the speaker is there, and in how many of them it is another."""
    compared = followed & usable.any(axis=1)
    return np.count_nonzero(compared), np.count_nonzero(compared & (overlap.max(axis=1) < MIN_OVERLAP))


def follow_track(
    table: OpenFaceTable,
    candidates: NDArray[np.intp],
    usable: NDArray[np.bool_],
    track: FaceTrack | None,
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return where the track says which face is the speaker's, shape (n_frames,), and each candidate's overlap with it.

    Raises OpenFaceError if the track has another number of frames.
    """
    n_frames = len(candidates)
    nowhere = np.zeros(n_frames, bool), np.zeros(candidates.shape)
    if track is None or table.missing_names(["landmarks_2d"]):
        return nowhere
    if len(track.present) != n_frames:
        raise OpenFaceError(f"{table.path}: the face track has {len(track.present)} frames, the clip {n_frames}")
    overlap = np.where(usable, _overlaps(table, candidates, track.boxes), 0.0)
    return track.present.astype(bool), np.where(track.present[:, None], overlap, 0.0)


def _favourite(
    table: OpenFaceTable, usable_rows: NDArray[np.intp], face: NDArray[np.int64], overlap: NDArray[np.float64]
) -> int:
    """Return the face_id that overlaps the track most in sum, else the one with the most successful rows."""
    ids = np.unique(table.face_id[usable_rows])
    if not len(ids):
        return -1
    sums = [float(overlap[face == i].sum()) for i in ids]
    if max(sums) > 0:
        return int(ids[int(np.argmax(sums))])
    successes = table.face_id[np.unique(usable_rows)]
    return int(ids[int(np.argmax([np.count_nonzero(successes == i) for i in ids]))])


def _overlaps(table: OpenFaceTable, candidates: NDArray[np.intp], boxes: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return intersection over union of each candidate's 2D landmarks with the track, shape of `candidates`.

    boxes : shape (n_frames, 4), x1 y1 x2 y2 in pixels
    """
    used, index = np.unique(candidates, return_inverse=True)
    x, y = (table.columns([f"{axis}_{i}" for i in range(N_FACE_LANDMARKS)], used).astype(np.float64) for axis in "xy")
    low = np.stack([x.min(axis=1), y.min(axis=1)], axis=1)[index.reshape(candidates.shape)]  # (n_frames, n_faces, 2)
    high = np.stack([x.max(axis=1), y.max(axis=1)], axis=1)[index.reshape(candidates.shape)]
    box_low, box_high = boxes[:, None, :2].astype(np.float64), boxes[:, None, 2:].astype(np.float64)
    shared = (np.minimum(high, box_high) - np.maximum(low, box_low)).clip(0).prod(axis=-1)
    union = (high - low).prod(axis=-1) + (box_high - box_low).prod(axis=-1) - shared
    overlap = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return np.where(np.isfinite(overlap), overlap, 0.0)
