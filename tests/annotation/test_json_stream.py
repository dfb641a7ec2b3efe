"""The reader of long JSON arrays against json itself."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fmltk.annotation.json_stream as json_stream
from fmltk.annotation.json_stream import iterate_json_array
from fmltk.toolkit.errors import AnnotationError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    elements=st.lists(JSON, max_size=6),
    chunk=st.integers(1, 40),
    indent=st.sampled_from([None, 2]),
    escape=st.booleans(),
)
def test_it_reads_what_json_reads_whatever_the_chunks(tmp_path_factory, elements, chunk, indent, escape):
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_text(json.dumps(elements, indent=indent, ensure_ascii=escape), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_BYTES", chunk)
        assert list(iterate_json_array(path)) == elements


@settings(max_examples=60, deadline=None)
@given(elements=st.lists(JSON, min_size=1, max_size=4), data=st.data())
def test_a_cut_array_is_an_error_wherever_it_is_cut(tmp_path_factory, elements, data):
    text = json.dumps(elements, ensure_ascii=False).encode()
    path = tmp_path_factory.mktemp("json") / "a.json"
    path.write_bytes(text[: data.draw(st.integers(0, len(text) - 1))])
    with pytest.raises(AnnotationError):
        list(iterate_json_array(path))


def test_memory_is_bounded_by_the_element_not_by_the_file(tmp_path):
    import tracemalloc

    path = tmp_path / "long.json"
    with path.open("w") as file:
        file.write("[" + ",".join('{"a": "%s"}' % ("x" * 1000) for _ in range(40_000)) + "]")
    assert path.stat().st_size > 40e6
    tracemalloc.start()
    n = sum(1 for _ in iterate_json_array(path))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert n == 40_000
    assert peak < 10e6


def test_a_fault_is_found_at_its_place_without_reading_on(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('[{"a": 1}, {"a" 2}, ' + " " * 5_000_000)
    with pytest.raises(AnnotationError, match="at character 16"):
        list(iterate_json_array(path))
