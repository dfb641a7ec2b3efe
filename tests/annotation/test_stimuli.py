"""Stimuli show exactly one condition's modalities, in time, under names that reveal nothing."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import av
import numpy as np
import pytest

from fmltk.annotation.labelling.stimuli import (
    PARTS,
    count_showable,
    prepare_stimuli,
    read_stimuli,
    stimulus_name,
)
from fmltk.annotation.labelling.stimulus_files import check_stimulus
from fmltk.annotation.settings import StimuliOptions
from fmltk.toolkit.cli.main import main
from fmltk.toolkit.clip import Clip
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import AnnotationError, MediaError
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from tests.ffmpeg import run_ffmpeg

BEEP_S, FLASH_S = 1.0, 1.0


@pytest.fixture(scope="session")
def flash(tmp_path_factory):
    """A 3 s clip, black and silent but for a white flash and a beep between 1.0 and 1.5 s; with every kind of trace."""
    path = tmp_path_factory.mktemp("flash") / "secret name.mp4"
    picture = f"color=black:s=96x64:r=25:d=3,drawbox=color=white:t=fill:enable='between(t,{FLASH_S},{FLASH_S}+0.5)'"
    sound = f"aevalsrc='0.8*sin(880*2*PI*t)*between(t,{BEEP_S},{BEEP_S}+0.5)':s=48000:d=3"
    metadata = ("-metadata", "title=angry", "-metadata", "comment=clip 0001", "-metadata:s:a:0", "title=voice")
    codecs = ("-c:v", "libx264", "-c:a", "aac", "-pix_fmt", "yuv420p")
    run_ffmpeg("-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", sound, *metadata, *codecs, path)
    return path


def prepare(path, folder, *, conditions=CONDITIONS, text="words", **clip):
    """Make one clip's stimuli and return them with the media folder."""
    made = Clip("v", "0001", path, text=text, source=path.name, **clip)
    (stimulus,) = prepare_stimuli([made], folder, StimuliOptions(conditions=tuple(conditions)))
    return stimulus, folder / "media"


def brightness(path):
    """Return the mean brightness of each frame at 30 Hz."""
    return np.array([frame.mean() for frame in read_frames(path, info=probe_media(path))])


def loudness(path):
    """Return the samples of a WAV and its rate."""
    with wave.open(str(path)) as sound:
        samples = np.frombuffer(sound.readframes(sound.getnframes()), dtype="<i2")
        return samples, sound.getframerate()


def test_each_part_holds_what_it_says_and_no_trace_of_the_source(flash, tmp_path):
    stimulus, media = prepare(flash, tmp_path / "s")
    assert stimulus.status == dict.fromkeys(("full", "text", "audio", "silent"), "ok")
    for part, kinds in {"silent": ["video"], "audio": ["audio"], "full": ["audio", "video"]}.items():
        path = media / stimulus.files[part]
        with av.open(str(path)) as container:
            assert sorted(stream.type for stream in container.streams) == kinds
            assert abs(container.duration / av.time_base - 3.0) < 0.05
            codecs = {stream.type: stream.codec_context.name for stream in container.streams}
            pixel_formats = {stream.pix_fmt for stream in container.streams.video}
        content = path.read_bytes()
        for trace in (b"angry", b"clip 0001", b"voice", b"secret"):
            assert trace not in content
    assert codecs == {"video": "h264", "audio": "aac"}
    assert pixel_formats == {"yuv420p"}


def test_flash_and_beep_stay_together(flash, tmp_path):
    stimulus, media = prepare(flash, tmp_path / "s")
    bright = np.flatnonzero(brightness(media / stimulus.files["silent"]) > 128) / 30
    samples, rate_hz = loudness(media / stimulus.files["audio"])
    loud = np.flatnonzero(np.abs(samples) > 3000) / rate_hz
    assert abs(bright[0] - FLASH_S) <= 1 / 30
    assert abs(loud[0] - BEEP_S) < 0.01
    assert abs(bright[-1] + 1 / 30 - FLASH_S - 0.5) <= 1.5 / 30
    assert abs(loud[-1] - BEEP_S - 0.5) < 0.03


def test_a_part_of_a_video_is_cut_to_time(flash, tmp_path):
    stimulus, media = prepare(flash, tmp_path / "s", start_s=0.7, end_s=2.2)
    assert stimulus.duration_s == 1.5
    bright = np.flatnonzero(brightness(media / stimulus.files["silent"]) > 128) / 30
    samples, rate_hz = loudness(media / stimulus.files["audio"])
    assert len(samples) == round(1.5 * rate_hz)
    assert abs(bright[0] - 0.3) <= 1 / 30
    assert abs(np.flatnonzero(np.abs(samples) > 3000)[0] / rate_hz - 0.3) < 0.01


