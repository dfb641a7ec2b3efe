"""A training run from a features folder to results: data, jobs, resuming, what is written where.

RUN/config.toml    every setting
RUN/run.json       what it was trained on: schema, splits, label sources, versions, fingerprints
RUN/seed_0/        stage_*.safetensors and stage_*.json, bimodal.parquet (H),
                   predictions.parquet, history.parquet, metrics.json
RUN/summary.json   mean and deviation over the seeds
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.checkpoint import schema_differences
from fmltk.model.config import config_from_dict, write_toml
from fmltk.model.data import ClipFeatures, manifest_splits, read_clip_features, read_labels
from fmltk.model.dataset import join, split_counts
from fmltk.model.metrics import metric_family
from fmltk.model.prepared import Prepared, fingerprint, prepare
from fmltk.model.registry import HIDDEN_PREFIX, model_spec
from fmltk.model.results import METRICS, SUMMARY, ClipTable, SeedJob, read_json, write_summary
from fmltk.model.reuse import copy_stages, decide, read_hidden, refuse_other_splits
from fmltk.model.schedule import run_jobs
from fmltk.model.stages import StageJob, is_done, seed_folder
from fmltk.toolkit.conditions import CONDITIONS
from fmltk.toolkit.errors import ConfigError, TrainingError
from fmltk.toolkit.features.label_file import find_labels

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.model.config import Config
    from fmltk.model.dataset import Dataset
    from fmltk.model.registry import ModelSpec
    from fmltk.toolkit.console import Reporter

RUN_FILE, CONFIG_FILE = "run.json", "config.toml"


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How a run is done, which changes none of its numbers.

    seeds : one result each; stages : only these, () for all; jobs : worker processes, 0 for this process
    reuse : an earlier run whose saved H may be taken; device : cpu, cuda, cuda:1, ...
    """

    seeds: tuple[int, ...] = (0,)
    stages: tuple[str, ...] = ()
    jobs: int = 1
    reuse: Path | None = None
    device: str = "cpu"


