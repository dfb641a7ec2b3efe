"""The arrays of one run on disk, standardised and unpadded, so that every worker process shares one copy of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fmltk.model.data import Ragged
from fmltk.model.inputs import StageInputs
from fmltk.model.registry import POOLED_SUFFIX
from fmltk.model.sequences import Sequences
from fmltk.model.standardise import Scaler, fit_scaler
from fmltk.model.videos import Videos
from fmltk.toolkit.clip import split_utterance_id
from fmltk.toolkit.conditions import CONDITIONS, MODALITY_OF
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.documents import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.model.data import ClipFeatures
    from fmltk.model.dataset import Dataset
    from fmltk.model.settings import Settings


@dataclass(frozen=True)
class Prepared:
    """The inputs of a stage for n clips.

    vectors : standardised float32 (n, d) by input name; offsets : int64 (n + 1,) of `steps`; targets : float32 (7, n),
    in the order of CONDITIONS; splits, videos : n texts; present : by modality letter, bool (n,); text_length : L where
    texts are read with their padding, else 0; sequences : by modality letter A and V, standardised steps where they are
    read whole; whole_lengths : by letter, L where they are read with their padding, else 0
    positions : int64 (n,), rising from clip to clip of a video; n_classes : of nominal targets, else 0
    """

    vectors: Mapping[str, NDArray[np.float32]]
    steps: NDArray[Any] | None
    offsets: NDArray[np.int64]
    targets: NDArray[np.float32]
    splits: NDArray[np.str_]
    videos: NDArray[np.str_]
    present: Mapping[str, NDArray[np.bool_]]
    scalers: Mapping[str, Scaler]
    schema: Mapping[str, dict[str, Any]]
    positions: NDArray[np.int64]
    text_length: int = 0
    sequences: Mapping[str, Ragged] = field(default_factory=dict)
    whole_lengths: Mapping[str, int] = field(default_factory=dict)
    n_classes: int = 0

    def inputs(self, device: str) -> StageInputs:
        """Return the inputs as tensors on a device."""
        steps = None if self.steps is None else torch.from_numpy(self.steps)
        vectors = {name: torch.from_numpy(values) for name, values in self.vectors.items()}
        videos = Videos.of(self.videos, self.positions, self.splits)
        whole = _as_inputs(self.sequences, self.whole_lengths)
        return StageInputs(vectors, steps, self.offsets, self.text_length, videos, whole, self.n_classes).to(device)

    def labels(self, tasks: Sequence[str], device: str) -> dict[str, torch.Tensor]:
        """Return the tasks' targets, float32 (n,), NaN where there is none."""
        return {task: torch.from_numpy(self.targets[CONDITIONS.index(task)].copy()).to(device) for task in tasks}

    def usable(self, modalities: Sequence[str]) -> NDArray[np.bool_]:
        """Return which clips have all of these modalities, bool (n,)."""
        usable = np.ones(len(self.splits), bool)
        for modality in modalities:
            usable &= self.present[modality]
        return usable

    def save(self, folder: Path) -> None:
        """Write everything below `folder`, as plain arrays that can be mapped into memory."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, values in self.vectors.items():
            np.save(folder / f"vector_{name}.npy", values)
        if self.steps is not None:
            np.save(folder / "steps.npy", self.steps)
        for letter, one in self.sequences.items():
            np.save(folder / f"steps_{letter}.npy", one.steps)
        small: dict[str, NDArray[Any]] = {"offsets": self.offsets, "targets": self.targets}
        small |= {"splits": self.splits, "videos": self.videos, "positions": self.positions}
        small |= {f"offsets_{letter}": one.offsets for letter, one in self.sequences.items()}
        small |= {f"present_{letter}": values for letter, values in self.present.items()}
        for letter, scaler in self.scalers.items():
            small |= {f"center_{letter}": scaler.center, f"inverse_{letter}": scaler.inverse}
        np.savez(folder / "small.npz", **small)  # type: ignore[arg-type]
        limits = {letter: scaler.limit for letter, scaler in self.scalers.items()}
        document = {"schema": self.schema, "limits": limits, "text_length": self.text_length}
        document["whole_lengths"] = dict(self.whole_lengths)
        document["n_classes"] = self.n_classes
        write_json(folder / "document.json", document)

    @classmethod
    def open(cls, folder: Path) -> Prepared:
        """Map what `save` wrote; pages are shared between processes, and never written back."""
        document = read_json(folder / "document.json")
        with np.load(folder / "small.npz", allow_pickle=False) as file:
            small = dict(file.items())
        names = [path.stem.removeprefix("vector_") for path in sorted(folder.glob("vector_*.npy"))]
        steps = folder / "steps.npy"
        return cls(
            {name: _mapped(folder / f"vector_{name}.npy") for name in names},
            _mapped(steps) if steps.is_file() else None,
            small["offsets"],
            small["targets"],
            small["splits"],
            small["videos"],
            {key.removeprefix("present_"): values for key, values in small.items() if key.startswith("present_")},
            {m: Scaler(small[f"center_{m}"], small[f"inverse_{m}"], limit) for m, limit in document["limits"].items()},
            document["schema"],
            small["positions"],
            document["text_length"],
            {m: Ragged(_mapped(folder / f"steps_{m}.npy"), small[f"offsets_{m}"]) for m in document["whole_lengths"]},
            document["whole_lengths"],
            document["n_classes"],
        )


def _mapped(path: Path) -> NDArray[Any]:
    values: NDArray[Any] = np.load(path, mmap_mode="c", allow_pickle=False)
    return values


def _as_inputs(sequences: Mapping[str, Ragged], lengths: Mapping[str, int]) -> dict[str, Sequences]:
    return {m: Sequences(torch.from_numpy(one.steps), one.offsets, lengths[m]) for m, one in sequences.items()}


def prepare(dataset: Dataset, modalities: Sequence[str], settings: Settings) -> Prepared:
    """Standardise a dataset on its training split, or leave its numbers as they are, as the settings say.

    modalities : the letters that the model reads; a clip that lacks one gets the training mean, which is 0 once
    standardised, where the setting `missing` is "mean"

    Raises ConfigError if the features hold no such modality, or no training clip has it.
    """
    features, impute = dataset.features, settings.missing == "mean"
    train = dataset.splits == "train"
    vectors: dict[str, NDArray[np.float32]] = {}
    scalers: dict[str, Scaler] = {}
    whole: dict[str, Ragged] = {}
    present = {letter: features.present(letter) for letter in modalities}
    for letter in modalities:
        if letter not in features.schema:
            raise ConfigError(f"the features hold no {MODALITY_OF[letter]}{_remedy(features, modalities, letter)}")
        if not (train & present[letter]).any():
            raise ConfigError(
                f"no training clip has {MODALITY_OF[letter]} features{_remedy(features, modalities, letter)}"
            )
        sequences = features.whole(letter)
        if sequences is not None:
            used = np.repeat(train, sequences.lengths) & sequences.valid
            scalers[letter] = _scaler(sequences.steps, used, settings)
            whole[letter] = _standardised(sequences, scalers[letter], impute=impute)
        else:
            name, values = _values_of(features, letter)
            scalers[letter] = _scaler(values, train & present[letter], settings)
            vectors[name] = np.nan_to_num(scalers[letter].transform(values))
        if impute:
            present[letter] = np.ones(len(train), bool)
    text = whole.pop("T", None)
    return Prepared(
        vectors,
        None if text is None else text.steps,
        np.zeros(len(train) + 1, np.int64) if text is None else text.offsets,
        np.stack([dataset.targets[condition] for condition in CONDITIONS]).astype(np.float32),
        dataset.splits,
        np.array(dataset.video_ids, dtype=np.str_),
        present,
        scalers,
        {letter: features.schema[letter] for letter in modalities},
        features.positions,
        text_length(features.schema, settings),
        whole,
        _whole_lengths(whole, features.schema, settings),
        dataset.n_classes,
    )


def _remedy(features: ClipFeatures, modalities: Sequence[str], absent: str) -> str:
    """Return in words what can be done about a modality that the features, or their training clips, do not have."""
    others = ",".join(letter for letter in modalities if letter != absent and letter in features.schema)
    train = f"train on the others with --modalities {others}, or " if others else ""
    return (
        f", which the model reads; {train}extract into another folder (-o), "
        f"with --modalities that name {MODALITY_OF[absent]} as well"
    )


def _values_of(features: ClipFeatures, letter: str) -> tuple[str, NDArray[np.float32]]:
    """Return the name of an input and its numbers: the pooled steps where they were read, else the means."""
    if letter in features.pooled:
        return letter + POOLED_SUFFIX, features.pooled[letter]
    return letter, features.means[letter]


def _scaler(values: NDArray[np.float32], used: NDArray[np.bool_], settings: Settings) -> Scaler:
    """Return the scaler of values (n, d) or (n, L, d), from the rows that are `used`."""
    d = values.shape[-1]
    if not settings.standardise or _are_tokens(values):
        return Scaler.unchanged(d)
    n_steps = values.shape[1] if values.ndim == 3 else 1
    return fit_scaler(values.reshape(-1, d), used=np.repeat(used, n_steps), limit=settings.standard_limit)


def _are_tokens(steps: NDArray[Any]) -> bool:
    return steps.dtype.kind == "i"


def text_length(schema: Mapping[str, Mapping[str, Any]], settings: Settings) -> int:
    """Return the steps that texts are read with: L where the settings want the padding, else 0 for each one's own."""
    return int(schema["T"]["length"]) if settings.text_steps == "padded" and "T" in schema else 0


