"""The values of a pickle, as nodes: each opcode is carried out here on objects of this module alone.

Nothing that a file names is imported or called, and no state of a file reaches another library: an array is a type
from a fixed list, a shape, and the position of its bytes in the file. Only the standard library is needed, since this
runs in the child process of pickle_child.py. The opcodes are those of Python's Lib/pickletools.py.
"""

from __future__ import annotations

import codecs
import struct
from typing import TYPE_CHECKING, Any, BinaryIO, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_LIMIT = 1000  # characters of a number in text, or of a name: far more than any that numpy writes
LONG_LIMIT = 255  # bytes of an integer, as the opcode LONG1 has them
SEEN_AHEAD = 65_536  # bytes: what is longer is compared with the file's size before it is read
TEXT_CODECS = ("latin1", "latin-1", "iso-8859-1")
NUMBERS = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
OBJECTS = ("O", "O4", "O8")
DTYPE_VERSION = 3  # of the state of a dtype without metadata
MAX_DIMENSIONS = 32

NDARRAY, DTYPE, ENCODE, RECONSTRUCT, SCALAR, FROM_BUFFER, SET, FROZENSET, BYTES = (
    "ndarray", "dtype", "encode", "_reconstruct", "scalar", "_frombuffer", "set", "frozenset", "bytes",
)  # fmt: skip
NAMES = {
    ("numpy", "ndarray"): NDARRAY,
    ("numpy", "dtype"): DTYPE,
    ("_codecs", "encode"): ENCODE,
    **{(f"numpy.{core}.multiarray", name): name for core in ("core", "_core") for name in (RECONSTRUCT, SCALAR)},
    **{(f"numpy.{core}.numeric", FROM_BUFFER): FROM_BUFFER for core in ("core", "_core")},
    **{(module, name): name for module in ("builtins", "__builtin__") for name in (SET, FROZENSET, BYTES)},
}


class RefusedError(Exception):
    """The file asks for something that no MMSA pickle needs."""


class CutOffError(Exception):
    """The file ends within its pickle."""


class Items:
    """A list, tuple, set or frozenset, by its `kind`; a dict, of which keys and values alternate."""

    __slots__ = ("held", "kind")

    def __init__(self, kind: str, held: list[Any]) -> None:
        self.kind = kind
        self.held = held


class Content:
    """Bytes or a bytearray, by its `kind`: at an offset of the file, or where they do not lie there, `data`."""

    __slots__ = ("data", "kind", "length", "offset")

    def __init__(self, kind: str, length: int, *, offset: int | None = None, data: bytes = b"") -> None:
        self.kind = kind
        self.length = length
        self.offset = offset
        self.data = data


class Dtype:
    """A numpy type: its name, such as f4, and the order of its bytes."""

    __slots__ = ("is_built", "name", "order")

    def __init__(self, name: str) -> None:
        self.name = name
        self.order = "<" if self.itemsize > 1 and name[0] not in "SO" else "|"
        self.is_built = False

    @property
    def itemsize(self) -> int:
        """The bytes of one element."""
        if self.name in OBJECTS:
            return 8
        return int(self.name[1:]) * (4 if self.name[0] == "U" else 1)


class Array:
    """A numpy array, empty until it is built.

    axes : from the one whose steps in memory are the largest; data : Content, or the Items of an array of objects
    """

    __slots__ = ("axes", "data", "dtype", "shape")

    def __init__(self) -> None:
        self.shape: tuple[int, ...] = ()
        self.dtype = ""
        self.axes: tuple[int, ...] = ()
        self.data: Content | Items | None = None


class Scalar:
    """A numpy scalar."""

    __slots__ = ("data", "dtype")

    def __init__(self, dtype: str, data: Content) -> None:
        self.dtype = dtype
        self.data = data


