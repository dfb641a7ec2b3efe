"""Files that hold the same bytes under two ids: a copy under a second name counts twice in every result."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.io.files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmltk.toolkit.clip import Clip

_BLOCK_BYTES = 1 << 16


def same_content(clips: Iterable[Clip]) -> Iterator[tuple[Clip, Clip]]:
    """Yield (clip, first) for each clip whose file has the bytes of an earlier clip's file.

    Several clips of one file are not copies, and excluded clips do not count. Only files of one size are read, and of
    these first their beginnings. Files in a store are not compared: each would have to be fetched.
    """
    by_size: defaultdict[int, dict[Path, Clip]] = defaultdict(dict)
    taking_part = [clip for clip in clips if isinstance(clip.path, Path) and clip.exclude_reason is None]
    sizes = np.fromiter(map(_size, taking_part), np.int64, len(taking_part))
    found, counts = np.unique(sizes[sizes > 0], return_counts=True)
    shared = np.isin(sizes, found[counts > 1])
    for number in np.flatnonzero(shared):
        clip = taking_part[number]
        by_size[int(sizes[number])].setdefault(clip.file, clip)
    for alike in by_size.values():
        for begins_alike in _groups(alike, whole=False):
            for group in _groups(begins_alike, whole=True):
                first, *others = group.values()
                for other in others:
                    yield other, first


def _size(clip: Clip) -> int:
    """Return the size of a clip's file in bytes; 0 where it cannot be looked at."""
    try:
        return clip.file.stat().st_size
    except OSError:
        return 0


def _groups(files: dict[Path, Clip], *, whole: bool) -> list[dict[Path, Clip]]:
    """Return the groups of two files and more whose content, or its beginning, is the same."""
    groups: defaultdict[bytes, dict[Path, Clip]] = defaultdict(dict)
    for path, clip in files.items() if len(files) > 1 else ():
        digest = _digest(path, whole=whole)
        if digest:
            groups[digest][path] = clip
    return [group for group in groups.values() if len(group) > 1]


def _digest(path: Path, *, whole: bool) -> bytes:
    """Return the checksum of a file or of its first block; nothing where it cannot be read."""
    digest = hashlib.sha256()
    try:
        with open_file(path) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                if not whole:
                    break
    except OSError:
        return b""
    return digest.digest()
