"""The commands `extract` and `pad`."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.command_options import given_options, settings_options
from fmltk.toolkit.console import output_options
from fmltk.toolkit.option_types import IGNORE_COLUMNS, Place, out_option
from fmltk.toolkit.settings import (
    ExtractSettings,
    PaddingSettings,
    ReadingOptions,
    RunOptions,
    preset_names,
    read_preset,
)
from fmltk.toolkit.speech.settings import TranscriptionSettings

if TYPE_CHECKING:
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.io.paths import AnyPath
    from fmltk.toolkit.run.summary import Summary

EXIT_NOTHING_USABLE = 1
EXIT_SOME_FAILED = 3
LISTED_FAILURES = 10


def _use_preset(ctx: click.Context, _: click.Parameter, name: str | None) -> str | None:
    """Make a preset's options the defaults; what the command line gives still counts."""
    if name is not None:
        known = {parameter.name for parameter in ctx.command.params}
        options = {key: value for key, value in read_preset(name).items() if key in known}
        ctx.default_map = {**(ctx.default_map or {}), **options}
    return name


@click.command()
@click.argument("videos", type=Place())
@out_option(
    type=Place(),
    default="features",
    show_default=True,
    help="The feature folder, a path or a URL; the same command continues where it was stopped.",
)
@click.option(
    "--transcripts",
    type=Place(),
    help="CSV, TSV, XLSX, ODS, JSONL or Parquet with video_id, clip_id (or Filename), "
    "text (MMSA's label.csv as it is). Without it: .txt, .srt, .vtt next to the videos.",
)
@click.option(
    "--cut",
    type=click.Choice(["none", "subtitles"]),
    default="none",
    show_default=True,
    help="One clip per subtitle cue instead of one per file.",
)
@settings_options(ReadingOptions, "reading")
@click.option(
    "--exclude",
    type=Place(),
    help="A table of clips to skip (utterance_id, reason), or that of `fmltk curate` with decisions filled in.",
)
@click.option(
    "--turns",
    type=Place(),
    help="Who speaks when: an RTTM file, a folder of them, or a table (video_id, start_s, end_s, speaker).",
)
@click.option(
    "--turn-people", type=Place(), help="Faces of the names in --turns: a table (name, person of faces.parquet)."
)
@IGNORE_COLUMNS
@click.option(
    "--preset",
    type=click.Choice(preset_names()),
    is_eager=True,
    expose_value=False,
    callback=_use_preset,
    help="Options of a published data set.",
)
@click.option(
    "--text-model",
    help="A Hugging Face name, a local folder, or minilm (English, offline). Default: "
    "bert-base-chinese or bert-base-uncased by the transcripts' language.",
)
@click.option(
    "--openface",
    default="auto",
    show_default=True,
    metavar="DIR|auto|none",
    help="A folder of OpenFace CSVs; auto: run OpenFace if it is found; none: the built-in face geometry.",
)
@click.option(
    "--asd",
    metavar="MODEL",
    help="A file with LR-ASD's weights, which sees who of several people talks, or lr-asd, which fetches them once.",
)
@settings_options(TranscriptionSettings, "transcription")
@settings_options(ExtractSettings, "settings")
@settings_options(PaddingSettings, "padding")
@settings_options(RunOptions, "options")
@click.option(
    "--add",
    is_flag=True,
    help="Add the sets of --text, --audio and --vision to those that the folder has; nothing else is done again.",
)
@click.option("--strict", is_flag=True, help="Exit with 1, not 3, if a clip failed.")
@output_options
def extract(
    videos: AnyPath,
    *,
    out: AnyPath,
    cut: str,
    reading: ReadingOptions,
    padding: PaddingSettings,
    options: RunOptions,
    strict: bool,
    **inputs: Any,
) -> int:
    r"""Extract features of every clip of VIDEOS: a video, a folder, or a table with a column path; also s3://...

    For --modalities text, a table of transcripts is enough.

    Nothing is lost: each clip ends as features or as a row of manifest.parquet that says why not. Stop at any moment;
    the same command finishes the rest.

    \b
    Exit code: 0 all ok, 3 some clips failed (1 with --strict), 1 nothing usable.

    \b
    fmltk extract videos/
    fmltk extract Raw/ --transcripts label.csv --preset ch-sims --openface openface/ -o features/
    fmltk extract videos/ --transcribe hf:openai/whisper-tiny
    fmltk extract videos/ -o features/ --add --audio egemaps
    """
    from fmltk.toolkit.run.extract import extract as run

    reporter: Reporter = inputs["reporter"]
    summary = run(
        videos,
        out,
        cut_subtitles=cut == "subtitles",
        padding=padding,
        **{**asdict(reading), **asdict(options), **inputs},
    )
    show_summary(summary, reporter)
    if any(one.counts["ok"] for one in summary.modalities.values()):
        suggest_training(summary.folder, reporter, known=inputs["transcripts"])
    return exit_code(summary, strict=strict)


