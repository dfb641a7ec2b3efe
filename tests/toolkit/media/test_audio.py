from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest
import soundfile

from fmltk.toolkit.errors import MediaError, MissingModalityError, ProcessError, UnreadableMediaError
from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.media.probe import probe_media
from tests.ffmpeg import run_ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

RATE = 22_050


def noise(seconds: float, rate_hz: int = RATE, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * rate_hz)).astype(np.float32)


def read(path: Path, **part) -> np.ndarray:
    return read_audio(path, info=probe_media(path), **part).samples


def decode_independently(path: Path) -> tuple[np.ndarray, float, int]:
    """Mono samples at the file's own rate, the time of the first, and the rate: by PyAV."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        zero_s = (container.start_time or 0) / av.time_base
        frames = list(container.decode(stream))
        samples = np.concatenate([frame.to_ndarray().astype(np.float32).reshape(-1) for frame in frames])
        assert frames[0].format.name in ("fltp", "flt")
        if frames[0].layout.nb_channels == 2:
            samples = np.concatenate([frame.to_ndarray().mean(axis=0) for frame in frames])
        return samples, frames[0].time - zero_s, stream.rate


def test_lossless_sound_comes_exactly(tmp_path, both_ffmpegs) -> None:
    samples = noise(1.3)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    sound = read(tmp_path / "a.wav")
    assert sound.dtype == np.float32
    assert np.array_equal(sound, samples)


def test_stereo_is_the_mean_of_both(tmp_path, both_ffmpegs) -> None:
    both = np.stack([noise(0.5, seed=1), noise(0.5, seed=2)], axis=1)
    soundfile.write(tmp_path / "a.wav", both, RATE, subtype="FLOAT")
    assert read(tmp_path / "a.wav") == pytest.approx(both.mean(axis=1), abs=1e-6)


def test_overshoot_is_kept_as_librosa_keeps_it(tmp_path) -> None:
    soundfile.write(tmp_path / "a.wav", np.array([0.0, 2.0, -3.0, 0.5] * 100, dtype=np.float32), RATE, subtype="FLOAT")
    assert read(tmp_path / "a.wav")[:4].tolist() == [0.0, 2.0, -3.0, 0.5]


def test_a_part_is_cut_to_the_sample(tmp_path, both_ffmpegs) -> None:
    samples = noise(4)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    for start_s, end_s in [(0.0, 1.0), (1.2345, 2.3456), (3.9, 4.0), (3.5, None), (3.5, 9.0), (1.0, 1.00001)]:
        first, last = round(start_s * RATE), len(samples) if end_s is None else max(round(end_s * RATE), 1)
        expected = samples[first : max(last, first + 1)]
        assert np.array_equal(read(tmp_path / "a.wav", start_s=start_s, end_s=end_s), expected)


def test_resampling_keeps_pitch_and_time(tmp_path, both_ffmpegs) -> None:
    time = np.arange(48_000 * 2) / 48_000
    tone = np.where(time < 1, 0, 0.5 * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", tone, 48_000, subtype="FLOAT")
    for rate_hz in (22_050, 16_000):
        sound = read(tmp_path / "a.wav", rate_hz=rate_hz)
        assert len(sound) == 2 * rate_hz
        k = np.arange(round(1.1 * rate_hz), round(1.9 * rate_hz))
        assert sound[k] == pytest.approx(0.5 * np.sin(2 * np.pi * 440 * k / rate_hz), abs=2e-3)
        assert np.abs(sound[: round(0.98 * rate_hz)]).max() < 1e-3


@pytest.mark.parametrize("container", ["mov", "mkv", "ts"])
def test_late_sound_is_preceded_by_silence(container, tmp_path, both_ffmpegs) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2, 48_000), 48_000)
    path = tmp_path / f"late.{container}"
    codec = ["-c:a", "mp2", "-b:a", "384k"] if container == "ts" else ["-c:a", "pcm_s16le"]
    picture = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=3"]
    run_ffmpeg(*picture, "-itsoffset", 1.5, "-i", tmp_path / "a.wav", "-map", 0, "-map", 1, *codec, path)
    info = probe_media(path)
    assert info.audio_start_s == pytest.approx(1.5, abs=0.03)
    sound = read_audio(path, info=info, rate_hz=48_000).samples
    start = round(info.audio_start_s * 48_000)
    assert not sound[: start - 64].any()
    assert np.abs(sound[start + 2000 : start + 4000]).max() > 0.3
    assert len(sound) == pytest.approx(start + 96_000, abs=0.1 * 48_000)
    if container == "mov":
        assert sound[start:] == pytest.approx(noise(2, 48_000), abs=1e-4)


def test_a_real_late_stream_keeps_its_offset(test_data, both_ffmpegs) -> None:
    path = test_data / "videos" / "edge_cases" / "pyfeat_face_noface.mov"
    info = probe_media(path)
    assert info.audio_start_s == pytest.approx(2.43, abs=0.01)
    sound = read_audio(path, info=info, rate_hz=44_100).samples
    reference, start_s, rate_hz = decode_independently(path)
    assert rate_hz == 44_100
    first = round(start_s * rate_hz)
    assert not sound[: first - 10].any()
    n = min(len(sound) - first, len(reference)) - 10
    assert n > 3 * rate_hz
    assert np.corrcoef(sound[first : first + n], reference[:n])[0, 1] > 0.9999


@pytest.mark.parametrize("name", ["lp_d11.mp4", "retalking_4.mp4", "edge_cases/pyfeat_single_face.mp4"])
def test_real_sound_agrees_with_an_independent_decoder(name, test_data, both_ffmpegs) -> None:
    reference, start_s, rate_hz = decode_independently(test_data / "videos" / name)
    sound = read(test_data / "videos" / name, rate_hz=rate_hz)
    first = round(max(start_s, 0) * rate_hz)
    reference = reference[round(max(-start_s, 0) * rate_hz) :]
    n = min(len(sound) - first, len(reference)) - 2048
    assert n > 2 * rate_hz
    assert np.abs(sound[first : first + n] - reference[:n]).max() < 2e-3


def test_sound_that_outlasts_the_picture_stays_whole(tmp_path, both_ffmpegs) -> None:
    soundfile.write(tmp_path / "a.wav", noise(3), RATE)
    picture = ["-f", "lavfi", "-i", "testsrc=s=64x48:r=25:d=1"]
    run_ffmpeg(*picture, "-i", tmp_path / "a.wav", "-map", 0, "-map", 1, "-c:a", "pcm_s16le", tmp_path / "a.mov")
    info = probe_media(tmp_path / "a.mov")
    assert (info.video_end_s, info.audio_end_s, info.duration_s) == pytest.approx((1.0, 3.0, 3.0), abs=1e-3)
    assert len(read_audio(tmp_path / "a.mov", info=info).samples) == 3 * RATE


def test_both_ffmpegs_give_as_many_samples(tmp_path, both_ffmpegs) -> None:
    soundfile.write(tmp_path / "a.wav", noise(2, 44_100), 44_100)
    run_ffmpeg("-i", tmp_path / "a.wav", "-c:a", "aac", "-b:a", "128k", tmp_path / "a.m4a")
    assert len(read(tmp_path / "a.m4a")) == 2 * RATE


def test_the_same_file_gives_the_same_samples(talking_clip, both_ffmpegs) -> None:
    assert np.array_equal(read(talking_clip), read(talking_clip))


LONG_READER = """
import sys
from pathlib import Path
import numpy as np
from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.media.probe import probe_media
path = Path(sys.argv[1])
info = probe_media(path)
def peak_kib():
    return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
