"""MMSA's pickle {train, valid, test}, each a dict of arrays over its clips: read, and every shape checked."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from fmltk.toolkit.clip import MODALITIES, SPLITS, split_name
from fmltk.toolkit.conditions import UNIMODAL
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.interchange.mmsa_padding import front_padding
from fmltk.toolkit.interchange.safe_pickle import load_pickle
from fmltk.toolkit.io.documents import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

REQUIRED = ("id", "regression_labels")
EMBEDDED_KEY = "fmltk"
SETTINGS_KEY, WORD_TIMES_KEY = "config", "align"  # what MMSA-FET notes of how it made a pickle; neither is read
LABEL_KEYS = {"M": "regression_labels", **{m: f"regression_labels_{m}" for m in UNIMODAL}}
MAX_STEPS = 1_000_000  # of a true length, before truncation: six hours of audio


@dataclass(frozen=True, slots=True)
class PickledClip:
    """One clip of a pickle: its split, its row there, and per modality its true length and its padding in front."""

    utterance: str
    split: str
    row: int
    lengths: Mapping[str, int]
    fronts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class MmsaPickle:
    """A pickle whose shapes are checked.

    data : {split: {key: values}}, without what `export_mmsa` embeds; modalities : those that it has; clips : in the
    pickle's order; embedded : what `export_mmsa` put in for us; remarks : what was replaced, moved or is missing;
    unread : the entries that nothing here reads
    """

    path: Path
    data: Mapping[str, Mapping[str, Any]]
    modalities: tuple[str, ...]
    clips: tuple[PickledClip, ...]
    embedded: Mapping[str, Any]
    remarks: tuple[str, ...]
    unread: tuple[str, ...]


def read_mmsa_pickle(path: Path, *, non_finite: str, padding: str = "auto") -> MmsaPickle:
    """Read a pickle without running code in it.

    non_finite : "refuse", or "zero" to take 0 for NaN and infinities in features
    padding : see `front_padding`

    Raises StoreError if the file is something else: what is missing, of the wrong shape or not finite is named.
    """
    data, modalities, remarks = _checked_data(load_pickle(path), path)
    remarks += _replace_non_finite(data, modalities, path, non_finite)
    if any(EMBEDDED_KEY in part for part in data.values()):
        padding = "end"  # as `export_mmsa` pads
    clips = tuple(_clips(data, modalities, path, padding))
    remarks += _remarks_of_lengths(clips, modalities)
    remarks += [f"{key} was {kind}; it is stored as float32" for key, kind in _wide_types(data, modalities)]
    embedded = _take_embedded(data)
    unread = {key for part in data.values() for key in part if not _is_read(key)}
    return MmsaPickle(path, data, modalities, clips, embedded, tuple(remarks), tuple(sorted(unread)))


def _is_read(key: str) -> bool:
    modality, _, what = key.partition("_")
    is_of_modality = modality in MODALITIES and what in ("", "lengths", "mask", "bert")
    return is_of_modality or key in {"id", "raw_text", *LABEL_KEYS.values()}


def _checked_data(loaded: Any, path: Path) -> tuple[dict[str, dict[str, Any]], tuple[str, ...], list[str]]:
    """Return {split: its arrays}, every shape checked; the modalities that are not empty; remarks on the others."""
    if not isinstance(loaded, dict) or not set(loaded) & set(SPLITS):
        raise StoreError(
            f"{path} is not an MMSA pickle: expected a dict with train, valid and test, each with "
            f"{', '.join(REQUIRED)} and features"
        )
    names = {key: split_name(key) or key for key in loaded if isinstance(key, str)}
    renamed = {key: name for key, name in names.items() if name != key and name not in loaded}
    loaded = {renamed.get(key, key): part for key, part in loaded.items()}
    unknown = sorted(str(key) for key in set(loaded) - {*SPLITS, SETTINGS_KEY})
    if unknown:
        raise StoreError(f"{path} holds {', '.join(unknown)} next to train, valid and test; remove what is not a split")
    parts: dict[str, dict[str, Any]] = {split: loaded[split] for split in SPLITS if split in loaded}
    for split, part in parts.items():
        _check_part(part, f"{path}: {split}")
    data = {split: {key: part[key] for key in part if key != WORD_TIMES_KEY} for split, part in parts.items()}
    for key in (f"{modality}_mask" for modality in MODALITIES):
        if 0 < sum(key in part for part in data.values()) < len(data):
            raise StoreError(f"{path}: some splits have {key} and some have not")
    modalities = []
    left_out = {SETTINGS_KEY} & loaded.keys() | {WORD_TIMES_KEY for part in parts.values() if WORD_TIMES_KEY in part}
    remarks = [f"the split {key} is read as {name}" for key, name in sorted(renamed.items())]
    remarks += [f"{key}, MMSA-FET's record of how the pickle was made, is not kept" for key in sorted(left_out)]
    for modality in MODALITIES:
        having = [split for split, part in data.items() if modality in part]
        if 0 < len(having) < len(data):
            raise StoreError(
                f"{path}: {modality} is in {', '.join(having)} and not in the other splits; add or remove it"
            )
        shapes = {part[modality].shape[1:] for part in data.values() if having}
        if len(shapes) > 1:
            raise StoreError(f"{path}: {modality} has a different (steps, d) per split: {sorted(shapes)}")
        if not having:
            remarks.append(f"the pickle has no {modality}; the features have none either")
        elif not all(shape := shapes.pop()):
            remarks.append(f"{modality} is empty, with (steps, d) {shape}; the features have none")
        else:
            modalities.append(modality)
    if not modalities:
        raise StoreError(f"{path} holds no features; expected at least one of {', '.join(MODALITIES)}")
    return data, tuple(modalities), remarks


def _check_part(part: Any, where: str) -> None:
    """Raise StoreError unless a split is a dict of arrays over its clips."""
    if not isinstance(part, dict):
        raise StoreError(f"{where} is a {type(part).__name__}, expected a dict of arrays")
    missing = [key for key in REQUIRED if key not in part]
    if missing:
        classes = "classification_labels" in part and missing == [LABEL_KEYS["M"]]
        remedy = (
            "; of classes, write NaN there and give `fmltk train` a table of the words, --labels" if classes else ""
        )
        raise StoreError(f"{where} lacks {', '.join(missing)}; it has {', '.join(map(str, part))}{remedy}")
    if not is_per_clip(part["id"]):
        raise StoreError(f"{where}/id is a {type(part['id']).__name__}, expected one id per clip")
    n = len(part["id"])
    for modality in MODALITIES:
        values = part.get(modality)
        is_empty = isinstance(values, np.ndarray) and values.ndim > 1 and 0 in values.shape[1:]
        if modality in part and not is_empty and not _is_numeric(values, 3):
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
            raise StoreError(f"{where}/{key} is a {type(values).__name__}, which does not fit into a table")


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
        return True  # of something that is not a modality
    return isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and values.shape == features.shape[:2]


def _replace_non_finite(
    data: Mapping[str, dict[str, Any]], modalities: Sequence[str], path: Path, non_finite: str
) -> list[str]:
    """Write 0 for NaN and infinities in features, or refuse them; return what was replaced."""
    remarks = []
    for split, part in data.items():
        for modality in modalities:
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
            where = counted(len(clips), "clip")
            finding = f"{split}/{modality} holds {int(bad.sum())} {' and '.join(kinds)} in {where}"
            first = _id_text(part["id"][int(clips[0])])
            if non_finite == "refuse":
                raise StoreError(f"{path}: {finding}, the first is {first!r}; --non-finite zero writes 0 for them")
            part[modality] = np.where(bad, 0, values).astype(values.dtype)
            remarks.append(f"{finding}; 0 was written for them")
    return remarks


def _wide_types(data: Mapping[str, dict[str, Any]], modalities: Sequence[str]) -> list[tuple[str, str]]:
    """Return the feature arrays that float32 does not hold exactly, and their type."""
    wide = []
    for split, part in data.items():
        for modality in modalities:
            values = part[modality]
            if values.dtype != np.float32 and not np.array_equal(
                values.astype(np.float32).astype(values.dtype), values
            ):
                wide.append((f"{split}/{modality}", str(values.dtype)))
    return wide


def _clips(
    data: Mapping[str, dict[str, Any]], modalities: Sequence[str], path: Path, padding: str
) -> Iterator[PickledClip]:
    """Yield every clip in the pickle's order, with its true lengths."""
    given = {split: _given_lengths(part, modalities, f"{path}: {split}") for split, part in data.items()}
    fronts = front_padding(data, given, modalities, padding, str(path))
    seen = set()
    for split, part in data.items():
        front = fronts[split]
        lengths = {m: given[split].get(m, _steps(part[m], front.get(m))) for m in modalities}
        for row, identifier in enumerate(part["id"]):
            utterance = _id_text(identifier)
            if not is_text(utterance):
                raise StoreError(f"{path}: the id {utterance!r} is not text that a file can hold")
            if utterance in seen:
                raise StoreError(f"{path}: clip {utterance!r} occurs twice")
            seen.add(utterance)
            yield PickledClip(
                utterance,
                split,
                row,
                {m: int(lengths[m][row]) for m in modalities},
                {m: int(front[m][row]) if m in front else 0 for m in modalities},
            )


