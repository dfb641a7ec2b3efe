"""JSON and TOML that strangers wrote: refused in one line where they are too long, too deep or hold something else."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest

from fmltk.toolkit.errors import FmltkError, StoreError
from fmltk.toolkit.io.documents import (
    MAX_DEPTH,
    MAX_JSON_CHARS,
    check_shape,
    parse_json,
    read_json,
    read_json_lines,
    read_toml,
)

if TYPE_CHECKING:
    from pathlib import Path


def nested(depth: int) -> str:
    """JSON of `depth` objects and lists in each other, the outermost an object."""
    return '{"a": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 500, 5_000, 100_000])
def test_a_deep_document_is_refused_in_one_line(depth: int, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(nested(depth))
    (tmp_path / "config.toml").write_text("a = " + "[" * min(depth, 8000) + "]" * min(depth, 8000))
    (tmp_path / "dotted.toml").write_text(".".join("a" * min(depth, 2000)) + " = 1")
    for read in (
        lambda: read_json(tmp_path / "run.json"),
        lambda: list(read_json_lines(tmp_path / "run.json")),
        lambda: read_toml(tmp_path / "config.toml"),
        lambda: read_toml(tmp_path / "dotted.toml"),
        lambda: parse_json("[" * depth, name="the answer"),
    ):
        with pytest.raises(FmltkError) as caught:
            read()
        assert len(str(caught.value)) < 300
        assert "\n" not in str(caught.value)


def test_a_document_of_the_greatest_depth_is_read() -> None:
    assert list(parse_json(nested(MAX_DEPTH), name="x")) == ["a"]


def test_a_long_document_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    begun = time.process_time()
    with pytest.raises(StoreError, match="longer than 16,777,216 characters"):
        parse_json('{"a": [' + "[]," * (MAX_JSON_CHARS // 3) + "0]}", name="summary.json")
    (tmp_path / "many_lines.json").write_text("{\n" + "\n" * (MAX_JSON_CHARS + 1) + "}")
    with pytest.raises(StoreError, match="longer than 16,777,216 characters"):
        read_json(tmp_path / "many_lines.json")
    (tmp_path / "long.toml").write_text(".".join("a" * 50_000) + " = 1")
    with pytest.raises(FmltkError, match="longer than 16,384 characters"):
        read_toml(tmp_path / "long.toml")
    assert time.process_time() - begun < 20


@pytest.mark.parametrize(
    ("document", "shape", "fault"),
    [
        ({"a": 1}, {"a": int}, None),
        ({"a": 1, "more": object()}, {"a": float}, None),
        ({"a": None}, {"a": (int, type(None))}, None),
        ([1, 2.5], [float], None),
        ({}, {"a": int}, "has no a"),
        ([], {"a": int}, r"is \[\], expected an object"),
        ({"a": {"b": [1, True]}}, {"a": {"*": [int]}}, "a, b, 1 is True, expected int"),
        ({"a": "../../etc"}, {"a": [int]}, "a is '../../etc', expected a list"),
        ({"a": 10**400}, {"a": float}, "expected float"),
        ({"a": 10**400}, {"a": int}, "expected int"),
        ({"a": None}, {"*": (str, float)}, "a is None, expected str or float"),
    ],
)
def test_a_shape_names_the_first_thing_that_differs(document: Any, shape: Any, fault: str | None) -> None:
    if fault is None:
        check_shape(document, shape, name="x")
        return
    with pytest.raises(StoreError, match=f"x is damaged: .*{fault}"):
        check_shape(document, shape, name="x")


def test_json_lines_may_be_many_but_none_too_deep(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text((json.dumps({"a": 1}) + "\n") * 3 + nested(1000))
    with pytest.raises(StoreError, match="line 4"):
        list(read_json_lines(path))
