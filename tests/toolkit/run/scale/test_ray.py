"""A cluster gives the bytes of one machine, whatever dies meanwhile."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fmltk.toolkit.errors import ConfigError, RunError, WorkerDiedError
from fmltk.toolkit.io.paths import list_files, locate
from fmltk.toolkit.run.engine import Task
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

HERE = Path(__file__).parent
FMLTK = str(Path(sys.executable).with_name("fmltk"))
TABLES = ("manifest", "text", "audio", "vision", "faces/faces", "faces/shots", "fingerprints")

pytestmark = pytest.mark.ray


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(HERE)
    return importlib.import_module("scale_worker")


@pytest.fixture
def engine(cluster: Any, workers: ModuleType) -> Iterator[Any]:
    from fmltk.toolkit.run.ray_engine import RayEngine

    prepare = Task(None, "prepare", None)
    with RayEngine(workers.Worker, n_workers=2, address=cluster.address, prepare=prepare) as engine:
        yield engine


def command(clips: Path | str, table: Path, out: object, *options: object) -> list[str]:
    return [FMLTK, "extract", str(clips), "--transcripts", str(table), "-o", str(out), "--text-model", "minilm",
            "--openface", "none", *map(str, options)]  # fmt: skip


def tables(out: str | Path) -> dict[str, bytes]:
    return {name: (locate(str(out)) / f"{name}.parquet").read_bytes() for name in TABLES}


def n_shards(out: str) -> int:
    return sum(1 for _ in list_files(locate(out) / "shards"))


@pytest.fixture(scope="session")
def by_one_worker(short_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("local") / "features"
    argv = command(short_clips / "videos", short_clips / "transcripts.csv", out, "--workers", 1, "-q")
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return tables(out)


@pytest.fixture(scope="session")
def in_bucket(store: Any, short_clips: Path) -> str:
    """The short clips in the bucket, as the URL of their folder."""
    url = "s3://clips/short/videos"
    for path in (short_clips / "videos").rglob("*.mp4"):
        target = locate(url) / path.relative_to(short_clips / "videos").as_posix()
        target.upload(path)  # type: ignore[union-attr]
    return url


def test_two_nodes_give_the_bytes_of_one_local_worker(
    cluster: Any, in_bucket: str, short_clips: Path, by_one_worker: dict[str, bytes]
) -> None:
    out = "s3://clips/whole/features"
    done = subprocess.run(
        command(in_bucket, short_clips / "transcripts.csv", out, "--engine", "ray", "--ray-address", cluster.address,
                "--workers", 2),
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert tables(out) == by_one_worker
    assert "very-secret-key" not in done.stderr + done.stdout
    # and features on the run's own disk, which the nodes do not write to
    local = short_clips / "by_ray"
    argv = command(short_clips / "videos", short_clips / "transcripts.csv", local, "--engine", "ray", "--ray-address",
                   cluster.address, "--workers", 1)  # fmt: skip
    again = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert tables(local) == by_one_worker


def started(argv: list[str], out: str) -> subprocess.Popen[str]:
    """Start a run, and return when some of its clips are done and others are not."""
    program = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert wait_until(lambda: n_shards(out) > 0 or program.poll() is not None)
    assert program.poll() is None, program.communicate()
    return program


@pytest.mark.parametrize("victim", ["node", "worker process"])
def test_a_node_or_a_worker_killed_mid_run_changes_no_byte(
    cluster: Any, in_bucket: str, short_clips: Path, by_one_worker: dict[str, bytes], victim: str
) -> None:
    out = f"s3://clips/killed-{victim[:4]}/features"
    argv = command(in_bucket, short_clips / "transcripts.csv", out, "--engine", "ray", "--ray-address",
                   cluster.address, "--workers", 2, "--json")  # fmt: skip
    program = started(argv, out)
    assert n_shards(out) < 6
    if victim == "node":
        cluster.kill(len(cluster.nodes) - 1)
        cluster.add_node()
    else:
        os.kill(cluster.worker_processes()[0], signal.SIGKILL)
    result, messages = program.communicate()
    assert program.returncode == 0, messages
    assert json.loads(result)["clips"]["ok"] == 6  # nothing else is on stdout
    assert tables(out) == by_one_worker


def test_ctrl_c_leaves_no_worker_and_a_state_to_go_on_from(
    cluster: Any, in_bucket: str, short_clips: Path, by_one_worker: dict[str, bytes]
) -> None:
    out = "s3://clips/stopped/features"
    argv = command(in_bucket, short_clips / "transcripts.csv", out, "--engine", "ray", "--ray-address",
                   cluster.address, "--workers", 1)  # fmt: skip
    program = started(argv, out)
    os.killpg(program.pid, signal.SIGINT)
    _, messages = program.communicate()
    assert program.returncode == 130, messages
    assert "the same command" in messages
    assert "Traceback" not in messages
    assert wait_until(lambda: not cluster.worker_processes())
    done = n_shards(out)
    assert 0 < done < 6
    again = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    assert f"{done} of 6 clips are extracted already" in again.stderr
    assert tables(out) == by_one_worker


def test_ten_thousand_clips_that_wait_are_taken_one_by_one(engine: Any) -> None:
    taken = returned = 0
    furthest = 0

    def tasks() -> Iterator[Task[int]]:
        nonlocal taken
        for number in range(10_000):
            taken += 1
            yield Task(number, "double", number)

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = 0
    for outcome in engine.run(tasks()):
        returned += 1
        total += outcome.value
        furthest = max(furthest, taken - returned)
    assert returned == 10_000
    assert total == 2 * sum(range(10_000))
    assert furthest <= 4  # two in work, two about to be
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_clip_that_kills_its_worker_each_time_is_given_up_and_the_others_are_done(
    engine: Any, tmp_path: Path
) -> None:
    tasks = [Task("bad", "die", None), Task("once", "die_once", str(tmp_path / "died")),
             *(Task(n, "double", n) for n in range(20))]  # fmt: skip
    outcomes = {one.task.key: one for one in engine.run(tasks)}
    assert isinstance(outcomes["bad"].error, WorkerDiedError)
    assert "3 times in a row" in str(outcomes["bad"].error)
    assert outcomes["once"].value == "done"
    assert [outcomes[n].value for n in range(20)] == [2 * n for n in range(20)]


def test_what_ray_says_of_its_nodes_is_not_on_stdout(
    engine: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import ray

    worker = ray._private.worker

    def say(words: str) -> str:
        worker.print_to_stdstream({"lines": [words], "pid": "raylet", "is_err": False}, ignore_prefix=False)
        return capsys.readouterr().out

    assert not say("a node is dead")
    monkeypatch.setattr(worker, "_worker_logs_enabled", True)
    assert "lost a machine" in say("lost a machine")  # as it is without the engine; Ray holds like words back


def test_clips_of_a_lost_node_are_done_elsewhere(cluster: Any, engine: Any) -> None:
    keys: list[int] = []
    processes: set[int] = set()
    lost_at = None

    def tasks() -> Iterator[Task[float]]:
        """Twenty more than are done when the node is lost."""
        for number in itertools.count():
            if lost_at is not None and number >= lost_at + 20:
                return
            yield Task(number, "sleep", 0.3)

    for outcome in engine.run(tasks()):
        assert outcome.error is None
        keys.append(outcome.task.key)
        processes.add(outcome.value)
        if lost_at is None and len(processes) == 2:  # both nodes work
            cluster.kill(len(cluster.nodes) - 1)
            lost_at = len(keys)
    assert lost_at is not None
    assert len(keys) >= lost_at + 20
    assert sorted(keys) == list(range(len(keys)))
    cluster.add_node()


def test_machines_that_differ_are_refused(cluster: Any, workers: ModuleType) -> None:
    from fmltk.toolkit.run.ray_engine import RayEngine

    prepare = Task(None, "prepare_each_differently", None)
    with (
        RayEngine(workers.Worker, n_workers=2, address=cluster.address, prepare=prepare) as engine,
        pytest.raises(RunError, match=r"the machines of the cluster differ \(versions\.numpy"),
    ):
        list(engine.run(Task(n, "sleep", 0.3) for n in itertools.count()))


def test_a_cluster_that_wants_a_token_is_not_entered_without_one_and_the_cure_is_said(
    cluster: Any, short_clips: Path, tmp_path: Path
) -> None:
    argv = command(short_clips / "videos", short_clips / "transcripts.csv", tmp_path / "features", "--engine", "ray",
                   "--ray-address", cluster.address)  # fmt: skip
    variables = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH_")}
    done = subprocess.run(argv, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 1
    assert "RAY_AUTH_MODE=token" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_without_ray_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from fmltk.toolkit.run.ray_engine import RayEngine

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'fmltk\[ray\]'"), contextlib.ExitStack() as stack:
        stack.enter_context(RayEngine(dict))
