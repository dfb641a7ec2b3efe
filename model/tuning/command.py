"""The command tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.model.completion import presets, setting_texts
from fmltk.model.registry import model_names
from fmltk.toolkit.console import output_options
from fmltk.toolkit.option_types import EXCLUDE, SCALE, Suggested, out_option
from fmltk.toolkit.settings import ENGINES

if TYPE_CHECKING:
    from fmltk.toolkit.console import Reporter


@click.command()
@click.argument("features", type=click.Path(path_type=Path), default=Path("features"), required=False)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="A table of labels; by default labels.parquet in FEATURES or next to it.",
)
@SCALE
@out_option(type=click.Path(path_type=Path), default=Path("tuning"), show_default=True, help="The folder to write.")
@click.option(
    "--model",
    type=click.Choice(model_names()),
    default="fmlmsn",
    show_default=True,
    help="Model to search settings for.",
)
@click.option(
    "--preset",
    type=Suggested(presets),
    help="Values of settings that are not searched: ch-sims or mosi-, mosei- with aligned or unaligned.",
)
@click.option("--modalities", metavar="LIST", help="Train on these alone, such as A,V.")
@click.option(
    "--set",
    "settings",
    type=Suggested(setting_texts),
    multiple=True,
    metavar="KEY=VALUE",
    help="A setting that is not searched. Repeatable.",
)
@click.option(
    "--trials", "n_trials", type=click.IntRange(1), default=50, show_default=True, help="Number of trials in all."
)
@click.option("--space", type=click.Path(path_type=Path), help="A TOML file of ranges; by default the model's own.")
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of seeds per trial.")
@click.option("--sampler-seed", type=int, default=0, show_default=True, help="Seed of the search itself.")
@EXCLUDE
@click.option("--jobs", "-j", type=click.IntRange(1), help="Trials at a time; by default one per core.")
@click.option(
    "--engine",
    type=click.Choice(ENGINES),
    default="local",
    show_default=True,
    help="Run trials on this machine or on Ray.",
)
@click.option("--ray-address", metavar="ADDRESS", help="The Ray cluster, such as auto or 10.0.0.1:6379.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:1.")
@click.option("--text-model", metavar="MODEL", help="Text model of misa and self-mm, if the features do not name it.")
@output_options
def tune(features: Path, *, labels: Path | None, out: Path, seeds: int, reporter: Reporter, **options: Any) -> None:
    """Search for a model's settings on the validation clips of FEATURES (by default features/).

    The labels of the test clips are not read by any trial. The same command continues where it was stopped; more
    --trials continue a search that is done. Example: fmltk tune features/ --model lmf --trials 40 -o tuning/lmf
    """
    from fmltk.model.tuning.run import BEST_FILE, TuningOptions
    from fmltk.model.tuning.run import tune as run
    from fmltk.toolkit.features.label_file import labels_on_scale

    modalities, scale = options.pop("modalities"), options.pop("scale")
    if modalities is not None:
        options["settings"] = (*options["settings"], f'modalities="{modalities}"')
    chosen = TuningOptions(seeds=tuple(range(seeds)), **options)
    table = labels if scale is None else labels_on_scale(features, labels, scale)
    document = run(features, table, out=out, options=chosen, reporter=reporter)
    if reporter.json_output:
        reporter.json(document)
        return
    best = document["trials"][document["best"]]
    title = f"trial {best['number']} of {len(document['trials'])}: validation MAE {best['value']:.4f}"
    reporter.table(["setting", "value"], [[name, str(value)] for name, value in best["settings"].items()], title=title)
    if document["preset_value"] is not None:
        reporter.say(f"the preset's own settings: validation MAE {document['preset_value']:.4f}")
    given = [] if labels is None else ["--labels", labels]
    given += [] if scale is None else [f"--scale={scale}"]
    words = ("--model", chosen.model, "--config", out / BEST_FILE, "--seeds", 5)
    reporter.suggest("train", features, *given, *words)
