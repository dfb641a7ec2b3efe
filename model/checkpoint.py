"""One trained stage as a safetensors file: its weights, the statistics of its features, its settings and their schema.

The file holds no time and no path, so the same numbers have the same bytes. Beside it, a JSON file holds the history.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from fmltk.model.config import config_from_dict
from fmltk.model.network import make_network, text_network_of
from fmltk.model.progress import Epoch
from fmltk.model.registry import model_spec
from fmltk.model.standardise import Scaler
from fmltk.model.tensors import read_tensors, write_tensors
from fmltk.toolkit.errors import ConfigError, DamagedFileError, advised
from fmltk.toolkit.io.documents import check_shape, json_text, parse_json, read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor, nn

    from fmltk.model.settings import Settings
    from fmltk.model.training import TrainedStage

FORMAT = 1
METADATA = "fmltk"
REMEDY = "delete it and train again"
# Two feature files must agree on these for one network to read both; their padding may differ.
SCHEMA_KEYS = (
    *("dimension", "feature_names", "layout", "model", "rate_hz", "pooling", "mfcc_scale"),
    *("aligned_to", "text_pooling", "set"),
)
SET_KEYS = ("reads", "sample_rate_hz", "crop_px", "settings", "weights")  # of a set that is not a default
# Keys of a stage's document that `restore_stage` and its callers read.
STAGE_SHAPE = {
    "config": {},
    "dims": {"*": int},
    "schema": {"*": {"length": int, "dimension": int}},
    "limits": {"*": float},
    "best_epoch": int,
}


@dataclass(frozen=True)
class StageCheckpoint:
    """A stage as it was saved.

    dims : the width of each input; schema : by modality letter, the feature files it was trained on; scalers : by
    modality letter, their statistics; out_of_fold : (rows int64, H float32) of the training clips, where cross-fit
    """

    stage: str
    net: nn.Module
    config: Settings
    dims: Mapping[str, int]
    schema: Mapping[str, dict[str, Any]]
    scalers: Mapping[str, Scaler]
    best_epoch: int
    out_of_fold: tuple[Tensor, Tensor] | None = None


def stage_parts(checkpoint: StageCheckpoint) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return a stage's weights and statistics by name, and what else it is as JSON holds it; for `restore_stage`."""
    tensors = {f"net.{name}": value.detach().cpu().contiguous() for name, value in checkpoint.net.state_dict().items()}
    for letter, scaler in checkpoint.scalers.items():
        tensors[f"scaler.{letter}.center"] = torch.from_numpy(scaler.center)
        tensors[f"scaler.{letter}.inverse"] = torch.from_numpy(scaler.inverse)
    document = {
        "config": checkpoint.config.as_dict(),
        "dims": dict(checkpoint.dims),
        "schema": dict(checkpoint.schema),
        "limits": {letter: scaler.limit for letter, scaler in checkpoint.scalers.items()},
        "best_epoch": checkpoint.best_epoch,
    }
    return tensors, document


