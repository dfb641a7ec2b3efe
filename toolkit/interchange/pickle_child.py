"""The process that reads a pickle: it is limited in memory and time, and hands back a document, never an object.

Started by safe_pickle.py as `python -P -m fmltk.toolkit.interchange.pickle_child FILE PARENT`. Its answer is the length
of a JSON document (8 bytes), the document, and the bytes of every array that do not lie in the file as they are.

A document has `atoms` (None, numbers and texts) and `nodes`, each a list that opens with its kind. A part of a node is
an integer: from 0 the index of an atom, below 0 that of the node -1 - part. Parts stand before what contains them; the
whole comes last. Bytes are given as their offset in the file, or null for those that follow, and their length.
"""

from __future__ import annotations

import contextlib
import gc
import io
import json
import math
import os
import resource
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.interchange.pickle_machine import (
    Array,
    Content,
    CutOffError,
    Items,
    RefusedError,
    Scalar,
    run_pickle,
)

if TYPE_CHECKING:
    from types import FrameType

MEMORY_PER_BYTE = 3  # of the file: one array of protocol 2 is held as text, as its bytes, and as it is read
MEMORY_BYTES = 2**30
TIME_S = 60
BYTES_PER_S = 50 * 10**6
PARENT_CHECKED_EACH_S = 1.0
MAX_DEPTH = 100  # of containers within containers
WEIGHT_PER_BYTE = 2  # what the file is spelled out: every part once for each place where it stands
WEIGHT = 64 * 2**20
MAX_EMPTY_SIZE = 2**24  # steps or dimensions of an array without elements


def time_limit_s(size: int) -> float:
    """Return how long a pickle of `size` bytes may take.

    >>> time_limit_s(10 * 10**9)
    260.0
    """
    return TIME_S + size / BYTES_PER_S


class Document:
    """The values of a pickle, as the document above; `contents` are the bytes that follow it.

    Raises RefusedError for what holds itself, is too deep, or would be many times as large as the file.
    """

    def __init__(self, value: Any, file_size: int) -> None:
        self.atoms: list[Any] = []
        self.nodes: list[list[Any]] = []
        self.contents: list[bytes] = []
        self._limit = WEIGHT_PER_BYTE * file_size + WEIGHT
        self._places: dict[str, int] = {}
        self._done: dict[int, tuple[int, int, int] | None] = {}
        self.whole = self._part(value, 0)[0]

    def _part(self, value: Any, depth: int) -> tuple[int, int, int]:
        """Return a value's place, its weight, and how deep it is."""
        if value is None or isinstance(value, int | float | str):
            return self._atom(value), len(value) + 1 if isinstance(value, str) else 1, 0
        key = id(value)
        if key in self._done:
            done = self._done[key]
            if done is None:
                raise RefusedError("a list in the pickle holds itself")
            return done
        self._done[key] = None
        node, weight, height = self._node(value, depth)
        if weight > self._limit:
            raise RefusedError(f"it is larger than {self._limit:,} bytes when every part of it is written out")
        self.nodes.append(node)
        self._done[key] = done = (-len(self.nodes), weight, height)
        return done

    def _atom(self, value: Any) -> int:
        place = self._places.get(value) if isinstance(value, str) else None
        if place is None:
            place = len(self.atoms)
            self.atoms.append(value)
            if isinstance(value, str):
                self._places[value] = place
        return place

    def _node(self, value: Any, depth: int) -> tuple[list[Any], int, int]:
        if isinstance(value, Items):
            parts, weight, height = self._parts(value, depth)
            return [value.kind, parts], weight, height
        if isinstance(value, Content):
            return [value.kind, *self._content(value)], value.length + 1, 0
        if isinstance(value, Scalar):
            return ["scalar", value.dtype, *self._content(value.data)], value.data.length + 1, 0
        if isinstance(value, Array) and value.data is not None:
            _check_empty(value.shape)
            layout = [value.dtype, value.shape, value.axes]
            if isinstance(value.data, Content):
                return ["array", *layout, *self._content(value.data)], value.data.length + 1, 0
            if len(value.data.held) != math.prod(value.shape):
                raise RefusedError(f"an array of objects of shape {value.shape} with {len(value.data.held):,} objects")
            parts, weight, height = self._parts(value.data, depth)
            return ["objects", *layout, parts], weight, height
        raise RefusedError("it holds an array that is not filled, or a name instead of data")

    def _parts(self, items: Items, depth: int) -> tuple[list[int], int, int]:
        if depth >= MAX_DEPTH:
            raise RefusedError(f"it is more than {MAX_DEPTH} containers deep")
        places, weight, height = [], 1, 0
        _check_keys(items)
        for item in items.held:
            place, its_weight, its_height = self._part(item, depth + 1)
            places.append(place)
            weight += its_weight
            height = max(height, its_height)
            if weight > self._limit:
                break  # which the caller refuses
        if height >= MAX_DEPTH:
            raise RefusedError(f"it is more than {MAX_DEPTH} containers deep")
        return places, weight, height + 1

    def _content(self, content: Content) -> tuple[int | None, int]:
        if content.offset is None and content.length:
            self.contents.append(content.data)
        return content.offset, content.length


