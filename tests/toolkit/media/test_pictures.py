"""Frames kept as they were decoded: what is looked at is what reading the file as RGB gives, number for number."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from fmltk.toolkit.media.frames import read_frames, read_pictures
from fmltk.toolkit.media.pictures import MIN_PIXELS, Picture, stays_yuv
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.vision.fingerprint import PictureSigns
from fmltk.toolkit.vision.mtcnn.detector import check_frame, same_picture
from fmltk.toolkit.vision.shots import numbered_frames
from tests.ffmpeg import copy_turned, run_ffmpeg

# By name: the size, further options of ffmpeg, the file's ending. Colours of every kind that a file may declare.
KEPT = {
    "nothing declared": ("800x600", ("-c:v", "libx264"), "mp4"),
    "bt709": ("960x540", ("-c:v", "libx264", "-colorspace", "bt709"), "mp4"),
    "bt2020": ("854x480", ("-c:v", "libx264", "-colorspace", "bt2020nc", "-color_range", "tv"), "mkv"),
    "smpte240m": ("718x562", ("-c:v", "libx264", "-colorspace", "smpte240m"), "mp4"),
    "fcc": ("800x502", ("-c:v", "libx264", "-colorspace", "fcc"), "mkv"),
    "the full range": ("642x640", ("-c:v", "libx264", "-colorspace", "bt709", "-color_range", "pc"), "mp4"),
    "motion jpeg": ("800x600", ("-c:v", "mjpeg", "-q:v", "2", "-pix_fmt", "yuvj420p"), "avi"),
    "mpeg 2": ("720x576", ("-c:v", "mpeg2video", "-q:v", "2"), "mpg"),
    "vp9": ("800x600", ("-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"), "webm"),
}
AS_RGB = {
    "an odd height": ("800x600", ("-c:v", "mpeg4", "-vf", "scale=800:601"), "mp4"),
    "an odd width": ("800x600", ("-c:v", "mpeg4", "-vf", "scale=801:600"), "mp4"),
    "few pixels": ("640x360", ("-c:v", "libx264"), "mp4"),
    "ten bits": ("800x600", ("-c:v", "libx264", "-pix_fmt", "yuv420p10le"), "mp4"),
    "a colour for each pixel": ("800x600", ("-c:v", "libx264", "-pix_fmt", "yuv444p"), "mp4"),
    "pixels that are not square": ("800x600", ("-c:v", "libx264", "-vf", "setsar=4/3"), "mp4"),
}


def make(path: Path, size: str, options: tuple[str, ...], *, seconds: float = 0.2) -> Path:
    """Write a video of noise that moves over a test picture: every number from 0 to 255 in every colour."""
    source = f"testsrc2=s={size}:r=25:d={seconds},noise=alls=60"
    chosen = () if "-pix_fmt" in options else ("-pix_fmt", "yuv420p")
    run_ffmpeg("-f", "lavfi", "-i", source, *chosen, "-preset", "ultrafast", *options, path)
    return path


@pytest.mark.parametrize("name", KEPT)
def test_pictures_give_the_numbers_of_frames(name: str, tmp_path: Path, both_ffmpegs) -> None:
    size, options, suffix = KEPT[name]
    path = make(tmp_path / f"a.{suffix}", size, options)
    info = probe_media(path)
    assert stays_yuv(info)
    rng = np.random.default_rng(0)
    frames, pictures = list(read_frames(path, info=info)), list(read_pictures(path, info=info))
    assert len(frames) == len(pictures) > 4
    for frame, picture in zip(frames, pictures, strict=True):
        assert isinstance(picture, Picture)
        check_frame(picture)
        assert picture.shape == frame.shape
        assert picture.nbytes == frame.nbytes // 2
        np.testing.assert_array_equal(np.asarray(picture), frame)
        for _ in range(6):
            top, bottom = np.sort(rng.integers(0, frame.shape[0] + 9, 2)).tolist()
            left, right = np.sort(rng.integers(0, frame.shape[1] + 9, 2)).tolist()
            rows, columns = rng.integers(1, 9, 2).tolist()
            for part in ((slice(top, bottom), slice(left, right)),
                         (slice(top, bottom, rows), slice(left, right, columns)),
                         (slice(None, None, rows), slice(None, None, rows))):  # fmt: skip
                np.testing.assert_array_equal(picture[part], frame[part])


@pytest.mark.parametrize("name", AS_RGB)
def test_other_videos_are_read_as_rgb(name: str, tmp_path: Path) -> None:
    size, options, suffix = AS_RGB[name]
    path = make(tmp_path / f"a.{suffix}", size, options)
    info = probe_media(path)
    assert not stays_yuv(info)
    for frame, picture in zip(read_frames(path, info=info), read_pictures(path, info=info), strict=True):
        assert isinstance(picture, np.ndarray)
        np.testing.assert_array_equal(picture, frame)


@pytest.mark.parametrize("angle", [90, 180, 270])
def test_turned_videos_are_upright(angle: int, tmp_path: Path) -> None:
    path = tmp_path / "turned.mp4"
    copy_turned(make(tmp_path / "a.mp4", "960x540", ("-c:v", "libx264", "-colorspace", "bt709")), path, angle)
    info = probe_media(path)
    assert info.rotation == angle
    assert stays_yuv(info)
    for frame, picture in zip(read_frames(path, info=info), read_pictures(path, info=info), strict=True):
        assert isinstance(picture, Picture)
        np.testing.assert_array_equal(np.asarray(picture), frame)


def test_a_part_of_a_file_and_what_comes_before_its_picture(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", "800x600", ("-c:v", "libx264", "-g", "5"), seconds=1.0)
    sound = ("-f", "lavfi", "-i", "sine=d=1.4")
    late = tmp_path / "late.mkv"
    run_ffmpeg(*sound, "-itsoffset", "0.4", "-i", tmp_path / "a.mp4", "-c:v", "copy", "-c:a", "flac", late)
    info = probe_media(late)
    frames = list(read_frames(late, info=info, start_s=0.2, end_s=0.9))
    pictures = list(read_pictures(late, info=info, start_s=0.2, end_s=0.9))
    kinds = [type(picture) for picture in pictures]
    assert kinds == [np.ndarray] * 6 + [Picture] * (len(frames) - 6)
    for frame, picture in zip(frames, pictures, strict=True):
        np.testing.assert_array_equal(np.asarray(picture), frame)
    assert not frames[5].any()
    assert frames[6].any()


def test_same_pictures_are_seen_without_their_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc2=s=800x600:r=10:d=0.5", "-c:v", "libx264", "-qp", "0", "-pix_fmt",
               "yuv420p", path)  # fmt: skip
    info = probe_media(path)
    frames, pictures = list(read_frames(path, info=info)), list(read_pictures(path, info=info))
    repeated = [same_picture(a, b) for a, b in pairwise(frames)]
    assert [same_picture(a, b) for a, b in pairwise(pictures)] == repeated
    assert True in repeated
    assert False in repeated
    last = np.array(pictures[0].rows)  # type: ignore[union-attr]
    last[-1, -1] ^= 255
    other = Picture(last.ravel(), info.height, info.width, colours=info.colours)
    assert not same_picture(pictures[0], other), "the last number of the last colour"
    assert not same_picture(pictures[0], frames[0]), "one kind is not compared with the other"


def test_those_who_look_at_whole_videos_see_the_same(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", "1280x720", ("-c:v", "libx264", "-preset", "ultrafast"), seconds=1.0)
    info = probe_media(path)
    signs, shots = [], []
    for frames in (read_frames(path, info=info), read_pictures(path, info=info)):
        watched = PictureSigns()
        shots.append([numbered.shot for numbered in numbered_frames(watched.watch(frames))])
        signs.append(watched.signs())
    assert shots[0] == shots[1]
    np.testing.assert_array_equal(signs[0], signs[1])
    assert signs[0].size


@pytest.mark.parametrize("matrix", [8, 10, 14])
def test_colours_of_other_kinds_are_left_to_ffmpeg(matrix: int, tmp_path: Path) -> None:
    """The conversion of pictures refuses them, and so does that of newer versions of ffmpeg."""
    plain, path = make(tmp_path / "plain.mp4", "800x600", ("-c:v", "libx264")), tmp_path / "a.mp4"
    run_ffmpeg("-i", plain, "-c", "copy", "-bsf:v", f"h264_metadata=matrix_coefficients={matrix}", path)
    info = probe_media(path)
    assert info.colours[0] == matrix
    assert not stays_yuv(info)
    assert stays_yuv(replace(info, colours=(1, 1)))


@pytest.mark.parametrize("second", ["1280x720", "yuv444p", "bt709", "pc"])
def test_a_change_in_the_middle_of_a_file_is_scaled(second: str, tmp_path: Path) -> None:
    options = {"yuv444p": ("-pix_fmt", "yuv444p"), "bt709": ("-colorspace", "bt709"), "pc": ("-color_range", "pc")}
    parts = []
    for name, kind in (("first", ""), ("second", second)):
        parts.append(tmp_path / f"{name}.ts")
        size = kind if kind[0:1].isdigit() else "800x600"
        chosen = ("-pix_fmt", "yuv420p") if kind != "yuv444p" else ()
        source = ("-f", "lavfi", "-i", f"testsrc2=s={size}:r=25:d=0.2")
        run_ffmpeg(*source, *chosen, *options.get(kind, ()), "-c:v", "libx264", "-preset", "ultrafast", parts[-1])
    (tmp_path / "list.txt").write_text("".join(f"file '{one}'\n" for one in parts))
    path = tmp_path / "joined.mkv"
    run_ffmpeg("-f", "concat", "-safe", 0, "-i", tmp_path / "list.txt", "-c", "copy", path)
    info = probe_media(path)
    assert stays_yuv(info)
    frames, pictures = list(read_frames(path, info=info)), list(read_pictures(path, info=info))
    assert len(frames) == len(pictures) > 10
    for k, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        apart = np.abs(frame.astype(int) - np.asarray(picture)).mean()
        assert apart < (12 if k > 4 else 1e-9), "the first colours count for all; nothing is torn or shifted"


def test_no_threads_are_left_behind(tmp_path: Path) -> None:
    code = """
