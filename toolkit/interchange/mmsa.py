"""MMSA's pickles and fmltk's feature folders, both ways, without loss.

A pickle holds {train, valid, test}, each a dict of arrays over its clips. What has a place in a feature folder goes
there: sequences, lengths, texts, labels, splits. Everything else (the order of the clips, text_bert, annotations,
values beyond a sequence's true length, ...) goes to ``mmsa.parquet`` beside it, which `export_mmsa` reads back.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from fmltk.toolkit.clip import MODALITIES, SPLITS, split_utterance_id
from fmltk.toolkit.conditions import CONDITIONS, UNIMODAL
from fmltk.toolkit.errors import ConfigError, FmltkError, StoreError
from fmltk.toolkit.features.clip_row import MISSING, OK, ClipRow, ModalityStatus
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import LABEL_FILE, read_labels, write_labels
from fmltk.toolkit.features.label_table import LabelTable, guess_scale
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.interchange.safe_pickle import load_pickle
from fmltk.toolkit.io.documents import parse_json
from fmltk.toolkit.io.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale

REQUIRED = ("id", "text", "audio", "vision", "regression_labels")
EMBEDDED_KEY = "fmltk"
EXTRAS_FILE = "mmsa.parquet"
LABEL_KEYS = {"M": "regression_labels", **{m: f"regression_labels_{m}" for m in UNIMODAL}}
NON_FINITE = ("refuse", "zero")
MAX_STEPS = 1_000_000  # of a true length, before truncation: six hours of audio


@dataclass(frozen=True)
class ImportSummary:
    """What an import read: clips per split, L and dimension per modality, labelled clips per condition, remarks."""

    splits: dict[str, int]
    shapes: dict[str, tuple[int, int]]
    labels: dict[str, int]
    scale: str
    remarks: tuple[str, ...]


@dataclass
class _Clip:
    """One clip of a pickle: where it stood, and what it holds."""

    utterance: str
    split: str
    row: int
    lengths: dict[str, int] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)


def import_mmsa(
    path: str | Path, out: str | Path, *, non_finite: str = "refuse", scale: Scale | None = None
) -> ImportSummary:
    """Turn an MMSA pickle into a feature folder with labels.parquet.

    Parameters
    ----------
    path : such as unaligned_39.pkl or aligned_50.pkl; read without running any code in it
    out : the feature folder to write
    non_finite : "refuse", or "zero" to write 0 for NaN and infinities in features (MMSA's own loader does so for -inf
        in audio)
    scale : of the labels; by default -1..1 where all fit it, else -3..3

    Features are stored as float32, as MMSA reads them; that other types change nothing by it is checked and told.

    Raises StoreError if the file is no such pickle: what is missing, of the wrong shape or not finite is named.
    """
    path, out = Path(path), Path(out)
    check_target(out)
    data = _checked_data(load_pickle(path), path)
    remarks = _mend_non_finite(data, path, non_finite)
    clips = _clips(data, path)
    labels = _labels(data, clips, path, scale)
    labels.check(path)
    remarks += [f"{key} was {kind}; it is stored as float32" for key, kind in _wide_types(data)]
    embedded = _embedded(data)
    out.mkdir(parents=True, exist_ok=True)
    shapes: dict[str, tuple[int, int]] = {}
    tails = [_write_modality(modality, clips, data, out, embedded, shapes) for modality in MODALITIES]
    restored = _restore_tables(embedded, out, labels)
    if restored is None:
        write_labels(labels, out / LABEL_FILE)
        _write_manifest(out / "manifest.parquet", clips, data, path)
    else:
        labels = restored  # bimodal ones too, which no pickle's own arrays hold
    _write_extras(out / EXTRAS_FILE, clips, data, tails, embedded=restored is not None)
    return ImportSummary(
        {split: len(part["id"]) for split, part in data.items()},
        shapes,
        label_counts(labels),
        str(labels.scale),
        tuple(remarks),
    )


def check_target(out: Path) -> None:
    """Raise ConfigError where a folder holds what `extract` or `train` made: an import would mix with it."""
    for name, what in (("shards", "features of `fmltk extract`"), ("config.toml", "a run of `fmltk train`")):
        if (out / name).exists():
            raise ConfigError(f"{out} holds {what}; name another folder with -o")


def label_counts(labels: LabelTable) -> dict[str, int]:
    """Return how many labels each condition has that has any."""
    counts = {name: int(np.isfinite(labels.values(name)).sum()) for name in CONDITIONS}
    return {name: n for name, n in counts.items() if n}


def _checked_data(loaded: Any, path: Path) -> dict[str, dict[str, Any]]:
    """Return {split: its arrays}, every shape checked."""
    if not isinstance(loaded, dict) or not set(loaded) & set(SPLITS):
        raise StoreError(f"{path} is no MMSA pickle: expected a dict with train, valid and test")
    unknown = sorted(str(key) for key in set(loaded) - set(SPLITS))
    if unknown:
        raise StoreError(f"{path} holds {', '.join(unknown)} beside train, valid and test; remove what is no split")
    data: dict[str, dict[str, Any]] = {split: loaded[split] for split in SPLITS if split in loaded}
    for split, part in data.items():
        if not isinstance(part, dict):
            raise StoreError(f"{path}: {split} is a {type(part).__name__}, expected a dict of arrays")
        missing = [key for key in REQUIRED if key not in part]
        if missing:
            raise StoreError(f"{path}: {split} lacks {', '.join(missing)}; it has {', '.join(map(str, part))}")
        if not _per_clip(part["id"]):
            raise StoreError(f"{path}: {split}/id is a {type(part['id']).__name__}, expected one id per clip")
        n = len(part["id"])
        for modality in MODALITIES:
            values = part[modality]
            if not _is_numeric(values, 3) or not all(values.shape[1:]):
                shape = getattr(values, "shape", type(values).__name__)
                raise StoreError(f"{path}: {split}/{modality} is {shape}, expected numbers of shape (clips, steps, d)")
        for key, values in part.items():
            if not isinstance(key, str) or not key.isprintable():
                raise StoreError(f"{path}: {split} has the key {key!r}; the name of every entry is text")
            if _per_clip(values) and len(values) != n:
                raise StoreError(f"{path}: {split}/{key} has {len(values)} entries for {n} clips")
            if key == EMBEDDED_KEY:
                continue
            if key.endswith("_mask") and not _is_mask(values, part.get(key.removesuffix("_mask"))):
                raise StoreError(f"{path}: {split}/{key} does not say of every step whether it is valid")
            if not _per_clip(values) and not (isinstance(values, int | float | None) or _is_text(values)):
                raise StoreError(f"{path}: {split}/{key} is a {type(values).__name__}, which has no place in a table")
    for key in (f"{modality}_mask" for modality in MODALITIES):
        if 0 < sum(key in part for part in data.values()) < len(data):
            raise StoreError(f"{path}: some splits have {key} and some have not")
    for modality in MODALITIES:
        shapes = {part[modality].shape[1:] for part in data.values()}
        if len(shapes) > 1:
            raise StoreError(f"{path}: {modality} has a different (steps, d) per split: {sorted(shapes)}")
    return data


def _per_clip(values: Any) -> bool:
    return isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim > 0)


def _is_text(value: Any) -> bool:
    """Whether `value` is text that a file can hold: no half characters."""
    return isinstance(value, str) and value.encode("utf-8", "ignore") == value.encode("utf-8", "surrogatepass")


def _is_numeric(values: Any, n_dimensions: int) -> TypeGuard[NDArray[Any]]:
    return isinstance(values, np.ndarray) and values.ndim == n_dimensions and values.dtype.kind in "fiu"


def _is_mask(values: Any, features: Any) -> bool:
    if not isinstance(features, np.ndarray):
        return True  # of something that is no modality
    return isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.shape == features.shape[:2]


def _mend_non_finite(data: Mapping[str, dict[str, Any]], path: Path, non_finite: str) -> list[str]:
    remarks = []
    for split, part in data.items():
        for modality in MODALITIES:
            values = part[modality]
            with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite
                bad = ~np.isfinite(values.astype(np.float32))
            if not bad.any():
                continue
            clips = np.flatnonzero(bad.any(axis=(1, 2)))
            kinds = [
                name
                for name, found in (("NaN", np.isnan(values)), ("inf", values > 0), ("-inf", values < 0))
                if (found & bad).any()
            ]
            told = f"{split}/{modality} holds {int(bad.sum())} {' and '.join(kinds)} in {len(clips)} clips"
            first = str(part["id"][int(clips[0])])
            if non_finite == "refuse":
                raise StoreError(f"{path}: {told}, the first is {first!r}; --non-finite zero writes 0 for them")
            part[modality] = np.where(bad, 0, values).astype(values.dtype)
            remarks.append(f"{told}; 0 was written for them")
    return remarks


def _wide_types(data: Mapping[str, dict[str, Any]]) -> list[tuple[str, str]]:
    """Return the feature arrays that float32 does not hold exactly, and their type."""
    wide = []
    for split, part in data.items():
        for modality in MODALITIES:
            values = part[modality]
            if values.dtype != np.float32 and not np.array_equal(
                values.astype(np.float32).astype(values.dtype), values
            ):
                wide.append((f"{split}/{modality}", str(values.dtype)))
    return wide


def _clips(data: Mapping[str, dict[str, Any]], path: Path) -> list[_Clip]:
    """Return every clip in the pickle's order, with its true lengths."""
    clips, seen = [], set()
    for split, part in data.items():
        lengths = {modality: _lengths(part, modality, f"{path}: {split}") for modality in MODALITIES}
        for row, identifier in enumerate(part["id"]):
            utterance = str(identifier)
            if not _is_text(utterance):
                raise StoreError(f"{path}: the id {utterance!r} is no text that a file can hold")
            if utterance in seen:
                raise StoreError(f"{path}: clip {utterance!r} occurs twice")
            seen.add(utterance)
            clips.append(_Clip(utterance, split, row, {m: int(lengths[m][row]) for m in MODALITIES}))
    return clips