class Name:
    """A name of NAMES, which stands for what it names."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name


def run_pickle(file: BinaryIO, size: int) -> Any:
    """Return what a pickle of `size` bytes builds: a number, a text, None, or one of the nodes above.

    Raises CutOffError where the file ends too early, RefusedError for everything that plain data does not need.
    """
    return _Machine(file, size).run()


class _Machine:
    """The stack of objects, the marks on it, and the memo."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.size = size
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        read = self.file.read
        try:
            while (code := read(1)) != b".":
                step = _STEPS.get(code)
                if step is None:
                    raise (
                        CutOffError
                        if not code
                        else RefusedError(f"it has {_REFUSED.get(code, f'the unknown opcode {code!r}')}")
                    )
                step(self)
            return self.stack.pop()
        except IndexError:
            raise RefusedError("it takes more from its stack than it put there") from None
        except KeyError:
            raise RefusedError("it refers to an object that it did not build") from None
        except ValueError:  # of int(), float() and decode()
            raise RefusedError("a number or text in it is damaged") from None

    # Reading

    def take(self, length: int) -> bytes:
        if length > SEEN_AHEAD and length > self.size - self.file.tell():
            raise CutOffError
        data = self.file.read(length)
        if len(data) < length:
            raise CutOffError
        return data

    def number(self, n_bytes: int) -> int:
        return int.from_bytes(self.take(n_bytes), "little")

    def line(self, limit: int = LINE_LIMIT) -> bytes:
        line = self.file.readline(limit)
        if not line.endswith(b"\n"):
            raise RefusedError("a line in it is too long") if len(line) == limit else CutOffError
        return line[:-1]

    def text(self, n_bytes: int) -> str:
        return self.take(self.number(n_bytes)).decode("utf-8", "surrogatepass")

    def content(self, n_bytes: int, kind: str = "bytes") -> Content:
        length = self.number(n_bytes)
        offset = self.file.tell()
        if length > self.size - offset:
            raise CutOffError
        self.file.seek(length, 1)
        return Content(kind, length, offset=offset)

    # Steps

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def integer(self, length: int) -> None:
        if length > LONG_LIMIT:
            raise RefusedError(f"it has an integer of {length:,} bytes")
        self.push(int.from_bytes(self.take(length), "little", signed=True))

    def integer_in_text(self) -> None:
        line = self.line()
        self.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else int(line.removesuffix(b"L")))

    def quoted_text(self) -> None:
        line = self.line(self.size + 1).strip()
        if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
            raise ValueError("a text without its quotes")
        self.push(codecs.escape_decode(line[1:-1])[0].decode("ascii"))

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        above = self.stack
        self.stack = self.below.pop()
        return above

    def top(self, kind: str) -> list[Any]:
        """Return what the container on top of the stack holds, to add to it."""
        container = self.stack[-1]
        if not isinstance(container, Items) or container.kind != kind:
            raise RefusedError(f"it adds to something as if it were a {kind}")
        return container.held

    def pack(self, kind: str, n_items: int) -> None:
        if n_items > len(self.stack):
            raise IndexError
        items = self.stack[-n_items:]
        del self.stack[-n_items:]
        self.push(Items(kind, items))

    def add(self, kind: str, n_items: int) -> None:
        if n_items >= len(self.stack):
            raise IndexError
        items = self.stack[-n_items:]
        del self.stack[-n_items:]
        self.top(kind).extend(items)

    def add_to_mark(self, kind: str) -> None:
        items = self.to_mark()
        _check_pairs(kind, items)
        self.top(kind).extend(items)

    def pack_to_mark(self, kind: str) -> None:
        items = self.to_mark()
        _check_pairs(kind, items)
        self.push(Items(kind, items))

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.to_mark()

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def recall(self, key: int) -> None:
        self.push(self.memo[key])

    def find(self, module: object, name: object) -> None:
        known = NAMES.get((module, name)) if isinstance(module, str) and isinstance(name, str) else None
        if known is None:
            raise RefusedError(
                f"it names {_shown(module)}.{_shown(name)}, and only numpy arrays and plain containers are read"
            )
        self.push(Name(known))

    def find_in_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.find(module, name)

    def call(self) -> None:
        arguments, called = self.stack.pop(), self.stack.pop()
        if not isinstance(called, Name) or not _is(arguments, "tuple"):
            raise RefusedError("it calls something that is not a name")
        build = _CALLS.get(called.name)
        if build is None:
            raise RefusedError(f"it calls {called.name}")
        self.push(build(arguments.held))

    def build(self) -> None:
        state, built = self.stack.pop(), self.stack[-1]
        if not _is(state, "tuple") or not isinstance(built, Array | Dtype):
            raise RefusedError("it sets the state of something that is not an array")
        if isinstance(built, Dtype):
            _build_dtype(built, state.held)
        else:
            _build_array(built, state.held)


