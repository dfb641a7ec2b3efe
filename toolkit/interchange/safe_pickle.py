"""Pickles of numpy arrays and plain containers: one from anywhere is read without running code in it; and written.

The opcodes are read by pickle_machine.py in a process of their own (pickle_child.py), which is limited in memory and
time. It hands back a document; the arrays are then read here, straight from the file.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fmltk.toolkit.errors import ProcessError, StoreError
from fmltk.toolkit.interchange.pickle_child import time_limit_s
from fmltk.toolkit.io.files import atomic_path, cannot_read, check_regular
from fmltk.toolkit.media.program import Program

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LFS_POINTER = b"version https://git-lfs"
PROTOCOL = b"\x80"  # what every pickle of protocol 2 and later begins with
CONTAINERS: dict[str, Callable[[list[Any]], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "dict": lambda held: dict(zip(held[::2], held[1::2], strict=True)),
}


def load_pickle(path: Path) -> Any:
    """Return what a pickle holds.

    Raises StoreError if the file is absent, a Git LFS pointer, cut off, or holds anything but numpy arrays, numbers,
    texts, lists, tuples, dicts and sets; no code in it is run. Keys of dicts and elements of sets are texts and
    numbers; nothing holds itself.
    """
    try:
        check_regular(path)
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            start = file.read(64)
            if start.startswith(LFS_POINTER):
                raise StoreError(f"{path} is a Git LFS pointer, not the data: fetch the file with `git lfs pull`")
            if not start:
                raise StoreError(f"{path} is empty")
            return _load(path, file, size, is_protocol_2=start[:1] == PROTOCOL)
    except OSError as error:
        raise StoreError(cannot_read(path, error)) from error
    except MemoryError as error:
        raise StoreError(f"{path} asks for more memory than there is; it is damaged or hostile") from error


def _load(path: Path, file: BinaryIO, size: int, *, is_protocol_2: bool) -> Any:
    command = [sys.executable, "-P", "-m", "fmltk.toolkit.interchange.pickle_child", str(path), str(os.getpid())]
    try:
        with Program(command, timeout_s=time_limit_s(size), what="the process that reads it") as program:
            length = program.read(8)
            document = program.read(int.from_bytes(length, "little"))
            if len(length) == 8:
                answer = json.loads(document)
                if "fault" in answer:
                    raise StoreError(_fault(path, answer, is_protocol_2=is_protocol_2))
                loaded = build(answer, lambda offset, into: _fill(file, program, offset, into))
            program.finish()
    except ProcessError as error:
        raise StoreError(f"{path} is refused: {error}; it is damaged or hostile") from error
    except (ValueError, TypeError, IndexError) as error:
        raise StoreError(f"{path}: {error}") from error
    return loaded


def _fault(path: Path, answer: dict[str, str], *, is_protocol_2: bool) -> str:
    if answer["fault"] == "memory":
        return f"{path} asks for more memory than a file of its size needs; it is damaged or hostile"
    said = answer.get("said", "its pickle ends too early")
    if not is_protocol_2:
        expected = "expected an MMSA file (.pkl), or utterances as .parquet"
        return f"{path} is not a pickle of protocol 2 or later; {expected} ({said})"
    if answer["fault"] == "cut off":
        return f"{path} is cut off: its pickle ends too early; copy or download it again"
    return f"{path}: refused ({said})"


def _fill(file: BinaryIO, program: Program, offset: int | None, into: memoryview) -> None:
    """Fill `into` from the file, or with the next bytes that the child wrote. Raises ValueError if there are fewer."""
    filled = 0
    if offset is None:
        filled = program.read_into(into)
    while offset is not None and filled < len(into):
        count = os.preadv(file.fileno(), [into[filled:]], offset + filled)
        if not count:
            break
        filled += count
    if filled < len(into):
        raise ValueError("it was changed while it was read; copy or download it again")


def build(document: dict[str, Any], fill: Callable[[int | None, memoryview], None]) -> Any:
    """Return what a document of pickle_child.py says.

    fill : writes the bytes at an offset of the pickle, or the next that the child wrote, into a buffer

    Raises ValueError for texts and flags of numbers that are neither.
    """
    values: list[Any] = []
    atoms = document["atoms"]

    def parts(places: Sequence[int]) -> list[Any]:
        return [atoms[place] if place >= 0 else values[-1 - place] for place in places]

    for kind, *held in document["nodes"]:
        if kind in CONTAINERS:
            values.append(CONTAINERS[kind](parts(held[0])))
        elif kind == "objects":
            _, shape, axes, places = held
            array = np.empty(len(places), object)
            for row, part in enumerate(parts(places)):
                array[row] = part
            values.append(_laid_out(array, shape, axes))
        elif kind == "array":
            dtype, shape, axes, *content = held
            values.append(_laid_out(_numbers(dtype, _bytes(content, fill)), shape, axes))
        elif kind == "scalar":
            dtype, *content = held
            values.append(_numbers(dtype, _bytes(content, fill))[0])
        else:
            values.append({"bytes": bytes, "bytearray": bytearray}[kind](_bytes(held, fill)))
    return parts([document["whole"]])[0]


def _bytes(content: Sequence[Any], fill: Callable[[int | None, memoryview], None]) -> NDArray[np.uint8]:
    offset, length = content
    filled = np.empty(length, np.uint8)
    if length:
        fill(offset, filled.data)
    return filled


def _numbers(dtype: str, content: NDArray[np.uint8]) -> NDArray[Any]:
    """Return a flat array in this machine's order of bytes, made of bytes in the order of `dtype`."""
    stored = np.dtype(dtype)
    array = content.view(stored)
    if not stored.isnative:
        array = array.byteswap(inplace=True).view(stored.newbyteorder())
    if stored.kind == "U" and content.size and content.view(np.uint32).max() > sys.maxunicode:
        raise ValueError("refused (an array of texts with a number that is not a character)")
    if stored.kind == "b" and content.size and content.max() > 1:
        raise ValueError("refused (an array of flags with a number that is neither true nor false)")
    return array


def _laid_out(flat: NDArray[Any], shape: Sequence[int], axes: Sequence[int]) -> NDArray[Any]:
    """Return a flat array in its shape; `axes` are those of the shape in the order in which they lie in memory."""
    inverse = sorted(range(len(axes)), key=axes.__getitem__)
    return flat.reshape([shape[axis] for axis in axes]).transpose(inverse)


def write_pickle(data: Any, path: Path) -> None:
    """Write a pickle that every numpy since 1.20 and Python since 3.8 reads (protocol 4), atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        pickle.dump(data, file, protocol=4)
