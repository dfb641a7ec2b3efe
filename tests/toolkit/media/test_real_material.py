"""Files as cameras, editors, streams and network drives leave them: read as players show them, or refused by name."""

from __future__ import annotations

import struct
import subprocess
import sys
from fractions import Fraction
from typing import TYPE_CHECKING

import av
import librosa
import numpy as np
import pytest
import soundfile

from fmltk.toolkit.audio.acoustic import acoustic_sequence
from fmltk.toolkit.audio.reference import librosa_sequence
from fmltk.toolkit.errors import MissingModalityError, UnreadableMediaError
from fmltk.toolkit.media.audio import Sound, read_audio
from fmltk.toolkit.media.frames import count_blank_frames, count_frames, read_frames, write_video
from fmltk.toolkit.media.probe import probe_media
from tests.ffmpeg import DEMO, copy_turned, run_ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = 22_050
PICTURE = ["-f", "lavfi", "-i", "testsrc2=s=160x120:r=25:d=6"]
SOUND = ["-f", "lavfi", "-i", "sine=f=600:r=44100:d=6"]
H264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
AAC = ["-c:a", "aac"]


def read_sound(path: Path, **part: float) -> Sound:
    return read_audio(path, info=probe_media(path), **part)


def n_frames_of(path: Path) -> int:
    return len(list(read_frames(path, info=probe_media(path))))


# Clocks


CODECS = {
    "mkv": [*H264, "-g", "25", *AAC],
    "mp4": [*H264, "-g", "25", *AAC],
    "ts": [*H264, "-g", "25", *AAC],
    "webm": ["-c:v", "libvpx", "-deadline", "realtime", "-cpu-used", "8", "-g", "25", "-c:a", "libopus"],
    "asf": ["-c:v", "mpeg4", "-g", "25", "-c:a", "libmp3lame"],
    "flv": [*H264, "-g", "25", *AAC],
}


@pytest.mark.parametrize("container", CODECS)
def test_a_piece_that_starts_late_is_whole(container, tmp_path) -> None:
    whole = tmp_path / f"whole.{container}"
    run_ffmpeg(*PICTURE, *SOUND, *CODECS[container], whole)
    run_ffmpeg("-i", whole, "-c", "copy", "-f", "segment", "-segment_time", 2, tmp_path / f"piece%d.{container}")
    run_ffmpeg("-ss", 2, "-copyts", "-i", whole, "-c", "copy", tmp_path / f"copyts.{container}")
    pieces = sorted(tmp_path.glob("piece*"))
    assert len(pieces) == 3
    for path in [*pieces, tmp_path / f"copyts.{container}"]:
        seconds = {True: (1.8, 2.2), False: (3.8, 5.2)}[path in pieces]  # from the key picture before the cut
        info = probe_media(path)
        assert seconds[0] < info.duration_s < seconds[1]
        assert n_frames_of(path) == pytest.approx(30 * info.video_end_s, abs=1)
        assert len(read_sound(path).samples) == pytest.approx(RATE * info.audio_end_s, abs=0.024 * RATE)  # a packet


LONG_SUBTITLE = "1\n00:00:00,500 --> 00:00:01,000\nearly\n\n2\n00:00:01,200 --> 00:00:40,000\nmuch too long\n"


@pytest.mark.parametrize(
    ("container", "codec"), [("mkv", "srt"), ("mkv", "ass"), ("mp4", "mov_text"), ("mov", "mov_text")]
)
def test_a_subtitle_may_outlast_the_file(container, codec, tmp_path) -> None:
    (tmp_path / "s.srt").write_text(LONG_SUBTITLE)
    path = tmp_path / f"a.{container}"
    run_ffmpeg(*PICTURE, *SOUND, "-t", 3, *H264, *AAC, tmp_path / "plain.mkv")
    run_ffmpeg(
        "-i", tmp_path / "plain.mkv", "-i", tmp_path / "s.srt", "-map", 0, "-map", 1, "-c", "copy", "-c:s", codec, path
    )
    assert probe_media(path).duration_s == pytest.approx(3.0, abs=0.1)


