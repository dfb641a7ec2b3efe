"""The commands train, evaluate, compare, predict and cases."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.model.completion import presets, setting_texts
from fmltk.model.registry import model_names
from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.command_options import settings_options
from fmltk.toolkit.console import output_options, spreadsheet_option
from fmltk.toolkit.counted import counted
from fmltk.toolkit.option_types import EXCLUDE, IGNORE_COLUMNS, SCALE, Suggested, out_option
from fmltk.toolkit.settings import ReadingOptions
from fmltk.toolkit.speech.settings import TranscriptionSettings
from fmltk.toolkit.table_files import ResultTable

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from fmltk.model.settings import Settings
    from fmltk.toolkit.console import Reporter

SPLIT_OPTION = click.option(
    "--split",
    type=click.Choice(SPLITS),
    default="test",
    show_default=True,
    help="The split to report; if the data has no test split, validation.",
)
SCORE_FILES = (".csv", ".json", ".parquet")
# Options of `train` that are settings by another name; each wins over the preset and the file, --set over these.
SETTING_OPTIONS = ("bimodal", "unimodal", "missing", "fusion_inputs", "modalities", "use", "model", "variant", "align")


def _features_options(when: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return --features and --device of a command that, with the options `when`, runs a trained model once more."""

    def add(command: Callable[..., Any]) -> Callable[..., Any]:
        command = click.option("--device", default="cpu", show_default=True, help=f"With {when}: cpu, cuda or cuda:1.")(
            command
        )
        return click.option(
            "--features",
            type=click.Path(path_type=Path),
            help=f"With {when}: the run's features, if they lie elsewhere now.",
        )(command)

    return add


def _setting_options(command: Callable[..., Any]) -> Callable[..., Any]:
    from fmltk.model.settings import choices_of

    helps = {
        "bimodal": "Labels of AT, VT and AV; auto: the data's own, else the multimodal one.",
        "unimodal": "Labels of T, A and V; auto: the data's own, else the multimodal one.",
        "missing": "A clip that lacks a modality: leave it out where it is needed, or take the training mean.",
        "fusion_inputs": "H of the training clips: as trained on, or out of fold by video (beyond the paper).",
    }
    for name in reversed(list(helps)):
        option = click.option(f"--{name.replace('_', '-')}", type=click.Choice(choices_of(name)), help=helps[name])
        command = option(command)
    return command


