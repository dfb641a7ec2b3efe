"""Output for people: progress, tables, warnings, errors. Bars and colours only on a terminal, plain lines when piped.

Only this module writes to stdout and stderr; all that it writes is printable (`fmltk.toolkit.io.printable`).
"""

from __future__ import annotations

import io
import math
import shlex
import sys
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.io.printable import printable, printable_json, printable_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import TracebackType

    from rich.console import Console

MOST_DECIMALS = 4  # of a column of a table; where its numbers differ more, each has its own
PLAIN_INTERVAL_S = 10.0  # how often a piped run reports where it is


@dataclass(slots=True)
class Progress:
    """How far a long job is: `advance` counts what is done, `note` stands next to it."""

    update: Callable[[int, str], None]

    def advance(self, n: int = 1, note: str = "") -> None:
        """Count `n` more items."""
        self.update(n, note)


@dataclass(frozen=True, slots=True)
class LiveView:
    """The view of running work: a line on the whole, and a table of the parts in work."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass
class Reporter:
    """The output of a command: results to stdout, everything else to stderr.

    With `quiet`, only results and errors are written; with `json_output`, tables are left out, for the command
    writes one JSON document to stdout instead. `warnings` holds every warning, written or not.
    """

    quiet: bool = False
    json_output: bool = False
    warnings: list[str] = field(default_factory=list)

    @property
    def silent(self) -> bool:
        """Whether progress and remarks are left out."""
        return self.quiet or self.json_output

    def say(self, message: str) -> None:
        """Write one line for people."""
        if not self.silent:
            echo_error(message)

    def suggest(self, *words: object) -> None:
        """Say which command of fmltk makes sense next, so that it can be copied as it stands."""
        self.say(f"next: {shlex.join(['fmltk', *map(str, words)])}")

    def warn(self, message: str) -> None:
        """Write one warning, once, also with --json: only --quiet leaves it out."""
        if message in self.warnings:
            return
        self.warnings.append(message)
        if not self.quiet:
            echo_error(f"Warning: {message}")

    def json(self, document: object) -> None:
        """Write one JSON document to stdout, NaN as null."""
        from fmltk.toolkit.io.documents import json_text

        is_unicode = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
        click.echo(printable_json(json_text(document, ensure_ascii=not is_unicode, indent=2)))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
        """Write a table to stdout; numbers are right-aligned. Left out with --json.

        If the terminal is too narrow for whole words side by side, each row becomes lines of "column  value".
        """
        if self.json_output:
            return
        from rich.measure import Measurement
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False, header_style="bold")
        for index, column in enumerate(columns):
            numeric = all(isinstance(row[index], int | float | None) or row[index] in ("", "-") for row in rows)
            table.add_column(Text(printable(column)), justify="right" if numeric else "left", overflow="fold")
        cells = list(zip(*(_cells(values) for values in zip(*rows, strict=True)), strict=True))
        for row in cells:
            table.add_row(*map(Text, row))  # Text: nothing in a cell is markup
        console = _console(sys.stdout)
        if title:  # not the table's own, which is folded to the width of its columns
            console.print(Text(printable(title), style="italic"))
        wide_enough = Measurement.get(console, console.options.update_width(10_000), table).minimum <= console.width
        if wide_enough or len(columns) < 3 or not sys.stdout.isatty():
            console.print(table)
            return
        records = Table(box=None, pad_edge=False, show_header=False)
        records.add_column(style="bold", no_wrap=True)
        records.add_column(overflow="fold")
        for number, row in enumerate(cells):
            for column, cell in zip(columns, row, strict=True):
                records.add_row(Text(printable(column)), Text(cell))
            if number < len(rows) - 1:
                records.add_row()
        console.print(records)

    @contextmanager
    def live(self, view: Callable[[], LiveView]) -> Iterator[bool]:
        """Show what `view` returns, twice a second, below what is said meanwhile; give whether that is shown.

        It is on a terminal alone: in a pipe the caller says plain lines. `view` is called in another thread.
        """
        if self.silent or not sys.stderr.isatty():
            yield False
            return
        from rich.live import Live

        def render() -> Any:
            return _live_table(view())

        with Live(get_renderable=render, console=_console(sys.stderr), refresh_per_second=2, transient=True):
            yield True

    @contextmanager
    def progress(self, label: str, total: int, *, unit: str = "clips", done: int = 0) -> Iterator[Progress]:
        """Show how far a job of `total` items is: a bar with rate and time left on a terminal, else plain lines."""
        label = printable(label)
        if self.silent or total == 0:
            yield Progress(lambda n, note: None)
        elif sys.stderr.isatty():
            with self._bar(label, _Count(total, done, unit)) as progress:
                yield progress
        else:
            yield self._plain_lines(label, _Count(total, done, unit))

    @contextmanager
    def _bar(self, label: str, count: _Count) -> Iterator[Progress]:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[tail]}", markup=False),
            TimeRemainingColumn(),
        )
        with RichProgress(*columns, console=_console(sys.stderr), transient=True) as bars:
            task = bars.add_task(label, total=count.total, completed=count.done, tail=count.unit)

            def update(n: int, note: str) -> None:
                count.done += n
                bars.update(task, completed=count.done, tail=count.tail(note))

            yield Progress(update)

    def _plain_lines(self, label: str, count: _Count) -> Progress:
        printed_at = count.started

        def update(n: int, note: str) -> None:
            nonlocal printed_at
            count.done += n
            now = time.monotonic()
            if now - printed_at < PLAIN_INTERVAL_S and count.done < count.total:
                return
            printed_at = now
            rate = count.rate()
            left_s = (count.total - count.done) / rate if rate else 0.0
            echo_error(f"{label}: {count.done}/{count.total} {count.tail(note)}, {left_s:.0f} s left")

        return Progress(update)


class _Count:
    """How many items of a job are done, of how many, and how fast they go."""

    def __init__(self, total: int, done: int, unit: str) -> None:
        self.total, self.done, self.unit = total, done, unit
        self.started = time.monotonic()
        self._first = done

    def rate(self) -> float:
        """Return items per second since the start."""
        return (self.done - self._first) / max(time.monotonic() - self.started, 1e-9)

    def tail(self, note: str) -> str:
        """Return what follows the count: the unit, the note, the rate."""
        rate = f"{self.rate():.2g}" if self.rate() < 100 else f"{self.rate():.0f}"
        return ", ".join(part for part in (self.unit, printable(note), f"{rate} {self.unit}/s") if part)


def _live_table(view: LiveView) -> Any:
    """Return a table that is one line per row however narrow the terminal, since it is drawn over itself."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in view.columns:
        table.add_column(Text(printable(column)), no_wrap=True)
    for row in view.rows:
        table.add_row(*(Text(printable(str(cell))) for cell in row))
    title = Text(printable(view.title), no_wrap=True, overflow="ellipsis")
    return Group(title, table) if view.rows else title