def restore_stage(
    stage: str, tensors: Mapping[str, Tensor], document: Mapping[str, Any], *, source: str, remedy: str
) -> StageCheckpoint:
    """Return the stage that `stage_parts` took apart, its network in eval mode on the CPU.

    source, remedy : what was read and what to do if it is damaged, for the DamagedFileError
    """
    check_shape(document, STAGE_SHAPE, name=source, error=advised(DamagedFileError, remedy))
    weights = {
        name.removeprefix("net."): value.float()
        if value.is_floating_point()
        else value  # a BatchNorm counts its batches
        for name, value in tensors.items()
        if name.startswith("net.")
    }
    try:
        config = config_from_dict(document["config"], source)
        with torch.device("meta"):  # sizes alone: a damaged file cannot ask for more memory than it brings
            spec = model_spec(config.model).stage(stage)
            net = make_network(spec, document["dims"], config, text_network_of(document["schema"]))
        net.load_state_dict(weights, assign=True)
        net.eval()
        scalers = {
            letter: Scaler(
                tensors[f"scaler.{letter}.center"].numpy(), tensors[f"scaler.{letter}.inverse"].numpy(), limit
            )
            for letter, limit in document["limits"].items()
        }
        return StageCheckpoint(
            stage, net, config, document["dims"], document["schema"], scalers, document["best_epoch"]
        )
    except RuntimeError as error:
        last = str(error).splitlines()[-1]
        raise DamagedFileError(f"{source}: its weights do not fit its settings ({last}); {remedy}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DamagedFileError(f"{source}: its settings are damaged ({error}); {remedy}") from error


def save_stage(path: Path, checkpoint: StageCheckpoint) -> None:
    """Write a stage; a file of that name is either the old one or the new one."""
    tensors, document = stage_parts(checkpoint)
    document |= {"format": FORMAT, "stage": checkpoint.stage}
    if checkpoint.out_of_fold is not None:
        tensors["out_of_fold.rows"], tensors["out_of_fold.hidden"] = checkpoint.out_of_fold
    write_tensors(path, tensors, {METADATA: json_text(document, sort_keys=True)})


def load_stage(path: Path) -> StageCheckpoint:
    """Read a stage, its network in eval mode on the CPU.

    Raises DamagedFileError if the file is not whole, and ConfigError if it is not one of ours.
    """
    tensors, document = _read(path)
    stage = restore_stage(document.get("stage", ""), tensors, document, source=str(path), remedy=REMEDY)
    rows, hidden = tensors.get("out_of_fold.rows"), tensors.get("out_of_fold.hidden")
    if rows is None or hidden is None:
        return stage
    return dataclasses.replace(stage, out_of_fold=(rows, hidden))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not path.is_file():
        raise ConfigError(f"{path} does not exist; is the run complete? Run the same `fmltk train` again")
    damaged = advised(DamagedFileError, REMEDY)
    tensors, metadata = read_tensors(path, error=damaged)
    if METADATA not in metadata:
        raise ConfigError(f"{path} holds no stage that fmltk trained")
    document = parse_json(metadata[METADATA], name=f"{path}: its metadata", error=damaged)
    try:
        newer = document["format"] > FORMAT
    except (KeyError, TypeError) as error:
        raise damaged(f"{path}: its settings are damaged ({error})") from error
    if newer:
        raise ConfigError(f"{path} was written by a newer fmltk; upgrade fmltk to read it")
    return tensors, document


def save_history(path: Path, trained: TrainedStage) -> None:
    """Write the epochs of a stage as JSON."""
    document = {"best_epoch": trained.best_epoch, "epochs": [dataclasses.asdict(epoch) for epoch in trained.history]}
    write_json(path, document)


def load_history(path: Path) -> tuple[tuple[Epoch, ...], int]:
    """Return (epochs, best epoch) of a stage. Raises DamagedFileError if the file holds no history."""
    document = read_json(path, error=advised(DamagedFileError, REMEDY))
    try:
        return tuple(Epoch(**epoch) for epoch in document["epochs"]), int(document["best_epoch"])
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedFileError(f"{path} is not a stage's history ({error}); {REMEDY}") from error


def schema_differences(expected: Mapping[str, Mapping[str, Any]], found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return in words how the features found differ from those that a model was trained on; empty if they fit.

    >>> schema_differences({"A": {"dimension": 33}}, {"A": {"dimension": 74}})
    ['audio: dimension is 74, the model was trained on 33']
    """
    from fmltk.toolkit.conditions import MODALITY_OF

    differences = []
    for letter, wanted in expected.items():
        name = MODALITY_OF[letter]
        if letter not in found:
            differences.append(f"{name}: these features are missing")
            continue
        for key in SCHEMA_KEYS:
            have, want = _schema_value(found[letter], key), _schema_value(wanted, key)
            if have == want:
                continue
            if key == "feature_names" and have and want:
                have, want = _first_difference(have, want)
            differences.append(f"{name}: {key} is {have}, the model was trained on {want}")
    return differences


def _schema_value(document: Mapping[str, Any], key: str) -> Any:
    """Return what a feature file says of `key`, also among its settings; a text model is its weights, not its path."""
    value = document.get(key, (document.get("settings") or {}).get(key))
    if key == "mfcc_scale" and document.get("modality") != "audio":
        return None
    if key == "set":  # how it is computed; not what it is called, nor by which versions
        return {name: value[name] for name in SET_KEYS if name in value} if isinstance(value, dict) else None
    return value.get("sha256", value) if isinstance(value, dict) else value


def _first_difference(have: list[str], want: list[str]) -> tuple[str, str]:
    for index, (a, b) in enumerate(zip(have, want, strict=False)):
        if a != b:
            return f"{a!r} at place {index}", repr(b)
    return f"{len(have)} names", str(len(want))
