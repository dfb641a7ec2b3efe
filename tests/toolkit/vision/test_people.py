"""People: tracks linked across shots."""

from __future__ import annotations

import time
from itertools import combinations, count

import numpy as np
import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.vision import looks as looks_module
from fmltk.toolkit.vision.looks import Colours, FaceNetwork, has_dlib, looks_of, resolve_identity
from fmltk.toolkit.vision.mtcnn.cascade import NO_FACES, Detections
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
from fmltk.toolkit.vision.people import link_people, may_be_linked, sampled_rows
from fmltk.toolkit.vision.shots import Shots
from fmltk.toolkit.vision.speaker import counted_tracks
from fmltk.toolkit.vision.tracking import track_faces
from fmltk.toolkit.vision.tracks import link_faces
from tests import composed

pytestmark = pytest.mark.numeric

needs_dlib = pytest.mark.skipif(not has_dlib(), reason="dlib is not installed: pip install 'fmltk[identity]'")
IDENTITIES = ["builtin", pytest.param("dlib", marks=needs_dlib)]


class Painted:
    """Faces look like the value of the pixel in their box's corner."""

    threshold = 10.0

    def describe(self, frame, box):
        return frame[int(box[1]), int(box[0])].astype(np.float32)

    def distance(self, first, second):
        return float(np.abs(first - second).max())


def faces(*lefts):
    boxes = np.array([(x, 0, x + 50, 60) for x in lefts], np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(boxes), 0.999, np.float32), np.repeat(boxes[:, None, :2], 5, axis=1))


def painted(*shots, n=10):
    """Shots of n frames, each given by what its faces look like, and their tracks."""
    found, frames = [], []
    for values in shots:
        frame = np.zeros((80, 400, 3), np.uint8)
        for k, value in enumerate(values):
            frame[:, 60 * k : 60 * k + 50] = value
        found += [faces(*(60 * k for k in range(len(values))))] * n
        frames += [frame] * n
    starts = np.arange(len(shots), dtype=np.int32) * n
    return link_faces(found, width=400, height=80, shots=Shots(starts, n * len(shots))), frames


def linked(*shots, looks=None):
    tracks, frames = painted(*shots)
    return link_people(tracks, counted_tracks(tracks), lambda: frames, looks or Painted()).tolist()


@pytest.mark.parametrize(
    ("shots", "people"),
    [
        ([[100], [200], [102], [205]], [0, 1, 0, 1]),
        ([[100, 200], [200, 100], [201]], [0, 1, 1, 0, 1]),
        ([[100], [], [100]], [0, 0]),
        ([[100], [150], [200]], [0, 1, 2]),
        ([[100, 101, 102]], [0, 1, 2]),
        ([[]], []),
    ],
)
def test_tracks_that_look_alike_are_one_person(shots, people):
    assert linked(*shots) == people


def test_two_in_one_frame_are_two_people_however_alike():
    assert linked([100, 100], [100]) == [0, 1, 0]
    assert linked([100], [101, 99]) == [0, 0, 1]


def test_the_mean_of_a_group_decides_so_that_people_do_not_chain():
    assert linked([100], [108], [116]) == [0, 0, 1]


def test_hundreds_of_tracks_are_linked_in_a_moment():
    shots = [[20 * (k % 12)] for k in range(400)]
    start = time.process_time()
    assert linked(*shots) == [k % 12 for k in range(400)]  # none is in view for a tenth of the clip, or for a second
    assert time.process_time() - start < 30


def test_tracks_that_do_not_count_are_nobodys():
    tracks, frames = painted([100], [200], [100])
    people = link_people(tracks, np.array([1, 2]), lambda: frames, Painted())
    assert people.tolist() == [-1, 0, 1]
    assert people.dtype == np.int32


def test_a_person_who_leaves_and_comes_back_in_one_shot_is_one():
    found = [*[faces(0)] * 8, *[NO_FACES] * 20, *[faces(200)] * 8]
    tracks = link_faces(found, width=400, height=80)
    frame = np.full((80, 400, 3), 90, np.uint8)
    people = link_people(tracks, counted_tracks(tracks), lambda: [frame] * 36, Painted())
    assert tracks.n_tracks == 2
    assert people.tolist() == [0, 0]


@pytest.mark.parametrize("shots", [[[100]], [[100, 200]], [[]]])
def test_frames_are_read_once_more_only_where_tracks_may_be_one_persons(shots):
    def frames():
        raise AssertionError("read again")

    tracks, _ = painted(*shots)
    counted = counted_tracks(tracks)
    assert not may_be_linked(tracks, counted)
    link_people(tracks, counted, frames, Painted())
    tracks, _ = painted([100], [200])
    assert may_be_linked(tracks, counted_tracks(tracks))
    with pytest.raises(AssertionError, match="read again"):
        link_people(tracks, counted_tracks(tracks), frames, Painted())
    assert link_people(tracks, counted_tracks(tracks), frames, None).tolist() == [0, 1]


