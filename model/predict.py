"""A trained model as one object: from a run or a folder, to scores of new clips, and back to a folder.

The folder has two files, config.json and model.safetensors, as on the Hugging Face hub.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch

from fmltk.model.checkpoint import StageCheckpoint, load_stage, restore_stage, schema_differences, stage_parts
from fmltk.model.compute import one_thread
from fmltk.model.config import config_from_dict
from fmltk.model.data import Reading, read_clip_features
from fmltk.model.inputs import predict_stage, spread
from fmltk.model.network import NETWORK
from fmltk.model.nominal import class_words, decided
from fmltk.model.prepared import prepare_features
from fmltk.model.registry import HIDDEN_PREFIX, model_of, model_spec
from fmltk.model.run_folder import chosen_seed, run_config, run_document, run_seeds, seed_folder, stage_file
from fmltk.model.tasks import condition_predictions, task_key
from fmltk.model.tensors import read_tensors, write_tensors
from fmltk.toolkit.classes import classes_of_values
from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.conditions import CONDITIONS, MODALITY_OF, Scale
from fmltk.toolkit.errors import ConfigError, DamagedFileError, advised
from fmltk.toolkit.io.documents import read_json, write_json
from fmltk.toolkit.machine import check_device

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from fmltk.model.data import ClipFeatures
    from fmltk.model.registry import ModelSpec
    from fmltk.model.settings import Settings
    from fmltk.model.standardise import Scaler

WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"
FORMAT = 1


@dataclass(frozen=True, repr=False)
class TrainedModel:
    """All stages of one seed of a run, ready to predict. Its repr is three lines: what it is, reads, learned from.

    Attributes
    ----------
    name : the model's name, such as fmlmsn
    stages : by name, in order
    scale : of the labels it learned
    splits : how many clips it was trained, validated and tested on, as the run counted them
    """

    name: str
    stages: Mapping[str, StageCheckpoint]
    scale: Scale
    splits: Mapping[str, int] = field(default_factory=dict)
    only: ClassVar[str] = ""  # the one model that a subclass stands for

    def __post_init__(self) -> None:
        if self.only and self.name != self.only:
            raise ConfigError(f"this is a model named {self.name}; load it with TrainedModel")

    def __repr__(self) -> str:
        tasks = {task for stage in self.spec.stages for task in stage.tasks}
        conditions = ", ".join(condition for condition in CONDITIONS if condition in tasks)
        inputs = ", ".join(
            f"{MODALITY_OF[letter]} of {document['dimension']} features x {document['length']} steps"
            for letter, document in self.schema.items()
        )
        n_weights = sum(weight.numel() for stage in self.stages.values() for weight in stage.net.parameters())
        counts = ", ".join(f"{self.splits[split]} {split}" for split in SPLITS if split in self.splits)
        name = "" if self.only else f" {self.name}"  # else the class says it
        return (
            f"{type(self).__name__}{name}: stages {', '.join(self.stages)}; scores {conditions} on {self.scale}\n"
            f"  reads {inputs}\n"
            f"  {n_weights:,} weights; clips: {counts or 'not recorded'}"
        )

    @classmethod
    def from_run(cls, run: str | os.PathLike[str], *, seed: int | None = None) -> Self:
        """Return the model of a run folder.

        Parameters
        ----------
        run
            The folder that `fmltk train` wrote.
        seed
            Which; by default the one with the smallest validation error of the last stage (ties: the smallest seed).

        Raises
        ------
        ConfigError
            If the folder is not a run's or has no such seed.
        """
        run = Path(run)
        document = run_document(run)
        folder = seed_folder(run, chosen_seed(run, seed))
        model = model_of(run_config(run))
        stages = {stage.name: load_stage(stage_file(folder, stage.name)) for stage in model.stages}
        return cls(model.name, stages, Scale.parse(document["scale"]), document["splits"])

    @property
    def settings(self) -> Settings:
        """The settings of the first stage, which reads the modalities: an earlier run's where its H was reused."""
        return next(iter(self.stages.values())).config

    @property
    def spec(self) -> ModelSpec:
        """The model, with the modalities that it was trained on."""
        return model_of(self.settings) if self.stages else model_spec(self.name)

    @property
    def schema(self) -> dict[str, dict[str, Any]]:
        """By modality letter, the feature files that the model was trained on."""
        merged: dict[str, dict[str, Any]] = {}
        for stage in self.stages.values():
            merged |= stage.schema
        return {letter: merged[letter] for letter in MODALITY_OF if letter in merged}

    @property
    def scalers(self) -> dict[str, Scaler]:
        """By modality letter, the statistics that features are standardised with."""
        merged: dict[str, Scaler] = {}
        for stage in self.stages.values():
            merged |= stage.scalers
        return {letter: merged[letter] for letter in MODALITY_OF if letter in merged}

    def predict(
        self, source: str | os.PathLike[str], *, device: str = "cpu", text_model: str | None = None
    ) -> pd.DataFrame:
        """Return seven scores and classes per clip of a feature folder.

        Parameters
        ----------
        source
            A folder that `fmltk extract` wrote with the settings of the run's own features, or its FeatureSet.
        device
            "cpu", "cuda" or "cuda:1".
        text_model
            The text model that a model which trained its BERT started from, by name or local folder: needed where
            the folder keeps no token numbers and the transcripts are split again.

        Returns
        -------
        DataFrame
            utterance_id, video_id, clip_id, text, score_<condition>, class_<condition> for every condition that the
            model predicts, and reason. For nominal labels, such as emotions, prob_<condition>_<class> instead of
            scores. A clip that lacks a modality has null scores where that modality is needed, with
            the reason; never 0.

        Raises
        ------
        ConfigError
            If the features are not what the model was trained on: what differs is named.
        """
        check_device(device)
        features = self.read(source, text_model=text_model)
        with one_thread():
            predictions = self.predict_features(features, device=device)
        return self._table(features, predictions)

    def read(self, source: str | os.PathLike[str], *, text_model: str | None = None) -> ClipFeatures:
        """Return the features of a folder as the model reads them; the parameters and errors are those of `predict`."""
        lengths = {letter: int(document["length"]) for letter, document in self.schema.items()}
        network = self.schema.get("T", {}).get(NETWORK, {})
        reading = replace(
            Reading.of(self.spec, self.settings, text_model or network.get("name")), sha256=network.get("sha256", "")
        )
        features = read_clip_features(source, lengths=lengths, reading=reading)
        differences = schema_differences(self.schema, features.schema)
        if differences:
            raise ConfigError(f"{source} does not fit the model: {'; '.join(differences)}")
        return features

    def predict_features(self, features: ClipFeatures, *, device: str = "cpu") -> dict[str, NDArray[np.float64]]:
        """Return every stage's every task by key such as AV_A, float64, NaN where a clip lacks an input.

        For intensities (n,), for classes their probabilities (n, n_classes).
        """
        inputs, present = prepare_features(features, self.scalers, self.settings)
        inputs = inputs.to(device)
        vectors = inputs.vectors
        n = len(features.utterance_ids)
        predictions: dict[str, NDArray[np.float64]] = {}
        for stage in self.spec.stages:
            usable = np.ones(n, bool)
            for letter in self.spec.modalities(stage):
                usable &= present[letter]
            rows = np.flatnonzero(usable)
            net = self.stages[stage.name].net.to(device)
            values, hidden = predict_stage(net, stage, replace(inputs, vectors=vectors), rows)
            for task, scores in values.items():
                predictions[task_key(stage.name, task)] = spread(scores, rows, n).numpy().astype(np.float64)
            full_hidden = torch.full((n, hidden.shape[1]), float("nan")).index_copy(0, torch.from_numpy(rows), hidden)
            vectors = {**vectors, HIDDEN_PREFIX + stage.name: full_hidden.to(device)}
        return predictions

    def _table(self, features: ClipFeatures, predictions: Mapping[str, NDArray[np.float64]]) -> pd.DataFrame:
        import pandas as pd

        from fmltk.toolkit.clip import split_utterance_id

        merged = condition_predictions(self.spec, predictions)
        ids = [split_utterance_id(utterance) for utterance in features.utterance_ids]
        columns: dict[str, Any] = {
            "utterance_id": list(features.utterance_ids),
            "video_id": [video for video, _ in ids],
            "clip_id": [clip for _, clip in ids],
            "text": list(features.texts),
        }
        if self.scale.names:
            columns |= self._class_columns(merged)
        else:
            columns |= {f"score_{condition}": values for condition, values in merged.items()}
            columns |= {f"class_{c}": classes_of_values(values, self.scale).tolist() for c, values in merged.items()}
        reasons = [
            "; ".join(why[row] for why in features.reasons.values() if why[row])
            for row in range(len(features.utterance_ids))
        ]
        columns["reason"] = [reason or None for reason in reasons]
        return pd.DataFrame(columns)

    def _class_columns(self, merged: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
        names = self.scale.names
        columns: dict[str, Any] = {f"class_{c}": class_words(decided(values), names) for c, values in merged.items()}
        for condition, values in merged.items():
            known = values if values.ndim == 2 else np.full((len(values), len(names)), np.nan)  # no clip has the inputs
            columns |= {f"prob_{condition}_{name}": known[:, k] for k, name in enumerate(names)}
        return columns

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write config.json and model.safetensors, from which `from_pretrained` makes the same model, to the bit."""
        folder = Path(folder)
        tensors: dict[str, torch.Tensor] = {}
        stages = {}
        for name, stage in self.stages.items():
            parts, stages[name] = stage_parts(stage)
            tensors |= {f"{name}.{key}": value for key, value in parts.items()}
        document = {
            "model_type": f"fmltk-{self.name}",
            "architectures": [type(self).__name__],
            "format": FORMAT,
            "name": self.name,
            "scale": str(self.scale),
            "splits": dict(self.splits),
            "stages": stages,
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(folder / WEIGHTS_FILE, tensors, {"format": "pt"})
        write_json(folder / CONFIG_FILE, document, indent=1, sort_keys=True)

    @classmethod
    def from_pretrained(cls, folder: str | os.PathLike[str]) -> Self:
        """Return the model that `save_pretrained` wrote.

        Raises ConfigError if the folder holds none, DamagedFileError if a file is broken.
        """
        folder = Path(folder)
        if not all((folder / name).is_file() for name in (CONFIG_FILE, WEIGHTS_FILE)):
            raise ConfigError(f"{folder} is not a saved model: it needs {CONFIG_FILE} and {WEIGHTS_FILE}")
        damaged = advised(DamagedFileError, "save the model again")
        document = read_json(folder / CONFIG_FILE, error=damaged)
        tensors, _ = read_tensors(folder / WEIGHTS_FILE, error=damaged)
        source = str(folder / CONFIG_FILE)
        if document.get("format") != FORMAT:
            raise ConfigError(f"{source} is not of format {FORMAT}; was it written by fmltk?")
        try:
            stages = {}
            last = model_spec(document["name"]).stages[-1].name
            config = config_from_dict(document["stages"][last]["config"], source)
            for name in [stage.name for stage in model_of(config).stages]:
                own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
                parts = document["stages"][name]
                stages[name] = restore_stage(name, own, parts, source=source, remedy="save the model again")
            scale, splits = Scale.parse(document["scale"]), dict(document.get("splits", {}))  # 0.1.0 wrote no splits
            return cls(config.model, stages, scale, splits)  # today's name of a model that 0.1.0 named otherwise
        except (KeyError, TypeError, AttributeError) as error:
            raise DamagedFileError(f"{source}: its settings are damaged ({error}); save the model again") from error


class FmlMSN(TrainedModel):
    """A trained FmlMSN, ready to predict. Its repr is three lines: what it is, reads, learned from.

    Examples
    --------
    >>> from fmltk.model.config import Config
    >>> from fmltk.model.run import train
    >>> summary = train("features", "labels.parquet", out="runs/tiny", config=Config(lr=0.01, bs=4, max_epochs=10))
    >>> FmlMSN.from_run("runs/tiny")
    FmlMSN: stages AV, AT, VT, fusion; scores M, T, A, V, AT, VT, AV on -1..1
      reads text of 384 features x 8 steps, audio of 33 features x 8 steps, vision of 33 features x 8 steps
      ... weights; clips: 6 train, 3 valid, 3 test
    >>> scores = FmlMSN.from_run("runs/tiny").predict("features")
    >>> scores.columns.tolist()[4:8]
    ['score_M', 'score_T', 'score_A', 'score_V']
    """

    only: ClassVar[str] = "fmlmsn"


@dataclass(frozen=True, repr=False)
class Ensemble(TrainedModel):
    """All seeds of a run: every prediction is the mean of theirs, of classes the mean of their probabilities.

    members : the models, of which the first stands for what all read
    """

    members: tuple[TrainedModel, ...] = ()

    @classmethod
    def from_seeds(cls, run: Path) -> Ensemble:
        """Return the ensemble of a run's finished seeds. Raises ConfigError if there is but one."""
        seeds = run_seeds(run)
        if len(seeds) < 2:
            raise ConfigError(f"{run} has one seed, and an ensemble is of several; train it with --seeds 5")
        members = tuple(TrainedModel.from_run(run, seed=seed) for seed in seeds)
        first = members[0]
        return cls(first.name, first.stages, first.scale, first.splits, members)

    def predict_features(self, features: ClipFeatures, *, device: str = "cpu") -> dict[str, NDArray[np.float64]]:
        """Return the mean of the seeds' predictions, as `TrainedModel.predict_features` does."""
        parts = [member.predict_features(features, device=device) for member in self.members]
        return {key: np.mean([part[key] for part in parts], axis=0) for key in parts[0]}


def load_model(folder: str | os.PathLike[str], *, seed: int | None = None, ensemble: bool = False) -> TrainedModel:
    """Return the model of a run folder, or of a folder that `save_pretrained` wrote; an FmlMSN where it is one.

    seed : of a run; by default the best on validation; ensemble : of a run: all seeds, whose predictions are averaged

    Raises ConfigError if the folder contains neither, DamagedFileError if a file is broken.
    """
    path = Path(folder)
    if ensemble:
        if seed is not None:
            raise ConfigError("an ensemble is of all seeds: give --seed or --ensemble, not both")
        return Ensemble.from_seeds(path)
    is_saved = (path / CONFIG_FILE).is_file()
    model = TrainedModel.from_pretrained(path) if is_saved else TrainedModel.from_run(path, seed=seed)
    return FmlMSN(**vars(model)) if model.name == FmlMSN.only else model
