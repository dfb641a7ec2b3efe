from __future__ import annotations

import contextlib
import os
import random
import struct
import tempfile
from fractions import Fraction
from pathlib import Path

import pytest

from fmltk.toolkit.errors import MediaError, MediaLimitError, UnreadableMediaError
from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.media.refusal import is_clearly_short
from tests.ffmpeg import run_ffmpeg


def test_an_ordinary_clip_is_described(talking_clip) -> None:
    info = probe_media(talking_clip)
    assert (info.has_video, info.has_audio, info.vfr, info.rotation) == (True, True, False, 0)
    assert (info.fps, info.width, info.height) == (25.0, 160, 120)
    assert (info.audio_rate_hz, info.pixel_format, info.container) == (44_100, "yuv420p", "mov")
    assert (info.duration_s, info.video_start_s, info.video_end_s, info.audio_start_s) == (
        pytest.approx(2.0, abs=0.03),
        0.0,
        2.0,
        0.0,
    )


def test_real_clips_are_described(test_data) -> None:
    videos = test_data / "videos"
    tall = probe_media(videos / "latentsync_demo1.mp4")
    assert (tall.width, tall.height, tall.fps, tall.rotation) == (1080, 1920, 25.0, 0)
    late = probe_media(videos / "edge_cases" / "pyfeat_face_noface.mov")
    assert late.vfr
    assert late.audio_start_s == pytest.approx(2.43, abs=0.01)
    assert probe_media(videos / "retalking_1.mp4").video_start_s == pytest.approx(0.033, abs=1e-3)
    stream = probe_media(videos / "grid_bbaf2n.mpg")
    assert (stream.container, stream.duration_s, stream.fps) == ("mpeg", pytest.approx(3.0, abs=0.01), 25.0)


@pytest.mark.parametrize("container", ["mkv", "flv", "ts", "avi", "mpg"])
def test_the_duration_is_right_where_the_header_has_none_or_lies(container, tmp_path) -> None:
    path = tmp_path / f"a.{container}"
    source = ["-f", "lavfi", "-i", "testsrc=s=160x120:r=25:d=4", "-pix_fmt", "yuv420p"]
    if container == "mkv":
        run_ffmpeg(*source, "-live", 1, path)
    elif container == "flv":
        run_ffmpeg(*source, path)
        content = path.read_bytes()
        at = content.index(b"duration\x00") + len(b"duration\x00")
        path.write_bytes(content[:at] + struct.pack(">d", 1000.0) + content[at + 8 :])
    elif container == "avi":
        run_ffmpeg(*source, path)
        content = bytearray(path.read_bytes())
        frames_at = content.index(b"avih") + 8 + 16
        content[frames_at : frames_at + 4] = struct.pack("<I", 100_000)
        path.write_bytes(content)
    else:
        run_ffmpeg(*source, path)
    info = probe_media(path)
    assert info.duration_s == pytest.approx(4.0, abs=0.05)
    assert len(list(read_frames(path, info=info))) == 120


def test_a_still_cover_is_no_picture(tmp_path) -> None:
    cover = tmp_path / "cover.png"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48", "-frames:v", 1, cover)
    for name, codec in [("a.mp3", "libmp3lame"), ("a.m4a", "aac")]:
        sound = ["-f", "lavfi", "-i", "sine=d=2", "-i", cover, "-map", 0, "-map", 1, "-c:a", codec, "-c:v", "png"]
        run_ffmpeg(*sound, "-disposition:v", "attached_pic", tmp_path / name)
        info = probe_media(tmp_path / name)
        assert (info.has_video, info.has_audio, info.width) == (False, True, 0)
        assert info.duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.m4a", "a.ogg"])
def test_sound_alone_is_described(name, tmp_path) -> None:
    codec = ["-c:a", "libopus"] if name == "a.ogg" else []
    run_ffmpeg("-f", "lavfi", "-i", "sine=d=1.5:r=48000", *codec, tmp_path / name)
    info = probe_media(tmp_path / name)
    assert (info.has_video, info.has_audio, info.audio_rate_hz) == (False, True, 48_000)
    assert info.duration_s == pytest.approx(1.5, abs=0.06)


def test_a_very_short_clip_is_described(tmp_path, numbered) -> None:
    numbered.write(tmp_path / "a.mp4", [Fraction(n, 30) for n in range(3)])
    info = probe_media(tmp_path / "a.mp4")
    assert (info.duration_s, info.fps) == (pytest.approx(0.1, abs=1e-3), pytest.approx(30.0))


def test_a_changed_file_is_probed_again(tmp_path, numbered) -> None:
    path = tmp_path / "a.mp4"
    numbered.write(path, [Fraction(n, 30) for n in range(30)])
    assert probe_media(path).duration_s == pytest.approx(1.0)
    numbered.write(path, [Fraction(n, 30) for n in range(60)])
    assert probe_media(path).duration_s == pytest.approx(2.0)


