from __future__ import annotations

import hashlib
import math
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from fmltk.toolkit.errors import MediaError, MissingModalityError, ProcessError, UnreadableMediaError
from fmltk.toolkit.media import frames as frames_module
from fmltk.toolkit.media.frames import read_frames, write_video
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.media.process import FFMPEG_VARIABLE
from tests.ffmpeg import copy_turned, run_ffmpeg


def frame_numbers(path: Path, numbered, **part) -> list[int]:
    return [numbered.number(frame) for frame in read_frames(path, info=probe_media(path), **part)]


def frame_hashes(path: Path, **part) -> list[str]:
    return [hashlib.sha256(frame.data).hexdigest() for frame in read_frames(path, info=probe_media(path), **part)]


def expected_numbers(times: list[Fraction], n_frames: int) -> list[int]:
    """The rule, by hand: frame k shows the last picture whose time, rounded to the nearest 1/30 s, is not after it."""
    grid = [math.floor(time * 30 + Fraction(1, 2)) for time in times]
    return [max((number for number, k in enumerate(grid) if k <= frame), default=0) for frame in range(n_frames)]


@pytest.mark.parametrize("rate", [15, 24, 25, 30, 50, Fraction(30_000, 1001), Fraction(2213, 100)])
def test_any_rate_comes_as_exactly_30_hz(rate, tmp_path, numbered, both_ffmpegs) -> None:
    times = [number / Fraction(rate) for number in range(2 * int(rate))]
    numbered.write(tmp_path / "a.mp4", times)
    read = frame_numbers(tmp_path / "a.mp4", numbered)
    assert len(read) == pytest.approx(30 * len(times) / rate, abs=0.5)
    assert read == expected_numbers([Fraction(round(t * 90_000), 90_000) for t in times], len(read))


def test_frames_keep_their_order_past_1000(tmp_path, numbered) -> None:
    numbered.write(tmp_path / "a.mp4", [Fraction(n, 30) for n in range(1203)])
    assert frame_numbers(tmp_path / "a.mp4", numbered) == list(range(1203))


def test_variable_rate_follows_the_files_times(tmp_path, numbered, both_ffmpegs) -> None:
    gaps = [1, 1, 7, 30, 2, 2, 61, 1, 1, 5, 90, 3, 3, 3]
    ticks = np.cumsum([0, *gaps]).tolist()
    times = [Fraction(tick * 10, 1000) for tick in ticks]
    numbered.write(tmp_path / "a.mkv", times, bf="0")
    info = probe_media(tmp_path / "a.mkv")
    assert info.vfr
    read = frame_numbers(tmp_path / "a.mkv", numbered)
    assert read == expected_numbers(times, len(read))
    assert len(read) >= times[-1] * 30


@pytest.mark.parametrize("container", ["mkv", "ts", "mov"])
def test_a_picture_that_starts_late_keeps_its_time(container, tmp_path, numbered, both_ffmpegs) -> None:
    numbered.write(tmp_path / "v.mp4", [Fraction(n, 25) for n in range(50)], bf="0")
    sound = ["-f", "lavfi", "-i", "sine=d=4"]
    path = tmp_path / f"late.{container}"
    run_ffmpeg(
        *sound, "-itsoffset", 1, "-i", tmp_path / "v.mp4", "-map", 1, "-map", 0, "-c:v", "copy", "-c:a", "mp2", path
    )
    info = probe_media(path)
    assert info.video_start_s == pytest.approx(1.0, abs=0.05)
    read = frame_numbers(path, numbered)
    late = round(info.video_start_s * 30)
    assert read[: late + 1] == [0] * (late + 1)  # black, which is also how picture 0 looks
    shown = [math.floor(25 * (k / 30 - info.video_start_s) + 0.51) for k in range(late + 1, len(read))]
    assert np.max(np.abs(np.array(read[late + 1 :]) - shown)) <= 1
    assert len(read) == pytest.approx(90, abs=2)