def test_a_late_sound_stays_late(flash, tmp_path):
    late = tmp_path / "late.mp4"
    run_ffmpeg("-i", flash, "-itsoffset", "0.8", "-i", flash, "-map", "0:v", "-map", "1:a", "-c", "copy", late)
    stimulus, media = prepare(late, tmp_path / "s")
    samples, rate_hz = loudness(media / stimulus.files["audio"])
    assert abs(np.flatnonzero(np.abs(samples) > 3000)[0] / rate_hz - 1.8) < 0.03
    assert len(samples) == round(stimulus.duration_s * rate_hz)
    assert len(brightness(media / stimulus.files["silent"])) == round(stimulus.duration_s * 30)


def test_odd_and_large_pictures_fit_every_browser(flash, tmp_path):
    odd = tmp_path / "odd.mkv"
    run_ffmpeg("-i", flash, "-vf", "scale=131:99,setsar=1,format=yuv444p", "-c:v", "libx264", odd)
    stimulus, media = prepare(odd, tmp_path / "s", conditions=("V",))
    info = probe_media(media / stimulus.files["silent"])
    assert (info.width, info.height, info.pixel_format) == (130, 98, "yuv420p")
    clip = Clip("v", "0001", flash, source="x")
    (small,) = prepare_stimuli([clip], tmp_path / "t", StimuliOptions(conditions=("V",), max_height=32))
    info = probe_media(tmp_path / "t" / "media" / small.files["silent"])
    assert (info.width, info.height) == (48, 32)


def test_what_a_clip_lacks_is_missing_and_its_other_parts_are_made(flash, tmp_path):
    mute, deaf = tmp_path / "mute.mp4", tmp_path / "deaf.wav"
    run_ffmpeg("-i", flash, "-an", "-c", "copy", mute)
    run_ffmpeg("-i", flash, "-vn", deaf)
    stimulus, _ = prepare(mute, tmp_path / "s", text=" ")
    assert stimulus.status == {"full": "missing", "text": "missing", "audio": "missing", "silent": "ok"}
    assert "no audio" in stimulus.errors["audio"]
    assert [name for name in CONDITIONS if stimulus.shows(name)] == ["V"]
    stimulus, _ = prepare(deaf, tmp_path / "t")
    assert [name for name in CONDITIONS if stimulus.shows(name)] == ["T", "A", "AT"]
    assert "no video" in stimulus.errors["silent"]


