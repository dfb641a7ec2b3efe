"""Hypothesis strategies that damage good files: their bytes, their cells, and the values of a tree."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hypothesis.strategies import DrawFn, SearchStrategy

    from tests.reliability.readers import Reader

SEPARATORS = re.compile(rb"[,\t;\n=:\[\]{}]")
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 7, 10**30, -(2**63), 0.5, float("nan"), float("inf"), 1e308, "", "x", "1", "-1", "VT",
    "a$_$b", "\0", "\ud800", "a" * 3000, "9" * 5000, "2026-13-45", "0001-01-01T00:00:00+14:00", [], {}, [None], [[]],
    ["1", "0"], {"a": 1}, [{"choices": ["1"]}], [1.5], "-3..3", "3..-3",
)  # fmt: skip
ODD_ARRAYS: tuple[Any, ...] = (
    b"bytes", (1, 2), {1, 2}, 1j, np.float64("nan"), np.array(3), np.zeros((0, 4, 2)), np.zeros((2, 0, 3)),
    np.zeros((2, 4, 0)), np.zeros((2, 4)), np.zeros((2, 4, 2), complex), np.zeros((2, 4, 2), bool),
    np.full((2, 4, 2), np.inf), np.full((2, 4, 2), -1e300), np.array(["a", "b"]), np.array([None, 1], dtype=object),
    np.array(["a", 3], dtype=object), np.array(["2026-01-01", "NaT"], "datetime64[D]"), np.zeros(2, [("a", "f4")]),
    np.array([1, -(2**63)]), np.array([2**63, 1], np.uint64), np.array([5, 5], np.int8), np.zeros((2, 3, 5)),
    np.zeros((2, 2, 5)), [3, -1], [99, 99], ["a", "a"], [np.zeros(3), np.zeros(2)], [float("nan"), 1],
    np.zeros((2, 3, 5), object),
)  # fmt: skip


@st.composite
def _damaged_bytes(draw: DrawFn, seeds: SearchStrategy[bytes], words: Sequence[bytes], at_least: int) -> bytes:
    data = draw(seeds)
    for _ in range(draw(st.integers(at_least, 5))):
        kind = draw(st.sampled_from(("cell", "cell", "insert", "flip", "delete", "repeat", "cut")))
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.sampled_from((1, 2, 8, 60, 600))))
        if kind == "cell":
            marks = [mark.start() for mark in SEPARATORS.finditer(data)]
            if marks:
                place = draw(st.integers(0, len(marks) - 1))
                start, end = marks[place] + 1, [*marks, len(data)][place + 1]
            data = data[:start] + draw(st.sampled_from(words)) + data[end:]
        elif kind == "insert":
            data = data[:start] + draw(st.sampled_from(words) | st.binary(max_size=4)) + data[start:]
        elif kind == "flip" and data:
            place = min(start, len(data) - 1)
            data = data[:place] + bytes([data[place] ^ (1 << draw(st.integers(0, 7)))]) + data[place + 1 :]
        elif kind == "delete":
            data = data[:start] + data[end:]
        elif kind == "repeat":
            data = data[:end] + data[start:end] * draw(st.sampled_from((1, 2, 50))) + data[end:]
        elif kind == "cut":
            data = data[:start]
    return data


def _places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place of a tree, as the keys that lead there."""
    found = [path]
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        found += _places(inner, (*path, key))
    return found


@st.composite
def _damaged_tree(draw: DrawFn, seeds: Sequence[Any], odd: Sequence[Any]) -> Any:
    tree = [copy.deepcopy(draw(st.sampled_from(seeds)))]
    for _ in range(draw(st.integers(1, 4))):
        path = draw(st.sampled_from(_places(tree)[1:]))
        parent: Any = tree
        for key in path[:-1]:
            parent = parent[key]
        kind = draw(st.sampled_from(("replace", "replace", "replace", "delete", "repeat", "add")))
        value = copy.deepcopy(draw(st.sampled_from(odd)))
        if kind == "replace":
            parent[path[-1]] = value
        elif kind == "delete" and len(path) > 1:
            del parent[path[-1]]
        elif kind == "repeat" and isinstance(parent, list) and len(path) > 1:
            parent.append(copy.deepcopy(parent[path[-1]]))
        elif kind == "add" and isinstance(parent, dict):
            parent[
                draw(
                    st.sampled_from(
                        ("id", "text", "audio_lengths", "text_bert", "vision_mask", "fmltk", "sentiment", "é")
                    )
                )
            ] = value
    return tree[0]


def damaged_files(reader: Reader) -> SearchStrategy[bytes]:
    """Files for `reader`: good ones that were damaged, now and then none of any kind."""
    if reader.dump is None:
        seeds = st.sampled_from(list(reader.seeds()))
        return _damaged_bytes(seeds, reader.words, 1) | st.binary(max_size=200)
    odd = (*ODD_VALUES, *ODD_ARRAYS) if reader.suffix == ".pkl" else ODD_VALUES
    trees = _damaged_tree(list(reader.seeds()), odd).map(reader.dump)
    good = st.sampled_from([reader.dump(seed) for seed in reader.seeds()])
    return trees | _damaged_bytes(trees, reader.words, 0) | _damaged_bytes(good, reader.words, 1)