NAMES = [
    "two words.mp4",
    'it\'s "quoted".mp4',
    "new\nline.mp4",
    "視頻 情感 分析.mp4",
    "-dash.mp4",
    "%03d.mp4",
    "a%d%%.mp4",
    "pipe:1.mp4",
    "http:x.mp4",
    "concat:a|b.mp4",
    "[0:v]; $(id) `id` & *.mp4",
    "back\\slash.mp4",
    "😀 مرحبا.mp4",
    " .mp4",
    "no_ending",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_read(name, tmp_path, talking_clip, monkeypatch, both_ffmpegs) -> None:
    (tmp_path / name).write_bytes(talking_clip.read_bytes())
    monkeypatch.chdir(tmp_path)
    for path in (tmp_path / name, Path(name)):
        info = probe_media(path)
        assert len(list(read_frames(path, info=info, end_s=0.2))) == 6
        assert len(read_audio(path, info=info, end_s=0.2).samples) == 4410


def test_a_name_that_is_not_utf8_is_an_error_that_names_it(tmp_path, talking_clip) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.mp4"))
    path.write_bytes(talking_clip.read_bytes())
    with pytest.raises(UnreadableMediaError, match=r"caf.*: its name or folder is not valid UTF-8; rename it"):
        probe_media(path)


def test_an_empty_file_says_so(tmp_path) -> None:
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UnreadableMediaError, match=r"^'a.mp4': the file is empty \(0 bytes\)$"):
        probe_media(tmp_path / "a.mp4")


def test_missing_files_folders_links_and_pipes_say_what_they_are(tmp_path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    (tmp_path / "lost.mp4").symlink_to("elsewhere.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    for name, reason in {
        "none.mp4": "the file does not exist",
        "folder.mp4": "this is a folder",
        "loop.mp4": "the symbolic link leads back to itself",
        "lost.mp4": "the symbolic link leads to 'elsewhere.mp4', which does not exist",
        "pipe.mp4": "this is not a regular file",
    }.items():
        with pytest.raises(UnreadableMediaError, match=f"'{name}': {reason}"):
            probe_media(tmp_path / name)


@contextlib.contextmanager
def unprivileged():
    """Drop root's power to read everything, for the time of a test."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_without_permission_says_so(talking_clip) -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder) / "a.mp4"
        path.write_bytes(talking_clip.read_bytes())
        path.chmod(0o000)
        with unprivileged():
            with pytest.raises(PermissionError):  # the fault is in force
                path.open("rb")
            with pytest.raises(UnreadableMediaError, match=r"'a.mp4': its permissions do not allow reading; .*chmod"):
                probe_media(path)


def test_a_file_cut_before_its_index_says_so(tmp_path, talking_clip) -> None:
    run_ffmpeg("-i", talking_clip, "-c", "copy", tmp_path / "whole.mp4")  # its index comes last
    content = (tmp_path / "whole.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableMediaError, match=r"'a.mp4': no decoder can read it: .* cut off .*moov"):
        probe_media(tmp_path / "a.mp4")


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_a_file_cut_after_its_index_says_how_much_is_left(container, tmp_path, talking_clip) -> None:
    run_ffmpeg("-i", talking_clip, "-c", "copy", "-movflags", "+faststart", tmp_path / f"whole.{container}")
    content = (tmp_path / f"whole.{container}").read_bytes()
    path = tmp_path / f"a.{container}"
    path.write_bytes(content[: len(content) * 6 // 10])
    with pytest.raises(UnreadableMediaError, match=r"is cut off: its header declares 2.0\d s, but only [01].\d\d s"):
        probe_media(path)


def test_text_under_a_video_s_name_says_so(tmp_path) -> None:
    for name in ("a.mp4", "a.mp3", "a.mpg", "a.avi", "a.flac", "a.ts"):
        (tmp_path / name).write_text("Dear reader, this is no video.\n" * 300)
        with pytest.raises(UnreadableMediaError, match=f"'{name}'"):
            probe_media(tmp_path / name)
    with pytest.raises(UnreadableMediaError, match=r"'a.mp4': this is text, not a video or audio file"):
        probe_media(tmp_path / "a.mp4")


def test_noise_under_a_video_s_name_is_an_error(tmp_path) -> None:
    for seed in range(20):
        (tmp_path / "a.mp4").write_bytes(random.Random(seed).randbytes(20_000))
        with pytest.raises(UnreadableMediaError, match=r"'a.mp4'"):
            probe_media(tmp_path / "a.mp4")


def test_damage_anywhere_ends_as_a_media_error_or_as_pictures(tmp_path, talking_clip) -> None:
    content = talking_clip.read_bytes()
    dice = random.Random(7)
    outcomes = set()
    for _ in range(25):
        damaged = bytearray(content)
        for _ in range(dice.choice([3, 30, 300])):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        path = tmp_path / "a.mp4"
        path.write_bytes(damaged)
        try:
            info = probe_media(path)
            outcomes.add(len(list(read_frames(path, info=info, end_s=2.0))) if info.has_video else "no picture")
        except MediaError as error:
            outcomes.add(type(error).__name__)
    assert "UnreadableMediaError" in outcomes
    assert 60 in outcomes
    assert all(isinstance(outcome, str) or outcome >= 45 for outcome in outcomes)  # at most half a second is let go


def test_a_large_picture_is_refused_by_a_limit_that_the_message_names(talking_clip) -> None:
    with pytest.raises(MediaLimitError, match=r"is 160 x 120, more than 19199 pixels; .* --max-pixels 19200"):
        probe_media(talking_clip, max_pixels=19_199)
    assert probe_media(talking_clip, max_pixels=19_200).width == 160


def test_clearly_short_needs_both_half_a_second_and_a_tenth() -> None:
    assert not is_clearly_short(0.6, 1.0)
    assert is_clearly_short(0.4, 1.0)
    assert not is_clearly_short(95.0, 100.0)
    assert is_clearly_short(89.0, 100.0)