@click.command()
@click.argument("features", type=click.Path(path_type=Path), default=Path("features"), required=False)
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    help="A table of labels; by default labels.parquet in FEATURES or next to it.",
)
@SCALE
@out_option(type=click.Path(path_type=Path), help="The run folder; by default runs/<time>.")
@EXCLUDE
@click.option(
    "--preset",
    type=Suggested(presets),
    help="ch-sims or mosi-, mosei- with aligned or unaligned; default: by the labels' scale.",
)
@click.option("--config", "config_file", type=click.Path(path_type=Path), help="A TOML file of settings.")
@click.option(
    "--set",
    "settings",
    type=Suggested(setting_texts),
    multiple=True,
    metavar="KEY=VALUE",
    help="One setting; may be given many times.",
)
@click.option("--model", type=click.Choice(model_names()), help="By default fmlmsn; installed packages may add others.")
@click.option(
    "--variant",
    type=click.Choice(["published", "corrected"]),
    help="A published system with the defects of its public code (the default), or without them.",
)
@click.option(
    "--align",
    type=click.Choice(["words", "ctc"]),
    help="Steps of mctn and raven: those of `fmltk align` (the default), or those that a CTC module learns.",
)
@click.option("--modalities", metavar="LIST", help="Read these alone, such as A,V; stages that lack one are left out.")
@click.option(
    "--use",
    metavar="SETS",
    help="The feature sets to read where they are not the first of their modalities: text,audio.egemaps,vision.",
)
@click.option(
    "--as-published",
    is_flag=True,
    help="Read clips as the paper does: frames and text with their padding, nothing standardised.",
)
@_setting_options
@click.option("--seeds", type=click.IntRange(1), default=1, show_default=True, help="Number of seeds.")
@click.option("--first-seed", type=click.IntRange(0), default=0, show_default=True, help="The smallest seed.")
@click.option("--stages", help="Only these stages, such as AV,AT or fusion; by default all.")
@click.option("--reuse", type=click.Path(path_type=Path), help="A run whose saved H may be taken (FmlMSN-L).")
@click.option(
    "--retrain",
    type=click.Choice(["always", "auto", "never"]),
    help="With --reuse: auto lets eq. 8 decide whether step 1 runs again.",
)
@click.option("--jobs", "-j", type=click.IntRange(0), help="Worker processes; by default one per core, 0: none.")
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:1.")
@click.option(
    "--text-model",
    metavar="MODEL",
    help="Text model that misa and self-mm train; by default the one that the features name.",
)
@click.option("--tensorboard", is_flag=True, help="Also write the history for TensorBoard (extra: tensorboard).")
@output_options
def train(features: Path, *, labels: Path | None, reporter: Reporter, **options: Any) -> None:
    """Train FmlMSN, or another --model, on FEATURES (by default features/), and score it on the test clips.

    The same command continues where it was stopped. Example:
    fmltk train features/ --labels labels.parquet --seeds 5 -o runs/first
    """
    from fmltk.model.config import default_preset
    from fmltk.model.evaluation import evaluation_rows
    from fmltk.model.run import train as run
    from fmltk.toolkit.features.label_file import find_labels, labels_on_scale, read_labels

    if options["tensorboard"]:
        from fmltk.model.history import require_tensorboard

        require_tensorboard()
    labels = labels or find_labels(features)
    if options["scale"] is None:
        given: Any = labels
        table = read_labels(labels)
    else:
        given = table = labels_on_scale(features, labels, options["scale"])
    for note in table.notes:
        reporter.say(note)
    config = _config(options, default_preset(table.scale))
    out = options["out"] or Path("runs") / _time_name()
    run(
        features,
        given,
        out=out,
        config=config,
        exclude=options["exclude"],
        options=_run_options(options),
        reporter=reporter,
    )
    if options["tensorboard"]:
        from fmltk.model.history import write_tensorboard

        write_tensorboard(out)
    if not (out / "summary.json").is_file():
        return
    columns, rows, document = evaluation_rows(out, "test")
    if reporter.json_output:
        reporter.json(document)
        return
    reporter.table(columns, rows, title=f"{out}: {_title(document)}, {len(document['seeds'])} seed(s)")
    for one in _class_tables(out, document) if document["family"] == "nominal" else []:
        reporter.table(one.columns, one.rows, title=one.title)
    scale = () if options["scale"] is None else (f"--scale={options['scale']}",)
    reporter.suggest("report", features, labels, out, *scale, "-o", out / "report.html")


def _config(options: dict[str, Any], default: str) -> Settings:
    from fmltk.model.config import load_config
    from fmltk.model.settings import AS_PUBLISHED

    published = AS_PUBLISHED if options["as_published"] else {}
    settings = [f"{name}={value}".lower() for name, value in published.items()]
    settings += [f'{name}="{options[name]}"' for name in SETTING_OPTIONS if options[name] is not None]
    _check_owned(options)
    retrain = options["retrain"]
    if retrain is None and options["reuse"] is not None and options["stages"] == "fusion":
        retrain = "never"
    if retrain is not None:
        settings.append(f'retrain="{retrain}"')
    return load_config(
        options["preset"], path=options["config_file"], settings=[*settings, *options["settings"]], default=default
    )


def _check_owned(options: dict[str, Any]) -> None:
    """Raise ConfigError if the model does not have an option's setting."""
    from fmltk.model.config import settings_class
    from fmltk.toolkit.errors import ConfigError

    model = options["model"] or "fmlmsn"
    elsewhere = options["config_file"] is not None or any(text.startswith("model") for text in options["settings"])
    if options["model"] is None and elsewhere:
        return  # what may name the model there has errors of its own
    for name in ("variant", "align"):
        if options[name] is not None and name not in settings_class(model).__dataclass_fields__:
            owners = [one for one in model_names() if name in settings_class(one).__dataclass_fields__]
            raise ConfigError(f"--{name} is of {', '.join(owners)}; {model} does not have it: leave it out")


