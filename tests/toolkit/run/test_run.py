"""The run: whole, resumable at any moment, one clip lost at most, and the same bytes each time."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.padding import padded_length
from fmltk.toolkit.media.process import find_ffmpeg
from fmltk.toolkit.run.extract import extract
from fmltk.toolkit.run.pad import pad
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings
from tests.processes import child_ids, command_line, kill_session, session_ids, wait_until
from tests.program import fmltk_here

if TYPE_CHECKING:
    from collections.abc import Callable

FMLTK = str(Path(sys.executable).with_name("fmltk"))
OFFLINE = ("--text-model", "minilm", "--openface", "none")
TABLES = ("manifest", "text", "audio", "vision", "faces/faces", "faces/shots", "fingerprints")


def command(clips: Path, out: Path, *options: object) -> list[str]:
    return [
        FMLTK, "extract", str(clips / "videos"), "--transcripts", str(clips / "transcripts.csv"), "-o", str(out),
        *OFFLINE, *map(str, options),
    ]  # fmt: skip


def run(argv: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command line of fmltk in this process; its workers are processes all the same."""
    return fmltk_here(*argv[1:])


def tables(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every table that is there, and the manifest's in any case."""
    paths = {name: folder / f"{name}.parquet" for name in TABLES}
    return {name: path.read_bytes() for name, path in paths.items() if name == "manifest" or path.exists()}


@pytest.fixture(scope="session")
def uninterrupted(short_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "features"
    done = run(command(short_clips, out, "--workers", 1))
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.installed
def test_every_clip_has_features_of_the_documented_shapes(uninterrupted: Path) -> None:
    features = read_features(uninterrupted)
    manifest = features.manifest()
    assert list(manifest["status"]) == ["ok"] * 6
    assert features["audio"].features().shape == (6, features["audio"].length, 33)
    assert features["text"].dimension == 384
    assert features["vision"].document["layout"] == "mtcnn-geometry"
    assert len(features["vision"].feature_names) == features["vision"].dimension
    assert list(manifest["vision_length"]) == features["vision"].lengths.tolist()
    # frames at 30 Hz of clips of 0.8 to 1.3 s, the speaker's face in every one
    assert manifest["n_frames"].between(24, 41).all()
    assert (manifest["face_coverage"] > 0.95).all()
    assert (manifest["n_faces"] == 1).all()
    assert (manifest["vision_valid"] == manifest["face_coverage"]).all()
    assert (manifest["longest_gap_s"] < 0.1).all()
    assert manifest["median_face_px"].between(40, 400).all()
    assert (manifest["video_start_s"] < 0.1).all()
    assert set(manifest["n_channels"]) == {1}
    assert manifest["sample_rate_hz"].between(16_000, 48_000).all()
    assert manifest["silence_share"].between(0, 0.9).all()


@pytest.mark.installed
def test_lengths_follow_the_rule_of_the_paper(uninterrupted: Path) -> None:
    for name, table in read_features(uninterrupted).modalities.items():
        assert table.length == padded_length(table.lengths), name


def test_two_workers_give_the_bytes_of_one(short_clips: Path, uninterrupted: Path, tmp_path: Path) -> None:
    done = run(command(short_clips, tmp_path / "features", "--workers", 2))
    assert done.returncode == 0, done.stderr
    assert tables(tmp_path / "features") == tables(uninterrupted)


@pytest.mark.installed
def test_a_second_run_does_no_clip_again_and_gives_the_same_bytes(
    short_clips: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    shutil.copytree(uninterrupted, tmp_path / "features")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "features" / "shards").rglob("*.arrow")}
    done = run(command(short_clips, tmp_path / "features"))
    assert done.returncode == 0
    assert "6 of 6 clips are extracted already" in done.stderr
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert tables(tmp_path / "features") == tables(uninterrupted)


@pytest.mark.parametrize(
    ("n_kills", "modalities"),
    [(2, "audio,vision"), pytest.param(8, "text,audio,vision", marks=pytest.mark.slow)],
)
def test_runs_killed_at_random_moments_are_finished_with_the_same_bytes(
    short_clips: Path, tmp_path: Path, n_kills: int, modalities: str, sized: Callable[[int], int]
) -> None:
    n_kills = max(n_kills, sized(50))
    options = ("--modalities", modalities, "--workers")
    assert run(command(short_clips, tmp_path / "whole", *options, 1)).returncode == 0
    whole = tables(tmp_path / "whole")
    chance = random.Random(20)
    kills = resumed_with_work_done = round_number = 0
    while kills < n_kills:
        round_number += 1
        out = tmp_path / f"features{round_number}"
        while True:
            program = subprocess.Popen(
                command(short_clips, out, *options, 1 + kills % 2),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            n_clips = n_shards(out) + chance.randrange(1, 3)
            if kills < n_kills and reaches(program, out, n_clips, then_s=chance.uniform(0, 0.5)):
                # in turn: the run alone (its workers are left behind), and everything at once
                if kills % 2:
                    kill_session(program.pid)
                else:
                    program.kill()
                program.wait()
                kills += 1
                resumed_with_work_done += n_shards(out) > 0
            else:
                assert program.wait() == 0
                break
        assert tables(out) == whole
        assert not list(out.rglob(".tmp-*"))
    assert resumed_with_work_done > 0, "no kill came after a clip was done: the moments were not random enough"


def n_shards(out: Path) -> int:
    return len(list((out / "shards").glob("??/*.arrow")))


def reaches(program: subprocess.Popen[bytes], out: Path, n_clips: int, *, then_s: float) -> bool:
    """Wait until so many clips are done and a little longer; whether the run is still going then."""
    assert wait_until(lambda: n_shards(out) >= n_clips or program.poll() is not None)
    time.sleep(then_s)
    return program.poll() is None


def test_a_clip_whose_worker_is_killed_becomes_a_row_and_the_others_are_done(short_clips: Path, tmp_path: Path) -> None:
    videos = short_clips / "videos" / "video_0000"
    out = tmp_path / "features"
    program = subprocess.Popen(
        [FMLTK, "extract", str(videos), "-o", str(out), "--openface", "none", "--modalities", "vision",
         "--workers", "1", "--face-tracking", "off"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    # the first clip is done, so the worker has the second in hand
    assert wait_until(lambda: any((out / "shards").glob("??/*.arrow")))
    (origin,) = (one for one in child_ids(program.pid) if "fmltk.toolkit.run.worker_program" in command_line(one))
    (worker,) = child_ids(origin) or {origin}  # a fork of it, where workers are forks
    os.kill(worker, signal.SIGKILL)
    assert program.wait() == 3
    manifest = read_features(out).manifest()
    failed = manifest[manifest["status"] == "failed"]
    assert list(failed["error_class"]) == ["WorkerDiedError"]
    assert "SIGKILL" in failed["error_message"].iloc[0]
    assert (manifest["status"] == "ok").sum() == 2
    again = run([FMLTK, "extract", str(videos), "-o", str(out), "--openface", "none", "--modalities", "vision",
                 "--face-tracking", "off", "--retry-failed"])  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert (read_features(out).manifest()["status"] == "ok").all()


def test_a_clip_that_takes_too_long_becomes_a_row(short_clips: Path, tmp_path: Path, cut: Callable[..., None]) -> None:
    cut(tmp_path / "videos" / "long.mp4", 0.0, 4.0)
    cut(tmp_path / "videos" / "short.mp4", 0.0, 0.5)
    summary = extract(
        tmp_path / "videos", tmp_path / "features", openface="none", modalities=("vision",), clip_timeout_s=0.05
    )
    assert {failure["error_class"] for failure in summary.failures} == {"ClipTimeoutError"}
    assert "--clip-timeout" in summary.failures[0]["error_message"]


def test_ctrl_c_says_how_to_go_on_and_leaves_no_process(short_clips: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    program = subprocess.Popen(
        command(short_clips, out, "--face-tracking", "off"), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert wait_until((out / "run.json").exists)
    os.killpg(program.pid, signal.SIGINT)
    _, messages = program.communicate()
    assert program.returncode == 130
    assert "Traceback" not in messages
    assert "the same command" in messages
    assert wait_until(lambda: not session_ids(program.pid))  # a worker that was being started sees its pipe close


def test_changed_settings_in_the_same_folder_are_refused_with_what_differs(
    short_clips: Path, uninterrupted: Path
) -> None:
    done = run(command(short_clips, uninterrupted, "--mfcc-scale", "slaney"))
    assert done.returncode == 1
    assert "settings.mfcc_scale: 'htk' then, 'slaney' now" in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2


def test_two_runs_on_one_folder_are_kept_apart(short_clips: Path, uninterrupted: Path) -> None:
    import fcntl

    with (uninterrupted / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = run(command(short_clips, uninterrupted))
    assert done.returncode == 1
    assert f"another fmltk is writing {uninterrupted}" in done.stderr


def test_a_damaged_shard_is_found_and_its_clip_done_again(
    short_clips: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "features"
    shutil.copytree(uninterrupted, out)
    shard = sorted((out / "shards").rglob("*.arrow"))[2]
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    done = run(command(short_clips, out))
    assert done.returncode == 0, done.stderr
    assert "damaged shards (1)" in done.stderr
    assert tables(out) == tables(uninterrupted)


def test_a_changed_video_is_extracted_again(
    short_clips: Path, uninterrupted: Path, tmp_path: Path, cut: Callable[..., None]
) -> None:
    shutil.copytree(short_clips, tmp_path / "clips")
    out = tmp_path / "features"
    first = extract(tmp_path / "clips" / "videos", out, openface="none", modalities=("audio",))
    cut(tmp_path / "clips" / "videos" / "video_0000" / "0000.mp4", 1.0, 2.0)
    second = extract(tmp_path / "clips" / "videos", out, openface="none", modalities=("audio",))
    assert second.modalities["audio"].lengths["max"] > first.modalities["audio"].lengths["max"]


@pytest.mark.installed
def test_padding_anew_needs_no_videos_and_restores_the_same_bytes(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    shutil.copytree(uninterrupted, out)
    before = tables(out)
    summary = pad(out, PaddingSettings(fixed={"text": 5, "audio": 20, "vision": 4}, vision_pooling=5))
    features = read_features(out)
    assert {name: one.length for name, one in summary.modalities.items()} == {"text": 5, "audio": 20, "vision": 4}
    assert features["audio"].features().shape == (6, 20, 33)
    frames = np.array([24, 27, 30, 33, 36, 39])  # 0.8 to 1.3 s
    assert np.abs(features["vision"].lengths - np.ceil(frames / 5)).max() <= 1
    assert (features["audio"].truncated == np.maximum(features["audio"].lengths - 20, 0)).all()
    assert features["vision"].document["rate_hz"] == 6
    pad(out, PaddingSettings())
    assert tables(out) == before


def test_pooled_vision_is_the_mean_of_its_valid_frames(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    shutil.copytree(uninterrupted, out)
    key, frames, valid = next(read_features(out)["vision"].sequences())
    pad(out, PaddingSettings(vision_pooling=5))
    pooled = {name: values for name, values, _ in read_features(out)["vision"].sequences()}[key]
    assert valid[:5].all()
    np.testing.assert_allclose(pooled[0], frames[:5].mean(axis=0), rtol=1e-5, atol=1e-6)


def test_lengths_may_come_from_the_training_split_alone(short_clips: Path, tmp_path: Path) -> None:
    rows = (short_clips / "transcripts.csv").read_text().splitlines()
    table = tmp_path / "split.csv"
    table.write_text("\n".join([rows[0], *rows[1:3], *(row.replace(",train", ",test") for row in rows[3:])]) + "\n")
    options = {"transcripts": table, "modalities": ("audio",)}
    summary = extract(
        short_clips / "videos", tmp_path / "features", padding=PaddingSettings(lengths_from="train"), **options
    )
    audio = read_features(tmp_path / "features")["audio"]
    assert summary.modalities["audio"].length == padded_length(audio.lengths[:2])
    assert summary.modalities["audio"].clips_truncated == 4
    assert audio.document["n_lengths"] == 2


def test_a_folder_of_clips_needs_no_option_at_all(
    short_clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = run([FMLTK, "extract", str(short_clips / "videos"), "--modalities", "text,audio", "--json"])
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["clips"] == {"ok": 6}
    assert document["modalities"]["text"]["clips"]["missing"] == 6
    assert (tmp_path / "features" / "manifest.parquet").is_file()


def test_excluded_clips_are_rows_with_their_reason(short_clips: Path, tmp_path: Path) -> None:
    (tmp_path / "exclude.csv").write_text(
        "utterance_id,reason\nvideo_0000$_$0001,two people\nnobody$_$0,typing error\n"
    )
    done = run([*command(short_clips, tmp_path / "features"), "--exclude", str(tmp_path / "exclude.csv"),
                "--modalities", "audio"])  # fmt: skip
    assert done.returncode == 0
    assert "nobody$_$0" in done.stderr
    row = read_features(tmp_path / "features").manifest().set_index("utterance_id").loc["video_0000$_$0001"]
    assert row["status"] == "skipped"
    assert row["error_message"] == "excluded: two people"


def test_exit_codes_tell_some_failed_from_nothing_usable(short_clips: Path, tmp_path: Path) -> None:
    shutil.copytree(short_clips / "videos", tmp_path / "videos")
    (tmp_path / "videos" / "empty.mp4").touch()
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "empty.mp4").touch()
    common = ["--modalities", "audio", "-q"]
    some = run([FMLTK, "extract", str(tmp_path / "videos"), "-o", str(tmp_path / "a"), *common])
    strict = run([FMLTK, "extract", str(tmp_path / "videos"), "-o", str(tmp_path / "a"), *common, "--strict"])
    nothing = run([FMLTK, "extract", str(tmp_path / "nothing"), "-o", str(tmp_path / "b"), *common])
    assert (some.returncode, strict.returncode, nothing.returncode) == (3, 1, 1)
    assert some.stderr == ""
    manifest = read_features(tmp_path / "b").manifest()
    assert list(manifest["error_class"]) == ["UnreadableMediaError"]


def test_a_preset_sets_defaults_that_options_override(short_clips: Path, tmp_path: Path) -> None:
    for name, options, pooling in (("a", [], 5), ("b", ["--vision-pooling", "3"], 3)):
        done = run([FMLTK, "extract", str(short_clips / "videos"), "-o", str(tmp_path / name), "--preset", "ch-sims",
                    "--modalities", "audio", *options])  # fmt: skip
        assert done.returncode == 0, done.stderr
        metadata = json.loads(pq.read_schema(tmp_path / name / "manifest.parquet").metadata[b"fmltk"])
        assert metadata["padding"]["vision_pooling"] == pooling


def test_a_folder_with_tables_of_another_origin_is_not_overwritten(short_clips: Path, tmp_path: Path) -> None:
    (tmp_path / "text.parquet").write_bytes(b"mine")
    with pytest.raises(ConfigError, match=r"holds text\.parquet that no run of extract made"):
        extract(short_clips / "videos", tmp_path, modalities=("audio",))
    assert (tmp_path / "text.parquet").read_bytes() == b"mine"


def test_aligned_face_crops_are_written_on_request(short_clips: Path, tmp_path: Path) -> None:
    from fmltk.toolkit.media.frames import read_frames
    from fmltk.toolkit.media.probe import probe_media
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector

    out = tmp_path / "features"
    clip = short_clips / "videos" / "video_0000" / "0002.mp4"
    done = run([FMLTK, "extract", str(clip), "-o", str(out), "--openface", "none", "--modalities", "vision",
                "--face-crops", "224"])  # fmt: skip
    assert done.returncode == 0, done.stderr
    (crop,) = (out / "faces" / "crops").rglob("*.mp4")
    assert crop.relative_to(out / "faces" / "crops").as_posix() == "0002/0.mp4"
    info = probe_media(crop)
    assert (info.width, info.height, info.fps, info.has_audio) == (224, 224, 30, False)
    frames = list(read_frames(crop, info=info))
    assert len(frames) == read_features(out).manifest()["n_frames"].iloc[0]
    (found,) = FaceDetector().detect(frames[10:11])
    eyes = found.landmarks[0][:2]
    assert abs(eyes[0][1] - eyes[1][1]) < 6, "the eyes are level in an aligned face"


def test_another_transcript_redoes_the_text_alone(short_clips: Path, uninterrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(uninterrupted, tmp_path / "features")
    rows = (short_clips / "transcripts.csv").read_text().splitlines()
    table = tmp_path / "transcripts.csv"
    table.write_text("\n".join([rows[0], 'video_0000,0000,"Now it is said otherwise.",train', *rows[2:]]) + "\n")
    before = read_features(tmp_path / "features")
    vision, text = before["vision"].features(), {key: values for key, values, _ in before["text"].sequences()}
    done = run([FMLTK, "extract", str(short_clips / "videos"), "--transcripts", str(table), "-o",
                str(tmp_path / "features"), *OFFLINE])  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 clip has another transcript" in done.stderr
    after = read_features(tmp_path / "features")
    assert (after["vision"].features() == vision).all()
    changed = [key for key, values, _ in after["text"].sequences() if not np.array_equal(values, text[key])]
    assert changed == ["video_0000$_$0000"]
    fresh = run([FMLTK, "extract", str(short_clips / "videos"), "--transcripts", str(table), "-o",
                 str(tmp_path / "fresh"), *OFFLINE])  # fmt: skip
    assert fresh.returncode == 0
    assert tables(tmp_path / "fresh") == tables(tmp_path / "features")


def test_transcripts_may_come_later_but_are_not_lost_by_forgetting_them(short_clips: Path, tmp_path: Path) -> None:
    argv = [FMLTK, "extract", str(short_clips / "videos"), "-o", str(tmp_path / "features"), "--modalities",
            "text,audio"]  # fmt: skip
    table = ["--transcripts", str(short_clips / "transcripts.csv"), "--text-model", "minilm"]
    assert run(argv).returncode == 0
    later = run([*argv, *table])
    assert later.returncode == 0, later.stderr
    assert len(read_features(tmp_path / "features")["text"].utterance_ids) == 6
    forgotten = run([*argv, "--text-model", "minilm"])
    assert forgotten.returncode == 1
    assert "6 clips have text from an earlier run and no transcript now" in forgotten.stderr
    assert len(read_features(tmp_path / "features")["text"].utterance_ids) == 6


def test_a_video_that_changes_while_it_is_read_is_no_result(
    tmp_path: Path, cut: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.run.clip_worker import ClipWorker
    from fmltk.toolkit.run.tasks import ClipTask, RunPaths, hash_input

    path = tmp_path / "a.mp4"
    cut(path)
    clip, settings, paths = (
        Clip("a", "0", path, source="a.mp4"),
        ExtractSettings(modalities=("audio",)),
        RunPaths(tmp_path),
    )
    worker = ClipWorker(settings, paths)
    mark = hash_input(clip, settings, paths)
    whole = worker._result

    def change_meanwhile(one: Clip) -> object:
        result = whole(one)
        cut(path, 0.5, 2.0)
        return result

    monkeypatch.setattr(worker, "_result", change_meanwhile)
    done = worker.extract(ClipTask(clip, mark))
    assert done.status == "failed"
    assert "changed while it was read" in str(worker._shards.read(done.name).row.error_message)
    assert hash_input(clip, settings, paths) != mark, "the next run does the clip again"


def test_nothing_but_its_own_temporary_files_is_removed(short_clips: Path, tmp_path: Path) -> None:
    mine = [tmp_path / "data" / ".tmp-notes.txt", tmp_path / ".tmp-notes.txt", tmp_path / "data" / ".tmp-12-x"]
    (tmp_path / "data").mkdir()
    for path in mine:
        path.touch()
    left = tmp_path / ".tmp-4711-0123456789abcdef.parquet"
    left.touch()
    extract(short_clips / "videos", tmp_path, modalities=("audio",))
    assert all(path.exists() for path in mine)
    assert not left.exists()


def test_problems_on_record_do_not_depend_on_interruptions(
    short_clips: Path, tmp_path: Path, cut: Callable[..., None]
) -> None:
    videos = tmp_path / "videos"
    cut(videos / "short.mp4", 0.0, 0.4)
    (videos / "empty.mp4").touch()
    extract(videos, tmp_path / "features", modalities=("audio",))
    first = (tmp_path / "features" / "problems.csv").read_text()
    assert "unreadable,empty$_$0" in first
    assert "duration,short$_$0" in first
    extract(videos, tmp_path / "features", modalities=("audio",))
    assert (tmp_path / "features" / "problems.csv").read_text() == first


def test_padding_keeps_what_it_is_not_told_to_change(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    shutil.copytree(uninterrupted, out)
    assert run([FMLTK, "pad", str(out), "--vision-pooling", "5", "-q"]).returncode == 0
    assert run([FMLTK, "pad", str(out), "--lambda", "1", "-q"]).returncode == 0
    padding = read_features(out).settings()["padding"]
    assert (padding["vision_pooling"], padding["n_sigmas"]) == (5, 1)


def test_fixed_and_longest_lengths_can_be_taken_back(uninterrupted: Path, tmp_path: Path) -> None:
    out = tmp_path / "features"
    shutil.copytree(uninterrupted, out)
    assert run([FMLTK, "pad", str(out), "--lengths", "5/20/4", "--max-length", "audio=7", "-q"]).returncode == 0
    assert read_features(out)["audio"].length == 20
    assert run([FMLTK, "pad", str(out), "--lengths", "rule", "-q"]).returncode == 0
    assert read_features(out)["audio"].length == 7
    assert run([FMLTK, "pad", str(out), "--max-length", "none", "-q"]).returncode == 0
    assert tables(out) == tables(uninterrupted)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--device", "nonsense"], "'nonsense' is not a device"),
        (["--openface-features", "au"], "action_units"),
        (["--lengths-from", "train"], "no clip is in the training split"),
        (["--face-every", "2", "--face-tracking", "off"], "leave out --face-tracking off"),
        (["--usual-duration", "5", "2"], "usual durations of 5 to 2 s"),
        (["-o", "VIDEOS"], "is the folder of the videos; name another"),
    ],
)
def test_what_cannot_work_is_refused_before_any_clip(
    short_clips: Path, tmp_path: Path, options: list[str], reason: str
) -> None:
    videos = short_clips / "videos"
    options = [str(videos) if option == "VIDEOS" else option for option in options]
    done = run([FMLTK, "extract", str(videos), "-o", str(tmp_path / "features"), "-q", *options])
    assert done.returncode == 1
    assert reason in done.stderr
    assert not any((folder / "shards").exists() for folder in (tmp_path / "features", videos))


@pytest.mark.slow
def test_the_shared_clips_give_the_papers_shapes(test_data: Path, tmp_path: Path) -> None:
    videos = test_data / "videos"
    table = tmp_path / "transcripts.csv"
    table.write_text("video_id,clip_id,text\n" + "".join(f"{path.stem},0,I say so.\n" for path in videos.glob("*.m*")))
    done = run([FMLTK, "extract", str(videos), "--transcripts", str(table), "--text-model", "minilm", "--openface",
                str(test_data / "openface"), "-o", str(tmp_path / "features")])  # fmt: skip
    assert done.returncode == 0, done.stderr
    features = read_features(tmp_path / "features")
    manifest = features.manifest().set_index("utterance_id")
    assert len(manifest) == 11
    assert (manifest["status"] == "ok").all()
    assert manifest.loc["edge_cases$_$pyfeat_no_face", "vision_status"] == "missing"
    assert {name: table.dimension for name, table in features.modalities.items()} == {
        "text": 384, "audio": 33, "vision": 709,
    }  # fmt: skip
    assert {name: len(table.utterance_ids) for name, table in features.modalities.items()} == {
        "text": 7, "audio": 11, "vision": 10,
    }  # fmt: skip


def test_modalities_may_be_given_with_the_settings(short_clips: Path, tmp_path: Path) -> None:
    clip = short_clips / "videos" / "video_0000" / "0000.mp4"
    extract(clip, tmp_path / "a", settings=ExtractSettings(modalities=("audio",)))
    assert list(read_features(tmp_path / "a").modalities) == ["audio"]
    assert extract(clip, tmp_path / "a", modalities="audio").counts == {"ok": 1}
    with pytest.raises(ConfigError, match="'smell' is not a modality"):
        extract(clip, tmp_path / "b", modalities="audio,smell")
    with pytest.raises(ConfigError, match="choose --modalities from"):
        extract(clip, tmp_path / "b", modalities=())


def test_a_caller_from_python_is_told_what_the_command_line_says(
    short_clips: Path, tmp_path: Path, cut: Callable[..., None], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.delenv("FMLTK_OPENFACE", raising=False)
    monkeypatch.setenv("PATH", str(Path(find_ffmpeg().path).parent))
    cut(tmp_path / "videos" / "short.mp4", 0.0, 0.4)
    summary = extract(tmp_path / "videos", tmp_path / "features", modalities=("vision",))
    assert [line.partition(" (")[0] for line in summary.warnings] == [
        "OpenFace was not found, so the visual features are the built-in face geometry",
        "clips of an unusual duration",
    ]
    assert summary.document()["warnings"] == summary.warnings
    assert capsys.readouterr() == ("", "")


def test_clips_whose_face_comes_goes_or_is_absent_have_a_row_and_a_reason(test_data: Path, tmp_path: Path) -> None:
    summary = extract(test_data / "videos" / "edge_cases", tmp_path / "features", openface="none")
    manifest = read_features(tmp_path / "features").manifest().set_index("video_id")
    assert summary.n_clips == len(manifest) == 4
    assert manifest.loc["pyfeat_no_face", "vision_status"] == "missing"
    assert "no face was found in any of the 120 frames" in manifest.loc["pyfeat_no_face", "vision_error_message"]
    for name in ("pyfeat_face_noface", "pyfeat_noface_face"):
        assert 0.3 < manifest.loc[name, "face_coverage"] < 0.45
        assert 3 < manifest.loc[name, "longest_gap_s"] < 5
    assert manifest.loc["pyfeat_single_face", "face_coverage"] == 1
    assert manifest.loc["pyfeat_single_face", "silence_share"] > 0.9  # a room in which nobody speaks
    assert manifest.loc["pyfeat_no_face", ["vision_valid", "longest_gap_s", "median_face_px"]].isna().all()
