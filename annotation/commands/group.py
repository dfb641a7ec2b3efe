"""The command group `fmltk annotation`: what it takes from the user and shows; the work is done in other modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from fmltk.annotation.commands.labels import aggregate, agreement, summary
from fmltk.annotation.commands.options import (
    FILE,
    PARQUET,
    import_options,
    parse_condition,
    reading_options,
    refuse_overwriting,
    show_import,
)
from fmltk.annotation.commands.server import prepare, pull, push, status
from fmltk.toolkit.console import CommandList

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.toolkit.console import Reporter


class _InOrder(CommandList):
    """A group that lists its commands in the order of a user's work."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return every command's name."""
        return ["prepare", "push", "status", "pull", "import", "aggregate", "agreement", "summary"]


@click.group(cls=_InOrder)
def annotation() -> None:
    """Labels from five raters per clip: stimuli, Label Studio projects, imports, aggregation, agreement.

    \b
    fmltk annotation import exports/*.json -o ratings.parquet
    fmltk annotation aggregate ratings.parquet -o labels.parquet
    """  # noqa: D301 - click reads the backspace


@annotation.command("import")
@click.argument("files", nargs=-1, required=True, type=FILE)
@click.option("--output", "-o", type=PARQUET, required=True, help="The ratings, such as ratings.parquet.")
@click.option("--condition", help="Condition of tasks that do not say theirs: M, T, A, V, AT, VT or AV.")
@click.option("--id-field", help="The task's data field that names the clip, where it is not utterance_id.")
@click.option("--encoding", default="utf-8", show_default=True, help="Encoding of CSV and TSV files.")
@reading_options
def import_(
    files: tuple[Path, ...],
    output: Path,
    condition: str | None,
    id_field: str | None,
    encoding: str,
    overwrite: bool,
    reporter: Reporter,
    **reading: Any,
) -> None:
    r"""Read exports of Label Studio, or plain tables of ratings, into one table of ratings.

    FILES are JSON, JSON_MIN, CSV or TSV exports, snapshots, exports before 1.0, a long CSV (utterance_id, condition,
    annotator, value), a wide CSV (utterance_id, condition, one column per rater), or other ratings.parquet. What was
    read, and what was dropped and why, is written beside the output.

    \b
    fmltk annotation import AT.json VT.json AV.json -o ratings.parquet
    fmltk annotation import sheet.csv -o ratings.parquet --condition AT --label Negative=-1
    """
    from fmltk.annotation.importing.import_files import import_ratings

    if overwrite:
        refuse_overwriting(output, files)
    options = import_options(
        condition=None if condition is None else parse_condition(condition),
        id_field=id_field,
        encoding="utf-8-sig" if encoding.lower() in ("utf-8", "utf8") else encoding,
        **reading,
    )
    show_import(import_ratings(files, output, options, overwrite=overwrite), output, reporter)


for _command in (aggregate, agreement, summary, prepare, push, status, pull):
    annotation.add_command(_command)