def _run_options(options: dict[str, Any]) -> Any:

    from fmltk.model.options import RunOptions
    from fmltk.toolkit.errors import ConfigError
    from fmltk.toolkit.machine import n_cores

    first, reuse = options["first_seed"], options["reuse"]
    names = () if options["stages"] is None else tuple(name.strip() for name in options["stages"].split(","))
    if reuse is not None and names not in ((), ("fusion",)):
        raise ConfigError(
            f"--reuse goes with --stages fusion, not with {options['stages']}: H are saved of every stage"
        )
    return RunOptions(
        seeds=tuple(range(first, first + options["seeds"])),
        stages=() if reuse is not None else names,
        jobs=n_cores() if options["jobs"] is None else options["jobs"],
        reuse=reuse,
        device=options["device"],
        text_model=options["text_model"],
    )


def _class_tables(run: Path, document: dict[str, Any]) -> list[ResultTable]:
    """Return the tables of M's classes, the confusion and, of intensities, the calibration; put them in the document.

    Labels on a scale without classes have the calibration alone.
    """
    from fmltk.model.calibration import CALIBRATION_COLUMNS, calibration, calibration_rows, describe_calibration
    from fmltk.model.evaluation import class_rows, confusion_of_m, pairs_of_m
    from fmltk.model.nominal import CLASS_COLUMNS, class_table

    tables = []
    names, confusion = confusion_of_m(run, document["split"])
    if names:
        document["classes"], document["confusion"] = class_table(confusion, names), confusion
        rows, counts = class_rows(names, confusion)
        title = "Classes of M, the predictions of all seeds together"
        tables.append(ResultTable("classes", title, CLASS_COLUMNS, rows))
        tables.append(ResultTable("confusion", "Confusion of M", ["true \\ predicted", *names], counts))
    if document["family"] != "nominal":
        found = document["calibration"] = calibration(*pairs_of_m(run, document["split"]))
        title = f"Calibration of M, the predictions of all seeds together: {describe_calibration(found)}"
        tables.append(ResultTable("calibration", title, CALIBRATION_COLUMNS, calibration_rows(found)))
    return tables


def _title(document: dict[str, Any]) -> str:
    return f"{document['model']} ({document['reading']}), {document['split']} split"


def _time_name() -> str:
    from datetime import datetime

    return datetime.now().astimezone().strftime("%Y-%m-%d_%H-%M-%S")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@SPLIT_OPTION
@click.option(
    "--classes",
    is_flag=True,
    help="Also precision, recall and F1 of M's classes, the confusion and the calibration; of classes always.",
)
@click.option("--ensemble", is_flag=True, help="Also score the mean of the seeds' predictions.")
@click.option("--drop", "drops", multiple=True, metavar="A,T", help="M without these modalities. Repeatable.")
@click.option(
    "--noise",
    "noises",
    multiple=True,
    type=click.FloatRange(min=0, min_open=True),
    metavar="SD",
    help="M with normal noise on each modality, in standard deviations of the training clips. Repeatable.",
)
@_features_options("--drop and --noise")
@click.option("--latex", type=click.Path(path_type=Path), help="Also write the table as LaTeX (package booktabs).")
@click.option("--csv", "csv_file", type=click.Path(path_type=Path), help="Also write the table as CSV.")
@output_options
def evaluate(run: Path, *, split: str, reporter: Reporter, **options: Any) -> None:
    """Print the paper's tables 7 and 8 of RUN: every task of every stage, and M.

    Shares are in percent; mean and deviation over the seeds. The constant predictor says the median of the training
    labels. F1 is weighted by truth, F1-pred by prediction (the paper's tables 5 to 9). With --drop and --noise: what
    the trained model does where a modality is missing or noisy; its report shows the last such call. With --classes,
    --latex and --csv write the table of classes; of a scale without classes, the calibration.
    Example: fmltk evaluate runs/first --drop A --drop T --noise 0.5
    """
    from fmltk.model.evaluation import evaluation_rows

    if options["drops"] or options["noises"]:
        for name in ("ensemble", "classes"):
            if options[name]:
                raise click.UsageError(f"--{name} is about the predictions as they are; leave out --drop and --noise")
        _evaluate_robustness(run, split, reporter, **options)
        return
    columns, rows, document = evaluation_rows(run, split, ensemble=options["ensemble"])
    tables = _class_tables(run, document) if options["classes"] or document["family"] == "nominal" else []
    tasks = ResultTable("tasks", f"{_title(document)}, seeds {document['seeds']}", columns, rows)
    _write_table(tables[0] if options["classes"] else tasks, options)
    if reporter.json_output:
        reporter.json(document)
        return
    reporter.table(columns, rows, title=f"{run}: {tasks.title}")
    for one in tables:
        reporter.table(one.columns, one.rows, title=one.title)
    if options["classes"] and "classes" not in document:
        reporter.say("The labels' scale has no classes; the calibration is of its numbers.")
    for name in document["collapsed"]:
        reporter.warn(f"constant predictions: {name}")


