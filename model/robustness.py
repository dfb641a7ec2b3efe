"""A trained model's scores where a modality is missing, or its features are noisy.

The model stays as it was trained. A missing modality is replaced, for every clip, by the mean of the training clips'
steps, one step long; so the hidden activations that FmlMSN's fusion reads are those that its stages compute of that
mean, as they are for a clip that lacks the modality under the setting missing = "mean". Noise is normal, as many
standard deviations of the training clips' values as asked for, drawn for each clip and step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.compute import one_thread
from fmltk.model.data import Ragged
from fmltk.model.evaluation import evaluation_split, format_of_clips
from fmltk.model.metrics import metric_names, score
from fmltk.model.predict import TrainedModel
from fmltk.model.run_folder import read_kept, read_predictions, run_document, run_seeds, run_summary
from fmltk.model.settings import modality_letters
from fmltk.model.tasks import condition_predictions
from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.errors import ConfigError, StoreError, advised
from fmltk.toolkit.io.documents import write_json
from fmltk.toolkit.machine import check_device
from fmltk.toolkit.table_files import ResultTable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from fmltk.model.data import ClipFeatures

_SHAPE = {"split": str, "n": int, "rows": [{"name": str, "metrics": {"*": [(float, int, type(None))]}}]}
_damaged = advised(StoreError, "run the same `fmltk evaluate` again")
ROBUSTNESS_FILE = "robustness.json"  # of a run folder: the last call's rows, which its report shows


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Modalities that are missing, by letter, or noise on them in standard deviations."""

    letters: tuple[str, ...] = ()
    noise: float = 0.0

    def __str__(self) -> str:
        if not self.letters:
            return "as it is"
        names = " and ".join(MODALITY_OF[letter] for letter in self.letters)
        return f"{names} with noise of {self.noise:g} sd" if self.noise else f"without {names}"


def disturbances(drops: Sequence[str], noises: Sequence[float], letters: Sequence[str]) -> list[Disturbance]:
    """Return what to try, the undisturbed features first.

    drops : modalities that are missing together, by letter or name, such as "A" or "A,T"
    noises : each on every modality by itself; letters : what the model reads

    Raises ConfigError if a modality is unknown, is not read by the model, or all are dropped.

    >>> [str(one) for one in disturbances(["A"], [0.5], ["T", "A"])]
    ['as it is', 'without audio', 'text with noise of 0.5 sd', 'audio with noise of 0.5 sd']
    """
    found = [Disturbance()]
    for text in drops:
        dropped = tuple(modality_letters(text).split(","))
        unread = [MODALITY_OF[letter] for letter in dropped if letter not in letters]
        if unread:
            raise ConfigError(f"--drop {text}: the model does not read {', '.join(unread)}")
        if set(dropped) == set(letters):
            raise ConfigError(f"--drop {text}: nothing would be left of what the model reads")
        found.append(Disturbance(dropped))
    found += [Disturbance((letter,), noise) for noise in noises for letter in letters]
    return found


def robustness_table(
    run: Path,
    *,
    drops: Sequence[str],
    noises: Sequence[float],
    split: str,
    features: Path | None = None,
    device: str = "cpu",
) -> tuple[ResultTable, dict[str, Any]]:
    """Return the scores of M under every disturbance, over all seeds of a run, and the same as JSON holds it.

    features : the folder that the run was trained on, where it lies elsewhere now

    Raises ConfigError if the features do not fit the run or the modalities do not fit the model.
    """
    check_device(device)
    summary = run_summary(run)
    split = evaluation_split(summary, split)
    if summary["family"] == "nominal":
        raise ConfigError(f"{run} learned words; --drop and --noise are for labels that are numbers")
    metrics = metric_names(summary["family"])
    folder = features or Path(run_document(run)["features"])
    wanted: list[Disturbance] = []
    scores: list[list[dict[str, float]]] = []
    n, seeds = 0, run_seeds(run)
    for seed in seeds:
        model = TrainedModel.from_run(run, seed=seed)
        clips = model.read(folder)
        wanted = wanted or disturbances(drops, noises, list(model.schema))
        scores = scores or [[] for _ in wanted]
        frame = read_predictions(run, seed).set_index("utterance_id").reindex(clips.utterance_ids)
        truth = frame["truth_M"].to_numpy(dtype=np.float64, na_value=np.nan)
        is_train = (frame["split"] == "train").to_numpy()
        for place, predictions in enumerate(_predictions(model, clips, wanted, is_train, device=device)):
            known = (frame["split"] == split).to_numpy() & np.isfinite(truth) & np.isfinite(predictions)
            scores[place].append(score(predictions[known], truth[known], summary["family"]))
            n = int(known.sum())
    rows: list[dict[str, Any]] = [
        {"name": str(one), "metrics": {m: [seed[m] for seed in by_seed] for m in metrics}}
        for one, by_seed in zip(wanted, scores, strict=True)
    ]
    cells = [[row["name"], *(_cell(m, row["metrics"][m], n) for m in metrics)] for row in rows]
    note = (
        f"{n} {split} clips. The model is as it was trained. Missing: the mean of the training clips' steps instead; "
        "noise: in standard deviations of the training clips' values."
    )
    table = ResultTable("robustness", "What is missing or noisy", ["features", *metrics], cells, note=note)
    return table, {"split": split, "n": n, "seeds": seeds, "rows": rows}


