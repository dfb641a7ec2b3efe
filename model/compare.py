"""Systems side by side on the same clips: scores, intervals, paired t-tests (the paper's tables 5, 6 and 9)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.evaluation import describe_sources, evaluation_split, format_of_clips, format_score
from fmltk.model.metrics import metric_names, score, sign_correct
from fmltk.model.nominal import class_numbers
from fmltk.model.run_folder import read_predictions, run_config, run_document, run_model, run_seeds, run_summary
from fmltk.model.significance import mean_interval, p_text, paired_test
from fmltk.toolkit.conditions import Scale
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd
    from numpy.typing import NDArray

    from fmltk.model.metrics import Family

LABEL_TOLERANCE = 1e-6


@dataclass(frozen=True)
class System:
    """The compared predictions: multimodal predictions of the same clips, one column per seed.

    predictions : float64 (n_clips, n_seeds); seeds : of a run or a file, () where they have no numbers
    model, reading, seconds_per_epoch, labels : of a run: what it is, what it reads of a clip's steps, how long all its
        stages take, and where each task's training labels come from
    """

    name: str
    utterance_ids: tuple[str, ...]
    predictions: NDArray[np.float64]
    seeds: tuple[int, ...]
    seconds_per_epoch: float | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    reading: str = ""


def read_system(path: Path, split: str, names: Sequence[str] = ()) -> System:
    """Return a run, or any system's predictions file, as a system to compare.

    A file is CSV, TSV, JSONL or Parquet with utterance_id (or video_id and clip_id), prediction and optionally seed.

    names : of nominal labels, the classes, which are then predicted

    Raises ConfigError if it is neither, or predicts something else.
    """
    if path.is_dir():
        return _read_run(path, split, names)
    return _read_file(path, names)


def _read_run(run: Path, split: str, names: Sequence[str]) -> System:
    summary = run_summary(run)
    split = evaluation_split(summary, split)
    if (summary["family"] == "nominal") != bool(names):
        raise ConfigError(
            f"{run} predicts {'numbers' if names else 'classes'}, the first run does not; compare like with like"
        )
    columns = []
    ids: tuple[str, ...] = ()
    seeds = run_seeds(run)
    for seed in seeds:
        frame = read_predictions(run, seed)
        frame = frame[frame["split"] == split]
        ids = tuple(frame["utterance_id"])
        columns.append(_numbers(frame["pred_M"], names, str(run)))
    seconds = sum(stage["seconds_per_epoch"]["mean"] for stage in summary["stages"].values())
    labels = {task["task"]: task["labels"] for task in summary["tasks"].values()}
    return System(
        str(run), ids, np.stack(columns, axis=1), tuple(seeds), seconds, labels, run_model(run), run_config(run).reading
    )


def _numbers(values: pd.Series[Any], names: Sequence[str], source: str) -> NDArray[np.float64]:
    """Return predictions or truths as numbers; where they are classes, those of `names`."""
    return class_numbers(list(values), names, source=source) if names else _floats(values)


def _floats(values: pd.Series[Any]) -> NDArray[np.float64]:
    numbers: NDArray[np.float64] = values.to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers


def _read_file(path: Path, names: Sequence[str]) -> System:
    from fmltk.toolkit.clip import utterance_id
    from fmltk.toolkit.io.tables import read_rows

    if not path.exists():
        raise ConfigError(f"{path} does not exist; name run folders or predictions files")
    by_seed: dict[str, dict[str, float]] = {}
    for where, row in read_rows(path):
        predicted = "class_M" if names else "score_M"  # what `fmltk predict` writes
        if "prediction" not in row and predicted in row:
            row["prediction"] = row[predicted]
        if "prediction" not in row or not ("utterance_id" in row or {"video_id", "clip_id"} <= set(row)):
            raise ConfigError(
                f"{where}: a predictions file has the columns utterance_id (or video_id and clip_id) and prediction, "
                f"and optionally seed; this has {', '.join(row)}"
            )
        utterance = row.get("utterance_id") or utterance_id(row["video_id"], row["clip_id"])
        value = _prediction(row["prediction"], names, f"{where}: the prediction of {utterance!r}")
        seed = by_seed.setdefault(row.get("seed") or "0", {})
        if utterance in seed:
            raise ConfigError(f"{where}: clip {utterance!r} occurs twice for one seed")
        seed[utterance] = value
    if not by_seed:
        raise ConfigError(f"{path} holds no prediction")
    ids = tuple(dict.fromkeys(utterance for seed in by_seed.values() for utterance in seed))
    columns = [[seed.get(utterance, float("nan")) for utterance in ids] for seed in by_seed.values()]
    seeds = tuple(int(seed) for seed in by_seed) if all(seed.isdecimal() for seed in by_seed) else ()
    return System(str(path), ids, np.array(columns).T, seeds)


def _prediction(text: str, names: Sequence[str], what: str) -> float:
    if names:
        return float(class_numbers([text], names, source=what)[0])
    try:
        return float(text) if text else float("nan")
    except ValueError as error:
        raise ConfigError(f"{what} is {text!r}; it is not a number") from error


def compare(paths: Sequence[Path], split: str) -> dict[str, Any]:
    """Compare systems on the same clips: scores, confidence intervals, and paired t-tests of the first against each.

    The first path is a run, whose labels are the truth. Only clips that every system predicts are scored; the others
    are counted.

    Raises ConfigError if the first path is not a run, fewer than two are given, labels of another run are on another
    scale, or no clip is shared.
    """
    if len(paths) < 2:
        raise ConfigError("compare needs a run, and one or more runs or predictions files to compare it with")
    first = paths[0]
    split = evaluation_split(run_summary(first), split)
    frame = read_predictions(first, run_seeds(first)[0])
    frame = frame[(frame["split"] == split) & frame["truth_M"].notna()]
    document = run_document(first)
    family: Family = document["family"]
    names = Scale.parse(document["scale"]).names if family == "nominal" else ()
    truths = dict(zip(frame["utterance_id"], _numbers(frame["truth_M"], names, str(first)), strict=True))
    systems = [read_system(path, split, names) for path in paths]
    predicted = [_predicted(system) for system in systems]
    shared = [utterance for utterance in truths if all(utterance in ids for ids in predicted)]
    if not shared:
        raise ConfigError(
            f"no labelled {split} clip is predicted by all of {', '.join(system.name for system in systems)}"
        )
    truth = np.array([truths[utterance] for utterance in shared])
    others = {str(path): n for path in paths[1:] if (n := _n_other_labels(path, document["scale"], truths, names))}
    scored = [_score_system(system, shared, truth, family) for system in systems]
    return {
        "split": split,
        "family": family,
        "n_clips": len(shared),
        "n_left_out": len(truths) - len(shared),
        "other_labels": others,
        "systems": [_system_row(system, truth, family) for system in scored],
        "tests": [_tests(scored[0], other, truth, family) for other in scored[1:]],
    }


def _n_other_labels(path: Path, scale: str, truths: Mapping[str, float], names: Sequence[str]) -> int:
    """Return how many clips have another label in a run than in `truths`; 0 of a predictions file.

    Raises ConfigError if the run's labels are on another scale.
    """
    if not path.is_dir():
        return 0
    own = run_document(path)["scale"]
    if not names and own != scale:
        raise ConfigError(f"{path} has labels on the scale {own}, the first run on {scale}; compare runs of one scale")
    frame = read_predictions(path, run_seeds(path)[0])
    labels = zip(frame["utterance_id"], _numbers(frame["truth_M"], names, str(path)), strict=True)
    return sum(abs(label - truths.get(utterance, label)) > LABEL_TOLERANCE for utterance, label in labels)


def other_labels_notes(result: Mapping[str, Any]) -> list[str]:
    """Return what is said of systems that learned other labels than the first run's, by which all are scored."""
    return [
        f"{name} has another label for {n} of these clips: scores are against the first run's"
        for name, n in result["other_labels"].items()
    ]


