"""What the workers of test_ray.py run: imported there and on every node, under this one name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any, NoReturn


class Worker:
    """Does as its tasks say."""

    def prepare(self, _: None) -> dict[str, Any]:
        return {"versions": {"numpy": "1"}}

    def prepare_each_differently(self, _: None) -> dict[str, Any]:
        return {"versions": {"numpy": str(os.getpid())}}

    def double(self, number: int) -> int:
        return 2 * number

    def sleep(self, seconds: float) -> int:
        time.sleep(seconds)
        return os.getpid()

    def die(self, _: object) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)
        raise AssertionError("not reached")

    def die_once(self, path: str) -> str:
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT))
            self.die(None)
        return "done"
