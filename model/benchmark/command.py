"""The commands benchmark and ablate."""

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
    from collections.abc import Callable

    from fmltk.toolkit.console import Reporter

SHOWN = ("systems", "published", "costs", "remarks")  # on a terminal; the other tables are in the files


def _systems(ctx: click.Context) -> list[str]:
    """Return what --models may name, for Tab."""
    from fmltk.model.benchmark.entries import ALL, known_systems

    return [ALL, *known_systems()]


def _data_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what both commands read, and where systems train."""
    options = (
        click.argument("features", type=click.Path(path_type=Path), default=Path("features"), required=False),
        click.option(
            "--labels",
            type=click.Path(path_type=Path),
            help="A table of labels; by default labels.parquet in FEATURES or next to it.",
        ),
        SCALE,
        click.option("--seeds", type=click.IntRange(1), default=5, show_default=True, help="Number of seeds."),
        click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True, help="The smallest seed."),
        click.option(
            "--preset",
            type=Suggested(presets),
            help="Preset of every model: ch-sims or mosi-, mosei- with aligned or unaligned.",
        ),
        click.option(
            "--modalities", metavar="LIST", help="Train on these alone, such as A,V; by default all that there are."
        ),
        click.option(
            "--set",
            "settings",
            type=Suggested(setting_texts),
            multiple=True,
            metavar="KEY=VALUE",
            help="A setting that every model has. Repeatable.",
        ),
        click.option("--cv", metavar="video:K", help="K folds of whole videos, each the test split once."),
        EXCLUDE,
        click.option("--jobs", "-j", type=click.IntRange(1), help="Systems at a time; by default one per core."),
        click.option(
            "--engine",
            type=click.Choice(ENGINES),
            default="local",
            show_default=True,
            help="Train on this machine or on Ray.",
        ),
        click.option("--ray-address", metavar="ADDRESS", help="The Ray cluster, such as auto or 10.0.0.1:6379."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:1."),
        click.option(
            "--text-model", metavar="MODEL", help="Text model of misa and self-mm, if the features do not name it."
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _out_option(default: str) -> Callable[..., Any]:
    kind = click.Path(path_type=Path)
    return out_option(type=kind, default=Path(default), show_default=True, help="The folder to write.")


@click.command()
@_data_options
@_out_option("bench")
@click.option(
    "--models",
    type=Suggested(_systems, separator=","),
    default="all",
    show_default=True,
    help="Names with commas, also fmlmsn-m and fmlmsn-l.",
)
@click.option("--variant", type=click.Choice(["published", "corrected"]), help="Variant of the systems that have any.")
@click.option(
    "--config",
    "configs",
    multiple=True,
    metavar="MODEL=FILE",
    help="A TOML file of one model's settings, such as `fmltk tune` writes. Repeatable.",
)
@click.option("--with-published", is_flag=True, help="Put the paper's figures next to yours, labelled as such.")
@output_options
def benchmark(features: Path, *, labels: Path | None, out: Path, reporter: Reporter, **options: Any) -> None:
    """Train every system on FEATURES (by default features/), and write the paper's tables of them.

    The same command continues where it was stopped. A system that cannot be trained is a row with the reason.
    Example: fmltk benchmark features/ --models fmlmsn,lf-dnn,lmf --seeds 5 -o bench/
    """
    models = tuple(name.strip() for name in options.pop("models").split(",") if name.strip())
    configs = _configs(options.pop("configs"))
    _compare(features, labels, out, reporter, models=models, configs=configs, **options)


@click.command()
@_data_options
@_out_option("ablation")
@click.option(
    "--model", type=click.Choice(model_names()), default="fmlmsn", show_default=True, help="The model to ablate."
)
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file of the model's settings.")
@output_options
def ablate(features: Path, *, labels: Path | None, out: Path, reporter: Reporter, **options: Any) -> None:
    """Train a model on FEATURES whole, and again without each modality, kind of labels and kind of tasks.

    The tables are those of `fmltk benchmark`; the same command continues where it was stopped.
    Example: fmltk ablate features/ --model fmlmsn --seeds 5 -o ablation/
    """
    model, config = options.pop("model"), options.pop("config")
    configs = {} if config is None else {model: config}
    _compare(features, labels, out, reporter, ablated=model, configs=configs, **options)


def _compare(features: Path, labels: Path | None, out: Path, reporter: Reporter, **options: Any) -> None:
    from fmltk.model.benchmark.result_file import read_results
    from fmltk.model.benchmark.run import LATEX_FILE, MARKDOWN_FILE, TABLES_FOLDER, BenchmarkOptions
    from fmltk.model.benchmark.run import benchmark as run
    from fmltk.model.benchmark.tables import result_tables
    from fmltk.toolkit.features.label_file import labels_on_scale

    first, modalities = options.pop("first_seed"), options.pop("modalities")
    if modalities is not None:
        options["settings"] = (*options["settings"], f'modalities="{modalities}"')
    seeds = tuple(range(first, first + options.pop("seeds")))
    scale = options.pop("scale")
    given = labels if scale is None else labels_on_scale(features, labels, scale)
    chosen = BenchmarkOptions(seeds=seeds, folds=_folds(options.pop("cv")), **options)
    results = run(features, given, out=out, options=chosen, reporter=reporter)
    others = {seed for one in results.scored for seed in one.system.seeds} - set(seeds)
    if results.costs and others:
        reporter.warn(f"{out} also holds seeds of earlier calls, which are in the tables: {_listed(others)}")
    if reporter.json_output:
        reporter.json(read_results(out))
        return
    for table in result_tables(results, with_published=chosen.with_published):
        if table.key in SHOWN:
            reporter.table(table.columns, table.marked_rows(" *"), title=table.title)
            reporter.say(table.note)
    reporter.say(f"all tables: {out / MARKDOWN_FILE}, {out / LATEX_FILE} and {out / TABLES_FOLDER}/*.csv")
    reporter.suggest("report", out, "-o", out / "report.html")


def _listed(seeds: set[int]) -> str:
    return ", ".join(map(str, sorted(seeds)))


def _configs(texts: tuple[str, ...]) -> dict[str, Path]:
    from fmltk.toolkit.errors import ConfigError

    configs = {}
    for text in texts:
        model, separator, path = text.partition("=")
        if not separator or not path:
            raise ConfigError(f"--config {text!r} is not MODEL=FILE, such as fmlmsn=tuned.toml")
        configs[model.strip()] = Path(path)
    return configs


def _folds(text: str | None) -> int:
    from fmltk.toolkit.errors import ConfigError

    if text is None:
        return 0
    kind, _, number = text.partition(":")
    if kind != "video" or not number.isdecimal() or int(number) < 2:
        raise ConfigError(f"--cv {text!r} is not video:K with K of 2 or more, such as video:5")
    return int(number)
