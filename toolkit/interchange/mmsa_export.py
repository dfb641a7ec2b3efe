"""A feature folder as an MMSA pickle and label.csv."""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.clip import MODALITIES, SPLITS, split_utterance_id
from fmltk.toolkit.conditions import BIMODAL, CONDITIONS, UNIMODAL
from fmltk.toolkit.errors import ConfigError, StoreError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import LABEL_FILE, read_labels, write_labels
from fmltk.toolkit.interchange.mmsa import EMBEDDED_KEY, EXTRAS_FILE, LABEL_KEYS
from fmltk.toolkit.interchange.safe_pickle import write_pickle
from fmltk.toolkit.io.documents import json_text
from fmltk.toolkit.io.parquet import decode_metadata, open_parquet, reading
from fmltk.toolkit.io.tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.feature_set import FeatureSet
    from fmltk.toolkit.features.sequences import ModalityTable

ALL_LABEL_KEYS = {**LABEL_KEYS, **{pair: f"regression_labels_{pair}" for pair in BIMODAL}}
LABEL_CSV_COLUMNS = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")


@dataclass(frozen=True)
class ExportSummary:
    """What an export wrote: clips per split, whether text_bert is in it, what was left out and why."""

    splits: dict[str, int]
    has_text_bert: bool
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class _Source:
    """A feature folder and its labels, by utterance_id."""

    features: FeatureSet
    texts: Mapping[str, str]
    labels: Mapping[str, Mapping[str, float]]
    splits: Mapping[str, str]
    extras: Mapping[str, Mapping[str, Any]]
    kinds: Mapping[str, Mapping[str, Any]]
    keys: Mapping[str, Sequence[str]]
    order: Sequence[str]
    embeds: bool


def export_mmsa(
    features: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    label_csv: str | Path | None = None,
    spreadsheet_safe: bool = False,
) -> ExportSummary:
    """Write a feature folder and its labels as MMSA reads them.

    Parameters
    ----------
    features, labels : a feature folder and its table of labels (see `read_labels`), which names every clip's split
    out : the pickle to write
    label_csv : where label.csv goes; None writes none
    spreadsheet_safe : put an apostrophe before texts in label.csv that a spreadsheet would run as a formula

    What was imported from a pickle comes out as it went in, to the last bit of float32. Of other folders, text_bert is
    made of the token numbers that the shards keep, and masks, feature names, the manifest and the label table travel
    along, so that an import gives the same folder.

    Raises ConfigError if a split is missing, StoreError if the folder cannot be read.
    """
    source = _open(Path(features), Path(labels))
    remarks: list[str] = []
    chosen = _choose(source, remarks)
    sequences = {modality: _padded(source.features[modality], chosen) for modality in MODALITIES}
    data = {split: _part(split, ids, source, sequences, remarks) for split, ids in chosen.items()}
    if source.embeds:
        data[SPLITS[0]][EMBEDDED_KEY] = _embed(source.features, Path(labels))
    write_pickle(data, Path(out))
    if label_csv is not None:
        rows = _label_rows(source, chosen)
        write_csv(Path(label_csv), LABEL_CSV_COLUMNS, rows, spreadsheet_safe=spreadsheet_safe)
    return ExportSummary(
        {split: len(ids) for split, ids in chosen.items()},
        all("text_bert" in part for part in data.values()),
        tuple(dict.fromkeys(remarks)),
    )


def _open(folder: Path, labels: Path) -> _Source:
    features = read_features(folder)
    manifest = features.manifest()
    texts = {
        str(utterance): text if isinstance(text, str) else ""
        for utterance, text in zip(manifest["utterance_id"], manifest["text"], strict=True)
    }
    table = read_labels(labels)
    values = [table.values(condition).tolist() for condition in CONDITIONS]
    by_clip = {
        utterance: dict(zip(CONDITIONS, own, strict=True))
        for utterance, *own in zip(table.utterance_ids, *values, strict=True)
    }
    named = {utterance: split for utterance, split in zip(table.utterance_ids, table.splits, strict=True) if split}
    extras, document = _read_extras(folder / EXTRAS_FILE)
    order = list(extras) if extras else sorted(texts)
    kinds, keys = document.get("kinds", {}), document.get("keys", {})
    return _Source(features, texts, by_clip, named, extras, kinds, keys, order, document.get("embedded", True))