def _is(value: object, kind: str) -> TypeGuard[Items]:
    return isinstance(value, Items) and value.kind == kind


def _shown(name: object) -> str:
    """Return a name as a message shows it: short, and without what a terminal would obey."""
    return ascii(name)[1:81].removesuffix("'") if isinstance(name, str) else type(name).__name__


def _check_pairs(kind: str, items: list[Any]) -> None:
    if kind == "dict" and len(items) % 2:
        raise RefusedError("it has a dict with a key and no value")


# Calls: each takes the arguments that a file gives


def _empty_array(arguments: list[Any]) -> Array:
    kind: Any
    shape: Any
    kind, shape, typecode = arguments if len(arguments) == 3 else (None, None, None)
    is_numpys = isinstance(kind, Name) and kind.name == NDARRAY and _is(shape, "tuple") and shape.held == [0]
    if not is_numpys or not isinstance(typecode, Content | str):
        raise RefusedError("an array that is not built as numpy builds it")
    return Array()


def _encoded(arguments: list[Any]) -> Content:
    text, codec = arguments if len(arguments) == 2 else (arguments[0] if len(arguments) == 1 else None, "latin1")
    if not isinstance(text, str) or codec not in TEXT_CODECS:
        raise RefusedError(f"bytes in the codec '{_shown(codec)}', which no array needs")
    return _bytes_of(text)


def _dtype(arguments: list[Any]) -> Dtype:
    name = arguments[0] if arguments else None
    if not isinstance(name, str):
        raise RefusedError("a data type that is not named")
    is_text = (
        name[:1] in ("S", "U") and name.isascii() and name[1:].isdecimal() and len(name) < 10 and int(name[1:]) > 0
    )
    if not (is_text or name in NUMBERS or name in OBJECTS):
        raise RefusedError(f"the data type '{_shown(name)}', and only numbers, texts and objects are read")
    return Dtype(name)


def _scalar(arguments: list[Any]) -> Scalar:
    dtype, data = arguments if len(arguments) == 2 else (None, None)
    if not isinstance(dtype, Dtype) or dtype.name in OBJECTS:
        raise RefusedError("a scalar that is not a plain number")
    return Scalar(dtype.order + dtype.name, _plain_bytes(data, dtype.itemsize))


def _from_buffer(arguments: list[Any]) -> Array:
    """Return the array of a protocol 5 pickle, as numpy's ``_frombuffer``."""
    data, dtype, shape, layout, axes = [*arguments, None][:5] if len(arguments) in (4, 5) else [None] * 5
    if not isinstance(dtype, Dtype) or dtype.name in OBJECTS or not isinstance(layout, str):
        raise RefusedError("a buffer that does not hold plain numbers")
    array = Array()
    array.shape, n_items = _checked_shape(shape)
    array.dtype = dtype.order + dtype.name
    array.axes = _checked_axes(layout, axes, len(array.shape))
    array.data = _plain_bytes(data, n_items * dtype.itemsize)
    return array


def _set(kind: str) -> Callable[[list[Any]], Items]:
    def build(arguments: list[Any]) -> Items:
        if not arguments:
            return Items(kind, [])
        if len(arguments) != 1 or not _is(arguments[0], "list"):
            raise RefusedError(f"a {kind} that is not made from a list")
        return Items(kind, arguments[0].held)

    return build


