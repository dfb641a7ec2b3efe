"""Parquet files: the one reader and writer, with one JSON document of fmltk's own in the schema's metadata.

A fault of a disk or a file becomes one clear StoreError, and damage is noticed when a table is read.
"""

from __future__ import annotations

import contextlib
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from fmltk.toolkit.errors import ConfigError, DamagedFileError, StoreError, advised
from fmltk.toolkit.io.documents import json_text, parse_json
from fmltk.toolkit.io.files import atomic_path, cannot_read, check_regular, read_start
from fmltk.toolkit.io.paths import RemotePath

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath

METADATA_KEY = b"fmltk"  # one JSON document in the Parquet schema's metadata
ROWS_PER_GROUP = 4096
# The most that a table may hold that is read whole, and what raises it: five raters, seven conditions and CH-SIMS v2's
# 14,402 clips are half a million ratings.
MAX_ROWS = ("FMLTK_MAX_TABLE_ROWS", 5_000_000)
MAX_MB = ("FMLTK_MAX_TABLE_MB", 4_000)
_BATCH_ROWS = 1024  # of a table that is read a part at a time
_MAGIC = b"PAR1"


def encode_metadata(document: Mapping[str, object]) -> dict[bytes, bytes]:
    """Return Parquet schema metadata: one JSON document, its keys sorted so that equal content has equal bytes."""
    return {METADATA_KEY: json_text(document, sort_keys=True).encode()}


def decode_metadata(schema: pa.Schema, *, name: str, error: MakeError = StoreError) -> dict[str, Any]:
    """Return the JSON document of a schema. Raises `error` if fmltk did not write the file."""
    raw = (schema.metadata or {}).get(METADATA_KEY)
    if raw is None:
        raise error(f"{name} was not written by fmltk: its schema has no metadata named {METADATA_KEY.decode()!r}")
    return parse_json(raw, name=f"{name}: its fmltk metadata", error=advised(error, "write the file again"))


def nested_array(values: NDArray[np.generic]) -> pa.Array:
    """Return an array of shape (n, a, b, ...) as nested fixed-size lists, n of them, without a copy of the numbers."""
    import numpy as np
    import pyarrow as pa

    array = pa.array(np.ascontiguousarray(values).reshape(-1))
    for size in reversed(values.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


def write_table(table: pa.Table, path: AnyPath, *, rows_per_group: int = ROWS_PER_GROUP) -> None:
    """Write a table as Parquet, atomically, in the form every fmltk file has."""
    import pyarrow.parquet as pq

    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", row_group_size=rows_per_group, write_page_checksum=True)


class RowGroupWriter:
    """Writes a Parquet file row group by row group; the file appears when the writer closes without error.

    `error` is what is raised where the file cannot be written; `options` are those of pyarrow's ParquetWriter. A
    subclass gathers rows and gives each row group to `_write`; `_flush` gives it what has been gathered.
    """

    def __init__(self, path: AnyPath, schema: pa.Schema, *, error: MakeError = StoreError, **options: Any) -> None:
        self.schema = schema
        self._path, self._options, self._error = path, options, error
        self._stack = contextlib.ExitStack()
        self._writer: Any = None

    def __enter__(self) -> Self:
        import pyarrow.parquet as pq

        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_path(self._path, error=self._error))
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

    def __init__(self, path: AnyPath, schema: pa.Schema, *, error: MakeError = StoreError) -> None:
        super().__init__(path, schema, error=error)
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
def reading(path: AnyPath, *, error: MakeError | None = None) -> Iterator[None]:
    """Turn what goes wrong when a Parquet file is read into `error`.

    That is by default a StoreError, or a DamagedFileError where the file is broken.
    """
    import pyarrow as pa

    unreadable, damaged = error or StoreError, error or DamagedFileError
    try:
        yield
    except OSError as fault:
        if fault.errno is not None:
            raise unreadable(cannot_read(path, fault)) from fault
        raise damaged(
            _damage(path, fault)
        ) from fault  # pyarrow's own: a page, a header or a checksum that does not fit
    except (pa.ArrowException, ValueError, KeyError, TypeError) as fault:
        raise damaged(_damage(path, fault)) from fault


def _damage(path: AnyPath, fault: Exception) -> str:
    reason = str(fault).partition("\n")[0]
    return f"{path} is damaged or not a Parquet file ({reason}); run the command that wrote it again"