def test_only_the_frames_that_are_looked_at_are_waited_for():
    tracks, frames = painted([100], [200], [])
    taken = count()
    link_people(tracks, counted_tracks(tracks), lambda: (f for f in frames if next(taken) < 30), Painted())
    assert next(taken) <= 21


@pytest.mark.parametrize("n", [1, 2, 3, 10])
def test_the_surest_faces_of_each_part_stand_for_a_track(n):
    found = [faces(0) for _ in range(n)]
    sure = {0: 0.9991, n // 2: 0.9995, n - 1: 0.9999}
    found = [Detections(f.boxes, np.float32([sure.get(k, 0.99)]), f.landmarks) for k, f in enumerate(found)]
    tracks = link_faces(found, width=400, height=80)
    rows = sampled_rows(tracks, 0)
    assert rows == sorted(set(sure))
    assert tracks.frame[rows].tolist() == rows


def test_colours_are_compared_where_both_pictures_have_them():
    rng = np.random.default_rng(1)
    frame = rng.integers(0, 255, (100, 100, 3), dtype=np.uint8)
    inside, corner = np.float32([30, 30, 60, 60]), np.float32([-10, -10, 20, 20])
    colours = Colours()
    assert colours.distance(colours.describe(frame, inside), colours.describe(frame, inside)) == 0
    shifted = np.roll(frame, (-40, -40), (0, 1))
    assert np.isnan(colours.describe(shifted, corner)).any()
    assert colours.distance(colours.describe(frame, inside), colours.describe(shifted, corner)) == 0
    assert colours.distance(colours.describe(frame, inside), colours.describe(255 - frame, inside)) > colours.threshold
    outside = colours.describe(frame, np.float32([200, 200, 210, 210]))
    assert colours.distance(colours.describe(frame, inside), outside) == np.inf


def test_auto_is_what_is_installed(monkeypatch):
    monkeypatch.setattr(looks_module, "find_spec", lambda name: object())
    assert resolve_identity("auto") == "dlib"
    assert isinstance(looks_of("dlib"), FaceNetwork)
    monkeypatch.setattr(looks_module, "find_spec", lambda name: None)
    assert resolve_identity("auto") == "builtin"
    assert isinstance(looks_of("auto"), Colours)
    assert looks_of("none") is None
    with pytest.raises(ConfigError, match=r"pip install 'fmltk\[identity\]'"):
        looks_of("dlib")


# Composed and shared clips

# Within a frame or two of a cut, or at the frame's edge, a face may be missed: most of the truth is wanted, not all.
WANTED = 0.9


@pytest.mark.parametrize("identity", IDENTITIES)
@pytest.mark.parametrize("name", ["same_place", "two_places", "landscape_between", "comes_back"])
def test_the_people_of_composed_clips_are_counted_and_followed(test_data, tmp_path, name, identity):
    truth = composed.CLIPS[name](composed.Composer(test_data, tmp_path))

    def frames():
        return read_frames(truth.path, info=probe_media(truth.path))

    tracks = track_faces(frames(), FaceDetector(min_face_px=60))
    people = link_people(tracks, counted_tracks(tracks), frames, looks_of(identity))
    assert people.max() + 1 == len(truth.people)
    for boxes in truth.people.values():
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        near = np.abs((tracks.boxes[:, :2] + tracks.boxes[:, 2:]) / 2 - middle[tracks.frame]).max(axis=1) < 40
        found = people[tracks.track[near]]
        assert len(found) >= WANTED * np.isfinite(boxes[:, 0]).sum()
        assert len(set(found[found >= 0].tolist())) == 1


@needs_dlib
def test_the_network_separates_the_people_of_the_shared_clips(test_data):
    looks, detector, found = FaceNetwork(), FaceDetector(min_face_px=80), {}
    for name in ("WDA_AOC.mp4", "grid_bbaf2n.mpg", "grid_id2_swwp2s.mpg", "lp_d11.mp4", "retalking_1.mp4"):
        path = test_data / "videos" / name
        frames = list(read_frames(path, info=probe_media(path), end_s=1.5))
        found[name] = [
            looks.describe(frame, detector.detect_frame(frame).boxes[0]) for frame in (frames[5], frames[40])
        ]
    for a, b in found.values():
        assert looks.distance(a, b) < looks.threshold - 0.02
    for first, second in combinations(found.values(), 2):
        assert min(looks.distance(a, b) for a in first for b in second) > looks.threshold