def _id_text(identifier: Any) -> str:
    """Return a clip's id as text: also of bytes, and of an array that holds the id alone."""
    if isinstance(identifier, np.ndarray) and identifier.size == 1:
        identifier = identifier.reshape(-1)[0]
    elif isinstance(identifier, list | tuple) and len(identifier) == 1:
        identifier = identifier[0]
    return identifier.decode("utf-8", "backslashreplace") if isinstance(identifier, bytes) else str(identifier)


def _given_lengths(part: Mapping[str, Any], modalities: Sequence[str], where: str) -> dict[str, NDArray[np.int64]]:
    """Return the lengths that a split states: the pickle's own, for text those of text_bert's mask."""
    given = {}
    for modality in modalities:
        key = f"{modality}_lengths"
        if key in part:
            given[modality] = _checked_lengths(part[key], len(part["id"]), f"{where}/{key}")
        elif modality == "text" and "text_bert" in part:
            tokens = part["text_bert"]
            if not _is_numeric(tokens, 3) or tokens.shape[1] != 3:
                shape = getattr(tokens, "shape", type(tokens).__name__)
                raise StoreError(
                    f"{where}/text_bert has shape {shape}, expected (clips, 3, steps): ids, mask, segments"
                )
            masked = np.minimum(np.count_nonzero(tokens[:, 1], axis=1), part["text"].shape[1])
            given[modality] = masked.astype(np.int64)
    return given