def _no_bytes(arguments: list[Any]) -> Content:
    if arguments:
        raise RefusedError("bytes that are made by a call")
    return _bytes_of("")


_CALLS: dict[str, Callable[[list[Any]], Any]] = {
    RECONSTRUCT: _empty_array,
    ENCODE: _encoded,
    DTYPE: _dtype,
    SCALAR: _scalar,
    FROM_BUFFER: _from_buffer,
    SET: _set("set"),
    FROZENSET: _set("frozenset"),
    BYTES: _no_bytes,
}


# States


def _build_dtype(dtype: Dtype, state: list[Any]) -> None:
    """Take the order of the bytes; everything else in a state is checked against what the name says."""
    version, byte_order, *parts = state if len(state) == 8 else [None] * 8
    subarray, names, fields, itemsize, alignment, flags = parts
    if version != DTYPE_VERSION or dtype.is_built or (subarray, names, fields) != (None, None, None):
        raise RefusedError("an array of records, or a data type that is not built as numpy builds it")
    expected = (-1, dtype.itemsize)
    if itemsize not in expected or not isinstance(alignment, int) or not isinstance(flags, int):
        raise RefusedError(f"the data type {dtype.name} with another size of its elements")
    if byte_order not in ("<", ">") and not (byte_order == "|" and dtype.order == "|"):
        raise RefusedError(f"the data type {dtype.name} without the order of its bytes")
    dtype.is_built = True
    if dtype.order != "|":
        dtype.order = byte_order


def _build_array(array: Array, state: list[Any]) -> None:
    data: Any
    _, shape, dtype, is_fortran, data = state if len(state) == 5 else [None] * 5
    if array.data is not None or not isinstance(dtype, Dtype) or not isinstance(is_fortran, int):
        raise RefusedError("an array whose state is not numpy's")
    shape, n_items = _checked_shape(shape)
    if dtype.name not in OBJECTS:
        content: Content | Items = _plain_bytes(data, n_items * dtype.itemsize)
    elif _is(data, "list"):
        content = data  # its length is checked when all of the file was read: more may be added to it
    else:
        raise RefusedError("an array of objects that is not filled from a list")
    array.shape, array.dtype, array.data = shape, dtype.order + dtype.name, content
    array.axes = _checked_axes("F" if is_fortran else "C", None, len(shape))


def _checked_shape(shape: object) -> tuple[tuple[int, ...], int]:
    """Return a shape and the number of its items."""
    sizes = shape.held if isinstance(shape, Items) and shape.kind == "tuple" else [-1]
    if len(sizes) > MAX_DIMENSIONS or not all(type(size) is int and 0 <= size < 2**62 for size in sizes):
        raise RefusedError("an array whose shape is not that of an array")
    n_items = 1
    for size in sizes:
        n_items *= size
    return tuple(sizes), n_items


def _checked_axes(layout: str, axes: object, n_dimensions: int) -> tuple[int, ...]:
    """Return the axes in the order in which they lie in memory, the slowest first."""
    ordered = list(range(n_dimensions))
    if layout == "K" and isinstance(axes, Items) and all(type(axis) is int for axis in axes.held):
        if sorted(axes.held) != ordered:
            raise RefusedError("an array whose axes are not those of its shape")
        return tuple(axes.held)
    return tuple(reversed(ordered) if layout == "F" else ordered)


def _bytes_of(text: str) -> Content:
    return Content("bytes", len(text), data=text.encode("latin1"))


def _plain_bytes(data: object, length: int) -> Content:
    if isinstance(data, str):
        data = _bytes_of(data)  # as Python 2 wrote bytes
    if not isinstance(data, Content):
        raise RefusedError("an array of numbers that is not filled from bytes")
    if data.length != length:
        raise RefusedError(f"an array whose shape needs {length:,} bytes, filled from {data.length:,}")
    return data


