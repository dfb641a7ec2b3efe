"""A feature folder as an MMSA pickle and label.csv."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.catalog.exclusions import exclusions_of
from fmltk.toolkit.clip import MODALITIES, SPLITS, WHOLE, chosen_keys, split_utterance_id
from fmltk.toolkit.conditions import BIMODAL, CONDITIONS, UNIMODAL
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import ConfigError, StoreError
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import LABEL_FILE, read_labels, write_labels
from fmltk.toolkit.features.label_table import TOLERANCE
from fmltk.toolkit.features.layout import table_file
from fmltk.toolkit.interchange.mmsa_extras import EXTRAS_FILE, TEXT_LENGTHS, TEXTS, as_held, fitted, read_extras
from fmltk.toolkit.interchange.mmsa_pickle import EMBEDDED_KEY, LABEL_KEYS, is_per_clip
from fmltk.toolkit.interchange.safe_pickle import write_pickle
from fmltk.toolkit.interchange.token_ids import kept_token_ids
from fmltk.toolkit.io.documents import json_text
from fmltk.toolkit.io.outputs import ScratchFolder
from fmltk.toolkit.io.tables import open_rows, write_csv

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.feature_set import FeatureSet
    from fmltk.toolkit.features.sequences import ModalityTable
    from fmltk.toolkit.interchange.mmsa_extras import Extras

ALL_LABEL_KEYS = {**LABEL_KEYS, **{pair: f"regression_labels_{pair}" for pair in BIMODAL}}
LABEL_CSV_COLUMNS = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")


@dataclass(frozen=True)
class ExportSummary:
    """The result of an export: clips per split, whether text_bert is in it, what was left out and why.

    excluded : by utterance_id, why the user leaves a clip out
    """

    splits: dict[str, int]
    has_text_bert: bool
    remarks: tuple[str, ...]
    excluded: Mapping[str, str]


@dataclass(frozen=True)
class _Source:
    """A feature folder and its labels, by utterance_id; `utterances` are its clips in the order of the export."""

    features: FeatureSet
    texts: Mapping[str, str]
    labels: Mapping[str, Mapping[str, float]]
    splits: Mapping[str, str]
    extras: Extras | None
    utterances: Sequence[str]
    notes: Sequence[str]
    relabelled: Collection[str]  # clips whose label is not that of the pickle

    def label_values(self, condition: str, utterances: Sequence[str]) -> list[float]:
        """Return the labels of clips, NaN where there is none."""
        return [self.labels[utterance][condition] for utterance in utterances]


@dataclass(frozen=True)
class _Padded:
    """One modality of a split: features float32 (n, L, d), true lengths int64 (n,), masks bool (n, L)."""

    features: NDArray[np.float32]
    lengths: NDArray[np.int64]
    mask: NDArray[np.bool_]

    @classmethod
    def zeros(cls, n: int, table: ModalityTable) -> _Padded:
        return cls(
            np.zeros((n, table.length, table.dimension), np.float32),
            np.zeros(n, np.int64),
            np.zeros((n, table.length), bool),
        )


@dataclass(frozen=True)
class _Split:
    """The clips of a split, in the order of the export, and their sequences by modality."""

    name: str
    utterances: Sequence[str]
    sequences: Mapping[str, _Padded]


def export_mmsa(
    features: str | Path,
    labels: str | Path,
    out: str | Path,
    *,
    label_csv: str | Path | None = None,
    exclude: str | Path | None = None,
    spreadsheet_safe: bool = False,
    use: str = "",
) -> ExportSummary:
    """Write a feature folder and its labels as MMSA reads them.

    Parameters
    ----------
    features, labels : a feature folder and its table of labels (see `read_labels`), which names every clip's split
    out : the pickle to write
    label_csv : where label.csv goes; None writes none
    exclude : a table of clips to leave out (see `fmltk.toolkit.catalog.exclusions.read_exclusions`)
    spreadsheet_safe : put an apostrophe before texts in label.csv that a spreadsheet would run as a formula
    use : the feature sets to write where they are not the first of their modalities, such as "audio.egemaps"

    Arrays that were imported from a pickle come out as they went in, to the last bit of float32. Of other folders,
    text_bert is made of the token numbers that the shards keep, and masks, feature names, the manifest and the label
    table travel along, so that an import gives the same folder.

    Raises ConfigError if a split is missing, StoreError if the folder cannot be read.
    """
    source = _open(Path(features), Path(labels), use)
    excluded = exclusions_of(source.features.path, None if exclude is None else Path(exclude))
    remarks = [*source.notes, *excluded.remarks()]
    chosen = _choose(source, remarks, excluded.reasons)
    padded = {modality: _padded(table, chosen) for modality, table in source.features.modalities.items()}
    if label_csv is not None:
        _check_label_csv(Path(label_csv))
    splits = [_Split(name, ids, {m: padded[m][name] for m in padded}) for name, ids in chosen.items()]
    make = _new_part if source.extras is None else _restored_part
    data = {split.name: make(split, source, remarks) for split in splits}
    if source.extras is None or source.extras.embedded:
        data[SPLITS[0]][EMBEDDED_KEY] = _embed(source.features, Path(labels))
    write_pickle(data, Path(out))
    if label_csv is not None:
        rows = _label_rows(source, chosen)
        write_csv(Path(label_csv), LABEL_CSV_COLUMNS, rows, spreadsheet_safe=spreadsheet_safe)
    return ExportSummary(
        {split: len(ids) for split, ids in chosen.items()},
        all("text_bert" in part for part in data.values()),
        tuple(dict.fromkeys(remarks)),
        excluded.reasons,
    )


def _check_label_csv(path: Path) -> None:
    """Raise ConfigError if another table than one that an export writes would be lost."""
    if path.is_file():
        with open_rows(path) as table:
            header = table.header
        if header != LABEL_CSV_COLUMNS:
            raise ConfigError(
                f"{path} is a table of your own, which an export would replace: give the new one another name with "
                "--label-csv"
            )


def _open(folder: Path, labels: Path, use: str) -> _Source:
    features = read_features(folder).in_use(use)
    manifest = features.manifest()
    texts = {
        str(utterance): text if isinstance(text, str) else ""
        for utterance, text in zip(manifest["utterance_id"], manifest["text"], strict=True)
    }
    table, notes = read_labels(labels).aligned(texts.keys())
    table.require_numbers("MMSA reads")
    values = [table.values(condition).tolist() for condition in CONDITIONS]
    by_clip = {
        utterance: dict(zip(CONDITIONS, own, strict=True))
        for utterance, *own in zip(table.utterance_ids, *values, strict=True)
    }
    named = {utterance: split for utterance, split in zip(table.utterance_ids, table.splits, strict=True) if split}
    extras = None if chosen_keys(use) else read_extras(folder / EXTRAS_FILE)  # what was imported is of the first sets
    utterances = list(extras.rows) if extras else sorted(texts)
    return _Source(features, texts, by_clip, named, extras, utterances, notes, _relabelled(folder, by_clip))


def _relabelled(folder: Path, labels: Mapping[str, Mapping[str, float]]) -> set[str]:
    """Return the clips whose multimodal label is not that of the folder's own table, which an import writes."""
    if not (folder / LABEL_FILE).is_file():
        return set()
    table = read_labels(folder / LABEL_FILE)
    own = dict(zip(table.utterance_ids, table.values("M").tolist(), strict=True))
    return {name for name, new in labels.items() if name in own and abs(new["M"] - own[name]) > TOLERANCE}


