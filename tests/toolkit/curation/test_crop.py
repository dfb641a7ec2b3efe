"""Clips cropped to their speaker: the right piece of the picture, the sound in time, and what is kept of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import av
import numpy as np
import pytest

from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.faces import (
    FACE_FILE,
    SHOT_FILE,
    FaceRows,
    face_schema,
    face_table,
    read_speakers,
    shot_schema,
    shot_table,
)
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.io.parquet import TableWriter
from fmltk.toolkit.media.audio import VIDEO_SOUND_RATE_HZ
from fmltk.toolkit.media.frames import read_note, write_video
from tests.program import fmltk_here

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ, N_FRAMES, FLASH = 30, 60, 36
WIDTH, HEIGHT, SIDE = 160, 96, 20  # of the picture, and of the face's box


def centre(frame: int) -> tuple[int, int]:
    """The face moves slowly to the right."""
    return 40 + frame, 48


def picture(frame: int) -> np.ndarray:
    """The red is the column, the green the row; the face is blue; one frame is a white flash."""
    made = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    made[..., 0], made[..., 1] = np.arange(WIDTH)[None, :], np.arange(HEIGHT)[:, None]
    x, y = centre(frame)
    made[y - SIDE // 2 : y + SIDE // 2, x - SIDE // 2 : x + SIDE // 2, 2] = 255
    return np.full_like(made, 255) if frame == FLASH else made


def sound() -> np.ndarray:
    """Silence with a tone of 50 ms that begins with the flash."""
    made = np.zeros(N_FRAMES * VIDEO_SOUND_RATE_HZ // RATE_HZ, np.float32)
    start = FLASH * VIDEO_SOUND_RATE_HZ // RATE_HZ
    made[start : start + 2205] = 0.7 * np.sin(np.arange(2205) * 0.2)
    return made


def faces(n_frames: int = N_FRAMES, first: int = 0, *, moved: int = 0) -> FaceRows:
    """The speaker's face in every frame but a few, and somebody else's larger one."""
    frames = np.array([k for k in range(n_frames) if not 10 <= k < 14], np.int32)
    corners = np.array([(x - SIDE / 2 + moved, y - SIDE / 2) for x, y in (centre(first + int(k)) for k in frames)])
    own = np.concatenate([corners, corners + SIDE], axis=1)
    others = np.tile([100.0, 0.0, 150.0, 90.0], (len(frames), 1))
    n = 2 * len(frames)
    return FaceRows(
        frame=np.repeat(frames, 2),
        track=np.tile(np.array([0, 1], np.int32), len(frames)),
        person=np.tile(np.array([0, 1], np.int32), len(frames)),
        speaker=np.tile([True, False], len(frames)),
        boxes=np.stack([own, others], axis=1).reshape(n, 4).astype(np.float32),
        probabilities=np.ones(n, np.float32),
        landmarks=np.zeros((n, 10), np.float32),
    )


def write_folder(folder: Path, clips: dict[str, tuple[dict[str, Any], FaceRows | None]]) -> Path:
    """Write a feature folder of these clips: changes of a good row, and the faces."""
    good = {"status": "ok", "vision_status": "ok", "n_faces": 1, "vision_valid": 1.0, "sha256": "0", "start_s": 0.0}
    run: dict[str, Any] = {"settings": {}}
    with (
        ManifestWriter(folder / "manifest.parquet", run) as manifest,
        TableWriter(folder / FACE_FILE, face_schema(run)) as table,
        TableWriter(folder / SHOT_FILE, shot_schema(run)) as shots,
    ):
        for utterance, (changed, own) in sorted(clips.items()):
            video_id, _, clip_id = utterance.rpartition("$_$")
            ids = {"utterance_id": utterance, "video_id": video_id, "clip_id": clip_id, "n_frames": N_FRAMES}
            manifest.append(ClipRow.from_columns({**ids, **good, **changed}))
            starts = np.array([0, 20, 40][: changed.get("n_shots", 1)], np.int32)
            shots.append(shot_table(utterance, starts, N_FRAMES, shots.schema))
            if own is not None:
                table.append(face_table(utterance, own, table.schema))
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    write_video((picture(k) for k in range(N_FRAMES)), folder / "a.mp4", sound=sound())
    write_video((picture(k) for k in range(N_FRAMES)), folder / "mute.mp4")
    return folder


def crop(features: Path, videos: Path, out: Path) -> dict[str, Any]:
    done = fmltk_here(
        "curate", features, "-o", out.parent / "c.csv", "--crop-speaker", out, "--videos", videos, "--json"
    )
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)["crops"]
    return document


def decode(path: Path) -> tuple[list[np.ndarray], np.ndarray, int]:
    """Return the pictures, the sound and its rate, by PyAV alone."""
    with av.open(str(path)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    with av.open(str(path)) as file:
        if not file.streams.audio:
            return pictures, np.zeros(0), 0
        rate_hz = file.streams.audio[0].rate
        heard = [(float(frame.pts * frame.time_base), frame.to_ndarray()[0]) for frame in file.decode(audio=0)]
    samples = np.zeros(round(heard[-1][0] * rate_hz) + len(heard[-1][1]))
    for start_s, values in heard:
        start = round(start_s * rate_hz)
        samples[max(start, 0) : start + len(values)] = values[max(-start, 0) :]
    return pictures, samples, rate_hz


def test_the_crop_follows_the_speaker_and_not_the_larger_face(videos: Path, tmp_path: Path) -> None:
    features = write_folder(tmp_path / "features", {"a$_$0": ({"source": "a.mp4"}, faces())})
    assert crop(features, videos, tmp_path / "out") == {"n_written": 1, "n_kept": 0, "left_out": {}}
    pictures, _, _ = decode(tmp_path / "out" / "a" / "0.mp4")
    assert len(pictures) == N_FRAMES
    for k in (0, 12, 30, 59):  # also where the face is absent for a few frames
        assert pictures[k].shape == (2 * SIDE, 2 * SIDE, 3)
        blue = np.argwhere(pictures[k][..., 2].astype(int) - pictures[k][..., :2].max(axis=-1) > 60)
        middle = blue.mean(axis=0)
        assert middle == pytest.approx([SIDE, SIDE], abs=6), k
        assert pictures[k][SIDE, SIDE, 1] == pytest.approx(centre(k)[1], abs=12)  # the green is the row


def test_the_sound_is_in_time_with_the_picture(videos: Path, tmp_path: Path) -> None:
    clips = {
        "a$_$0": ({"source": "a.mp4"}, faces()),
        "a$_$part": ({"source": "a.mp4", "start_s": 0.5, "end_s": 1.8, "n_frames": 39}, faces(39, 15)),
    }
    crop(write_folder(tmp_path / "features", clips), videos, tmp_path / "out")
    for name, flash in (("0", FLASH), ("part", FLASH - 15)):
        pictures, samples, rate_hz = decode(tmp_path / "out" / "a" / f"{name}.mp4")
        brightest = int(np.argmax([one.mean() for one in pictures]))
        begins_s = int(np.argmax(np.abs(samples) > 0.2)) / rate_hz
        assert brightest == flash, name
        assert begins_s == pytest.approx(flash / RATE_HZ, abs=0.02), name
        assert rate_hz == 44_100


def scene(frame: int) -> np.ndarray:
    """The speaker at the left, somebody else, and the speaker at the right, 20 frames each."""
    rng = np.random.default_rng(frame // 20)
    made = np.repeat(np.repeat(rng.integers(0, 120, (6, 10, 3)), 16, axis=0), 16, axis=1).astype(np.uint8)
    x = (40, 80, 120)[frame // 20]
    made[38:58, x - 10 : x + 10] = (0, 0, 255) if frame // 20 != 1 else (255, 0, 0)
    return made


def test_a_crop_jumps_with_a_cut_and_is_black_where_somebody_else_is_seen(tmp_path: Path) -> None:
    write_video((scene(k) for k in range(60)), tmp_path / "videos" / "cut.mp4")
    boxes = np.array([(x - 10, 38, x + 10, 58) for x in [40] * 20 + [120] * 20], np.float32)
    own = FaceRows(
        frame=np.array([*range(20), *range(40, 60)], np.int32),
        track=np.array([0] * 20 + [1] * 20, np.int32),
        person=np.zeros(40, np.int32),
        speaker=np.ones(40, bool),
        boxes=boxes,
        probabilities=np.ones(40, np.float32),
        landmarks=np.zeros((40, 10), np.float32),
    )
    features = write_folder(tmp_path / "features", {"c$_$0": ({"source": "cut.mp4", "n_shots": 3}, own)})
    crop(features, tmp_path / "videos", tmp_path / "out")
    pictures, _, _ = decode(tmp_path / "out" / "c" / "0.mp4")
    assert len(pictures) == 60
    for k in (0, 18, 19, 40, 41, 59):
        blue = np.argwhere(pictures[k][..., 2].astype(int) - pictures[k][..., :2].max(axis=-1) > 120)
        assert blue.mean(axis=0) == pytest.approx([19.5, 19.5], abs=2), k
    assert max(pictures[k].max() for k in range(20, 40)) < 40


def test_a_clip_without_sound_is_cropped_all_the_same(videos: Path, tmp_path: Path) -> None:
    features = write_folder(tmp_path / "features", {"m$_$0": ({"source": "mute.mp4"}, faces())})
    assert crop(features, videos, tmp_path / "out")["n_written"] == 1
    pictures, samples, _ = decode(tmp_path / "out" / "m" / "0.mp4")
    assert (len(pictures), len(samples)) == (N_FRAMES, 0)


def test_the_same_command_keeps_what_is_done_and_does_again_what_changed(videos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    clips: dict[str, tuple[dict[str, Any], FaceRows | None]] = {
        f"v$_${k}": ({"source": "mute.mp4"}, faces(20)) for k in range(3)
    }
    features = write_folder(tmp_path / "features", clips)
    assert crop(features, videos, out)["n_written"] == 3
    before = {path: path.read_bytes() for path in sorted(out.rglob("*.mp4"))}
    assert read_note(out / "v" / "0.mp4").startswith("fmltk crop ")
    (out / "v" / "1.mp4").write_bytes(before[out / "v" / "1.mp4"][:500])  # as a disk may leave it
    (out / "v" / "2.mp4").unlink()
    again = crop(features, videos, out)
    assert (again["n_written"], again["n_kept"]) == (2, 1)
    assert {path: path.read_bytes() for path in sorted(out.rglob("*.mp4"))} == before
    clips["v$_$0"] = ({"source": "mute.mp4"}, faces(20, moved=9))
    assert crop(write_folder(features, clips), videos, out)["n_written"] == 1


def test_clips_without_a_crop_have_a_reason(videos: Path, tmp_path: Path) -> None:
    (videos / "broken.mp4").write_bytes(b"no video")
    clips: dict[str, tuple[dict[str, Any], FaceRows | None]] = {
        "a$_$0": ({"source": "mute.mp4"}, faces(20)),
        "b$_$0": ({"source": "gone.mp4"}, faces(20)),
        "c$_$0": ({"source": "mute.mp4"}, None),
        "d$_$0": ({"source": "broken.mp4"}, faces(20)),
        "e$_$0": ({"source": "mute.mp4", "n_faces": 2}, faces(20)),
    }
    features = write_folder(tmp_path / "features", clips)
    fmltk_here("curate", features, "-o", tmp_path / "c.csv")
    table = (tmp_path / "c.csv").read_text(encoding="utf-8-sig")
    (tmp_path / "c.csv").write_text(table.replace("2 people,", "2 people,exclude"), encoding="utf-8")
    found = crop(features, videos, tmp_path / "out")
    assert found["n_written"] == 1
    reasons = found["left_out"]
    assert sorted(reasons) == ["b$_$0", "c$_$0", "d$_$0", "e$_$0"]
    assert "the video was not found below" in reasons["b$_$0"]
    assert reasons["c$_$0"] == "the speaker's face was not found"
    assert "broken.mp4" in reasons["d$_$0"]
    assert reasons["e$_$0"] == "excluded"


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--crop-speaker", "out"], 2, "go together"),
        (["--videos", "."], 2, "go together"),
        (["--crop-speaker", "out", "--videos", "nowhere"], 1, "does not exist"),
        (["--crop-speaker", "out", "--videos", "empty"], 1, "has none of the 1 clips"),
    ],
)
def test_a_command_that_cannot_crop_says_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    write_folder(tmp_path / "features", {"a$_$0": ({"source": "a.mp4"}, faces(20))})
    done = fmltk_here("curate", "features", *options)
    assert done.returncode == code
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


def test_speakers_of_a_long_table_come_whole_and_in_order(tmp_path: Path) -> None:
    with TableWriter(tmp_path / "faces.parquet", face_schema({"settings": {}})) as table:
        for number in range(60):
            table.append(face_table(f"v$_${number:02d}", faces(100), table.schema), group_rows=1000)
    found = list(read_speakers(tmp_path / "faces.parquet"))
    assert [one for one, _, _ in found] == [f"v$_${number:02d}" for number in range(60)]
    assert {len(frames) for _, frames, _ in found} == {96}
    np.testing.assert_array_equal(found[7][2], faces(100).boxes[::2])
