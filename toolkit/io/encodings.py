"""Text files in the encodings that occur in the field: the one way to find an encoding, and to read text by it."""

from __future__ import annotations

import codecs
import contextlib
import functools
import io
import re
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.files import cannot_read, open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO, TextIO

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath

MAX_LINE_CHARS = 64 << 20  # a file without a line end would otherwise be held whole in memory
_BLOCK_BYTES = 1 << 20
_SAMPLE_BYTES = 4096  # the beginning, which tells byte order marks and UTF-16
_FEW_ZEROS = 64  # UTF-16 has more zero bytes than one in so many; fewer are stray ones in a text of one byte a letter
_MANY_ZEROS = 8  # what has more zero bytes than one in so many is not a text with stray ones
# GB18030 is recognised by what Chinese looks like, since bytes of many other encodings can be read as it. Its oldest
# part, GB2312, holds nearly every character in use; its rows up to 0xD7 the common ones (level 1), sorted by sound.
_GB2312_SHARE = 0.9  # accented Latin letters next to plain ones fall outside GB2312
_COMMON_SHARE = 0.5  # pairs of accented Latin letters, and Cyrillic, fall into its rare part
_LAST_COMMON_ROW = b"\xd7"
_JUDGED_CHARS = 65_536  # how many characters these shares are taken of
# A longer text without one of these is Korean or Japanese in its own encoding. All lie beyond the rows of hangul.
_EVERYDAY = frozenset("是一我他有在这上说时中为也要下什样想着以")
_LONG_TEXT = 60  # characters: of 60 in Chinese prose, none of them everyday is a chance of 1 in 10,000
_ASCII_TEXT = frozenset([*b"\t\n\r", *range(0x20, 0x7F)])
_ASCII = re.compile(r"[\x00-\x7f]+")


@dataclass(frozen=True)
class OpenText:
    """An open text file: the codec that it is read by, and its lines with their ends, which can be read once."""

    encoding: str
    lines: Iterator[str]


@contextmanager
def open_text(
    path: AnyPath, *, encoding: str | None = None, newline: str = "", error: MakeError = ConfigError
) -> Iterator[OpenText]:
    """Open a text file to be read line by line; UTF-8, UTF-16 and GB18030 are recognised. Memory is bounded.

    encoding : the one to read by; None to recognise it
    newline : as in `open`: "" ends lines at \\n, \\r and \\r\\n, "\\n" at \\n alone

    Raises `error` if the file cannot be read, is in none of these encodings and `encoding` does not say which, or
    holds a zero byte.
    """  # noqa: D301 - the line ends are written out
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open_file(path))
            codec = encoding or find_encoding(file)
            file.seek(0)
        except OSError as fault:
            raise error(cannot_read(path, fault)) from fault
        if codec is None:
            raise error(_unknown_encoding(path))
        try:
            text = stack.enter_context(io.TextIOWrapper(file, encoding=codec, newline=newline))
        except LookupError as fault:
            raise error(_not_in(path, codec, fault)) from fault
        yield OpenText(codec, _lines(text, path, encoding, error))


def read_text(path: AnyPath, *, encoding: str | None = None, error: MakeError = ConfigError) -> str:
    """Return a text file's content, its line ends as written. Raises as `open_text` does, or if it is too long."""
    kept, n_chars = [], 0
    with open_text(path, encoding=encoding, error=error) as text:
        for line in text.lines:
            kept.append(line)
            n_chars += len(line)
            if n_chars > MAX_LINE_CHARS:
                raise error(f"{path} has more than {MAX_LINE_CHARS:,} characters; is it the right file?")
    return "".join(kept)


def find_encoding(file: BinaryIO) -> str | None:
    """Return the codec of a text: utf-8, utf-16 (with or without -le, -be) or gb18030; None where it is none of them.

    The file is read to its end, a block at a time.

    >>> find_encoding(io.BytesIO("很好".encode("gb18030")))
    'gb18030'
    """
    head = file.read(_SAMPLE_BYTES)
    if head.startswith(codecs.BOM_UTF8):
        return "utf-8"
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None if "\0" in _head_text(head, "utf-16") else "utf-16"  # a zero character: it is UTF-32
    if b"\0" in head:
        found = _find_utf16(file, head)
        if found or head.count(0) * _MANY_ZEROS >= len(head):
            return found  # else the line with the zero byte is named
    if _is_in(file, "utf-8"):
        return "utf-8"
    with contextlib.suppress(UnicodeDecodeError):
        return "gb18030" if _is_chinese(_blocks(file, "gb18030")) else None
    return None