def read_robustness(run: Path) -> dict[str, Any] | None:
    """Return the last call's rows; None where there was none. Raises StoreError if the file is broken."""
    return read_kept(run / ROBUSTNESS_FILE, _SHAPE, _damaged)


def write_robustness(run: Path, document: dict[str, Any]) -> None:
    """Keep the rows for the run's report."""
    write_json(run / ROBUSTNESS_FILE, document, indent=1)


def _cell(metric: str, values: Sequence[float], n: int) -> str:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return format_of_clips(metric, float(np.mean(values)), deviation, n)


def _predictions(
    model: TrainedModel,
    clips: ClipFeatures,
    wanted: Sequence[Disturbance],
    is_train: NDArray[np.bool_],
    *,
    device: str,
) -> Iterator[NDArray[np.float64]]:
    """Yield the predictions of M, float64 (n_clips,), under each disturbance."""
    with one_thread():
        for one in wanted:
            changed = disturbed(clips, one, is_train)
            yield condition_predictions(model.spec, model.predict_features(changed, device=device))["M"]


def disturbed(clips: ClipFeatures, how: Disturbance, is_train: NDArray[np.bool_]) -> ClipFeatures:
    """Return the features with modalities missing or noisy.

    is_train : bool (n_clips,), the clips whose values give the mean and the standard deviation
    """
    means, pooled, sequences, text = dict(clips.means), dict(clips.pooled), dict(clips.sequences), clips.text
    for letter in how.letters:
        draw = np.random.default_rng([0, ord(letter)])
        if letter == "T" and text is not None:
            text = _disturb_steps(text, how.noise, is_train, draw)
        if letter in means:
            means[letter] = _disturb_vectors(means[letter], how.noise, is_train, draw)
        if letter in pooled:
            pooled[letter] = _disturb_vectors(pooled[letter], how.noise, is_train, draw)
        if letter in sequences:
            sequences[letter] = _disturb_steps(sequences[letter], how.noise, is_train, draw)
    return replace(clips, means=means, pooled=pooled, sequences=sequences, text=text)


def _disturb_vectors(
    values: NDArray[np.float32], noise: float, is_train: NDArray[np.bool_], draw: np.random.Generator
) -> NDArray[np.float32]:
    """Return one vector, or L of them, per clip, float32 (n, d) or (n, L, d); clips without one stay so."""
    of_train = values[is_train].reshape(-1, values.shape[-1])
    flat = of_train[np.isfinite(of_train).all(axis=1)].astype(np.float64)
    if noise:
        changed = values + noise * flat.std(axis=0) * draw.standard_normal(values.shape)
    else:
        changed = np.where(np.isfinite(values), flat.mean(axis=0), np.nan)
    result: NDArray[np.float32] = changed.astype(np.float32)
    return result


def _disturb_steps(ragged: Ragged, noise: float, is_train: NDArray[np.bool_], draw: np.random.Generator) -> Ragged:
    if ragged.steps.dtype.kind != "f":
        return _disturb_tokens(ragged, noise)
    of_train = np.repeat(is_train, ragged.lengths) & ragged.valid
    known = ragged.steps[of_train].astype(np.float64)
    if noise:
        shaken = ragged.steps + noise * known.std(axis=0) * draw.standard_normal(ragged.steps.shape)
        return Ragged(shaken.astype(np.float32), ragged.offsets)
    has = ragged.has_valid
    steps = np.repeat(known.mean(axis=0, keepdims=True), int(has.sum()), axis=0).astype(np.float32)
    return Ragged(steps, np.concatenate([[0], np.cumsum(has)]).astype(np.int64))


def _disturb_tokens(ragged: Ragged, noise: float) -> Ragged:
    """Return the empty text's token numbers, the first and the last, for every clip that has some."""
    if noise:
        raise ConfigError("--noise: the model reads token numbers, which have no noise; --drop T leaves the text out")
    ends = np.stack([ragged.offsets[:-1], ragged.offsets[1:] - 1], axis=1)[ragged.lengths > 0].reshape(-1)
    lengths = np.where(ragged.lengths > 0, 2, 0)
    return Ragged(ragged.steps[ends], np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
