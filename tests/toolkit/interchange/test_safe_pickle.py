"""Pickles from anywhere: arrays come through, code does not."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.interchange.pickle_machine import CutOffError, RefusedError
from fmltk.toolkit.interchange.safe_pickle import load_pickle
from tests.processes import FOREVER_S
from tests.toolkit.interchange.pickles import read_in_this_process

if TYPE_CHECKING:
    from collections.abc import Callable


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
    with pytest.raises(StoreError, match="a number that is not a character"):
        load_pickle(path)


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
    with pytest.raises(StoreError, match="is not a pickle of protocol 2 or later; expected an MMSA file"):
        load_pickle(tmp_path / "a.csv")


def test_an_empty_and_an_absent_file_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty.pkl").touch()
    with pytest.raises(StoreError, match="is empty"):
        load_pickle(tmp_path / "empty.pkl")
    with pytest.raises(StoreError, match=r"cannot read .*absent\.pkl: No such file"):
        load_pickle(tmp_path / "absent.pkl")


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=80), st.integers(0, 60))
def test_damaged_bytes_are_refused_or_a_value(tmp_path_factory: Any, noise: bytes, at: int) -> None:
    data = bytearray(pickle.dumps({"train": {"id": ["a"], "x": np.arange(3.0)}}))
    data[at : at + len(noise)] = noise
    path = tmp_path_factory.mktemp("fuzz") / "x.pkl"
    path.write_bytes(bytes(data))
    with contextlib.suppress(CutOffError, RefusedError, ValueError):  # anything else fails the test
        read_in_this_process(path)


KEYS = (
    st.text(max_size=5) | st.integers() | st.binary(max_size=5) | st.booleans() | st.none() | st.floats(allow_nan=False)
)
DTYPES = [f"{order}{kind}" for order in "<>" for kind in ("b1", "i1", "i4", "u8", "f2", "f4", "f8", "c8", "S3", "U2")]


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    shape = draw(st.lists(st.integers(0, 3), max_size=4).map(tuple))
    values = np.arange(int(np.prod(shape)) % 2 + 7)[: int(np.prod(shape))]
    array = np.resize(values, shape).astype(draw(st.sampled_from(DTYPES)))
    return array.transpose(draw(st.permutations(range(array.ndim)))) if draw(st.booleans()) else array


def object_array(values: list[Any]) -> np.ndarray[Any, Any]:
    array = np.empty(len(values), object)
    for row, value in enumerate(values):
        array[row] = value
    return array


VALUES = st.recursive(
    KEYS | st.floats() | arrays() | st.sampled_from([np.float32(1.5), np.str_("é"), np.dtype(">i2").type(3)]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.dictionaries(KEYS, inner, max_size=4)
        | st.sets(KEYS, max_size=4)
        | st.frozensets(KEYS, max_size=4)
        | st.lists(inner, min_size=1, max_size=3).map(object_array)
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(VALUES, st.integers(0, 5))
def test_plain_data_is_read_as_python_reads_it(tmp_path_factory: Any, value: Any, protocol: int) -> None:
    path = dump(tmp_path_factory.mktemp("plain") / "x.pkl", value, protocol)
    assert_equal(read_in_this_process(path), pickle.loads(path.read_bytes()))


def assert_equal(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(expected, np.ndarray):
        assert (found.dtype, found.shape) == (expected.dtype.newbyteorder("="), expected.shape)
        found, expected = found.ravel().tolist(), expected.ravel().tolist()
    if isinstance(expected, dict):
        assert_equal(list(found), list(expected))
        found, expected = list(found.values()), list(expected.values())
    if isinstance(expected, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_equal(one, other)
    else:
        assert found == expected or repr(found) == repr(expected)


def program(*parts: object) -> bytes:
    """A pickle by hand: texts and numbers are pushed, bytes are opcodes as they are."""
    spelled = b"\x80\x04"
    for part in parts:
        if isinstance(part, str):
            spelled += b"X" + len(part.encode()).to_bytes(4, "little") + part.encode()
        elif isinstance(part, int):
            spelled += b"J" + part.to_bytes(4, "little", signed=True)
        else:
            assert isinstance(part, bytes)
            spelled += part
    return spelled + b"."


NDARRAY = (b"cnumpy\nndarray\n",)
EMPTY_ARRAY = (b"cnumpy._core.multiarray\n_reconstruct\n", *NDARRAY, 0, b"\x85", b"C\x01b", b"\x87R")


def dtype(name: str, *state: object) -> tuple[object, ...]:
    made = (b"cnumpy\ndtype\n", name, b"\x89\x88\x87R")
    return (*made, b"(", *state, b"tb") if state else made


PLAIN = (3, "<", b"NNN", -1, -1, 0)
SUBARRAY = (3, "|", *dtype("O"), 1, b"\x85\x86", b"NN", 8, 1, 63)
EIGHT = b"C\x08AAAAAAAA"
LAUGHS = b")" + b"".join(b"2\x86" for _ in range(63))


def array(shape: object, kind: tuple[object, ...], data: bytes) -> tuple[object, ...]:
    shape = b"(" + b"".join(program(size)[2:-1] for size in shape) + b"t" if isinstance(shape, tuple) else shape
    return (*EMPTY_ARRAY, b"(", 1, shape, *kind, b"\x89", data, b"tb")


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        (array((1,), dtype("V8", *SUBARRAY), EIGHT), "data type 'V8'"),
        (array((1,), dtype("S8", *SUBARRAY), EIGHT), "records, or a data type that is not built"),
        ((b"cnumpy._core.multiarray\nscalar\n", *dtype("S8", *SUBARRAY), EIGHT, b"\x86R"), "records, or a data type"),
        ((b"cnumpy._core.multiarray\nscalar\n", *dtype("O"), EIGHT, b"\x86R"), "not a plain number"),
        (array((3,), dtype("O"), b"](K\x01e"), r"shape \(3,\) with 1 objects"),
        (array((2**31 - 1,), dtype("O"), b"]"), "with 0 objects"),
        (array((1,), dtype("O"), EIGHT), "not filled from a list"),
        (array((1,), dtype("f8"), b"](K\x01e"), "not filled from bytes"),
        (array((2,), dtype("f8", *PLAIN), EIGHT), "needs 16 bytes, filled from 8"),
        (array((-1,), dtype("f8", *PLAIN), EIGHT), "whose shape"),
        (array((b"\x8a\x09" + (2**64 + 1).to_bytes(9, "little"),), dtype("f8"), EIGHT), "whose shape"),
        (array((2**30,) * 3, dtype("f8"), EIGHT), "needs 9,903,520,314,283,042,199,192,993,792 bytes"),
        (array((0, 2**31 - 1, 2**31 - 1), dtype("f8"), b"C\x00"), "without elements"),
        (array((1,) * 33, dtype("f8"), EIGHT), "whose shape"),
        (array((1,), dtype("f8", 3, "<", b"NNN", 1, -1, 0), EIGHT), "another size of its elements"),
        (array((1,), dtype("f8", 3, "|", b"NNN", -1, -1, 0), EIGHT), "order of its bytes"),
        (array((1,), dtype("M8[D]"), EIGHT), "data type"),
        (array((5,), dtype("U0"), b"C\x00"), "data type 'U0'"),
        (array((8,), dtype("b1"), EIGHT), "neither true nor false"),
        ((*array((1,), dtype("f8"), EIGHT), b"(", 1, 1, b"\x85", *dtype("f8"), b"\x89", EIGHT, b"tb"), "state is not"),
        (EMPTY_ARRAY, "not filled"),
        ((*NDARRAY, b"}(", "x", 1, b"ub"), "sets the state"),
        ((*NDARRAY, b"N}(", "x", 1, b"u\x86b"), "sets the state"),
        ((b"]NN\x86b",), "sets the state"),
        ((*NDARRAY, 5, b"\x85R"), "calls ndarray"),
        ((*NDARRAY, b")\x81"), "an object of a class"),
        ((*NDARRAY, b")}\x92"), "an object of a class"),
        ((b"(cnumpy\ndtype\no",), "an object of a class"),
        (NDARRAY, "a name instead of data"),
        ((b"Nq\x00h\x00\x85R",), "calls something"),
        ((b"P1\n",), "outside the file"),
        ((b"NQ",), "outside the file"),
        ((b"\x82\x01",), "registered extension"),
        ((b"\x97",), "a buffer outside"),
        ((b"\x8b\xff\xff\x00\x00" + b"1" * 65535,), "an integer of 65,535 bytes"),
        ((b"I" + b"9" * 5000 + b"\n",), "too long"),
        ((b"h\x07",), "that it did not build"),
        ((b"\xf0",), "unknown opcode"),
        ((b"\x80\x06",), "protocol is 6"),
        ((b"}", LAUGHS, b"Ns"), "neither text nor a number"),
        ((b"}", b")" + b"\x85" * 200_000, b"Ns"), "neither text nor a number"),
        ((b"\x8f(", LAUGHS, b"\x90"), "neither text nor a number"),
        ((b"(", LAUGHS, b"\x91"), "neither text nor a number"),
        ((b"}]Ns",), "neither text nor a number"),
        ((LAUGHS,), "when every part of it is written out"),
        ((b")" + b"\x85" * 200_000,), "containers deep"),
        ((b"]" * 150 + b"a" * 149,), "containers deep"),
        ((b"]2a",), "a list in the pickle holds itself"),
        ((b"](2e",), "more from its stack"),
    ],
)
def test_hostile_programs_are_refused(tmp_path: Path, parts: tuple[object, ...], reason: str) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(program(*parts))
    with pytest.raises((RefusedError, ValueError), match=reason):
        read_in_this_process(path)


def test_a_refusal_crosses_from_the_child_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.pkl"
    path.write_bytes(program(*array((1,), dtype("S8", *SUBARRAY), EIGHT)))
    with pytest.raises(StoreError, match=rf"^{path}: refused \(an array of records, or .* as numpy builds it\)$"):
        load_pickle(path)


def test_memo_places_and_lengths_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "given.pkl"
    path.write_bytes(program("a", b"r\xff\xff\xff\xff0j\xff\xff\xff\xff"))
    assert load_pickle(path) == "a"
    for opcode in (b"\x8e", b"\x96", b"\x8d", b"\x95"):
        path.write_bytes(program(opcode + b"\xff" * 7 + b"\x7f"))
        with pytest.raises(StoreError, match="cut off"):
            load_pickle(path)


def test_what_a_file_shares_is_shared_and_its_bytes_are_its_own(tmp_path: Path) -> None:
    one = np.arange(3.0)
    found = load_pickle(dump(tmp_path / "given.pkl", [one, one]))
    assert found[0] is found[1]
    found[0][0] = 7
    assert load_pickle(tmp_path / "given.pkl")[0][0] == 0


def test_big_endian_numbers_are_numbers(tmp_path: Path) -> None:
    labels = np.array([-1, -0.33, 0.33, 1], ">f4")
    for protocol in range(6):
        for value in (labels, [labels[1]], np.array([labels, None], object)):
            found = load_pickle(dump(tmp_path / "given.pkl", value, protocol))
            first = found if isinstance(value, np.ndarray) and value.dtype.kind == "f" else found[0]
            assert first.dtype == np.float32
            assert first.tolist() == (labels if first.ndim else labels[1]).tolist()


@pytest.mark.parametrize("name", ["oob_list", "tuple_key_laughs"])
def test_files_that_crashed_or_hung_are_refused(test_data: Path, name: str) -> None:
    path = test_data / "cases" / "pickles" / f"{name}.pkl"
    with pytest.raises(StoreError, match=rf"{name}\.pkl: refused"):
        load_pickle(path)


def test_the_labels_that_were_read_as_nothing(test_data: Path) -> None:
    part = load_pickle(test_data / "cases" / "pickles" / "be_labels.pkl")["train"]
    assert part["regression_labels"].tolist() == pytest.approx([-1, -1 / 3, 1 / 3, 1])


# The process that reads


def test_a_file_that_fills_memory_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "given.pkl"
    encoded = b"c_codecs\nencode\nh\x00\x85R"
    path.write_bytes(program("a" * 2**20, b"q\x00(" + encoded * 1200 + b"t"))  # 1.2 GiB of bytes
    with pytest.raises(StoreError, match="asks for more memory than a file of its size needs"):
        load_pickle(path)


def test_a_child_that_does_not_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sleeps = tmp_path / "sleeps"
    sleeps.write_text(f"#!/bin/sh\nexec sleep {FOREVER_S:g}\n")
    sleeps.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(sleeps))
    monkeypatch.setattr("fmltk.toolkit.interchange.safe_pickle.time_limit_s", lambda size: 0.5)
    with pytest.raises(StoreError, match=r"x\.pkl is refused: the process that reads it did not end within 0\.5 s"):
        load_pickle(dump(tmp_path / "x.pkl", [1]))


def test_a_child_that_dies_costs_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dies = tmp_path / "dies"
    dies.write_text("#!/bin/sh\nkill -SEGV $$\n")
    dies.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(dies))
    with pytest.raises(StoreError, match=r"x\.pkl is refused: the process that reads it was killed by SIGSEGV"):
        load_pickle(dump(tmp_path / "x.pkl", [1]))


def test_an_answer_is_whole_however_slowly_it_is_taken(tmp_path: Path) -> None:
    path = dump(tmp_path / "x.pkl", np.arange(100_000), protocol=2)
    command = [sys.executable, "-P", "-m", "fmltk.toolkit.interchange.pickle_child", str(path), str(os.getpid())]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as child:
        time.sleep(2.5)  # the child's alarm rings meanwhile
        assert child.stdout is not None
        assert child.stdout.read().endswith(np.arange(100_000).tobytes())


def test_the_child_ends_with_its_parent(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "never")
    starts = (
        "import subprocess, sys, os\n"
        "command = [sys.executable, '-P', '-m', 'fmltk.toolkit.interchange.pickle_child', sys.argv[1]]\n"
        "command.append(str(os.getpid()))\n"
        "print(subprocess.Popen(command, stdout=subprocess.DEVNULL).pid, flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    command = [sys.executable, "-c", starts, str(tmp_path / "never")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = Path(f"/proc/{int(parent.stdout.readline())}")
    time.sleep(2)
    assert (child / "stat").exists(), "it waits for a pipe that nobody writes to"
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 10
    while _is_running(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_running(child)


def _is_running(process: Path) -> bool:
    try:
        return (process / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.pkl")
    with pytest.raises(StoreError, match=r"cannot read .*pipe\.pkl: it is a pipe, not a file"):
        load_pickle(tmp_path / "pipe.pkl")
