"""Where the faces are cut, in pictures whose grey says where each pixel comes from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.vision.active_speaker.faces import LONGEST_FRAMES, cut_face, cut_faces, face_stretches
from fmltk.toolkit.vision.mtcnn.cascade import Detections
from fmltk.toolkit.vision.tracks import FaceTracks, link_faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH, HEIGHT = 320, 240


def _ramp(axis: int) -> NDArray[np.uint8]:
    """A picture whose pixels are their column (axis 1) or row (axis 0), at most 255."""
    values = np.indices((HEIGHT, WIDTH))[axis].clip(0, 255).astype(np.uint8)
    return np.repeat(values[..., None], 3, axis=2)


def _tracks(boxes: list[tuple[float, float, float, float] | None]) -> FaceTracks:
    faces = [
        Detections(
            np.array([box] if box else [], np.float32).reshape(-1, 4),
            np.ones(1 if box else 0, np.float32),
            np.zeros((1 if box else 0, 5, 2), np.float32),
        )
        for box in boxes
    ]
    return link_faces(faces, width=WIDTH, height=HEIGHT)


@pytest.mark.parametrize("half", [40.0, 20.0, 12.5])
def test_the_middle_of_the_crop_is_kept(half: float) -> None:
    x, y = 140.0, 110.0
    columns = cut_face(_ramp(1), np.array([x, y, half]))
    rows = cut_face(_ramp(0), np.array([x, y, half]))
    assert columns.shape == (112, 112)
    # The crop is 2.8 halves wide; its middle half reaches from x - 0.7 to x + 0.7, from y - 0.3 to y + 1.1.
    np.testing.assert_allclose(columns[50, [0, 111]], [x - 0.7 * half, x + 0.7 * half], atol=1.5)
    np.testing.assert_allclose(rows[[0, 111], 50], [y - 0.3 * half, y + 1.1 * half], atol=1.5)
    assert (np.diff(columns.astype(int), axis=1) >= 0).all()
    assert (np.diff(rows.astype(int), axis=0) >= 0).all()


def test_colours_become_grey_by_their_brightness() -> None:
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    frame[:] = (200, 100, 50)
    assert set(cut_face(frame, np.array([100.0, 100.0, 20.0])).flat) == {124}  # 0.299 R + 0.587 G + 0.114 B


@pytest.mark.parametrize("place", [(0.0, 0.0), (WIDTH, HEIGHT), (-500.0, -500.0), (5000.0, 90.0)])
def test_beyond_the_picture_is_grey(place: tuple[float, float]) -> None:
    face = cut_face(np.full((HEIGHT, WIDTH, 3), 255, np.uint8), np.array([*place, 30.0]))
    assert {110} <= set(face.flat) <= set(range(110, 256))
    far = not (0 <= place[0] <= WIDTH and 0 <= place[1] <= HEIGHT)
    assert (face == 110).all() == far


def test_stretches_are_25_a_second_and_follow_the_face() -> None:
    tracks = _tracks([(10.0 + k, 50.0, 50.0 + k, 110.0) for k in range(61)])
    (stretch,) = face_stretches(tracks, [0])
    assert (stretch.first, stretch.last) == (0, 50)  # two seconds
    np.testing.assert_allclose(stretch.places[20], [30 + 24, 80, 30], atol=1e-4)  # 0.8 s: frame 24 of 30 a second


def test_a_jump_of_the_detector_is_filtered_out() -> None:
    boxes = [(100.0, 50.0, 140.0, 110.0)] * 40
    boxes[20] = boxes[21] = (115.0, 60.0, 150.0, 100.0)
    (stretch,) = face_stretches(_tracks([*boxes]), [0])
    np.testing.assert_allclose(stretch.places, np.tile([120, 80, 30], (len(stretch.places), 1)), atol=1e-4)


def test_a_long_track_is_looked_at_a_minute_at_a_time() -> None:
    tracks = _tracks([(100.0, 50.0, 140.0, 110.0)] * 2000)
    stretches = face_stretches(tracks, [0])
    assert [one.first for one in stretches] == [0, LONGEST_FRAMES]
    assert sum(len(one.places) for one in stretches) == 1999 * 25 // 30 + 1


def test_faces_come_as_their_frames_are_read() -> None:
    late = replace(_tracks([None] * 12 + [(200.0, 50.0, 240.0, 110.0)] * 12), n_frames=24)
    early = _tracks([(20.0, 50.0, 60.0, 110.0)] * 12)
    stretches = sorted([*face_stretches(early, [0]), *face_stretches(late, [0])], key=lambda one: one.first)
    frames = [np.full((HEIGHT, WIDTH, 3), k, np.uint8) for k in range(20)]
    first, second = cut_faces(iter(frames), stretches)
    assert [face[0, 0] for face in first.faces] == list(range(10))
    assert [face[0, 0] for face in second.faces] == list(range(10, 20))


def test_a_picture_that_ends_early_ends_the_stretch() -> None:
    (stretch,) = face_stretches(_tracks([(20.0, 50.0, 60.0, 110.0)] * 30), [0])
    (found,) = cut_faces([np.zeros((HEIGHT, WIDTH, 3), np.uint8)] * 7, [stretch])
    assert len(found.faces) == len(found.places) == 7
