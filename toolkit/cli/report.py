"""The command `fmltk report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fmltk.toolkit.console import output_options
from fmltk.toolkit.option_types import SCALE, out_option

if TYPE_CHECKING:
    from fmltk.toolkit.console import Reporter

PATH = click.Path(path_type=Path)


@click.command()
@click.argument("paths", nargs=-1, required=True, type=PATH)
@out_option("output", type=PATH, default=Path("report.html"), show_default=True, help="The report.")
@click.option("--videos", type=PATH, help="The videos that extract read; makes the clips in the report playable.")
@click.option(
    "--embed-mb",
    type=click.FloatRange(min=0),
    default=20.0,
    show_default=True,
    help="How much of the clips the report itself may hold; further ones are linked.",
)
@SCALE
@click.option("--title", default="fmltk report", show_default=True, help="The report's heading.")
@output_options
def report(
    reporter: Reporter,
    *,
    paths: tuple[Path, ...],
    output: Path,
    videos: Path | None,
    embed_mb: float,
    scale: str | None,
    title: str,
) -> None:
    r"""Show feature folders, ratings, labels and runs in one HTML file.

    PATHS are what other commands wrote: features/, ratings.parquet, labels.parquet, runs/NAME; any of them, and
    several runs to compare them. The file opens from disk and needs no network.

    \b
    fmltk report features/ --videos videos/
    fmltk report features/ ratings.parquet labels.parquet runs/first --videos videos/ -o report.html
    """
    from fmltk.toolkit.io.outputs import hold_file
    from fmltk.toolkit.report.render import write_report

    with hold_file(output):
        made = write_report(
            paths,
            output,
            title=title,
            videos=videos,
            scale=scale,
            embed_bytes=int(embed_mb * 1_000_000),
            reporter=reporter,
        )
    if reporter.json_output:
        reporter.json(made)
        return
    watch = f", {made['clips_embedded']} clips inside, {made['clips_linked']} linked" if videos else ""
    reporter.say(f"{output}: {made['bytes'] / 1e6:.1f} MB{watch}. Open it in a browser.")
