"""A benchmark: systems trained on one data set, in worker processes or on a Ray cluster, and the tables of them.

BENCH/labels.parquet      the labels with the split of every clip
BENCH/runs/NAME/          the run folder of each system; with folds, BENCH/fold_1/labels.parquet, BENCH/fold_1/runs/NAME
BENCH/benchmark.json      every number of the tables
BENCH/tables.md, .tex     the tables; BENCH/tables/KEY.csv has each by itself
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.benchmark.analysis import score_systems, tests_of_first
from fmltk.model.benchmark.entries import MAIN, ablations, choose_entries
from fmltk.model.benchmark.result_file import RESULT_FILE
from fmltk.model.benchmark.ridge import reference_predictions
from fmltk.model.benchmark.tables import Results, as_document, result_tables
from fmltk.model.benchmark.worker import COST_FILE, BenchmarkWorker, Job
from fmltk.model.compare import System, read_system
from fmltk.model.config import default_preset, load_config
from fmltk.model.data import Reading, read_clip_features, read_clip_names
from fmltk.model.dataset import join
from fmltk.model.live import SystemBoard
from fmltk.model.run_folder import read_json, run_summary
from fmltk.model.settings import Settings, nearest
from fmltk.toolkit.catalog.exclusions import exclusions_of
from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.errors import ConfigError, FmltkError, TrainingError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import as_labels, find_labels, write_labels
from fmltk.toolkit.features.layout import is_feature_folder
from fmltk.toolkit.features.splits import hold_out, video_folds
from fmltk.toolkit.io.documents import write_json
from fmltk.toolkit.io.files import write_bytes
from fmltk.toolkit.io.outputs import hold_folder
from fmltk.toolkit.machine import n_cores
from fmltk.toolkit.run.engine import Task

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from fmltk.model.benchmark.entries import Entry
    from fmltk.model.dataset import Dataset
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.features.label_table import LabelTable
    from fmltk.toolkit.run.engine import Engine

LABELS_FILE, RUNS_FOLDER, TABLES_FOLDER = "labels.parquet", "runs", "tables"
MARKDOWN_FILE, LATEX_FILE = "tables.md", "tables.tex"


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOptions:
    """The options of a benchmark.

    models : names of installed models, "fmlmsn-m", "fmlmsn-l", or "all"
    seeds : one result each
    preset : of every model; None: by the labels' scale
    settings : KEY=VALUE texts, as `--set` takes them, of every model: those that all models have
    ablated : a model that is compared with itself without parts of what it learns from, instead of `models`
    variant : of the systems that have variants
    configs : by model, a TOML file of settings, such as `fmltk tune` writes
    folds : 0 for the data's own split, else so many folds of whole videos, each of which is the test split once
    jobs : worker processes; None: one per core, with Ray one per CPU of the cluster
    engine, ray_address : "local" or "ray", and the address of the cluster
    device : cpu, cuda, cuda:1, ...
    text_model : of misa and self-mm, where the features do not name it
    exclude : a table of clips to leave out
    with_published : whether the paper's figures get a table
    """

    models: tuple[str, ...] = ("all",)
    ablated: str | None = None
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    preset: str | None = None
    settings: tuple[str, ...] = ()
    variant: str | None = None
    configs: Mapping[str, Path] = field(default_factory=dict)
    folds: int = 0
    jobs: int | None = None
    engine: str = "local"
    ray_address: str | None = None
    device: str = "cpu"
    text_model: str | None = None
    exclude: Path | None = None
    with_published: bool = False


@dataclass(frozen=True)
class _Part:
    """The data with one split: all of it, or one fold. folder : where its labels and runs lie; name : of the fold."""

    folder: Path
    dataset: Dataset
    name: str = ""

    def run(self, name: str) -> Path:
        return self.folder / RUNS_FOLDER / name


def benchmark(
    features: str | os.PathLike[str],
    labels: str | os.PathLike[str] | pd.DataFrame | LabelTable | None = None,
    *,
    out: str | os.PathLike[str],
    options: BenchmarkOptions | None = None,
    reporter: Reporter | None = None,
) -> Results:
    """Train what is missing of every system, and write the tables; the same call continues where one was stopped.

    Parameters
    ----------
    features : what `fmltk extract` or `fmltk dataset import` wrote
    labels : as `train` takes them
    out : the folder of the benchmark

    A system that fails is a row with its reason. Raises ConfigError if the data or the options do not fit, and
    TrainingError if no system has a result.
    """
    from fmltk.toolkit.console import Reporter as Console

    out, features, options = Path(out), Path(features), options or BenchmarkOptions()
    reporter = reporter or Console(quiet=True)
    if is_feature_folder(out):
        raise ConfigError(f"{out} is a feature folder; a benchmark has a folder of its own: choose another -o")
    table = as_labels(find_labels(features) if labels is None else labels)
    table.require_numbers("a benchmark compares")
    settings, config = _common_settings(features, table, options, reporter)
    options = replace(options, settings=settings)
    if options.ablated is None:
        entries, left_out = choose_entries(options.models, table, variant=options.variant, configs=options.configs)
    else:
        entries, left_out = ablations(options.ablated, table, config, file=options.configs.get(options.ablated)), {}
    with hold_folder(out, places=("", RUNS_FOLDER, "fold_*")):
        parts = _parts(features, table, out, config, options, reporter)
        jobs = [_job(part, entry, features, options) for part in parts for entry in entries]
        left_out |= _train(jobs, options, reporter)
        results = _results(parts, entries, left_out, features, config, options)
        write_results(out, results, with_published=options.with_published)
    return results


def _common_settings(
    features: Path, table: LabelTable, options: BenchmarkOptions, reporter: Reporter
) -> tuple[tuple[str, ...], Settings]:
    """Return the settings of every model, as texts and as they change the preset.

    If the features lack a modality and no setting names those to read, the others are read.

    Raises ConfigError for a setting that not every model has.
    """
    common = {one.name for one in fields(Settings)} - {"model", "preset", "retrain"}
    keys = [text.partition("=")[0].strip() for text in options.settings]
    for key in keys:
        if key not in common:
            raise ConfigError(
                f"--set {key}: not every model has it{nearest(key, sorted(common))}; settings of one model go into a "
                "file, --config MODEL=FILE"
            )
    default = default_preset(table.scale)
    config = load_config(options.preset, settings=options.settings, default=default)
    held = read_features(features).keys_in_use(config.use)
    letters = ",".join(letter for letter, modality in MODALITY_OF.items() if modality in held)
    if "modalities" in keys or letters == config.modalities:
        return options.settings, config
    absent = " and ".join(modality for modality in MODALITY_OF.values() if modality not in held)
    reporter.warn(f"{features} holds no {absent}: every system is trained with --modalities {letters}")
    return (*options.settings, f'modalities="{letters}"'), config.changed(modalities=letters)


def _parts(
    features: Path, table: LabelTable, out: Path, config: Settings, options: BenchmarkOptions, reporter: Reporter
) -> list[_Part]:
    """Write the labels of each part with its splits, so that every system has the same."""
    excluded = exclusions_of(features, options.exclude).reasons
    dataset = join(read_clip_names(features), table, config, excluded=excluded)
    for remark in dataset.remarks:
        reporter.warn(remark)
    own = [("", dataset.splits)]
    parts = []
    for name, splits in _folds(dataset, options.folds, config) if options.folds else own:
        folder = out / name if name else out
        folder.mkdir(parents=True, exist_ok=True)
        named = dict(zip(dataset.utterance_ids, splits.tolist(), strict=True))
        written = table.with_splits(named, how=name or "as given or drawn", seed=config.split_seed)
        write_labels(written, folder / LABELS_FILE)
        parts.append(_Part(folder, join(dataset.features, written, config, excluded=excluded), name))
    return parts


def _folds(dataset: Dataset, n_folds: int, config: Any) -> list[tuple[str, NDArray[np.str_]]]:
    """Return the splits of each fold: its videos are the test, validation is drawn from the other videos."""
    fold_of = video_folds(dataset.video_ids, n_folds, seed=config.split_seed)
    found = []
    for fold in range(n_folds):
        splits = np.where(fold_of == fold, "test", "train").astype("<U5")
        rest = np.flatnonzero(fold_of != fold)
        videos = [dataset.video_ids[row] for row in rest]
        held = hold_out(videos, dataset.labels["M"][rest], share=config.valid_fraction, seed=config.split_seed)
        splits[rest[held]] = "valid"
        found.append((f"fold_{fold + 1}", splits))
    return found


def _job(part: _Part, entry: Entry, features: Path, options: BenchmarkOptions) -> Job:
    return Job(
        name=entry.name,
        model=entry.model,
        features=features,
        labels=part.folder / LABELS_FILE,
        out=part.run(entry.name),
        seeds=options.seeds,
        preset=options.preset,
        settings=(*options.settings, *entry.settings),
        config=entry.config,
        reuse=None if entry.reuse is None else part.run(entry.reuse),
        exclude=options.exclude,
        device=options.device,
        text_model=options.text_model,
        fold=part.name.replace("_", " "),
    )


def _train(jobs: Sequence[Job], options: BenchmarkOptions, reporter: Reporter) -> dict[str, str]:
    """Train every job, those that take another's saved H last; return why a system has no result, by name."""
    failed: dict[str, str] = {}
    rounds = [[job for job in jobs if job.reuse is None], [job for job in jobs if job.reuse is not None]]
    board = SystemBoard(len(jobs), "systems", n_seeds=len(options.seeds), waiting={job.out: job.title for job in jobs})
    with (
        reporter.live(board.view) as is_shown,
        reporter.progress("Training", 0 if is_shown else len(jobs), unit="systems") as progress,
    ):
        for some in filter(None, rounds):
            ready = [job for job in some if job.reuse is None or job.reuse.name not in failed]
            for one in some:
                if one.reuse is not None and one.reuse.name in failed:
                    failed[one.name] = f"it takes the saved H of {one.reuse.name}, which has no result"
                    board.settle(one.out)
                    progress.advance(note=one.title)
            with _engine(options, len(ready)) as engine:
                for outcome in engine.run(Task(job, "train", job) for job in ready):
                    job: Job = outcome.task.key
                    reason = str(outcome.error) if outcome.error is not None else outcome.value
                    if reason:
                        failed.setdefault(job.name, reason)
                        reporter.warn(f"{job.title}: {reason}")
                    elif is_shown:
                        reporter.say(f"{job.title}: trained")
                    board.settle(job.out)
                    progress.advance(note=job.title)
    return failed


