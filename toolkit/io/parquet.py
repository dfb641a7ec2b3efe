"""Files that are there whole or not at all, and Parquet tables with one JSON document of fmltk's own.

What goes wrong with a disk or a file becomes one clear StoreError, and damage is noticed when a table is read.
"""

from __future__ import annotations

import contextlib
import errno
import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fmltk.toolkit.errors import DamagedFileError, StoreError
from fmltk.toolkit.io.files import atomic_path
from fmltk.toolkit.io.paths import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import TracebackType

    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from fmltk.toolkit.io.paths import AnyPath

METADATA_KEY = b"fmltk"  # one JSON document in the Parquet schema's metadata
ROWS_PER_GROUP = 4096


def encode_metadata(document: Mapping[str, object]) -> dict[bytes, bytes]:
    """Return Parquet schema metadata: one JSON document, its keys sorted so that equal content has equal bytes."""
    return {METADATA_KEY: json.dumps(document, sort_keys=True, ensure_ascii=False).encode()}


def decode_metadata(schema: pa.Schema, *, name: str) -> dict[str, Any]:
    """Return the JSON document of a schema. Raises StoreError if fmltk did not write the file."""
    raw = (schema.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise StoreError(f"{name} was not written by fmltk: its schema has no metadata named {METADATA_KEY.decode()!r}")
    try:
        document = json.loads(raw)
    except ValueError as error:
        raise StoreError(f"{name}: its fmltk metadata is not JSON; write the file again") from error
    if not isinstance(document, dict):
        raise StoreError(f"{name}: its fmltk metadata is not a JSON object; write the file again")
    return document


def nested_array(values: NDArray[np.generic]) -> pa.Array:
    """Return an array of shape (n, a, b, ...) as nested fixed-size lists, n of them, without a copy of the numbers."""
    import pyarrow as pa

    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def write_table(table: pa.Table, path: AnyPath, *, rows_per_group: int = ROWS_PER_GROUP) -> None:
    """Write a table as Parquet, whole or not at all, in the form every fmltk file has."""
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=rows_per_group, write_page_checksum=True)


class RowGroupWriter:
    """Writes a Parquet file row group by row group; the file appears when the writer closes without error.

    A subclass gathers rows and gives each row group to `_write`; `_flush` gives it what has been gathered.
    """

    def __init__(self, path: AnyPath, schema: pa.Schema, **options: Any) -> None:
        self.schema = schema
        self._path, self._options = path, options
        self._stack = contextlib.ExitStack()
        self._writer: Any = None

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path))
            writer = pq.ParquetWriter(
                temporary, self.schema, compression="zstd", write_page_checksum=True, **self._options
            )
            self._writer = stack.enter_context(writer)
            self._stack = stack.pop_all()
        return self

    def _write(self, table: pa.Table) -> None:
        self._writer.write_table(table, row_group_size=table.num_rows)

    def _flush(self) -> None:
        raise NotImplementedError

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            try:
                self._flush()
            except BaseException as failure:
                self._stack.__exit__(type(failure), failure, failure.__traceback__)
                raise
        self._stack.__exit__(kind, error, trace)


class TableWriter(RowGroupWriter):
    """Writes a Parquet table in row groups of a fixed size; the file appears when the writer closes without error."""

    def __init__(self, path: AnyPath, schema: pa.Schema) -> None:
        super().__init__(path, schema)
        self._held: list[pa.Table] = []
        self._n_held = 0

    def append(self, table: pa.Table, *, group_rows: int = ROWS_PER_GROUP) -> None:
        """Add rows; a row group is closed as soon as it holds `group_rows` or more."""
        self._held.append(table)
        self._n_held += table.num_rows
        if self._n_held >= group_rows:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        if self._n_held:
            self._write(pa.concat_tables(self._held).combine_chunks())
        self._held, self._n_held = [], 0


@contextmanager
def reading(path: AnyPath) -> Iterator[None]:
    """Turn what goes wrong when a Parquet file is read into a StoreError, or a DamagedFileError where it is broken."""
    import pyarrow as pa

    try:
        yield
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM):
            raise StoreError(f"no permission to read {path}; mend its rights") from error
        if error.errno is not None:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error
        raise _damaged(path, error) from error  # pyarrow's own: a page, a header or a checksum that does not fit
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: AnyPath, error: Exception) -> DamagedFileError:
    reason = str(error).partition("\n")[0]
    return DamagedFileError(f"{path} is damaged or no Parquet file ({reason}); run the command that wrote it again")


def open_parquet(path: AnyPath, *, what: str = "features folder") -> pq.ParquetFile:
    """Open a Parquet file, its page checksums verified. Raises StoreError or DamagedFileError."""
    import pyarrow.parquet as pq

    with reading(path):
        if not path.is_file():
            raise StoreError(f"{path} does not exist; expected a {what} that fmltk wrote")
        source = path.open_arrow() if isinstance(path, RemotePath) else path
        return pq.ParquetFile(source, page_checksum_verification=True)
