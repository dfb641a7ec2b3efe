"""The names of a folder's shards by their keys, in less than half of the memory that a dict of them takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_START = 4  # digits of a key: names that begin alike are held as one text, so that a million are 65,536 objects


class ShardNames(MutableMapping[str, str]):
    """Shard names by key; a name begins with its key and a dot.

    >>> names = ShardNames()
    >>> names["3f0c9d2ab4e1f607"] = "3f0c9d2ab4e1f607.8d1e0b77a2c4d953-5b1a9fe2c0d47e38.0a1b.arrow"
    >>> len(names), names.get("3f0c9d2ab4e1f608")
    (1, None)
    """

    __slots__ = ("_alike", "_n")

    def __init__(self) -> None:
        self._alike: defaultdict[str, str] = defaultdict(str)  # "\n<name>\n<name>" by the first digits of their keys
        self._n = 0

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.get(key) is not None

    def __getitem__(self, key: str) -> str:
        name = self.get(key)
        if name is None:
            raise KeyError(key)
        return name

    def get(self, key: str, default: str | None = None) -> str | None:  # type: ignore[override]
        """Return the name of the shard with that key, or `default`."""
        alike = self._alike.get(key[:_START], "")
        at = alike.find(f"\n{key}.")
        return default if at < 0 else alike[at + 1 :].partition("\n")[0]

    def __setitem__(self, key: str, name: str) -> None:
        if key in self:
            del self[key]
        self._alike[key[:_START]] += f"\n{name}"
        self._n += 1

    def __delitem__(self, key: str) -> None:
        name, start = self[key], key[:_START]
        self._alike[start] = self._alike[start].replace(f"\n{name}", "")
        self._n -= 1

    def __iter__(self) -> Iterator[str]:
        for alike in self._alike.values():
            yield from (name.partition(".")[0] for name in alike.split("\n")[1:])

    def __len__(self) -> int:
        return self._n
