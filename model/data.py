"""The trainer's reading of a features folder.

Sequences are read once, row group by row group. Audio and vision become one vector per clip, the mean over its valid
steps (the paper averages before the networks, section 4.1.2) or, as MMSA has it, over all L, unless the model reads
them whole; text, and what is read whole, is kept without padding. Every modality uses its first min(length, L) steps,
as the padding rule says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.model.token_data import identity_of, joined, read_tokens
from fmltk.model.videos import clip_positions
from fmltk.toolkit.clip import SPLITS, split_utterance_id
from fmltk.toolkit.conditions import MODALITY_OF
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import StoreError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.model.registry import ModelSpec
    from fmltk.model.settings import Settings
    from fmltk.toolkit.features.sequences import ModalityTable


@dataclass(frozen=True)
class Ragged:
    """Sequences without padding, one after the other.

    steps : float32 (n_steps, d), NaN in the row of a step that is there but not valid; or token numbers, int32
        (n_tokens, 1)
    offsets : int64 (n_clips + 1,), clip k has the rows offsets[k] to offsets[k + 1]
    """

    steps: NDArray[Any]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Steps per clip, int64 (n_clips,); 0 where the clip has none."""
        return np.diff(self.offsets)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Which steps are valid, bool (n_steps,)."""
        return np.asarray(np.isfinite(self.steps[:, 0]))

    @property
    def has_valid(self) -> NDArray[np.bool_]:
        """Which clips have a valid step, bool (n_clips,)."""
        counted = np.concatenate([[0], np.cumsum(self.valid)])
        return np.asarray(np.diff(counted[self.offsets]) > 0)

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
    means : by modality letter A and V, float32 (n, d), mean over steps; NaN rows where the clip has no valid one
    reasons : by modality letter, per clip why it has none, "" where it has
    schema : by modality letter, what the feature file says of itself
    positions : int64 (n,), rising from clip to clip of a video (see `clip_positions`)
    splits : train, valid or test, as the transcripts said; "" where they did not
    pooled : instead of `means` where steps were asked for: by modality letter, float32 (n, L of the text, d)
    sequences : instead of `means` where they are read whole: by modality letter, unpadded steps
    """

    utterance_ids: tuple[str, ...]
    texts: tuple[str | None, ...]
    text: Ragged | None
    means: Mapping[str, NDArray[np.float32]]
    reasons: Mapping[str, tuple[str, ...]]
    schema: Mapping[str, dict[str, Any]]
    splits: tuple[str, ...]
    positions: NDArray[np.int64]
    pooled: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    sequences: Mapping[str, Ragged] = field(default_factory=dict)

    def whole(self, modality: str) -> Ragged | None:
        """Return the sequences of a modality that are kept whole; None where they are not."""
        return self.text if modality == "T" else self.sequences.get(modality)

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
            self.positions[rows],
            {m: values[rows] for m, values in self.pooled.items()},
            {m: values.take(rows) for m, values in self.sequences.items()},
        )

    def without_arrays(self) -> ClipFeatures:
        """Return the clips' names, texts and reasons alone: what is left to know once the arrays are prepared."""
        return ClipFeatures(
            self.utterance_ids, self.texts, None, {}, self.reasons, self.schema, self.splits, self.positions
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """The treatment of steps.

    frames : the means of audio and vision are over the "valid" ones, or over all L as they are stored: "padded"
    pooled : steps instead of means, as many as texts have: "strided" or "windows" (see `pool`); "" for means
    letters : the modalities that are read
    whole : whether audio and vision are read whole
    tokens, text_model, sha256 : whether the text's token numbers are read instead of its features, and the text model
        that a user names for them, or a trained model had
    gaps : whether words without a token, in aligned folders, stay in the text as steps of zeros, so that step k of each
        modality belongs to word k; else they are left out
    use : the sets that are read where they are not their modality's first, as the setting has them
    """

    frames: str = "valid"
    pooled: str = ""
    letters: tuple[str, ...] = tuple(MODALITY_OF)
    whole: bool = False
    gaps: bool = False
    tokens: bool = False
    text_model: str | None = None
    sha256: str = ""
    use: str = ""

    @classmethod
    def of(cls, model: ModelSpec, settings: Settings, text_model: str | None = None) -> Reading:
        """Return what a model reads; the corrected variants of those that read steps pool neighbours."""
        windows = settings.as_dict().get("variant") == "corrected"
        pooled = ("windows" if windows else "strided") if model.reads_pooled else ""
        whole = model.reads_whole
        letters = tuple(settings.modalities.split(","))
        gaps = whole or model.reads_pooled
        return cls(settings.frames, pooled, letters, whole, gaps, model.reads_tokens, text_model, use=settings.use)


def pool(steps: NDArray[np.float32], n_steps: int, how: str) -> NDArray[np.float32]:
    """Return the steps of b clips, float32 (b, L, d), pooled to (b, n_steps, d) by means of k = ceil(L / n_steps).

    how : "windows": k neighbours each; "strided": those n_steps apart, as MMSA pools, which mixes early and late

    The last step fills up what L lacks of k * n_steps.

    Source: MMSA 2.2.1, models/subNets/AlignNets.py, avg_pool.

    >>> four = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    >>> pool(four, 2, "windows")[0, :, 0].tolist(), pool(four, 2, "strided")[0, :, 0].tolist()
    ([0.5, 2.5], [1.0, 2.0])
    """
    b, length, d = steps.shape
    k = -(-length // n_steps)
    filled = np.concatenate([steps, np.repeat(steps[:, -1:], k * n_steps - length, axis=1)], axis=1)
    windows = how == "windows"
    groups = filled.reshape((b, n_steps, k, d) if windows else (b, k, n_steps, d))
    pooled: NDArray[np.float32] = groups.mean(axis=2 if windows else 1)
    return pooled


def read_clip_features(
    folder: str | os.PathLike[str],
    *,
    lengths: Mapping[str, int] | None = None,
    reading: Reading = Reading(),
) -> ClipFeatures:
    """Read a features folder.

    Parameters
    ----------
    folder : what `fmltk extract` or `fmltk dataset import` wrote
    lengths : L by modality letter, where it is not the folder's own: a run's L for new clips
    reading : what is made of the steps of audio and vision

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
    pooled: dict[str, NDArray[np.float32]] = {}
    sequences: dict[str, Ragged] = {}
    reasons: dict[str, tuple[str, ...]] = {}
    schema: dict[str, dict[str, Any]] = {}
    tables, keys = features.modalities, features.keys_in_use(reading.use)
    for letter, modality in MODALITY_OF.items():
        name = keys.get(modality, "")
        if name not in tables or letter not in reading.letters:
            continue
        table = tables[name]
        limit = _usable_length(table, (lengths or {}).get(letter))
        why = _reasons(manifest, name)
        if letter == "T" and reading.tokens:
            of_table = {utterance: texts[row_of[utterance]] for utterance in table.utterance_ids}
            numbers = read_tokens(features, of_table, identity_of(table.document, reading.sha256), reading.text_model)
            text = Ragged(*joined(numbers, ids, limit))
            has = text.has_valid
        elif letter == "T":
            text = _read_ragged(table, row_of, limit, gaps=reading.gaps)
            has = text.has_valid
        elif reading.whole:
            sequences[letter] = _read_ragged(table, row_of, limit, gaps=True)
            has = sequences[letter].has_valid
        elif reading.pooled and "T" in schema:
            pooled[letter] = _read_pooled(table, row_of, limit, schema["T"]["length"], reading.pooled)
            has = np.asarray(np.isfinite(pooled[letter]).all(axis=(1, 2)))
        else:
            means[letter] = _read_means(table, row_of, limit, reading.frames)
            has = np.asarray(np.isfinite(means[letter]).all(axis=1))
        reasons[letter] = tuple("" if ok else reason for ok, reason in zip(has, why, strict=True))
        schema[letter] = {**table.document, "length": limit}
    pa.default_memory_pool().release_unused()  # what decoding left behind is as large as the features themselves
    splits, positions = _manifest_splits(manifest), _positions(manifest)
    return ClipFeatures(ids, texts, text, means, reasons, schema, splits, positions, pooled, sequences)


def read_clip_names(folder: str | os.PathLike[str]) -> ClipFeatures:
    """Return the clips of a features folder without their sequences: all that a fusion of saved H needs."""
    from fmltk.toolkit.features.feature_set import read_features

    manifest = read_features(folder).manifest()
    texts = tuple(text if isinstance(text, str) else None for text in manifest["text"])
    ids = tuple(str(utterance) for utterance in manifest["utterance_id"])
    return ClipFeatures(ids, texts, None, {}, {}, {}, _manifest_splits(manifest), _positions(manifest))


def _manifest_splits(manifest: Any) -> tuple[str, ...]:
    """Return each clip's split as the manifest says it, "" where it says none."""
    return tuple(split if split in SPLITS else "" for split in manifest["split"])


def _positions(manifest: Any) -> NDArray[np.int64]:
    """Return each clip's place among those of its video, as the manifest has them."""
    ids = [split_utterance_id(str(utterance)) for utterance in manifest["utterance_id"]]
    starts_s = manifest["start_s"].to_numpy(dtype=np.float64, na_value=np.nan)
    return clip_positions([video for video, _ in ids], [clip for _, clip in ids], starts_s)


def _usable_length(table: ModalityTable, wanted: int | None) -> int:
    if wanted is None or wanted == table.length:
        return table.length
    if wanted > table.length and np.any(table.truncated > 0):
        raise StoreError(
            f"{table.path} keeps {table.length} steps per clip and {int(np.sum(table.truncated > 0))} clips were cut, "
            f"but the model reads {wanted}; pad again with `fmltk pad --max-length`, extract with L = {wanted}, or "
            f"align to words with `fmltk align --length {wanted}`"
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
            f"{table.path}: NaN or infinities in the features of {counted(int(np.sum(~finite)), 'clip')}, the first is "
            f"{ids[first]!r}; see `fmltk dataset check`, then extract those clips again or leave them out"
        )


def _read_means(table: ModalityTable, row_of: Mapping[str, int], limit: int, frames: str) -> NDArray[np.float32]:
    means = np.full((len(row_of), table.dimension), np.nan, np.float32)
    for ids, features, mask in table.batches():
        valid = mask[:, :limit, None]  # (n, L, 1)
        used = valid if frames == "valid" else np.ones_like(valid)
        sums = np.where(used, features[:, :limit], 0).sum(axis=1, dtype=np.float64)  # (n, d)
        counts = used.sum(axis=1) if frames == "valid" else np.full((len(ids), 1), limit)  # (n, 1)
        _refuse_non_finite(table, ids, sums)
        rows = np.array(_rows(table, ids, row_of), np.int64)
        has = valid[:, :, 0].any(axis=1)
        means[rows[has]] = (sums[has] / counts[has]).astype(np.float32)
    return means


def _read_pooled(
    table: ModalityTable, row_of: Mapping[str, int], limit: int, n_steps: int, how: str
) -> NDArray[np.float32]:
    pooled = np.full((len(row_of), n_steps, table.dimension), np.nan, np.float32)
    for ids, features, mask in table.batches():
        steps = np.zeros((len(ids), limit, table.dimension), np.float32)
        steps[:, : table.length] = features[:, :limit]
        _refuse_non_finite(table, ids, steps)
        rows = np.array(_rows(table, ids, row_of), np.int64)
        has = mask[:, :limit].any(axis=1)
        pooled[rows[has]] = pool(steps[has], n_steps, how)
    return pooled


def _read_ragged(table: ModalityTable, row_of: Mapping[str, int], limit: int, *, gaps: bool) -> Ragged:
    lengths = np.zeros(len(row_of), np.int64)
    lengths[_rows(table, table.utterance_ids, row_of)] = np.minimum(table.lengths, min(limit, table.length))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    steps = np.empty((int(offsets[-1]), table.dimension), np.float32)
    used = np.ones(len(steps), bool)
    for ids, features, mask in table.batches():
        for utterance, row, padded, valid in zip(ids, _rows(table, ids, row_of), features, mask, strict=True):
            kept = slice(offsets[row], offsets[row + 1])
            steps[kept], used[kept] = padded[: lengths[row]], valid[: lengths[row]]
            _refuse_non_finite(table, [utterance], steps[kept][used[kept]][None])
    if gaps:
        steps[~used] = np.nan
    if gaps or used.all():
        return Ragged(steps, offsets)
    return Ragged(steps[used], np.concatenate([[0], np.cumsum(used)])[offsets])