def _evaluate_robustness(
    run: Path, split: str, reporter: Reporter, *, features: Path | None, device: str, **options: Any
) -> None:
    from fmltk.model.robustness import robustness_table, write_robustness

    table, document = robustness_table(
        run, drops=options["drops"], noises=options["noises"], split=split, features=features, device=device
    )
    write_robustness(run, document)
    _write_table(table, options)
    if reporter.json_output:
        reporter.json(document)
        return
    reporter.table(table.columns, table.rows, title=f"{run}: {table.title}")
    reporter.say(table.note)


def _write_table(table: ResultTable, options: dict[str, Any]) -> None:
    from fmltk.toolkit.io.files import write_bytes

    if options["latex"] is not None:
        write_bytes(options["latex"], table.latex().encode())
    if options["csv_file"] is not None:
        table.write_csv(options["csv_file"])


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@SPLIT_OPTION
@output_options
def compare(runs: tuple[Path, ...], *, split: str, reporter: Reporter) -> None:
    """Put RUNS side by side, with paired t-tests of the first against each other over seeds and over clips.

    After the first, each may also be a predictions file of any system: CSV, TSV, JSONL or Parquet with utterance_id,
    prediction (or score_M, as predict writes it), and optionally seed.
    Example: fmltk compare runs/first runs/second other.csv
    """
    from fmltk.model.compare import compare as run
    from fmltk.model.compare import comparison_rows, other_labels_notes

    result = run(runs, split)
    for note in other_labels_notes(result):
        reporter.warn(note)
    if reporter.json_output:
        reporter.json(result)
        return
    columns, rows, test_columns, tests = comparison_rows(result)
    reporter.table(
        columns, rows, title=f"{result['split']} split, {counted(result['n_clips'], 'clip')} that all predict"
    )
    if result["n_left_out"]:
        reporter.warn(f"{result['n_left_out']} labelled clips are not predicted by all and were left out")
    reporter.table(test_columns, tests, title="Paired t-tests")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--seed", type=int, help="Seed of the run; by default the best on validation.")
