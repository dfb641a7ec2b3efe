"""`fmltk annotation prepare`: from clips to what annotators see and hear."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fmltk.annotation.settings import FILE, StimuliOptions
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.option_types import IGNORE_COLUMNS, out_option
from fmltk.toolkit.settings import ReadingOptions

if TYPE_CHECKING:
    from fmltk.annotation.labelling.stimuli import Stimulus
    from fmltk.toolkit.console import Reporter


@click.command()
@click.argument("clips", type=click.Path(exists=True, path_type=Path))
@out_option("output", type=click.Path(file_okay=False, path_type=Path), required=True, help="The stimuli/ folder.")
@click.option("--transcripts", type=FILE, help="Table with video_id, clip_id, text, as for fmltk extract.")
@settings_options(ReadingOptions, "reading")
@IGNORE_COLUMNS
@settings_options(StimuliOptions, "options")
@output_options
def prepare(
    clips: Path,
    *,
    output: Path,
    transcripts: Path | None,
    reading: ReadingOptions,
    ignore_columns: tuple[str, ...],
    options: StimuliOptions,
    reporter: Reporter,
) -> None:
    r"""Make what annotators see and hear of CLIPS: silent video, audio, text, under names that reveal nothing.

    Every file is checked (a silent video has no audio, lengths agree, no metadata). Run
    again, it continues where it was.

    \b
    fmltk annotation prepare videos/ -o stimuli/ --transcripts label.csv
    """
    from fmltk.annotation.labelling.stimuli import count_showable, prepare_stimuli
    from fmltk.toolkit.catalog.catalog import build_catalog
    from fmltk.toolkit.features.layout import is_feature_folder
    from fmltk.toolkit.io.outputs import hold_folder

    if is_feature_folder(output):
        raise ConfigError(f"{output} is a feature folder; stimuli have a folder of their own: choose another -o")
    catalog = build_catalog(clips, transcripts=transcripts, ignore_columns=ignore_columns, **asdict(reading))
    for note in catalog.notes:
        reporter.say(note)
    for problem in catalog.problems:
        reporter.warn(f"{problem.where}: {problem.message}")
    # Parts of stimuli lie in folders of their own below media/.
    with hold_folder(output, places=("", "media/*/")), reporter.progress("stimuli", len(catalog.clips)) as progress:
        stimuli = prepare_stimuli(catalog.clips, output, options, on_done=lambda stimulus: progress.advance())
    showable = count_showable(stimuli, options.conditions)
    _show(stimuli, showable, output, reporter)
    if not any(showable.values()):
        conditions = ", ".join(options.conditions)
        raise AnnotationError(f"no clip can be shown in {conditions}; the reasons are above and in {output}")


def _show(stimuli: list[Stimulus], showable: dict[str, int], output: Path, reporter: Reporter) -> None:
    from fmltk.annotation.labelling.stimuli import count_statuses

    counts = [{"part": part, "status": word, "clips": count} for part, word, count in count_statuses(stimuli)]
    errors = [
        {"utterance_id": stimulus.utterance_id, "part": part, "status": stimulus.status[part], "error": message}
        for stimulus in stimuli
        for part, message in stimulus.errors.items()
    ]
    if reporter.json_output:
        document = {"output": output, "clips": len(stimuli), "conditions": showable, "parts": counts, "errors": errors}
        reporter.json(document)
        return
    reporter.table(("part", "status", "clips"), [tuple(entry.values()) for entry in counts])
    reporter.table(("condition", "clips that can be shown"), list(showable.items()))
    for entry in errors:
        reporter.warn(f"{entry['utterance_id']}: {entry['part']} {entry['status']}: {entry['error']}")
    if any(showable.values()):
        reporter.suggest("annotation", "push", output, "--url", "http://localhost:8080", "--document-root", ".")