def _lines(text: TextIO, path: AnyPath, encoding: str | None, error: MakeError) -> Iterator[str]:
    """Yield the lines of an open file; what goes wrong while reading becomes `error`."""
    read = functools.partial(text.readline, MAX_LINE_CHARS)
    try:
        for number, line in enumerate(iter(read, ""), start=1):
            if len(line) == MAX_LINE_CHARS:
                raise error(f"{path} line {number} has more than {MAX_LINE_CHARS:,} characters; is it a text file?")
            if "\0" in line:
                raise error(f"{path} line {number} holds a zero byte, which no text has; save the file as UTF-8")
            yield line.removeprefix("\ufeff") if number == 1 else line
    except UnicodeError as fault:
        raise error(_unknown_encoding(path) if encoding is None else _not_in(path, encoding, fault)) from fault
    except OSError as fault:
        raise error(cannot_read(path, fault)) from fault


def _find_utf16(file: BinaryIO, head: bytes) -> str | None:
    """Return UTF-16 without a byte order mark, in the order of bytes that gives more ASCII and Chinese."""
    if head.count(0) * _FEW_ZEROS < len(head) and _head_text(head, "utf-8"):
        return None
    heads = {codec: _head_text(head, codec) for codec in ("utf-16-le", "utf-16-be")}
    heads = {codec: text for codec, text in heads.items() if text and "\0" not in text and not _is_ascii_in_pairs(text)}
    found = [codec for codec in heads if _is_in(file, codec)]
    shares = {codec: sum(one.isascii() or bool(_gb2312_row(one)) for one in heads[codec]) for codec in found}
    return max(found, key=shares.__getitem__, default=None)


def _is_ascii_in_pairs(text: str) -> bool:
    """Whether what was read as UTF-16 is ASCII with a stray zero byte, two letters taken for one.

    Two letters of ASCII give any ideograph, few of which are common; most of Chinese is, and a quarter of it looks so.
    """
    pairs = [letter for letter in text if set(letter.encode("utf-16-be")) <= _ASCII_TEXT]
    n_common = sum(b"" < _gb2312_row(letter) <= _LAST_COMMON_ROW for letter in pairs)
    return len(pairs) * 2 > len(text) and n_common < _COMMON_SHARE * len(pairs)


def _head_text(head: bytes, codec: str) -> str:
    """Return the beginning of a file as text, "" where it is of another encoding; it may end inside a character."""
    try:
        return codecs.getincrementaldecoder(codec)().decode(head)
    except UnicodeDecodeError:
        return ""


def _blocks(file: BinaryIO, codec: str) -> Iterator[str]:
    """Yield a file's text, a block at a time. Raises UnicodeDecodeError where it is of another encoding."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(codec)()
    while block := file.read(_BLOCK_BYTES):
        yield decoder.decode(block)
    yield decoder.decode(b"", final=True)


def _is_in(file: BinaryIO, codec: str) -> bool:
    try:
        for _ in _blocks(file, codec):
            pass
    except UnicodeDecodeError:
        return False
    return True


def _is_chinese(blocks: Iterable[str]) -> bool:
    """Whether a text that GB18030 can hold is Chinese, and not another encoding read as it."""
    n_foreign = n_judged = n_known = n_common = 0
    has_everyday = False
    for block in blocks:
        foreign = _ASCII.sub("", block)
        rows = [_gb2312_row(letter) for letter in foreign[: _JUDGED_CHARS - n_judged]]
        n_foreign += len(foreign)
        n_judged += len(rows)
        n_known += sum(map(bool, rows))
        n_common += sum(b"" < row <= _LAST_COMMON_ROW for row in rows)
        has_everyday = has_everyday or not _EVERYDAY.isdisjoint(foreign)
    if n_known < _GB2312_SHARE * n_judged or n_common < _COMMON_SHARE * n_judged:
        return False
    return n_foreign < _LONG_TEXT or has_everyday


def _gb2312_row(letter: str) -> bytes:
    """Return the first byte of a character in GB2312; nothing where it is not in it."""
    return letter.encode("gb2312", "ignore")[:-1]


def _unknown_encoding(path: AnyPath) -> str:
    return (
        f"the encoding of {path} is none of UTF-8, UTF-16 and GB18030; save it as UTF-8 or, where the command has "
        "--encoding, name it (for example --encoding cp1252)"
    )


def _not_in(path: AnyPath, encoding: str, fault: Exception) -> str:
    return f"{path} is not {encoding} text ({fault})"