@dataclass(frozen=True)
class _Scored:
    """A system on the clips that all predict.

    predictions : float64 (n_shared, n_seeds); scores : by metric, one per seed
    """

    system: System
    predictions: NDArray[np.float64]
    scores: Mapping[str, Sequence[float]]


def _score_system(system: System, shared: Sequence[str], truth: NDArray[np.float64], family: Family) -> _Scored:
    row_of = {utterance: row for row, utterance in enumerate(system.utterance_ids)}
    predictions = system.predictions[[row_of[utterance] for utterance in shared]]
    by_seed = [score(column, truth, family) for column in predictions.T]
    return _Scored(system, predictions, {name: [one[name] for one in by_seed] for name in metric_names(family)})


def _system_row(scored: _Scored, truth: NDArray[np.float64], family: Family) -> dict[str, Any]:
    if family == "nominal":
        over_clips = mean_interval(_right(scored, truth, family))
    else:
        over_clips = mean_interval(_errors(scored.predictions, truth))
    return {
        "name": scored.system.name,
        "model": scored.system.model,
        "reading": scored.system.reading,
        "n_seeds": scored.predictions.shape[1],
        "seconds_per_epoch": scored.system.seconds_per_epoch,
        "labels": dict(scored.system.labels),
        "metrics": {name: _interval(values) for name, values in scored.scores.items()},
        f"{over_clips_name(family)}_over_clips".lower(): dict(zip(("mean", "low", "high"), over_clips, strict=True)),
    }