def _choose(source: _Source, remarks: list[str], excluded: Collection[str]) -> dict[str, list[str]]:
    """Return the clips of each split, in order; what cannot be exported is a remark."""
    absent = [split for split in SPLITS if split not in set(source.splits.values())]
    if absent and source.extras is None:
        raise ConfigError(f"the labels name no clip of the split {', '.join(absent)}; MMSA reads train, valid and test")
    chosen: dict[str, list[str]] = {split: [] for split in SPLITS if split not in absent}
    unlabelled, unsplit = [], []
    for utterance in source.utterances:
        if utterance in excluded:
            continue
        if utterance not in source.labels or not np.isfinite(source.labels[utterance]["M"]):
            unlabelled.append(utterance)
        elif utterance not in source.splits:
            unsplit.append(utterance)
        else:
            chosen[source.splits[utterance]].append(utterance)
    extra = [utterance for utterance in source.labels if utterance not in source.texts]
    for ids, why in (
        (unlabelled, "without a multimodal label"),
        (unsplit, "without a split"),
        (extra, "with labels but without features"),
    ):
        if ids:
            remarks.append(f"left out: {counted(len(ids), 'clip')} {why}: {', '.join(ids[:5])}")
    return chosen


def _padded(table: ModalityTable, chosen: Mapping[str, Sequence[str]]) -> dict[str, _Padded]:
    """Return one modality of the clips of each split; zeros where it is missing."""
    row_of = {utterance: (split, row) for split, ids in chosen.items() for row, utterance in enumerate(ids)}
    padded = {split: _Padded.zeros(len(ids), table) for split, ids in chosen.items()}
    true_lengths = dict(zip(table.utterance_ids, table.lengths.tolist(), strict=True))
    for ids, features, mask in table.batches():
        for utterance, values, valid in zip(ids, features, mask, strict=True):
            if utterance in row_of:
                split, row = row_of[utterance]
                padded[split].features[row] = values
                padded[split].lengths[row] = true_lengths[utterance]
                padded[split].mask[row] = valid
    return padded