SEEK_FILES = {
    "open_gop.mp4": (25, {"g": "60", "bf": "5", "x264-params": "open-gop=1:b-pyramid=normal"}),
    "open_gop.mkv": (25, {"g": "60", "bf": "5", "x264-params": "open-gop=1:b-pyramid=normal"}),
    "fast.mp4": (60, {"g": "90"}),
    "fast.mkv": (60, {"g": "90"}),
    "slow.mp4": (2, {"g": "8", "bf": "3"}),
    "refresh.mp4": (25, {"x264-params": "intra-refresh=1:keyint=40"}),
    "stream.ts": (25, {"g": "60"}),
    "old.avi": (25, {"g": "60", "bf": "0"}),
}


@pytest.mark.parametrize("name", SEEK_FILES)
def test_a_part_has_the_frames_of_the_whole(name, tmp_path, numbered, both_ffmpegs) -> None:
    rate, options = SEEK_FILES[name]
    numbered.write(tmp_path / name, [Fraction(n, rate) for n in range(14 * rate)], **options)
    whole = frame_hashes(tmp_path / name)
    assert len(whole) == pytest.approx(420, abs=30)
    for first, last in [(0, 7), (1, 2), (95, 130), (217, 218), (333, 390), (390, len(whole))]:
        assert frame_hashes(tmp_path / name, start_s=first / 30, end_s=last / 30) == whole[first:last], (first, last)


def test_a_part_of_a_file_with_an_index_is_not_decoded_from_the_start(tmp_path, numbered) -> None:
    numbered.write(tmp_path / "a.mp4", [Fraction(n, 25) for n in range(250)])
    info = probe_media(tmp_path / "a.mp4")
    command = frames_module._frames_command(
        tmp_path / "a.mp4", info, start_s=9.0, n_frames=3, rate_hz=30, pixels="rgb24"
    )
    assert command[command.index("-ss") + 1] == "6"
    assert command.index("-ss") < command.index("-i")
    assert "-noaccurate_seek" in command


def test_a_part_between_two_frames_starts_at_its_own_time(tmp_path, numbered, both_ffmpegs) -> None:
    times = [Fraction(n, 100) for n in range(600)]
    numbered.write(tmp_path / "a.mp4", times)
    read = frame_numbers(tmp_path / "a.mp4", numbered, start_s=4.012, end_s=5.012)
    assert len(read) == 30
    shown = np.array([401.2 + 100 * k / 30 for k in range(30)])
    assert np.max(np.abs(np.array(read) - shown)) <= 100 / 60 + 1  # half a frame, by the rule, and one source picture


