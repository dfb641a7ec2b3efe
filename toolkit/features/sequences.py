"""The feature folder's tables: their schemas, how they are written and read; files as such are parquet.py's.

Any Parquet reader opens them: sequences are nested fixed-size lists; pandas, polars, DuckDB and datasets read those.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fmltk.toolkit.clip import modality_of
from fmltk.toolkit.counted import counted
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.features.layout import SCHEMA_VERSION
from fmltk.toolkit.features.padding import pad_sequence
from fmltk.toolkit.io.parquet import (
    RowGroupWriter,
    decode_metadata,
    encode_metadata,
    nested_array,
    open_parquet,
    reading,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from numpy.typing import NDArray

    from fmltk.toolkit.io.paths import AnyPath


ROW_GROUP_BYTES = 16 << 20  # uncompressed features per row group: bounds memory, and does not depend on the data set
MAX_ROWS_PER_GROUP = 1024
MAX_CLIP_BYTES = 1 << 30  # of one padded clip: three hours of 709 visual features


def check_padded_size(modality: str, length: int, dimension: int) -> None:
    """Raise StoreError if one clip that is padded to L takes more memory than any real one needs."""
    n_bytes = 4 * length * dimension
    if n_bytes > MAX_CLIP_BYTES:
        raise StoreError(
            f"{modality}: a clip padded to L = {length} steps of {dimension} numbers would take "
            f"{n_bytes / (1 << 30):,.0f} GB, more than {MAX_CLIP_BYTES >> 30} GB; is L right? Hours of video need less"
        )


@dataclass(frozen=True, slots=True)
class ModalitySpec:
    """The shape of one modality's file, known before its first row is written; modality: or the key of a further set.

    length is L, the padded length; document is the rest of the schema's metadata (names, units, rate, settings).
    """

    modality: str
    dimension: int
    length: int
    has_mask: bool
    document: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_padded_size(self.modality, self.length, self.dimension)

    @property
    def rows_per_group(self) -> int:
        """How many clips one row group holds: a function of L and the dimension alone."""
        return max(1, min(MAX_ROWS_PER_GROUP, ROW_GROUP_BYTES // (4 * self.length * self.dimension)))

    def schema(self) -> pa.Schema:
        """Return the Parquet schema: utterance_id, length, truncated, features [L][d], and mask [L] if there is one."""
        import pyarrow as pa

        fields = [
            pa.field("utterance_id", pa.string(), nullable=False),
            pa.field("length", pa.int32(), nullable=False),
            pa.field("truncated", pa.int32(), nullable=False),
            pa.field("features", pa.list_(pa.list_(pa.float32(), self.dimension), self.length)),
        ]
        if self.has_mask:
            fields.append(pa.field("mask", pa.list_(pa.bool_(), self.length)))
        document = {
            **self.document,
            "schema_version": SCHEMA_VERSION,
            "modality": modality_of(self.modality),
            "dimension": self.dimension,
            "length": self.length,
        }
        return pa.schema(fields, metadata=encode_metadata(document))


class ModalityWriter(RowGroupWriter):
    """Writes one modality's padded file, row group by row group; the file appears when the writer closes without error.

    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> with ModalityWriter(folder / "audio.parquet", ModalitySpec("audio", 2, 3, has_mask=False)) as writer:
    ...     writer.append("a$_$0", np.ones((5, 2), np.float32))
    >>> table = read_modality(folder / "audio.parquet")
    >>> table.lengths.tolist(), table.truncated.tolist(), table.features().shape
    ([5], [2], (1, 3, 2))
    """

    def __init__(self, path: AnyPath, spec: ModalitySpec) -> None:
        super().__init__(
            path, spec.schema(), use_dictionary=False, write_statistics=["utterance_id", "length", "truncated"]
        )
        self._spec = spec
        self._ids: list[str] = []
        self._lengths: list[int] = []
        self._features: list[NDArray[np.generic]] = []
        self._masks: list[NDArray[np.generic]] = []

    def append(self, utterance_id: str, sequence: NDArray[np.float32], valid: NDArray[np.bool_] | None = None) -> None:
        """Add one clip: float32 (n_steps, d), unpadded, and which steps are valid, bool (n_steps,)."""
        spec = self._spec
        if sequence.ndim != 2 or sequence.shape[1] != spec.dimension:
            raise StoreError(
                f"{utterance_id}: its {spec.modality} features have shape {sequence.shape}, "
                f"the file's have {spec.dimension} columns"
            )
        if valid is not None and valid.shape != sequence.shape[:1]:
            raise StoreError(
                f"{utterance_id}: its {spec.modality} mask has shape {valid.shape}, the sequence {len(sequence)} steps"
            )
        self._ids.append(utterance_id)
        self._lengths.append(len(sequence))
        self._features.append(pad_sequence(sequence.astype(np.float32, copy=False), spec.length))
        if spec.has_mask:
            self._masks.append(pad_sequence(np.ones(len(sequence), bool) if valid is None else valid, spec.length))
        if len(self._ids) == spec.rows_per_group:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if not self._ids:
            return
        spec = self._spec
        lengths = np.array(self._lengths, np.int32)
        columns = [
            pa.array(self._ids, pa.string()),
            pa.array(lengths),
            pa.array(np.maximum(lengths - spec.length, 0)),
            nested_array(np.stack(self._features)),
        ]
        if spec.has_mask:
            columns.append(nested_array(np.stack(self._masks)))
        self._write(pa.Table.from_arrays(columns, schema=self.schema))
        self._ids, self._lengths, self._features, self._masks = [], [], [], []


class PaddedArrays(NamedTuple):
    """One modality of n clips.

    X : float32 (n, L, d), padded with zeros; mask : bool (n, L), True at the clip's valid steps; ids : text (n,)
    """

    X: NDArray[np.float32]
    mask: NDArray[np.bool_]
    ids: NDArray[np.str_]


@dataclass(frozen=True)
class ModalityTable:
    """One modality's file. Ids and lengths are in memory; the features are read when asked for.

    lengths: true lengths before padding and truncation, int32 (n,); truncated: how many steps were cut, int32 (n,).
    """

    path: AnyPath
    document: dict[str, Any]
    utterance_ids: list[str]
    lengths: NDArray[np.int32]
    truncated: NDArray[np.int32]
    has_mask: bool

    def __repr__(self) -> str:
        return f"<{self.path}: {self._shape}>"

    @property
    def _shape(self) -> str:
        return f"{counted(len(self.utterance_ids), 'clip')} x {self.length} steps x {self.dimension} features"

    @property
    def length(self) -> int:
        """L, the number of steps every clip is padded to."""
        return int(self.document["length"])

    @property
    def dimension(self) -> int:
        """The number of features per step."""
        return int(self.document["dimension"])

    @property
    def feature_names(self) -> list[str]:
        """The features' names, in order; empty for text, whose dimensions have none."""
        return list(self.document.get("feature_names") or [])

    def batches(self) -> Iterator[tuple[list[str], NDArray[np.float32], NDArray[np.bool_]]]:
        """Yield (utterance_ids, features float32 (b, L, d), mask bool (b, L)) per row group: bounded memory.

        The mask is True at steps that are within the clip's length and valid.
        """
        with open_parquet(self.path) as file:
            start = 0
            for group in range(file.num_row_groups):
                ids, features, mask = self._row_group(file, group, start)
                yield ids, features, mask
                start += len(ids)

    def group_starts(self) -> NDArray[np.int64]:
        """Return the row that each row group begins with, and the number of rows, int64 (n_groups + 1,)."""
        with open_parquet(self.path) as file, reading(self.path):
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
        return np.cumsum([0, *sizes])

    def read_group(self, group: int, start: int) -> list[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        """Return (features float32 (n_steps, d), valid bool (n_steps,)) per clip of the row group that `start` begins.

        The arrays are the clips' own: what is kept of them does not keep the padding in memory.
        """
        with open_parquet(self.path) as file:
            _, features, mask = self._row_group(file, group, start)
        return [(values.copy(), valid.copy()) for values, valid in self._unpadded(features, mask, start)]

    def _row_group(
        self, file: pq.ParquetFile, group: int, start: int
    ) -> tuple[list[str], NDArray[np.float32], NDArray[np.bool_]]:
        with reading(self.path):
            table = file.read_row_group(group)
            n = table.num_rows
            features = _numbers(table["features"]).reshape(n, self.length, self.dimension)
            mask = np.arange(self.length) < self.lengths[start : start + n, None]
            if self.has_mask:
                mask &= _numbers(table["mask"]).reshape(n, self.length)
            return table["utterance_id"].to_pylist(), features, mask

    def sequences(self) -> Iterator[tuple[str, NDArray[np.float32], NDArray[np.bool_]]]:
        """Yield (utterance_id, features float32 (n_steps, d), valid bool (n_steps,)) per clip, padding removed."""
        start = 0
        for ids, features, mask in self.batches():
            for utterance, (values, valid) in zip(ids, self._unpadded(features, mask, start), strict=True):
                yield utterance, values, valid
            start += len(ids)

    def _unpadded(
        self, features: NDArray[np.float32], mask: NDArray[np.bool_], start: int
    ) -> Iterator[tuple[NDArray[np.float32], NDArray[np.bool_]]]:
        kept = np.minimum(self.lengths[start : start + len(features)], self.length)
        for values, valid, n in zip(features, mask, kept, strict=True):
            yield values[:n], valid[:n]

    def to_numpy(self) -> PaddedArrays:
        """Return every clip's padded features, which of their steps are valid, and the clips' ids."""
        n = len(self.utterance_ids)
        features, mask = np.empty((n, self.length, self.dimension), np.float32), np.empty((n, self.length), bool)
        start = 0
        for ids, values, valid in self.batches():
            features[start : start + len(ids)], mask[start : start + len(ids)] = values, valid
            start += len(ids)
        return PaddedArrays(features, mask, np.array(self.utterance_ids, np.str_))

    def features(self) -> NDArray[np.float32]:
        """Return every clip's padded features, float32 (n, L, d)."""
        return self.to_numpy().X

    def mask(self) -> NDArray[np.bool_]:
        """Return where `features` holds valid steps of the clip, bool (n, L)."""
        return self.to_numpy().mask

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (features float32 (n, L, d), mask bool (n, L)) as torch tensors."""
        import torch

        features, mask, _ = self.to_numpy()
        return torch.from_numpy(features), torch.from_numpy(mask)

    def to_pandas(self) -> pd.DataFrame:
        """Return utterance_id, length, truncated and features, one float32 (n_steps, d) array per clip, unpadded."""
        import pandas as pd

        return pd.DataFrame(
            {
                "utterance_id": self.utterance_ids,
                "length": self.lengths,
                "truncated": self.truncated,
                "features": [values for _, values, _ in self.sequences()],
            }
        )


def _numbers(column: pa.ChunkedArray) -> NDArray[Any]:
    """Return a nested fixed-size list column as one flat array."""
    import pyarrow as pa

    array = column.combine_chunks()
    while pa.types.is_fixed_size_list(array.type):
        array = array.flatten()
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def read_modality(path: AnyPath) -> ModalityTable:
    """Open a modality's file. Raises StoreError if it is none, DamagedFileError if it is broken."""
    with open_parquet(path) as file, reading(path):
        schema = file.schema_arrow
        document = decode_metadata(schema, name=str(path))
        if "features" not in schema.names or "length" not in document:
            raise StoreError(
                f"{path} holds no feature sequences; expected text.parquet, audio.parquet or vision.parquet"
            )
        if document.get("schema_version", 0) > SCHEMA_VERSION:
            raise StoreError(f"{path} was written by a newer fmltk; upgrade fmltk to read it")
        table = file.read(columns=["utterance_id", "length", "truncated"])
        return ModalityTable(
            path,
            document,
            table["utterance_id"].to_pylist(),
            table["length"].to_numpy(),
            table["truncated"].to_numpy(),
            "mask" in schema.names,
        )
