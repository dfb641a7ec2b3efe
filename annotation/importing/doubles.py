"""Clips and annotators that are probably one, under two spellings: what an import says of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fmltk.annotation.raters import PSEUDONYM_DIGITS
from fmltk.toolkit.counted import counted
from fmltk.toolkit.matching import as_number

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Sequence, Set
    from typing import TypeVar

    _T = TypeVar("_T")


def zeros_remarks(ids: Iterable[tuple[str, str, str]]) -> list[str]:
    """Return what is to be said of clips (utterance_id, video_id, clip_id) whose numbers differ by leading zeros alone.

    >>> zeros_remarks([("v$_$1", "v", "1"), ("v$_$01", "v", "01")])[0][:58]
    "1 clip has two ids that differ only by zeros, such as 'v$_"
    """
    twice = _alike(ids, lambda one: (as_number(one[1]), as_number(one[2])))
    if not twice:
        return []
    first, second = twice[0][0][0], twice[0][1][0]
    have = counted(len(twice), "clip has", "clips have")
    return [
        f"{have} two ids that differ only by zeros, such as {first!r} and {second!r}, and count as two clips each; a "
        "spreadsheet removes leading zeros: write the ids alike (columns as text), then import again with --overwrite"
    ]


def people_remarks(names: Iterable[str]) -> list[str]:
    """Return what is to be said of annotators whose names differ by case, spaces and zeros alone.

    >>> people_remarks(["ann", "Ann", "bob"])[0][:46]
    "annotators 'Ann' and 'ann' count as two people"
    """
    twice = _alike(sorted(names), folded_person)
    if not twice:
        return []
    first, second = twice[0][:2]
    others = f" (and {len(twice) - 1} more such names)" if len(twice) > 1 else ""
    return [
        f"annotators {first!r} and {second!r} count as two people{others}; if they are one, write the name alike in "
        "all files or give --raters, and import again with --overwrite"
    ]


def folded_person(name: str) -> str:
    """Return an annotator's name without what two files may write differently: case, outer spaces, a number's zeros.

    >>> folded_person("ANN "), folded_person("07"), folded_person("7.0")
    ('ann', '7', '7')
    """
    return as_number(name.strip()).casefold()


def mixed_remarks(people: Sequence[Set[str]]) -> list[str]:
    """Return what is to be said where the annotators of one file are numbers and those of another are addresses.

    >>> len(mixed_remarks([{"3", "4"}, {"rater-0123456789"}])), mixed_remarks([{"3"}, {"ann"}])
    (1, [])
    """
    numbers = [names for names in people if names and all(map(_is_number, names))]
    addresses = [names for names in people if names and all(map(_is_address, names))]
    if not numbers or not addresses:
        return []
    return [
        f"one file names its annotators by numbers, such as {min(numbers[0])}, and another by e-mail addresses: one "
        "person counts as two; give --raters a table with the columns id and rater, with both ids of each person, and "
        "import again with --overwrite"
    ]


def _is_number(name: str) -> bool:
    return name.rpartition(":")[2].isdecimal()


def _is_address(name: str) -> bool:
    return "@" in name or bool(re.fullmatch(rf"rater-[0-9a-f]{{{PSEUDONYM_DIGITS}}}", name))


def _alike(found: Iterable[_T], key: Callable[[_T], Hashable]) -> list[list[_T]]:
    """Return those that have a key in common, together."""
    groups: dict[Hashable, list[_T]] = {}
    for one in found:
        groups.setdefault(key(one), []).append(one)
    return [group for group in groups.values() if len(group) > 1]
