"""Aligned crops and upright windows."""

from __future__ import annotations

import numpy as np
import pytest

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.vision.align import TEMPLATE_PX, Window, align_face, crop_frame, similarity, upright_windows
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
from fmltk.toolkit.vision.shots import Shots, one_shot
from fmltk.toolkit.vision.tracks import FaceTrack

pytestmark = pytest.mark.numeric


def smooth_picture(height: int, width: int) -> np.ndarray:
    """A picture whose value at x, y is known and changes slowly."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x / 2, y / 2, (x + y) / 4], axis=2).astype(np.uint8)


def track(
    boxes: np.ndarray, present: np.ndarray, *, width: int = 640, height: int = 360, shots: Shots | None = None
) -> FaceTrack:
    boxes = np.where(present[:, None], boxes, np.nan).astype(np.float32)
    n = len(present)
    landmarks = np.zeros((n, 5, 2), np.float32) + boxes[:, :1, None]
    return FaceTrack(width, height, present, boxes, boxes[:, 0] * 0 + 1, landmarks, shots or one_shot(n))


@pytest.mark.parametrize("size", [112, 224])
def test_a_known_similarity_is_undone(size):
    angle, scale, shift = np.deg2rad(20), 1.7, 150 + 90j
    template = (TEMPLATE_PX[:, 0] + 1j * TEMPLATE_PX[:, 1]) * (size / 112)
    moved = scale * np.exp(1j * angle) * template + shift  # where the landmarks are in the frame
    landmarks = np.stack([moved.real, moved.imag], axis=1).astype(np.float32)
    frame = smooth_picture(480, 500)
    crop = align_face(frame, landmarks, size)
    assert crop.shape == (size, size, 3)
    assert crop.dtype == np.uint8
    pixel = np.arange(size)
    source = scale * np.exp(1j * angle) * (pixel[None, :] + 1j * pixel[:, None]) + shift
    inside = (source.real > 1) & (source.real < 498) & (source.imag > 1) & (source.imag < 478)
    assert inside.mean() > 0.5
    np.testing.assert_allclose(crop[..., 0][inside], source.real[inside] / 2, atol=1.1)
    np.testing.assert_allclose(crop[..., 1][inside], source.imag[inside] / 2, atol=1.1)


def test_landmarks_on_the_template_leave_the_pixels_alone():
    frame = np.random.default_rng(0).integers(0, 256, (150, 160, 3), np.uint8)
    np.testing.assert_array_equal(align_face(frame, TEMPLATE_PX + np.array([10, 20]), 112), frame[20:132, 10:122])


def test_what_lies_outside_the_frame_is_black():
    frame = np.full((60, 60, 3), 200, np.uint8)
    crop = align_face(frame, (TEMPLATE_PX - 56).astype(np.float32), 112)
    assert (crop[:50, :50] == 0).all()
    assert (crop[60:, 60:] == 200).all()


def test_the_map_has_the_least_squared_distance():
    random = np.random.default_rng(1)
    points, targets = random.normal(size=(5, 2)) * 30, random.normal(size=(5, 2)) * 30
    turn, shift = similarity(points, targets)

    def distance(a, b):
        mapped = a * (points[:, 0] + 1j * points[:, 1]) + b
        return (np.abs(mapped - targets[:, 0] - 1j * targets[:, 1]) ** 2).sum()

    for step in (0.01, -0.01, 0.01j, -0.01j):
        assert distance(turn, shift) < distance(turn + step, shift)
        assert distance(turn, shift) < distance(turn, shift + step)


@pytest.mark.parametrize("landmarks", [np.full((5, 2), np.nan), np.zeros((4, 2)), np.full((5, 2), 7.0)])
def test_landmarks_that_place_nothing_are_refused(landmarks):
    with pytest.raises(FeatureError, match="cannot be aligned"):
        align_face(np.zeros((80, 80, 3), np.uint8), landmarks.astype(np.float32), 112)


def test_a_crop_of_no_size_is_refused():
    with pytest.raises(FeatureError, match="no size"):
        align_face(np.zeros((80, 80, 3), np.uint8), TEMPLATE_PX.astype(np.float32), 0)


@pytest.mark.parametrize("clip", ["lp_d11.mp4", "retalking_4.mp4"])
def test_landmarks_of_an_aligned_real_face_lie_on_the_template(test_data, clip):
    path = test_data / "videos" / clip
    frame = next(iter(read_frames(path, info=probe_media(path), end_s=0.1)))
    detector = FaceDetector()
    landmarks = detector.detect([frame])[0].landmarks[0]
    turn, shift = similarity(landmarks, TEMPLATE_PX * 2)
    mapped = turn * (landmarks[:, 0] + 1j * landmarks[:, 1]) + shift
    assert np.abs(mapped - (TEMPLATE_PX[:, 0] + 1j * TEMPLATE_PX[:, 1]) * 2).max() < 16  # faces differ
    crop = align_face(frame, landmarks, 224)
    again = detector.detect([crop])[0].landmarks[0]
    np.testing.assert_allclose(again[:, 0] + 1j * again[:, 1], mapped, atol=8)  # found again where they were put
    assert crop.tobytes() == align_face(frame, landmarks, 224).tobytes()


def test_windows_are_of_one_even_size_inside_the_frame_and_follow_the_face():
    k = np.arange(90)
    x = 20.0 + 5 * k
    jitter = np.random.default_rng(2).normal(scale=3, size=90)
    boxes = np.stack([x + jitter, 100 + 0 * x, x + 70 + jitter, 191 + 0 * x], axis=1)
    windows = upright_windows(track(boxes, np.ones(90, bool)))
    sizes = {(w.right - w.left, w.bottom - w.top) for w in windows}
    assert sizes == {(182, 182)}
    assert all(w.left >= 0 and w.right <= 640 and w.top >= 0 and w.bottom <= 360 for w in windows)
    centres = np.array([(w.left + w.right) / 2 for w in windows])
    middle = slice(20, 70)
    np.testing.assert_allclose(centres[middle], (x + 35)[middle], atol=4)
    steps = np.diff(centres[middle])
    assert steps.std() < np.diff(x + jitter)[middle].std() / 3  # the jitter is gone


def test_windows_pass_over_absent_frames():
    present = np.ones(60, bool)
    present[:10] = present[25:35] = False
    x = np.where(np.arange(60) < 30, 100.0, 300.0)
    windows = upright_windows(track(np.stack([x, x * 0 + 100, x + 60, x * 0 + 180], axis=1), present))
    assert windows[0] == windows[10]
    lefts = [w.left for w in windows]
    assert lefts == sorted(lefts)
    assert max(np.diff(lefts)) < 30  # no jump, though the face jumps by 200


def test_windows_jump_with_a_cut_and_rest_in_the_middle_of_a_shot_without_the_face():
    x = np.repeat([100.0, 400.0, 250.0], 20)
    present = np.arange(60) < 40
    boxes = np.stack([x, x * 0 + 100, x + 60, x * 0 + 180], axis=1)
    windows = upright_windows(track(boxes, present, shots=Shots(np.array([0, 20, 40], np.int32), 60)))
    lefts = [w.left for w in windows]
    assert lefts == [50] * 20 + [350] * 20 + [240] * 20
    assert {w.top for w in windows[40:]} == {100}


def test_a_window_is_never_larger_than_the_frame():
    boxes = np.tile([10.0, 5.0, 310.0, 300.0], (5, 1))
    windows = upright_windows(track(boxes, np.ones(5, bool), width=401, height=303))
    assert {(w.right - w.left, w.bottom - w.top) for w in windows} == {(400, 302)}
    assert crop_frame(smooth_picture(303, 401), windows[0]).shape == (302, 400, 3)


def test_a_crop_is_an_exact_copy():
    frame = smooth_picture(40, 50)
    crop = crop_frame(frame, Window(3, 4, 13, 10))
    np.testing.assert_array_equal(crop, frame[4:10, 3:13])
    crop[:] = 0
    assert frame[4:10, 3:13].any()


def test_no_window_without_a_face():
    with pytest.raises(FeatureError, match="no frame"):
        upright_windows(track(np.zeros((4, 4)), np.zeros(4, bool)))
