"""MMSA's pickles and fmltk's feature folders, both ways, without loss.

The parts of a pickle that a feature folder can hold go there: sequences, lengths, texts, labels, splits. Everything
else (the order of the clips, text_bert, annotations, values beyond a sequence's true length, ...) goes to
``mmsa.parquet`` next to it, which `export_mmsa` reads back.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.clip import MODALITIES, split_utterance_id
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import FmltkError, StoreError
from fmltk.toolkit.features.clip_row import MISSING, OK, ClipRow, ModalityStatus
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.label_file import LABEL_FILE, read_labels, write_labels
from fmltk.toolkit.features.label_table import LabelTable, codes_fault, guess_scale
from fmltk.toolkit.features.layout import check_target
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.interchange.importing import ImportSummary, label_counts
from fmltk.toolkit.interchange.mmsa_extras import EXTRAS_FILE, write_extras
from fmltk.toolkit.interchange.mmsa_pickle import LABEL_KEYS, is_per_clip, read_mmsa_pickle
from fmltk.toolkit.io.files import write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from fmltk.toolkit.conditions import Scale
    from fmltk.toolkit.interchange.mmsa_pickle import MmsaPickle


def import_mmsa(
    path: str | Path,
    out: str | Path,
    *,
    non_finite: str = "refuse",
    padding: str = "auto",
    scale: Scale | None = None,
) -> ImportSummary:
    """Turn an MMSA pickle into a feature folder with labels.parquet.

    Parameters
    ----------
    path : such as unaligned_39.pkl or aligned_50.pkl; read without running any code in it
    out : the feature folder to write
    non_finite : "refuse", or "zero" to write 0 for NaN and infinities in features (MMSA's own loader does so for -inf
        in audio)
    padding : on which side sequences are padded: "front", "end", or "auto" to recognise it; here it is at the end
    scale : of the labels; by default -1..1 where all fit it, else -3..3

    Features are stored as float32, as MMSA reads them; that other types change nothing by it is checked and reported.

    Raises StoreError if the file is not such a pickle: what is missing, of the wrong shape or not finite is named.
    """
    path, out = Path(path), Path(out)
    check_target(out)
    pickle = read_mmsa_pickle(path, non_finite=non_finite, padding=padding)
    labels = _labels(pickle, scale)
    labels.check(path)
    out.mkdir(parents=True, exist_ok=True)
    shapes, tails = {}, {}
    for modality in pickle.modalities:
        spec = _spec(pickle, modality)
        shapes[modality] = (spec.length, spec.dimension)
        tails[modality] = _write_modality(out / f"{modality}.parquet", spec, pickle)
    restored = _restore_tables(pickle.embedded, out, labels)
    if restored is None:
        write_labels(labels, out / LABEL_FILE)
        _write_manifest(out / "manifest.parquet", pickle)
    else:
        labels = restored  # bimodal ones too, which no pickle's own arrays hold
    write_extras(out / EXTRAS_FILE, pickle, tails, embedded=restored is not None)
    remarks = (*pickle.remarks, *_remarks_of_tails(pickle, tails))
    codes = codes_fault(labels)
    remarks += () if codes is None else (codes,)
    splits = {split: len(part["id"]) for split, part in pickle.data.items()}
    return ImportSummary(splits, shapes, label_counts(labels), str(labels.scale), remarks, pickle.unread)


def _remarks_of_tails(pickle: MmsaPickle, tails: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    """Yield what is said of steps beyond the true lengths that are not zero; those of a BERT's padding need none."""
    for modality, of_clips in tails.items():
        n = 0 if modality == "text" else sum(bool(np.frombuffer(t, np.float32).any()) for t in of_clips.values())
        if n:
            clips = counted(n, f"clip of {len(pickle.clips)} has", f"clips of {len(pickle.clips)} have")
            yield (
                f"{modality}: {clips} steps beyond {modality}_lengths that are not zero: not read, and kept for an "
                "export; remove the lengths where they are wrong"
            )


def _labels(pickle: MmsaPickle, scale: Scale | None) -> LabelTable:
    labels = {}
    for condition, key in LABEL_KEYS.items():
        parts = []
        for split, part in pickle.data.items():
            n = len(part["id"])
            given = part.get(key)
            parts.append(
                np.full(n, np.nan)
                if given is None
                else _exact_decimal(_numbers(given, n, f"{pickle.path}: {split}/{key}"))
            )
        labels[condition] = np.concatenate(parts)
    ids = [split_utterance_id(clip.utterance) for clip in pickle.clips]
    columns: dict[str, Any] = {
        "utterance_id": [clip.utterance for clip in pickle.clips],
        "video_id": [video for video, _ in ids],
        "clip_id": [name for _, name in ids],
        "split": [clip.split for clip in pickle.clips],
        **{f"label_{condition}": values for condition, values in labels.items()},
    }
    labelled = [condition for condition, values in labels.items() if not np.isnan(values).all()]
    return LabelTable.from_columns(
        columns,
        dict.fromkeys(labelled, scale or guess_scale(labels)),
        scale_source="guessed" if scale is None else "given",
        metadata={"source": pickle.path.name},
    )