def open_parquet(
    path: AnyPath,
    *,
    what: str = "features folder that fmltk wrote",
    dictionaries: Sequence[str] = (),
    error: MakeError | None = None,
) -> pq.ParquetFile:
    """Open a Parquet file, its page checksums verified.

    what : of which a missing file is a part, for the message; dictionaries : columns to read as dictionaries

    Raises as `reading` does.
    """
    import pyarrow.parquet as pq

    with reading(path, error=error):
        try:
            check_regular(path)
        except OSError as fault:
            raise (error or StoreError)(f"{cannot_read(path, fault)}; expected a {what}") from fault
        source = path.open_arrow() if isinstance(path, RemotePath) else path
        return pq.ParquetFile(source, page_checksum_verification=True, read_dictionary=list(dictionaries))


def open_parquet_table(
    path: AnyPath, *, what: str, dictionaries: Sequence[str] = (), error: MakeError | None = None
) -> pq.ParquetFile:
    """Open a Parquet file that is then read whole, as tables of labels and ratings are; arguments as in `open_parquet`.

    A few kilobytes can hold millions of equal rows: FMLTK_MAX_TABLE_ROWS and FMLTK_MAX_TABLE_MB are the limits, which
    are compared with what the file says of itself before anything is read (see `read_table` for what it does not say).

    Raises as `reading` does, and `error` where the table is larger; ConfigError where a limit is not a number.
    """
    file = open_parquet(path, what=what, dictionaries=dictionaries, error=error)
    metadata = file.metadata
    most_rows = _limit(*MAX_ROWS)
    if metadata.num_rows > most_rows:
        raise (error or StoreError)(
            f"{path} has {metadata.num_rows:,} rows, more than {most_rows:,}; is it the right file? "
            f"{MAX_ROWS[0]}={metadata.num_rows} in the environment allows them"
        )
    n_bytes = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    _check_bytes(path, n_bytes, error)
    return file


def read_table(
    file: pq.ParquetFile, path: AnyPath, *, columns: Sequence[str] | None = None, error: MakeError | None = None
) -> pa.Table:
    """Return columns of a table, by default all, read a part at a time: a long text in every row is noticed in time.

    Raises `error` where they are larger than FMLTK_MAX_TABLE_MB.
    """
    import pyarrow as pa

    parts, n_bytes = [], 0
    names = file.schema_arrow.names if columns is None else list(columns)
    for part in file.iter_batches(_BATCH_ROWS, columns=names):
        n_bytes += part.nbytes + sum(_repeated_bytes(column) for column in part.columns)
        _check_bytes(path, n_bytes, error)
        parts.append(part)
    return pa.Table.from_batches(parts).select(names) if parts else file.read(columns=names)


def _repeated_bytes(column: pa.Array) -> int:
    """Return how many bytes of text the rows of a dictionary-encoded column have."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_dictionary(column.type) or not pa.types.is_string(column.type.value_type):
        return 0
    return pc.sum(pc.binary_length(column.dictionary).take(column.indices)).as_py() or 0


def _check_bytes(path: AnyPath, n_bytes: int, error: MakeError | None) -> None:
    most = _limit(*MAX_MB)
    if n_bytes > most * 1_000_000:
        raise (error or StoreError)(
            f"{path} takes more than {most:,} MB in memory; is it the right file? "
            f"{MAX_MB[0]}={n_bytes // 1_000_000 + 1} or more in the environment allows it"
        )


def _limit(variable: str, usual: int) -> int:
    """Return a limit, which the environment may set. Raises ConfigError where it is not a number."""
    given = os.environ.get(variable, "")
    if not given:
        return usual
    if not given.isascii() or not given.isdecimal():
        raise ConfigError(f"{variable} is {given!r} in the environment; expected a whole number, such as {usual}")
    return int(given)


def column_names(path: AnyPath, *, what: str, error: MakeError | None = None) -> list[str]:
    """Return the names of a Parquet file's columns; `what` is of `open_parquet`. Raises as `reading` does."""
    with open_parquet(path, what=what, error=error) as file:
        return list(file.schema_arrow.names)


def is_parquet(path: AnyPath, *, error: MakeError = StoreError) -> bool:
    """Whether a file's content says that it is Parquet, whatever its name. Raises `error` if it cannot be read."""
    return read_start(path, len(_MAGIC), error=error) == _MAGIC


def decode_parquet(data: bytes) -> pq.ParquetFile:
    """Open the content of a Parquet file. Raises an ArrowException if it is none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.ParquetFile(pa.BufferReader(data))
