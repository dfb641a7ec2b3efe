"""`fmltk annotation publish`: a folder of labels and anonymous ratings that others can use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fmltk.annotation.publishing.terms import Terms
from fmltk.annotation.raters import default_salt_path
from fmltk.annotation.settings import FILE
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.option_types import out_option

if TYPE_CHECKING:
    from fmltk.toolkit.console import Reporter


@click.command()
@click.argument("labels", type=FILE)
@click.argument("ratings", type=FILE)
@out_option("output", type=click.Path(file_okay=False, path_type=Path), required=True, help="The folder to write.")
@settings_options(Terms, "terms")
@click.option(
    "--new-ids",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Publish numbered clips, and write the list of their names to this CSV, which you keep.",
)
@click.option(
    "--salt-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The secret that draws the annotators' numbers; default: in your configuration folder, drawn once.",
)
@output_options
def publish(
    labels: Path,
    ratings: Path,
    *,
    output: Path,
    terms: Terms,
    new_ids: Path | None,
    salt_file: Path | None,
    reporter: Reporter,
) -> None:
    r"""Write LABELS and anonymous RATINGS as a folder to publish: CSV, Parquet, a datasheet, table 2 and figure 2.

    Annotators become rater-1, rater-2, in an order that says nothing; times, server ids and addresses are left out, and
    a clip's id that holds a path, an address or an annotator's name is refused. Give the ratings that the labels are
    made of: others are refused.

    \b
    fmltk annotation publish labels.parquet ratings.parquet -o release/ --licence CC-BY-4.0 --creator "My group"
    """
    from fmltk.annotation.publishing.release import publish as publish_release
    from fmltk.annotation.raters import read_salt
    from fmltk.annotation.ratings import read_ratings
    from fmltk.toolkit.features.label_file import read_labels

    for name, path in (("LABELS", labels), ("RATINGS", ratings), ("--new-ids", new_ids), ("--salt-file", salt_file)):
        if path is not None and path.resolve().is_relative_to(output.resolve()):
            raise ConfigError(f"{name} {path} lies in {output}, which is written to be published; choose another -o")
    given, rated = read_labels(labels), read_ratings(ratings)
    for note in given.notes:
        reporter.say(note)
    released = publish_release(
        given, rated, output, terms, salt=read_salt(salt_file or default_salt_path()), new_ids=new_ids
    )
    if not released.origin.is_compared:
        reporter.warn("LABELS do not say how they were made: they were not compared with RATINGS")
    if released.origin.unrated:
        named = ", ".join(f"{condition} {count}" for condition, count in released.origin.unrated.items())
        reporter.warn(f"labels without a rating in RATINGS: {named}; did they come with the data set?")
    if terms.missing:
        reporter.warn(f"the datasheet says that something is not stated: give {', '.join(terms.missing)}")
    if reporter.json_output:
        reporter.json(released)
        return
    reporter.table(("file", "bytes"), [(name, (output / name).stat().st_size) for name in released.files])
    counts = f"{counted(released.n_clips, 'clip')}, {released.n_ratings} ratings by {released.n_raters} annotators"
    reporter.say(f"{counts} in {output}; read {output / 'README.md'} before you publish it")
