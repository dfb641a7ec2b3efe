"""Pickles of numpy arrays and plain containers: one from anywhere is read without running code in it; and written."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.io.files import atomic_path, cannot_read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LFS_POINTER = b"version https://git-lfs"
ARRAY_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")  # numpy 1 and numpy 2
BUFFER_MODULES = ("numpy.core.numeric", "numpy._core.numeric")
PROTOCOL = b"\x80"  # what every pickle of protocol 2 and later begins with
TEXT_CODECS = ("latin1", "latin-1", "iso-8859-1")


class _NdarrayName:
    """Stands for the class numpy.ndarray in a pickle, where it may be named but not called."""


def _reconstruct(kind: object, shape: object, typecode: object) -> np.ndarray[Any, Any]:
    """Return the empty array that a pickle then fills; numpy's own function would build any class it is given."""
    if kind is not _NdarrayName or shape != (0,) or not isinstance(typecode, bytes | str):
        raise pickle.UnpicklingError("an array that is not built as numpy builds it")
    return np.empty((0,), "b")


def _encode(text: object, codec: object = "latin1") -> bytes:
    """Return the bytes that protocol 2 spells as text."""
    if not isinstance(text, str) or codec not in TEXT_CODECS:
        raise pickle.UnpicklingError(f"bytes in the codec {codec!r}, which no array needs")
    return text.encode("latin1")


def _from_buffer(buffer: Any, dtype: Any, shape: Any, layout: Any, axis_order: Any = None) -> np.ndarray[Any, Any]:
    """Return the array of a protocol 5 pickle, as numpy's ``_frombuffer``."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject:
        raise pickle.UnpicklingError("a buffer that does not hold plain numbers")
    flat = np.frombuffer(buffer, dtype=dtype)
    if layout == "K" and axis_order is not None:
        return flat.reshape([shape[axis] for axis in axis_order]).transpose(np.argsort(axis_order)).copy()
    return flat.reshape(shape, order=layout if layout in ("C", "F") else "C").copy()


def _scalar(dtype: object, data: object = None) -> Any:
    """Return a numpy scalar."""
    if not isinstance(dtype, np.dtype) or dtype.hasobject or not isinstance(data, bytes):
        raise pickle.UnpicklingError("a scalar that is not a plain number")
    value = np.frombuffer(data, dtype=dtype, count=1)
    _check_array(value)
    return value[0]


def _no_bytes(*arguments: object) -> bytes:
    """Return the empty bytes, which protocol 2 spells as a call."""
    if arguments:
        raise pickle.UnpicklingError("bytes that are made by a call")
    return b""


def _dtype(name: object, align: object = False, copy: object = False) -> Any:
    if not isinstance(name, str):
        raise pickle.UnpicklingError("a data type that is not named")
    return np.dtype(name)


_ALLOWED: dict[tuple[str, str], Callable[..., Any] | type] = {
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _encode,
    **{(module, "_reconstruct"): _reconstruct for module in ARRAY_MODULES},
    **{(module, "scalar"): _scalar for module in ARRAY_MODULES},
    **{(module, "_frombuffer"): _from_buffer for module in BUFFER_MODULES},
    **{
        (module, name): kind
        for module in ("builtins", "__builtin__")
        for name, kind in (("set", set), ("frozenset", frozenset), ("bytes", _no_bytes))
    },
}


class _SafeUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        """Return the stand-in of an allowed name; every other name is refused, and nothing is imported."""
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it names {module_name}.{global_name}, and only numpy arrays and plain containers are read"
            ) from None


def _check_array(array: np.ndarray[Any, Any]) -> None:
    """Refuse records, and texts of numbers that are no characters: numpy makes strings of them that break Python."""
    if array.dtype.kind == "V":
        raise pickle.UnpicklingError("an array of records")
    if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
        codes = np.ascontiguousarray(array).reshape(-1).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if codes.max() > sys.maxunicode:
            raise pickle.UnpicklingError("an array of texts with a number that is no character")


def _check_arrays(loaded: object) -> None:
    """Refuse what `_check_array` refuses, wherever it lies in what was loaded."""
    pending: list[object] = [loaded]
    seen: set[int] = set()
    while pending:
        value = pending.pop()
        if isinstance(value, np.ndarray):
            _check_array(value)
            held = list(value.reshape(-1)) if value.dtype.hasobject else []
        elif isinstance(value, dict):
            held = [*value, *value.values()]
        elif isinstance(value, list | tuple | set | frozenset):
            held = list(value)
        else:
            continue
        if id(value) not in seen:  # a pickle may hold itself
            seen.add(id(value))
            pending += held


def load_pickle(path: Path) -> Any:
    """Return what a pickle holds.

    Raises StoreError if the file is absent, a Git LFS pointer, cut off, or holds anything but numpy arrays, numbers,
    texts, lists, tuples, dicts and sets; no code in it is run.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
            if start.startswith(LFS_POINTER):
                raise StoreError(f"{path} is a Git LFS pointer, not the data: fetch the file with `git lfs pull`")
            if not start:
                raise StoreError(f"{path} is empty")
            file.seek(0)
            loaded = _SafeUnpickler(file).load()
        _check_arrays(loaded)
        return loaded
    except StoreError:
        raise
    except pickle.UnpicklingError as error:
        hint = "the file is cut off or damaged" if "truncated" in str(error) else "refused"
        if start[:1] != PROTOCOL:
            hint = "no pickle of protocol 2 or later; expected an MMSA file (.pkl), or utterances as .parquet"
        raise StoreError(f"{path}: {hint} ({_said(error)})") from error
    except EOFError as error:
        raise StoreError(f"{path} is cut off: its pickle ends too early; copy or download it again") from error
    except OSError as error:
        raise StoreError(cannot_read(path, error)) from error
    except MemoryError as error:
        raise StoreError(f"{path} asks for more memory than there is; it is damaged or hostile") from error
    except Exception as error:  # numpy answers a damaged state with an error of any kind, SystemError too
        raise StoreError(
            f"{path} is no pickle of arrays, or damaged ({type(error).__name__}: {_said(error)})"
        ) from error


def write_pickle(data: Any, path: Path) -> None:
    """Write a pickle that every numpy since 1.20 and Python since 3.8 reads (protocol 4), whole or not at all."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pickle.dump(data, file, protocol=4)


def _said(error: Exception) -> str:
    """Return an error's message in one line: some of pickle's own have two."""
    return " ".join(str(error).split())
