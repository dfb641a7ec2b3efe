"""What the worker processes of test_engine.py run: imported there and in each worker, under this one name."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from typing import NoReturn

from fmltk.toolkit.errors import ClipTimeoutError, DamagedFileError, FmltkError, MediaLimitError
from fmltk.toolkit.machine import limit_memory
from fmltk.toolkit.run.engine import UsedUpWorkerError

ERRORS: dict[str, type[FmltkError]] = {
    one.__name__: one for one in (ClipTimeoutError, DamagedFileError, MediaLimitError)
}


class Worker:
    """Does as its tasks say."""

    def __init__(self) -> None:
        self.n_done = 0
        self.loaded_by: int | None = None

    def load(self) -> None:
        self.loaded_by = os.getpid()

    def loaded(self, _: object) -> int | None:
        return self.loaded_by

    def double(self, number: int) -> int:
        self.n_done += 1
        return 2 * number

    def count(self, _: object) -> int:
        return self.n_done

    def process_id(self, _: object) -> int:
        return os.getpid()

    def sleep(self, seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    def wait_for_file(self, path: str) -> None:
        while not os.path.exists(path):
            time.sleep(0.02)

    def announce_and_sleep(self, path: str) -> None:
        with open(path, "w") as file:
            file.write(str(os.getpid()))
        time.sleep(3600)

    def kill_itself(self, number: int) -> NoReturn:
        os.kill(os.getpid(), number)
        time.sleep(3600)
        raise AssertionError("not reached")

    def leave(self, status: int) -> NoReturn:
        os._exit(status)

    def fail(self, what: tuple[str, str]) -> NoReturn:
        raise ERRORS[what[0]](what[1])

    def be_first(self, _: object) -> int:
        self.n_done += 1
        if self.n_done > 1:
            raise UsedUpWorkerError
        return os.getpid()

    def crash(self, text: str) -> NoReturn:
        raise ZeroDivisionError(text)

    def chatter(self, text: str) -> str:
        print(text)
        subprocess.run([sys.executable, "-c", f"print({text!r})"], check=True)
        return text

    def variable(self, name: str) -> str | None:
        return os.environ.get(name)


class Threaded(Worker):
    """What it loads leaves a thread behind."""

    def load(self) -> None:
        super().load()
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


class Hungry(Worker):
    """May take little more memory than it has."""

    def __init__(self) -> None:
        super().__init__()
        limit_memory(300_000_000)

    def take(self, n_bytes: int) -> int:
        try:
            return len(bytearray(n_bytes))
        except MemoryError:
            return 0


def dies_at_start() -> NoReturn:
    os._exit(7)


def fails_at_start() -> NoReturn:
    raise RuntimeError("no model here")


def hangs_at_start() -> NoReturn:
    time.sleep(3600)
    raise AssertionError("not reached")
