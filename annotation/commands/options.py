"""Options that several commands of `fmltk annotation` share, and what an import shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.toolkit.conditions import CONDITIONS, Scale
from fmltk.toolkit.console import output_options
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fmltk.annotation.importing.import_files import ImportReport
    from fmltk.annotation.importing.records import ImportOptions
    from fmltk.toolkit.console import Reporter

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


class ParquetPath(click.Path):
    """A file to write, whose name says that it is Parquet."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fail where its ending promises another format."""
        path: Any = super().convert(value, param, ctx)
        if path.suffix.lower() != ".parquet":
            self.fail(f"{path} is written as Parquet: let its name end in .parquet", param, ctx)
        return path


OUTPUT = click.Path(dir_okay=False, path_type=Path)
PARQUET = ParquetPath(dir_okay=False, path_type=Path)


def parse_scales(pairs: tuple[str, ...]) -> dict[str, Scale]:
    """Return the scales of --scale AT=-1..1 options; "-3..3" without a condition is for all.

    Raises ConfigError if an option names no condition or no scale.

    >>> parse_scales(("AT=-3..3",))
    {'AT': Scale(low=-3, high=3)}
    """
    scales: dict[str, Scale] = {}
    for pair in pairs:
        name, separator, text = pair.rpartition("=")
        if not separator:
            scales.update(dict.fromkeys(CONDITIONS, Scale.parse(text)))
        elif name in CONDITIONS:
            scales[name] = Scale.parse(text)
        else:
            raise ConfigError(
                f"--scale {pair!r} names no condition; expected one of {', '.join(CONDITIONS)}, as AT=-1..1"
            )
    return scales


def parse_conditions(text: str) -> tuple[str, ...]:
    """Return the conditions of "AT,VT,AV", each once, in that order.

    Raises ConfigError if one is unknown.

    >>> parse_conditions("AT, VT")
    ('AT', 'VT')
    """
    from fmltk.annotation.importing.records import canonical_condition

    found = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        name = canonical_condition(word)
        if name is None:
            raise ConfigError(f"{word!r} is no condition; expected some of {','.join(CONDITIONS)}")
        found.append(name)
    if not found:
        raise ConfigError(f"no condition is given; expected some of {','.join(CONDITIONS)}")
    return tuple(dict.fromkeys(found))


def parse_condition(text: str) -> str:
    """Return the one condition that --condition names.

    Raises ConfigError if it is unknown, or there are several.
    """
    found = parse_conditions(text)
    if len(found) > 1:
        raise ConfigError(f"--condition {text!r} names several; import the files of each condition on their own")
    return found[0]


def refuse_overwriting(output: Path, sources: Iterable[Path | None]) -> None:
    """Raise ConfigError if a command would write its result over one of the files that it reads."""
    for source in sources:
        if source is not None and source.resolve() == output.resolve():
            raise ConfigError(f"{output} would be written over what is read from it; give another --output")


def scale_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --preset and --scale."""
    command = click.option(
        "--scale",
        "scales",
        multiple=True,
        metavar="[CONDITION=]LOW..HIGH",
        help="The values that raters choose from, such as AT=-1..1; overrides the preset. Repeatable.",
    )(command)
    return click.option(
        "--preset",
        type=click.Choice(["ch-sims", "mosi"]),
        default="ch-sims",
        show_default=True,
        help="Scale of every condition: ch-sims -1..1 (three choices), mosi -3..3 (seven).",
    )(command)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that `import` and `pull` share: who rated, on what scale, and what the export does not say."""
    options: list[Callable[..., Any]] = [
        click.option(
            "--source",
            default="label-studio",
            show_default=True,
            help="Name of the server or table that ids belong to; give one per server.",
        ),
        click.option(
            "--raters",
            type=FILE,
            help="CSV with the columns id, rater (and source): one name per rater; others are refused.",
        ),
        click.option("--rater", help="The rater of annotations that name none (exports before 1.0)."),
        click.option(
            "--keep-identities", is_flag=True, help="Keep e-mail addresses; without it they become pseudonyms."
        ),
        click.option(
            "--salt-file",
            type=OUTPUT,
            help="The secret that pseudonyms are made with; default: in your configuration folder, drawn once.",
        ),
        click.option(
            "--control", default="sentiment", show_default=True, help="Name of the control that holds the rating."
        ),
        click.option(
            "--label", "labels", multiple=True, metavar="WORD=VALUE", help="A label that is a word. Repeatable."
        ),
        click.option(
            "--overwrite", is_flag=True, help="Start anew; without it, ratings are added to those in the output."
        ),
        scale_options,
        output_options,
    ]
    for option in reversed(options):
        command = option(command)
    return command


def import_options(
    *,
    source: str,
    raters: Path | None,
    rater: str | None,
    keep_identities: bool,
    salt_file: Path | None,
    control: str,
    labels: tuple[str, ...],
    preset: str,
    scales: tuple[str, ...],
    **others: Any,
) -> ImportOptions:
    """Return what `reading_options` gave, as the importer takes it.

    Raises ConfigError or AnnotationError if one of them cannot be.
    """
    from fmltk.annotation.importing.records import PRESETS, ImportOptions
    from fmltk.annotation.raters import RaterNames, default_salt_path, read_rater_list

    names = RaterNames(
        source=source,
        listed=None if raters is None else read_rater_list(raters),
        keep_identities=keep_identities,
        salt_path=salt_file or default_salt_path(),
    )
    values = {}
    for pair in labels:
        word, separator, number = pair.rpartition("=")
        try:
            values[word] = int(number)
        except ValueError:
            separator = ""
        if not separator or not word:
            raise ConfigError(f"--label {pair!r} is not WORD=VALUE with a whole number, such as Negative=-1")
    return ImportOptions(
        scales=parse_scales(scales),
        default_scale=PRESETS[preset],
        control=control,
        rater=rater,
        label_values=values,
        names=names,
        **others,
    )


def show_import(report: ImportReport, output: Path, reporter: Reporter) -> None:
    """Show what was read and dropped."""
    from fmltk.annotation.importing.import_files import dropped_path
    from fmltk.annotation.importing.records import REASONS
    from fmltk.annotation.ratings import FLAGS, STATUSES

    if reporter.json_output:
        reporter.json({"output": output, **report.as_dict()})
        return
    reporter.table(
        ("file", "format", "annotations", "rated", "skipped", "empty", "draft", "dropped"),
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
        rows: list[tuple[object, ...]] = [(name, n, REASONS[name]) for name, n in sorted(report.dropped.items())]
        if report.read_again:
            rows.append(("read again", report.read_again, "the same annotation was read before: it counts once"))
        reporter.table(("dropped", "count", "why"), rows)
    if report.flags:
        reporter.table(
            ("flag", "count", "meaning"), [(name, n, FLAGS[name]) for name, n in sorted(report.flags.items())]
        )
    reporter.table(
        ("condition", "clips", "raters", "rated", "skipped", "empty", "draft"),
        [(name, *counts.values()) for name, counts in report.conditions.items()],
    )
    for file in report.files:
        if file.lacks:
            reporter.say(f"{file.file}: {file.format} does not hold {', '.join(file.lacks)}")
        if file.tasks_without_annotation:
            reporter.say(f"{file.file}: {file.tasks_without_annotation} tasks have no annotation yet")
        for remark in file.remarks:
            reporter.warn(f"{file.file}: {remark}")
    if not report.n_ratings:
        reporter.warn(f"{output} holds no rating: nothing that was read has one")
    reporter.say(f"{report.n_ratings} rows in {output}; every dropped annotation is a line of {dropped_path(output)}")