def _new_part(split: _Split, source: _Source, remarks: list[str]) -> dict[str, Any]:
    """Return the arrays of a split whose clips were not imported from a pickle."""
    ids, sequences = split.utterances, split.sequences
    part: dict[str, Any] = {
        "raw_text": np.array([source.texts[utterance] for utterance in ids]),
        **{modality: sequence.features for modality, sequence in sequences.items()},
        "id": np.array(ids),
        **{f"{modality}_lengths": sequence.lengths.tolist() for modality, sequence in sequences.items()},
    }
    for modality, sequence in sequences.items():
        if source.features[modality].has_mask:
            part[f"{modality}_mask"] = sequence.mask
    remarks += [f"the folder has no {name} features, which MMSA reads" for name in MODALITIES if name not in sequences]
    multimodal = np.array(source.label_values("M", ids), np.float32)
    part["regression_labels"] = multimodal
    part["annotations"] = np.array([_annotation(value) for value in multimodal])
    part["classification_labels"] = np.sign(multimodal) + 1  # 0 negative, 1 neutral, 2 positive
    for condition in (*UNIMODAL, *BIMODAL):
        if any(np.isfinite(labels[condition]) for labels in source.labels.values()):
            values = np.array(source.label_values(condition, ids), np.float32)
            part[ALL_LABEL_KEYS[condition]] = values
            n = int(np.isnan(values).sum())
            if n:
                remarks.append(
                    f"{counted(n, 'clip')} of {split.name} without label_{condition}: NaN, which MMSA does not expect"
                )
    tokens = _text_bert(ids, source.features, sequences["text"].features.shape[1]) if "text" in sequences else None
    if tokens is None:
        remarks.append(
            "the folder keeps no token numbers (shards, or `fmltk align --unit token`), so text_bert is left out: "
            "use_bert=False in MMSA"
        )
    else:
        part["text_bert"] = tokens
    return part


def _annotation(value: float) -> str:
    if value == 0:
        return "Neutral"
    return "Positive" if value > 0 else "Negative"


def _class_number(value: float) -> int:
    return int(np.sign(value)) + 1  # 0 negative, 1 neutral, 2 positive


