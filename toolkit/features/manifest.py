"""manifest.parquet: one row per clip, also for those that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.io.parquet import (
    ROWS_PER_GROUP,
    RowGroupWriter,
    encode_metadata,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pyarrow as pa

    from fmltk.toolkit.io.paths import AnyPath

_MANIFEST_FIELDS: tuple[tuple[str, str], ...] = (
    ("utterance_id", "string"),
    ("video_id", "string"),
    ("clip_id", "string"),
    ("source", "string"),
    ("sha256", "string"),
    ("start_s", "float64"),
    ("end_s", "float64"),
    ("duration_s", "float64"),
    ("fps", "float64"),
    ("width", "int32"),
    ("height", "int32"),
    ("n_frames", "int32"),
    ("n_faces", "int32"),
    ("face_coverage", "float64"),
    ("split", "string"),
    ("language", "string"),
    ("text", "string"),
    ("text_tokens_cut", "int32"),
    ("status", "string"),
    ("error_class", "string"),
    ("error_message", "string"),
    *(
        (f"{modality}_{name}", kind)
        for modality in MODALITIES
        for name, kind in (
            ("status", "string"),
            ("length", "int32"),
            ("error_class", "string"),
            ("error_message", "string"),
        )
    ),
    ("warnings", "list<string>"),
)
MANIFEST_COLUMNS = tuple(name for name, _ in _MANIFEST_FIELDS)


def manifest_schema(document: Mapping[str, object] | None = None) -> pa.Schema:
    """Return the manifest's schema; `document` (settings and versions) becomes its metadata."""
    import pyarrow as pa

    kinds = {
        "string": pa.string(),
        "int32": pa.int32(),
        "float64": pa.float64(),
        "list<string>": pa.list_(pa.string()),
    }
    fields = [pa.field(name, kinds[kind]) for name, kind in _MANIFEST_FIELDS]
    return pa.schema(fields, metadata=encode_metadata(document or {}))


def manifest_table(rows: Sequence[Mapping[str, object]], schema: pa.Schema) -> pa.Table:
    r"""Return manifest rows as a table; a message that holds a file name's raw bytes shows them as ``\udcNN``."""
    import pyarrow as pa

    return pa.Table.from_pylist([{name: encodable(value) for name, value in row.items()} for row in rows], schema)


def encodable(value: object) -> object:
    """Return a value of a manifest row as a table can hold it: text without half characters."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return [encodable(item) for item in value] if isinstance(value, list) else value


class ManifestWriter(RowGroupWriter):
    """Writes manifest.parquet: one row per clip, in the order given; `document` holds settings and versions."""

    def __init__(self, path: AnyPath, document: Mapping[str, object]) -> None:
        super().__init__(path, manifest_schema(document))
        self._rows: list[Mapping[str, object]] = []

    def append(self, row: Mapping[str, object]) -> None:
        """Add one clip's row; columns that it does not name are null."""
        self._rows.append(row)
        if len(self._rows) == ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._write(manifest_table(self._rows, self.schema))
        self._rows = []
