"""manifest.parquet: one row per clip, also for those that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.features.clip_row import ClipRow, columns_of_rows, manifest_fields
from fmltk.toolkit.io.parquet import ROWS_PER_GROUP, RowGroupWriter, encode_metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmltk.toolkit.io.paths import AnyPath


class ManifestWriter(RowGroupWriter):
    """Writes manifest.parquet: one row per clip, in the order given; `document` holds settings and versions.

    further : keys of the feature sets that have columns besides each modality's first
    """

    def __init__(self, path: AnyPath, document: Mapping[str, object], further: Iterable[str] = ()) -> None:
        import pyarrow as pa

        self._keys = (*MODALITIES, *further)
        super().__init__(
            path, pa.schema(manifest_fields(self._keys[len(MODALITIES) :]), metadata=encode_metadata(document))
        )
        self._rows: list[ClipRow] = []

    def append(self, row: ClipRow) -> None:
        """Add one clip's row."""
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._rows:
            columns = columns_of_rows(self._rows, self._keys)
            arrays = [pa.array(columns[field.name], field.type) for field in self.schema]
            self._write(pa.Table.from_arrays(arrays, schema=self.schema))
        self._rows = []
