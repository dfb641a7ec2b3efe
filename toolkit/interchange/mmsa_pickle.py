"""MMSA's pickle {train, valid, test}, each a dict of arrays over its clips: read, and every shape checked."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from fmltk.toolkit.clip import MODALITIES, SPLITS
from fmltk.toolkit.conditions import UNIMODAL
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.interchange.safe_pickle import load_pickle
from fmltk.toolkit.io.documents import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

REQUIRED = ("id", *MODALITIES, "regression_labels")
EMBEDDED_KEY = "fmltk"
LABEL_KEYS = {"M": "regression_labels", **{m: f"regression_labels_{m}" for m in UNIMODAL}}
MAX_STEPS = 1_000_000  # of a true length, before truncation: six hours of audio


@dataclass(frozen=True, slots=True)
class PickledClip:
    """One clip of a pickle: its split, its row there, and its true length per modality."""

    utterance: str
    split: str
    row: int
    lengths: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MmsaPickle:
    """A pickle whose shapes are checked.

    data : {split: {key: values}}, without what `export_mmsa` embeds; clips : in the pickle's order; embedded : what
    `export_mmsa` put in for us; remarks : what was replaced, and what float32 does not hold
    """

    path: Path
    data: Mapping[str, Mapping[str, Any]]
    clips: tuple[PickledClip, ...]
    embedded: Mapping[str, Any]
    remarks: tuple[str, ...]


def read_mmsa_pickle(path: Path, *, non_finite: str) -> MmsaPickle:
    """Read a pickle without running code in it.

    non_finite : "refuse", or "zero" to take 0 for NaN and infinities in features

    Raises StoreError if the file is something else: what is missing, of the wrong shape or not finite is named.
    """
    data = _checked_data(load_pickle(path), path)
    remarks = _replace_non_finite(data, path, non_finite)
    clips = tuple(_clips(data, path))
    remarks += [f"{key} was {kind}; it is stored as float32" for key, kind in _wide_types(data)]
    return MmsaPickle(path, data, clips, _take_embedded(data), tuple(remarks))


def _checked_data(loaded: Any, path: Path) -> dict[str, dict[str, Any]]:
    """Return {split: its arrays}, every shape checked."""
    if not isinstance(loaded, dict) or not set(loaded) & set(SPLITS):
        raise StoreError(f"{path} is no MMSA pickle: expected a dict with train, valid and test")
    unknown = sorted(str(key) for key in set(loaded) - set(SPLITS))
    if unknown:
        raise StoreError(f"{path} holds {', '.join(unknown)} beside train, valid and test; remove what is no split")
    data: dict[str, dict[str, Any]] = {split: loaded[split] for split in SPLITS if split in loaded}
    for split, part in data.items():
        _check_part(part, f"{path}: {split}")
    for key in (f"{modality}_mask" for modality in MODALITIES):
        if 0 < sum(key in part for part in data.values()) < len(data):
            raise StoreError(f"{path}: some splits have {key} and some have not")
    for modality in MODALITIES:
        shapes = {part[modality].shape[1:] for part in data.values()}
        if len(shapes) > 1:
            raise StoreError(f"{path}: {modality} has a different (steps, d) per split: {sorted(shapes)}")
    return data


def _check_part(part: Any, where: str) -> None:
    """Raise StoreError unless a split is a dict of arrays over its clips."""
    if not isinstance(part, dict):
        raise StoreError(f"{where} is a {type(part).__name__}, expected a dict of arrays")
    missing = [key for key in REQUIRED if key not in part]
    if missing:
        raise StoreError(f"{where} lacks {', '.join(missing)}; it has {', '.join(map(str, part))}")
    if not is_per_clip(part["id"]):
        raise StoreError(f"{where}/id is a {type(part['id']).__name__}, expected one id per clip")
    n = len(part["id"])
    for modality in MODALITIES:
        values = part[modality]
        if not _is_numeric(values, 3) or not all(values.shape[1:]):
            shape = getattr(values, "shape", type(values).__name__)
            raise StoreError(f"{where}/{modality} is {shape}, expected numbers of shape (clips, steps, d)")
    for key, values in part.items():
        if not isinstance(key, str) or not key.isprintable():
            raise StoreError(f"{where} has the key {key!r}; the name of every entry is text")
        if is_per_clip(values) and len(values) != n:
            raise StoreError(f"{where}/{key} has {len(values)} entries for {n} clips")
        if key == EMBEDDED_KEY:
            continue
        if key.endswith("_mask") and not _is_mask(values, part.get(key.removesuffix("_mask"))):
            raise StoreError(f"{where}/{key} does not say of every step whether it is valid")
        if not is_per_clip(values) and not (isinstance(values, int | float | None) or is_text(values)):
            raise StoreError(f"{where}/{key} is a {type(values).__name__}, which has no place in a table")


def is_per_clip(values: Any) -> bool:
    """Whether `values` has one entry per clip."""
    return isinstance(values, list | tuple) or (isinstance(values, np.ndarray) and values.ndim > 0)


def is_text(value: Any) -> bool:
    """Whether `value` is text that a file can hold: no half characters."""
    return isinstance(value, str) and value.encode("utf-8", "ignore") == value.encode("utf-8", "surrogatepass")


def _is_numeric(values: Any, n_dimensions: int) -> TypeGuard[NDArray[Any]]:
    return isinstance(values, np.ndarray) and values.ndim == n_dimensions and values.dtype.kind in "fiu"


def _is_mask(values: Any, features: Any) -> bool:
    if not isinstance(features, np.ndarray):
        return True  # of something that is no modality
    return isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.shape == features.shape[:2]


def _replace_non_finite(data: Mapping[str, dict[str, Any]], path: Path, non_finite: str) -> list[str]:
    """Write 0 for NaN and infinities in features, or refuse them; return what was replaced."""
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
            finding = f"{split}/{modality} holds {int(bad.sum())} {' and '.join(kinds)} in {len(clips)} clips"
            first = str(part["id"][int(clips[0])])
            if non_finite == "refuse":
                raise StoreError(f"{path}: {finding}, the first is {first!r}; --non-finite zero writes 0 for them")
            part[modality] = np.where(bad, 0, values).astype(values.dtype)
            remarks.append(f"{finding}; 0 was written for them")
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


def _clips(data: Mapping[str, dict[str, Any]], path: Path) -> list[PickledClip]:
    """Return every clip in the pickle's order, with its true lengths."""
    clips, seen = [], set()
    for split, part in data.items():
        lengths = {modality: _lengths(part, modality, f"{path}: {split}") for modality in MODALITIES}
        for row, identifier in enumerate(part["id"]):
            utterance = str(identifier)
            if not is_text(utterance):
                raise StoreError(f"{path}: the id {utterance!r} is no text that a file can hold")
            if utterance in seen:
                raise StoreError(f"{path}: clip {utterance!r} occurs twice")
            seen.add(utterance)
            clips.append(PickledClip(utterance, split, row, {m: int(lengths[m][row]) for m in MODALITIES}))
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


def _take_embedded(data: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
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
            if all(isinstance(one, dict) for one in read.values()) and is_text(str(read)):
                found["documents"] = read
    return found
