"""The built-in layout mtcnn-geometry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.vision.geometry import FACE_MODEL_MM, GEOMETRY_FEATURES, geometry_sequence, head_pose
from fmltk.toolkit.vision.openface.table import read_openface
from fmltk.toolkit.vision.shots import Shots, one_shot

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.numeric

COLUMN = {feature.name: i for i, feature in enumerate(GEOMETRY_FEATURES)}
RELATIVE = [name for name in COLUMN if name.endswith(("_x", "_y")) and not name.startswith(("box", "center"))]
POSE = ["yaw", "pitch", "roll"]


@dataclass
class Track:
    width: int
    height: int
    present: np.ndarray
    boxes: np.ndarray
    probabilities: np.ndarray
    landmarks: np.ndarray
    shots: Shots


def posed(yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0) -> np.ndarray:
    """The model's five points in the picture, 1 px/mm, turned as OpenFace's pose_Rx, pose_Ry, pose_Rz turn a head."""
    rotation = Rotation.from_euler("XYZ", [pitch, yaw, roll]).as_matrix()
    return (FACE_MODEL_MM @ rotation.T)[:, :2]


def follow(points: np.ndarray, *, present: list[bool] | None = None, size: tuple[int, int] = (640, 360)) -> Track:
    """A track of faces given by their landmarks, (n, 5, 2); the box is 20 px wider than they are on each side."""
    points = points.astype(np.float32)
    seen = np.ones(len(points), bool) if present is None else np.array(present)
    boxes = np.concatenate([points.min(axis=1) - 20, points.max(axis=1) + 20], axis=1)
    boxes[~seen], points[~seen] = np.nan, np.nan
    probabilities = np.where(seen, np.float32(0.99), np.float32(np.nan))
    return Track(*size, seen, boxes, probabilities, points, one_shot(len(points)))


def columns(values: np.ndarray, *names: str) -> np.ndarray:
    return values[:, [COLUMN[name] for name in names]]


def test_every_feature_has_a_name_of_its_own_a_unit_and_a_description() -> None:
    values, _ = geometry_sequence(follow(posed()[None] + 200))
    assert values.shape == (1, len(GEOMETRY_FEATURES))
    assert values.dtype == np.float32
    assert len(COLUMN) == len(GEOMETRY_FEATURES) == 33
    assert all(feature.unit and feature.description for feature in GEOMETRY_FEATURES)


def test_box_score_and_landmarks_are_as_described() -> None:
    points = np.array([[[120, 120], [180, 120], [150, 150], [130, 180], [170, 180]]], np.float32)
    track = Track(400, 200, np.array([True]), np.array([[100, 80, 200, 200]]), np.array([0.97]), points, one_shot(1))
    values, valid = geometry_sequence(track)
    assert valid.tolist() == [True]
    box = columns(values, "box_center_x", "box_center_y", "box_width", "box_height", "score")
    np.testing.assert_allclose(box[0], [150 / 400, 140 / 200, 100 / 400, 120 / 200, 0.97], rtol=1e-6)
    np.testing.assert_allclose(
        columns(values, "left_eye_x", "left_eye_y", "nose_x")[0], [0.2, 40 / 120, 0.5], rtol=1e-6
    )
    sizes = columns(values, "eye_distance", "mouth_width")[0]
    np.testing.assert_allclose(sizes, np.array([60, 40]) / np.sqrt(100 * 120), rtol=1e-6)


# Head pose


@pytest.mark.parametrize("yaw", [-0.6, -0.2, 0.0, 0.4])
@pytest.mark.parametrize("pitch", [-0.5, 0.0, 0.3])
@pytest.mark.parametrize("roll", [-0.7, 0.0, 0.2])
def test_a_known_pose_is_recovered(yaw: float, pitch: float, roll: float) -> None:
    values, _ = geometry_sequence(follow(2.5 * posed(yaw, pitch, roll)[None] + [320, 180]))
    np.testing.assert_allclose(columns(values, *POSE)[0], [yaw, pitch, roll], atol=1e-5)


def test_the_signs_are_as_described() -> None:
    front = posed()
    nose = 2
    assert posed(yaw=0.3)[nose, 0] < front[nose, 0]
    assert posed(pitch=0.3)[nose, 1] > front[nose, 1]
    left_eye, right_eye = posed(roll=0.3)[:2]
    assert right_eye[1] > left_eye[1]
    pose = head_pose(np.stack([posed(yaw=0.3), posed(pitch=0.3), posed(roll=0.3)]))
    np.testing.assert_allclose(pose, np.eye(3) * 0.3, atol=1e-9)


def test_a_pose_bears_the_noise_of_a_detector() -> None:
    rng = np.random.default_rng(0)
    poses = rng.uniform([-0.6, -0.5, -0.8], [0.6, 0.5, 0.8], (500, 3))
    noise = rng.normal(0, 0.64, (500, 5, 2))  # a hundredth of the distance between the eyes
    error = head_pose(np.stack([posed(*pose) for pose in poses]) + noise) - poses
    yaw, pitch, roll = np.degrees(np.abs(error)).mean(axis=0)
    assert yaw < 1.5
    assert pitch < 3
    assert roll < 1


@pytest.mark.parametrize(
    ("name", "yaw_deg", "pitch_deg"),
    [("WDA_AOC", 8, 8), ("lp_d11", 8, 8), ("retalking_4", 8, 15), ("latentsync_demo1", 8, 18)],
)
def test_the_pose_agrees_with_openface_s_on_real_faces(
    test_data: Path, name: str, yaw_deg: float, pitch_deg: float
) -> None:
    table = read_openface(test_data / "openface" / f"{name}.csv")
    x, y = (table.columns([f"{axis}_{i}" for i in range(68)]).astype(float) for axis in "xy")
    points = np.stack([five_points(x), five_points(y)], axis=2)
    expected = table.columns(["pose_Ry", "pose_Rx", "pose_Rz"])
    pose = head_pose(points)
    correlation = [np.corrcoef(pose[:, i], expected[:, i])[0, 1] for i in range(3)]
    assert min(correlation) > 0.6
    bias = np.degrees(np.abs((pose - expected).mean(axis=0)))
    assert (bias < [yaw_deg, pitch_deg, 3]).all()


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """MTCNN's five points from OpenFace's 68, one coordinate: (n, 68) -> (n, 5)."""
    eyes = [landmarks[:, 36:42].mean(axis=1), landmarks[:, 42:48].mean(axis=1)]
    return np.stack([*eyes, landmarks[:, 30], landmarks[:, 48], landmarks[:, 54]], axis=1)


def test_landmarks_in_one_point_have_no_pose() -> None:
    assert head_pose(np.full((1, 5, 2), 7.0)).tolist() == [[0.0, 0.0, 0.0]]


# Invariance


@given(st.floats(0.2, 4), st.floats(0, 300), st.floats(0, 200))
def test_what_is_relative_does_not_change_with_place_and_size(scale: float, right: float, down: float) -> None:
    points = posed(0.2, -0.1, 0.15)[None]
    track, other = follow(points + 150), follow(points + 150)
    other.boxes = other.boxes * scale + [right, down, right, down]
    other.landmarks = other.landmarks * scale + [right, down]
    names = [*RELATIVE, *POSE, "eye_distance", "mouth_width"]
    assert len(names) == 15
    first, second = (columns(geometry_sequence(t)[0], *names) for t in (track, other))
    np.testing.assert_allclose(first, second, atol=1e-4)


def test_all_is_the_same_in_a_picture_of_twice_the_size() -> None:
    rng = np.random.default_rng(1)
    points = np.stack([posed(*rng.normal(0, 0.2, 3)) + 150 + rng.normal(0, 3, 2) for _ in range(5)])
    track = follow(points)
    double = Track(1280, 720, track.present, track.boxes * 2, track.probabilities, track.landmarks * 2, track.shots)
    np.testing.assert_allclose(geometry_sequence(track)[0], geometry_sequence(double)[0], rtol=1e-4, atol=1e-5)


# Absent faces and motion


def test_motion_has_its_sign_and_unit() -> None:
    points = np.stack([posed() + np.array([200 + 2 * i, 150 - i]) for i in range(4)])
    track = follow(points)
    values, _ = geometry_sequence(track, rate_hz=30)
    width, height = track.boxes[0, 2:] - track.boxes[0, :2]
    side = np.sqrt(width * height)
    velocity = columns(values, "center_velocity_x", "center_velocity_y", "scale_velocity")
    assert velocity[0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(velocity[1:], np.tile([60 / side, -30 / side, 0], (3, 1)), atol=1e-4)
    np.testing.assert_allclose(columns(values, "nose_x_velocity", "nose_y_velocity"), 0, atol=1e-3)
    halved, _ = geometry_sequence(track, rate_hz=15)
    np.testing.assert_allclose(columns(halved, "center_velocity_x"), velocity[:, :1] / 2, rtol=1e-6)


@pytest.mark.parametrize("starts", [[0, 3], [0, 1, 2], [0, 5]])
def test_motion_never_spans_a_cut(starts) -> None:
    points = np.stack([posed(0.02 * k) * 1.01**k + 200 + k for k in range(6)])
    cut, whole = follow(points), follow(points)
    cut.shots = Shots(np.array(starts, np.int32), 6)
    moving = [name for name in COLUMN if "velocity" in name]
    of_cut, of_whole = (columns(geometry_sequence(one)[0], *moving) for one in (cut, whole))
    assert not of_cut[starts].any()
    inside = np.setdiff1d(np.arange(6), starts)
    np.testing.assert_array_equal(of_cut[inside], of_whole[inside])
    assert of_whole[1:].any(axis=1).all()


def test_a_growing_face_has_a_positive_scale_velocity() -> None:
    track = follow(np.stack([posed() + 150] * 3))
    growth = np.array([1.0, 1.1, 1.1**2])
    center = (track.boxes[:, :2] + track.boxes[:, 2:]) / 2
    track.boxes = np.tile(center, 2) + (track.boxes - np.tile(center, 2)) * growth[:, None]
    values, _ = geometry_sequence(track)
    np.testing.assert_allclose(columns(values, "scale_velocity")[:, 0], [0, *[30 * np.log(1.1)] * 2], rtol=1e-4)
    assert not columns(values, "center_velocity_x", "center_velocity_y").round(3).any()


def test_landmark_motion_is_within_the_box() -> None:
    track = follow(np.stack([posed() + 150] * 3))
    track.landmarks[1:, 2, 0] += 3  # the nose jumps to the right and stays
    values, _ = geometry_sequence(track)
    width = track.boxes[0, 2] - track.boxes[0, 0]
    np.testing.assert_allclose(columns(values, "nose_x_velocity")[:, 0], [0, 3 / width * 30, 0], atol=1e-4)
    assert not columns(values, "nose_y_velocity", "left_eye_x_velocity").any()


def test_absent_frames_are_zero_and_motion_begins_anew_after_them() -> None:
    points = np.stack([posed() + np.array([200 + 5 * i, 150]) for i in range(6)])
    values, valid = geometry_sequence(follow(points, present=[False, True, True, False, True, True]))
    assert valid.tolist() == [False, True, True, False, True, True]
    assert not values[~valid].any()
    moves = columns(values, "center_velocity_x")[:, 0] > 0
    assert moves.tolist() == [False, False, True, False, False, True]
    assert np.isfinite(values).all()


@pytest.mark.parametrize("damage", ["nan landmark", "no area", "turned over", "nan score"])
def test_a_face_that_is_none_is_invalid(damage: str) -> None:
    track = follow(np.stack([posed() + 150] * 3))
    if damage == "nan landmark":
        track.landmarks[1, 3, 1] = np.nan
    elif damage == "no area":
        track.boxes[1, 2] = track.boxes[1, 0]
    elif damage == "turned over":
        track.boxes[1] = track.boxes[1][[2, 3, 0, 1]]
    else:
        track.probabilities[1] = np.nan
    values, valid = geometry_sequence(track)
    assert valid.tolist() == [True, False, True]
    assert not values[1].any()
    assert np.isfinite(values).all()


def test_a_frame_does_not_depend_on_later_ones() -> None:
    rng = np.random.default_rng(2)
    points = np.stack([posed(*rng.normal(0, 0.2, 3)) + 150 for _ in range(9)])
    whole, _ = geometry_sequence(follow(points))
    part, _ = geometry_sequence(follow(points[:4]))
    assert whole[:4].tobytes() == part.tobytes()


def test_a_track_without_frames_and_one_without_a_size() -> None:
    values, valid = geometry_sequence(follow(np.empty((0, 5, 2))))
    assert values.shape == (0, 33)
    assert valid.shape == (0,)
    with pytest.raises(FeatureError, match="0x360 px at 30"):
        geometry_sequence(follow(np.stack([posed()]), size=(0, 360)))
