"""The clips of a feature folder as a test holds them: a few, in a list."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmltk.toolkit.run.assemble import Entries, Entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


class HeldEntries(Entries):
    """Clips in a list."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries = list(entries)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)
