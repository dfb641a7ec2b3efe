"""mmsa.parquet: the parts of a pickle that a feature folder's other files cannot hold, both ways."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.interchange.mmsa_pickle import is_per_clip
from fmltk.toolkit.io.documents import parse_json_value
from fmltk.toolkit.io.parquet import decode_metadata, encode_metadata, open_parquet, reading, write_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fmltk.toolkit.interchange.mmsa_pickle import MmsaPickle

EXTRAS_FILE = "mmsa.parquet"
TEXTS, TEXT_LENGTHS = "texts", "text lengths"  # kinds of keys that an export makes of the folder's tables


def write_extras(path: Path, pickle: MmsaPickle, tails: Mapping[str, Mapping[str, bytes]], *, embedded: bool) -> None:
    """Write what has no place in the folder's other files, and how each array was held.

    tails : by modality and utterance_id, what lies beyond the true lengths
    embedded : whether the folder's manifest and labels are those that the pickle embeds
    """
    import pyarrow as pa

    data = pickle.data
    columns: dict[str, Any] = {
        "utterance_id": pa.array([clip.utterance for clip in pickle.clips], pa.string()),
        "split": pa.array([clip.split for clip in pickle.clips], pa.string()),
    }
    keys = {key for part in data.values() for key in part} - set(pickle.modalities) - {"id"}
    kinds: dict[str, Any] = {split: {} for split in data}
    for key in sorted(keys):
        cells: list[bytes | None] = []
        for split, part in data.items():
            if key not in part:
                cells += [None] * len(part["id"])
                continue
            cells += _encoded(part[key], len(part["id"]), f"{split}/{key}")
            kinds[split][key] = _kind_of(part[key])
        columns[f"key_{key}"] = pa.array(cells, pa.binary())
    for split, part in data.items():
        kinds[split] |= {key: _kind_of(part[key]) for key in ("id", *pickle.modalities)}
    for modality, tail in tails.items():
        columns[f"tail_{modality}"] = pa.array([tail.get(clip.utterance) for clip in pickle.clips], pa.binary())
    for modality in pickle.modalities:
        columns[f"front_{modality}"] = pa.array([clip.fronts[modality] for clip in pickle.clips], pa.int32())
    keys_of = {split: list(map(str, part)) for split, part in data.items()}
    metadata = encode_metadata({"kinds": kinds, "keys": keys_of, "embedded": embedded})
    write_table(pa.table(columns).replace_schema_metadata(metadata), path)


def _kind_of(values: Any) -> dict[str, Any]:
    """Return how a key's values were held, so that the export holds them so again."""
    if isinstance(values, np.ndarray) and values.ndim:
        return {"kind": "ndarray", "dtype": values.dtype.str, "shape": list(values.shape[1:])}
    if isinstance(values, list | tuple):
        return {"kind": type(values).__name__}
    return {"kind": "value", "value": values}


def _encoded(values: Any, n: int, where: str) -> list[bytes | None]:
    """Return one cell per clip: raw numbers of an array, JSON of anything else."""
    if not is_per_clip(values):
        return [None] * n
    if isinstance(values, np.ndarray) and values.dtype.kind in "fiub":
        return [np.ascontiguousarray(row).tobytes() for row in values]
    return [json.dumps(_plain(value, where), ensure_ascii=False).encode("utf-8", "surrogatepass") for value in values]


def _plain(value: Any, where: str) -> Any:
    if isinstance(value, np.ndarray):
        return {"array": _plain(value.tolist(), where), "dtype": value.dtype.str}
    if isinstance(value, np.generic) and not isinstance(value.item(), np.generic):
        return _plain(value.item(), where)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, where) for item in value]
    raise StoreError(f"{where}: a {type(value).__name__} does not fit into a table; remove that key first")


