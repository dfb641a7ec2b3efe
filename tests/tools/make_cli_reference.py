"""Write docs/cli.md, the reference of every command, from the commands themselves.

python tests/tools/make_cli_reference.py
"""

from __future__ import annotations

import inspect
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fmltk.toolkit.cli.main import COMMAND_GROUP, COMMAND_ORDER, fmltk

if TYPE_CHECKING:
    from collections.abc import Iterator

TARGET = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
HEADER = """# Commands

Written by `tests/tools/make_cli_reference.py` from the commands' own help; do not edit. Exit codes, completion and what
all commands share are in [Five minutes](start.md#help-where-you-are).
"""


def every_command(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    """Yield (name, command) of a command and all below it."""
    yield name, command
    if isinstance(command, click.Group):
        for part in sorted(command.commands):
            yield from every_command(command.commands[part], f"{name} {part}")


def paragraphs(text: str) -> Iterator[str]:
    r"""Yield a help text as Markdown: a paragraph after \b keeps its lines, one of commands becomes an example."""
    for block in inspect.cleandoc(text).split("\n\n"):
        lines = block.splitlines()
        if lines[0].strip() != "\b":
            yield escaped(" ".join(lines))
            continue
        kept = [line for line in lines if line.strip() != "\b"]
        if all(line.startswith(("fmltk ", " ")) for line in kept):
            yield "\n".join(["```text", *kept, "```"])
        else:
            yield "  \n".join(escaped(line) for line in kept)


def escaped(text: str) -> str:
    """Return text in which Markdown sees no markup and no end of a table's cell."""
    for character in "\\|<>*_[]":
        text = text.replace(character, f"\\{character}")
    return text


def section(name: str, command: click.Command) -> str:
    """Return one command's part of the page."""
    context = click.Context(command, info_name=f"fmltk {name}", max_content_width=100, terminal_width=100)
    usage = " ".join(command.collect_usage_pieces(context))
    parts = [f"{'#' * (2 + name.count(' '))} fmltk {name}", *paragraphs(command.help or "")]
    if isinstance(command, click.Group):
        return "\n\n".join(parts)
    parts.append(f"```text\nfmltk {name} {usage}\n```")
    rows = ["| option | meaning |", "|---|---|"]
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None and "--help" not in parameter.opts:
            rows.append(f"| `{record[0].replace('|', chr(92) + '|')}` | {escaped(' '.join(record[1].split()))} |")
    return "\n\n".join([*parts, "\n".join(rows)])


def reference() -> str:
    """Return the whole page."""
    names = {point.name for point in metadata.entry_points(group=COMMAND_GROUP)}
    ordered = [name for name in COMMAND_ORDER if name in names] + sorted(names.difference(COMMAND_ORDER))
    context = click.Context(fmltk)
    found = []
    for name in ordered:
        command = fmltk.get_command(context, name)
        assert command is not None
        found += [section(*pair) for pair in every_command(command, name)]
    return "\n\n".join([HEADER.strip(), *found]) + "\n"


if __name__ == "__main__":
    TARGET.write_text(reference(), encoding="utf-8")
