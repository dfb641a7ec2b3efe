"""Arrow's file format for one small record batch, which costs a tenth of Parquet to write and to read.

Arrays are made of their buffers: `pyarrow.array` imports pandas when it is first called, a third of a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

ARROW_MAGIC = b"ARROW1"


def number_array(values: NDArray[Any]) -> pa.Array:
    """Return numbers of any shape as one flat array.

    >>> number_array(np.array([[1, 2], [3, 4]], np.int32)).to_pylist(), number_array(np.array([True])).to_pylist()
    ([1, 2, 3, 4], [True])
    """
    import pyarrow as pa

    flat = np.ascontiguousarray(values).reshape(-1)
    held = np.packbits(flat, bitorder="little") if flat.dtype == np.bool_ else flat
    return pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), len(flat), [None, pa.py_buffer(held)])


def text_array(texts: Sequence[str]) -> pa.Array:
    """Return texts as an array.

    >>> text_array(["a", "", "é"]).to_pylist()
    ['a', '', 'é']
    """
    import pyarrow as pa

    encoded = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))]
    return pa.Array.from_buffers(pa.string(), len(encoded), buffers)


def one_list(items: pa.Array) -> pa.Array:
    """Return an array of one row: the list of all items.

    >>> one_list(text_array(["a", "b"])).to_pylist()
    [['a', 'b']]
    """
    import pyarrow as pa

    return pa.ListArray.from_arrays(number_array(np.array([0, len(items)], np.int32)), items)


def encode_arrow(batch: pa.RecordBatch) -> bytes:
    """Return a record batch as the content of an Arrow file, its buffers compressed."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
    with pa.ipc.new_file(sink, batch.schema, options=options) as writer:
        writer.write_batch(batch)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def decode_arrow(data: bytes, *, columns: Sequence[int] | None = None) -> tuple[pa.Schema, pa.RecordBatch]:
    """Return the schema of an Arrow file's content, and its one record batch with all columns or those of some numbers.

    Raises an ArrowException or OSError if it is none.
    """
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=columns)
    content = pa.py_buffer(data)
    batch = pa.ipc.open_file(content, options=options).get_batch(0)
    return batch.schema if columns is None else pa.ipc.open_file(content).schema, batch
