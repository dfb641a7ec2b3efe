"""Numbers with their nouns, as messages say them."""

from __future__ import annotations


def counted(n: int, one: str, many: str | None = None) -> str:
    """Return a number and what it counts, with the verb where one follows; many: by default `one` with an s.

    >>> counted(1, "clip"), counted(20, "clip"), counted(1, "clip has", "clips have")
    ('1 clip', '20 clips', '1 clip has')
    """
    return f"{n} {one if n == 1 else many or f'{one}s'}"