def _check_keys(items: Items) -> None:
    """Refuse keys that are containers: hashing them may take for ever."""
    keys = items.held[::2] if items.kind == "dict" else items.held if items.kind in ("set", "frozenset") else ()
    for key in keys:
        if not (key is None or isinstance(key, int | float | str | Scalar) or _is_bytes(key)):
            raise RefusedError("a key of a dict or an element of a set that is neither text nor a number")


def _is_bytes(value: object) -> bool:
    return isinstance(value, Content) and value.kind == "bytes"


def _check_empty(shape: tuple[int, ...]) -> None:
    if 0 in shape and math.prod(size or 1 for size in shape) > MAX_EMPTY_SIZE:
        raise RefusedError(f"an array without elements whose shape is {shape}")


def _limit_process(size: int, parent: int) -> None:
    """Bound memory and CPU time, and end when the parent has ended."""

    def end_with_parent(number: int, frame: FrameType | None) -> None:
        if os.getppid() != parent:
            os._exit(1)

    signal.signal(signal.SIGALRM, end_with_parent)
    signal.setitimer(signal.ITIMER_REAL, PARENT_CHECKED_EACH_S, PARENT_CHECKED_EACH_S)
    cpu_s = int(time_limit_s(size)) + 1
    limits = ((resource.RLIMIT_AS, MEMORY_PER_BYTE * size + MEMORY_BYTES), (resource.RLIMIT_CPU, cpu_s))
    for kind, wanted in limits:
        _, hard = resource.getrlimit(kind)
        limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with contextlib.suppress(ValueError, OSError):  # a system without this limit; the parent has one of its own
            resource.setrlimit(kind, (limit, limit))


def _answer(path: Path) -> tuple[dict[str, Any], list[bytes]]:
    """Return the document of a file, or one that says why there is none; and the bytes that follow it."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            document = Document(run_pickle(file, size), size)
        return {"atoms": document.atoms, "nodes": document.nodes, "whole": document.whole}, document.contents
    except CutOffError:
        return {"fault": "cut off"}, []
    except RefusedError as error:
        return {"fault": "refused", "said": str(error)}, []
    except MemoryError:
        return {"fault": "memory"}, []


def main(path: Path, parent: int) -> None:
    """Write the answer to stdout."""
    gc.disable()  # nothing here is thrown away before the end
    _limit_process(path.stat().st_size, parent)
    answer, contents = _answer(path)
    try:
        document = json.dumps(answer, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    except MemoryError:
        document, contents = b'{"fault": "memory"}', []
    # A buffer of its own: under PYTHONUNBUFFERED, stdout's writes end early when the alarm rings.
    out = io.BufferedWriter(io.FileIO(sys.stdout.fileno(), "wb", closefd=False))
    out.write(len(document).to_bytes(8, "little"))
    out.write(document)
    for content in contents:
        out.write(content)
    out.flush()
    os._exit(0)  # at once: to free every object takes as long as to build it


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