def _read_extras(path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    if not path.is_file():
        return {}, {}
    with open_parquet(path) as file, reading(path):
        table = file.read()
        document = decode_metadata(file.schema_arrow, name=str(path))
    rows = {row["utterance_id"]: row for row in table.to_pylist()}
    return rows, document


def _choose(source: _Source, remarks: list[str]) -> dict[str, list[str]]:
    """Return the clips of each split, in order; what cannot be exported is told."""
    absent = [split for split in SPLITS if split not in set(source.splits.values())]
    if absent and not source.extras:
        raise ConfigError(f"the labels name no clip of the split {', '.join(absent)}; MMSA reads train, valid and test")
    chosen: dict[str, list[str]] = {split: [] for split in SPLITS if split not in absent}
    unlabelled, unsplit = [], []
    for utterance in source.order:
        if utterance not in source.labels or not np.isfinite(source.labels[utterance]["M"]):
            unlabelled.append(utterance)
        elif utterance not in source.splits:
            unsplit.append(utterance)
        else:
            chosen[source.splits[utterance]].append(utterance)
    extra = [utterance for utterance in source.labels if utterance not in source.texts]
    for ids, why in (
        (unlabelled, "have no multimodal label"),
        (unsplit, "have no split"),
        (extra, "have labels but no features"),
    ):
        if ids:
            remarks.append(f"{len(ids)} clips {why} and were left out: {', '.join(ids[:5])}")
    return chosen


def _padded(table: ModalityTable, chosen: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Any]]:
    """Return, per split, features float32 (n, L, d), true lengths and masks of its clips; zeros where missing."""
    place = {utterance: (split, row) for split, ids in chosen.items() for row, utterance in enumerate(ids)}
    parts: dict[str, dict[str, Any]] = {
        split: {
            "features": np.zeros((len(ids), table.length, table.dimension), np.float32),
            "lengths": np.zeros(len(ids), np.int64),
            "mask": np.zeros((len(ids), table.length), bool),
        }
        for split, ids in chosen.items()
    }
    true_lengths = dict(zip(table.utterance_ids, table.lengths.tolist(), strict=True))
    for ids, features, mask in table.batches():
        for utterance, values, valid in zip(ids, features, mask, strict=True):
            if utterance in place:
                split, row = place[utterance]
                parts[split]["features"][row] = values
                parts[split]["lengths"][row] = true_lengths[utterance]
                parts[split]["mask"][row] = valid
    return parts


def _part(
    split: str,
    ids: Sequence[str],
    source: _Source,
    sequences: Mapping[str, Mapping[str, dict[str, Any]]],
    remarks: list[str],
) -> dict[str, Any]:
    """Return one split's arrays."""
    if source.extras:
        kinds = source.kinds.get(split) or next(iter(source.kinds.values()))
        keys = source.keys.get(split) or next(iter(source.keys.values()))
        return {key: _restored(key, kinds[key], ids, source, sequences, split) for key in keys if key in kinds}
    part: dict[str, Any] = {
        "raw_text": np.array([source.texts[utterance] for utterance in ids]),
        **{modality: sequences[modality][split]["features"] for modality in MODALITIES},
        "id": np.array(ids),
        **{f"{modality}_lengths": sequences[modality][split]["lengths"].tolist() for modality in MODALITIES},
    }
    for modality in MODALITIES:
        if source.features[modality].has_mask:
            part[f"{modality}_mask"] = sequences[modality][split]["mask"]
    multimodal = _label_array("M", ids, source)
    part["regression_labels"] = multimodal
    part["annotations"] = np.array([_annotation(value) for value in multimodal])
    part["classification_labels"] = np.sign(multimodal) + 1  # 0 negative, 1 neutral, 2 positive
    for condition in (*UNIMODAL, *BIMODAL):
        if any(np.isfinite(labels[condition]) for labels in source.labels.values()):
            part[ALL_LABEL_KEYS[condition]] = _label_array(condition, ids, source)
            n = int(np.isnan(part[ALL_LABEL_KEYS[condition]]).sum())
            if n:
                remarks.append(f"{n} clips of {split} have no label_{condition}: NaN, which MMSA does not expect")
    tokens = _text_bert(ids, source.features, sequences["text"][split]["features"].shape[1])
    if tokens is None:
        remarks.append("the folder keeps no token numbers (shards), so there is no text_bert: use_bert=False in MMSA")
    else:
        part["text_bert"] = tokens
    return part


def _label_array(condition: str, ids: Sequence[str], source: _Source) -> NDArray[np.float32]:
    return np.array([source.labels[utterance][condition] for utterance in ids], np.float32)


