"""The `fmltk` command. Its commands are entry points of the group ``fmltk.commands``: this imports none of them."""

from __future__ import annotations

import difflib
import io
import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.console import CommandList, echo_error, echo_traceback, echo_usage_error
from fmltk.toolkit.errors import FmltkError

if TYPE_CHECKING:
    from collections.abc import Sequence

COMMAND_GROUP = "fmltk.commands"
# The order of a user's work; commands that are not named here follow in alphabetical order.
COMMAND_ORDER = (
    *("demo", "extract", "pad", "annotation", "dataset"),
    *("train", "evaluate", "compare", "predict", "cases", "report", "doctor"),
)


class CommandGroup(CommandList):
    """A group whose commands are entry points, loaded when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name, in the order of a user's work."""
        names = {point.name for point in metadata.entry_points(group=COMMAND_GROUP)}
        return [name for name in COMMAND_ORDER if name in names] + sorted(names.difference(COMMAND_ORDER))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of that name, or None."""
        for point in metadata.entry_points(group=COMMAND_GROUP, name=cmd_name):
            command = point.load()
            assert isinstance(command, click.Command)  # noqa: S101 - our own entry point, not input
            return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Name the nearest command where there is none of that name."""
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
    fmltk annotation import AT.json VT.json -o ratings.parquet     raters' exports
    fmltk annotation aggregate ratings.parquet -o labels.parquet   five raters, one label
    fmltk train features/ --labels labels.parquet -o runs/first    three stages, then fusion
    fmltk report features/ runs/first --videos videos/             all of it in one HTML file
    """  # noqa: D301 - click's mark \b is the character


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; expected errors are one line on stderr and exit code 1."""
    sys.excepthook = echo_traceback
    arguments: Any = None if argv is None else list(argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name that the terminal cannot show is no reason to fail
    try:
        code = fmltk.main(args=arguments, prog_name="fmltk", standalone_mode=False)
    except click.exceptions.Abort:
        echo_error("Stopped. What was done is kept; the same command goes on from there.")
        sys.exit(130)
    except click.ClickException as error:
        echo_usage_error(error)
        sys.exit(error.exit_code)
    except FmltkError as error:
        echo_error(f"Error: {error}")
        sys.exit(1)
    sys.exit(code if isinstance(code, int) else 0)
