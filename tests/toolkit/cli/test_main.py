"""The command line: exit codes, one line per expected error, and help that names every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

import click
import pytest

from fmltk.toolkit.cli import main as cli
from fmltk.toolkit.cli.main import COMMAND_GROUP, CommandGroup, fmltk, main
from fmltk.toolkit.errors import ConfigError, DamagedFileError

FMLTK = str(Path(sys.executable).with_name("fmltk"))
COMMANDS = sorted(point.name for point in metadata.entry_points(group=COMMAND_GROUP))


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, **environment}
    return subprocess.run([FMLTK, *arguments], capture_output=True, text=True, check=False, env=env)


def leave(monkeypatch: pytest.MonkeyPatch, action: Any) -> int:
    """Run main with one command that does `action`; return the exit code."""

    @click.command("act")
    def act() -> Any:
        return action()

    monkeypatch.setattr(CommandGroup, "get_command", lambda self, ctx, name: act if name == "act" else None)
    with pytest.raises(SystemExit) as left:
        main(["act"])
    return int(left.value.code or 0)


def throw(error: BaseException) -> Any:
    def action() -> NoReturn:
        raise error

    return action


@pytest.mark.installed
def test_help_names_every_command() -> None:
    done = run("--help")
    assert done.returncode == 0
    listed = re.findall(r"^  (\w+)  ", done.stdout.partition("Commands:")[2], re.MULTILINE)
    assert sorted(listed) == COMMANDS
    assert listed[:3] == ["demo", "extract", "pad"], "in the order of a user's work"
    assert "\\b" not in done.stdout
    assert run("-h").stdout == done.stdout


@pytest.mark.installed
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_its_examples_on_lines_of_their_own(name: str) -> None:
    command = fmltk.get_command(click.Context(fmltk), name)
    assert command is not None
    pending = [command]
    while pending:
        one = pending.pop()
        shown = one.get_help(click.Context(one, info_name=name))
        assert one.help, f"{one.name} says nothing of itself"
        assert "\\b" not in shown, f"{one.name}: click's mark must be the character"
        pending += one.commands.values() if isinstance(one, click.Group) else []


@pytest.mark.installed
def test_the_version_is_that_of_the_package() -> None:
    assert run("--version").stdout == f"fmltk {metadata.version('fmltk')}\n"


@pytest.mark.installed
def test_a_misspelt_command_names_the_nearest_one() -> None:
    done = run("extrct", "videos")
    assert done.returncode == 2
    assert "No such command 'extrct'. Did you mean 'extract'?" in done.stderr
    done = run("sing")
    assert done.returncode == 2
    assert "No such command 'sing'." in done.stderr
    assert "Did you mean" not in done.stderr


@pytest.mark.installed
def test_wrong_usage_is_exit_code_2_with_the_reason() -> None:
    done = run("extract", "videos", "--lambda", "-1")
    assert done.returncode == 2
    assert "--lambda" in done.stderr
    assert run("extract").returncode == 2
    assert run().returncode == 2


@pytest.mark.installed
def test_an_expected_error_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    done = run("extract", str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert (
        line
        == f"Error: {tmp_path}/nowhere does not exist; give a video, a folder of videos or a table with a path column"
    )


@pytest.mark.parametrize(
    ("action", "code", "said"),
    [
        (throw(ConfigError("no such preset")), 1, "Error: no such preset\n"),
        (throw(DamagedFileError("half a file")), 1, "Error: half a file\n"),
        (throw(click.UsageError("too many cooks")), 2, "Error: too many cooks\n"),
        (throw(KeyboardInterrupt()), 130, "Stopped. Finished work is kept; the same command continues from there.\n"),
        (lambda: 3, 3, ""),
        (lambda: None, 0, ""),
        (lambda: "text", 0, ""),
        (lambda: click.get_current_context().exit(4), 4, ""),
    ],
)
def test_each_end_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], action: Any, code: int, said: str
) -> None:
    assert leave(monkeypatch, action) == code
    written = capsys.readouterr()
    assert written.err.endswith(said)
    assert bool(written.err.strip()) is bool(said)
    assert "Traceback" not in written.err


def test_an_unforeseen_error_is_shown_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ZeroDivisionError):
        leave(monkeypatch, throw(ZeroDivisionError()))


def test_a_reader_that_has_gone_is_no_error() -> None:
    program = subprocess.Popen([FMLTK, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stdout is not None
    assert program.stderr is not None
    program.stdout.close()
    assert program.stderr.read() == ""
    assert program.wait() != 0
    program.stderr.close()


def test_a_terminal_that_cannot_show_a_name_shows_its_code() -> None:
    code = (
        "import click\nfrom fmltk.toolkit.cli.main import CommandGroup, main\n"
        "act = click.Command('act', callback=lambda: click.echo('clip 你好 \\udcff'))\n"
        "CommandGroup.get_command = lambda self, ctx, name: act\nmain(['act'])\n"
    )
    for encoding, shown in (("latin-1", "clip \\u4f60\\u597d \\udcff\n"), ("utf-8", "clip 你好 \\udcff\n")):
        done = subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"},
            capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.decode(encoding) == shown


class PointsByName(tuple[metadata.EntryPoint, ...]):
    """Entry points as Python 3.12 and later have them: brackets take a name, not a position."""

    def __getitem__(self, name: Any) -> Any:
        return next(point for point in self if point.name == name)


def test_commands_are_found_with_the_entry_points_of_every_python(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [metadata.EntryPoint(name, "nowhere", COMMAND_GROUP) for name in ("extract", "train", "extract")]
    monkeypatch.setattr(metadata, "entry_points", lambda group: PointsByName(points))
    found = cli._commands.__wrapped__()
    assert set(found) == {"extract", "train"}
    assert found["extract"] is points[0], "the first on the path counts"


def test_commands_without_a_place_in_the_order_follow_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [metadata.EntryPoint(name, "x:y", COMMAND_GROUP) for name in ("zebra", "train", "apple", "extract")]
    monkeypatch.setattr(cli, "_commands", lambda: {point.name: point for point in points})
    assert fmltk.list_commands(click.Context(fmltk)) == ["extract", "train", "apple", "zebra"]


@pytest.mark.parametrize("group", [[], ["annotation"], ["dataset"]])
def test_lists_of_commands_are_not_cut_off(group: list[str]) -> None:
    listed = run(*group, "--help", COLUMNS="80").stdout.split("Commands:")[1]
    assert listed.count("\n") > 3
    assert not [line for line in listed.splitlines() if line.endswith("...") and "s3://..." not in line]
    assert max(map(len, listed.splitlines())) <= 80
