"""The search for a model's settings: trials on the training and the validation clips, in worker processes or on Ray.

TUNING/labels.parquet   the labels of the training and the validation clips; no other clip's are in any process
TUNING/journal.log      every trial, as Optuna's journal holds it
TUNING/tuning.json      what was searched, every trial's settings and error, importances, and what to make of them
TUNING/best.toml        the best settings, for `fmltk train --config`
"""

from __future__ import annotations

import functools
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.config import default_preset, load_config, write_toml
from fmltk.model.data import Reading, read_clip_features
from fmltk.model.dataset import join
from fmltk.model.options import RunOptions, check_options
from fmltk.model.prepared import fingerprint
from fmltk.model.registry import model_of
from fmltk.model.significance import paired_test
from fmltk.model.tuning.result_file import RESULT_FILE
from fmltk.model.tuning.space import plain, read_space
from fmltk.model.tuning.trial import (
    COMPLETE,
    ERRORS,
    FAILED,
    PRUNED,
    TrialJob,
    TrialResult,
    TuningWorker,
    open_study,
)
from fmltk.toolkit.catalog.exclusions import exclusions_of
from fmltk.toolkit.errors import ConfigError, TrainingError
from fmltk.toolkit.features.label_file import as_labels, find_labels, write_labels
from fmltk.toolkit.features.layout import is_feature_folder
from fmltk.toolkit.io.documents import write_json
from fmltk.toolkit.io.outputs import hold_folder
from fmltk.toolkit.machine import n_cores
from fmltk.toolkit.run.engine import Task

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator, Mapping, Sequence

    import pandas as pd
    from optuna import Study
    from optuna.trial import FrozenTrial

    from fmltk.model.settings import Settings
    from fmltk.model.tuning.space import Range
    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.features.label_table import LabelTable
    from fmltk.toolkit.run.engine import Engine

LABELS_FILE, BEST_FILE = "labels.parquet", "best.toml"
PERFECT_SHARE = 0.005  # of the labels' range: a mean error below this is not an achievement of settings
LEAST_P = 0.05  # of a paired t-test over the validation clips, of the best trial against the middle one


@dataclass(frozen=True, slots=True, kw_only=True)
class TuningOptions:
    """The options of a search.

    model, preset : whose settings, and what those are that are not searched; None: by the labels' scale
    settings : KEY=VALUE texts that change the preset, as `--set` takes them
    n_trials : in all, those of earlier calls included; the first has the preset's own settings
    space : a TOML file of ranges; None: the model's own
    seeds : of which every trial is the mean; sampler_seed : of Optuna's sampler
    jobs, engine, ray_address, device, text_model : as of a benchmark
    exclude : a table of clips to leave out
    """

    model: str = "fmlmsn"
    preset: str | None = None
    settings: tuple[str, ...] = ()
    n_trials: int = 50
    space: Path | None = None
    seeds: tuple[int, ...] = (0,)
    sampler_seed: int = 0
    jobs: int | None = None
    engine: str = "local"
    ray_address: str | None = None
    device: str = "cpu"
    text_model: str | None = None
    exclude: Path | None = None


def tune(
    features: str | os.PathLike[str],
    labels: str | os.PathLike[str] | pd.DataFrame | LabelTable | None = None,
    *,
    out: str | os.PathLike[str],
    options: TuningOptions | None = None,
    reporter: Reporter | None = None,
) -> dict[str, Any]:
    """Search for settings with a small mean absolute error on the validation clips; write and return tuning.json.

    Parameters
    ----------
    features, labels : as `train` takes them
    out : the folder of the search; the same call continues one that was stopped

    Raises ConfigError if the options do not fit or Optuna is not installed, and TrainingError if no trial has a result.
    """
    from fmltk.toolkit.console import Reporter as Console

    out, features, options = Path(out), Path(features), options or TuningOptions()
    reporter = reporter or Console(quiet=True)
    _require_optuna()
    if is_feature_folder(out):
        raise ConfigError(f"{out} is a feature folder; a search has a folder of its own: choose another -o")
    table = as_labels(find_labels(features) if labels is None else labels)
    table.require_numbers("a search minimises errors of")
    default = default_preset(table.scale)
    config = load_config(options.preset, settings=[f'model="{options.model}"', *options.settings], default=default)
    check_options(RunOptions(device=options.device, text_model=options.text_model), config, model_of(config))
    space = read_space(config, options.space)
    for key in (text.partition("=")[0].strip() for text in options.settings):
        if key in space:
            raise ConfigError(f"--set {key}: the search varies it; give it one value, or a range in --space, not both")
    with hold_folder(out):
        labels_of_trials, data = _data(features, table, config, options, reporter)
        study = open_study(out, seed=options.sampler_seed)
        _bind(study, config, space, options, out, data=data)
        write_labels(labels_of_trials, out / LABELS_FILE)
        _requeue(study)
        _run_trials(study, features, space, out, config, options, reporter)
        document = _document(study, config, space)
        for remark in document["remarks"]:
            reporter.warn(remark)
        write_json(out / RESULT_FILE, document, indent=1)
        write_toml(config.changed(**document["trials"][document["best"]]["settings"]), out / BEST_FILE)
    return document