@click.option("--ensemble", is_flag=True, help="The mean of all seeds' predictions instead of one seed's.")
@out_option(type=click.Path(path_type=Path), help="A .csv, .json or .parquet file; else a table.")
@click.option(
    "--features",
    type=click.Path(path_type=Path),
    help="Folder for the features of raw clips; by default a temporary one.",
)
@click.option("--transcripts", type=click.Path(path_type=Path), help="Transcripts of raw clips.")
@settings_options(ReadingOptions, "reading")
@IGNORE_COLUMNS
@click.option("--turns", type=click.Path(path_type=Path), help="For raw clips: who speaks when, RTTM or a table.")
@click.option("--openface", default="auto", show_default=True, help="For raw clips: a folder of CSVs, auto or none.")
@click.option("--asd", metavar="MODEL", help="For raw clips: LR-ASD's weights, if the features were made with them.")
@settings_options(TranscriptionSettings, "transcription")
@click.option(
    "--text-model", metavar="MODEL", help="The folder of the run's text model, if its name alone does not find it."
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:1.")
@spreadsheet_option
@output_options
def predict(run: Path, source: Path, *, seed: int | None, out: Path | None, reporter: Reporter, **options: Any) -> None:
    """Predict seven scores and classes per clip of SOURCE with the model of RUN.

    SOURCE is a feature folder, or raw clips (a video or a folder of them), whose features are extracted with the run's
    own settings. RUN is a run folder or a folder that save_pretrained wrote.
    Example: fmltk predict runs/first new_videos/ --transcripts new.csv -o scores.csv
    """
    from fmltk.model.predict import load_model
    from fmltk.model.raw import predict_source
    from fmltk.toolkit.errors import ConfigError
    from fmltk.toolkit.io.outputs import hold_file

    if out is not None and out.suffix.lower() not in SCORE_FILES:
        raise ConfigError(f"--out {out} must end in {', '.join(SCORE_FILES)}")
    spreadsheet_safe, ensemble = options.pop("spreadsheet_safe"), options.pop("ensemble")
    with nullcontext() if out is None else hold_file(out):
        table = predict_source(load_model(run, seed=seed, ensemble=ensemble), source, reporter=reporter, **options)
        _write_scores(table, out, reporter, spreadsheet_safe=spreadsheet_safe)


def _write_scores(table: pd.DataFrame, out: Path | None, reporter: Reporter, *, spreadsheet_safe: bool) -> None:
    import json

    from fmltk.toolkit.io.documents import write_json
    from fmltk.toolkit.io.parquet import write_table
    from fmltk.toolkit.io.tables import write_csv

    missing = int(table["score_M" if "score_M" in table else "class_M"].isna().sum())
    if missing:
        reporter.warn(f"{missing} of {len(table)} clips have no multimodal score; the column reason says why")
    rows = json.loads(table.to_json(orient="records", force_ascii=False, double_precision=15))
    if out is None:
        if reporter.json_output:
            reporter.json(rows)
            return
        kind = "score_" if "score_M" in table else "class_"
        scores = [name for name in table.columns if name.startswith(kind)]
        names = ["utterance_id", *(name.removeprefix(kind) for name in scores), "class", "reason"]
        cells = [[row["utterance_id"], *(row[n] for n in scores), row["class_M"], row["reason"] or ""] for row in rows]
        reporter.table(names, cells)
        return
    if out.suffix.lower() == ".csv":
        write_csv(out, list(table.columns), table.itertuples(index=False, name=None), spreadsheet_safe=spreadsheet_safe)
    elif out.suffix.lower() == ".json":
        write_json(out, rows, indent=1)
    elif out.suffix.lower() == ".parquet":
        import pyarrow as pa

        write_table(pa.Table.from_pandas(table, preserve_index=False), out)
    reporter.say(f"{counted(len(table), 'clip')}: {out}")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@SPLIT_OPTION
@click.option("--seed", type=int, help="Seed of the run; by default the best on validation.")
@click.option(
    "--sort",
    type=click.Choice(["disagreement", "error", "id"]),
    default="disagreement",
    show_default=True,
    help="disagreement: clips first whose unimodal labels lie furthest apart.",
)
@click.option("--wrong", is_flag=True, help="Only clips with a wrong multimodal sign.")
@click.option("--limit", "-n", type=click.IntRange(1), default=20, show_default=True, help="Number of clips.")
@click.option(
    "--attribution",
    is_flag=True,
    help="Also what T, A and V each add to M: the prediction less that with the training mean instead of the modality.",
)
@_features_options("--attribution")
@output_options
def cases(run: Path, *, split: str, seed: int | None, limit: int, reporter: Reporter, **options: Any) -> None:
    """Print the paper's table 12 of RUN: per clip the sign of every task; truth/prediction* where it is wrong.

    The run's report shows the last --attribution of its best seed.
    Example: fmltk cases runs/first --sort error --limit 9 --attribution
    """
    from fmltk.model.cases import case_rows
    from fmltk.model.evaluation import describe_sources
    from fmltk.model.run_folder import chosen_seed, run_document

    seed = chosen_seed(run, seed)
    columns, rows, documents = case_rows(run, seed=seed, split=split, sort=options["sort"], wrong=options["wrong"])
    if options["attribution"]:
        from fmltk.model.attribution import attribution_columns, write_attribution

        shares = write_attribution(run, seed=seed, split=split, features=options["features"], device=options["device"])
        letters, cells = attribution_columns(shares, [case["utterance_id"] for case in documents])
        columns = [*columns, *letters]
        rows = [[*row, *own] for row, own in zip(rows, cells, strict=True)]
        documents = [{**case, "attribution": shares[case["utterance_id"]]} for case in documents]
    if reporter.json_output:
        reporter.json(documents[:limit])
        return
    document = run_document(run)
    mark = "truth/prediction" if document["family"] == "numbers" else "*: wrong"
    said = (
        f"{min(limit, len(rows))} of {len(rows)} clips, {mark}; labels: {describe_sources(document['label_sources'])}"
    )
    reporter.table(columns, rows[:limit], title=f"{run}: {said}")