def _engine(options: BenchmarkOptions, n_jobs: int) -> Engine:
    make_worker = functools.partial(BenchmarkWorker)
    if options.engine == "ray":
        from fmltk.toolkit.run.ray_engine import RayEngine

        return RayEngine(make_worker, n_workers=options.jobs, address=options.ray_address)
    from fmltk.toolkit.run.local_engine import LocalEngine

    return LocalEngine(make_worker, n_workers=min(options.jobs or n_cores(), max(n_jobs, 1)))


def _results(
    parts: Sequence[_Part],
    entries: Sequence[Entry],
    left_out: dict[str, str],
    features: Path,
    config: Settings,
    options: BenchmarkOptions,
) -> Results:
    split = "test" if any((part.dataset.splits == "test").any() for part in parts) else "valid"
    systems, costs, runs, collapsed = [], {}, {}, {}
    for entry in entries:
        if entry.name in left_out:
            continue
        folders = [part.run(entry.name) for part in parts]
        try:
            system, cost = _joined(entry.name, [read_system(folder, split) for folder in folders]), _cost(folders)
            constant = [one for folder in folders for one in run_summary(folder)["collapsed"]]
        except FmltkError as error:  # a damaged file of one system leaves the others their rows
            named = ", ".join(map(str, folders))
            left_out[entry.name] = f"{error}; or delete {named}, and the same command trains it again"
            continue
        systems.append(system)
        costs[entry.name], runs[entry.name] = cost, folders
        if constant:
            collapsed[entry.name] = constant
    if not systems:
        raise TrainingError(
            "no system has a result: " + "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        )
    systems.sort(key=lambda one: one.name != (options.ablated or MAIN))
    systems += _references(parts, features, split, config)
    truths = _truths(parts, split)
    first = parts[0].dataset
    scored, shared = score_systems(systems, truths, first.family)
    if not shared:
        raise TrainingError(f"no labelled {split} clip is predicted by all of {', '.join(s.name for s in systems)}")
    tests = tests_of_first(scored, first.family)
    return Results(
        scored, tests, costs, runs, left_out, collapsed, first.family, config.preset, split, len(shared), len(truths)
    )


def _joined(name: str, parts: Sequence[System]) -> System:
    """Return a system whose clips are those of every part's test split."""
    seeds = tuple(seed for seed in parts[0].seeds if all(seed in part.seeds for part in parts))
    columns = [part.predictions[:, [part.seeds.index(seed) for seed in seeds]] for part in parts]
    ids = tuple(utterance for part in parts for utterance in part.utterance_ids)
    return System(name, ids, np.concatenate(columns), seeds, model=parts[0].model)


def _cost(folders: Sequence[Path]) -> dict[str, float]:
    """Return what a system cost: sums of CPU-seconds over the parts, the largest memory, means of the epoch's time."""
    stages = [run_summary(folder)["stages"].values() for folder in folders]
    seconds = [sum(stage["seconds_per_epoch"]["mean"] for stage in one) for one in stages]
    cost: dict[str, float] = {"seconds_per_epoch": float(np.mean(seconds))}
    files = [folder / COST_FILE for folder in folders]
    if not all(path.is_file() for path in files):
        return cost
    documents = [read_json(path) for path in files]
    cost["cpu_s"] = sum(one["cpu_s"] for one in documents)
    cost["n_weights"] = documents[0]["n_weights"]
    peaks = [one["peak_mb"] for one in documents]
    return cost if None in peaks else cost | {"peak_mb": max(peaks)}


def _references(parts: Sequence[_Part], features: Path, split: str, config: Settings) -> list[System]:
    """Return the constant predictor and the ridge regressions, of text and of all modalities, as systems of no seed."""
    letters = config.modalities.split(",")
    clips = read_clip_features(features, reading=Reading(letters=tuple(letters), use=config.use))
    row_of = {utterance: row for row, utterance in enumerate(clips.utterance_ids)}
    letters = [letter for letter in letters if clips.present(letter).any()]
    kinds = {"constant": (), **{f"ridge {letter}": (letter,) for letter in letters[:1]}}
    if len(letters) > 1:
        kinds[f"ridge {' '.join(letters)}"] = tuple(letters)
    found: dict[str, list[System]] = {name: [] for name in kinds}
    for part in parts:
        dataset = _with_features(part.dataset, clips, row_of)
        rows = np.flatnonzero(dataset.splits == split)
        ids = tuple(dataset.utterance_ids[row] for row in rows)
        for name, used in kinds.items():
            predictions = reference_predictions(dataset, used)[0] if used else _constant(dataset)
            found[name].append(System(name, ids, predictions[rows, None], (0,)))
    return [_joined(name, systems) for name, systems in found.items()]


def _with_features(dataset: Dataset, clips: Any, row_of: Mapping[str, int]) -> Dataset:
    rows = np.array([row_of[utterance] for utterance in dataset.utterance_ids], np.int64)
    return replace(dataset, features=clips.take(rows))


def _constant(dataset: Dataset) -> NDArray[np.float64]:
    known = (dataset.splits == "train") & np.isfinite(dataset.targets["M"])
    return np.full(len(dataset.splits), float(np.median(dataset.targets["M"][known])))


def _truths(parts: Sequence[_Part], split: str) -> dict[str, float]:
    truths = {}
    for part in parts:
        for utterance, its_split, value in zip(
            part.dataset.utterance_ids, part.dataset.splits, part.dataset.truths["M"], strict=True
        ):
            if its_split == split and np.isfinite(value):
                truths[utterance] = float(value)
    return truths


def write_results(out: Path, results: Results, *, with_published: bool) -> None:
    """Write benchmark.json, and the tables as Markdown, LaTeX and CSV."""
    tables = result_tables(results, with_published=with_published)
    write_json(out / RESULT_FILE, as_document(results, with_published=with_published), indent=1)
    write_bytes(out / MARKDOWN_FILE, "\n".join(table.markdown() for table in tables).encode())
    write_bytes(out / LATEX_FILE, "\n".join(table.latex() for table in tables).encode())
    for table in tables:
        table.write_csv(out / TABLES_FOLDER / f"{table.key}.csv")
