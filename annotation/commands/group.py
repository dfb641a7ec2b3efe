"""The command group `fmltk annotation`: what it takes from the user and shows; the work is done in other modules."""

from __future__ import annotations

import click

from fmltk.annotation.commands.agreement import agreement
from fmltk.annotation.commands.imports import import_command
from fmltk.annotation.commands.labels import aggregate, summary
from fmltk.annotation.commands.publish import publish
from fmltk.annotation.commands.server import pull, push
from fmltk.annotation.commands.status import status
from fmltk.annotation.commands.stimuli import prepare
from fmltk.toolkit.console import CommandList

# In the order of a user's work.
COMMANDS = (prepare, push, status, pull, import_command, aggregate, agreement, summary, publish)


class _InOrder(CommandList):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name."""
        return list(self.commands)


@click.group(cls=_InOrder)
def annotation() -> None:
    """Labels from five annotators per clip: stimuli, Label Studio projects, imports, aggregation, agreement.

    \b
    fmltk annotation import exports/*.json -o ratings.parquet
    fmltk annotation aggregate ratings.parquet -o labels.parquet
    """  # noqa: D301 - click reads the backspace


for _command in COMMANDS:
    annotation.add_command(_command)