def _lengths(part: Mapping[str, Any], modality: str, where: str) -> NDArray[np.int64]:
    """Return true lengths: the pickle's own, for text those of text_bert's mask, else up to the last non-zero step."""
    key = f"{modality}_lengths"
    if key in part:
        try:
            lengths = np.array([int(value) for value in part[key]], np.int64)
        except (TypeError, ValueError, OverflowError) as error:
            raise StoreError(f"{where}/{key} holds a value that is no number of steps ({error})") from error
        if len(lengths) != len(part["id"]):
            raise StoreError(f"{where}/{key} has {len(lengths)} lengths for {len(part['id'])} clips")
        wrong = lengths[(lengths < 0) | (lengths > MAX_STEPS)]
        if len(wrong):
            raise StoreError(f"{where}/{key} holds {wrong[0]}; a length is 0 to {MAX_STEPS:,}")
        return lengths
    if modality == "text" and "text_bert" in part:
        tokens = part["text_bert"]
        if not _is_numeric(tokens, 3) or tokens.shape[1] != 3:
            shape = getattr(tokens, "shape", type(tokens).__name__)
            raise StoreError(f"{where}/text_bert has shape {shape}, expected (clips, 3, steps): ids, mask, segments")
        masked: NDArray[np.int64] = np.minimum(np.count_nonzero(tokens[:, 1], axis=1), part["text"].shape[1])
        return masked
    filled = np.any(part[modality] != 0, axis=2)  # (n, L)
    steps = np.arange(1, filled.shape[1] + 1)
    last: NDArray[np.int64] = (filled * steps).max(axis=1)
    return last