def _predicted(system: System) -> set[str]:
    """Return the clips that every seed of a system predicts."""
    whole: NDArray[np.bool_] = np.asarray(np.isfinite(system.predictions).all(axis=1))
    return {utterance for utterance, ok in zip(system.utterance_ids, whole, strict=True) if ok}


def _interval(values: Sequence[float]) -> dict[str, Any]:
    mean, low, high = mean_interval(values)
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else float("nan")
    return {"mean": mean, "std": deviation, "low": low, "high": high, "values": list(values)}


def _errors(values: NDArray[np.float64], truth: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return each clip's absolute error, the mean over the seeds, float64 (n_clips,)."""
    errors: NDArray[np.float64] = np.abs(values - truth[:, None]).mean(axis=1)
    return errors


def _right(scored: _Scored, truth: NDArray[np.float64], family: Family) -> NDArray[np.float64]:
    """Return the share of seeds that have each clip's sign, or class, right, float64 (n_clips,)."""
    right: NDArray[np.float64] = np.mean([sign_correct(one, truth, family) for one in scored.predictions.T], axis=0)
    return right


def over_clips_name(family: Family) -> str:
    """Return the metric whose interval over clips is given: MAE, of classes the accuracy."""
    return "Acc" if family == "nominal" else "MAE"


def _tests(a: _Scored, b: _Scored, truth: NDArray[np.float64], family: Family) -> dict[str, Any]:
    """Return paired t-tests of a against b: over seeds for every metric, over clips for error and sign."""
    common = [seed for seed in a.system.seeds if seed in b.system.seeds]
    columns = [(a.system.seeds.index(seed), b.system.seeds.index(seed)) for seed in common]
    metrics = tuple(a.scores) if len(common) > 1 else ()
    over_seeds = {
        name: paired_test([a.scores[name][k] for k, _ in columns], [b.scores[name][k] for _, k in columns])
        for name in metrics
    }
    right = paired_test(_right(a, truth, family), _right(b, truth, family))
    errors = paired_test(_errors(a.predictions, truth), _errors(b.predictions, truth))
    over_clips = {"Acc": right} if family == "nominal" else {"MAE": errors}
    over_clips |= {"Acc-2": right} if family in ("ch-sims", "mosi") else {}
    return {
        "a": a.system.name,
        "b": b.system.name,
        "over_seeds": {name: _as_dict(test) for name, test in over_seeds.items()},
        "over_clips": {name: _as_dict(test) for name, test in over_clips.items()},
    }


def _as_dict(test: Any) -> dict[str, Any]:
    return {"n": test.n, "difference": test.difference, "low": test.low, "high": test.high, "p": test.p}


def _signed(difference: float) -> str:
    return "–" if np.isnan(difference) else f"{difference:+.4f}"


def comparison_rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]], list[str], list[list[str]]]:
    """Return (columns, rows) of the scores and (columns, rows) of the tests of `compare`."""
    metrics, over = metric_names(result["family"]), over_clips_name(result["family"])
    rows = []
    for system in result["systems"]:
        seconds = system["seconds_per_epoch"]
        own = system["metrics"]
        cells = [format_of_clips(m, own[m]["mean"], own[m]["std"], result["n_clips"]) for m in metrics]
        low, high = (format_score(over, system[f"{over.lower()}_over_clips"][end]) for end in ("low", "high"))
        time = "" if seconds is None else f"{seconds:.4f}"
        name, labels, n = system["name"], describe_sources(system["labels"]), str(system["n_seeds"])
        rows.append([name, system["model"], system["reading"], labels, n, *cells, f"{low} to {high}", time])
    tests = []
    for test in result["tests"]:
        for pairs, outcomes in (("seeds", test["over_seeds"]), ("clips", test["over_clips"])):
            for metric, outcome in outcomes.items():
                tests.append(
                    [
                        f"{test['a']} - {test['b']}",
                        metric,
                        f"{outcome['n']} {pairs}",
                        _signed(outcome["difference"]),
                        f"{_signed(outcome['low'])} to {_signed(outcome['high'])}" if outcome["n"] > 1 else "–",
                        p_text(outcome["p"]) or "–",
                    ]
                )
    columns = ["system", "model", "reads", "labels", "seeds", *metrics, f"{over}, 95 % over clips", "s/epoch"]
    return columns, rows, ["difference", "metric", "pairs", "mean", "95 % interval", "p"], tests