def _console(stream: Any) -> Console:
    from rich.console import Console

    width = None if stream.isatty() else 200  # piped tables are not folded at 80 columns
    return Console(file=stream, highlight=False, markup=False, emoji=False, width=width)


def _cells(values: Sequence[object]) -> list[str]:
    """Return the texts of one column: floats to four digits, all with as many decimals where few are enough."""
    texts = [f"{value:.4g}" for value in values if isinstance(value, float) and math.isfinite(value)]
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    alike = decimals <= MOST_DECIMALS and not any("e" in text for text in texts)
    form = f".{decimals}f" if alike else ".4g"

    def cell(value: object) -> str:
        if isinstance(value, float):
            return "-" if math.isnan(value) else f"{value:{form}}"
        return "-" if value is None else printable(str(value))

    return [cell(value) for value in values]


def echo_error(message: str) -> None:
    """Write one line to stderr; above a bar or a live view, where one is shown.

    rich puts itself in the place of sys.stderr while it draws, which click's echo goes past.
    """
    print(printable(message), file=sys.stderr, flush=True)


def echo_usage_error(error: click.ClickException) -> None:
    """Write what click says of a wrong command line to stderr, its lines as they are."""
    text = io.StringIO()
    error.show(file=text)
    click.echo(printable_lines(text.getvalue()), nl=False, err=True)


def echo_traceback(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write the traceback of an error that fmltk did not foresee to stderr; it may stand as ``sys.excepthook``."""
    click.echo(printable_lines("".join(traceback.format_exception(kind, error, trace))), nl=False, err=True)


class CommandList(click.Group):
    """A group whose help shows the whole first sentence of each command, however narrow the terminal."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands."""
        commands = ((name, self.get_command(ctx, name)) for name in self.list_commands(ctx))
        rows = [(name, command.get_short_help_str(limit=1000)) for name, command in commands if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


def spreadsheet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --spreadsheet-safe to a command that writes a CSV."""
    text = "In a CSV, put an apostrophe before texts that a spreadsheet would run as a formula."
    return click.option("--spreadsheet-safe", is_flag=True, help=text)(command)


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --quiet and --json to a command, as its parameter `reporter`."""
    import functools

    @click.option("--quiet", "-q", is_flag=True, help="Write results and errors only.")
    @click.option("--json", "json_output", is_flag=True, help="Write the result as one JSON document to stdout.")
    @functools.wraps(command)
    def wrapped(*args: Any, quiet: bool, json_output: bool, **kwargs: Any) -> Any:
        return command(*args, reporter=Reporter(quiet=quiet, json_output=json_output), **kwargs)

    # click's mark before lines that are not to be joined is the character; raw docstrings hold it as two.
    wrapped.__doc__ = (command.__doc__ or "").replace("\\b", "\b")
    return wrapped