before = peak_kib()
sound = read_audio(path, info=info).samples
print(type(sound).__name__, len(sound), sound.flags.writeable, peak_kib() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_long_sound_is_spooled_so_that_memory_stays_flat(tmp_path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "anoisesrc=d=1200:r=22050:a=0.2", "-c:a", "pcm_s16le", tmp_path / "a.wav")
    spool = tmp_path / "spool"
    spool.mkdir()
    answer = subprocess.run(
        [sys.executable, "-c", LONG_READER, tmp_path / "a.wav"],
        capture_output=True,
        check=True,
        text=True,
        env={**os.environ, "TMPDIR": str(spool)},
    ).stdout.split()
    assert answer[:3] == ["memmap", str(1200 * RATE), "False"]
    assert int(answer[3]) < 40_000  # KiB; the samples are 103,000
    assert list(spool.iterdir()) == []


def test_spooled_sound_is_the_same_as_short_sound(tmp_path) -> None:
    samples = noise(70)
    soundfile.write(tmp_path / "a.wav", samples, RATE, subtype="FLOAT")
    whole = read(tmp_path / "a.wav")
    assert isinstance(whole, np.memmap)
    assert np.array_equal(whole, samples)
    assert not isinstance(read(tmp_path / "a.wav", end_s=60.0), np.memmap)


def test_no_room_for_the_spool_says_where(tmp_path, monkeypatch) -> None:
    soundfile.write(tmp_path / "a.wav", noise(61), RATE)

    class FullFile:
        def __enter__(self) -> FullFile:
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def write(self, _: object) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: FullFile())
    with pytest.raises(MediaError, match=r"'a.wav': no room for its audio in .*No space left on device.*TMPDIR"):
        read(tmp_path / "a.wav")


def test_a_file_without_sound_says_so(tmp_path) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:d=1", tmp_path / "a.mp4")
    with pytest.raises(MissingModalityError, match=r"'a.mp4': the file has no audio"):
        read(tmp_path / "a.mp4")


def test_a_part_after_the_end_of_the_sound_has_none(talking_clip) -> None:
    with pytest.raises(MissingModalityError, match=r"'clip.mp4': the file has no audio after 5 s; it ends at 2.0"):
        read(talking_clip, start_s=5.0)


@pytest.mark.parametrize("part", [(1.0, 1.0), (1.0, 0.5), (-1.0, None), (math.nan, None)])
def test_an_empty_part_is_refused(part, talking_clip) -> None:
    with pytest.raises(MediaError, match="is empty; end_s must be after start_s"):
        read(talking_clip, start_s=part[0], end_s=part[1])


def test_less_sound_than_the_file_holds_is_an_error(tmp_path, talking_clip, both_ffmpegs) -> None:
    whole = talking_clip.read_bytes()
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole[: len(whole) // 2])
    with pytest.raises((UnreadableMediaError, ProcessError), match=r"'cut.mp4'"):
        read_audio(cut, info=probe_media(talking_clip))
    info = replace(probe_media(talking_clip), audio_end_s=3.0)
    with pytest.raises(UnreadableMediaError, match=r"only 2.0\d of 3.00 s of audio could be decoded"):
        read_audio(talking_clip, info=info)
