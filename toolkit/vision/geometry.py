"""The built-in layout `mtcnn-geometry`: what MTCNN's box and five landmarks tell, without OpenFace.

Head pose is a weak-perspective fit of five points of an average adult face. Five points do not tell a long nose from a
lowered head: compared with OpenFace's pose, roll is within 2 degrees and yaw within 8 on average over a clip, while
pitch is off by up to 15 degrees, by person, though it follows the movements of a head.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fmltk.toolkit.vision.tracks import FaceTrack

LANDMARKS = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")  # MTCNN's order; left in the picture

# The five points of an average adult face, in mm: x to the picture's right, y down, z away from the camera,
# 64 mm between the pupils. Rounded means of the 3D landmarks that OpenFace finds on frontal faces, turned upright.
FACE_MODEL_MM = np.array([(-32, 0, 0), (32, 0, 0), (0, 32, -30), (-26, 70, -2), (26, 70, -2)], np.float64)


class GeometryFeature(NamedTuple):
    """One column of the layout."""

    name: str
    unit: str
    description: str


def _points(name: str, unit: str, what: str) -> list[GeometryFeature]:
    return [
        GeometryFeature(f"{landmark}_{axis}{name}", unit, what.format(landmark.replace("_", " "), axis))
        for landmark in LANDMARKS
        for axis in "xy"
    ]


GEOMETRY_FEATURES: tuple[GeometryFeature, ...] = (
    GeometryFeature("box_center_x", "frame widths", "centre of the face box; 0 is the picture's left edge"),
    GeometryFeature("box_center_y", "frame heights", "centre of the face box; 0 is the picture's upper edge"),
    GeometryFeature("box_width", "frame widths", "width of the face box"),
    GeometryFeature("box_height", "frame heights", "height of the face box"),
    GeometryFeature("score", "probability", "MTCNN's probability that the box holds a face"),
    *_points("", "box sides", "{0}, {1}, within the face box; 0 is its left or upper side, 1 the other"),
    GeometryFeature(
        "yaw", "rad", "head turned about the vertical axis; positive: the nose moves to the picture's left"
    ),
    GeometryFeature("pitch", "rad", "head turned about the ear-to-ear axis; positive: the nose moves down"),
    GeometryFeature("roll", "rad", "head turned in the picture plane; positive: clockwise"),
    GeometryFeature("eye_distance", "box sizes", "distance between the eyes over the square root of the box's area"),
    GeometryFeature("mouth_width", "box sizes", "distance between the mouth's corners, likewise"),
    GeometryFeature("center_velocity_x", "box sizes/s", "motion of the box's centre to the right"),
    GeometryFeature("center_velocity_y", "box sizes/s", "motion of the box's centre downwards"),
    GeometryFeature("scale_velocity", "1/s", "growth of the logarithm of the box's size"),
    *_points("_velocity", "box sides/s", "motion of {0}, {1}, within the face box"),
)


def geometry_sequence(
    track: FaceTrack, *, rate_hz: float = FRAME_RATE_HZ
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Return the layout's features per frame, and where they are valid.

    A frame is valid where the track has the face, its numbers are finite and its box has an area; elsewhere all values
    are 0. Motion is the difference to the frame before, times rate_hz; it is 0 in the first frame of each run of valid
    frames of a shot, as there is nothing to compare it with.

    track : FaceTrack
        The speaker's face, boxes and landmarks in pixels, one entry per frame.
    rate_hz : float
        Frames per second of the track.

    Returns
    -------
    values : float32, shape (n_frames, 33)
        Columns and units as in GEOMETRY_FEATURES.
    valid : bool, shape (n_frames,)

    Raises
    ------
    FeatureError
        If the track's frame size or rate_hz is not positive.
    """
    if track.width <= 0 or track.height <= 0 or rate_hz <= 0:
        raise FeatureError(f"a track of {track.width}x{track.height} px at {rate_hz} Hz has no geometry")
    n_frames = len(track.present)
    valid = _usable(track)
    boxes = np.where(valid[:, None], track.boxes, [0.0, 0.0, 1.0, 1.0]).astype(np.float64)
    points = np.where(valid[:, None, None], track.landmarks, FACE_MODEL_MM[:, :2]).astype(np.float64)

    corner, size = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
    center = corner + size / 2  # (n_frames, 2)
    side = np.sqrt(size.prod(axis=1))  # (n_frames,)
    frame_size = np.array([track.width, track.height], np.float64)
    relative = ((points - corner[:, None]) / size[:, None]).reshape(n_frames, 10)
    eye_distance = np.linalg.norm(points[:, 1] - points[:, 0], axis=1) / side
    mouth_width = np.linalg.norm(points[:, 4] - points[:, 3], axis=1) / side
    moving = valid[1:] & valid[:-1] & (np.diff(track.shots.of_frame) == 0)  # from each frame to the next
    center_step = _steps(center, moving)
    mean_side = np.r_[side[:1], np.sqrt(side[1:] * side[:-1])]
    values = np.column_stack(
        [
            center / frame_size,
            size / frame_size,
            track.probabilities,
            relative,
            head_pose(points),
            eye_distance,
            mouth_width,
            center_step / mean_side[:, None] * rate_hz,
            _steps(np.log(side)[:, None], moving) * rate_hz,
            _steps(relative, moving) * rate_hz,
        ]
    )
    values[~valid] = 0.0
    return values.astype(np.float32), valid


def _usable(track: FaceTrack) -> NDArray[np.bool_]:
    boxes = track.boxes
    finite = np.isfinite(boxes).all(axis=1) & np.isfinite(track.landmarks).all(axis=(1, 2))
    finite &= np.isfinite(track.probabilities)
    with np.errstate(invalid="ignore"):
        return track.present & finite & (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _steps(values: NDArray[np.float64], moving: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each frame's difference to the one before; 0 where `moving` is False, and in the first."""
    steps = np.zeros_like(values)
    steps[1:][moving] = (values[1:] - values[:-1])[moving]
    return steps


def head_pose(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return yaw, pitch and roll in rad of faces given by their five landmarks.

    The affine map from FACE_MODEL_MM to the picture that fits the five points best is found by least squares; the
    scaled rotation nearest to it (singular values set equal) is the pose. Signs and axes are those of OpenFace's
    pose_Ry, pose_Rx and pose_Rz: rotation = Rx(pitch) Ry(yaw) Rz(roll), in camera axes x right, y down, z away.

    points : shape (n, 5, 2), in pixels, in the order of LANDMARKS

    Returns an array of shape (n, 3); 0 where all five points are one.

    >>> head_pose(FACE_MODEL_MM[None, :, :2]).round(6) + 0.0
    array([[0., 0., 0.]])
    """
    model = FACE_MODEL_MM - FACE_MODEL_MM.mean(axis=0)  # (5, 3)
    centred = points - points.mean(axis=1, keepdims=True)
    affine = np.einsum("kp,npi->nik", np.linalg.pinv(model), centred)  # (n, 2, 3)
    left, _, right = np.linalg.svd(affine, full_matrices=False)
    x_axis, y_axis = np.moveaxis(left @ right, 1, 0)  # (n, 3) each: the first two rows of the rotation
    z_axis = np.cross(x_axis, y_axis)
    yaw = np.arcsin(np.clip(x_axis[:, 2], -1.0, 1.0))
    pitch = np.arctan2(-y_axis[:, 2], z_axis[:, 2])
    roll = np.arctan2(-x_axis[:, 1], x_axis[:, 0])
    pose = np.stack([yaw, pitch, roll], axis=1)
    pose[~centred.any(axis=(1, 2))] = 0.0
    return pose