def test_an_attachment_is_not_a_cut(tmp_path) -> None:
    (tmp_path / "font.bin").write_bytes(bytes(100_000))
    attached = ["-attach", tmp_path / "font.bin", "-metadata:s:t", "mimetype=application/octet-stream"]
    run_ffmpeg(*PICTURE, *SOUND, "-t", 2, *H264, *AAC, *attached, tmp_path / "a.mkv")
    assert probe_media(tmp_path / "a.mkv").duration_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize(
    ("name", "codecs"),
    [
        ("a.avi", ["-c:v", "mpeg4", "-c:a", "libmp3lame"]),
        ("a.avi", ["-c:v", "mjpeg", "-c:a", "pcm_s16le"]),
        ("silent.avi", ["-c:v", "mpeg4", "-an"]),
        ("a.asf", CODECS["asf"]),
        ("a.webm", CODECS["webm"]),
        ("a.mkv", CODECS["mkv"]),
    ],
)
def test_a_file_that_is_cut_off_is_refused(name, codecs, tmp_path) -> None:
    path = tmp_path / name
    run_ffmpeg(*PICTURE, *SOUND, *codecs, path)
    assert probe_media(path).duration_s == pytest.approx(6.0, abs=0.2)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 46 // 101])
    with pytest.raises(UnreadableMediaError, match=r"is cut off: its header declares \d+.\d\d s, but only [0-4]"):
        probe_media(path)


