"""Faces over video: linking, following, the speaker."""

from __future__ import annotations

import importlib.util
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.settings import LOOKS
from fmltk.toolkit.vision import following, tracking
from fmltk.toolkit.vision.following import FULL_EVERY_FRAMES, faces_between, follow_faces, full_detection_period
from fmltk.toolkit.vision.mtcnn.cascade import NO_FACES, Detections
from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
from fmltk.toolkit.vision.mtcnn.pyramid import pyramid_levels
from fmltk.toolkit.vision.people import link_people
from fmltk.toolkit.vision.shots import Shots
from fmltk.toolkit.vision.speaker import count_people, counted_tracks, find_speaker
from fmltk.toolkit.vision.tracking import find_faces, track_faces
from fmltk.toolkit.vision.tracks import FaceTracks, join_tracks, link_faces, one_person
from fmltk.toolkit.vision.windows import neighbourhood

CLIPS = ("WDA_AOC.mp4", "grid_bbaf2n.mpg", "grid_id2_swwp2s.mpg", "lp_d11.mp4", "retalking_1.mp4", "retalking_4.mp4")


@pytest.fixture(scope="module")
def detector():
    return FaceDetector()


@pytest.fixture(scope="module")
def benchmark():
    """The statistics script."""
    path = Path(__file__).parents[2] / "benchmarks" / "faces_tracking.py"
    spec = importlib.util.spec_from_file_location("faces_tracking", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def clip(test_data):
    """Frames of a clip, decoded once per module: clip(name, first, n)."""
    known: dict[str, list[np.ndarray]] = {}

    def frames(name: str, n: int = 45) -> list[np.ndarray]:
        if len(known.get(name, ())) < n:
            path = test_data / "videos" / name
            known[name] = list(islice(read_frames(path, info=probe_media(path), end_s=n / 30), n))
        return known[name][:n]

    return frames


class CountingDetector(FaceDetector):
    """Counts full detections."""

    def __init__(self) -> None:
        super().__init__()
        self.n_full = 0

    def detect_frame(self, frame):
        self.n_full += 1
        return super().detect_frame(frame)


def faces(*boxes, probability=0.99):
    """Detections with given boxes, the largest first."""
    boxes = np.array(sorted(boxes, key=lambda b: -(b[2] - b[0]) * (b[3] - b[1])), np.float32).reshape(-1, 4)
    return Detections(boxes, np.full(len(boxes), probability, np.float32), np.repeat(boxes[:, None, :2], 5, axis=1))


def square(x, y=0, side=100):
    return (x, y, x + side, y + side)


def beside(left, right):
    """Two pictures side by side, the lower one continued in black."""
    height = max(left.shape[0], right.shape[0])
    return np.concatenate([np.pad(f, ((0, height - f.shape[0]), (0, 0), (0, 0))) for f in (left, right)], axis=1)


def pasted(ground, picture):
    """The picture in the upper left of a larger one."""
    frame = ground.copy()
    frame[: picture.shape[0], : picture.shape[1]] = picture
    return frame


def present_frames(tracks, number):
    return tracks.frame[tracks.track == number].tolist()


def assert_same_faces(off: FaceTracks, on: FaceTracks, *, at_least=0.99):
    """The same faces in (nearly) every frame."""
    hits = 0
    for frame, box in zip(off.frame, off.boxes, strict=True):
        others = on.boxes[on.frame == frame]
        hits += bool(len(others)) and (np.abs(others - box).max(axis=1) < 0.05 * (box[2] - box[0])).any()
    assert hits >= at_least * len(off.frame)
    assert len(on.frame) <= len(off.frame) / at_least


# The linking rule


def test_a_moving_face_is_one_track():
    tracks = link_faces([faces(square(5 * k)) for k in range(40)], width=400, height=100)
    assert tracks.n_tracks == 1
    assert tracks.frame.tolist() == list(range(40))


def test_two_faces_keep_their_tracks_in_any_order_of_size():
    found = [faces(square(0, side=100 + k % 2 * 8), square(300, side=104)) for k in range(10)]
    tracks = link_faces(found, width=500, height=120)
    assert tracks.n_tracks == 2
    for number, left in ((0, 300), (1, 0)):
        assert (tracks.boxes[tracks.track == number][:, 0] == left).all()
    assert np.all(np.diff(tracks.frame * 2 + tracks.track) > 0)  # sorted by frame, then track


def test_half_a_second_of_absence_keeps_a_track_and_more_ends_it():
    seen, away = [faces(square(0))], [NO_FACES]
    assert link_faces(seen * 3 + away * 15 + seen * 3, width=100, height=100).n_tracks == 1
    assert link_faces(seen * 3 + away * 16 + seen * 3, width=100, height=100).n_tracks == 2


def test_a_jump_begins_a_track():
    tracks = link_faces([faces(square(0)), faces(square(54)), faces(square(0))], width=300, height=100)
    assert tracks.track.tolist() == [0, 1, 0]  # overlaps 46/154 < 0.3; the first is still open


def test_ties_go_to_the_older_track_then_the_larger_face():
    found = [faces(square(0)), faces(square(0), square(60)), faces(square(30))]  # the last overlaps both by 70/130
    tracks = link_faces(found, width=300, height=100)
    assert tracks.track.tolist() == [0, 0, 1, 0]
    found = [faces(square(0)), faces((-20, 0, 100, 100), (0, 0, 120, 100))]
    tracks = link_faces(found, width=300, height=100)
    assert tracks.boxes[tracks.track == 0].tolist()[1] == [-20, 0, 100, 100]


def test_no_face_gives_empty_arrays_of_the_right_shapes():
    tracks = link_faces([NO_FACES] * 3, width=300, height=100)
    assert (tracks.n_frames, tracks.n_tracks) == (3, 0)
    assert tracks.boxes.shape == (0, 4)
    assert tracks.landmarks.shape == (0, 5, 2)
    assert tracks.frame.dtype == tracks.track.dtype == np.int32
    assert not find_speaker(tracks, people_of(tracks), "largest").any()
    assert count_people(people_of(tracks)) == 0


def test_a_track_by_itself_is_nan_where_absent():
    tracks = link_faces([NO_FACES, faces(square(7)), NO_FACES], width=300, height=120)
    track = one_person(tracks, np.array([0], np.int32), 0)
    assert track.present.tolist() == [False, True, False]
    assert np.isnan(track.boxes[0]).all()
    assert np.isnan(track.landmarks[2]).all()
    assert track.boxes[1].tolist() == [7, 0, 107, 100]
    assert (track.width, track.height) == (300, 120)


# The speaker


def people_of(tracks):
    """Each track that counts is a person."""
    return link_people(tracks, counted_tracks(tracks), list, None)


def count_faces(tracks):
    return count_people(people_of(tracks))


def speakers(tracks, select="largest"):
    """The numbers of the speaker's tracks."""
    return np.flatnonzero(find_speaker(tracks, people_of(tracks), select)).tolist()


def speaker_of(tracks, select="largest"):
    return join_tracks(tracks, find_speaker(tracks, people_of(tracks), select))


SMALL_ALWAYS, LARGE_LATE, CENTRAL_EARLY = square(0, 0, 50), square(100, 50, 90), square(275, 155, 50)


@pytest.fixture
def three_tracks():
    """Of 30 frames at 600x360: small in all 30, large in the last 20, at the centre in the first 15."""
    found = [faces(SMALL_ALWAYS, *[LARGE_LATE] * (k >= 10), *[CENTRAL_EARLY] * (k < 15)) for k in range(30)]
    return link_faces(found, width=600, height=360)


@pytest.mark.parametrize(
    ("select", "box"),
    [("largest", LARGE_LATE), ("longest", SMALL_ALWAYS), ("center", CENTRAL_EARLY), ("first", SMALL_ALWAYS)],
)
def test_the_speaker_by_each_rule(three_tracks, select, box):
    track = speaker_of(three_tracks, select)
    assert np.nanmax(track.boxes, axis=0).tolist() == list(box)
    [number] = speakers(three_tracks, select)
    assert present_frames(three_tracks, number) == np.flatnonzero(track.present).tolist()


def test_presence_weighs_as_much_as_area():
    found = [faces(square(0), *[square(200, 0, 120)] * (k < 10)) for k in range(30)]
    track = speaker_of(link_faces(found, width=600, height=360), "largest")
    assert track.present.all()  # 30 x 100 x 100 > 10 x 120 x 120


def test_equal_tracks_go_to_the_lower_number():
    found = [faces(square(0), square(500))] * 10
    assert [speakers(link_faces(found, width=600, height=100), s) for s in LOOKS] == [[0]] * 4


def test_a_moments_face_neither_counts_nor_speaks():
    found = [faces(square(0), *[square(200, 0, 390)] * (k < 4)) for k in range(40)]
    tracks = link_faces(found, width=600, height=400)
    assert tracks.n_tracks == 2
    assert count_faces(tracks) == 1
    assert speaker_of(tracks).present.all()


def test_where_no_track_counts_the_best_of_all_speaks():
    tracks = link_faces([faces(square(0))] * 3 + [NO_FACES] * 40, width=100, height=100)
    assert count_faces(tracks) == 0
    assert speaker_of(tracks).present.sum() == 3


def test_a_short_clips_face_counts():
    assert count_faces(link_faces([faces(square(0))] * 2, width=100, height=100)) == 1


@pytest.mark.parametrize(
    ("probability", "side", "counts"),
    [(0.93, 110, True), (0.91, 240, True), (0.93, 60, False), (0.97, 60, True), (0.87, 110, False), (0.87, 30, False)],
)
def test_a_close_up_in_profile_counts_and_a_texture_does_not(probability, side, counts):
    tracks = link_faces([faces(square(0, side=side), probability=probability)] * 40, width=640, height=360)
    assert counted_tracks(tracks).tolist() == [0] * counts


def test_the_largest_person_may_be_of_several_small_tracks():
    large, small = square(0, side=120), square(200, side=90)
    found = [faces(large if k // 10 == 1 else small) for k in range(40)]
    tracks = link_faces(found, width=640, height=360, shots=Shots(np.array([0, 10, 20, 30], np.int32), 40))
    people = np.array([0, 1, 0, 0], np.int32)
    assert find_speaker(tracks, people, "largest").tolist() == [True, False, True, True]
    speaker = one_person(tracks, people, 0)
    assert speaker.present.tolist() == [k // 10 != 1 for k in range(40)]
    assert speaker.shots is tracks.shots
    with pytest.raises(FeatureError, match="the clip has no person 2; it has 2"):
        one_person(tracks, people, 2)


def test_of_two_faces_of_a_person_in_a_frame_the_larger_counts():
    tracks = link_faces([faces(square(0, side=100), square(200, side=120))] * 3, width=640, height=360)
    assert one_person(tracks, np.zeros(2, np.int32), 0).boxes.tolist() == [[200, 0, 320, 120]] * 3


def test_an_unknown_rule_is_refused(three_tracks):
    with pytest.raises(ConfigError, match=r"'loudest'.*largest, longest, center, first"):
        speakers(three_tracks, "loudest")


# Following


@pytest.mark.parametrize("name", CLIPS)
def test_following_gives_the_full_detections_faces(clip, detector, benchmark, name):
    frames = clip(name)
    off, on = (track_faces(frames, detector, tracking=t) for t in (False, True))
    overlaps = benchmark.speaker_overlaps(speaker_of(off), speaker_of(on))
    assert len(overlaps) == len(frames)
    assert (overlaps >= 0.9).mean() >= 0.97
    assert (overlaps >= 0.8).all()
    assert count_faces(on) == count_faces(off) == 1


def test_following_searches_most_frames_near_the_last_box_only(clip):
    frames = clip("lp_d11.mp4", 90)
    counting = CountingDetector()
    followed = list(follow_faces(frames, counting))
    assert counting.n_full == 3  # the first frame, the 61st and the last
    assert [len(f) for f in followed] == [1] * 90


def test_following_is_deterministic(clip, detector):
    frames = clip("retalking_4.mp4", 20)
    first, second = (track_faces(frames, d) for d in (detector, FaceDetector()))
    assert first.boxes.tobytes() == second.boxes.tobytes()
    assert first.landmarks.tobytes() == second.landmarks.tobytes()


def test_a_face_that_appears_is_followed_back_to_its_first_frame(clip, detector):
    empty = np.full((480, 720, 3), 110, np.uint8)
    frames = [empty] * 17 + [pasted(empty, frame) for frame in clip("grid_bbaf2n.mpg", 40)]
    on = track_faces(frames, detector)
    assert present_frames(on, 0) == list(range(17, 57))  # found by the last frame's full detection
    assert_same_faces(track_faces(frames, detector, tracking=False), on, at_least=1)


def test_a_face_found_anew_is_followed_back_to_where_another_had_been_lost(clip, detector):
    empty = np.full((480, 720, 3), 110, np.uint8)
    shown = [pasted(empty, frame) for frame in clip("grid_bbaf2n.mpg", 40)]
    frames = [empty if 13 <= k < 25 else frame for k, frame in enumerate(shown)]
    moved = [np.roll(frame, 300, axis=1) if k >= 25 else frame for k, frame in enumerate(frames)]
    on = track_faces(moved, detector)
    assert present_frames(on, 0) == list(range(13))
    assert present_frames(on, 1) == list(range(25, 40))


def test_a_face_that_vanishes_is_gone_at_once(clip, detector):
    black = np.zeros_like(clip("grid_bbaf2n.mpg")[0])
    frames = clip("grid_bbaf2n.mpg", 20) + [black] * 20
    assert present_frames(track_faces(frames, detector), 0) == list(range(20))


def test_a_face_covered_for_a_moment_keeps_its_track(clip, detector):
    frames = clip("grid_bbaf2n.mpg", 40)
    frames = [np.zeros_like(f) if 15 <= k < 24 else f for k, f in enumerate(frames)]
    tracks = track_faces(frames, detector)
    assert tracks.n_tracks == 1
    assert present_frames(tracks, 0) == [*range(15), *range(24, 40)]


def test_two_clips_side_by_side_give_two_tracks(clip, detector):
    frames = [beside(a, b) for a, b in zip(clip("grid_bbaf2n.mpg", 40), clip("grid_id2_swwp2s.mpg", 40), strict=True)]
    off, on = (track_faces(frames, detector, tracking=t) for t in (False, True))
    assert count_faces(on) == 2
    assert_same_faces(off, on)


class JudgingDetector:
    """Says of every square what it is given to say: probabilities, and how far beside it the face is."""

    def __init__(self, *, probability=0.99, shift=0.0):
        self.probability, self.shift, self.n_judged = probability, shift, 0

    def judge(self, image, boxes):
        self.n_judged += len(boxes)
        moved = boxes + np.float32(self.shift)
        return Detections(moved, np.full(len(boxes), self.probability, np.float32), np.ones((len(boxes), 5, 2), "f4"))


GREY = np.full((400, 600, 3), 90, np.uint8)


def test_a_face_between_two_frames_is_half_way():
    detector = JudgingDetector(probability=0.75)
    between = faces_between(faces(square(100), square(300, 20)), faces(square(110), square(280, 20)), GREY, detector)
    assert sorted(between.boxes[:, 0].tolist()) == [105, 290]
    assert between.probabilities.tolist() == pytest.approx([0.99, 0.99])
    np.testing.assert_array_equal(between.landmarks[:, 0], between.boxes[:, :2])
    assert detector.n_judged == 2


@pytest.mark.parametrize(
    ("before", "after", "judging"),
    [
        ([square(100)], [], {}),  # lost
        ([], [square(100)], {}),  # new
        ([square(100)], [square(250)], {}),  # elsewhere
        ([square(100), square(300)], [square(100)], {}),  # one of two
        ([square(100)], [square(104)], {"probability": 0.6}),  # nothing is seen there
        ([square(100)], [square(104)], {"shift": 30.0}),  # it is seen beside
        ([square(590, 390)], [square(598, 395)], {"shift": -30.0}),  # at the frame's edge
    ],
)
def test_a_frame_is_searched_where_its_neighbours_do_not_say_enough(before, after, judging):
    assert faces_between(faces(*before), faces(*after), GREY, JudgingDetector(**judging)) is None


def test_between_two_frames_without_a_face_is_none_and_nothing_is_judged():
    detector = JudgingDetector()
    assert len(faces_between(NO_FACES, NO_FACES, GREY, detector)) == 0
    assert detector.n_judged == 0


@pytest.mark.parametrize("name", ["grid_bbaf2n.mpg", "grid_id2_swwp2s.mpg", "retalking_1.mp4"])
def test_every_second_frame_gives_nearly_the_same_faces(clip, detector, benchmark, name):
    frames = clip(name, 31)
    whole, half = (track_faces(frames, detector, every=every) for every in (1, 2))
    overlaps = benchmark.speaker_overlaps(speaker_of(whole), speaker_of(half))
    assert len(overlaps) == len(frames)
    assert (overlaps >= 0.8).all()
    assert 10 <= (overlaps < 0.9999).sum() <= 16  # those between, where the picture is not repeated
    sides = np.diff(whole.boxes[:, 1::2])
    assert (np.abs(whole.landmarks - half.landmarks).mean(axis=(1, 2)) < 0.04 * sides[:, 0]).all()


@pytest.mark.parametrize("first", [18, 19, 20])
def test_with_every_second_frame_a_face_still_comes_and_goes_at_its_frame(clip, detector, first):
    shown = clip("grid_bbaf2n.mpg", 20)
    black = [np.zeros_like(shown[0])] * 17
    assert present_frames(track_faces(shown[:first] + black, detector, every=2), 0) == list(range(first))
    comes = track_faces(black[: first - 5] + shown, detector, every=2)
    assert present_frames(comes, 0) == list(range(first - 5, first + 15))


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("n_shown", [15, 16])
def test_a_face_that_is_lost_costs_one_full_detection(clip, every, n_shown):
    shown = clip("grid_bbaf2n.mpg", 16)[:n_shown]
    moving = [np.full_like(shown[0], 90 + k) for k in range(13)]  # no picture twice
    counting = CountingDetector()
    found = list(follow_faces(shown + moving, counting, every=every))
    assert [len(faces) for faces in found] == [1] * n_shown + [0] * 13
    assert counting.n_full == 3  # the first frame, where the face is lost, and the last


def test_with_every_second_frame_a_cut_is_exact(clip, detector):
    a, b = clip("grid_bbaf2n.mpg", 15), clip("grid_id2_swwp2s.mpg", 16)
    tracks = track_faces(a + b, detector, every=2)
    assert tracks.shots.starts.tolist() == [0, 15]
    assert present_frames(tracks, 0) == list(range(15))
    assert present_frames(tracks, 1) == list(range(15, 31))


def test_with_every_second_frame_repeated_pictures_have_the_same_faces(clip):
    frames = [frame for frame in clip("grid_bbaf2n.mpg", 16) for _ in range(3)]
    found = list(follow_faces(frames, FaceDetector(), every=2))
    for k in range(0, 48, 3):
        boxes = [found[k + i].boxes.tobytes() for i in range(3)]
        assert len(set(boxes)) == 1


def test_a_second_face_that_joins_and_leaves(clip, detector):
    a, b = clip("grid_bbaf2n.mpg", 45), clip("grid_id2_swwp2s.mpg", 45)
    frames = [beside(x, y if 12 <= k < 33 else np.zeros_like(y)) for k, (x, y) in enumerate(zip(a, b, strict=True))]
    off = track_faces(frames, detector, tracking=False)
    counting = CountingDetector()
    on = track_faces(frames, counting)
    assert counting.n_full < 10
    assert_same_faces(off, on)
    assert present_frames(on, 1) == list(range(12, 33))


def test_a_cut_to_another_place_is_found_and_the_faces_are_exact_about_it(clip, detector):
    a = [np.pad(f, ((0, 224), (0, 152), (0, 0))) for f in clip("grid_bbaf2n.mpg", 30)]  # 512x512, face at the top left
    frames = a[:23] + clip("lp_d11.mp4", 30)
    counting = CountingDetector()
    on = track_faces(frames, counting)
    off = track_faces(frames, detector, tracking=False)
    assert counting.n_full <= 4
    assert_same_faces(off, on, at_least=1)
    assert on.n_tracks == off.n_tracks


def test_crossing_faces_are_found_in_every_frame_that_shows_them(clip, detector):
    left, right = clip("grid_bbaf2n.mpg", 40), clip("grid_id2_swwp2s.mpg", 40)
    frames = []
    for k in range(40):
        frame = np.full((288, 640, 3), 90, np.uint8)
        x = 20 + 10 * k
        frame[:, 640 - 160 - x : 640 - x] = right[k][:, 100:260]
        frame[:, x : x + 160] = left[k][:, 100:260]  # passes before the other
        frames.append(frame)
    off, on = (track_faces(frames, detector, tracking=t) for t in (False, True))
    assert_same_faces(off, on, at_least=0.95)
    # The face in front is one track throughout, from the left edge to the right.
    front = on.boxes[on.track == on.track[(on.frame == 0) & (on.boxes[:, 0] < 320)][0]]
    assert front[0, 0] < 120
    assert front[-1, 0] > 400
    assert len(front) == 40


@pytest.mark.parametrize("name", ["pyfeat_face_noface.mov", "pyfeat_noface_face.mov", "pyfeat_no_face.mp4"])
def test_faces_that_come_and_go_in_real_clips(test_data, detector, name):
    path = test_data / "videos" / "edge_cases" / name
    info = probe_media(path)
    frames = list(islice(read_frames(path, info=info), 40, 200, 2))  # every second: twice as much happens per frame
    off, on = (track_faces(frames, detector, tracking=t) for t in (False, True))
    assert abs(len(off.frame) - len(on.frame)) <= 2
    assert (off.n_tracks > 0) == ("no_face.mp4" not in name)
    assert_same_faces(off, on, at_least=0.97)


def test_flicker_does_not_cost_a_full_detection_per_frame(clip):
    face, black = clip("grid_bbaf2n.mpg", 1)[0], np.zeros_like(clip("grid_bbaf2n.mpg", 1)[0])
    counting = CountingDetector()
    tracks = track_faces([face, black] * 30, counting)
    assert counting.n_full <= 8
    assert present_frames(tracks, 0) == list(range(0, 60, 2))


def test_repeated_frames_cost_nothing_and_repeat_the_result(clip):
    frame = clip("grid_bbaf2n.mpg", 1)[0]
    counting = CountingDetector()
    tracks = track_faces([frame.copy() for _ in range(150)], counting)
    assert counting.n_full == 1
    assert len(tracks.frame) == 150
    assert (tracks.boxes == tracks.boxes[0]).all()


def test_a_crowd_is_searched_wholly(clip):
    tile = clip("grid_bbaf2n.mpg", 3)
    frames = [np.tile(f[::3, ::3], (2, 2, 1)) for f in tile]
    counting = CountingDetector()
    assert [len(f) for f in follow_faces(frames, counting)] == [4, 4, 4]
    assert counting.n_full == 3  # four neighbourhoods would cost more than the whole of so small a frame


def test_large_frames_are_held_thinned_out_and_still_followed_backwards(clip, detector, monkeypatch):
    frames = clip("lp_d11.mp4", 20)
    monkeypatch.setattr(following, "HELD_BYTES", frames[0].nbytes * 8)  # room for 8 whole frames, 32 at half the size
    assert following.thinning_factor(frames[0].nbytes) == 2
    assert full_detection_period(frames[0].nbytes) == 32
    moved = [np.zeros_like(frames[0])] * 6 + frames
    on = track_faces(moved, detector)
    assert present_frames(on, 0) == list(range(6, 26))
    off = track_faces(moved, detector, tracking=False)
    shift = np.abs(on.boxes - off.boxes) / (off.boxes[:, 2:3] - off.boxes[:, :1])
    assert np.median(shift) < 0.03


@pytest.mark.parametrize("n_bytes", [300 * 200 * 3, 1920 * 1080 * 3, 3840 * 2160 * 3, 7680 * 4320 * 3])
def test_what_is_held_stays_below_its_bound(n_bytes):
    period, factor = full_detection_period(n_bytes), following.thinning_factor(n_bytes)
    assert 30 <= period <= FULL_EVERY_FRAMES
    assert (period - 1) * n_bytes / factor**2 <= following.HELD_BYTES


def test_frames_are_not_piled_up(clip, detector):
    frames = clip("grid_bbaf2n.mpg", 1)
    alive, most = 0, 0

    class Frame(np.ndarray):
        def __del__(self):
            nonlocal alive
            if self.base is not None and getattr(self, "counted", False):
                alive -= 1

    def stream():
        nonlocal alive, most
        for k in range(200):
            frame = frames[0].copy().view(Frame)
            frame[0, 0] = k  # no two frames are the same
            frame.counted = True
            alive += 1
            most = max(most, alive)
            yield frame

    assert track_faces(stream(), detector).n_frames == 200
    assert FULL_EVERY_FRAMES / 2 < most <= FULL_EVERY_FRAMES + 3


# Stretches


def test_stretches_are_independent_and_linked(clip, detector, monkeypatch):
    frames = clip("grid_bbaf2n.mpg", 45)
    monkeypatch.setattr(tracking, "STRETCH_FRAMES", 20)
    whole = track_faces(frames, detector)
    assert whole.n_tracks == 1
    parts = [find_faces(frames[k : k + 20], detector) for k in (0, 20, 40)]
    linked = link_faces([f for part in parts for f in part], width=360, height=288)
    assert linked.boxes.tobytes() == whole.boxes.tobytes()
    assert linked.track.tolist() == whole.track.tolist()


def test_each_stretch_begins_and_ends_with_a_full_detection(clip, monkeypatch):
    frames = clip("grid_bbaf2n.mpg", 45)
    monkeypatch.setattr(tracking, "STRETCH_FRAMES", 20)
    counting = CountingDetector()
    full = []
    detect = counting.detect_frame

    def note(frame):
        full.append(next(k for k, f in enumerate(frames) if f is frame))
        return detect(frame)

    monkeypatch.setattr(counting, "detect_frame", note)
    track_faces(frames, counting)
    assert {0, 20, 40} <= set(full)
    assert len(full) == 6


def test_a_clip_without_frames_is_refused(detector):
    with pytest.raises(FeatureError, match="no frame"):
        track_faces(iter(()), detector)


@pytest.mark.parametrize("tracking_on", [True, False])
def test_frames_of_two_sizes_are_refused(detector, tracking_on):
    with pytest.raises(FeatureError, match="frame 1 has the shape"):
        track_faces([np.zeros((50, 60, 3), np.uint8), np.zeros((60, 50, 3), np.uint8)], detector, tracking=tracking_on)


def test_one_frame_is_a_clip(clip, detector):
    assert track_faces(clip("lp_d11.mp4", 1), detector).n_frames == 1


# Windows


@pytest.mark.parametrize("box", [(200, 150, 300, 280), (-20, -30, 60, 70), (500, 300, 660, 420), (10, 10, 635, 355)])
def test_a_neighbourhood_lies_in_the_frame_and_in_its_piece(box):
    levels = pyramid_levels(360, 640, min_face_px=20)
    place = neighbourhood(np.array(box, np.float32), levels, height=360, width=640)
    assert place.windows
    assert 0 <= place.top < place.bottom <= 360
    assert 0 <= place.left < place.right <= 640
    for window in place.windows:
        assert [side % 2 for side in (window.top, window.bottom, window.left, window.right)] == [0, 0, 0, 0]
        assert window.bottom <= window.level.rows
        assert window.right <= window.level.columns
        assert place.top <= window.top * 360 // window.level.rows
        assert place.bottom >= -(-window.bottom * 360 // window.level.rows)
        assert place.left <= window.left * 640 // window.level.columns
        assert place.right >= -(-window.right * 640 // window.level.columns)
    whole = sum(level.rows * level.columns for level in levels)
    assert place.n_cells < whole / 4


@pytest.mark.slow
def test_the_whole_set_keeps_its_boxes(test_data, detector, benchmark):
    overlaps = []
    for path in sorted((test_data / "videos").iterdir()):
        if path.suffix in benchmark.VIDEO_SUFFIXES:
            result = benchmark.compare(path, detector)
            assert (result.overlaps >= 0.9).mean() >= 0.97, path.name
            allowed = max(2, 0.01 * result.n_frames)
            assert abs(result.with_face_on - result.with_face_off) <= allowed, path.name
            overlaps.append(result.overlaps)
    together = np.concatenate(overlaps)
    assert len(overlaps) == 7
    assert (together >= 0.9).mean() >= 0.99
    assert (together >= 0.8).mean() >= 0.999
