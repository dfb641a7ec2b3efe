"""Tables of word vectors as text: GloVe's (a word, then its numbers) and fastText's (the same below a line of sizes).

Such a table may have gigabytes. It is read through once, for where each word stands; a word's numbers are read when the
word is met. So memory is 20 bytes a word, 44 MB for glove.840B.
"""

from __future__ import annotations

import codecs
import functools
import hashlib
import re
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.io.files import cannot_read, open_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

_SIZES = re.compile(rb"\s*(\d+)\s+(\d+)\s*")  # fastText's first line: how many words, how many numbers
_PACKED = ((b"\x1f\x8b", "gzip"), (b"PK\x03\x04", "zip"), (b"BZh", "bzip2"), (b"\xfd7zXZ", "xz"))
_LONGEST_LINE = 1 << 20  # bytes; 4,096 numbers have a tenth of it
_CASED_SHARE = 0.01  # of a table's words; the tables of lower-case text have none
_HASH_BYTES = 8
_CACHED_WORDS = 8192


@dataclass(frozen=True, eq=False)
class WordVectors:
    """A table of word vectors on this machine.

    Attributes
    ----------
    path
        The file.
    dimension
        How many numbers a word has.
    n_words, n_repeated
        How many lines of words there are, and how many of them have a word that was there before: the first counts.
    is_cased
        Whether the table has words in capitals: one in a hundred at least.
    sha256
        Digest of the file.
    hashes : uint64 (n,), ascending
        Hashes of the words.
    offsets : int64 (n,), rows : int32 (n,)
        The start of a word's line, in bytes, and which word of the table it is, counted from 0.
    """

    path: Path
    dimension: int
    n_words: int
    n_repeated: int
    is_cased: bool
    sha256: str
    hashes: NDArray[np.uint64]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int32]

    def find(self, word: str) -> int:
        """Return which word of the table this is, counted from 0; -1 where the table does not have it."""
        place = self._place(word)
        return -1 if place is None else int(self.rows[place])

    def _place(self, word: str) -> int | None:
        wanted = _hash(word.encode("utf-8", "replace"))
        place = int(np.searchsorted(self.hashes, np.uint64(wanted)))
        return place if place < len(self.hashes) and int(self.hashes[place]) == wanted else None

    def reader(self) -> Callable[[str], NDArray[np.float32]]:
        """Return the function of a word to its numbers, float32 (dimension,), which keeps those it met.

        It raises FeatureError where the file has changed or a number is none, KeyError for a word that is not there.
        """
        return functools.lru_cache(_CACHED_WORDS)(self._read)

    def _read(self, word: str) -> NDArray[np.float32]:
        place = self._place(word)
        if place is None:
            raise KeyError(word)
        try:
            with open_file(self.path) as file:
                file.seek(int(self.offsets[place]))
                line = file.readline(_LONGEST_LINE)
        except OSError as fault:
            raise FeatureError(cannot_read(self.path, fault)) from fault
        written, *numbers = line.rstrip().rsplit(b" ", self.dimension)
        if written != word.encode("utf-8", "replace"):
            raise FeatureError(f"{self.path.name} has changed since the run began; run the same command again")
        try:
            with np.errstate(over="ignore"):
                values = np.array(numbers, dtype=np.float32)
        except ValueError as fault:
            raise FeatureError(f"{self.path.name}: of the word {word!r}, {fault}; is the file damaged?") from fault
        if not np.isfinite(values).all():
            raise FeatureError(f"{self.path.name}: the word {word!r} has a number that is not finite; fetch it again")
        return values


