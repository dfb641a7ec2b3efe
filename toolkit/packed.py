"""Lists of many values of one kind, held by column: clips take a tenth of the memory of their objects."""

from __future__ import annotations

import functools
import itertools
import operator
import os
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from fmltk.toolkit.io.paths import RemotePath

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Item = TypeVar("Item")

PAGE = 1024  # values that are packed together
_TEXT = "as text"  # the only column of paths of this machine
_REPEATED = 4  # texts are held once each if there are so many times fewer of them than values


class PackedList(Sequence[Item]):
    """A list whose values are packed `PAGE` at a time, and made again when they are asked for: equal, not the same.

    What can be packed is text, numbers, paths and frozen dataclasses of these; other values are held as they are.

    >>> texts = PackedList(f"clip {number}" for number in range(2000))
    >>> len(texts), texts[7], texts[-1]
    (2000, 'clip 7', 'clip 1999')
    """

    def __init__(self, items: Iterable[Item] = ()) -> None:
        self._pages: list[Sequence[Item]] = []
        self._last: list[Item] = []
        for item in items:
            self.append(item)

    def append(self, item: Item) -> None:
        """Add a value at the end."""
        self._last.append(item)
        if len(self._last) == PAGE:
            self._pages.append(packed(self._last))
            self._last = []

    def __len__(self) -> int:
        return PAGE * len(self._pages) + len(self._last)

    def __iter__(self) -> Iterator[Item]:
        return itertools.chain.from_iterable((*self._pages, self._last))

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        page, row = self._page_of(index)
        return page[row]

    def values(self, name: str) -> Iterator[Any]:
        """Yield one field of each value, without making the values."""
        return itertools.chain.from_iterable(_column(page, name) for page in (*self._pages, self._last))

    def texts_of_paths(self, name: str) -> Iterator[str]:
        """Yield one field of each value, a path of this machine, as text: made in a third of the time; else ""."""
        for page in (*self._pages, self._last):
            column = _column(page, name)
            if isinstance(column, _Made) and column.columns.keys() == {_TEXT}:
                yield from column.columns[_TEXT]
            else:
                yield from (str(path) if isinstance(path, Path) else "" for path in column)

    def row(self, index: int, *names: str) -> list[Any]:
        """Return some fields of a value, without making the value."""
        page, row = self._page_of(index)
        if isinstance(page, _Made):
            columns = page.columns
            return [columns[name][row] for name in names]
        return [getattr(page[row], name) for name in names]

    def value(self, index: int, name: str) -> Any:
        """Return one field of a value, without making the value."""
        return self.row(index, name)[0]

    def _page_of(self, index: int) -> tuple[Sequence[Item], int]:
        number, row = divmod(index if index >= 0 else index + len(self), PAGE)
        if number == len(self._pages):
            return self._last, row
        if number < 0:
            raise IndexError(f"{index} of {len(self)} values")
        return self._pages[number], row  # which raises IndexError beyond them


def packed(values: Sequence[Any]) -> Sequence[Any]:
    """Return values as a sequence that takes less memory and gives equal ones; at least one."""
    first, n = values[0], len(values)
    if all(map(operator.is_, values, itertools.repeat(first))):
        return _Same(first, n)
    kinds: set[Any] = set(map(type, values))
    if len(kinds) == 2 and type(None) in kinds:
        other = next(value for value in values if value is not None)
        there = bytes(value is not None for value in values)
        return _Made(_if_there, {"there": there, "value": packed([other if one is None else one for one in values])})
    if len(kinds) > 1:
        return list(values)
    (kind,) = kinds
    if kind is str:
        return _packed_texts(values)
    if kind is float:
        return array("d", values)
    if kind is int and min(values) >= -(1 << 63) and max(values) < 1 << 63:
        return array("q", values)
    if issubclass(kind, Path):
        return _Made(kind, {_TEXT: packed(list(map(str, values)))})
    names = _fields_of(kind)
    if not names:
        return list(values)
    return _Made(kind, {name: packed(list(map(operator.attrgetter(name), values))) for name in names})


@functools.lru_cache
def _fields_of(kind: type[Any]) -> tuple[str, ...]:
    """Return what values of a kind are made of, in the way that its class takes it."""
    if is_dataclass(kind):
        return tuple(one.name for one in fields(kind))
    return ("scheme", "key", "known") if kind is RemotePath else ()


def _packed_texts(values: Sequence[str]) -> Sequence[str]:
    held = dict(zip(values, values, strict=True))
    if len(held) == 1:
        return _Same(values[0], len(values))
    return [held[value] for value in values] if _REPEATED * len(held) <= len(values) else _Texts(values)


def _if_there(there: int, value: Any) -> Any:
    return value if there else None


def _column(page: Sequence[Any], name: str) -> Iterable[Any]:
    return page.columns[name] if isinstance(page, _Made) else (getattr(one, name) for one in page)


class _Same(Sequence[Item]):
    """One value, many times."""

    __slots__ = ("_n", "_value")

    def __init__(self, value: Item, n: int) -> None:
        self._value, self._n = value, n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, index: Any) -> Any:
        return self._value

    def __iter__(self) -> Iterator[Item]:
        return itertools.repeat(self._value, self._n)


class _Texts(Sequence[str]):
    """Texts as one run of bytes: how all of them begin is held once."""

    __slots__ = ("_bytes", "_ends", "_start")

    def __init__(self, texts: Sequence[str]) -> None:
        self._start = os.path.commonprefix(texts)  # noqa: RUF071 - of texts, not of folders
        n = len(self._start)
        parts = [text[n:].encode("utf-8", "surrogatepass") for text in texts]
        self._ends = array("Q" if sum(map(len, parts)) >> 32 else "I", itertools.accumulate(map(len, parts), initial=0))
        self._bytes = b"".join(parts)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: Any) -> Any:
        part = self._bytes[self._ends[index] : self._ends[index + 1]]
        return self._start + part.decode("utf-8", "surrogatepass")

    def __iter__(self) -> Iterator[str]:
        start, ends = self._start, self._ends
        if self._bytes.isascii():
            text = self._bytes.decode()
            return iter([start + text[begin:end] for begin, end in itertools.pairwise(ends)])
        return map(self.__getitem__, range(len(self)))


class _Made(Sequence[Item], Generic[Item]):
    """Values that `make` makes of a row of the columns."""

    __slots__ = ("_make", "_row", "_varying", "columns")

    def __init__(self, make: Callable[..., Item], columns: dict[str, Sequence[Any]]) -> None:
        self._make, self.columns = make, columns
        self._row = [column[0] for column in columns.values()]
        self._varying = [(n, one) for n, one in enumerate(columns.values()) if not isinstance(one, _Same)]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __getitem__(self, index: Any) -> Any:
        row = self._row.copy()
        for n, column in self._varying:
            row[n] = column[index]
        return self._make(*row)

    def __iter__(self) -> Iterator[Item]:
        return map(self._make, *self.columns.values())
