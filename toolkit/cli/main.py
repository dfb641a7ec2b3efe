"""The `fmltk` command. Its commands are entry points of the group ``fmltk.commands``: this imports none of them."""

from __future__ import annotations

import difflib
import errno
import functools
import signal
import sys
import threading
import warnings
from contextlib import contextmanager
from importlib import metadata
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fmltk.toolkit.console import CommandList, echo_error, echo_traceback, echo_usage_error
from fmltk.toolkit.errors import FmltkError
from fmltk.toolkit.io.files import is_full
from fmltk.toolkit.io.standard_streams import READER_GONE, guard_standard_streams, stream_fault

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMMAND_GROUP = "fmltk.commands"
# The order of a user's work; commands that are not named here follow in alphabetical order.
COMMAND_ORDER = (
    *("demo", "extract", "pad", "curate", "align", "annotation", "dataset"),
    *("train", "evaluate", "compare", "benchmark", "tune", "ablate", "predict", "cases", "report", "doctor"),
)


@functools.cache
def _commands() -> Mapping[str, metadata.EntryPoint]:
    """Return the entry points of the commands by name; to find them, the files of every installed package are read."""
    return {point.name: point for point in reversed(list(metadata.entry_points(group=COMMAND_GROUP)))}


class CommandGroup(CommandList):
    """A group whose commands are entry points, loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name, in the order of a user's work."""
        names = set(_commands())
        return [name for name in COMMAND_ORDER if name in names] + sorted(names.difference(COMMAND_ORDER))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        point = _commands().get(cmd_name)
        if point is None:
            return None
        command = point.load()
        assert isinstance(command, click.Command)  # noqa: S101 - our own entry point, not input
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command if the name is not one."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), n=1)
            if not near or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near[0]!r}?", ctx) from error


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="fmltk", message="fmltk %(version)s")
def fmltk() -> None:
    """From a folder of videos to a trained multimodal sentiment model.

    \b
    fmltk extract videos/ -o features/                             features of every clip
    fmltk annotation import AT.json VT.json -o ratings.parquet     annotators' exports
    fmltk annotation aggregate ratings.parquet -o labels.parquet   five annotators, one label
    fmltk train features/ --labels labels.parquet -o runs/first    three stages, then fusion
    fmltk report features/ runs/first --videos videos/             all of it in one HTML file
    """  # noqa: D301 - click's mark \b is the character


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; expected errors are one line on stderr and exit code 1."""
    sys.excepthook = echo_traceback
    guard_standard_streams()
    with warnings.catch_warnings(), _cleaning_up_when_ended():
        warnings.showwarning = _show_warning
        code = _run(None if argv is None else list(argv))
    sys.exit(_settled(code))


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    """Show a warning of a library, or of code that has no reporter, as all warnings are shown."""
    echo_error(f"Warning: {message}")


def _run(arguments: Any) -> int:
    """Run one command and return its exit code."""
    try:
        code = fmltk.main(args=arguments, prog_name="fmltk", standalone_mode=False)
    except click.exceptions.Abort:
        echo_error("Stopped. Finished work is kept; the same command continues from there.")
        return 130
    except click.ClickException as error:
        echo_usage_error(error)
        return error.exit_code
    except FmltkError as error:
        echo_error(f"Error: {error}")
        return 1
    except OSError as error:
        if not is_full(error):
            raise
        where = f" for {error.filename}" if error.filename else ""
        echo_error(f"Error: no space left{where}; free some space (temporary files are in TMPDIR), then run this again")
        return 1
    return code if isinstance(code, int) else 0


def _settled(code: int) -> int:
    """Return the exit code once everything is written: never 0 where a result or a message is lost."""
    fault = stream_fault(sys.stdout)
    if fault is not None and fault.errno != errno.EPIPE:
        echo_error(f"Error: cannot write the result to stdout: {fault.strerror}; direct it to another file")
    fault = fault or stream_fault(sys.stderr)
    if fault is None:
        return code
    return code or (READER_GONE if fault.errno == errno.EPIPE else 1)


@contextmanager
def _cleaning_up_when_ended() -> Iterator[None]:
    """Let `kill`, and a terminal that closes, end the command as Ctrl-C does: temporary files are removed first.

    A second one ends it at once. Signals that are ignored, as under nohup, stay ignored.
    """
    kept: dict[int, Any] = {}

    def end(number: int, frame: object) -> NoReturn:
        signal.signal(number, signal.SIG_DFL)
        sys.exit(128 + number)  # what a shell reports of a program that the signal ended

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                kept[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for ending, handler in kept.items():
            signal.signal(ending, handler)