def train(
    features: str | Path,
    labels: str | Path | None = None,
    *,
    out: str | Path,
    config: Config,
    options: RunOptions | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Train a model and write a run folder; the same call goes on where an earlier one was stopped.

    Parameters
    ----------
    features : what `fmltk extract` or `fmltk dataset import` wrote
    labels : labels.parquet; by default the one in the features folder or beside it
    out : the run folder
    config : every setting that changes numbers

    Returns the summary over the seeds; {} where `options.stages` leaves out the last stage.

    Raises ConfigError if the data or the settings do not fit, also if `out` holds a run of other data or settings, and
    TrainingError if a loss is not finite or the multimodal predictions are constant.
    """
    from fmltk.toolkit.console import Reporter as Console

    reporter, options, out = reporter or Console(quiet=True), options or RunOptions(), Path(out)
    model = model_spec(config.model)
    _check_options(options, config, model)
    label_file = Path(labels) if labels is not None else find_labels(Path(features))
    label_table = read_labels(label_file)
    family = metric_family(label_table.scale)
    light = _only_fuses(options, config)
    read = _read_names_only(Path(features)) if light else read_clip_features(features)
    dataset = join(read, label_table, config)
    decisions = {}
    if options.reuse is not None:
        for seed in options.seeds:
            refuse_other_splits(options.reuse, seed, dataset)
        if config.retrain == "auto":
            decisions = {seed: decide(options.reuse, seed, dataset, config, family) for seed in options.seeds}
    for remark in dataset.remarks:
        reporter.warn(remark)
    for seed, decision in decisions.items():
        reporter.say(f"seed {seed}: {decision.reason}")
    retrained = [s for s in options.seeds if options.reuse is None or (s in decisions and decisions[s].retrain)]
    fused = [seed for seed in options.seeds if seed not in retrained]
    groups = []
    if retrained:
        letters = _letters(model)
        prepared = prepare(dataset, letters, limit=config.standard_limit, impute=config.missing == "mean")
        groups.append((retrained, prepared, "features"))
    for seed in fused:
        groups.append(([seed], _prepare_hidden(options.reuse, seed, dataset), f"hidden_{seed}"))
    out.mkdir(parents=True, exist_ok=True)  # nothing is left behind by what was refused so far
    with tempfile.TemporaryDirectory(prefix=".tmp-", dir=out) as temporary:
        del read
        dataset = replace(dataset, features=dataset.features.without_arrays())  # memory: the arrays are in `groups`
        mark = _mark(dataset, groups[0][1], config, options, family, features, label_file)
        mark["decisions"] = {str(seed): decision.reason for seed, decision in decisions.items()}
        _open_run(out, config, mark)
        _tell_start(reporter, dataset, model, groups[0][1], options)
        jobs, finish = [], []
        for seeds, prepared, name in groups:
            folder = Path(temporary) / name
            prepared.save(folder)
            for seed in seeds:
                new_jobs, done = _seed_jobs(seed, prepared, folder, dataset, model, config, options, out, family, fused)
                jobs += new_jobs
                finish += done
        del prepared, groups
        run_jobs(jobs, finish, n_workers=options.jobs, reporter=reporter)
    if not finish:
        if not all((seed_folder(out, seed) / METRICS).is_file() for seed in options.seeds):
            reporter.say(f"trained {', '.join(options.stages)}; run again without --stages for the rest")
            return {}
        reporter.say(f"{out} is complete; nothing was left to train")
    summary = write_summary(out, [seed_folder(out, seed) for seed in _all_seeds(out)])
    _refuse_collapse(summary, reporter)
    return summary


def _check_options(options: RunOptions, config: Config, model: ModelSpec) -> None:
    if not options.seeds or len(set(options.seeds)) != len(options.seeds):
        raise ConfigError(f"the seeds {options.seeds} are not one or more different numbers")
    for name in options.stages:
        model.stage(name)
    if options.jobs < 0:
        raise ConfigError(f"--jobs is {options.jobs}; it must be 0 (this process) or more")
    if options.reuse is None and config.retrain != "always":
        raise ConfigError(f"--retrain {config.retrain} decides about an earlier run's H: name that run with --reuse")
    if options.reuse is not None and config.retrain == "always":
        raise ConfigError("--reuse needs --stages fusion (train only the fusion) or --retrain auto (eq. 8 decides)")
    if options.reuse is not None:
        earlier = run_config(options.reuse)
        if earlier.model != config.model:
            raise ConfigError(f"--reuse {options.reuse} is a run of {earlier.model}, not of {config.model}")
        if not any(stage.needs for stage in model.stages):
            raise ConfigError(f"{config.model} has no stage that reads saved H; train it without --reuse")
    check_device(options.device)


def check_device(device: str) -> None:
    """Raise ConfigError for a device that is neither the CPU nor a CUDA device that torch sees."""
    import torch

    try:
        wanted = torch.device(device)
    except RuntimeError as error:
        raise ConfigError(f"--device {device!r} is no device; use cpu, cuda or cuda:1") from error
    if wanted.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {device}: only cpu and cuda are supported")
    if wanted.type == "cuda" and (wanted.index or 0) >= torch.cuda.device_count():
        n = torch.cuda.device_count()
        raise ConfigError(f"--device {device}: torch sees {n} CUDA devices here; use cpu, or see `fmltk doctor`")


def _only_fuses(options: RunOptions, config: Config) -> bool:
    return options.reuse is not None and config.retrain == "never"


def _letters(model: ModelSpec) -> tuple[str, ...]:
    used = {letter for stage in model.stages for letter in model.modalities(stage)}
    return tuple(letter for letter in ("T", "A", "V") if letter in used)


def _read_names_only(folder: Path) -> ClipFeatures:
    """Return the clips of a features folder without their sequences: all that a fusion of saved H needs."""
    from fmltk.toolkit.features.feature_set import read_features

    manifest = read_features(folder).manifest()
    texts = tuple(text if isinstance(text, str) else None for text in manifest["text"])
    ids = tuple(str(utterance) for utterance in manifest["utterance_id"])
    return ClipFeatures(ids, texts, None, {}, {}, {}, manifest_splits(manifest))


def _prepare_hidden(run: Path | None, seed: int, dataset: Dataset) -> Prepared:
    """Return saved H as the arrays of a fusion stage; a clip that the earlier run lacks takes no part."""
    hidden = read_hidden(run, seed, dataset.utterance_ids) if run is not None else {}
    n = len(dataset.utterance_ids)
    has = np.ones(n, bool)
    for values in hidden.values():
        has &= np.isfinite(values).all(axis=1)
    return Prepared(
        hidden,
        None,
        np.zeros(n + 1, np.int64),
        np.stack([dataset.targets[condition] for condition in CONDITIONS]).astype(np.float32),
        dataset.splits,
        np.array(dataset.video_ids, dtype=np.str_),
        dict.fromkeys(("T", "A", "V"), has),
        {},
        {},
    )


def _mark(
    dataset: Dataset,
    prepared: Prepared,
    config: Config,
    options: RunOptions,
    family: str,
    features: str | Path,
    labels: Path,
) -> dict[str, Any]:
    """Return what run.json holds: all that two calls must agree on to be the same run, and what users ask later."""
    import torch

    arrays: list[NDArray[Any]] = [*prepared.vectors.values(), prepared.offsets]
    schema = prepared.schema
    if options.reuse is not None and not schema:
        schema = run_document(options.reuse)["schema"]
    if prepared.steps is not None:
        arrays.append(prepared.steps)
    return {
        "fmltk": metadata.version("fmltk"),
        "torch": torch.__version__.split("+")[0],
        "features": str(features),
        "labels": str(labels),
        "reuse": None if options.reuse is None else str(options.reuse),
        "device": options.device.split(":")[0],
        "family": family,
        "scale": str(dataset.scale),
        "splits": split_counts(dataset),
        "label_sources": dict(dataset.sources),
        "remarks": list(dataset.remarks),
        "schema": {letter: dict(document) for letter, document in schema.items()},
        "fingerprint": fingerprint(dataset, arrays),
    }


def _open_run(out: Path, config: Config, mark: Mapping[str, Any]) -> None:
    """Begin a run folder, or check that what it holds is the same run."""
    from fmltk.toolkit.io.files import write_bytes

    if not (out / RUN_FILE).is_file():
        write_toml(config, out / CONFIG_FILE)
        write_bytes(out / RUN_FILE, json.dumps(mark, indent=1, ensure_ascii=False).encode())
        return
    before, earlier = run_document(out), run_config(out).as_dict()
    differences = [
        f"{key} was {earlier[key]!r}, now {value!r}" for key, value in config.as_dict().items() if earlier[key] != value
    ]
    for key in ("scale", "splits", "label_sources", "device", "torch", "reuse"):
        if before[key] != mark[key]:
            differences.append(f"{key} was {before[key]!r}, now {mark[key]!r}")
    if not differences and before["fingerprint"] != mark["fingerprint"]:
        differences.append("the features or the labels changed" + _schema_note(before["schema"], mark["schema"]))
    if differences:
        raise ConfigError(f"{out} holds a run of other settings: {'; '.join(differences)}. Choose another -o")


def _schema_note(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    differences = schema_differences(before, now)
    return f" ({'; '.join(differences)})" if differences else ""


def _seed_jobs(
    seed: int,
    prepared: Prepared,
    prepared_folder: Path,
    dataset: Dataset,
    model: ModelSpec,
    config: Config,
    options: RunOptions,
    out: Path,
    family: Any,
    fused: Sequence[int],
) -> tuple[list[StageJob], list[SeedJob]]:
    folder = seed_folder(out, seed)
    if (folder / METRICS).is_file():
        return [], []
    folder.mkdir(parents=True, exist_ok=True)
    given = [stage.name for stage in model.stages if HIDDEN_PREFIX + stage.name in prepared.vectors]
    saved = None
    if seed in fused and options.reuse is not None:
        saved = copy_stages(options.reuse, seed, folder, config)
    wanted = [stage.name for stage in model.stages if stage.name not in given]
    chosen = [name for name in wanted if not options.stages or name in options.stages]
    left = [name for name in chosen if not is_done(folder, name)]
    done = {name for name in wanted if is_done(folder, name)}
    for name in left:
        missing = set(model.stage(name).needs) - set(given) - done - set(left)
        if missing:
            raise ConfigError(
                f"stage {name} needs stage {', '.join(sorted(missing))}: train it as well, or name a run with --reuse"
            )
    jobs = [StageJob(name, seed, config, prepared_folder, folder, options.device) for name in left]
    if not set(wanted) <= done | set(left):
        return jobs, []
    clips = _clip_table(dataset, model, prepared, family)
    return jobs, [SeedJob(seed, config, prepared_folder, folder, options.device, clips, saved)]


def _clip_table(dataset: Dataset, model: ModelSpec, prepared: Prepared, family: Any) -> ClipTable:
    needed = model.modalities(model.stages[-1])
    usable = prepared.usable(needed)
    reasons = []
    for row, ok in enumerate(usable):
        told = [dataset.features.reasons.get(letter, ())[row : row + 1] for letter in needed]
        why = "; ".join(reason for part in told for reason in part if reason)
        reasons.append("" if ok else why or "no saved H")
    return ClipTable(
        dataset.utterance_ids,
        dataset.video_ids,
        dataset.features.texts,
        dataset.splits,
        dataset.truths,
        dataset.sources,
        tuple(reasons),
        family,
    )


def _tell_start(
    reporter: Reporter, dataset: Dataset, model: ModelSpec, prepared: Prepared, options: RunOptions
) -> None:
    counts = split_counts(dataset)
    reporter.say(
        f"{model.name}: {counts['train']} clips to train on, {counts['valid']} to validate, {counts['test']} to test; "
        f"seeds {', '.join(map(str, options.seeds))}"
    )
    others = {c: source for c, source in dataset.sources.items() if source != "labels"}
    if others:
        told = ", ".join(f"{condition} from {source}" for condition, source in others.items())
        reporter.say(f"labels: {told}; the others are the data's own")
    left_out = int(np.sum(~prepared.usable(model.modalities(model.stages[-1]))))
    if left_out:
        reporter.warn(
            f"{left_out} clips lack a modality and take no part in the stages that need it, nor in the fusion "
            "(--missing mean takes the training mean instead); their predictions are null, with the reason"
        )


def _refuse_collapse(summary: Mapping[str, Any], reporter: Reporter) -> None:
    """Warn of constant predictions; raise TrainingError where it is the multimodal one."""
    collapsed: list[str] = summary["collapsed"]
    if not collapsed:
        return
    fatal = [name for name in collapsed if name.endswith("_M")]
    others = [name for name in collapsed if name not in fatal]
    if others:
        reporter.warn(f"constant predictions: {', '.join(others)}; these tasks learned nothing")
    if fatal:
        raise TrainingError(
            f"the multimodal predictions are constant ({', '.join(fatal)}): the run collapsed. Its files are kept. "
            "Lower lr, look at `fmltk dataset check`, or try another seed"
        )


def _all_seeds(out: Path) -> list[int]:
    """Return the finished seeds of a run folder, in order."""
    return sorted(int(path.parent.name.removeprefix("seed_")) for path in out.glob(f"seed_*/{METRICS}"))


def run_document(run: Path) -> dict[str, Any]:
    """Return run.json of a run. Raises ConfigError if the folder is no run."""
    if not (run / RUN_FILE).is_file():
        raise ConfigError(f"{run} is no run folder: it has no {RUN_FILE}; `fmltk train` makes one")
    if (run / "manifest.parquet").is_file():
        raise ConfigError(f"{run} is a feature folder, not a run folder; `fmltk train` makes one of it")
    return read_json(run / RUN_FILE)


def run_config(run: Path) -> Config:
    """Return the settings of a run."""
    from fmltk.model.config import read_toml

    run_document(run)
    return config_from_dict(read_toml(run / CONFIG_FILE), str(run / CONFIG_FILE))


def run_summary(run: Path) -> dict[str, Any]:
    """Return the summary of a complete run."""
    run_document(run)
    return read_json(run / SUMMARY)


def run_seeds(run: Path) -> list[int]:
    """Return the finished seeds of a run. Raises ConfigError if there is none."""
    run_document(run)
    seeds = _all_seeds(run)
    if not seeds:
        raise ConfigError(f"{run} has no finished seed; run the same `fmltk train` again")
    return seeds