def _labels(data: Mapping[str, dict[str, Any]], clips: Sequence[_Clip], path: Path, scale: Scale | None) -> LabelTable:
    labels = {}
    for condition, key in LABEL_KEYS.items():
        parts = []
        for split, part in data.items():
            n = len(part["id"])
            given = part.get(key)
            parts.append(
                np.full(n, np.nan) if given is None else _exact_decimal(_numbers(given, n, f"{path}: {split}/{key}"))
            )
        labels[condition] = np.concatenate(parts)
    ids = [split_utterance_id(clip.utterance) for clip in clips]
    columns: dict[str, Any] = {
        "utterance_id": [clip.utterance for clip in clips],
        "video_id": [video for video, _ in ids],
        "clip_id": [name for _, name in ids],
        "split": [clip.split for clip in clips],
        **{f"label_{condition}": values for condition, values in labels.items()},
    }
    labelled = [condition for condition, values in labels.items() if not np.isnan(values).all()]
    return LabelTable.from_columns(
        columns,
        dict.fromkeys(labelled, scale or guess_scale(labels)),
        scale_source="guessed" if scale is None else "given",
        metadata={"source": path.name},
    )


def _exact_decimal(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return float32 labels as the decimals that they were written as: 0.6, not 0.6000000238; NaN stays.

    The shortest decimal of a float32 turns back into the same float32, so nothing is lost.
    """
    if values.dtype == np.float32:
        return np.array([float(str(value)) for value in values.ravel()], np.float64)
    return np.asarray(values, np.float64).ravel()


def _numbers(values: Any, n: int, where: str) -> NDArray[Any]:
    """Return n numbers as they are, of shape (n,) or (n, 1); lists and arrays of objects as float64."""
    try:
        array = np.asarray(values)
        array = array.astype(np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError):
        array = np.empty(0, "U1")
    if array.dtype.kind not in "fiu" or array.shape not in ((n,), (n, 1)):
        raise StoreError(f"{where} does not hold one number per clip; remove it, or give a number or NaN for each")
    return array.reshape(n)


def _write_modality(
    modality: str,
    clips: Sequence[_Clip],
    data: Mapping[str, dict[str, Any]],
    out: Path,
    embedded: Mapping[str, Any],
    shapes: dict[str, tuple[int, int]],
) -> dict[str, bytes]:
    """Write one modality's file; return what lies beyond the true lengths and is not zero, by utterance_id."""
    first = next(iter(data.values()))[modality]
    length, dimension = int(first.shape[1]), int(first.shape[2])
    shapes[modality] = (length, dimension)
    document = embedded.get("documents", {}).get(modality) or {"feature_names": [], "rate_hz": None, "source": "mmsa"}
    has_mask = f"{modality}_mask" in next(iter(data.values()))
    spec = ModalitySpec(modality, dimension, length, has_mask, document)
    tails = {}
    with ModalityWriter(out / f"{modality}.parquet", spec) as writer:
        for clip in sorted(clips, key=lambda clip: clip.utterance):
            values = data[clip.split][modality][clip.row].astype(np.float32)  # (L, d)
            n = clip.lengths[modality]
            if n:
                sequence = np.zeros((n, dimension), np.float32)
                sequence[: min(n, length)] = values[:n]
                valid = data[clip.split][f"{modality}_mask"][clip.row] if has_mask else None
                writer.append(clip.utterance, sequence, None if valid is None else _padded_mask(valid, n))
            if np.any(values[n:] != 0) or np.any(np.signbit(values[n:])):
                tails[clip.utterance] = values[n:].tobytes()
    return tails


def _padded_mask(valid: Any, n: int) -> NDArray[np.bool_]:
    """Return a mask of the clip's own length n; what lies beyond the pickle's steps is not valid."""
    mask = np.zeros(n, bool)
    kept = np.asarray(valid, bool)[:n]
    mask[: len(kept)] = kept
    return mask


def _embedded(data: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Take out what `export_mmsa` put in for us: the feature files' own metadata, the manifest, the label table."""
    found: dict[str, Any] = {}
    for part in data.values():
        value = part.pop(EMBEDDED_KEY, None)
        if isinstance(value, dict):
            found |= value
    documents = found.pop("documents", None)
    if isinstance(documents, str):
        with contextlib.suppress(StoreError, RecursionError):
            read = parse_json(documents, name="documents")
            if all(isinstance(one, dict) for one in read.values()) and _is_text(str(read)):
                found["documents"] = read
    return found


def _restore_tables(embedded: Mapping[str, Any], out: Path, labels: LabelTable) -> LabelTable | None:
    """Write the embedded manifest and label table back, where they still say what the arrays say; return the latter."""
    manifest, table = embedded.get("manifest"), embedded.get("labels")
    if not isinstance(manifest, bytes) or not isinstance(table, bytes):
        return None
    write_bytes(out / LABEL_FILE, table)
    write_bytes(out / "manifest.parquet", manifest)
    try:
        stored = read_labels(out / LABEL_FILE)
        named = read_features(out).manifest()["utterance_id"].tolist()
        at = {utterance: row for row, utterance in enumerate(stored.utterance_ids)}
    except (FmltkError, KeyError, TypeError):
        return None
    ids = set(labels.utterance_ids)
    if not ids <= set(at) or not ids <= set(named):
        return None
    rows = [at[utterance] for utterance in labels.utterance_ids]
    same = all(
        np.allclose(stored.values(condition)[rows], labels.values(condition), atol=1e-6, equal_nan=True)
        for condition in LABEL_KEYS
    )
    return stored if same else None


def _write_extras(
    path: Path,
    clips: Sequence[_Clip],
    data: Mapping[str, dict[str, Any]],
    tails: Sequence[Mapping[str, bytes]],
    *,
    embedded: bool,
) -> None:
    """Write what has no place in the folder's other files, and how each array was held."""
    import pyarrow as pa

    from fmltk.toolkit.io.parquet import encode_metadata, write_table

    columns: dict[str, Any] = {
        "utterance_id": pa.array([clip.utterance for clip in clips], pa.string()),
        "split": pa.array([clip.split for clip in clips], pa.string()),
    }
    keys = {key for part in data.values() for key in part} - set(MODALITIES) - {"id"}
    kinds: dict[str, Any] = {split: {} for split in data}
    for key in sorted(keys):
        cells: list[bytes | None] = []
        for split, part in data.items():
            if key not in part:
                cells += [None] * len(part["id"])
                continue
            cells += _cells(part[key], len(part["id"]))
            kinds[split][key] = _kind(part[key])
        columns[f"key_{key}"] = pa.array(cells, pa.binary())
    for split, part in data.items():
        kinds[split] |= {key: _kind(part[key]) for key in ("id", *MODALITIES)}
    for modality, tail in zip(MODALITIES, tails, strict=True):
        columns[f"tail_{modality}"] = pa.array([tail.get(clip.utterance) for clip in clips], pa.binary())
    orders = {split: list(map(str, part)) for split, part in data.items()}
    metadata = encode_metadata({"kinds": kinds, "keys": orders, "embedded": embedded})
    write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def _kind(values: Any) -> dict[str, Any]:
    """Return how a key's values were held, so that the export holds them so again."""
    if isinstance(values, np.ndarray) and values.ndim:
        return {"kind": "ndarray", "dtype": values.dtype.str, "shape": list(values.shape[1:])}
    if isinstance(values, list | tuple):
        return {"kind": type(values).__name__}
    return {"kind": "value", "value": values}


def _cells(values: Any, n: int) -> list[bytes | None]:
    """Return one cell per clip: raw numbers of an array, JSON of anything else."""
    if not _per_clip(values):
        return [None] * n
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return [np.ascontiguousarray(row).tobytes() for row in values]
    try:
        return [json.dumps(_plain(value), ensure_ascii=False).encode("utf-8", "surrogatepass") for value in values]
    except RecursionError as error:
        raise StoreError("a list in the pickle holds itself, or lists too deep for a table; remove that key") from error


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": _plain(value.tolist()), "dtype": value.dtype.str}
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return _plain(value.item())
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise StoreError(f"a {type(value).__name__} in the pickle has no place in a table; remove that key first")


def _write_manifest(path: Path, clips: Sequence[_Clip], data: Mapping[str, dict[str, Any]], source: Path) -> None:
    with ManifestWriter(path, {"source": source.name, "format": "mmsa"}) as manifest:
        for clip in sorted(clips, key=lambda clip: clip.utterance):
            part = data[clip.split]
            video, name = split_utterance_id(clip.utterance)
            text = part["raw_text"][clip.row] if _per_clip(part.get("raw_text")) else None
            row = ClipRow(
                utterance_id=clip.utterance,
                video_id=video,
                clip_id=name,
                source=source.name,
                split=clip.split,
                text=None if text is None else str(text),
                status=OK,
                modalities={modality: _status(clip.lengths[modality]) for modality in MODALITIES},
            )
            manifest.append(row)


def _status(n_steps: int) -> ModalityStatus:
    if n_steps:
        return ModalityStatus(OK, n_steps)
    return ModalityStatus(MISSING, error_message="the pickle gives a length of 0")
