"""Files that hold the same bytes under two ids: a copy under a second name counts twice in every result."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.io.files import open_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.clip_list import ClipList

_BLOCK_BYTES = 1 << 16


def same_content(clips: ClipList) -> Iterator[tuple[Clip, Clip]]:
    """Yield (clip, first) for each clip whose file has the bytes of an earlier clip's file.

    Several clips of one file are not copies, and excluded clips do not count. Only files of one size are read, and of
    these first their beginnings. Files in a store are not compared: each would have to be fetched.
    """
    by_size: defaultdict[int, dict[Path, Clip]] = defaultdict(dict)
    sizes = np.fromiter(map(_size, clips.local_files(), clips.values("exclude_reason")), np.int64, len(clips))
    found, counts = np.unique(sizes[sizes > 0], return_counts=True)
    shared = np.isin(sizes, found[counts > 1])
    for number in map(int, np.flatnonzero(shared)):
        clip = clips[number]
        by_size[int(sizes[number])].setdefault(clip.file, clip)
    for alike in by_size.values():
        for begins_alike in _groups(alike, whole=False):
            for group in _groups(begins_alike, whole=True):
                first, *others = group.values()
                for other in others:
                    yield other, first


def _size(file: str, exclude_reason: str | None) -> int:
    """Return the size of a clip's file in bytes; 0 where it cannot be looked at, or does not take part."""
    if not file or exclude_reason is not None:
        return 0
    try:
        return os.stat(file).st_size  # noqa: PTH116 - making a Path takes longer than the question
    except (OSError, ValueError):
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
