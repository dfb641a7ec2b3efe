"""What the trainer reads: features and labels, joined by utterance_id.

Sequences are read once, row group by row group. Audio and vision become one vector per clip, the mean over its valid
steps (the paper averages before the networks, section 4.1.2); text is kept without padding. Every modality uses its
first min(length, L) steps, as the padding rule says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.clip import split_utterance_id
from fmltk.toolkit.conditions import CONDITIONS, MODALITY_OF, Scale
from fmltk.toolkit.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.features.sequences import ModalityTable

SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Ragged:
    """Sequences without padding, one after the other.

    steps : float32 (n_steps, d); offsets : int64 (n_clips + 1,), clip k has the rows offsets[k] to offsets[k + 1]
    """

    steps: NDArray[np.float32]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps per clip, int64 (n_clips,); 0 where the clip has none."""
        return np.diff(self.offsets)

    def take(self, rows: NDArray[np.int64]) -> Ragged:
        """Return some clips, in the order of `rows`."""
        lengths = self.lengths[rows]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        index = np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ragged(self.steps[index], offsets)


@dataclass(frozen=True)
class ClipFeatures:
    """The features of n clips, ready for the networks but not standardised.

    Attributes
    ----------
    utterance_ids : n ids
    texts : the transcripts, None where there is none
    text : unpadded text steps; None where the folder has no text features
    means : by modality letter A and V, float32 (n, d), mean over valid steps; NaN rows where the clip has none
    reasons : by modality letter, per clip why it has none, "" where it has
    schema : by modality letter, what the feature file says of itself
    splits : train, valid or test, as the transcripts said; "" where they did not
    """

    utterance_ids: tuple[str, ...]
    texts: tuple[str | None, ...]
    text: Ragged | None
    means: Mapping[str, NDArray[np.float32]]
    reasons: Mapping[str, tuple[str, ...]]
    schema: Mapping[str, dict[str, Any]]
    splits: tuple[str, ...]

    def present(self, modality: str) -> NDArray[np.bool_]:
        """Return which clips have modality "T", "A" or "V", bool (n,)."""
        reasons = self.reasons.get(modality)
        if reasons is None:
            return np.zeros(len(self.utterance_ids), bool)
        return np.array([reason == "" for reason in reasons], bool)

    def take(self, rows: NDArray[np.int64]) -> ClipFeatures:
        """Return some clips, in the order of `rows`."""
        if np.array_equal(rows, np.arange(len(self.utterance_ids))):
            return self
        return ClipFeatures(
            tuple(self.utterance_ids[row] for row in rows),
            tuple(self.texts[row] for row in rows),
            None if self.text is None else self.text.take(rows),
            {m: values[rows] for m, values in self.means.items()},
            {m: tuple(reasons[row] for row in rows) for m, reasons in self.reasons.items()},
            self.schema,
            tuple(self.splits[row] for row in rows),
        )

    def without_arrays(self) -> ClipFeatures:
        """Return the clips' names, texts and reasons alone: what is left to know once the arrays are prepared."""
        return ClipFeatures(self.utterance_ids, self.texts, None, {}, self.reasons, self.schema, self.splits)


@dataclass(frozen=True)
class Labels:
    """labels.parquet.

    values : float64 (n, 7) in the order of CONDITIONS, NaN where there is no label
    splits : train, valid, test, or "" where the table names none
    scales : the scale of every condition
    """

    utterance_ids: tuple[str, ...]
    video_ids: tuple[str, ...]
    values: NDArray[np.float64]
    splits: tuple[str, ...]
    scales: Mapping[str, Scale]

    @property
    def scale(self) -> Scale:
        """The scale of the multimodal label."""
        return self.scales["M"]


