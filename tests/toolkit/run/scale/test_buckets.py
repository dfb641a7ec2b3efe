"""Videos and features in a bucket: the bytes of a local run, through the store's bad moments, and no secret told."""

from __future__ import annotations

import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmltk.toolkit.errors import ConfigError, StoreError, UnreadableMediaError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.io import paths as storage
from fmltk.toolkit.io.paths import Fetcher, RemotePath, list_files, locate, look_up
from fmltk.toolkit.run.clip_worker import ClipWorker
from fmltk.toolkit.run.extract import extract
from fmltk.toolkit.run.pad import pad
from fmltk.toolkit.run.tasks import ClipTask, RunPaths, hash_input
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings
from tests.processes import wait_until

FMLTK = str(Path(sys.executable).with_name("fmltk"))
TABLES = ("manifest", "audio", "faces/faces", "faces/shots", "fingerprints")

# With the tests of Ray: they share the store and its proxy.
pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="session")
def videos_here(short_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The short clips, each with its words beside it: a copy, for other tests want them without."""
    folder = tmp_path_factory.mktemp("here") / "videos"
    shutil.copytree(short_clips / "videos", folder)
    for path in folder.rglob("*.mp4"):
        path.with_suffix(".txt").write_text(f"words of {path.stem}")
    return folder


@pytest.fixture(scope="session")
def videos_in_bucket(store: Any, videos_here: Path) -> str:
    url = "s3://clips/sound/videos"
    for path in sorted(one for one in videos_here.rglob("*") if one.is_file()):
        target = locate(f"{url}/{path.relative_to(videos_here).as_posix()}")
        assert isinstance(target, RemotePath)
        target.upload(path)
    return url


@pytest.fixture(scope="session")
def local_tables(videos_here: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("sound") / "features"
    extract(videos_here, out, modalities=("audio",), n_workers=1)
    return tables(out)


def tables(out: str | Path) -> dict[str, bytes]:
    return {name: (locate(out) / f"{name}.parquet").read_bytes() for name in TABLES}


def everything(url: str) -> dict[str, bytes]:
    """Return every object below a URL."""
    found: dict[str, bytes] = {}
    todo = [locate(url)]
    while todo:
        for path in todo.pop().iterdir():
            if path.is_dir():
                todo.append(path)
            else:
                found[str(path)] = path.read_bytes()
    return found


def test_a_bucket_gives_the_bytes_of_a_folder_and_names_no_secret(
    videos_in_bucket: str, local_tables: dict[str, bytes]
) -> None:
    out = "s3://clips/sound/features"
    argv = [FMLTK, "extract", videos_in_bucket, "-o", out, "--modalities", "audio", "--workers", "2"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tables(out) == local_tables
    assert list(read_features(out).manifest()["text"])[:2] == ["words of 0000", "words of 0001"]  # the .txt beside them
    assert read_features(out)["audio"].features().shape[0] == 6
    written = everything(out)
    assert sum(".arrow" in name and "/shards/" in name for name in written) == 6
    secret, key = os.environ["AWS_SECRET_ACCESS_KEY"], os.environ["AWS_ACCESS_KEY_ID"]
    for content in (*written.values(), done.stdout.encode(), done.stderr.encode()):
        assert secret.encode() not in content
        assert f'"{key}"'.encode() not in content
    again = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert "6 of 6 clips are extracted already" in again.stderr
    assert tables(out) == local_tables
    before = tables(out)
    pad(out, PaddingSettings(fixed={"audio": 7}))
    assert read_features(out)["audio"].length == 7
    pad(out, PaddingSettings())
    assert tables(out) == before


def test_a_store_that_answers_503_for_a_while_changes_no_byte(
    store: Any, videos_in_bucket: str, local_tables: dict[str, bytes]
) -> None:
    out = "s3://clips/busy/features"
    n_failed = store.n_failed
    store.fail(6.0, after_puts=4)  # in the middle of its six shards
    summary = extract(videos_in_bucket, out, modalities=("audio",), n_workers=1)
    assert store.n_failed > n_failed  # the run did meet the fault
    assert summary.counts == {"ok": 6}
    assert tables(out) == local_tables


def test_a_store_that_stays_away_ends_the_run_in_one_line(
    store: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storage, "ATTEMPTS", 2)
    monkeypatch.setattr(storage, "FIRST_WAIT_S", 0.01)
    store.fail(math.inf)
    try:
        with pytest.raises((ConfigError, StoreError), match="failed 2 times in a row") as caught:
            extract("s3://clips/sound/videos", tmp_path, modalities=("audio",))
    finally:
        store.fail(0.0)
    assert "\n" not in str(caught.value)


def test_waiting_is_bounded_and_a_final_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr("fmltk.toolkit.io.retry.time.sleep", waits.append)

    def busy() -> None:
        raise OSError("AWS Error SLOW_DOWN during PutObject operation")

    with pytest.raises(OSError, match="failed 8 times in a row"):
        storage._retried(busy, "writing x")
    assert len(waits) == storage.ATTEMPTS - 1
    assert 20 < sum(waits) < 60
    waits.clear()
    for error in (OSError("AWS Error ACCESS_DENIED during PutObject"), FileNotFoundError(2, "no"),
                  OSError("AWS Error UNKNOWN (HTTP status 400) during PutObject")):  # fmt: skip

        def refused(error: OSError = error) -> None:
            raise error

        with pytest.raises(type(error)):
            storage._retried(refused, "writing x")
    assert waits == []


def test_a_video_that_is_not_in_the_bucket_is_a_row_and_its_file_never_stays(
    store: Any, videos_in_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = tmp_path / "videos.csv"
    table.write_text(f"path\n{videos_in_bucket}/video_0000/0000.mp4\n{videos_in_bucket}/nothing.mp4\n")
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.setattr("tempfile.tempdir", None)
    summary = extract(table, tmp_path / "features", modalities=("audio",), n_workers=1)
    assert summary.counts == {"ok": 1, "failed": 1}
    assert summary.failures[0]["error_class"] == UnreadableMediaError.__name__
    assert list(scratch.iterdir()) == []


def test_a_fetched_video_is_kept_for_its_next_clip_alone(store: Any, videos_in_bucket: str) -> None:
    first, second = (locate(f"{videos_in_bucket}/video_0000/000{n}.mp4") for n in (0, 1))
    assert isinstance(first, RemotePath)
    assert isinstance(second, RemotePath)
    look_up([first, second])
    fetcher = Fetcher()
    one = fetcher.fetch(first)
    assert one.read_bytes() == first.read_bytes()
    n_before = len(store.requests)
    assert fetcher.fetch(first) == one
    assert len(store.requests) == n_before
    other = fetcher.fetch(second)
    assert not one.exists()
    fetcher.clear()
    assert not other.exists()


def test_a_listing_spares_the_questions_about_each_file(store: Any, videos_in_bucket: str) -> None:
    n_before = len(store.requests)
    folder = next(path for path in locate(videos_in_bucket).iterdir() if path.name == "video_0000")
    files = list(folder.iterdir())
    assert len(files) == 6
    assert all(path.stat().st_size > 0 for path in files)
    assert all(path.with_name(f"{path.stem}.txt").is_file() for path in files)
    assert not any(path.with_name(f"{path.stem}.srt").is_file() for path in files)
    assert pickle.loads(pickle.dumps(files[0])).stat() == files[0].stat()
    assert len(store.requests) - n_before <= 2


def test_urls_are_told_from_paths() -> None:
    assert locate("videos") == Path("videos")
    assert locate("file:///a/b%20c") == Path("/a/b c")
    assert locate("s3://bucket/a/") == RemotePath("s3", "bucket/a")
    with pytest.raises(ConfigError, match="credentials") as caught:
        locate("s3://key:hidden@bucket/a")
    assert "hidden" not in str(caught.value)
    with pytest.raises(ConfigError, match="names no bucket"):
        locate("s3://")
    with pytest.raises(ConfigError, match="reached by nothing"):
        locate("nosuch://bucket/a")


def test_workers_elsewhere_hand_over_what_they_cannot_write(short_clips: Path, tmp_path: Path) -> None:
    from fmltk.toolkit.clip import Clip

    clip = Clip("video_0000", "0000", short_clips / "videos" / "video_0000" / "0000.mp4", source="a.mp4")
    settings, paths = ExtractSettings(modalities=("audio",)), RunPaths(tmp_path / "features", elsewhere=True)
    worker = ClipWorker(settings, paths)
    done = worker.extract(ClipTask(clip, hash_input(clip, settings, paths)))
    assert done.status == "ok"
    assert done.data is not None
    assert not (tmp_path / "features").exists()
    with pytest.raises(StoreError, match="not on the machine of this worker"):
        worker.extract(ClipTask(Clip("v", "0", tmp_path / "elsewhere.mp4"), "mark"))


def test_ctrl_c_leaves_whole_objects_only(videos_in_bucket: str, local_tables: dict[str, bytes]) -> None:
    out = "s3://clips/ended/features"
    argv = [FMLTK, "extract", videos_in_bucket, "-o", out, "--modalities", "audio", "--workers", "1"]
    program = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert wait_until(lambda: program.poll() is not None or any(list_files(locate(out) / "shards")))
    assert program.poll() is None
    os.killpg(program.pid, signal.SIGINT)
    _, messages = program.communicate()
    assert program.returncode == 130, messages
    assert not any("tmp" in name for name in everything(out))
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert tables(out) == local_tables