# What a pickle's arrays say of a clip's label in other words.
CLASS_KEYS: Mapping[str, Callable[[float], Any]] = {"annotations": _annotation, "classification_labels": _class_number}


def _text_bert(ids: Sequence[str], features: FeatureSet, length: int) -> NDArray[np.float32] | None:
    """Return (n, 3, L): token numbers, mask, segments; None where a clip's are not kept."""
    if features["text"].path.name != table_file("text"):
        return None
    known = set(features["text"].utterance_ids)
    tokens = np.zeros((len(ids), 3, length), np.float32)
    wanted = [(row, utterance) for row, utterance in enumerate(ids) if utterance in known]
    found = kept_token_ids(features, [utterance for _, utterance in wanted])
    for (row, _), numbers in zip(wanted, found, strict=True):
        if numbers is None:
            return None
        n = min(len(numbers), length)
        tokens[row, 0, :n], tokens[row, 1, :n] = numbers[:n], 1
    return tokens


def _restored_part(split: _Split, source: _Source, remarks: list[str]) -> dict[str, Any]:
    """Return the arrays of a split as the pickle held them that it was imported from."""
    assert source.extras is not None  # noqa: S101 - the caller has seen to it
    kinds = source.extras.kinds_of(split.name)
    part = {key: _restored(key, kind, split, source, source.extras) for key, kind in kinds.items()}
    for condition, key in LABEL_KEYS.items():
        n = int(np.isnan(source.label_values(condition, split.utterances)).sum()) if key in part else 0
        if n:
            have = counted(n, f"clip of {split.name} has", f"clips of {split.name} have")
            remarks.append(f"{have} no label_{condition}: NaN, which MMSA does not expect")
    new = [row for row, utterance in enumerate(split.utterances) if utterance in source.relabelled]
    classes = {key: value for key, value in CLASS_KEYS.items() if key in part and is_per_clip(part[key])}
    for key, class_of in classes.items() if new else ():
        values = list(part[key])
        for row in new:
            values[row] = class_of(source.labels[split.utterances[row]]["M"])
        part[key] = as_held(values, kinds[key])
    if new and classes:
        have = counted(len(new), f"clip of {split.name} has", f"clips of {split.name} have")
        remarks.append(f"{have} another label than in the pickle: {' and '.join(classes)} follow it")
    return part


def _restored(key: str, kind: Mapping[str, Any], split: _Split, source: _Source, extras: Extras) -> Any:
    if key in split.sequences:
        values = split.sequences[key].features
        extras.add_tails(key, split.utterances, values)
        extras.move_padding(key, split.utterances, values)
        return fitted(values, np.dtype(kind["dtype"]))
    if key == "id":
        return as_held(list(split.utterances), kind)
    if kind["kind"] == TEXTS:
        return np.array([source.texts[utterance] for utterance in split.utterances])
    if kind["kind"] == TEXT_LENGTHS:
        return split.sequences["text"].lengths.tolist()
    condition = next((c for c, name in LABEL_KEYS.items() if name == key), None)
    if condition is not None and kind["kind"] != "value":
        return as_held(source.label_values(condition, split.utterances), kind)
    return extras.values(key, kind, split.utterances)


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
    with ScratchFolder() as folder:
        write_labels(read_labels(labels), folder / LABEL_FILE)
        return (folder / LABEL_FILE).read_bytes()


def _label_rows(source: _Source, chosen: Mapping[str, Sequence[str]]) -> Iterator[list[object]]:
    """Yield the rows of MMSA's label.csv; unimodal labels are NaN where there are none."""
    for split, ids in chosen.items():
        for utterance in ids:
            video, clip = split_utterance_id(utterance)
            labels = source.labels[utterance]
            values = [labels["M"], *(labels[condition] for condition in UNIMODAL)]
            own = (video, clip) if video else (clip, WHOLE)
            yield [*own, source.texts[utterance], *values, _annotation(labels["M"]), split]