def read_clip_features(folder: str | Path, *, lengths: Mapping[str, int] | None = None) -> ClipFeatures:
    """Read a features folder.

    Parameters
    ----------
    folder : what `fmltk extract` or `fmltk dataset import` wrote
    lengths : L by modality letter, where it is not the folder's own: a run's L for new clips

    Raises StoreError if the folder cannot be read, a value is not finite, or clips were cut below `lengths`.
    """
    import pyarrow as pa

    from fmltk.toolkit.features.feature_set import read_features

    features = read_features(folder)
    manifest = features.manifest()
    ids = tuple(str(utterance) for utterance in manifest["utterance_id"])
    row_of = {utterance: row for row, utterance in enumerate(ids)}
    if len(row_of) != len(ids):
        raise StoreError(f"{folder}/manifest.parquet names a clip twice; write the folder again")
    texts = tuple(text if isinstance(text, str) else None for text in manifest["text"])
    text: Ragged | None = None
    means: dict[str, NDArray[np.float32]] = {}
    reasons: dict[str, tuple[str, ...]] = {}
    schema: dict[str, dict[str, Any]] = {}
    for letter, name in MODALITY_OF.items():
        if name not in features.modalities:
            continue
        table = features[name]
        limit = _usable_length(table, (lengths or {}).get(letter))
        why = _reasons(manifest, name)
        if letter == "T":
            text = _read_ragged(table, row_of, limit)
            has: NDArray[np.bool_] = np.asarray(text.lengths > 0)
        else:
            means[letter] = _read_means(table, row_of, limit)
            has = np.asarray(np.isfinite(means[letter]).all(axis=1))
        reasons[letter] = tuple("" if ok else reason for ok, reason in zip(has, why, strict=True))
        schema[letter] = {**table.document, "length": limit}
    pa.default_memory_pool().release_unused()  # what decoding left behind is as large as the features themselves
    return ClipFeatures(ids, texts, text, means, reasons, schema, _manifest_splits(manifest))


def read_clip_names(folder: str | Path) -> ClipFeatures:
    """Return the clips of a features folder without their sequences: all that a fusion of saved H needs."""
    from fmltk.toolkit.features.feature_set import read_features

    manifest = read_features(folder).manifest()
    texts = tuple(text if isinstance(text, str) else None for text in manifest["text"])
    ids = tuple(str(utterance) for utterance in manifest["utterance_id"])
    return ClipFeatures(ids, texts, None, {}, {}, {}, _manifest_splits(manifest))


def _manifest_splits(manifest: Any) -> tuple[str, ...]:
    """Return each clip's split as the manifest says it, "" where it says none."""
    return tuple(split if split in SPLITS else "" for split in manifest["split"])


def _usable_length(table: ModalityTable, wanted: int | None) -> int:
    if wanted is None or wanted == table.length:
        return table.length
    if wanted > table.length and np.any(table.truncated > 0):
        raise StoreError(
            f"{table.path} keeps {table.length} steps per clip and {int(np.sum(table.truncated > 0))} clips were cut, "
            f"but the model reads {wanted}; pad again with `fmltk pad --max-length`, or extract with L = {wanted}"
        )
    return wanted


def _reasons(manifest: Any, modality: str) -> list[str]:
    """Return, per clip, why it has no such features; the manifest's own words where it has them."""
    reasons = []
    for status, message in zip(manifest[f"{modality}_status"], manifest[f"{modality}_error_message"], strict=True):
        detail = f": {message}" if isinstance(message, str) and message else ""
        reasons.append(f"{modality} {status}{detail}" if status != "ok" else f"{modality}: no valid step")
    return reasons


def _rows(table: ModalityTable, ids: Sequence[str], row_of: Mapping[str, int]) -> list[int]:
    try:
        return [row_of[utterance] for utterance in ids]
    except KeyError as error:
        raise StoreError(f"{table.path} holds clip {error.args[0]!r}, which manifest.parquet does not name") from error


def _refuse_non_finite(table: ModalityTable, ids: Sequence[str], values: NDArray[np.float32]) -> None:
    """Refuse NaN and infinities, which no mean leaves out; values has shape (n, ...), the steps in use."""
    finite = np.isfinite(values.reshape(len(values), -1)).all(axis=1)
    if not finite.all():
        first = int(np.flatnonzero(~finite)[0])
        raise StoreError(
            f"{table.path}: the features of {int(np.sum(~finite))} clips hold NaN or infinities, the first is "
            f"{ids[first]!r}; see `fmltk dataset check`, then extract those clips again or leave them out"
        )