@dataclass(frozen=True, slots=True)
class Extras:
    """The contents of mmsa.parquet.

    rows : by utterance_id, in the pickle's order; kinds, keys : by split, how each key was held, and the keys in order;
    embedded : whether an export embeds the folder's own tables
    """

    rows: Mapping[str, Mapping[str, Any]]
    kinds: Mapping[str, Mapping[str, Mapping[str, Any]]]
    keys: Mapping[str, Sequence[str]]
    embedded: bool

    def kinds_of(self, split: str) -> dict[str, Mapping[str, Any]]:
        """Return the keys of a split in their order, and how each was held; of another split where it has none."""
        kinds = self.kinds.get(split) or next(iter(self.kinds.values()))
        keys = self.keys.get(split) or next(iter(self.keys.values()))
        return {key: kinds[key] for key in keys if key in kinds}

    def add_tails(self, modality: str, utterances: Sequence[str], values: NDArray[np.float32]) -> None:
        """Write into `values`, (n, L, d), what the pickle had beyond the true lengths."""
        for row, utterance in enumerate(utterances):
            tail = self.rows[utterance].get(f"tail_{modality}")
            if tail:
                steps = np.frombuffer(tail, np.float32).reshape(-1, values.shape[2])
                values[row, values.shape[1] - len(steps) :] = steps

    def move_padding(self, modality: str, utterances: Sequence[str], values: NDArray[np.float32]) -> None:
        """Move the padding of `values`, (n, L, d), to the front of the clips where the pickle had it there."""
        for row, utterance in enumerate(utterances):
            front = self.rows[utterance].get(f"front_{modality}")
            if front:
                values[row] = np.roll(values[row], front, axis=0)

    def values(self, key: str, kind: Mapping[str, Any], utterances: Sequence[str]) -> Any:
        """Return the values of a key, as they were held in the split that they are written to.

        Raises StoreError if the split that a clip comes from lacks the key, or held it in another shape.
        """
        if kind["kind"] == "value":
            return kind["value"]
        values = [self._value(key, kind, self.rows[utterance]) for utterance in utterances]
        if not _holds_numbers(kind):
            return as_held(values, kind)
        if any(np.shape(value) != tuple(kind["shape"]) for value in values):
            raise StoreError(f"the splits of the pickle held {key} in several shapes; export with its own splits")
        dtype = np.dtype(kind["dtype"])
        return fitted(np.stack(values), dtype) if values else np.zeros((0, *kind["shape"]), dtype)

    def _value(self, key: str, kind: Mapping[str, Any], row: Mapping[str, Any]) -> Any:
        cell = row[f"key_{key}"]
        if cell is None:
            raise StoreError(
                f"the split {row['split']} of the pickle had no {key}; export with the pickle's own splits"
            )
        own = self.kinds.get(row["split"], {}).get(key, kind)
        if _holds_numbers(own):
            return np.frombuffer(cell, np.dtype(own["dtype"])).reshape(own["shape"])
        return _decoded(parse_json_value(cell, name=f"key_{key}"))


def read_extras(path: Path) -> Extras | None:
    """Return what mmsa.parquet holds; None where there is none, or it has no clip."""
    if not path.is_file():
        return None
    with open_parquet(path) as file, reading(path):
        table = file.read()
        document = decode_metadata(file.schema_arrow, name=str(path))
    rows = {row["utterance_id"]: row for row in table.to_pylist()}
    if not rows:
        return None
    return Extras(rows, document.get("kinds", {}), document.get("keys", {}), document.get("embedded", True))


def forget_text(path: Path) -> None:
    """Drop what mmsa.parquet holds of the text that the pickle had, now that the folder has another.

    An export then takes the transcripts and the lengths from the folder, and has no text_bert.
    """
    if not path.is_file():
        return
    with open_parquet(path) as file, reading(path):
        table = file.read()
        document = decode_metadata(file.schema_arrow, name=str(path))
    dropped = {"tail_text", "front_text", "key_text_bert", "key_text_lengths", "key_raw_text"}
    made = {"raw_text": TEXTS, "text_lengths": TEXT_LENGTHS}
    for split, keys in document.get("keys", {}).items():
        document["keys"][split] = [key for key in keys if key not in ("text_bert", *made)] + list(made)
        kinds = document["kinds"].setdefault(split, {})
        kinds.pop("text_bert", None)
        kinds |= {key: {"kind": kind} for key, kind in made.items()}
    kept = table.select([name for name in table.column_names if name not in dropped])
    write_table(kept.replace_schema_metadata(encode_metadata(document)), path)


def as_held(values: list[Any], kind: Mapping[str, Any]) -> Any:
    """Return values as an array, a tuple or a list: as the pickle held them."""
    if kind["kind"] == "ndarray":
        dtype = np.dtype(kind["dtype"])
        given: Any = {"U": "U", "S": "S", "i": None, "u": None, "b": None}.get(dtype.kind, dtype)
        return fitted(np.array(values, dtype=given), dtype).reshape((len(values), *kind["shape"]))
    return tuple(values) if kind["kind"] == "tuple" else values


def fitted(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array in a type; in one that is wide enough where that type cuts texts off or numbers to whole ones.

    >>> fitted(np.array([0.6, 1.0]), np.dtype(np.int64)).dtype, fitted(np.array(["abc"]), np.dtype("<U2")).tolist()
    (dtype('float32'), ['abc'])
    """
    if dtype.kind in "US":
        return values if values.dtype.itemsize > dtype.itemsize else values.astype(dtype)
    with np.errstate(invalid="ignore"):  # NaN as a whole number
        found = values.astype(dtype)
    if dtype.kind in "iub" and not np.array_equal(found, values):
        return values.astype(np.float32) if values.dtype.kind == "f" else values
    return found


def _holds_numbers(kind: Mapping[str, Any]) -> bool:
    return kind["kind"] == "ndarray" and np.dtype(kind["dtype"]).kind in "fiub"


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return np.array(value["array"], dtype=np.dtype(value["dtype"]))
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return value