def _checked_lengths(values: Any, n_clips: int, where: str) -> NDArray[np.int64]:
    try:
        written = [np.asarray(value).item() for value in values]
        lengths = np.array([int(value) for value in written], np.int64)
        if broken := [value for value, whole in zip(written, lengths.tolist(), strict=True) if value != whole]:
            raise ValueError(f"{broken[0]}")
    except (TypeError, ValueError, OverflowError) as error:
        raise StoreError(f"{where} holds a value that is not a number of steps ({error})") from error
    if len(lengths) != n_clips:
        raise StoreError(f"{where} has {len(lengths)} lengths for {n_clips} clips")
    wrong = lengths[(lengths < 0) | (lengths > MAX_STEPS)]
    if len(wrong):
        raise StoreError(f"{where} holds {wrong[0]}; a length is 0 to {MAX_STEPS:,}")
    return lengths


def _steps(values: NDArray[Any], front: NDArray[np.int64] | None) -> NDArray[np.int64]:
    """Return lengths that are not stated: to the last step that is not zero, or all that follows padding in front."""
    filled = np.any(values != 0, axis=2)  # (n, L)
    if front is not None:
        return np.where(filled.any(axis=1), filled.shape[1] - front, 0)
    last: NDArray[np.int64] = (filled * np.arange(1, filled.shape[1] + 1)).max(axis=1)
    return last


def _remarks_of_lengths(clips: Sequence[PickledClip], modalities: Sequence[str]) -> list[str]:
    """Return what is said of padding in front and of sequences of length 0."""
    remarks = []
    moved = {m: sum(clip.fronts[m] > 0 for clip in clips) for m in modalities}
    named = ", ".join(f"{m} {n}" for m, n in moved.items() if n)
    if named:
        remarks.append(
            f"padding in front ({named} of {len(clips)} clips) was moved to the end; an export moves it back"
        )
    for modality in modalities:
        n = sum(clip.lengths[modality] == 0 for clip in clips)
        if n:
            remarks.append(
                f"{modality} is missing in {n} of {len(clips)} clips: their sequences are zeros or of length 0"
            )
    return remarks


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