def _read_means(table: ModalityTable, row_of: Mapping[str, int], limit: int) -> NDArray[np.float32]:
    means = np.full((len(row_of), table.dimension), np.nan, np.float32)
    for ids, features, mask in table.batches():
        used = mask[:, :limit, None]  # (n, L, 1)
        sums = np.where(used, features[:, :limit], 0).sum(axis=1, dtype=np.float64)  # (n, d)
        counts = used.sum(axis=1)  # (n, 1)
        _refuse_non_finite(table, ids, sums)
        rows = np.array(_rows(table, ids, row_of), np.int64)
        has = counts[:, 0] > 0
        means[rows[has]] = (sums[has] / counts[has]).astype(np.float32)
    return means


def _read_ragged(table: ModalityTable, row_of: Mapping[str, int], limit: int) -> Ragged:
    lengths = np.zeros(len(row_of), np.int64)
    lengths[_rows(table, table.utterance_ids, row_of)] = np.minimum(table.lengths, min(limit, table.length))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    steps = np.empty((int(offsets[-1]), table.dimension), np.float32)
    for ids, features, _ in table.batches():
        for utterance, row, padded in zip(ids, _rows(table, ids, row_of), features, strict=True):
            kept = padded[: lengths[row]]
            _refuse_non_finite(table, [utterance], kept[None])
            steps[offsets[row] : offsets[row + 1]] = kept
    return Ragged(steps, offsets)


def read_labels(path: str | Path) -> Labels:
    """Read labels.parquet.

    Raises StoreError if the file is not one, names a clip twice, or holds an infinite label, and ConfigError if a split
    is none of train, valid, test.
    """
    from fmltk.toolkit.io.parquet import decode_metadata, open_parquet, reading

    path = Path(path)
    with open_parquet(path, what="labels.parquet") as file:
        with reading(path):
            table = file.read().to_pandas()
        document = decode_metadata(file.schema_arrow, name=str(path))
    if "utterance_id" not in table or "label_M" not in table:
        raise StoreError(f"{path} is no label table: it lacks utterance_id or label_M")
    ids = tuple(str(utterance) for utterance in table["utterance_id"])
    if len(set(ids)) != len(ids):
        twice = next(utterance for utterance in ids if ids.count(utterance) > 1)
        raise StoreError(f"{path} names clip {twice!r} twice; every clip has one row")
    values = np.full((len(ids), len(CONDITIONS)), np.nan)
    for column, condition in enumerate(CONDITIONS):
        if f"label_{condition}" in table:
            values[:, column] = table[f"label_{condition}"].to_numpy(dtype=np.float64, na_value=np.nan)
    if np.isinf(values).any():
        raise StoreError(
            f"{path}: clip {ids[int(np.flatnonzero(np.isinf(values).any(axis=1))[0])]!r} has an infinite label"
        )
    splits = tuple(_split_name(value, path) for value in table["split"]) if "split" in table else ("",) * len(ids)
    videos = table["video_id"] if "video_id" in table else [split_utterance_id(utterance)[0] for utterance in ids]
    scales = {c: _scale(document, c, values[:, k], path) for k, c in enumerate(CONDITIONS)}
    return Labels(ids, tuple(str(video) for video in videos), values, splits, scales)


def _split_name(value: object, path: str | Path) -> str:
    if value is None or value != value or value == "":  # noqa: PLR0124 - NaN is not itself
        return ""
    if value not in SPLITS:
        raise ConfigError(f"{path}: split {value!r} is none of {', '.join(SPLITS)}")
    return str(value)


def _scale(document: Mapping[str, Any], condition: str, values: NDArray[np.float64], path: str | Path) -> Scale:
    """Return a condition's scale: the file's word, else the multimodal label's, else what the values need."""
    scales = document.get("scales") or {}
    text = scales.get(condition) or scales.get("M")
    scale = Scale.parse(text) if text else (Scale(-1, 1) if np.nanmax(np.abs(values), initial=0) <= 1 else Scale(-3, 3))
    known = values[np.isfinite(values)]
    if known.size and (known.min() < scale.low - 1e-6 or known.max() > scale.high + 1e-6):
        raise ConfigError(
            f"{path}: label_{condition} goes from {known.min():g} to {known.max():g}, off its scale {scale}; "
            "mend the labels or the scale in the file's metadata (see `fmltk dataset check`)"
        )
    return scale