def suggest_training(features: AnyPath, reporter: Reporter, *, known: AnyPath | None = None) -> None:
    """Say how a model learns from features; where no labels are found, how to look at the features.

    known : a table that may hold labels, such as the transcripts of MMSA's label.csv
    """
    from fmltk.toolkit.errors import ConfigError
    from fmltk.toolkit.features.label_file import find_labels, has_labels

    if not isinstance(features, Path):  # neither is done from a bucket
        return
    try:
        labels = known if isinstance(known, Path) and has_labels(known) else find_labels(features)
    except ConfigError:
        reporter.suggest("report", features, "-o", features.with_name("report.html"))
        return
    reporter.suggest(*training_words(features, labels))


def training_words(features: Path, labels: Path) -> list[object]:
    """Return the command that trains on features: on the modalities that they have, with a model that takes them."""
    from fmltk.toolkit.clip import modality_of
    from fmltk.toolkit.conditions import MODALITY_OF
    from fmltk.toolkit.features.feature_set import read_features

    found = {modality_of(key) for key in read_features(features).modalities}
    letters = [letter for letter, modality in MODALITY_OF.items() if modality in found]
    words: list[object] = ["train", features, "--labels", labels]
    if 0 < len(letters) < len(MODALITY_OF):
        words += ["--modalities", ",".join(letters)]
    if len(letters) == 1:  # which FmlMSN does not learn from
        words += ["--model", "late-fusion"]
    return words


def exit_code(summary: Summary, *, strict: bool = False) -> int:
    """Return what a run that ended with this summary exits with."""
    if not any(one.counts["ok"] for one in summary.modalities.values()):
        return EXIT_NOTHING_USABLE
    if summary.counts.get("failed"):
        return EXIT_NOTHING_USABLE if strict else EXIT_SOME_FAILED
    return 0


@click.command()
@click.argument("features", type=Place())
@given_options(PaddingSettings, "padding")
@output_options
def pad(features: AnyPath, *, padding: dict[str, Any], reporter: Reporter) -> None:
    r"""Pad the sequences of FEATURES again, without touching the videos.

    Options that are not given stay as they are in FEATURES.

    \b
    fmltk pad features/ --lambda 2 --max-length vision=600
    """
    from fmltk.toolkit.run.pad import pad as run
    from fmltk.toolkit.run.pad import recorded_padding

    show_summary(run(features, replace(recorded_padding(features), **padding), reporter=reporter), reporter)


def show_summary(summary: Summary, reporter: Reporter) -> None:
    """Write the summary: what is there per modality, what failed and why, and where the features are."""
    from fmltk.toolkit.features.clip_row import STATUSES

    if reporter.json_output:
        reporter.json(summary.document())
        return
    rows: list[tuple[object, ...]] = []
    for name, one in summary.modalities.items():
        counts = [one.counts[status] for status in STATUSES]
        span = f"{one.lengths['min']:.0f} - {one.lengths['max']:.0f}" if one.lengths else "-"
        rows.append((name, *counts, span, one.length, one.clips_truncated))
    columns = ("modality", "ok", "missing", "failed", "skipped", "lengths", "L", "truncated")
    reporter.table(columns, rows)
    for failure in summary.failures[:LISTED_FAILURES]:
        reporter.say(f"failed: {failure['utterance_id']}: {failure['error_message']}")
    if len(summary.failures) > LISTED_FAILURES:
        reporter.say(f"... and {len(summary.failures) - LISTED_FAILURES} more failed: see manifest.parquet")
    reporter.say(f"{summary.sentence()}. Features are in {summary.folder}")
    if summary.n_doubtful:
        reporter.say(f"`fmltk curate {summary.folder}` lists the clips to look at, with the reasons")