def read_word_vectors(path: Path) -> WordVectors:
    """Read through a table of word vectors.

    Its first line says how many numbers a word has. A word may have spaces, as some of glove.840B have.

    Raises ConfigError if the file cannot be read, is packed or binary, or a line has too few numbers.
    """
    hashes, offsets = array("Q"), array("q")
    digest, n_cased, n_foreign, n_unreadable = hashlib.sha256(), 0, 0, 0
    try:
        with open_file(path) as file:
            line = file.readline(_LONGEST_LINE)
            _check_text(path, line)
            dimension, n_expected = _sizes(path, line)
            offset, number = 0, 1
            while line:
                if line.strip() and (number > 1 or n_expected is None):
                    word = _word(path, line, dimension, number)
                    hashes.append(_hash(word))
                    offsets.append(offset)
                    n_cased += word != word.lower()
                    n_foreign += not word.isascii()
                    n_unreadable += not _is_utf8(word)
                digest.update(line)
                offset, number = offset + len(line), number + 1
                line = file.readline(_LONGEST_LINE)
    except OSError as fault:
        raise ConfigError(f"word vectors: {cannot_read(path, fault)}") from fault
    if n_expected is not None and n_expected != len(hashes):
        raise ConfigError(
            f"{path} has {len(hashes):,} words, its first line says {n_expected:,}: it is cut off; fetch it again"
        )
    if n_unreadable > n_foreign / 2:
        raise ConfigError(
            f"{path} is not UTF-8: of {n_foreign:,} words with other letters than English, {n_unreadable:,} cannot be "
            "read; save it as UTF-8"
        )
    unique, first = np.unique(np.frombuffer(hashes, np.uint64), return_index=True)
    return WordVectors(
        path=path,
        dimension=dimension,
        n_words=len(hashes),
        n_repeated=len(hashes) - len(unique),
        is_cased=n_cased >= _CASED_SHARE * len(hashes),
        sha256=digest.hexdigest(),
        hashes=unique,
        offsets=np.frombuffer(offsets, np.int64)[first],
        rows=first.astype(np.int32),
    )


def _hash(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=_HASH_BYTES).digest(), "little")


def _check_text(path: Path, line: bytes) -> None:
    if not line.strip():
        raise ConfigError(f"{path} is empty, or begins with a blank line; expected a word and its numbers in each line")
    packed = next((name for start, name in _PACKED if line.startswith(start)), None)
    if packed:
        raise ConfigError(f"{path} is packed ({packed}); unpack it first")
    if line.startswith(codecs.BOM_UTF8):
        raise ConfigError(f"{path} begins with a byte order mark, which hides its first word; save it as plain UTF-8")
    if b"\0" in line or len(line) >= _LONGEST_LINE:
        raise ConfigError(
            f"{path} is not text; expected GloVe's text format or fastText's .vec: a word and its numbers in each line"
        )


def _sizes(path: Path, line: bytes) -> tuple[int, int | None]:
    """Return how many numbers a word has, and how many words fastText's first line says there are; None: GloVe's."""
    sizes = _SIZES.fullmatch(line)
    if sizes:
        return int(sizes[2]), int(sizes[1])
    if b"" in line.rstrip().split(b" "):
        raise ConfigError(
            f"{path} line 1 begins with a space, or has several between two numbers; expected a word and its numbers "
            "with one space between them"
        )
    dimension = line.rstrip().count(b" ")
    while dimension and not _is_number(line.rstrip().rsplit(b" ", dimension)[1]):  # the word has spaces
        dimension -= 1
    if not dimension:
        raise ConfigError(f"{path} line 1 has no number after a space; expected a word and its numbers in each line")
    return dimension, None


def _is_number(text: bytes) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _word(path: Path, line: bytes, dimension: int, number: int) -> bytes:
    line = line.rstrip()
    n_spaces = line.count(b" ")
    if n_spaces == dimension:
        return line.partition(b" ")[0]
    if n_spaces < dimension:
        raise ConfigError(
            f"{path} line {number} has {n_spaces} numbers, expected {dimension} as in the first: it is cut off, or not "
            "a table of word vectors; fetch it again"
        )
    word = line.rsplit(b" ", dimension)[0]
    last = word.split()[-1] if word.split() else b""
    if b"." in last and _is_number(last) and last != word:  # a word may have spaces, but does not end like a vector
        raise ConfigError(
            f"{path} line {number} has more numbers than the {dimension} that the first line has or says; it needs one "
            "word and its numbers in each line, with one space between them: fetch it again"
        )
    return word


def _is_utf8(word: bytes) -> bool:
    try:
        word.decode()
    except UnicodeDecodeError:
        return False
    return True