def _require_optuna() -> None:
    try:
        import optuna  # noqa: F401
    except ImportError as error:
        raise ConfigError("tuning needs Optuna: pip install 'fmltk[tune]'") from error


def _data(
    features: Path, table: LabelTable, config: Settings, options: TuningOptions, reporter: Reporter
) -> tuple[LabelTable, str]:
    """Return the labels of the training and the validation clips, with the splits that every trial has, and a checksum.

    The checksum is of those clips' labels and features: what a trial learns and is scored from.
    """
    excluded = exclusions_of(features, options.exclude).reasons
    reading = replace(Reading.of(model_of(config), config), pooled="", whole=False, tokens=False)
    dataset = join(read_clip_features(features, reading=reading), table, config, excluded=excluded)
    for remark in dataset.remarks:
        reporter.warn(remark)
    splits = dict(zip(dataset.utterance_ids, dataset.splits.tolist(), strict=True))
    used = [row for row, one in enumerate(table.utterance_ids) if splits.get(one) in ("train", "valid")]
    known = table.with_splits(splits, how="without test", seed=config.split_seed).take(used)
    learned = join(dataset.features, known, config)
    clips = learned.features
    text = () if clips.text is None else (clips.text.steps, clips.text.offsets)
    return known, fingerprint(learned, [*clips.means.values(), *text])


def _bind(
    study: Study, config: Settings, space: Mapping[str, Range], options: TuningOptions, out: Path, *, data: str
) -> None:
    """Say what the study is of. Raises ConfigError if it is of something else already."""
    document = {
        "model": options.model,
        "preset": config.preset,
        "settings": list(options.settings),
        "space": _space_document(space),
        "seeds": list(options.seeds),
        "data": data,
    }
    before = study.user_attrs.get("search")
    if before is None:
        study.set_user_attr("search", document)
    elif before != document:
        differing = ", ".join(name for name in document if before.get(name) != document[name])
        raise ConfigError(f"{out} holds a search of other {differing}; choose another -o")


def _space_document(space: Mapping[str, Range]) -> dict[str, Any]:
    return {name: {**asdict(one), "choices": list(one.choices)} for name, one in space.items()}


def _requeue(study: Study) -> None:
    """Try the trials again that were running when an earlier call was killed."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        study.tell(trial.number, state=TrialState.FAIL)
        if trial.params:
            study.enqueue_trial(trial.params)


def _run_trials(
    study: Study,
    features: Path,
    space: Mapping[str, Range],
    out: Path,
    config: Settings,
    options: TuningOptions,
    reporter: Reporter,
) -> None:
    done = len(_counted(study))
    if not study.trials:
        study.enqueue_trial(_held(config, space))
    left = options.n_trials - done
    if left <= 0:
        return
    with (
        reporter.progress("Tuning", options.n_trials, unit="trials", done=done) as progress,
        _engine(options, left) as engine,
    ):
        for outcome in engine.run(_tasks(study, features, space, out, options, left)):
            result = outcome.value if outcome.error is None else TrialResult(FAILED, reason=str(outcome.error))
            _tell(study, outcome.task.key, result, reporter)
            progress.advance(note=_best_words(study))


def _counted(study: Study) -> list[FrozenTrial]:
    from optuna.trial import TrialState

    return list(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)))


def _held(config: Settings, space: Mapping[str, Range]) -> dict[str, Any]:
    """Return the preset's own values of what is searched, as far as the ranges hold them."""
    preset = config.as_dict()
    return {name: preset[name] for name, one in space.items() if one.holds(preset[name])}