import sys, numpy as np
from pathlib import Path
from fmltk.toolkit.media.pictures import Picture
def threads(): return len(list(Path("/proc/self/task").iterdir()))
picture = Picture(np.zeros(640 * 960 * 3 // 2, np.uint8), 640, 960, colours=(1, 1))
picture[:8, :8]
before = threads()
for size in range(64, 640, 32): picture[:size, :size]
print(threads() - before)
"""
    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads are counted in /proc")
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "0\n"


def test_a_picture_takes_slices_as_an_array_does() -> None:
    assert 640 * 480 < MIN_PIXELS < 960 * 540
    grey = Picture(np.full(6 * 4 * 3 // 2, 128, np.uint8), 4, 6, colours=(1, 1))
    for part, shape in (
        ((slice(0, 0), slice(None)), (0, 6, 3)),
        ((slice(3, 1), slice(None)), (0, 6, 3)),
        ((slice(None), slice(9, 12)), (4, 0, 3)),
        ((slice(1, 99), slice(1, 99)), (3, 5, 3)),
        ((slice(-2, None), slice(-1, None)), (2, 1, 3)),
        ((slice(None, None, 3), slice(None, None, 4)), (2, 2, 3)),
    ):
        assert grey[part].shape == shape
        assert (grey[part] == 130).all()
    assert np.asarray(grey, dtype=np.float32).dtype == np.float32
    for part in ((slice(None, None, -1), slice(None)), (slice(None), slice(9, 1, -2))):
        with pytest.raises(ValueError, match="not read backwards"):
            grey[part]
    with pytest.raises(ValueError, match="nothing to share"):
        np.asarray(grey, copy=False)
