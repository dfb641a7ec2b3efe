"""The command `align`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.alignment.settings import AlignSettings
from fmltk.toolkit.cli.extract import exit_code, show_summary, suggest_training
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options
from fmltk.toolkit.option_types import IGNORE_COLUMNS, Place, out_option

if TYPE_CHECKING:
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.io.paths import AnyPath


@click.command()
@click.argument("features", type=Place())
@out_option(
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
@click.option(
    "--aligner",
    metavar="NAME",
    help="Find the times in the audio instead of --words: pocketsphinx (English, offline; pip install 'fmltk[align]'), "
    "or hf:NAME, a CTC model of any language from a folder or the hub.",
)
@click.option(
    "--videos",
    type=click.Path(path_type=Path),
    help="The folder, file or table that FEATURES were extracted from, for --aligner.",
)
@click.option("--tier", metavar="NAME", help="The tier of words in TextGrids, where it is not clear.")
@click.option("--encoding", help="Encoding of the files of words; recognised where it is clear.")
@IGNORE_COLUMNS
@settings_options(AlignSettings, "settings")
@click.option("--strict", is_flag=True, help="Exit with 1, not 3, if a clip failed.")
@output_options
def align(
    features: AnyPath,
    *,
    out: Path,
    words: Path | None,
    aligner: str | None,
    settings: AlignSettings,
    strict: bool,
    **options: Any,
) -> int:
    r"""Average the features of FEATURES over each word: one step per word in every modality, as a feature folder.

    Clips without word times are rows of manifest.parquet that say why; words that do not match the transcript are
    counted and named there.

    \b
    Exit code: 0 all ok, 3 some clips failed (1 with --strict), 1 nothing usable.

    \b
    fmltk align features/ --words textgrids/ -o aligned/
    fmltk align features/ --words words.csv --clock video --unit token -o aligned/
    fmltk align features/ --aligner pocketsphinx --videos videos/ -o aligned/
    fmltk align features/ --aligner hf:wav2vec2-large-xlsr-53-chinese-zh-cn/ --videos videos/ -o aligned/
    """
    from fmltk.toolkit.alignment.align import align as run
    from fmltk.toolkit.alignment.align import words_given, words_heard
    from fmltk.toolkit.alignment.sources import SourceOptions

    reporter: Reporter = options["reporter"]
    if (words is None) == (aligner is None):
        raise click.UsageError(
            "give either --words, which says when words are spoken, or --aligner, which finds it out"
        )
    if words is not None:
        how = SourceOptions(tier=options["tier"], encoding=options["encoding"], ignored=options["ignore_columns"])
        name, given = words_given(words, how, clock=settings.clock, reporter=reporter)
    else:
        name, given = words_heard(aligner or "", options["videos"], reporter)
    summary = run(features, given, out, source=name, settings=settings, reporter=reporter)
    show_summary(summary, reporter)
    if any(one.counts["ok"] for one in summary.modalities.values()):
        suggest_training(summary.folder, reporter)
    return exit_code(summary, strict=strict)