def _tasks(
    study: Study, features: Path, space: Mapping[str, Range], out: Path, options: TuningOptions, left: int
) -> Iterator[Task[int]]:
    """Yield trials as they are taken, so that each learns from those that are done by then."""
    distributions = {name: one.distribution() for name, one in space.items()}
    for _ in range(left):
        trial = study.ask(distributions)
        job = TrialJob(
            folder=out.resolve(),
            features=features.resolve(),
            number=trial.number,
            trial_id=trial._trial_id,
            model=options.model,
            preset=options.preset,
            settings=options.settings,
            values=plain(trial.params),
            seeds=options.seeds,
            exclude=options.exclude,
            device=options.device,
            text_model=options.text_model,
        )
        yield Task(trial.number, "run", job)


def _tell(study: Study, number: int, result: TrialResult, reporter: Reporter) -> None:
    from optuna.trial import TrialState

    if result.state == COMPLETE:
        study.tell(number, result.value)
    else:
        study.tell(number, state=TrialState.PRUNED if result.state == PRUNED else TrialState.FAIL)
    if result.reason:
        reporter.warn(f"trial {number}: {result.reason}")


def _best_words(study: Study) -> str:
    values = [trial.value for trial in _complete(study) if trial.value is not None]
    return f"best MAE {min(values):.4f}" if values else ""


def _engine(options: TuningOptions, n_tasks: int) -> Engine:
    make_worker = functools.partial(TuningWorker)
    if options.engine == "ray":
        from fmltk.toolkit.run.ray_engine import RayEngine

        return RayEngine(make_worker, n_workers=options.jobs, address=options.ray_address)
    from fmltk.toolkit.run.local_engine import LocalEngine

    return LocalEngine(make_worker, n_workers=min(options.jobs or n_cores(), n_tasks))


def _complete(study: Study) -> list[FrozenTrial]:
    return [trial for trial in _counted(study) if trial.value is not None and np.isfinite(trial.value)]


def _document(study: Study, config: Settings, space: Mapping[str, Range]) -> dict[str, Any]:
    complete = [trial for trial in _complete(study) if ERRORS in trial.user_attrs]
    if not complete:
        raise TrainingError("no trial has a result; the warnings above say why")
    best = min(complete, key=lambda trial: (trial.value, trial.number))
    preset = {name: config.as_dict()[name] for name in space}
    outside = sorted(preset.keys() - _held(config, space))
    return {
        **study.user_attrs["search"],
        "trials": [
            {
                "number": trial.number,
                "state": trial.state.name.lower(),
                "value": trial.value if trial.state.name == "COMPLETE" else None,
                "settings": plain(trial.params),
            }
            for trial in study.trials
        ],
        "best": best.number,
        "preset_value": next((trial.value for trial in complete if plain(trial.params) == plain(preset)), None),
        "importances": _importances(study, complete),
        "remarks": [*_outside_remarks(preset, outside), *_remarks(complete, best, config)],
    }


def _outside_remarks(preset: Mapping[str, Any], outside: Sequence[str]) -> list[str]:
    if not outside:
        return []
    values = ", ".join(f"{name} = {preset[name]!r}" for name in outside)
    return [
        f"the ranges do not hold the preset's {values}: no trial has its settings, so the gain over it is not known; "
        "widen these ranges in --space and search into another -o"
    ]


def _importances(study: Study, complete: list[FrozenTrial]) -> dict[str, float]:
    """Return each setting's share of the differences between trials; {} with too few trials to say."""
    import optuna

    if len(complete) < 2 * 5 or len({trial.value for trial in complete}) < 2:
        return {}
    found = optuna.importance.get_param_importances(study, evaluator=optuna.importance.PedAnovaImportanceEvaluator())
    return {name: float(value) for name, value in found.items()}


def _remarks(complete: list[FrozenTrial], best: FrozenTrial, config: Settings) -> list[str]:
    """Return why the validation clips cannot choose between the trials; [] where they can."""
    assert best.value is not None  # noqa: S101 - of a complete trial
    span = 2.0 if config.preset == "ch-sims" else 6.0
    if best.value < PERFECT_SHARE * span:
        return [
            f"the validation error is {best.value:.4f}, next to nothing: the features know the labels of these clips, "
            "and choose no settings; `fmltk dataset check` looks for leaking features"
        ]
    if len(complete) < 3:
        return []
    middle = sorted(complete, key=lambda trial: trial.value or 0.0)[len(complete) // 2]
    test = paired_test(best.user_attrs[ERRORS], middle.user_attrs[ERRORS])
    if test.p < LEAST_P:
        return []
    return [
        f"the {test.n} validation clips do not tell the trials apart: the best trial's error is {best.value:.4f}, "
        f"the middle one's {middle.value:.4f} (paired t-test p = {test.p:.2f}); more clips or --seeds would; until "
        "then the preset is as good a choice"
    ]
