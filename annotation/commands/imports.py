"""`fmltk annotation import`, and what an import shows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from fmltk.annotation.commands.paths import CLIPS, PARQUET, refuse_overwriting
from fmltk.annotation.raters import RaterNames
from fmltk.annotation.settings import FILE, ImportOptions
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options
from fmltk.toolkit.option_types import out_option

if TYPE_CHECKING:
    from pathlib import Path

    from fmltk.annotation.importing.import_files import ImportReport
    from fmltk.toolkit.console import Reporter

OVERWRITE = click.option(
    "--overwrite", is_flag=True, help="Start again; without it, ratings are added to those in the output."
)


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=FILE)
@out_option("output", type=PARQUET, required=True, help="The ratings, such as ratings.parquet.")
@settings_options(ImportOptions, "options")
@settings_options(RaterNames, "names")
@CLIPS
@OVERWRITE
@output_options
def import_command(
    files: tuple[Path, ...],
    *,
    output: Path,
    options: ImportOptions,
    names: RaterNames,
    clips: Path | None,
    overwrite: bool,
    reporter: Reporter,
) -> None:
    r"""Read exports of Label Studio, or plain tables of ratings, into one table of ratings.

    FILES are JSON, JSON_MIN, CSV or TSV exports, snapshots, exports before 1.0, a long CSV (utterance_id, condition,
    annotator, value), a wide CSV (utterance_id, condition, one column per annotator), such tables as spreadsheets, or
    other ratings.parquet. A report next to the output says what was read, and what was dropped and why.

    \b
    fmltk annotation import AT.json VT.json AV.json -o ratings.parquet
    fmltk annotation import sheet.csv -o ratings.parquet --condition AT --label Negative=-1
    fmltk annotation import sliders.csv -o ratings.parquet --condition M --scale 0..100:continuous
    fmltk annotation import vad.csv -o ratings.parquet --condition T --dimension valence=V --dimension arousal=A
    """
    from fmltk.annotation.importing.import_files import import_ratings

    if overwrite:
        refuse_overwriting(output, files)
    report = import_ratings(files, output, replace(options, names=names), clips=clips, overwrite=overwrite)
    show_import(report, output, reporter)


def show_import(report: ImportReport, output: Path, reporter: Reporter) -> None:
    """Show what was read and dropped."""
    from fmltk.annotation.importing.import_files import dropped_path
    from fmltk.annotation.ratings import FLAGS, STATUSES

    if reporter.json_output:
        reporter.json({"output": output, **report.as_dict()})
        return
    reporter.table(
        ("file", "format", "annotations", *STATUSES, "dropped"),
        [
            (
                file.file,
                file.format,
                file.annotations,
                *(file.kept.get(status, 0) for status in STATUSES),
                sum(file.dropped.values()),
            )
            for file in report.files
        ],
    )
    if report.dropped or report.read_again:
        reporter.table(("dropped", "count", "why"), _dropped_rows(report))
    if report.flags:
        flags = [(name, count, FLAGS[name]) for name, count in sorted(report.flags.items())]
        reporter.table(("flag", "count", "meaning"), flags, title=f"Protocol: {report.protocol}")
    reporter.table(
        ("condition", "scale", "clips", "annotators", *STATUSES),
        [(name, report.scales[name], *counts.values()) for name, counts in report.conditions.items()],
    )
    _show_remarks(report, reporter)
    if not report.n_ratings:
        reporter.warn(f"{output} contains no rating: nothing that was read has one")
    reporter.say(f"{report.n_ratings} rows in {output}; every dropped annotation is a line of {dropped_path(output)}")
    if report.n_ratings:
        reporter.suggest("annotation", "agreement", output)


def _dropped_rows(report: ImportReport) -> list[tuple[str, int, str]]:
    from fmltk.annotation.importing.records import REASONS

    rows = [(name, count, REASONS[name]) for name, count in sorted(report.dropped.items())]
    if report.read_again:
        rows.append(("read again", report.read_again, "the same annotation was read before: it counts once"))
    return rows


def _show_remarks(report: ImportReport, reporter: Reporter) -> None:
    for file in report.files:
        if file.lacks:
            reporter.say(f"{file.file}: {file.format} does not contain {', '.join(file.lacks)}")
        if file.tasks_without_annotation:
            reporter.say(f"{file.file}: {file.tasks_without_annotation} tasks have no annotation yet")
        if file.columns:
            reporter.say(file.columns)
        for remark in file.remarks:
            reporter.warn(f"{file.file}: {remark}")
    for note in report.notes:
        reporter.say(note)
    for remark in report.remarks:
        reporter.warn(remark)
