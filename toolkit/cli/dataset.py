"""`fmltk dataset`: the field's own files in and out, and a look for what spoils training."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import CommandList, output_options, spreadsheet_option
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.option_types import EXCLUDE, IGNORE_COLUMNS, Place, out_option
from fmltk.toolkit.settings import PaddingSettings, ReadingOptions, RunOptions

if TYPE_CHECKING:
    from fmltk.toolkit.console import Reporter

# Options of a run that mean nothing where no video is read.
_OF_VIDEOS = ("engine", "ray_address", "clip_timeout_s", "worker_memory_gb", "usual_duration_s", "retry_failed")


@click.group(cls=CommandList)
def dataset() -> None:
    """Import and export the field's data files, and check a data set before training.

    \b
    fmltk dataset import unaligned_39.pkl -o features/
    fmltk dataset check features/
    fmltk dataset export features/ --labels labels.parquet -o out.pkl
    """  # noqa: D301 - click reads the backspace


@dataset.command("import")
@click.argument("source", type=click.Path(path_type=Path))
@out_option(
    type=click.Path(path_type=Path),
    default=Path("features"),
    show_default=True,
    help="The feature folder to write; labels.parquet goes into it.",
)
@click.option(
    "--non-finite",
    type=click.Choice(["refuse", "zero"]),
    default="refuse",
    show_default=True,
    help="Stop at NaN and infinities and name them, or make them 0 (as MMSA does with -inf in audio).",
)
@click.option(
    "--padding",
    type=click.Choice(["auto", "front", "end"]),
    default="auto",
    show_default=True,
    help="Side on which a pickle's sequences are padded; features are padded at the end.",
)
@click.option("--scale", help="The labels' scale, such as -1..1 or -3..3; by default the one that the labels fit.")
@output_options
def import_command(
    source: Path, out: Path, non_finite: str, padding: str, scale: str | None, *, reporter: Reporter
) -> None:
    """Turn SOURCE into a feature folder: an MMSA pickle (.pkl), or a Parquet table of utterance-level features.

    Pickles are read without running code in them. Example: fmltk dataset import unaligned_39.pkl -o features/
    """
    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.io.outputs import hold_folder

    if source.is_dir():
        raise ConfigError(
            f"{source} is a folder; give an MMSA pickle (.pkl) or a Parquet table of utterances; `fmltk extract` makes "
            "features of videos"
        )
    options: dict[str, Any] = {"non_finite": non_finite, "scale": None if scale is None else Scale.parse(scale)}
    with hold_folder(out):
        if source.suffix.lower() == ".parquet":
            from fmltk.toolkit.interchange.utterances import import_utterances

            summary = import_utterances(source, out, **options)
        else:
            from fmltk.toolkit.interchange.mmsa import import_mmsa

            summary = import_mmsa(source, out, padding=padding, **options)
    for remark in summary.remarks:
        reporter.warn(remark)
    if reporter.json_output:
        reporter.json(dataclasses.asdict(summary))
        return
    clips = ", ".join(f"{split} {n}" for split, n in summary.splits.items())
    reporter.table(
        ["modality", "L", "d"],
        [[name, *shape] for name, shape in summary.shapes.items()],
        title=f"{out}: {clips}; scale {summary.scale}",
    )
    reporter.table(["labels", "clips"], [[condition, n] for condition, n in summary.labels.items()])
    if summary.unread:
        reporter.say(f"not read, kept for an export: {', '.join(summary.unread)}")
    reporter.suggest("dataset", "check", out)


@dataset.command("export")
@click.argument("features", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="A table of labels; by default labels.parquet in FEATURES or next to it.",
)
@out_option(type=click.Path(path_type=Path), required=True, help="The pickle to write.")
@click.option("--label-csv", type=click.Path(path_type=Path), help="Path of label.csv; by default next to the pickle.")
@click.option(
    "--use",
    default="",
    metavar="SETS",
    help="The feature sets to write where they are not the first of their modalities: text,audio.egemaps,vision.",
)
@EXCLUDE
@spreadsheet_option
@output_options
def export_command(
    features: Path,
    labels: Path | None,
    out: Path,
    label_csv: Path | None,
    exclude: Path | None,
    *,
    spreadsheet_safe: bool,
    use: str,
    reporter: Reporter,
) -> None:
    """Write FEATURES and their labels as an MMSA pickle and label.csv.

    Example: fmltk dataset export features/ --labels labels.parquet -o out.pkl
    """
    from fmltk.toolkit.features.label_file import find_labels
    from fmltk.toolkit.interchange.mmsa_export import export_mmsa
    from fmltk.toolkit.io.outputs import hold_file

    if out.suffix.lower() in (".csv", ".parquet"):
        raise click.BadParameter(f"{out} is written as a pickle: let its name end in .pkl", param_hint="--out")
    label_csv = label_csv or out.with_name("label.csv")
    with hold_file(out), hold_file(label_csv):
        summary = export_mmsa(
            features,
            labels or find_labels(features),
            out,
            label_csv=label_csv,
            exclude=exclude,
            spreadsheet_safe=spreadsheet_safe,
            use=use,
        )
    for remark in summary.remarks:
        reporter.warn(remark)
    if reporter.json_output:
        reporter.json(dataclasses.asdict(summary))
        return
    clips = ", ".join(f"{split} {n}" for split, n in summary.splits.items())
    reporter.say(f"{out}: {clips}, {'with' if summary.has_text_bert else 'without'} text_bert; {label_csv}")


@dataset.command("encode-text")
@click.argument("features", type=click.Path(path_type=Path))
@click.option(
    "--text-model",
    help="A Hugging Face name, a local folder, or minilm (English, offline). Default: by the transcripts' language.",
)
@click.option("--text", "text_set", metavar="SET", help="A text set, NAME[:ARGUMENT], instead of a text model.")
@click.option("--add", is_flag=True, help="Keep the text that is there, and add this one as a further set.")
@click.option(
    "--transcripts", type=Place(), help="A table of transcripts, such as MMSA's label.csv; else the texts imported."
)
@settings_options(ReadingOptions, "reading", without=("language",))
@IGNORE_COLUMNS
@settings_options(PaddingSettings, "padding", without=("fixed", "vision_pooling"))
@settings_options(RunOptions, "options", without=_OF_VIDEOS)
@click.option("--device", default="cpu", show_default=True, help="Device that runs the model: cpu or cuda.")
@output_options
def encode_text_command(features: Path, *, reading: ReadingOptions, reporter: Reporter, **inputs: Any) -> int:
    """Replace the text of imported FEATURES by a model's token vectors of its transcripts, or add them.

    No video is needed. Example: fmltk dataset encode-text features/ --text-model minilm --transcripts label.csv
    """
    from fmltk.toolkit.cli.extract import exit_code, show_summary
    from fmltk.toolkit.interchange.encode_text import encode_text

    summary = encode_text(features, encoding=reading.encoding, reporter=reporter, **inputs)
    show_summary(summary, reporter)
    return exit_code(summary)


@dataset.command("check")
@click.argument("features", type=click.Path(path_type=Path))
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="A table of labels; by default labels.parquet in FEATURES or next to it.",
)
@click.option("--official-split", is_flag=True, help="The splits are a benchmark's own: shared videos only warn.")
@click.option("--scale", help="The scale of labels that do not state it, such as 1..5, or nominal.")
@output_options
def check_command(
    features: Path, labels: Path | None, official_split: bool, scale: str | None, *, reporter: Reporter
) -> None:
    """Look for leaks between splits, broken features, labels off their scale, and ids that do not join.

    Exit code 1 if there is an error. Example: fmltk dataset check features/ --labels labels.parquet
    """
    from fmltk.toolkit.cli.extract import training_words
    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.features.label_file import find_labels
    from fmltk.toolkit.interchange.check import check_dataset

    labels = labels or find_labels(features)
    own = None if scale is None else Scale.parse(scale)
    findings = check_dataset(features, labels, official_split=official_split, scale=own)
    errors = [finding for finding in findings if finding.level == "error"]
    if reporter.json_output:
        reporter.json({"errors": len(errors), "findings": [dataclasses.asdict(finding) for finding in findings]})
    else:
        reporter.table(["level", "finding"], [[finding.level, finding.what] for finding in findings])
    if errors:
        raise click.exceptions.Exit(1)
    reporter.suggest(*training_words(features, labels), *(() if scale is None else (f"--scale={scale}",)))
