"""Worker processes: what one does never reaches another, and none outlives its run."""

from __future__ import annotations

import importlib
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fmltk.toolkit.errors import ClipTimeoutError, DamagedFileError, MediaLimitError, RunError, WorkerDiedError
from fmltk.toolkit.machine import THREAD_VARIABLES
from fmltk.toolkit.run import worker_process
from fmltk.toolkit.run.engine import Task
from fmltk.toolkit.run.local_engine import LocalEngine
from tests.processes import FOREVER_S, child_ids, is_alive, wait_until

if TYPE_CHECKING:
    from types import ModuleType

HERE = Path(__file__).parent


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module engine_worker, importable here and in worker processes."""
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.setenv("PYTHONPATH", str(HERE))
    return importlib.import_module("engine_worker")


@pytest.fixture(params=[pytest.param(True, id="forks"), pytest.param(False, id="programs")])
def forks(request: pytest.FixtureRequest) -> bool:
    """Whether workers are forks of one process."""
    if request.param and not worker_process.CAN_FORK:
        pytest.skip("workers are not forks here")
    return bool(request.param)


def test_every_task_has_its_own_value_in_whatever_order_they_end(workers: ModuleType, forks: bool) -> None:
    tasks = [Task(f"key{n}", "double", n) for n in range(25)]
    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        outcomes = list(engine.run(tasks))
    assert {one.task.key: one.value for one in outcomes} == {f"key{n}": 2 * n for n in range(25)}
    assert all(one.error is None for one in outcomes)


def test_a_slow_task_does_not_hold_up_the_others(workers: ModuleType, forks: bool, tmp_path: Path) -> None:
    """The slow task ends only when the others have."""
    tasks = [Task("slow", "wait_for_file", str(tmp_path / "go")), *(Task(n, "double", n) for n in range(5))]
    keys = []
    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        for outcome in engine.run(tasks):
            keys.append(outcome.task.key)
            if len(keys) == 5:
                (tmp_path / "go").touch()
    assert keys[-1] == "slow"
    assert sorted(map(str, keys[:-1])) == ["0", "1", "2", "3", "4"]


def test_tasks_are_taken_as_they_are_needed(workers: ModuleType, forks: bool) -> None:
    taken = []

    def tasks() -> Any:
        for n in range(20):
            taken.append(n)
            yield Task(n, "double", n)

    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        next(iter(engine.run(tasks())))
        assert len(taken) <= 5  # two in hand, two ahead, one for the answer


def test_no_more_workers_start_than_there_are_tasks_and_they_live_on_between_runs(
    workers: ModuleType, forks: bool
) -> None:
    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        first = engine.call("process_id", None)
        assert engine.call("double", 4) == 8
        assert engine.call("process_id", None) == first
        assert engine.call("count", None) == 1


def test_an_error_of_fmltk_travels_as_its_class_with_its_message(workers: ModuleType, forks: bool) -> None:
    with LocalEngine(workers.Worker, n_workers=1, forks=forks) as engine:
        with pytest.raises(MediaLimitError, match=r"^a\.mp4 lasts too long$"):
            engine.call("fail", ("MediaLimitError", "a.mp4 lasts too long"))
        with pytest.raises(DamagedFileError, match="half a file"):
            engine.call("fail", ("DamagedFileError", "half a file"))
        assert engine.call("double", 1) == 2  # the worker lives on


def test_every_error_class_can_travel() -> None:
    from fmltk.toolkit import errors

    classes = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, Exception)]
    assert len(classes) > 10
    for one in classes:
        copy = pickle.loads(pickle.dumps(one("what, where")))
        assert (type(copy), str(copy)) == (one, "what, where")


def test_a_task_that_wants_a_fresh_worker_gets_one(workers: ModuleType, forks: bool) -> None:
    with LocalEngine(workers.Worker, n_workers=1, forks=forks) as engine:
        outcomes = list(engine.run([Task(k, "be_first", None) for k in range(3)]))
    assert [outcome.task.key for outcome in outcomes] == [0, 1, 2]
    assert len({outcome.value for outcome in outcomes}) == 3


def test_an_unforeseen_error_costs_its_task_alone_and_says_where_it_happened(workers: ModuleType, forks: bool) -> None:
    tasks = [Task(0, "double", 0), Task(1, "crash", "one by zero"), Task(2, "double", 2)]
    with LocalEngine(workers.Worker, n_workers=1, forks=forks) as engine:
        outcomes = {one.task.key: one for one in engine.run(tasks)}
    assert (outcomes[0].value, outcomes[2].value) == (0, 4)
    assert type(outcomes[1].error) is RunError
    for part in ("please report it", "engine_worker.py", "ZeroDivisionError: one by zero"):
        assert part in str(outcomes[1].error)


@pytest.mark.parametrize(
    ("method", "argument", "said"),
    [
        ("kill_itself", signal.SIGKILL, r"was killed by SIGKILL \(often: out of memory"),
        ("kill_itself", signal.SIGSEGV, r"was killed by SIGSEGV \(perhaps for lack of memory; .*\); --retry-failed"),
        ("leave", 9, "ended with status 9"),
    ],
)
def test_a_worker_that_dies_costs_its_task_alone_and_is_replaced(
    workers: ModuleType, forks: bool, method: str, argument: int, said: str
) -> None:
    tasks = [Task("deadly", method, argument), *(Task(n, "process_id", None) for n in range(6))]
    with LocalEngine(workers.Worker, n_workers=1, forks=forks) as engine:
        first = engine.call("process_id", None)
        outcomes = {one.task.key: one for one in engine.run(tasks)}
    error = outcomes.pop("deadly").error
    assert isinstance(error, WorkerDiedError)
    with pytest.raises(WorkerDiedError, match=said):
        raise error
    assert [one.error for one in outcomes.values()] == [None] * 6
    assert {one.value for one in outcomes.values()} & {first} == set()
    assert not is_alive(first)


def test_a_worker_killed_while_idle_costs_no_task(workers: ModuleType, forks: bool) -> None:
    with LocalEngine(workers.Worker, n_workers=1, forks=forks) as engine:
        first = engine.call("process_id", None)
        os.kill(first, signal.SIGKILL)
        assert wait_until(lambda: not is_alive(first))
        assert engine.call("process_id", None) != first


def test_a_task_that_hangs_is_stopped_when_its_time_is_over(workers: ModuleType, forks: bool) -> None:
    others = [Task(n, "double", n, timeout_s=FOREVER_S) for n in range(4)]
    tasks = [Task("hangs", "sleep", FOREVER_S, timeout_s=0.3), *others]
    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        outcomes = {one.task.key: one for one in engine.run(tasks)}
    error = outcomes.pop("hangs").error
    assert isinstance(error, ClipTimeoutError)
    assert str(error) == "took longer than 0.3 s and was stopped; allow more with --clip-timeout and --retry-failed"
    assert {key: one.value for key, one in outcomes.items()} == {0: 0, 1: 2, 2: 4, 3: 6}


def test_a_late_task_is_found_while_others_keep_answering(workers: ModuleType, forks: bool) -> None:
    def quick() -> Any:
        yield Task("hangs", "sleep", FOREVER_S, timeout_s=0.5)
        while not over:
            yield Task("quick", "double", 1)

    over: list[bool] = []
    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        for outcome in engine.run(quick()):
            if outcome.task.key == "hangs":
                assert isinstance(outcome.error, ClipTimeoutError)
                over.append(True)
    assert over


@pytest.mark.parametrize(
    ("make", "said"),
    [
        ("dies_at_start", "a worker process ended with status 7 before it was ready"),
        ("fails_at_start", "a worker process ended with status 1 before it was ready; its messages are above"),
    ],
)
def test_a_worker_that_dies_at_the_start_ends_the_run(
    workers: ModuleType, forks: bool, capfd: pytest.CaptureFixture[str], make: str, said: str
) -> None:
    before = child_ids(os.getpid())
    with LocalEngine(getattr(workers, make), n_workers=2, forks=forks) as engine, pytest.raises(RunError, match=said):
        engine.call("double", 1)
    assert child_ids(os.getpid()) <= before
    if make == "fails_at_start":
        assert "RuntimeError: no model here" in capfd.readouterr().err


def test_a_worker_that_never_starts_ends_the_run(
    workers: ModuleType, forks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "START_TIMEOUT_S", 0.5)
    with (
        LocalEngine(workers.hangs_at_start, n_workers=1, forks=forks) as engine,
        pytest.raises(RunError, match=r"did not start within 0\.5 s"),
    ):
        engine.call("double", 1)


def test_a_machine_that_starts_no_process_says_so(
    workers: ModuleType, forks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with (
        LocalEngine(workers.Worker, n_workers=1, forks=forks) as engine,
        pytest.raises(RunError, match="cannot be started: No such file"),
    ):
        engine.call("double", 1)


def test_no_process_is_left_when_the_engine_is_left(workers: ModuleType, forks: bool) -> None:
    before = child_ids(os.getpid())
    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        outcomes = engine.run([Task(n, "sleep", FOREVER_S if n else 0.0) for n in range(3)])
        next(outcomes)
        started = child_ids(os.getpid()) - before
        assert len(started) == (1 if forks else 2)
        workers_of = [one for parent in started for one in child_ids(parent)] if forks else list(started)
        assert len(workers_of) == 2
    assert child_ids(os.getpid()) & started == set()
    assert not any(map(is_alive, workers_of))


def test_leaving_a_run_early_leaves_no_answer_for_the_next(workers: ModuleType, forks: bool) -> None:
    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        for outcome in engine.run([Task(n, "sleep", 0.2 * n) for n in range(4)]):
            assert outcome.value == 0.0
            break
        assert engine.call("double", 21) == 42


def test_workers_end_at_once_when_their_run_is_killed(tmp_path: Path) -> None:
    """A script of a user: no guard for child processes, a killed run in the middle of two long tasks."""
    script = tmp_path / "script.py"
    script.write_text(
        "import engine_worker\n"
        "from fmltk.toolkit.run.local_engine import LocalEngine, Task\n"
        "engine = LocalEngine(engine_worker.Worker, n_workers=2, forks=True)\n"
        f"tasks = [Task(n, 'announce_and_sleep', {str(tmp_path)!r} + f'/pid{{n}}') for n in range(2)]\n"
        "list(engine.run(tasks))\n"
    )
    run = subprocess.Popen([sys.executable, script], env={**os.environ, "PYTHONPATH": str(HERE)})
    try:
        announced = [tmp_path / "pid0", tmp_path / "pid1"]
        assert wait_until(lambda: all(path.exists() and path.read_text() for path in announced))
        worker_ids = [int(path.read_text()) for path in announced]
        assert all(map(is_alive, worker_ids))
    finally:
        run.kill()
        run.wait()
    assert wait_until(lambda: not any(map(is_alive, worker_ids)))


def test_a_script_without_a_main_guard_runs_once(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import engine_worker\n"
        "from fmltk.toolkit.run.local_engine import LocalEngine\n"
        "print('started')\n"
        "with LocalEngine(engine_worker.Worker, n_workers=1, forks=True) as engine:\n"
        "    print(engine.call('double', 21))\n"
    )
    done = subprocess.run(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["started", "42"]


def test_what_a_library_prints_stays_out_of_the_result(
    workers: ModuleType, forks: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with LocalEngine(workers.Worker, n_workers=1, forks=forks) as engine:
        assert engine.call("chatter", "loading weights") == "loading weights"
        assert engine.call("double", 1) == 2
    written = capfd.readouterr()
    assert written.out == ""
    assert "loading weights" in written.err


def test_each_worker_computes_in_one_thread(workers: ModuleType, forks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in THREAD_VARIABLES:
        monkeypatch.setenv(name, "7")
    with LocalEngine(workers.Worker, n_workers=1, forks=forks) as engine:
        assert [engine.call("variable", name) for name in THREAD_VARIABLES] == ["1"] * len(THREAD_VARIABLES)
        assert engine.call("variable", "PYTHONPATH") == str(HERE)


def test_ctrl_c_reaches_the_run_which_ends_its_workers(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import engine_worker\n"
        "from fmltk.toolkit.run.local_engine import LocalEngine, Task\n"
        f"tasks = [Task(n, 'announce_and_sleep', {str(tmp_path)!r} + f'/pid{{n}}') for n in range(2)]\n"
        "try:\n"
        "    with LocalEngine(engine_worker.Worker, n_workers=2, forks=True) as engine:\n"
        "        list(engine.run(tasks))\n"
        "except KeyboardInterrupt:\n"
        "    print('stopped')\n"
    )
    run = subprocess.Popen(
        [sys.executable, script],
        env={**os.environ, "PYTHONPATH": str(HERE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    announced = [tmp_path / "pid0", tmp_path / "pid1"]
    try:
        assert wait_until(lambda: all(path.exists() and path.read_text() for path in announced))
        os.killpg(run.pid, signal.SIGINT)  # as a terminal does: to the whole group
        out, err = run.communicate()
    finally:
        run.kill()
    assert (run.returncode, out, err) == (0, "stopped\n", ""), "no worker may say anything of it"
    assert not any(is_alive(int(path.read_text())) for path in announced)


def test_nothing_runs_where_there_is_nothing_to_do(workers: ModuleType, forks: bool) -> None:
    before = child_ids(os.getpid())
    with LocalEngine(workers.Worker, n_workers=2, forks=forks) as engine:
        assert list(engine.run([])) == []
        assert child_ids(os.getpid()) <= before


needs_forks = pytest.mark.skipif(not worker_process.CAN_FORK, reason="workers are not forks here")


@needs_forks
def test_what_is_loaded_is_loaded_once_for_first_and_replaced_workers(workers: ModuleType) -> None:
    tasks = [Task(n, "be_first", None) for n in range(4)]
    with LocalEngine(workers.Worker, n_workers=2, forks=True) as engine:
        ids = {one.value for one in engine.run(tasks)}
        loaders = {one.value for one in engine.run([Task(n, "loaded", None) for n in range(4)])}
    assert len(ids) == 4
    assert len(loaders) == 1
    assert not loaders & ids


@needs_forks
def test_an_origin_that_is_killed_costs_no_task_and_is_started_again(workers: ModuleType) -> None:
    with LocalEngine(workers.Worker, n_workers=1, forks=True) as engine:
        origin, worker = engine.call("loaded", None), engine.call("process_id", None)
        os.kill(origin, signal.SIGKILL)
        assert wait_until(lambda: not is_alive(origin))
        assert engine.call("process_id", None) == worker
        (outcome,) = engine.run([Task(0, "leave", 9)])
        assert isinstance(outcome.error, WorkerDiedError)
        assert "was killed by SIGKILL" in str(outcome.error), "its status went with the origin"
        assert engine.call("loaded", None) not in (origin, None)
        assert engine.call("process_id", None) != worker
    assert not is_alive(worker)


@needs_forks
def test_where_threads_are_left_each_worker_is_a_program_of_its_own(
    workers: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fmltk.toolkit.run.worker_program._THREADS_END_S", 0.1)
    before = child_ids(os.getpid())
    with LocalEngine(workers.Threaded, n_workers=2, forks=True) as engine:
        assert [one.value for one in engine.run([Task(n, "loaded", None) for n in range(3)])] == [None] * 3
        assert len(child_ids(os.getpid()) - before) in (1, 2), "workers alone"
        assert engine.call("process_id", None) in child_ids(os.getpid())
    assert child_ids(os.getpid()) <= before


@needs_forks
def test_forks_have_the_limit_of_memory_and_temporary_files_of_their_own(workers: ModuleType) -> None:
    with LocalEngine(workers.Hungry, n_workers=2, forks=True) as engine:
        assert engine.call("take", 2_000_000_000) == 0
        assert engine.call("take", 1_000_000) == 1_000_000
        folder = engine.call("variable", "TMPDIR")
        assert engine.call("variable", "NUMBA_CACHE_DIR") == folder
        assert next(iter(engine.run([Task(0, "kill_itself", signal.SIGKILL)]))).error is not None
        assert engine.call("variable", "TMPDIR") != folder
        assert engine.call("take", 2_000_000_000) == 0
    assert not Path(folder).exists()
