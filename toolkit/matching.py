"""Ids that two files write in different ways: `a.mp4` and `a`, `1` and `0001`. Only a single candidate is taken.

A name is a tuple of parts, such as (video_id, clip_id) or the folders and the stem of a path.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from fmltk.toolkit.clip import WHOLE, split_utterance_id, without_ending
from fmltk.toolkit.io.cells import clean_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

Name: TypeAlias = tuple[str, ...]
Form: TypeAlias = tuple[Name, int]  # a name, and how many of its last parts must be in what it means: not its folders
_EXAMPLES = 2


def as_number(part: str) -> str:
    """Return a whole number without what spreadsheets add or take away: 1.0 and 0001 are 1.

    >>> as_number("0001"), as_number("a01")
    ('1', 'a01')
    """
    digits = re.fullmatch(r"([0-9]+)(\.0+)?", part)
    return part if digits is None else digits[1].lstrip("0") or "0"


# The parts that are left out of a name step by step, and a message's words for it.
_STEPS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("spaces and invisible characters are left out", clean_id),
    ("endings such as .mp4 and folders are left out", without_ending),
    ("numbers are compared as numbers (1, 1.0, 0001)", as_number),
    ("upper and lower case are the same", str.casefold),
)


_FILE_STEP = 1


@dataclass(frozen=True)
class Matches:
    """The fate of names that another file writes in another way.

    Attributes
    ----------
    found
        By name that was looked for, the one name that is meant.
    several
        By name that was looked for, the names that it may be, where there are several, or where it is not the only one
        that may be this name.
    notes
        The remarks on those that were found, one line per way of writing.
    """

    found: Mapping[Name, Name] = field(default_factory=dict)
    several: Mapping[Name, Sequence[Name]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def path_form(path: str) -> Form:
    r"""Return the folders and the name without its ending that a path is made of, on any system.

    >>> path_form("C:\\clips\\a.mp4"), path_form("talk.v2")
    ((('C:', 'clips', 'a'), 1), (('talk.v2',), 1))
    """
    *folders, name = _parts(path) or [""]
    return (*folders, without_ending(name)), 1


def id_form(video_id: str, clip_id: str) -> Form:
    """Return the parts of a clip's id; a video that is one clip has one, and the folders that were written with it.

    >>> id_form("videos/a.mp4", "0"), id_form("a", "3")
    ((('videos', 'a.mp4'), 1), (('a', '3'), 2))
    """
    if not video_id:  # of an id that is one word
        return (clip_id,), 1
    parts = tuple(_parts(video_id)) or (video_id,)
    return (parts, 1) if clip_id == WHOLE else ((*parts, clip_id), 2)


def _parts(path: str) -> list[str]:
    return [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]


def match_names(wanted: Mapping[Name, Sequence[Form]], known: Iterable[Name], *, by_file_name: bool = False) -> Matches:
    """Return which known name each wanted one means, where there is one candidate on both sides.

    Parameters
    ----------
    wanted
        Names that are not known ones as they are written, each with what it may stand for, the best first.
    by_file_name
        Whether the wanted names are paths, whose last part alone may name a file that lies in a folder.

    >>> match_names({("a.mp4",): [id_form("a.mp4", "0")], ("1",): [id_form("1", "0")]}, [("a",), ("0001",)]).found
    {('a.mp4',): ('a',), ('1',): ('0001',)}
    """
    if not wanted:
        return Matches()
    names = list(dict.fromkeys(known))
    found: dict[Name, Name] = {}
    several: dict[Name, list[Name]] = {}
    # A whole name goes before the end of one: Film 3/12.mp4 is not in doubt because 12.mp4 may be it as well.
    for of_ends in (False, True) if by_file_name else (False,):
        for key in (str, _plain):
            others = {name: forms for name, forms in wanted.items() if name not in found and name not in several}
            taken = set(found.values())
            alike, doubtful = _single(others, [name for name in names if name not in taken], key, of_ends=of_ends)
            found |= alike
            several |= doubtful
    return Matches(found, several, _notes(found, by_file_name=by_file_name))


def _plain(part: str) -> str:
    """Return a part of a name without all in which two files may write it differently."""
    for _, step in _STEPS:
        part = step(part)
    return part


def _single(
    wanted: Mapping[Name, Sequence[Form]], known: Sequence[Name], key: Callable[[str], str], *, of_ends: bool
) -> tuple[dict[Name, Name], dict[Name, list[Name]]]:
    """Return the names with one candidate that no other name has, and those that have several or share theirs.

    of_ends : whether the known names may have more folders, instead of the wanted ones
    """
    by_parts: defaultdict[Name, list[Name]] = defaultdict(list)
    for name in known:
        parts = tuple(map(key, name))
        for n_parts in range(1, len(parts)) if of_ends else (len(parts),):
            by_parts[parts[len(parts) - n_parts :]].append(name)
    candidates = {name: _candidates(forms, by_parts, key, whole=of_ends) for name, forms in wanted.items()}
    claims = Counter(one for meant in candidates.values() for one in meant)
    found = {name: meant[0] for name, meant in candidates.items() if len(meant) == 1 and claims[meant[0]] == 1}
    return found, {name: meant for name, meant in candidates.items() if meant and name not in found}


def _candidates(
    forms: Sequence[Form], by_parts: Mapping[Name, list[Name]], key: Callable[[str], str], *, whole: bool
) -> list[Name]:
    """Return the names that the first form with any may mean; whole: no folder of a form is left out."""
    for form, n_needed in forms:
        parts = tuple(map(key, form))
        for n_left_out in range(1 if whole else len(parts) - n_needed + 1):  # folders that the known names lack
            meant = by_parts.get(parts[n_left_out:])
            if meant:
                return meant
    return []


def _notes(found: Mapping[Name, Name], *, by_file_name: bool) -> tuple[str, ...]:
    """Return a line per way of writing; that the name of a file has its ending and folders needs none."""
    by_step: defaultdict[int, list[str]] = defaultdict(list)
    for name, meant in found.items():
        if name == meant:
            continue
        by_step[_step(name, meant)].append(f"{'/'.join(name)!r} is {'/'.join(meant)!r}")
    return tuple(
        f"{len(cases)} {'ids match' if len(cases) > 1 else 'id matches'} once {_STEPS[step][0]}: "
        + ", ".join(cases[:_EXAMPLES])
        + (", ..." if len(cases) > _EXAMPLES else "")
        for step, cases in sorted(by_step.items())
        if not by_file_name or step != _FILE_STEP
    )


def _step(name: Name, meant: Name) -> int:
    """Return after which step two names are the same."""
    n_parts = min(len(name), len(meant))
    for number, (_, step) in enumerate(_STEPS):
        name, meant = tuple(map(step, name)), tuple(map(step, meant))
        if name[-n_parts:] == meant[-n_parts:] and (number or len(name) == len(meant)):
            return number
    return _FILE_STEP


def align_ids(
    utterances: Collection[str], clips: Collection[str], *, by_file_name: bool = False
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return which of these clips is meant by an id that is written otherwise, and what is said of it.

    by_file_name : whether the ids are names of files, whose folders may be left out

    >>> align_ids(["v$_$1", "v$_$2"], ["v$_$0001", "v$_$2"])[0]
    {'v$_$1': 'v$_$0001'}
    """
    own, others = set(utterances), set(clips)
    known = {_parts_of(utterance): utterance for utterance in clips}
    written = {_parts_of(utterance): utterance for utterance in utterances if utterance not in others}
    free = [name for name, utterance in known.items() if utterance not in own]
    forms = {name: [id_form(*split_utterance_id(utterance))] for name, utterance in written.items()}
    matches = match_names(forms, free, by_file_name=by_file_name)
    return {written[name]: known[meant] for name, meant in matches.found.items()}, matches.notes


def _parts_of(utterance: str) -> Name:
    video_id, clip_id = split_utterance_id(utterance)
    if not video_id:
        return (clip_id,)
    return (video_id,) if clip_id == WHOLE else (video_id, clip_id)
