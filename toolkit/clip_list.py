"""Many clips in little memory, and where each stands among them."""

from __future__ import annotations

import itertools
from array import array
from typing import TYPE_CHECKING

from fmltk.toolkit.clip import Clip, utterance_id
from fmltk.toolkit.packed import PackedList

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_FREE = -1
_ROOM = 2  # slots per clip, at least


class ClipList(PackedList[Clip]):
    """Clips, which are made again when they are asked for, so that a million take little memory.

    >>> clips = ClipList(Clip("talk", f"{number:04d}", None) for number in (2, 1))
    >>> clips.find("talk$_$0001"), clips.find("talk$_$0003"), list(clips.in_order().utterance_ids())
    (1, None, ['talk$_$0001', 'talk$_$0002'])
    """

    def __init__(self, clips: Iterable[Clip] = ()) -> None:
        # A hash table of positions, which takes a sixth of a dict by id.
        self._hashes = array("q")
        self._slots = array("i", [_FREE] * _ROOM)
        self._n_found = 0
        super().__init__(clips)

    def utterance_ids(self) -> Iterator[str]:
        """Yield the id of each clip, without making the clips."""
        return map(utterance_id, self.values("video_id"), self.values("clip_id"))

    def local_files(self) -> Iterator[str]:
        """Yield the path of each clip's file on this machine, without making it; "" where there is none."""
        return self.texts_of_paths("path")

    def utterance_id(self, position: int) -> str:
        """Return the id of a clip, without making the clip."""
        return utterance_id(*self.row(position, "video_id", "clip_id"))

    def find(self, utterance: str) -> int | None:
        """Return the position of the first clip with that id; None if no clip has it."""
        self._enter_new()
        position = self._slots[self._slot(utterance)]
        return None if position == _FREE else position

    def n_ids(self) -> int:
        """Return how many ids the clips have: fewer than clips where several have one."""
        self._enter_new()
        return self._n_found

    def in_order(self) -> ClipList:
        """Return the clips sorted by id."""
        if all(before <= after for before, after in itertools.pairwise(self.utterance_ids())):
            return self
        ids = list(self.utterance_ids())
        return ClipList(self[position] for position in sorted(range(len(ids)), key=ids.__getitem__))

    def _enter_new(self) -> None:
        """Enter the clips that were added since this was last done."""
        n = len(self._hashes)
        if n < len(self):
            for utterance in map(self.utterance_id, range(n, len(self))) if n else self.utterance_ids():
                self._enter(utterance)

    def _enter(self, utterance: str) -> None:
        position, slot = len(self._hashes), self._slot(utterance)
        self._hashes.append(hash(utterance))
        if self._slots[slot] == _FREE:
            self._slots[slot] = position
            self._n_found += 1
        if _ROOM * self._n_found >= len(self._slots):
            self._grow()

    def _grow(self) -> None:
        held, size = self._slots, 2 * len(self._slots)
        self._slots = array("i", [_FREE]) * size
        for position in held:
            if position != _FREE:
                slot = self._hashes[position] % size
                while self._slots[slot] != _FREE:
                    slot = (slot + 1) % size
                self._slots[slot] = position

    def _slot(self, utterance: str) -> int:
        """Return the slot of the clip with that id, or the free one where it belongs."""
        number = hash(utterance)
        slot = number % len(self._slots)
        while (position := self._slots[slot]) != _FREE:
            if self._hashes[position] == number and self.utterance_id(position) == utterance:
                break
            slot = (slot + 1) % len(self._slots)
        return slot
