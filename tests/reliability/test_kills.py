"""Commands killed at random moments, then run again: the same end state, and nothing of the killed ones is left."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.processes import kill_session, session_ids
from tests.reliability.killed_commands import COMMANDS, Command, end_state, project_server, write_inputs
from tests.reliability.page import write_section

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.reliability.killed_commands import ProjectServer

N_KILLS = 40
CHEAP = ("import", "aggregate", "report")  # which a small run kills; the others load torch or the SDK
ORPHANS_END_S = 20.0
WAYS = ("SIGKILL of the command", "SIGKILL of all its processes", "SIGTERM", "SIGINT")


@dataclass
class Workshop:
    """Where commands work: a folder of inputs, and next to it one in which each command was done without a kill."""

    root: Path
    server: ProjectServer

    def whole(self, command: str) -> Path:
        """Return the folder in which a command was done without a kill."""
        return self.root / f"whole-{command}"

    def prepare(self, command: Command, folder: Path) -> set[str]:
        """Copy what a command starts from; return the names of those files."""
        for source in (self.root / "inputs", *map(self.whole, command.needs)):
            shutil.copytree(source, folder, dirs_exist_ok=True)
        return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - self.written(command)

    def written(self, command: Command) -> set[str]:
        """Return what an earlier command wrote that this one writes too: `pad` the tables of `extract`."""
        tables = {f"features/{name}.parquet" for name in ("manifest", "audio", "vision", "faces")}
        return tables if command.name == "pad" else set()

    def start(self, command: Command, folder: Path) -> subprocess.Popen[str]:
        scratch = folder.with_name(f"{folder.name}-tmp")
        scratch.mkdir(exist_ok=True)
        own = {"TMPDIR": str(scratch), "XDG_CONFIG_HOME": str(scratch / "config"), "LABEL_STUDIO_API_KEY": "token"}
        return subprocess.Popen(
            command.argv(self.server.url), cwd=folder, env={**os.environ, **own}, start_new_session=True, text=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip

    def finish(self, command: Command, folder: Path) -> None:
        program = self.start(command, folder)
        _, messages = program.communicate()
        assert program.returncode == 0, f"{command.name}: {messages}"
        assert "Traceback" not in messages


def kill(program: subprocess.Popen[str], way: str) -> None:
    """End a command in one of `WAYS`; return once all its processes are gone, which takes seconds at most."""
    if way == WAYS[1]:
        kill_session(program.pid)
    else:
        number = {WAYS[0]: signal.SIGKILL, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}[way]
        program.send_signal(number)
    _, messages = program.communicate()
    assert "Traceback" not in messages, messages
    end = time.monotonic() + ORPHANS_END_S
    while session_ids(program.pid):
        assert time.monotonic() < end, f"processes are left {ORPHANS_END_S:g} s after {way}"
        time.sleep(0.02)


def scratch_left(folder: Path) -> list[str]:
    scratch = folder.with_name(f"{folder.name}-tmp")
    return [path.name for path in scratch.iterdir() if path.name.startswith("fmltk")]


@pytest.mark.slow
def test_killed_commands_end_in_the_same_state_without_litter(
    tmp_path: Path, sized: Callable[[int], int], request: pytest.FixtureRequest
) -> None:
    is_full = request.config.getoption("--full-size")
    commands = [one for one in COMMANDS if is_full or one.name in CHEAP]
    n_kills = max(sized(N_KILLS), len(commands))
    draw = random.Random(0)
    with project_server() as server:
        (tmp_path / "inputs").mkdir()
        write_inputs(tmp_path / "inputs", {one.name for one in commands})
        shop = Workshop(tmp_path, server)
        expected, seconds = {}, {}
        for command in commands:
            folder = shop.whole(command.name)
            inputs = shop.prepare(command, folder)
            started = time.monotonic()
            shop.finish(command, folder)
            seconds[command.name] = time.monotonic() - started
            expected[command.name] = (end_state(folder, inputs), server.held.state())
        done: Counter[tuple[str, str]] = Counter()
        started = time.monotonic()
        for number in range(n_kills):
            command = commands[number % len(commands)]
            way = WAYS[number // len(commands) % len(WAYS)] if is_full else WAYS[0]
            folder = tmp_path / f"killed-{number}"
            inputs = shop.prepare(command, folder)
            server.held.settings.clear()
            server.held.tasks.clear()
            moment = draw.uniform(0.1, 1.0) * seconds[command.name]
            program = shop.start(command, folder)
            time.sleep(moment)
            kill(program, way)
            shop.finish(command, folder)
            about = f"{command.name}, {way} after {moment:.2f} of {seconds[command.name]:.2f} s"
            state, projects = expected[command.name]
            found = end_state(folder, inputs)
            assert sorted(found) == sorted(state), about
            assert [name for name, content in found.items() if content != state[name]] == [], about
            assert command.name != "push" or server.held.state() == projects, about
            assert scratch_left(folder) == [], about
            done[command.name, way] += 1
            shutil.rmtree(folder)
    if is_full:
        write_section("kills", report(done, time.monotonic() - started))


def report(done: Counter[tuple[str, str]], seconds: float) -> str:
    """Return what docs/reliability.md says of the kills."""
    lines = [
        f"{sum(done.values())} commands ended at random moments of their work, in {seconds / 60:.1f} minutes. Run "
        "again, each ended in the state of a run that nobody ended, byte for byte, without a temporary file, a lock or "
        "a process of the first.",
        "",
        f"| command | {' | '.join(WAYS)} |",
        f"|---|{'---:|' * len(WAYS)}",
    ]
    names = dict.fromkeys(name for name, _ in done)
    lines += [f"| {name} | {' | '.join(str(done[name, way]) for way in WAYS)} |" for name in names]
    return "\n".join(lines)
