"""Pickles from anywhere: arrays come through, code does not."""

from __future__ import annotations

import contextlib
import os
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmltk.toolkit.errors import FmltkError, StoreError
from fmltk.toolkit.interchange.safe_pickle import load_pickle

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def dump(path: Path, value: object, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(value, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_through_every_protocol(tmp_path: Path, protocol: int) -> None:
    value: dict[str, Any] = {
        "floats": np.arange(12, dtype=np.float32).reshape(3, 4),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "transposed": np.arange(24).reshape(2, 3, 4).transpose(2, 0, 1),
        "texts": np.array(["一", "ab"]),
        "objects": np.array(["x", 1, None], dtype=object),
        "flags": np.array([True, False]),
        "empty": np.zeros((0, 5), np.float32),
        "scalar": np.float64(1.5),
        "list": ["a", 1, 2.5, None, (1, 2), {"k": b"v"}],
        "set": {1, 2},
    }
    found = load_pickle(dump(tmp_path / "x.pkl", value, protocol))
    assert found.keys() == value.keys()
    for key, expected in value.items():
        if isinstance(expected, np.ndarray):
            assert found[key].dtype == expected.dtype
            np.testing.assert_array_equal(found[key], expected)
        else:
            assert found[key] == expected


def test_numpy_1_names_are_read(tmp_path: Path) -> None:
    data = pickle.dumps({"x": np.arange(3.0)}, protocol=3)
    old = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert old != data
    (tmp_path / "old.pkl").write_bytes(old)
    np.testing.assert_array_equal(load_pickle(tmp_path / "old.pkl")["x"], np.arange(3.0))


class _Runs:
    def __init__(self, call: Any, *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> Any:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_code_is_refused_and_not_run(tmp_path: Path, protocol: int) -> None:
    marker = tmp_path / "ran"
    path = dump(tmp_path / "bad.pkl", {"train": _Runs(os.mkdir, str(marker))}, protocol)
    with pytest.raises(StoreError, match=r"it names (posix|os)\.mkdir"):
        load_pickle(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists(), "the pickle is armed: plain pickle runs it"


@pytest.mark.parametrize(
    "call",
    [
        _Runs(eval, "1+1"),
        _Runs(getattr, "text", "upper"),
        _Runs(np.ndarray, (2**40,)),
        _Runs(np.load, "x.npy"),
        _Runs(__import__, "os"),
    ],
)
def test_known_tricks_are_refused(tmp_path: Path, call: _Runs) -> None:
    with pytest.raises(StoreError):
        load_pickle(dump(tmp_path / "bad.pkl", call))


def test_an_array_of_a_foreign_class_is_refused(tmp_path: Path) -> None:
    array = np.arange(3.0)
    reduced = array.__reduce__()
    path = dump(tmp_path / "bad.pkl", _Runs(reduced[0], set, (0,), b"b"))
    with pytest.raises(StoreError, match="not built as numpy builds it"):
        load_pickle(path)


@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("place", [lambda a: a, lambda a: {"x": [(a,)]}, lambda a: np.array([a, None], object)])
def test_texts_of_numbers_that_are_no_characters_are_refused(
    tmp_path: Path, protocol: int, order: str, place: Callable[[Any], Any]
) -> None:
    path = tmp_path / "given.pkl"
    good = np.array(["ab", "\U0010ffff"], f"{order}U2")
    path.write_bytes(pickle.dumps(place(good), protocol))
    load_pickle(path)
    codes = np.array([0x61, 0x62, 0x110000, 0], f"{order}u4")
    path.write_bytes(pickle.dumps(place(codes.view(f"{order}U2")), protocol))
    with pytest.raises(StoreError, match="a number that is no character"):
        load_pickle(path)


def test_a_pickle_that_holds_itself_is_read(tmp_path: Path) -> None:
    held: list[Any] = [np.array(["a"])]
    held.append(held)
    (tmp_path / "given.pkl").write_bytes(pickle.dumps(held))
    assert load_pickle(tmp_path / "given.pkl")[1][0].tolist() == ["a"]


def test_records_are_refused(tmp_path: Path) -> None:
    (tmp_path / "given.pkl").write_bytes(pickle.dumps(np.zeros(2, [("a", "U1")])))
    with pytest.raises(StoreError, match="refused"):
        load_pickle(tmp_path / "given.pkl")


def test_codecs_other_than_latin1_are_refused(tmp_path: Path) -> None:
    import _codecs

    with pytest.raises(StoreError, match="codec 'rot13'"):
        load_pickle(dump(tmp_path / "bad.pkl", _Runs(_codecs.encode, "abc", "rot13")))


@pytest.mark.parametrize("protocol", [2, 4, 5])
def test_every_cut_is_named(tmp_path: Path, protocol: int) -> None:
    data = pickle.dumps({"train": {"text": np.zeros((2, 3, 4), np.float32)}}, protocol=protocol)
    for cut in range(1, len(data), 7):
        (tmp_path / "cut.pkl").write_bytes(data[:cut])
        with pytest.raises(StoreError, match=r"cut\.pkl"):
            load_pickle(tmp_path / "cut.pkl")


def test_a_git_lfs_pointer_is_named(tmp_path: Path) -> None:
    path = tmp_path / "unaligned_39.pkl"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    with pytest.raises(StoreError, match=r"unaligned_39\.pkl is a Git LFS pointer.*git lfs pull"):
        load_pickle(path)


def test_a_text_is_no_pickle(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("video_id,clip_id\n")
    with pytest.raises(StoreError, match="no pickle of protocol 2 or later; expected an MMSA file"):
        load_pickle(tmp_path / "a.csv")


def test_an_empty_and_an_absent_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pkl").touch()
    with pytest.raises(StoreError, match="is empty"):
        load_pickle(tmp_path / "empty.pkl")
    with pytest.raises(StoreError, match=r"cannot read .*absent\.pkl: No such file"):
        load_pickle(tmp_path / "absent.pkl")


@settings(max_examples=300, deadline=None)
@given(st.binary(min_size=1, max_size=80), st.integers(0, 60))
def test_damaged_bytes_give_a_clear_error_or_a_value(tmp_path_factory: Any, noise: bytes, at: int) -> None:
    data = bytearray(pickle.dumps({"train": {"id": ["a"], "x": np.arange(3.0)}}))
    data[at : at + len(noise)] = noise
    path = tmp_path_factory.mktemp("fuzz") / "x.pkl"
    path.write_bytes(bytes(data))
    with contextlib.suppress(FmltkError):  # anything else fails the test
        load_pickle(path)