def test_a_piece_with_a_long_subtitle_that_is_cut_off_is_refused(tmp_path) -> None:
    (tmp_path / "s.srt").write_text(LONG_SUBTITLE)
    run_ffmpeg(*PICTURE, *SOUND, *CODECS["mkv"], tmp_path / "plain.mkv")
    inputs = ["-i", tmp_path / "plain.mkv", "-i", tmp_path / "s.srt", "-map", 0, "-map", 1]
    run_ffmpeg(*inputs, "-c", "copy", "-c:s", "srt", tmp_path / "a.mkv")
    content = (tmp_path / "a.mkv").read_bytes()
    (tmp_path / "a.mkv").write_bytes(content[: len(content) // 2])
    with pytest.raises(UnreadableMediaError, match="is cut off"):
        probe_media(tmp_path / "a.mkv")


# Holes in the sound


def write_stamped(path: Path, steps: list[int], *, codec: str = "pcm_s16le", rate: int = 44_100) -> None:
    """Write sound in frames of 1024 samples whose stamps are `steps` samples apart, with a click in one."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        stamp = 0
        for number, step in enumerate(steps):
            samples = np.zeros((1, 1024), np.int16)
            if number == len(steps) * 4 // 5:
                samples[0, 400:500] = 20_000
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = rate, stamp, Fraction(1, rate)
            container.mux(stream.encode(frame))
            stamp += step
        container.mux(stream.encode())


def stamped_click_s(path: Path) -> float:
    """Return when the click is by the stamp of the frame that holds it, decoded by PyAV."""
    with av.open(str(path)) as container:
        zero_s = (container.start_time or 0) / av.time_base
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray().astype(np.float64).ravel()) > LOUD[frame.format.name])
            if len(loud):
                return float(frame.time) - zero_s + int(loud[0]) / frame.sample_rate
    raise AssertionError("no click")


def loud_at_s(sound: Sound) -> float:
    return float(np.flatnonzero(np.abs(sound.samples) > 0.2)[0]) / RATE


LOUD = {"s16": 6554, "fltp": 0.2, "s16p": 6554}


HOLES = {
    "one of 97 ms": [1024] * 40 + [1024 + 4278] + [1024] * 100,
    "one of 9 ms": [1024] * 40 + [1024 + 397] + [1024] * 100,
    "fifty of 20 ms": [1024 + 882] * 50 + [1024] * 60,
    "a hundred of 3 ms": [1024 + 132] * 120,
    "one of 5 s": [1024] * 10 + [220_500] + [1024] * 60,
}


@pytest.mark.parametrize(("container", "codec"), [("mkv", "pcm_s16le"), ("nut", "pcm_s16le"), ("mkv", "flac")])
@pytest.mark.parametrize("kind", HOLES)
def test_sound_after_holes_is_within_5_ms_of_its_time(kind, container, codec, tmp_path, both_ffmpegs) -> None:
    path = tmp_path / f"a.{container}"
    write_stamped(path, HOLES[kind], codec=codec)
    if codec == "pcm_s16le":  # FLAC puts frames of its own length together
        intended = sum(HOLES[kind][: len(HOLES[kind]) * 4 // 5]) + 400
        assert stamped_click_s(path) == pytest.approx(intended / 44_100, abs=0.002)
    assert loud_at_s(read_sound(path)) == pytest.approx(stamped_click_s(path), abs=0.005)


@pytest.mark.parametrize("b_frames", [0, 2, 3])
def test_a_fragmented_mp4_keeps_its_sound_in_time(b_frames, tmp_path, both_ffmpegs) -> None:
    beep = "[1:a]volume='if(between(t,2,2.1),8,0)':eval=frame,asetnsamples=256[a]"
    codecs = ["-map", 0, "-map", "[a]", *H264, "-bf", b_frames, "-g", 25, *AAC]
    sources = [*PICTURE, *SOUND, "-t", 4, "-filter_complex", beep]
    run_ffmpeg(*sources, *codecs, "-movflags", "frag_keyframe+empty_moov", tmp_path / "a.mp4")
    assert loud_at_s(read_sound(tmp_path / "a.mp4")) == pytest.approx(stamped_click_s(tmp_path / "a.mp4"), abs=0.005)


# The sound is librosa's


@pytest.mark.parametrize(
    ("rate", "n_channels"), [(44_100, 2), (48_000, 6), (8_000, 1), (16_000, 1), (22_050, 2), (48_000, 8)]
)
@pytest.mark.parametrize("container", ["wav", "mkv", "mov"])
def test_sound_is_what_librosa_loads(rate, n_channels, container, tmp_path, both_ffmpegs) -> None:
    noise = np.random.default_rng(rate).normal(0, 0.2, (3 * rate + 77, n_channels)).astype(np.float32)
    soundfile.write(tmp_path / "s.wav", noise, rate, subtype="FLOAT")
    path = tmp_path / f"a.{container}"
    run_ffmpeg("-i", tmp_path / "s.wav", "-c:a", "copy", path)
    expected, _ = librosa.load(tmp_path / "s.wav", sr=RATE)
    np.testing.assert_allclose(read_sound(path).samples, expected, atol=1e-6)
    part, _ = librosa.load(tmp_path / "s.wav", sr=RATE, offset=0.5, duration=1.2)
    np.testing.assert_allclose(read_sound(path, start_s=0.5, end_s=1.7).samples, part, atol=1e-6)


@pytest.mark.numeric
@pytest.mark.parametrize("rate", [48_000, 8_000])
def test_features_are_those_of_librosa_load(rate, tmp_path) -> None:
    time = np.arange(2 * rate) / rate
    voices = [np.sin(2 * np.pi * pitch * time * (1 + 0.1 * time)) for pitch in (180, 430, 1100)]
    soundfile.write(tmp_path / "a.wav", 0.2 * np.stack(voices, axis=1), rate)
    loaded, _ = librosa.load(tmp_path / "a.wav", sr=RATE)
    expected = librosa_sequence(loaded)
    found = acoustic_sequence(read_sound(tmp_path / "a.wav").samples)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("gains", "cancelled"),
    [((1.0, -1.0), True), ((1.0, -0.995), True), ((1.0, 1.0), False), ((1.0, 0.0), False), ((0.0, 0.0), False)],
)
def test_channels_that_cancel_each_other_are_noticed(gains, cancelled, tmp_path) -> None:
    voice = np.random.default_rng(1).normal(0, 0.2, 2 * RATE)
    soundfile.write(tmp_path / "a.wav", np.stack([gain * voice for gain in gains], axis=1), RATE, subtype="FLOAT")
    assert read_sound(tmp_path / "a.wav").cancelled is cancelled


# Which stream


def two_of_each(path: Path, *dispositions: object) -> None:
    """Write a small blue and a large test picture, a low and a high tone, with the given dispositions."""
    sources = ["-f", "lavfi", "-i", "color=blue:s=64x36:r=25:d=1", "-f", "lavfi", "-i", "testsrc2=s=160x90:r=25:d=1"]
    sources += [part for f in (300, 2000) for part in ("-f", "lavfi", "-i", f"sine=f={f}:r=44100:d=1")]
    run_ffmpeg(*sources, "-map", 0, "-map", 1, "-map", 2, "-map", 3, *H264, *AAC, *dispositions, path)


SECOND = ["-disposition:v:0", 0, "-disposition:v:1", "default", "-disposition:a:0", 0, "-disposition:a:1", "default"]
FIRST = ["-disposition:v:0", "default", "-disposition:v:1", 0, "-disposition:a:0", "default", "-disposition:a:1", 0]
SPOKEN_OVER = ["-disposition:v", "default", "-disposition:a:0", "default+comment", "-disposition:a:1", 0]
ALIKE = ["-c:a", "ac3", "-b:a", "64k", "-disposition:v", "default", "-disposition:a", "default"]  # of one bit rate


def pitch_of(sound: Sound) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound.samples[:RATE])))) * RATE / len(sound.samples[:RATE])


@pytest.mark.parametrize(
    ("dispositions", "width", "pitch"),
    [(SECOND, 160, 2000), (FIRST, 64, 300), (SPOKEN_OVER, 160, 2000), (ALIKE, 160, 300)],
)
@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_the_stream_that_players_choose_is_read(container, dispositions, width, pitch, tmp_path) -> None:
    path = tmp_path / f"a.{container}"
    two_of_each(path, *dispositions)
    info = probe_media(path)
    assert info.width == width
    assert pitch_of(read_audio(path, info=info)) == pytest.approx(pitch, abs=30)
    for note, kind in ((info.video_note, "video"), (info.audio_note, "audio")):
        assert note.startswith("stream ")
        assert f"--{kind}-stream chooses" in note


def test_a_stream_that_is_asked_for_is_read(tmp_path) -> None:
    two_of_each(tmp_path / "a.mp4", *SECOND)
    info = probe_media(tmp_path / "a.mp4", video_stream=0, audio_stream=0)
    assert info.width == 64
    assert pitch_of(read_audio(tmp_path / "a.mp4", info=info)) == pytest.approx(300, abs=30)
    assert "is used as asked for" in info.audio_note
    absent = probe_media(tmp_path / "a.mp4", audio_stream=2)
    with pytest.raises(MissingModalityError, match="--audio-stream 2: the file has 2 audio streams, counted from 0"):
        read_audio(tmp_path / "a.mp4", info=absent)


def test_a_file_with_one_of_each_has_nothing_to_say(talking_clip) -> None:
    info = probe_media(talking_clip)
    assert (info.video_note, info.audio_note) == ("", "")


# Pixels that are not square


def bounds_of_white(frame: NDArray[np.uint8]) -> tuple[int, int]:
    rows, columns = np.nonzero(frame.mean(axis=2) > 128)
    return int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1


@pytest.mark.parametrize(
    ("stored", "aspect", "shown"),
    [
        ("240x180", "4/3", (320, 180)),
        ("180x288", "16/9", (320, 288)),
        ("320x90", "1/2", (320, 180)),
        ("320x180", "1/1", (320, 180)),
        ("320x180", "160/161", (320, 180)),
    ],
)
@pytest.mark.parametrize("container", ["mp4", "mkv", "avi"])
def test_pixels_are_square(stored, aspect, shown, container, tmp_path, both_ffmpegs) -> None:
    width, height = shown
    square = f"color=black:s={width}x{height}:r=25:d=0.4,drawbox=x=100:y=40:w=80:h=80:c=white:t=fill"
    size = stored.replace("x", ":")
    codec = ["-c:v", "mpeg4", "-q:v", "2"] if container == "avi" else H264
    path = tmp_path / f"a.{container}"
    run_ffmpeg("-f", "lavfi", "-i", square, "-vf", f"scale={size},setsar={aspect}", *codec, path)
    info = probe_media(path)
    assert (info.width, info.height) == shown
    assert info.stored_size == tuple(map(int, stored.split("x")))
    frame = next(iter(read_frames(path, info=info)))
    assert frame.shape == (height, width, 3)
    assert bounds_of_white(frame) == pytest.approx((80, 80), abs=4)


@pytest.mark.parametrize("angle", [90, 270])
def test_pixels_are_square_after_a_turn(angle, tmp_path, both_ffmpegs) -> None:
    square = "color=black:s=320x180:r=25:d=0.4,drawbox=x=100:y=40:w=80:h=80:c=white:t=fill,scale=240:180,setsar=4/3"
    run_ffmpeg("-f", "lavfi", "-i", square, *H264, tmp_path / "stored.mp4")
    copy_turned(tmp_path / "stored.mp4", tmp_path / "a.mp4", angle)
    info = probe_media(tmp_path / "a.mp4")
    assert (info.width, info.height, info.stored_size) == (180, 320, (180, 240))
    assert bounds_of_white(next(iter(read_frames(tmp_path / "a.mp4", info=info)))) == pytest.approx((80, 80), abs=4)


# Pictures that cannot be decoded


@pytest.mark.parametrize(
    "codec", [["-c:v", "libx264", "-bf", "2"], ["-c:v", "mpeg2video", "-bf", "2"], ["-c:v", "libx264", "-bf", "0"]]
)
def test_frames_before_the_first_key_picture_are_black(codec, tmp_path, both_ffmpegs) -> None:
    run_ffmpeg(*PICTURE, *SOUND, *codec, "-g", 75, "-pix_fmt", "yuv420p", "-c:a", "mp2", tmp_path / "whole.ts")
    content = (tmp_path / "whole.ts").read_bytes()
    path = tmp_path / "piece.ts"
    path.write_bytes(content[len(content) // 188 // 4 * 188 :])
    info = probe_media(path)
    n_blank = count_blank_frames(info)
    frames = list(read_frames(path, info=info))
    assert 10 < n_blank < len(frames) - 30
    assert len(frames) == count_frames(info)
    assert [bool(frame.any()) for frame in frames] == [False] * n_blank + [True] * (len(frames) - n_blank)
    assert (frames[n_blank + 2] != frames[n_blank]).any()
    later = list(read_frames(path, info=info, start_s=0.2, end_s=info.video_end_s))
    assert [bool(frame.any()) for frame in later[:n_blank]] == [False] * (n_blank - 6) + [True] * 6


def test_an_ordinary_late_start_of_some_milliseconds_has_no_black_frame(tmp_path) -> None:
    run_ffmpeg(
        *PICTURE, *SOUND, "-t", 2, *H264, "-bf", 3, *AAC, "-movflags", "frag_keyframe+empty_moov", tmp_path / "a.mp4"
    )
    info = probe_media(tmp_path / "a.mp4")
    assert count_blank_frames(info) == 0
    assert next(iter(read_frames(tmp_path / "a.mp4", info=info))).any()


@pytest.mark.parametrize("codecs", [[*H264, *AAC], ["-c:v", "mpeg2video", "-c:a", "mp2"], [*H264, "-an"]])
def test_recordings_joined_byte_by_byte_are_refused(codecs, tmp_path) -> None:
    run_ffmpeg(*PICTURE, *SOUND, "-t", 2, *codecs, tmp_path / "a.ts")
    content = (tmp_path / "a.ts").read_bytes()
    (tmp_path / "twice.ts").write_bytes(content + content)
    with pytest.raises(UnreadableMediaError, match=r"its clock goes back from 3.\d\d to 1.\d\d s.* -c copy NEW.mkv"):
        probe_media(tmp_path / "twice.ts")


# What is not a video


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"GIF89a" + bytes(50), "this is a GIF animation, which has no audio"),
        (b"RIFF\x40\x00\x00\x00WEBPVP8X" + bytes(50), "this is a WebP picture or animation"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "this is a PNG picture"),
        (b"\xff\xd8\xff\xe0" + bytes(50), "this is a JPEG picture"),
        (b"PK\x03\x04" + bytes(50), "this is a ZIP archive"),
        (b"%PDF-1.7\n" + bytes(50), "this is a PDF"),
    ],
)
def test_other_kinds_of_files_are_named(head, said, tmp_path) -> None:
    (tmp_path / "a.mp4").write_bytes(head)
    with pytest.raises(UnreadableMediaError, match=said):
        probe_media(tmp_path / "a.mp4")


def test_a_real_gif_is_named(tmp_path) -> None:
    run_ffmpeg(*PICTURE, "-t", 0.4, tmp_path / "a.gif")
    with pytest.raises(UnreadableMediaError, match="GIF animation, which has no audio; make a video of it"):
        probe_media(tmp_path / "a.gif")


# Headers that ask for gigabytes


OPEN_IN_BOUNDS = """
import sys
from pathlib import Path
from fmltk.toolkit.errors import MediaError
from fmltk.toolkit.machine import limit_memory, memory_for_file
from fmltk.toolkit.media.probe import probe_media
limit_memory(6_000_000_000)
path = Path(sys.argv[1])
try:
    with memory_for_file(path.stat().st_size):
        print("read", probe_media(path).has_video)
except MediaError as error:
    print("refused", error)
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no such limit elsewhere")
@pytest.mark.parametrize("table", [b"stsz", b"stts", b"stco"])
def test_a_header_that_declares_80_million_samples_costs_one_line(table, tmp_path) -> None:
    content = bytearray((DEMO / "videos/video_0001/0001.mp4").read_bytes())
    place = content.index(table) + 8  # after the name, version and flags
    if table == b"stsz":
        struct.pack_into(">II", content, place, 1, 80_000_000)
    elif table == b"stts":
        struct.pack_into(">III", content, place, 1, 80_000_000, 1)
    else:
        struct.pack_into(">I", content, place, 80_000_000)
    (tmp_path / "a.mp4").write_bytes(content)
    answer = subprocess.run(
        [sys.executable, "-c", OPEN_IN_BOUNDS, tmp_path / "a.mp4"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout.splitlines()
    assert answer[0].startswith("refused 'a.mp4'") or answer[0] == "read True"
    assert table != b"stsz" or "damaged or forged" in answer[0]
    assert int(answer[1]) < 600_000  # KiB; 2.9 GB without the bound


def test_written_pictures_have_square_pixels(tmp_path) -> None:
    write_video([np.zeros((48, 64, 3), np.uint8)] * 3, tmp_path / "a.mp4")
    info = probe_media(tmp_path / "a.mp4")
    assert (info.width, info.height) == info.stored_size == (64, 48)
