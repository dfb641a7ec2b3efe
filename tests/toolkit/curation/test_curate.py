"""`fmltk curate` on feature folders: the table, what is kept of it, and what becomes of the decisions."""

from __future__ import annotations

import csv
import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.fingerprints import FINGERPRINT_FILE, fingerprint_schema, fingerprint_table, pack_words
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.io.parquet import TableWriter
from tests.ffmpeg import DEMO, cut_clip, run_ffmpeg
from tests.processes import one_core
from tests.program import fmltk_here

if TYPE_CHECKING:
    from pathlib import Path

GOOD: dict[str, Any] = {
    "status": "ok", "text_status": "ok", "audio_status": "ok", "vision_status": "ok", "n_faces": 1, "vision_valid": 1.0,
    "face_coverage": 1.0, "duration_s": 3.0, "n_frames": 90, "audio_length": 130, "silence_share": 0.2,
}  # fmt: skip


def words(seed: int, n: int = 120) -> np.ndarray:
    smooth = np.cumsum(np.random.default_rng(seed).normal(size=(n + 6, 16)), axis=0)
    return pack_words(smooth[6:] > smooth[:-6])


def write_folder(folder: Path, rows: dict[str, dict[str, Any]], seeds: dict[str, int] | None = None) -> Path:
    """Write a feature folder with these rows; clips of one seed have the same fingerprints."""
    with ManifestWriter(folder / "manifest.parquet", {}) as manifest:
        for utterance, changed in sorted(rows.items()):
            video_id, _, clip_id = utterance.rpartition("$_$")
            ids = {"utterance_id": utterance, "video_id": video_id, "clip_id": clip_id, "sha256": utterance}
            manifest.append(ClipRow.from_columns({**ids, **GOOD, **changed}))
    if seeds is not None:
        with TableWriter(folder / FINGERPRINT_FILE, fingerprint_schema()) as table:
            for utterance, seed in sorted(seeds.items()):
                table.append(fingerprint_table(utterance, {"audio": words(seed)}, table.schema))
    return folder


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def reasons(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in read(path):
        found.setdefault(row["utterance_id"], []).append(row["reason"])
    return found


def test_one_row_per_clip_and_reason_with_a_column_to_fill_in(tmp_path: Path) -> None:
    rows = {"v1$_$0001": {"n_faces": 3, "vision_valid": 0.2}, "v1$_$0002": {}, "v2$_$x": {"silence_share": 0.99}}
    folder = write_folder(tmp_path / "features", rows, dict.fromkeys(rows, 0) | {"v1$_$0002": 1})
    done = fmltk_here("curate", folder, "-o", tmp_path / "c.csv")
    assert done.returncode == 0, done.stderr
    found = read(tmp_path / "c.csv")
    assert list(found[0]) == ["utterance_id", "video_id", "clip_id", "reason", "detail", "decision"]
    assert reasons(tmp_path / "c.csv") == {
        "v1$_$0001": ["several-people", "low-coverage", "same-content"],
        "v2$_$x": ["no-speech", "same-content"],
    }
    assert (found[0]["video_id"], found[0]["clip_id"], found[0]["detail"]) == ("v1", "0001", "3 people")
    assert found[2]["detail"] == "the audio of v2$_$x"
    assert {row["decision"] for row in found} == {""}
    assert "2 of 3 clips to look at" in done.stderr
    assert f"next: fmltk report {folder} {tmp_path / 'c.csv'} -o {tmp_path / 'c.html'}" in done.stderr
    assert "too little" in done.stdout


@pytest.mark.parametrize("n_clips", [1, 3])
def test_where_nothing_stands_out_there_is_nothing_to_fill_in(n_clips: int, tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "features", {f"v$_${k}": {} for k in range(n_clips)}, {})
    done = fmltk_here("curate", folder, "-o", tmp_path / "c.csv")
    assert done.returncode == 0, done.stderr
    assert f"none of {n_clips} clips stands out, so {tmp_path / 'c.csv'} names none" in done.stderr
    assert "decision" not in done.stderr
    assert f"next: fmltk report {folder} -o {tmp_path / 'report.html'}" in done.stderr


def test_json_has_every_finding(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "features", {"v$_$1": {"n_faces": 2}, "v$_$2": {}}, {})
    document = json.loads(fmltk_here("curate", folder, "-o", tmp_path / "c.csv", "--json").stdout)
    assert (document["clips"], document["to_look_at"], document["decided"]) == (2, 1, 0)
    assert document["reasons"] == {"several-people": 1}
    assert document["findings"][0]["detail"] == "2 people"


def test_excluded_and_failed_clips_are_not_listed_again(tmp_path: Path) -> None:
    skipped = dict.fromkeys(("text_status", "audio_status", "vision_status", "status"), "skipped")
    failed = dict.fromkeys(("text_status", "audio_status", "vision_status", "status"), "failed")
    nothing = dict.fromkeys(("n_faces", "vision_valid", "face_coverage", "n_frames", "audio_length", "silence_share"))
    folder = write_folder(
        tmp_path / "features", {"v$_$1": {**skipped, "n_faces": 2}, "v$_$2": {**failed, **nothing}}, {}
    )
    fmltk_here("curate", folder, "-o", tmp_path / "c.csv")
    assert read(tmp_path / "c.csv") == []


def test_decisions_outlive_another_run(tmp_path: Path) -> None:
    rows: dict[str, dict[str, Any]] = {"-a$_$1": {"n_faces": 2}, "v$_$2": {"n_faces": 3}, "v$_$3": {"n_faces": 4}}
    out = tmp_path / "c.csv"
    fmltk_here("curate", write_folder(tmp_path / "features", rows, {}), "-o", out)
    text = out.read_text(encoding="utf-8-sig")
    assert "'-a$_$1" in text  # what a spreadsheet does not run
    filled = text.replace("2 people,", "2 people,keep").replace("3 people,", "3 people,exclude")
    out.write_text(filled.replace(",", ";"), encoding="utf-16")  # as spreadsheets save
    rows["v$_$2"] = {}
    done = fmltk_here("curate", write_folder(tmp_path / "features", rows, {}), "-o", out)
    assert done.returncode == 0, done.stderr
    decisions = {row["utterance_id"].lstrip("'"): (row["detail"], row["decision"]) for row in read(out)}
    assert decisions == {"-a$_$1": ("2 people", "keep"), "v$_$2": ("3 people", "exclude"), "v$_$3": ("4 people", "")}


@pytest.mark.parametrize("text", ["utterance_id,reason\na,b\n", "video_id,label\n1,2\n", "nonsense\n"])
def test_another_table_is_not_written_over(tmp_path: Path, text: str) -> None:
    (tmp_path / "labels.csv").write_text(text)
    folder = write_folder(tmp_path / "features", {"v$_$1": {}}, {})
    done = fmltk_here("curate", folder, "-o", tmp_path / "labels.csv")
    assert done.returncode == 1
    assert "is not a table of `fmltk curate`: it has no column" in done.stderr
    assert (tmp_path / "labels.csv").read_text() == text


def test_a_folder_of_an_older_version_says_that_it_has_no_fingerprints(tmp_path: Path) -> None:
    rows = {"v$_$1": {"sha256": "a"}, "v$_$2": {"sha256": "a"}, "v$_$3": {"sha256": "a", "start_s": 4.0}}
    done = fmltk_here("curate", write_folder(tmp_path / "features", rows), "-o", tmp_path / "c.csv")
    assert "without fingerprints.parquet" in done.stderr
    assert {row["utterance_id"]: row["detail"] for row in read(tmp_path / "c.csv")} == {
        "v$_$1": "the file of v$_$2",
        "v$_$2": "the file of v$_$1",
    }


def test_what_is_not_a_feature_folder_is_one_line(tmp_path: Path) -> None:
    done = fmltk_here("curate", tmp_path, "-o", tmp_path / "c.csv")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert not (tmp_path / "c.csv").exists()


@pytest.mark.parametrize(("spread_db", "listed"), [(2.0, True), (8.0, True), (20.0, False)])
def test_a_steady_level_is_no_speech(tmp_path: Path, spread_db: float, listed: bool) -> None:
    folder = write_folder(tmp_path / "features", {"v$_$1": {}}, {})
    levels = np.linspace(-40, -40 + spread_db / 0.8, 50) * np.sqrt(128)  # 80 % of the steps span `spread_db`
    with ModalityWriter(
        folder / "audio.parquet",
        ModalitySpec("audio", 2, 60, has_mask=False, document={"feature_names": ["zcr", "mfcc_0"]}),
    ) as writer:
        writer.append("v$_$1", np.stack([np.zeros(50), levels], axis=1).astype(np.float32))
    fmltk_here("curate", folder, "-o", tmp_path / "c.csv")
    assert ("no-speech" in reasons(tmp_path / "c.csv").get("v$_$1", [])) == listed


def test_from_videos_to_a_run_without_the_copy(tmp_path: Path) -> None:
    videos, out = tmp_path / "videos", tmp_path / "c.csv"
    for number in (1, 2, 3):
        source = DEMO / "videos" / f"video_000{number}" / "0001.mp4"
        cut_clip(source, videos / f"v{number}.mp4", start_s=0.2, seconds=2.5)
    run_ffmpeg("-ss", 0.4, "-i", videos / "v2.mp4", "-vn", "-c:a", "libmp3lame", "-b:a", "64k", videos / "copy.mp4")
    run = ("extract", videos, "-o", tmp_path / "features", "--modalities", "audio", "--quiet")
    with one_core():
        assert fmltk_here(*run).returncode == 0
        assert fmltk_here("curate", tmp_path / "features", "-o", out).returncode == 0
        details = {row["utterance_id"]: row["detail"] for row in read(out) if row["reason"] == "same-content"}
        assert details == {"copy$_$0": "the audio of v2$_$0 from 0.39 s on", "v2$_$0": "the audio of copy$_$0"}
        out.write_text(out.read_text(encoding="utf-8-sig").replace("0.39 s on,", "0.39 s on,exclude"))
        done = fmltk_here(*run, "--exclude", out)
    assert done.returncode == 0, done.stderr
    fmltk_here("curate", tmp_path / "features", "-o", tmp_path / "again.csv")
    assert [row for row in read(tmp_path / "again.csv") if row["reason"] == "same-content"] == []
