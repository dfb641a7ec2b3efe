"""Every kind of bad input ends as a row of the manifest that says what is wrong, and never stops the others."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.media.process import find_ffmpeg
from fmltk.toolkit.run.extract import extract
from tests.ffmpeg import run_ffmpeg

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

FMLTK = str(Path(sys.executable).with_name("fmltk"))


def run(argv: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(argv, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, cut: Callable[..., None]) -> pd.DataFrame:
    """The manifest of one run over a folder of everything that goes wrong in the field, and three clips that do not."""
    folder = tmp_path_factory.mktemp("bad")
    videos = folder / "videos"
    make_videos(videos, cut)
    rows = {
        "whole": "I like it.",
        "empty_text": "   ",
        "long_text": "good " * 5000,
        "emoji": "😀👍🏽 really?",
        "right_to_left": "אני אוהב את זה",
    }
    table = folder / "transcripts.csv"
    table.write_text("video_id,clip_id,text\n" + "".join(f'{name},0,"{text}"\n' for name, text in rows.items()))
    summary = extract(
        videos, folder / "features", transcripts=table, text_model="minilm", openface="none", n_workers=1,
    )  # fmt: skip
    frame = read_features(folder / "features").manifest().set_index("video_id")
    n_files = sum(path.suffix in (".mp4", ".mkv", ".mov") for path in videos.iterdir())
    assert len(frame) == n_files == summary.n_clips
    assert frame.index.is_unique
    return frame


def make_videos(videos: Path, cut: Callable[..., None]) -> None:
    cut(videos / "whole.mp4")
    whole = videos / "whole.mp4"
    for name in ("empty_text", "long_text", "emoji", "right_to_left"):
        shutil.copy(whole, videos / f"{name}.mp4")
    for name in ("with space", "with 'quotes\"", "with\nnewline", "中文 片段", "-i", "50%d of it"):
        shutil.copy(whole, videos / f"{name}.mp4")
    (videos / "zero_bytes.mp4").touch()
    (videos / "no_moov.mp4").write_bytes(whole.read_bytes()[:3000])
    (videos / "text.mp4").write_text("this is no video\n" * 100)
    run_ffmpeg("-i", whole, "-vn", "-c:a", "copy", videos / "audio_only.mp4")
    run_ffmpeg("-i", whole, "-an", "-c:v", "copy", videos / "no_sound.mp4")
    run_ffmpeg("-t", "0.5", "-i", whole, "-f", "lavfi", "-i", "sine=duration=2", "-map", "0:v", "-map", "1:a",
           videos / "long_sound.mp4")  # fmt: skip
    cut(videos / "tenth_of_a_second.mp4", 0.0, 0.1)
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=size=320x240:rate=25:duration=1", videos / "no_face.mp4")
    run_ffmpeg("-i", whole, "-f", "lavfi", "-i", "color=gray:size=640x360:rate=25:duration=0.6", "-filter_complex",
           "[0:v]fps=25,trim=0:0.6,setsar=1[a];[1:v]setsar=1[b];[a][b]concat[v]", "-map", "[v]",
           videos / "face_then_none.mp4")  # fmt: skip
    run_ffmpeg("-i", whole, "-filter_complex", "[0:v]split[a][b];[a][b]hstack[v]", "-map", "[v]",
           videos / "two_faces.mp4")  # fmt: skip
    run_ffmpeg("-i", whole, "-vf", "select='not(mod(n,3))+lt(n,10)'", "-fps_mode", "vfr", videos / "vfr.mkv")
    if newer_ffmpeg():
        run_ffmpeg("-display_rotation", "90", "-i", whole, "-c", "copy", videos / "rotated.mp4")
    else:
        run_ffmpeg("-i", whole, "-c", "copy", "-metadata:s:v", "rotate=90", videos / "rotated.mp4")
    run_ffmpeg("-i", whole, "-vf", "scale=401:303", "-pix_fmt", "yuv444p", videos / "odd_size.mp4")
    run_ffmpeg("-i", whole, "-pix_fmt", "yuv420p10le", videos / "ten_bit.mp4")
    run_ffmpeg("-i", whole, "-pix_fmt", "gray", "-c:v", "libx264", videos / "gray.mp4")
    (videos / "loop.mp4").symlink_to("loop.mp4")
    (videos / "folder_loop").symlink_to(".")
    # what the scripts name is a video that can be read, in a folder whose videos are no clips
    other = videos / "a" / "b" / "other.ts"
    other.parent.mkdir(parents=True)
    run_ffmpeg("-i", whole, "-c", "copy", other)
    (videos / "hls.mp4").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na/b/other.ts\n#EXT-X-ENDLIST\n")
    (videos / "concat.mp4").write_text("ffconcat version 1.0\nfile a/b/other.ts\n")
    (videos / "dash.mp4").write_text(
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static">'
        '<Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>whole.mp4</BaseURL>'
        "<SegmentBase/></Representation></AdaptationSet></Period></MPD>"
    )


def newer_ffmpeg() -> bool:
    return run([find_ffmpeg().path, "-hide_banner", "-h", "full"]).stdout.count("display_rotation") > 0


UNREADABLE = {
    "zero_bytes": "empty (0 bytes)",
    "no_moov": "the moov atom, is missing",
    "text": "this is text",
    "loop": "leads back to itself",
    "hls": "an HLS playlist, which names other files",
    "concat": "a concat script, which names other files",
    "dash": "a DASH manifest, which names other files",
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_no_decoder_may_open_fails_with_its_class_and_a_reason(manifest: pd.DataFrame, name: str) -> None:
    row = manifest.loc[name]
    assert row["status"] == "failed"
    assert row["error_class"] == "UnreadableMediaError"
    assert UNREADABLE[name] in row["error_message"]
    assert "0x" not in row["error_message"]
    assert row[["text_status", "audio_status", "vision_status"]].tolist() == ["failed"] * 3


USABLE = [
    "whole", "with space", "with 'quotes\"", "with\nnewline", "中文 片段", "-i", "50%d of it", "long_sound",
    "tenth_of_a_second", "face_then_none", "two_faces", "vfr", "rotated", "odd_size", "ten_bit", "gray", "emoji",
    "right_to_left", "long_text", "empty_text",
]  # fmt: skip


@pytest.mark.parametrize("name", USABLE)
def test_what_is_only_unusual_is_extracted(manifest: pd.DataFrame, name: str) -> None:
    row = manifest.loc[name]
    assert row["status"] == "ok", row["error_message"]
    assert row["vision_status"] == ("missing" if name == "rotated" else "ok"), row["vision_error_message"]
    expected_audio = "missing" if name in ("face_then_none", "two_faces") else "ok"
    assert row["audio_status"] == expected_audio, row["audio_error_message"]


@pytest.mark.parametrize(
    ("name", "modality", "reason"),
    [
        ("audio_only", "vision", "no video"),
        ("no_sound", "audio", "no audio"),
        ("no_face", "vision", "no face was found in any of the 30 frames"),
        ("no_face", "text", "no transcript"),
        ("empty_text", "text", "no transcript"),
    ],
)
def test_a_modality_that_is_not_there_is_missing_and_no_failure(
    manifest: pd.DataFrame, name: str, modality: str, reason: str
) -> None:
    row = manifest.loc[name]
    assert row["status"] in ("ok", "missing")
    assert row[f"{modality}_status"] == "missing"
    assert row[f"{modality}_error_class"] == "MissingModalityError"
    assert reason in row[f"{modality}_error_message"]


def test_faces_that_come_go_and_are_several_are_counted(manifest: pd.DataFrame) -> None:
    assert manifest.loc["two_faces", "n_faces"] == 2
    assert "2 people" in manifest.loc["two_faces", "warnings"][0]
    assert 0.4 < manifest.loc["face_then_none", "face_coverage"] < 0.6
    assert manifest.loc["whole", "n_faces"] == 1


def test_rates_sizes_and_lengths_are_those_of_the_clock(manifest: pd.DataFrame) -> None:
    assert manifest.loc["vfr", "n_frames"] == pytest.approx(30, abs=1)
    assert manifest.loc["tenth_of_a_second", "n_frames"] in (3, 4)
    assert manifest.loc["odd_size", ["width", "height"]].tolist() == [401, 303]
    assert manifest.loc["rotated", ["width", "height"]].tolist() == [360, 640]
    # sound that outlasts the picture is kept whole: 2 s in hops of 512 samples
    assert manifest.loc["long_sound", "audio_length"] == pytest.approx(2 * 22050 / 512, abs=3)


def test_a_transcript_beyond_the_models_longest_is_cut_and_counted(manifest: pd.DataFrame) -> None:
    row = manifest.loc["long_text"]
    assert row["text_length"] == 512
    assert row["text_tokens_cut"] == 5000 + 2 - 512


def test_unknown_tokens_warn_and_a_model_of_another_language_is_refused(
    tmp_path: Path, cut: Callable[..., None]
) -> None:
    texts = {
        "zh": "昨天跟朋友一起去看的电影",
        "en1": "It was a very good film about a river",
        "en2": "We walked home late",
    }
    argv = [FMLTK, "extract", str(tmp_path / "videos"), "--modalities", "text", "--text-model", "minilm"]
    for number, (name, text) in enumerate(texts.items()):
        cut(tmp_path / "videos" / f"{name}.mp4", 0.1 * number)
        (tmp_path / "videos" / f"{name}.txt").write_text(text, encoding="utf-8")
        if name == "zh":
            refused = run([*argv, "-o", str(tmp_path / "no")])
            assert refused.returncode == 1
            assert "'minilm' does not know a language of the transcripts (zh)" in refused.stderr
            assert not (tmp_path / "no" / "manifest.parquet").exists(), "before work begins"
    (tmp_path / "videos" / "en1.txt").write_text(f"{texts['en1']}. " * 5)  # so that most of the set is known
    done = run([*argv, "-o", str(tmp_path / "out")])
    said = "of the tokens, 75 % are unknown to the text model, expected at most 20 %"
    assert f"clips with many words that the text model does not know (1): zh$_$0: {said}" in done.stderr
    manifest = read_features(tmp_path / "out").manifest().set_index("video_id")
    assert manifest["text_unknown_share"].to_dict() == {"en1": 0.0, "en2": 0.0, "zh": 0.75}
    assert list(manifest.loc["zh", "warnings"]) == [f"text: {said}"]
    assert f'unknown-tokens,zh$_$0,"{said}"' in (tmp_path / "out" / "problems.csv").read_text()


def test_pictures_and_clips_over_a_limit_are_refused_by_name(tmp_path: Path, cut: Callable[..., None]) -> None:
    cut(tmp_path / "videos" / "large.mp4")
    argv = [FMLTK, "extract", str(tmp_path / "videos"), "--modalities", "vision", "--openface", "none", "-q"]
    done = run([*argv, "-o", str(tmp_path / "a"), "--max-pixels", "1000"])
    assert done.returncode == 1
    row = read_features(tmp_path / "a").manifest().iloc[0]
    assert row["error_class"] == "MediaLimitError"
    assert "--max-pixels" in row["error_message"]
    run([*argv, "-o", str(tmp_path / "b"), "--max-duration", "0.5"])
    row = read_features(tmp_path / "b").manifest().iloc[0]
    assert row["error_class"] == "MediaLimitError"
    assert "--max-duration" in row["error_message"]


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="drops the rights of root, so needs to be root")
# Root reads and writes everything by these two rights; without them a file's mode holds for root too.
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--"]


@needs_root
def test_a_file_without_read_permission_becomes_a_row(tmp_path: Path, cut: Callable[..., None]) -> None:
    videos = tmp_path / "videos"
    cut(videos / "closed.mp4")
    cut(videos / "open.mp4")
    (videos / "closed.mp4").chmod(0)
    assert run([*WITHOUT_RIGHTS, "cat", str(videos / "closed.mp4")]).returncode != 0, "the fault is not in force"
    out = tmp_path / "features"
    done = run([*WITHOUT_RIGHTS, FMLTK, "extract", str(videos), "-o", str(out), "--modalities", "audio"])
    assert done.returncode == 3, done.stderr
    manifest = read_features(out).manifest().set_index("video_id")
    assert manifest.loc["open", "status"] == "ok"
    assert manifest.loc["closed", "error_class"] == "UnreadableMediaError"
    assert "ermission" in manifest.loc["closed", "error_message"]


@needs_root
def test_an_output_folder_that_cannot_be_written_is_one_clear_line(tmp_path: Path, cut: Callable[..., None]) -> None:
    cut(tmp_path / "videos" / "a.mp4")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    assert run([*WITHOUT_RIGHTS, "touch", str(closed / "a")]).returncode != 0, "the fault is not in force"
    argv = [FMLTK, "extract", str(tmp_path / "videos"), "-o", str(closed / "features"), "--openface", "none", "-q"]
    done = run([*WITHOUT_RIGHTS, *argv])
    assert done.returncode == 1
    assert done.stderr.startswith("Error: no permission")
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_full_disk_is_one_clear_line_and_what_was_done_stays(tmp_path: Path, cut: Callable[..., None]) -> None:
    for name in ("a_short", "b_long"):
        cut(tmp_path / "videos" / f"{name}.mp4", 0.0, 0.3 if name == "a_short" else 3.5)
    out = tmp_path / "features"
    argv = [FMLTK, "extract", str(tmp_path / "videos"), "-o", str(out), "--modalities", "audio", "--workers", "1", "-q"]
    limit_kb = 16
    done = run(["bash", "-c", f'ulimit -f {limit_kb}; exec "$@"', "bash", *argv])
    assert done.returncode == 1, done.stderr
    assert "no space left" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    kept = list((out / "shards").rglob("*.arrow"))
    assert len(kept) == 1
    assert not list(out.rglob(".tmp-*"))
    done = run(argv)
    assert done.returncode == 0, done.stderr
    assert kept[0].is_file()
    assert len(read_features(out)["audio"].utterance_ids) == 2


@needs_root
def test_a_full_file_system_is_survived_too(tmp_path: Path, cut: Callable[..., None]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]).returncode != 0:
        pytest.skip("mounting is not allowed here; the test with a file-size limit stands in")
    try:
        cut(tmp_path / "videos" / "a.mp4", 0.0, 2.0)
        (disk / "filler").write_bytes(b"x" * 245_000)
        argv = [FMLTK, "extract", str(tmp_path / "videos"), "-o", str(disk / "features"), "--modalities", "audio", "-q"]
        done = run(argv)
        assert done.returncode == 1
        assert "no space left" in done.stderr
        (disk / "filler").unlink()
        assert run(argv).returncode == 0
    finally:
        run(["umount", str(disk)])