def _whole_lengths(
    letters: Collection[str], schema: Mapping[str, Mapping[str, Any]], settings: Settings
) -> dict[str, int]:
    """Return by letter the steps that whole audio and vision are read with: L with the padding, else 0."""
    return {m: int(schema[m]["length"]) if settings.frames == "padded" else 0 for m in letters}


def _standardised(sequences: Ragged, scaler: Scaler, *, impute: bool) -> Ragged:
    """Return standardised steps; those that are not valid become 0, the mean."""
    if _are_tokens(sequences.steps):
        return sequences
    steps = scaler.transform(sequences.steps)
    np.nan_to_num(steps, copy=False)
    missing = sequences.lengths == 0
    if not (impute and missing.any()):
        return Ragged(steps, sequences.offsets)
    lengths = np.where(missing, 1, sequences.lengths)  # a clip that lacks the modality becomes one step at the mean
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Ragged(np.insert(steps, sequences.offsets[:-1][missing], 0.0, axis=0), offsets)


def prepare_features(
    features: ClipFeatures, scalers: Mapping[str, Scaler], settings: Settings
) -> tuple[StageInputs, dict[str, NDArray[np.bool_]]]:
    """Standardise new clips with a model's statistics; return the inputs and which clips have which modality."""
    impute = settings.missing == "mean"
    vectors: dict[str, torch.Tensor] = {}
    whole: dict[str, Ragged] = {}
    present = {letter: features.present(letter) for letter in scalers}
    for letter, scaler in scalers.items():
        sequences = features.whole(letter)
        if sequences is not None:
            whole[letter] = _standardised(sequences, scaler, impute=impute)
        else:
            name, values = _values_of(features, letter)
            vectors[name] = torch.from_numpy(np.nan_to_num(scaler.transform(values)))
        if impute:
            present[letter] = np.ones(len(features.utterance_ids), bool)
    text = whole.pop("T", None)
    steps = None if text is None else torch.from_numpy(text.steps)
    offsets = np.zeros(len(features.utterance_ids) + 1, np.int64) if text is None else text.offsets
    sequences_of = _as_inputs(whole, _whole_lengths(whole, features.schema, settings))
    ids = [split_utterance_id(utterance)[0] for utterance in features.utterance_ids]
    videos = Videos.of(ids, features.positions, None)
    return StageInputs(vectors, steps, offsets, text_length(features.schema, settings), videos, sequences_of), present


def fingerprint(dataset: Dataset, arrays: Sequence[NDArray[Any]]) -> str:
    """Return a checksum of what a run learns from: ids, splits, targets and features."""
    digest = hashlib.sha256()
    digest.update(json.dumps([dataset.utterance_ids, dataset.splits.tolist(), dataset.sources]).encode())
    for condition in CONDITIONS:
        digest.update(np.ascontiguousarray(dataset.targets[condition]).tobytes())
    for values in arrays:
        digest.update(str(values.shape).encode())
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
