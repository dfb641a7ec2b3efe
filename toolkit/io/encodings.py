"""Text files in the encodings that occur in the field: the one way to find an encoding, and to read text by it."""

from __future__ import annotations

import codecs
import contextlib
import functools
import io
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.files import cannot_read, open_file

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from typing import BinaryIO, TextIO

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.paths import AnyPath

MAX_LINE_CHARS = 64 << 20  # a file without a line end would otherwise be held whole in memory
_BLOCK_BYTES = 1 << 20
_HIGH_BYTES = bytes(range(0x80, 0x100))
_SAMPLE_BYTES = 4096  # the beginning, which tells byte order marks and UTF-16
_FEW_ZEROS = 64  # UTF-16 has more zero bytes than one in so many; fewer are stray ones in a text of one byte a letter
_MANY_ZEROS = 8  # what has more zero bytes than one in so many is not a text with stray ones
# GB2312 holds nearly every Chinese character in use; its rows up to 0xD7 the common ones (level 1), sorted by sound.
_LAST_COMMON_ROW = b"\xd7"
_COMMON_SHARE = 0.5
_ASCII_TEXT = frozenset([*b"\t\n\r", *range(0x20, 0x7F)])
_JUDGED_BYTES = 16_384  # of lines that hold more than ASCII
_DAMAGED_SHARE = 0.25  # of the characters beyond ASCII; a text in another encoding has far more that are not UTF-8
_FEW_GOOD = 4  # characters that are UTF-8 in fewer places may be so by chance
_NAMED_LINES = 5
_WRITING = {
    "gb18030": "Chinese", "big5hkscs": "traditional Chinese", "cp932": "Japanese", "euc_jp": "Japanese",
    "cp949": "Korean", "cp1252": "Western European", "iso8859_15": "Western European", "mac_roman": "Western European",
    "cp850": "Western European", "cp1250": "Central European", "iso8859_2": "Central European",
    "cp852": "Central European", "mac_latin2": "Central European", "cp1257": "Baltic", "cp1254": "Turkish",
    "iso8859_3": "Esperanto", "cp1258": "Vietnamese", "cp1251": "Cyrillic", "koi8_u": "Cyrillic", "cp866": "Cyrillic",
    "iso8859_5": "Cyrillic", "mac_cyrillic": "Cyrillic", "cp1253": "Greek", "cp1255": "Hebrew", "cp1256": "Arabic",
    "cp874": "Thai",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class FoundEncoding:
    """The encoding of a text: its codec, None where it is not clear.

    candidates : what it could be, likeliest first; damaged : the lines in which a text in UTF-8 is not UTF-8
    """

    codec: str | None
    candidates: tuple[str, ...] = ()
    damaged: tuple[int, ...] = ()


@dataclass(frozen=True)
class OpenText:
    """An open text file: the codec that it is read by, and its lines with their ends, which can be read once."""

    encoding: str
    lines: Iterator[str]


@contextmanager
def open_text(
    path: AnyPath,
    *,
    encoding: str | None = None,
    favoured: Collection[str] = (),
    newline: str = "",
    error: MakeError = ConfigError,
) -> Iterator[OpenText]:
    """Open a text file to be read line by line, in UTF-8, UTF-16 or a legacy encoding that is clear. Memory is bounded.

    encoding : the one to read by; None to recognise it
    favoured : see `find_encoding`
    newline : as in `open`: "" ends lines at \\n, \\r and \\r\\n, "\\n" at \\n alone

    Raises `error` if the file cannot be read, its encoding is not clear and `encoding` does not say which, or it holds
    a zero byte.
    """  # noqa: D301 - the line ends are written out
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open_file(path))
            found = find_encoding(file, favoured=favoured) if encoding is None else FoundEncoding(encoding)
            file.seek(0)
        except OSError as fault:
            raise error(cannot_read(path, fault)) from fault
        if found.codec is None:
            raise error(_unclear(path, found))
        try:
            text = stack.enter_context(io.TextIOWrapper(file, encoding=found.codec, newline=newline))
        except LookupError as fault:
            raise error(_not_in(path, found.codec, fault)) from fault
        yield OpenText(found.codec, _lines(text, path, found.codec, error))


def read_text(
    path: AnyPath, *, encoding: str | None = None, favoured: Collection[str] = (), error: MakeError = ConfigError
) -> str:
    """Return a text file's content, its line ends as written. Raises as `open_text` does, or if it is too long."""
    kept, n_chars = [], 0
    with open_text(path, encoding=encoding, favoured=favoured, error=error) as text:
        for line in text.lines:
            kept.append(line)
            n_chars += len(line)
            if n_chars > MAX_LINE_CHARS:
                raise error(f"{path} has more than {MAX_LINE_CHARS:,} characters; is it the right file?")
    return "".join(kept)