def _annotation(value: float) -> str:
    return "Positive" if value > 0 else "Negative" if value < 0 else "Neutral"


def _text_bert(ids: Sequence[str], features: FeatureSet, length: int) -> NDArray[np.float32] | None:
    """Return (n, 3, L): token numbers, mask, segments; None where a clip's shard is gone."""
    from fmltk.toolkit.features.shards import ShardFolder, shard_key

    shards = ShardFolder(features.path / "shards")
    names = shards.names()
    table = features["text"]
    known = set(table.utterance_ids)
    tokens = np.zeros((len(ids), 3, length), np.float32)
    for row, utterance in enumerate(ids):
        if utterance not in known:
            continue
        name = names.get(shard_key(utterance))
        numbers = None if name is None else shards.read(name, sequences=True).token_ids
        if numbers is None:
            return None
        n = min(len(numbers), length)
        tokens[row, 0, :n], tokens[row, 1, :n] = numbers[:n], 1
    return tokens


def _restored(
    key: str,
    kind: Mapping[str, Any],
    ids: Sequence[str],
    source: _Source,
    sequences: Mapping[str, Mapping[str, dict[str, Any]]],
    split: str,
) -> Any:
    """Return one key of an imported pickle as it was held."""
    if key in MODALITIES:
        values = sequences[key][split]["features"]
        for row, utterance in enumerate(ids):
            tail = source.extras[utterance].get(f"tail_{key}")
            if tail:
                steps = np.frombuffer(tail, np.float32).reshape(-1, values.shape[2])
                values[row, values.shape[1] - len(steps) :] = steps
        return values.astype(np.dtype(kind["dtype"]))
    if key == "id":
        return _held(list(ids), kind)
    condition = next((c for c, name in LABEL_KEYS.items() if name == key), None)
    if condition is not None and kind["kind"] != "value":
        return _held([source.labels[utterance][condition] for utterance in ids], kind)
    if kind["kind"] == "value":
        return kind["value"]
    cells = [source.extras[utterance][f"key_{key}"] for utterance in ids]
    if kind["kind"] == "ndarray" and np.dtype(kind["dtype"]).kind in "fiub":
        dtype = np.dtype(kind["dtype"])
        rows = [np.frombuffer(cell, dtype).reshape(kind["shape"]) for cell in cells]
        return np.stack(rows) if rows else np.zeros((0, *kind["shape"]), dtype)
    return _held([_unplain(json.loads(cell)) for cell in cells], kind)


def _held(values: list[Any], kind: Mapping[str, Any]) -> Any:
    if kind["kind"] == "ndarray":
        dtype = np.dtype(kind["dtype"])
        return np.array(values, dtype=dtype).reshape((len(values), *kind["shape"]))
    return tuple(values) if kind["kind"] == "tuple" else values


def _unplain(value: Any) -> Any:
    if isinstance(value, dict):
        return np.array(value["array"], dtype=np.dtype(value["dtype"]))
    if isinstance(value, list):
        return [_unplain(item) for item in value]
    return value


def _embed(features: FeatureSet, labels: Path) -> dict[str, Any]:
    """Return what the pickle's arrays cannot say: each feature file's metadata, the manifest and the label table."""
    try:
        return {
            "documents": json_text(
                {name: table.document for name, table in features.modalities.items()}, ensure_ascii=True
            ),
            "manifest": (features.path / "manifest.parquet").read_bytes(),
            "labels": labels.read_bytes() if labels.suffix.lower() == ".parquet" else _as_parquet(labels),
        }
    except OSError as error:
        raise StoreError(f"{features.path} or {labels} cannot be read: {error.strerror}") from error


def _as_parquet(labels: Path) -> bytes:
    """Return a table of labels that is a text file as labels.parquet has it."""
    with tempfile.TemporaryDirectory(prefix="fmltk-labels-") as folder:
        write_labels(read_labels(labels), Path(folder) / LABEL_FILE)
        return (Path(folder) / LABEL_FILE).read_bytes()


def _label_rows(source: _Source, chosen: Mapping[str, Sequence[str]]) -> Iterator[list[object]]:
    """Yield the rows of MMSA's label.csv; unimodal labels are NaN where there are none."""
    for split, ids in chosen.items():
        for utterance in ids:
            video, clip = split_utterance_id(utterance)
            labels = source.labels[utterance]
            values = [labels["M"], *(labels[condition] for condition in UNIMODAL)]
            yield [video, clip, source.texts[utterance], *values, _annotation(labels["M"]), split]
