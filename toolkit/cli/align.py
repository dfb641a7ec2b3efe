"""The command `align`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.alignment.settings import AlignSettings
from fmltk.toolkit.cli.extract import exit_code, show_summary
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options
from fmltk.toolkit.option_types import IGNORE_COLUMNS, Place

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fmltk.toolkit.alignment.clip_words import ClipWords
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.features.clip_row import ClipRow
    from fmltk.toolkit.io.paths import AnyPath


@click.command()
@click.argument("features", type=Place())
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    default=Path("aligned"),
    show_default=True,
    help="The feature folder to write.",
)
@click.option(
    "--words",
    type=click.Path(path_type=Path),
    help="When words are spoken: a TextGrid, CTM, Whisper or whisperX JSON, subtitles with word times, GRID .align, a "
    "table (word, start_s, end_s), or a folder of these.",
)
@click.option("--tier", metavar="NAME", help="The tier of words in TextGrids, where it is not clear.")
@click.option("--encoding", help="Of the files of words; recognised where it is clear.")
@IGNORE_COLUMNS
@settings_options(AlignSettings, "settings")
@click.option("--strict", is_flag=True, help="Exit with 1, not 3, if a clip failed.")
@output_options
def align(
    features: AnyPath, *, out: Path, words: Path | None, settings: AlignSettings, strict: bool, **options: Any
) -> int:
    r"""Average the features of FEATURES over each word: one step per word in every modality, as a feature folder.

    Clips without word times are rows of manifest.parquet that say why; words that do not match the transcript are
    counted and named there.

    \b
    Exit code: 0 all ok, 3 some clips failed (1 with --strict), 1 nothing usable.

    \b
    fmltk align features/ --words textgrids/ -o aligned/
    fmltk align features/ --words words.csv --clock video --unit token -o aligned/
    """
    from fmltk.toolkit.alignment.align import align as run
    from fmltk.toolkit.alignment.clip_words import words_of_clips
    from fmltk.toolkit.alignment.sources import SourceOptions, read_words

    reporter: Reporter = options["reporter"]
    if words is None:
        raise click.UsageError("--words is missing: give the file or folder that says when words are spoken")
    ignored: Sequence[str] = options["ignore_columns"]
    source = read_words(words, SourceOptions(tier=options["tier"], encoding=options["encoding"], ignored=ignored))
    for note in source.notes:
        reporter.say(note)

    def given(rows: Mapping[str, ClipRow]) -> ClipWords:
        return words_of_clips(source.recordings, rows, clock=settings.clock)

    summary = run(features, given, out, source=words.name, settings=settings, reporter=reporter)
    show_summary(summary, reporter)
    return exit_code(summary, strict=strict)