def find_encoding(file: BinaryIO, *, favoured: Collection[str] = ()) -> FoundEncoding:
    """Return the encoding of a text: utf-8, utf-16 (with or without -le, -be), or a legacy one (see `judge`).

    favoured : legacy codecs that something else speaks for, such as the language of the set

    The file is read to its end, a block at a time.

    >>> find_encoding(io.BytesIO("很好看的电影".encode("gb18030"))).codec
    'gb18030'
    """
    head = file.read(_SAMPLE_BYTES)
    if head.startswith(codecs.BOM_UTF8):
        return FoundEncoding("utf-8")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return FoundEncoding(None if "\0" in _head_text(head, "utf-16") else "utf-16")  # a zero character: it is UTF-32
    if b"\0" in head:
        found = _find_utf16(file, head)
        if found or head.count(0) * _MANY_ZEROS >= len(head):
            return FoundEncoding(found)  # else the line with the zero byte is named
    if _is_in(file, "utf-8"):
        return FoundEncoding("utf-8")
    damaged = _damaged_lines(file)
    if damaged:
        return FoundEncoding(None, damaged=damaged)
    from fmltk.toolkit.io.legacy import judge  # its tables take a tenth of a second, and most text is Unicode

    verdict = judge(lines_beyond_ascii(file), favoured=favoured)
    is_sure = verdict.codec is not None and _is_in(file, verdict.codec)
    return FoundEncoding(verdict.codec if is_sure else None, verdict.candidates)


def lines_beyond_ascii(file: BinaryIO, *, most: int = _JUDGED_BYTES) -> bytes:
    """Return the lines of a file that hold more than ASCII, about `most` bytes: what an encoding is judged by."""
    file.seek(0)
    kept = b""
    while len(kept) < most and (line := file.readline(_BLOCK_BYTES)):
        if not line.isascii():
            part = line[: most - len(kept)]
            end = max(part.rfind(b" "), part.rfind(b","), part.rfind(b"."))  # never the second half of a character
            kept += line if len(part) == len(line) or end < 0 else line[: end + 1]
    return kept


def encoding_of(path: AnyPath, *, favoured: Collection[str] = (), error: MakeError = ConfigError) -> FoundEncoding:
    """Return the encoding of a text file (see `find_encoding`). Raises `error` if the file cannot be read."""
    try:
        with open_file(path) as file:
            return find_encoding(file, favoured=favoured)
    except OSError as fault:
        raise error(cannot_read(path, fault)) from fault


def lines_of(path: AnyPath, *, most: int) -> bytes:
    """Return the lines of a text file that hold more than ASCII, about `most` bytes; nothing if it cannot be read."""
    with contextlib.suppress(OSError), open_file(path) as file:
        return lines_beyond_ascii(file, most=most)
    return b""


def is_legacy(codec: str) -> bool:
    """Whether a codec is one of those that are recognised by what the text says."""
    return codec in _WRITING


def encoding_remark(path: AnyPath) -> str | None:
    """Return what to say of a text file whose encoding is recognised by its text; None for Unicode."""
    with contextlib.suppress(OSError), open_file(path) as file:
        codec = find_encoding(file).codec
        if codec is not None and is_legacy(codec):
            return f"{path.name} is read as {named_codec(codec)}; if that is wrong, give --encoding"
    return None


def named_codec(codec: str) -> str:
    """Return a codec's name with what is written in it, as `cp1252 (Western European)`."""
    return f"{codec} ({_WRITING[codec]})"


def _lines(text: TextIO, path: AnyPath, codec: str, error: MakeError) -> Iterator[str]:
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
        raise error(_not_in(path, codec, fault)) from fault
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


def _damaged_lines(file: BinaryIO) -> tuple[int, ...]:
    """Return the numbers of the lines that are not UTF-8 in a file that else is; none where it is another encoding."""
    file.seek(0)
    lines: list[int] = []
    n_good = n_bad = 0
    for number, line in enumerate(iter(functools.partial(file.readline, _BLOCK_BYTES), b""), start=1):
        text = line.decode("utf-8", "replace")
        bad = text.count("\ufffd") - line.count("\ufffd".encode())
        n_bad += bad
        n_good += len(text) - bad - len(line.translate(None, _HIGH_BYTES))
        if bad:
            lines.append(number)
    return tuple(lines) if n_good >= _FEW_GOOD and n_bad <= _DAMAGED_SHARE * n_good else ()


def _gb2312_row(letter: str) -> bytes:
    """Return the first byte of a character in GB2312; nothing where it is not in it."""
    return letter.encode("gb2312", "ignore")[:-1]


def _unclear(path: AnyPath, found: FoundEncoding) -> str:
    if found.damaged:
        named = ", ".join(map(str, found.damaged[:_NAMED_LINES]))
        more = f" and {len(found.damaged) - _NAMED_LINES} more" if len(found.damaged) > _NAMED_LINES else ""
        return f"{path} is UTF-8, but damaged in line {named}{more}; write these lines again and save the file as UTF-8"
    cure = "save it as UTF-8 or, where the command has --encoding, name it"
    if found.candidates:
        could_be = " or ".join(map(named_codec, found.candidates[:3]))
        return (
            f"the encoding of {path} is not clear: it could be {could_be}; {cure} "
            f"(for example --encoding {found.candidates[0]})"
        )
    return f"the encoding of {path} is not one that fmltk knows; {cure} (for example --encoding cp1252)"


def _not_in(path: AnyPath, encoding: str, fault: Exception) -> str:
    return f"{path} is not {encoding} text ({fault})"