def test_a_clip_that_fails_is_recorded_and_the_others_go_on(flash, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(flash.read_bytes()[:3000])
    clips = [
        Clip("v", "0001", broken, text="x", source="broken.mp4"),
        Clip("v", "0002", flash, text="x", source="flash.mp4"),
        Clip("v", "0003", tmp_path / "absent.mp4", text="x", source="absent.mp4"),
        Clip("v", "0004", flash, text="x", source="twice.mp4", fault=("ConfigError", "claimed twice")),
    ]
    stimuli = prepare_stimuli(clips, tmp_path / "s", StimuliOptions(conditions=("AV",), n_workers=2))
    assert [stimulus.status["silent"] for stimulus in stimuli] == ["failed", "ok", "failed", "failed"]
    assert "broken.mp4" in stimuli[0].errors["silent"]
    assert stimuli[3].errors["silent"] == "claimed twice"
    assert count_showable(stimuli, ("AV", "V")) == {"AV": 1, "V": 1}
    assert read_stimuli(tmp_path / "s") == stimuli
    assert not list((tmp_path / "s").rglob("*.tmp"))


def test_preparing_again_makes_only_what_is_not_there(flash, tmp_path):
    first, media = prepare(flash, tmp_path / "s", conditions=("AV",))
    files = {name: media / path for name, path in first.files.items()}
    before = {name: path.stat().st_ino for name, path in files.items()}
    content = files["audio"].read_bytes()
    files["audio"].unlink()
    second, _ = prepare(flash, tmp_path / "s", conditions=("AV", "VT"), text="other words")
    assert second.files == first.files
    assert files["silent"].stat().st_ino == before["silent"]
    assert files["audio"].read_bytes() == content
    assert (second.text, second.status["text"]) == ("other words", "ok")
    changed = tmp_path / "changed.mp4"
    run_ffmpeg("-i", flash, "-t", "2", "-c", "copy", changed)
    third, _ = prepare(changed, tmp_path / "s", conditions=("AV",))
    assert files["silent"].stat().st_ino != before["silent"]
    assert third.duration_s < first.duration_s


def test_a_stopped_run_goes_on_where_it_was(flash, tmp_path):
    clips = [Clip("v", f"{number:04d}", flash, text="x", source="f") for number in range(3)]
    options = StimuliOptions(conditions=("A",))

    def stop(stimulus):
        if stimulus.clip_id == "0001":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare_stimuli(clips, tmp_path / "s", options, on_done=stop)
    with (tmp_path / "s" / "stimuli.jsonl").open("a") as file:
        file.write('{"utterance_id": "v$_$00')  # what a power cut leaves
    done = {s.utterance_id for s in read_stimuli(tmp_path / "s")}
    assert {"v$_$0000", "v$_$0001"} <= done
    inodes = {path: path.stat().st_ino for path in (tmp_path / "s" / "media").rglob("*.wav")}
    stimuli = prepare_stimuli(clips, tmp_path / "s", options)
    assert [stimulus.status["audio"] for stimulus in stimuli] == ["ok"] * 3
    assert inodes.items() <= {p: p.stat().st_ino for p in (tmp_path / "s" / "media").rglob("*.wav")}.items()
    assert [s.utterance_id for s in read_stimuli(tmp_path / "s")] == ["v$_$0000", "v$_$0001", "v$_$0002"]


def test_the_same_clip_gives_the_same_bytes(flash, tmp_path):
    first, media = prepare(flash, tmp_path / "a")
    second, again = prepare(flash, tmp_path / "b")
    assert second == first
    for name in first.files.values():
        assert (again / name).read_bytes() == (media / name).read_bytes()


def test_names_reveal_neither_clip_nor_part():
    names = {
        stimulus_name(f"v$_${n}", part, seed=seed) for n in range(50) for part in ("silent", "audio") for seed in (0, 1)
    }
    assert len({Path(name).stem for name in names}) == 200
    assert all(len(Path(name).stem) == 16 for name in names)


def test_a_silent_video_that_is_not_silent_is_refused(flash, tmp_path):
    with pytest.raises(MediaError, match="streams of audio, video, not video"):
        check_stimulus(flash, "silent", duration_s=3.0)
    mute = tmp_path / "mute.mp4"
    run_ffmpeg("-i", flash, "-an", "-c", "copy", mute)
    with pytest.raises(MediaError, match=r"carries metadata: .*title"):
        check_stimulus(mute, "silent", duration_s=3.0)
    clean = tmp_path / "clean.mp4"
    run_ffmpeg("-i", flash, "-an", "-map_metadata", "-1", "-c", "copy", clean)
    check_stimulus(clean, "silent", duration_s=3.0)
    with pytest.raises(MediaError, match=r"lasts 3.00 s, its clip 4.00 s"):
        check_stimulus(clean, "silent", duration_s=4.0)
    with pytest.raises(MediaError, match="cannot be read back"):
        check_stimulus(Path(__file__), "silent", duration_s=1.0)


def test_a_damaged_manifest_is_one_line(tmp_path):
    with pytest.raises(
        AnnotationError, match=r"stimuli\.jsonl does not exist; make it with `fmltk annotation prepare`"
    ):
        read_stimuli(tmp_path)
    (tmp_path / "stimuli.jsonl").write_text('{"a": 1}\n')
    with pytest.raises(AnnotationError, match="line 1 is damaged"):
        read_stimuli(tmp_path)


def test_prepare_as_a_command(flash, tmp_path, capsys):
    folder = tmp_path / "clips" / "v"
    folder.mkdir(parents=True)
    (folder / "0001.mp4").symlink_to(flash)
    (tmp_path / "text.csv").write_text("video_id,clip_id,text\nv,0001,很好\n", encoding="utf-8")
    arguments = [
        "annotation",
        "prepare",
        tmp_path / "clips",
        "-o",
        tmp_path / "s",
        "--transcripts",
        tmp_path / "text.csv",
    ]
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments), "--json", "--conditions", "VT,T"])
    document = json.loads(capsys.readouterr().out)
    assert caught.value.code == 0
    assert document["conditions"] == {"VT": 1, "T": 1}
    assert document["errors"] == []
    with pytest.raises(SystemExit) as caught:
        main([*map(str, arguments[:-2]), "--conditions", "T"])
    captured = capsys.readouterr()
    assert caught.value.code == 1
    assert "no clip can be shown in T" in captured.err
    assert "text missing: the clip has no transcript" in captured.err


def test_every_condition_shows_two_or_one_or_all_modalities():
    assert {name: len(parts) for name, parts in PARTS.items()} == {
        **dict.fromkeys(("T", "A", "V"), 1),
        **dict.fromkeys(("AT", "VT", "AV", "M"), 2),
    }