_STEPS: dict[bytes, Callable[[_Machine], None]] = {
    b"\x80": lambda m: _check_protocol(m.number(1)),
    b"\x95": lambda m: _check_frame(m, m.number(8)),
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": _Machine.integer_in_text,
    b"L": _Machine.integer_in_text,
    b"K": lambda m: m.push(m.number(1)),
    b"M": lambda m: m.push(m.number(2)),
    b"J": lambda m: m.integer(4),
    b"\x8a": lambda m: m.integer(m.number(1)),
    b"\x8b": lambda m: m.integer(m.number(4)),
    b"F": lambda m: m.push(float(m.line())),
    b"G": lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    b"S": _Machine.quoted_text,
    b"T": lambda m: m.push(m.take(m.number(4)).decode("ascii")),
    b"U": lambda m: m.push(m.take(m.number(1)).decode("ascii")),
    b"V": lambda m: m.push(m.line(m.size + 1).decode("raw-unicode-escape")),
    b"\x8c": lambda m: m.push(m.text(1)),
    b"X": lambda m: m.push(m.text(4)),
    b"\x8d": lambda m: m.push(m.text(8)),
    b"C": lambda m: m.push(m.content(1)),
    b"B": lambda m: m.push(m.content(4)),
    b"\x8e": lambda m: m.push(m.content(8)),
    b"\x96": lambda m: m.push(m.content(8, "bytearray")),
    b"]": lambda m: m.push(Items("list", [])),
    b"}": lambda m: m.push(Items("dict", [])),
    b")": lambda m: m.push(Items("tuple", [])),
    b"\x8f": lambda m: m.push(Items("set", [])),
    b"\x85": lambda m: m.pack("tuple", 1),
    b"\x86": lambda m: m.pack("tuple", 2),
    b"\x87": lambda m: m.pack("tuple", 3),
    b"t": lambda m: m.pack_to_mark("tuple"),
    b"l": lambda m: m.pack_to_mark("list"),
    b"d": lambda m: m.pack_to_mark("dict"),
    b"\x91": lambda m: m.pack_to_mark("frozenset"),
    b"a": lambda m: m.add("list", 1),
    b"s": lambda m: m.add("dict", 2),
    b"e": lambda m: m.add_to_mark("list"),
    b"u": lambda m: m.add_to_mark("dict"),
    b"\x90": lambda m: m.add_to_mark("set"),
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": lambda m: _forget(m.to_mark()),
    b"2": lambda m: m.push(m.stack[-1]),
    b"p": lambda m: m.remember(int(m.line())),
    b"q": lambda m: m.remember(m.number(1)),
    b"r": lambda m: m.remember(m.number(4)),
    b"\x94": lambda m: m.remember(len(m.memo)),
    b"g": lambda m: m.recall(int(m.line())),
    b"h": lambda m: m.recall(m.number(1)),
    b"j": lambda m: m.recall(m.number(4)),
    b"c": lambda m: m.find(m.line().decode("utf-8"), m.line().decode("utf-8")),
    b"\x93": _Machine.find_in_stack,
    b"R": _Machine.call,
    b"b": _Machine.build,
}
_REFUSED = {
    **dict.fromkeys((b"i", b"o", b"\x81", b"\x92"), "an object of a class"),
    **dict.fromkeys((b"P", b"Q"), "a reference to something outside the file"),
    **dict.fromkeys((b"\x82", b"\x83", b"\x84"), "an object of a registered extension"),
    **dict.fromkeys((b"\x97", b"\x98"), "a buffer outside the file"),
}


def _forget(items: list[Any]) -> None:
    items.clear()


def _check_protocol(protocol: int) -> None:
    if protocol > 5:
        raise RefusedError(f"its protocol is {protocol}, and the highest that is read is 5")


def _check_frame(machine: _Machine, length: int) -> None:
    if length > machine.size - machine.file.tell():
        raise CutOffError
