"""Text files in the encodings that occur in the field."""

from __future__ import annotations

import codecs
import contextlib
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from fmltk.toolkit.io.paths import AnyPath

_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_SAMPLE = 4096  # bytes or characters that are looked at where the whole file is not needed
_FEW_ZEROS = 64  # UTF-16 has more zero bytes than one in so many; fewer are stray ones in a text of one byte a letter
# GB18030 is recognised by what Chinese looks like, since bytes of many other encodings can be read as it. Its oldest
# part, GB2312, holds nearly every character in use; its rows up to 0xD7 the common ones (level 1), sorted by sound.
_GB2312_SHARE = 0.9  # accented Latin letters beside plain ones fall outside GB2312
_COMMON_SHARE = 0.5  # pairs of accented Latin letters, and Cyrillic, fall into its rare part
_LAST_COMMON_ROW = b"\xd7"
# A longer text without one of these is Korean or Japanese in its own encoding. All lie beyond the rows of hangul.
_EVERYDAY = frozenset("是一我他有在这上说时中为也要下什样想着以")
_LONG_TEXT = 60  # characters: of 60 in Chinese prose, none of them everyday is a chance of 1 in 10,000


def read_text(path: AnyPath, *, encoding: str | None = None) -> str:
    """Return a text file's content; UTF-8, UTF-16 and GB18030 are recognised.

    Raises ConfigError if the file cannot be read, or is in none of these and `encoding` does not say which.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror or error}") from error
    return decode_text(data, name=str(path), encoding=encoding)


def decode_text(data: bytes, *, name: str, encoding: str | None = None) -> str:
    """Return `data` as text; `name` is the file that an error names.

    >>> decode_text("很好".encode("gb18030"), name="a.txt")
    '很好'
    """
    if encoding is not None:
        try:
            return data.decode(encoding).removeprefix("\ufeff")
        except (UnicodeError, LookupError) as error:
            raise ConfigError(f"{name} is not {encoding} text ({error}); give its encoding with --encoding") from error
    for bom, codec in _BOMS:
        if data.startswith(bom):
            return _decode_as(data, codec, name)
    if b"\0" in data[:_SAMPLE]:
        return _decode_utf16(data, name)
    if _is_utf8(data):
        return data.decode("utf-8")
    text = _decode_as(data, "gb18030", name)
    if not _is_chinese(text):
        raise _unknown_encoding(name)
    return text


def _decode_as(data: bytes, codec: str, name: str) -> str:
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        raise _unknown_encoding(name) from error
    if "\0" in text[:_SAMPLE]:  # UTF-32, or no text at all
        raise _unknown_encoding(name)
    return text


def _decode_utf16(data: bytes, name: str) -> str:
    """Return UTF-16 without a byte order mark, in the order of bytes that gives more ASCII and Chinese."""
    if data.count(0) * _FEW_ZEROS < len(data) and _is_utf8(data):
        raise _unknown_encoding(name)
    found = []
    for codec in ("utf-16-le", "utf-16-be"):
        with contextlib.suppress(ConfigError):
            found.append(_decode_as(data, codec, name))
    if not found:
        raise _unknown_encoding(name)
    return max(found, key=lambda text: sum(one.isascii() or bool(_gb2312_row(one)) for one in text[:_SAMPLE]))


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _is_chinese(text: str) -> bool:
    """Whether a text that GB18030 can hold is Chinese, and not another encoding read as it."""
    foreign = [letter for letter in text if not letter.isascii()]
    rows = [_gb2312_row(letter) for letter in foreign[: 16 * _SAMPLE]]
    known, common = sum(map(bool, rows)), sum(b"" < row <= _LAST_COMMON_ROW for row in rows)
    if known < _GB2312_SHARE * len(rows) or common < _COMMON_SHARE * len(rows):
        return False
    return len(foreign) < _LONG_TEXT or not _EVERYDAY.isdisjoint(foreign)


def _gb2312_row(letter: str) -> bytes:
    """Return the first byte of a character in GB2312; nothing where it is not in it."""
    return letter.encode("gb2312", "ignore")[:-1]


def _unknown_encoding(name: str) -> ConfigError:
    return ConfigError(
        f"the encoding of {name} is none of UTF-8, UTF-16 and GB18030; save it as UTF-8 or name it with --encoding "
        f"(for example --encoding cp1252)"
    )