def test_a_clip_of_a_tenth_of_a_second_has_three_frames(tmp_path, numbered) -> None:
    numbered.write(tmp_path / "a.mp4", [Fraction(n, 30) for n in range(3)])
    assert frame_numbers(tmp_path / "a.mp4", numbered) == [0, 1, 2]


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_rotated_pictures_come_upright(angle, tmp_path, both_ffmpegs) -> None:
    upright = np.zeros((48, 80, 3), dtype=np.uint8)
    upright[:16, :16] = (255, 0, 0)
    upright[-16:, -16:] = (0, 0, 255)
    stored = np.ascontiguousarray(np.rot90(upright, k=angle // 90))  # anticlockwise, which a player undoes
    write_video([stored] * 10, tmp_path / "stored.mp4", lossless=True)
    copy_turned(tmp_path / "stored.mp4", tmp_path / "rotated.mp4", angle)
    info = probe_media(tmp_path / "rotated.mp4")
    assert (info.width, info.height, info.rotation) == (80, 48, angle)
    frame = next(iter(read_frames(tmp_path / "rotated.mp4", info=info)))
    assert frame.shape == (48, 80, 3)
    assert np.abs(frame.astype(int) - upright).max() <= 3


@pytest.mark.parametrize(
    ("codec", "pixel_format", "size"),
    [
        ("ffv1", "yuv420p", (401, 303)),
        ("mpeg4", "yuv420p", (401, 303)),
        ("libx264", "yuv420p10le", (160, 120)),
        ("ffv1", "gray", (160, 120)),
        ("ffv1", "gray10le", (160, 120)),
        ("libx264", "yuv444p", (161, 121)),
        ("libvpx-vp9", "yuv420p", (161, 121)),
    ],
)
def test_odd_sizes_and_unusual_pixels_are_read(codec, pixel_format, size, tmp_path, both_ffmpegs) -> None:
    path = tmp_path / "a.mkv"
    width, height = size
    source = f"smptebars=s={width}x{height}:r=30:d=0.5"
    run_ffmpeg("-f", "lavfi", "-i", source, "-c:v", codec, "-pix_fmt", pixel_format, "-b:v", "4M", path)
    info = probe_media(path)
    assert (info.width, info.height, info.pixel_format) == (width, height, pixel_format)
    read = list(read_frames(path, info=info))
    assert len(read) == 15
    assert {(frame.shape, frame.dtype.name) for frame in read} == {((height, width, 3), "uint8")}
    with av.open(str(path)) as container:
        reference = next(container.decode(video=0)).to_ndarray(format="rgb24")
    difference = np.abs(read[0].astype(int) - reference)
    assert difference.mean() < 2
    left_bar = read[0][: height // 2, : width // 10].mean(axis=(0, 1))
    assert left_bar == pytest.approx([191, 191, 191], abs=6)


def test_real_clips_agree_with_an_independent_decoder(test_data, both_ffmpegs) -> None:
    for name in ("edge_cases/pyfeat_face_noface.mov", "grid_bbaf2n.mpg", "retalking_1.mp4"):
        path = test_data / "videos" / name
        info = probe_media(path)
        with av.open(str(path)) as container:
            zero = Fraction(container.start_time or 0, av.time_base)
            stream = container.streams.video[0]
            pictures = [(f.pts * stream.time_base - zero, f) for f in container.decode(stream) if f.pts is not None]
        expected = expected_numbers([time for time, _ in pictures], 60)
        for k, frame in zip(range(60), read_frames(path, info=info), strict=False):
            if k % 13 == 0:
                reference = pictures[expected[k]][1].to_ndarray(format="rgb24")
                assert np.abs(frame.astype(int) - reference).mean() < 1.5, (name, k)


def test_the_same_file_gives_the_same_bytes(talking_clip, both_ffmpegs) -> None:
    assert frame_hashes(talking_clip) == frame_hashes(talking_clip)


def test_frames_end_with_the_picture_and_not_with_the_sound(tmp_path, numbered) -> None:
    numbered.write(tmp_path / "v.mp4", [Fraction(n, 30) for n in range(30)])
    sound = ["-f", "lavfi", "-i", "sine=d=3"]
    run_ffmpeg("-i", tmp_path / "v.mp4", *sound, "-map", 0, "-map", 1, "-c:v", "copy", tmp_path / "a.mp4")
    assert frame_numbers(tmp_path / "a.mp4", numbered) == list(range(30))
    with pytest.raises(MissingModalityError, match=r"'a.mp4': the file has no video after 2 s; it ends at 1.00 s"):
        frame_numbers(tmp_path / "a.mp4", numbered, start_s=2.0)


MEMORY_READER = """
import sys
from pathlib import Path
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
def peak_kib():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
path = Path(sys.argv[1])
info = probe_media(path)
before = peak_kib()
print(sum(1 for _ in read_frames(path, info=info)), peak_kib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_does_not_grow_with_the_video(tmp_path) -> None:
    source = ["-f", "lavfi", "-i", "testsrc=s=320x240:r=10:d=40", "-pix_fmt", "yuv420p"]
    run_ffmpeg(*source, "-c:v", "libx264", "-preset", "ultrafast", tmp_path / "a.mp4")
    command = [sys.executable, "-c", MEMORY_READER, tmp_path / "a.mp4"]
    n_frames, grown_kib = subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
    assert n_frames == "1200"
    assert int(grown_kib) < 20_000  # the frames are 270,000


def test_a_file_without_picture_says_so(tmp_path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "a.m4a")
    with pytest.raises(MissingModalityError, match=r"'a.m4a': the file has no video"):
        read_frames(tmp_path / "a.m4a", info=probe_media(tmp_path / "a.m4a"))


@pytest.mark.parametrize("part", [(1.0, 1.0), (1.0, 0.5), (-1.0, None), (math.nan, None)])
def test_an_empty_part_is_refused(part, talking_clip) -> None:
    with pytest.raises(MediaError, match="is empty; end_s must be after start_s"):
        read_frames(talking_clip, info=probe_media(talking_clip), start_s=part[0], end_s=part[1])


def test_fewer_frames_than_the_file_holds_are_an_error(tmp_path, talking_clip, both_ffmpegs) -> None:
    whole = talking_clip.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((UnreadableMediaError, ProcessError), match=r"'cut.mp4'"):
        list(read_frames(cut, info=probe_media(talking_clip)))
    info = replace(probe_media(talking_clip), video_end_s=3.0)
    with pytest.raises(UnreadableMediaError, match=r"only 2\.\d\d of 3.00 s of its video could be decoded"):
        list(read_frames(talking_clip, info=info))


def test_a_hung_ffmpeg_is_an_error_in_time(tmp_path, talking_clip, monkeypatch) -> None:
    info = probe_media(talking_clip)
    fake = tmp_path / "ffmpeg"
    fake.write_text(
        '#!/bin/sh\n[ "$1" = -version ] && { echo ffmpeg version 0-fake; exit; }\nprintf abc; exec sleep 300\n'
    )
    fake.chmod(0o755)
    monkeypatch.setenv(FFMPEG_VARIABLE, str(fake))
    with pytest.raises(ProcessError, match=r"ffmpeg on the video of 'clip.mp4' did not end within 0.5 s"):
        list(read_frames(talking_clip, info=info, timeout_s=0.5))


def test_a_reader_that_stops_early_leaves_no_program_behind(talking_clip) -> None:
    frames = read_frames(talking_clip, info=probe_media(talking_clip))
    next(frames)
    children = f"/proc/{os.getpid()}/task/{os.getpid()}/children"
    if not Path(children).exists():
        pytest.skip("the kernel does not list children")
    before = Path(children).read_text().split()
    frames.close()
    after = Path(children).read_text().split()
    assert len(after) == len(before) - 1


def test_written_pictures_come_back_exactly(tmp_path, numbered, both_ffmpegs) -> None:
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, 256, (112, 112, 3), dtype=np.uint8) for _ in range(12)]
    assert write_video(pictures, tmp_path / "a.mp4", lossless=True) == 12
    info = probe_media(tmp_path / "a.mp4")
    assert (info.fps, info.duration_s, info.has_audio) == (30.0, pytest.approx(0.4), False)
    read = list(read_frames(tmp_path / "a.mp4", info=info))
    assert all(np.array_equal(a, b) for a, b in zip(read, pictures, strict=True))


def test_written_faces_are_near_transparent_and_the_same_every_time(tmp_path, test_data, both_ffmpegs) -> None:
    path = test_data / "videos" / "grid_bbaf2n.mpg"
    pictures = [f[60:172, 120:232] for f in read_frames(path, info=probe_media(path), end_s=0.5)]
    for name in ("a.mp4", "b.mp4"):
        write_video(iter(pictures), tmp_path / name)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    read = list(read_frames(tmp_path / "a.mp4", info=probe_media(tmp_path / "a.mp4")))
    assert len(read) == 15
    assert np.mean([np.abs(a.astype(int) - b).mean() for a, b in zip(read, pictures, strict=True)]) < 3


def test_odd_sizes_are_written_as_they_are(tmp_path) -> None:
    picture = np.full((33, 45, 3), 90, dtype=np.uint8)
    write_video([picture] * 4, tmp_path / "a.mp4")
    info = probe_media(tmp_path / "a.mp4")
    assert (info.width, info.height) == (45, 33)
    assert np.abs(next(read_frames(tmp_path / "a.mp4", info=info)).astype(int) - 90).max() <= 2


def test_a_video_that_cannot_be_written_leaves_what_was_there(tmp_path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"before")
    picture = np.zeros((32, 32, 3), dtype=np.uint8)
    with pytest.raises(MediaError, match=r"frame 1 is uint8 \(16, 16, 3\), the first is uint8 \(32, 32, 3\)"):
        write_video([picture, picture[:16, :16]], path)
    with pytest.raises(MediaError, match="a video of no frames"):
        write_video([], path)
    with pytest.raises(MediaError, match=r"writing .*: a file lies where a folder was expected"):
        write_video([picture], path / "b.mp4")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