def _exact_decimal(values: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return float32 labels as the decimals that they were written as: 0.6, not 0.6000000238; NaN stays.

    The shortest decimal of a float32 turns back into the same float32, so nothing is lost.
    """
    if values.dtype == np.float32:
        return np.array([float(str(value)) for value in values.ravel()], np.float64)
    return np.asarray(values, np.float64).ravel()


def _numbers(values: Any, n: int, where: str) -> NDArray[Any]:
    """Return n numbers as they are, of shape (n,), (n, 1) or so; lists and arrays of objects as float64."""
    try:
        array = np.asarray(values)
        array = array.astype(np.float64) if array.dtype.kind == "O" else array
    except (TypeError, ValueError):
        array = np.empty(0, "U1")
    if array.dtype.kind not in "fiu" or array.size != n or array.shape[:1] != (n,):
        raise StoreError(f"{where} does not hold one number per clip; remove it, or give a number or NaN for each")
    return array.reshape(n)


def _spec(pickle: MmsaPickle, modality: str) -> ModalitySpec:
    part = next(iter(pickle.data.values()))
    _, length, dimension = part[modality].shape
    embedded = pickle.embedded.get("documents", {}).get(modality)
    document = embedded or {"feature_names": [], "rate_hz": None, "source": "mmsa"}
    return ModalitySpec(modality, int(dimension), int(length), f"{modality}_mask" in part, document)


def _write_modality(path: Path, spec: ModalitySpec, pickle: MmsaPickle) -> dict[str, bytes]:
    """Write one modality's file; return what lies beyond the true lengths and is not zero, by utterance_id."""
    tails = {}
    with ModalityWriter(path, spec) as writer:
        for clip in sorted(pickle.clips, key=lambda clip: clip.utterance):
            part = pickle.data[clip.split]
            n, front = clip.lengths[spec.modality], clip.fronts[spec.modality]
            values = _moved(part[spec.modality][clip.row].astype(np.float32), front)  # (L, d)
            if n:
                sequence = np.zeros((n, spec.dimension), np.float32)
                sequence[: min(n, spec.length)] = values[:n]
                mask = part.get(f"{spec.modality}_mask")
                valid = None if mask is None else _padded_mask(_moved(mask[clip.row], front), n)
                writer.append(clip.utterance, sequence, valid)
            if np.any(values[n:] != 0) or np.any(np.signbit(values[n:])):
                tails[clip.utterance] = values[n:].tobytes()
    return tails


def _moved(steps: NDArray[Any], front: int) -> NDArray[Any]:
    """Return the steps of a clip with its padding in front, if any, at the end."""
    return np.roll(steps, -front, axis=0) if front else steps


def _padded_mask(valid: Any, n: int) -> NDArray[np.bool_]:
    """Return a mask of the clip's own length n; what lies beyond the pickle's steps is not valid."""
    mask = np.zeros(n, bool)
    kept = np.asarray(valid, bool)[:n]
    mask[: len(kept)] = kept
    return mask


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


def _write_manifest(path: Path, pickle: MmsaPickle) -> None:
    with ManifestWriter(path, {"source": pickle.path.name, "format": "mmsa"}) as manifest:
        for clip in sorted(pickle.clips, key=lambda clip: clip.utterance):
            part = pickle.data[clip.split]
            video, name = split_utterance_id(clip.utterance)
            text = part["raw_text"][clip.row] if is_per_clip(part.get("raw_text")) else None
            row = ClipRow(
                utterance_id=clip.utterance,
                video_id=video,
                clip_id=name,
                source=pickle.path.name,
                split=clip.split,
                text=None if text is None else str(text),
                status=OK if any(clip.lengths.values()) else MISSING,
                modalities={modality: _status(clip.lengths.get(modality)) for modality in MODALITIES},
            )
            manifest.append(row)


def _status(n_steps: int | None) -> ModalityStatus:
    if n_steps is None:
        return ModalityStatus(MISSING, error_message="the pickle has no such modality")
    if n_steps:
        return ModalityStatus(OK, n_steps)
    return ModalityStatus(MISSING, error_message="its sequence in the pickle is zeros or of length 0")
