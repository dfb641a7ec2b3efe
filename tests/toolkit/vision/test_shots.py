"""Shots: cuts, and what is none."""

from __future__ import annotations

import numpy as np
import pytest

from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
from fmltk.toolkit.vision.shots import FLASH_FRAMES, Shots, numbered_frames, one_shot
from fmltk.toolkit.vision.tracking import track_faces
from tests import composed

pytestmark = pytest.mark.numeric


def cuts_of(frames):
    """The first frame of each shot after the first."""
    numbers = [one.shot for one in numbered_frames(frames)]
    assert numbers[0] == 0
    return (np.flatnonzero(np.diff(numbers)) + 1).tolist()


def view(number, *, height=120, width=160):
    """A picture of its own for each number: soft blobs of light."""
    rng = np.random.default_rng(number)
    y, x = np.mgrid[:height, :width]
    picture = np.zeros((height, width, 3))
    for _ in range(12):
        middle, colour = rng.uniform((0, 0), (width, height)), rng.uniform(-90, 90, 3)
        picture += np.exp(-((x - middle[0]) ** 2 + (y - middle[1]) ** 2) / 600)[..., None] * colour
    return (120 + picture).clip(0, 255).astype(np.uint8)


def filmed(number, n, *, seed=0):
    """A view as a camera on a stand films it: with noise."""
    rng = np.random.default_rng(seed)
    return [(view(number) + rng.normal(0, 2, (120, 160, 3))).clip(0, 255).astype(np.uint8) for _ in range(n)]


def lit(frames, light):
    """Frames with another brightness each."""
    return [(frame * share).astype(np.uint8) for frame, share in zip(frames, light, strict=True)]


def panned(step, n):
    """A camera swung over a wide picture."""
    wide = view(5, width=160 + step * n)
    return [wide[:, k * step : k * step + 160] for k in range(n)]


FLASH = [np.full((120, 160, 3), 255, np.uint8)]


@pytest.mark.parametrize("light", [1.0, 0.25, 0.08])
def test_a_cut_is_found_in_any_light(light):
    frames = filmed(1, 20) + filmed(2, 12) + filmed(1, 20)
    assert cuts_of(lit(frames, [light] * 52)) == [20, 32]


def test_a_cut_into_and_out_of_a_swinging_camera_is_none_within_it():
    assert cuts_of(panned(12, 40)) == []
    assert cuts_of(panned(40, 40)) == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_camera_held_in_a_restless_hand_makes_no_cut(seed):
    rng = np.random.default_rng(seed)
    assert cuts_of([np.roll(frame, rng.integers(-6, 7, 2), (0, 1)) for frame in filmed(1, 60)]) == []


@pytest.mark.parametrize("n", [1, 3, FLASH_FRAMES])
@pytest.mark.parametrize("kind", ["white", "bright", "other"])
def test_a_flash_is_no_cut(n, kind):
    frames = filmed(1, 50)
    for k in range(20, 20 + n):
        frames[k] = {"white": FLASH[0], "bright": (frames[k] // 8 + 220).astype(np.uint8), "other": view(9)}[kind]
    assert cuts_of(frames) == []


@pytest.mark.parametrize("dark", [0, 1, 10, 40])
def test_a_fade_to_black_and_back_is_no_cut_and_one_to_another_view_is(dark):
    down = np.linspace(1, 0, 12)
    light = [*np.ones(20), *down, *np.zeros(dark), *down[::-1], *np.ones(20)]
    assert cuts_of(lit(filmed(1, len(light)), light)) == []
    middle = 32 + dark // 2
    [cut] = cuts_of(lit(filmed(1, middle) + filmed(2, len(light) - middle), light))
    assert middle <= cut <= 33 + dark


def test_a_lamp_that_is_switched_on_is_no_cut():
    assert cuts_of(lit(filmed(1, 40), [0.3] * 20 + [1.0] * 20)) == []


def test_subtitles_are_no_cut():
    frames = filmed(1, 60)
    for k in range(20, 40):
        frames[k][96:114, 20:140] = 255
    assert cuts_of(frames) == []


def test_a_cut_is_found_behind_a_flash_and_in_repeated_frames():
    assert cuts_of(filmed(1, 20) + FLASH * 2 + filmed(2, 20)) == [22]
    slow = [frame for frame in filmed(1, 8) + filmed(2, 8) for _ in range(3)]  # ten pictures a second
    assert cuts_of(slow) == [24]


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (13, 2), (700, 30)])
def test_pictures_of_any_size_have_shots(size):
    frames = [np.full((*size, 3), value, np.uint8) for value in (0, 200, 0)]
    assert cuts_of(frames) == []


def test_no_frame_has_no_shot():
    assert list(numbered_frames([])) == []
    assert one_shot(0).bounds == []


def test_frames_pass_unchanged_and_few_are_held():
    frames = filmed(1, 15) + filmed(2, 15)
    taken = 0

    def stream():
        nonlocal taken
        for frame in frames:
            taken += 1
            yield frame

    for k, one in enumerate(numbered_frames(stream())):
        assert one.frame is frames[k]
        assert taken - k <= FLASH_FRAMES + 1
        assert k in range(14, 25) or taken == k + 1  # only near the cut is anything read ahead
    assert taken == 30


def test_shots_say_where_each_frame_is():
    shots = Shots(np.array([0, 3, 4], np.int32), 6)
    assert shots.bounds == [(0, 2), (3, 3), (4, 5)]
    assert shots.of_frame.tolist() == [0, 0, 0, 1, 2, 2]
    assert shots.of_frame.dtype == np.int32


# Composed and shared clips


@pytest.mark.parametrize("name", ["same_place", "night", "landscape_between", "fade", "flash"])
def test_the_cuts_of_composed_clips_are_found_within_a_frame(test_data, tmp_path, name):
    truth = composed.CLIPS[name](composed.Composer(test_data, tmp_path))
    cuts = cuts_of(read_frames(truth.path, info=probe_media(truth.path)))
    assert len(cuts) == len(truth.cuts)
    assert all(abs(a - b) <= 1 for a, b in zip(cuts, truth.cuts, strict=True))


@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("WDA_AOC.mp4", []),
        ("lp_d11.mp4", []),
        ("retalking_4.mp4", []),
        ("edge_cases/pyfeat_face_noface.mov", [73]),
        ("edge_cases/pyfeat_noface_face.mov", [118]),
    ],
)
def test_the_cuts_of_shared_clips(test_data, name, cuts):
    path = test_data / "videos" / name
    assert cuts_of(read_frames(path, info=probe_media(path))) == cuts


def test_no_track_spans_a_cut(test_data, tmp_path):
    truth = composed.same_place(composed.Composer(test_data, tmp_path))
    tracks = track_faces(read_frames(truth.path, info=probe_media(truth.path)), FaceDetector(min_face_px=60))
    assert tracks.shots.bounds == [(0, 29), (30, 45), (46, 71), (72, 89)]
    for number in range(tracks.n_tracks):
        assert len(np.unique(tracks.shots.of_frame[tracks.frame[tracks.track == number]])) == 1
    assert tracks.n_tracks == 4
