"""Reading a JSON array of any length one element at a time, in bounded memory."""

from __future__ import annotations

import codecs
import json
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.documents import is_too_deep
from fmltk.toolkit.io.files import cannot_read, open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHUNK_BYTES = 1 << 20
MAX_ELEMENT_CHARS = 256 << 20  # one task of an export; an unfinished string would otherwise be read to the file's end
_TAIL_CHARS = 16  # a literal, number or escape that is cut off by the end of the buffer is shorter than this
_SPACE = " \t\r\n"


class _Buffer:
    """The text that is read but not yet decoded."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.text = ""
        self.position = 0
        self.offset = 0  # characters before `text`, for messages
        self.ended = False
        self._file = open_file(path)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()

    def close(self) -> None:
        self._file.close()

    def fill(self, n_bytes: int = CHUNK_BYTES) -> bool:
        """Read on; return False at the end of the file."""
        if self.ended:
            return False
        data = self._file.read(n_bytes)
        self.ended = not data
        try:
            fresh = self._decoder.decode(data, final=self.ended)
        except UnicodeDecodeError as error:
            raise AnnotationError(f"{self.path} is not UTF-8 text ({error.reason}); export it again as JSON") from error
        self.offset += self.position
        self.text = self.text[self.position :] + fresh
        self.position = 0
        return bool(fresh) or not self.ended

    def peek(self) -> str:
        """Return the next character that is not white space, or "" at the end of the file."""
        while True:
            while self.position < len(self.text) and self.text[self.position] in _SPACE:
                self.position += 1
            if self.position < len(self.text):
                return self.text[self.position]
            if not self.fill():
                return ""

    def fault(self, what: str) -> AnnotationError:
        return AnnotationError(
            f"{self.path} is not a whole JSON export: {what} at character {self.offset + self.position}; "
            "export it again"
        )


def iterate_json_array(path: Path) -> Iterator[object]:
    """Yield the elements of the array that `path` holds, or its objects, one or many (JSON Lines).

    Memory is bounded by the largest element, whatever the file's length. NaN and Infinity, which some servers write,
    are read as floats.

    Raises AnnotationError if the file is not UTF-8, not JSON, cut off, or neither an array nor an object.
    """
    try:
        buffer = _Buffer(path)
    except OSError as error:
        raise AnnotationError(cannot_read(path, error)) from error
    try:
        yield from _elements(buffer)
    finally:
        buffer.close()


def _elements(buffer: _Buffer) -> Iterator[object]:
    first = buffer.peek()
    if first == "{":
        while buffer.peek() == "{":
            yield _element(buffer)
        _expect_end(buffer)
        return
    if first != "[":
        raise buffer.fault("an array of tasks was expected, found " + (repr(first) if first else "nothing"))
    buffer.position += 1
    if buffer.peek() == "]":
        buffer.position += 1
        _expect_end(buffer)
        return
    while True:
        if not buffer.peek():
            raise buffer.fault("the file ends inside the array")
        yield _element(buffer)
        separator = buffer.peek()
        buffer.position += 1
        if separator == "]":
            _expect_end(buffer)
            return
        if separator != ",":
            buffer.position -= 1
            raise buffer.fault("the file ends inside the array" if not separator else f"unexpected {separator!r}")


def _expect_end(buffer: _Buffer) -> None:
    extra = buffer.peek()
    if extra:
        raise buffer.fault(f"unexpected {extra!r} after the end")


def _element(buffer: _Buffer) -> object:
    """Decode one value, reading on for as long as the only fault is that the text stops."""
    decoder = json.JSONDecoder()
    size = CHUNK_BYTES
    while True:
        try:
            value, end = decoder.raw_decode(buffer.text, buffer.position)
        except RecursionError as error:
            raise buffer.fault("values nested too deeply") from error
        except json.JSONDecodeError as error:
            cut_off = error.msg.startswith("Unterminated string") or error.pos >= len(buffer.text) - _TAIL_CHARS
            if cut_off and len(buffer.text) - buffer.position > MAX_ELEMENT_CHARS:
                raise buffer.fault(f"a value longer than {MAX_ELEMENT_CHARS} characters") from error
            if cut_off and buffer.fill(size):
                size *= 2  # amortises decoding a long element again from its beginning
                continue
            buffer.position = error.pos
            raise buffer.fault("the file ends inside a value" if cut_off else error.msg) from error
        except ValueError as error:  # an integer of thousands of digits
            raise buffer.fault(str(error)) from error
        if end == len(buffer.text) and buffer.fill(size):
            continue  # a number may continue
        if is_too_deep(value):
            raise buffer.fault("values nested too deeply")
        buffer.position = end
        return value
