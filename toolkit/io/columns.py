"""Which column of a table is which field, by the names of `table_kinds`; times also by their units.

A name counts whatever its case, and with or without spaces, underscores, hyphens and brackets: "Start (ms)" is
`start_ms`. No column is left out without a word: what is read and what is not is said, and a column that is not read
but resembles one that would be stops the command.
"""

from __future__ import annotations

import functools
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.table_kinds import IDS, LONE_IDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from fmltk.toolkit.errors import MakeError
    from fmltk.toolkit.io.table_kinds import TableKind

_TIME_NAMES = {
    "start": (
        "start starttime timestart begin begintime timebegin beginning onset from starttimestamp tstart tmin "
        "beginn anfang von 开始 开始时间 起始时间"
    ),
    "end": (
        "end endtime timeend stop stoptime finish finishtime to endtimestamp tend tmax ending ende bis 结束 结束时间"
    ),
    "duration": "duration dur length dauer länge",
    "offset": "offset offsettime",  # of a start in some files, of an end in others
}
_TIME_UNITS = {
    "s": " s sec secs second seconds insec insecs inseconds hhmmss hms hhmmssmmm hhmmssms ssmsec",  # and no unit at all
    "ms": "ms msec msecs millisecond milliseconds millis inms inmilliseconds",
    "frames": "frame frames frameno framenumber frameindex frameid inframes",
    "other": "us usec microseconds ns nanoseconds min mins minute minutes h hr hours samples sample ticks",
}
_UNIT_WORDS = {
    "frames": "counts video frames, which differ from file to file",
    "other": "has a unit that is neither seconds nor milliseconds",
}
_TIMES = {
    name: (base, unit)
    for unit, endings in _TIME_UNITS.items()
    for base, words in _TIME_NAMES.items()
    for word in words.split()
    for ending in endings.split(" ")
    for name in ((f"{word}{ending}", f"{ending}{word}") if unit in ("ms", "frames") else (f"{word}{ending}",))
}
_LONE_TIMES = "time times timestamp timestamps timecode timecodes timerange timespan interval"
# A name that contains one of these is likely to be this field, such as "Spoken Text" or "start of clip".
_TELLING_WORDS = {
    "text": ("text", "transcript", "utterance", "sentence", "subtitle", "caption"),
    "start": ("start", "begin", "onset"),
    "end": ("endtime", "timeend", "endof", "offset", "stoptime"),
}
_LONGEST = 40  # of a column's name
_SHORTEST = 3  # of a name that may resemble another, which has one letter more at least
_LONG = 9  # in a name of so many letters two may be wrong


@functools.lru_cache(maxsize=65_536)
def folded(name: str) -> str:
    """Return a column's name without what people write in different ways: case, spaces, underscores, brackets.

    >>> folded("Start_Time [s]"), folded("clip-ID")
    ('starttimes', 'clipid')
    """
    return "".join(one for one in unicodedata.normalize("NFKC", name).casefold() if one.isalnum())


@dataclass(frozen=True)
class Columns:
    """Which column of a table is which field.

    Attributes
    ----------
    table
        The file's name, for messages.
    used
        By field, the column's name as written.
    unused
        The columns that are not read.
    """

    table: str
    used: Mapping[str, str]
    unused: tuple[str, ...] = ()

    def fields(self, row: Mapping[str, str]) -> dict[str, str]:
        """Return a row's cells by field; a column that the row lacks is left out."""
        return {name: row[column] for name, column in self.used.items() if column in row}

    def note(self) -> str:
        """Return one line for people: what the columns are read as, and which are not read."""
        own = [name for name, column in self.used.items() if column == name]
        others = [f"{column!r} as {_with_unit(name, column)}" for name, column in self.used.items() if column != name]
        read = f"{self.table}: read {', '.join([*own, *others]) or 'no column'}"
        unused = ", ".join(repr(name) if name else "one without a name" for name in self.unused)
        return f"{read}; not read: {unused}" if unused else read


def find_columns(
    kind: TableKind,
    header: Sequence[str],
    *,
    table: str,
    ignored: Collection[str] | None = None,
    error: MakeError = ConfigError,
) -> Columns:
    """Return which column of a table is which field.

    ignored : names of columns that the user leaves out; None where the command does not let them

    Raises `error` if two columns may be one field, times are in a unit that is not read, or a column that is not read
    resembles one that would be.

    >>> from fmltk.toolkit.io.table_kinds import TRANSCRIPTS
    >>> find_columns(TRANSCRIPTS, ["Filename", "Transcript", "Start (ms)", "Mood"], table="t.csv").note()
    "t.csv: read 'Filename' as file, 'Transcript' as text, 'Start (ms)' as start_ms; not read: 'Mood'"
    """
    search = _Search(kind, header, ignored, table, error)
    for names in ({}, {name: folded(name) for name in kind.fields}, kind.fields, kind.weak):
        for one in kind.fields:
            search.claim(one, names.get(one, "").split())
    ids = {"video_id", "utterance_id", "file", "path"}
    if ids.isdisjoint(search.used) and "utterance_id" in kind.fields:
        if "clip_id" in search.used:  # a clip without a video: the name of a file
            search.used["path" if "path" in kind.fields else "file"] = search.used.pop("clip_id")
        else:
            search.claim("utterance_id", LONE_IDS)
    if kind.times:
        search.claim_times()
    if not kind.has_others:
        search.refuse_resembling()
    return Columns(table, search.used, tuple(name for name in header if name not in search.used.values()))


def are_names(kind: TableKind, cells: Iterable[str]) -> bool:
    """Whether a row's cells are names of columns: of two fields at least, and most of them of columns that are known.

    A row that has a number or a long text holds values.

    >>> from fmltk.toolkit.io.table_kinds import TRANSCRIPTS
    >>> are_names(TRANSCRIPTS, ["File name", "Transcript", "Mood"]), are_names(TRANSCRIPTS, ["clip", "text", "a", "b"])
    (True, False)
    """
    filled = [cell.strip() for cell in cells if cell.strip()]
    if any(len(cell) > _LONGEST or not any(map(str.isalpha, cell)) for cell in filled):
        return False
    words = [word for cell in filled if len(word := folded(cell)) >= _SHORTEST]  # ids may be t, a or v
    fields = {one: {folded(one), *names.split(), *kind.weak.get(one, "").split()} for one, names in kind.fields.items()}
    n_fields = sum(not names.isdisjoint(words) for names in fields.values())
    known = set().union(*fields.values(), kind.unread.split(), _TIMES if kind.times else ())
    return n_fields > 1 and 2 * sum(word in known for word in words) > len(filled)


@dataclass
class _Search:
    """The fields of a table's columns, as far as they are found."""

    kind: TableKind
    header: Sequence[str]
    ignored: Collection[str] | None
    table: str
    error: MakeError
    used: dict[str, str] = field(default_factory=dict)

    def free(self) -> list[str]:
        """Return the columns that are not a field yet, nor left out by the user."""
        taken = set(self.used.values())
        ignored = {folded(name) for name in self.ignored or ()}
        return [name for name in self.header if name and name not in taken and folded(name) not in ignored]

    def claim(self, one: str, names: Collection[str]) -> None:
        """Take the column that has one of the folded names, or, where there are none, the field's own."""
        if one not in self.used:
            claims = [name for name in self.free() if (folded(name) in names if names else name == one)]
            if claims:
                self.used[one] = self._only(claims, one)

    def _only(self, claims: Sequence[str], one: str) -> str:
        if one in claims:
            return one
        if len(claims) > 1:
            self._refuse(claims, f"both may be {one}", f"name one of them {one}")
        return claims[0]

    def _refuse(self, columns: Sequence[str], fault: str, remedy: str) -> NoReturn:
        named = f"column{'s' if columns[1:] else ''} {' and '.join(map(repr, columns))}"
        way = "remove the column" if self.ignored is None else f"use --ignore-columns {columns[-1]!r}"
        raise self.error(f"{self.table}: the {named} {fault}; {remedy}, or {way}")

    def claim_times(self) -> None:
        """Take the columns that say when a clip starts and ends, each in seconds or in milliseconds."""
        found: dict[tuple[str, str], list[str]] = {}
        for name in self.free():
            if folded(name) in _TIMES:
                found.setdefault(_TIMES[folded(name)], []).append(name)
        self._claim_time("start", found)
        self._claim_time("end", found)
        has_start, has_end = self._has("start"), self._has("end")
        has_duration = any(base == "duration" for base, _ in found)
        offsets = [name for (base, _), names in found.items() if base == "offset" for name in names]
        if offsets and has_start and not has_end and not has_duration:
            self._claim_time("end", found, written="offset")
        elif offsets and not has_start and not has_end:
            if not has_duration:
                self._refuse(offsets, "may be where clips start or end", "name it start_s or end_s")
            self._claim_time("start", found, written="offset")
        if self._has("start") and not self._has("end"):
            self._claim_time("duration", found)
        lone = [name for name in self.free() if folded(name) in _LONE_TIMES.split()]
        if lone and not self._has("start"):
            self._refuse(lone, "may say when clips start and end", "give the columns start_s and end_s")

    def _has(self, base: str) -> bool:
        return f"{base}_s" in self.used or f"{base}_ms" in self.used

    def _claim_time(self, base: str, found: Mapping[tuple[str, str], Sequence[str]], *, written: str = "") -> None:
        for unit in ("s", "ms"):
            claims = found.get((written or base, unit))
            if claims and not self._has(base):
                self.used[f"{base}_{unit}"] = self._only(claims, f"{base}_{unit}")
        for unit, words in _UNIT_WORDS.items():
            claims = found.get((written or base, unit))
            if claims and not self._has(base):
                self._refuse(claims[:1], words, f"give {base}_s in seconds or {base}_ms")

    def refuse_resembling(self) -> None:
        """Refuse a column that is not read, but is almost the name of a field that no column is."""
        known = set(self.kind.unread.split())
        wanted = {name: one for one in self._open_fields() for name in (folded(one), *self.kind.fields[one].split())}
        if self.kind.times:
            times = [(name, base) for name, (base, unit) in _TIMES.items() if unit in ("s", "ms")]
            wanted |= {name: f"{base}_s" for name, base in times if base in ("start", "end") and not self._has(base)}
        for column in self.free():
            name = folded(column)
            if len(name) < _SHORTEST or name in known or name in _TIMES:
                continue
            similar = _resembled(name, wanted)
            if similar is not None:
                meant = wanted[similar]
                words = meant if similar == folded(meant) else f"{similar} ({meant})"
                self._refuse([column], f"is not read, but resembles {words}", f"name it {meant}")

    def _open_fields(self) -> Iterator[str]:
        """Yield the fields that no column is and that the table could use: one way to name clips is enough."""
        has_ids = not {"utterance_id", "file", "path"}.isdisjoint(self.used)
        for one in self.kind.fields:
            needless = (has_ids or "video_id" in self.used) and one in IDS
            if one == "clip_id":  # tells the parts of a file from each other
                needless = "utterance_id" in self.used
            if one not in self.used and not needless:
                yield one


def _with_unit(name: str, column: str) -> str:
    """Return a field's name, with the unit that is taken where the column's own name has none."""
    base, _, unit = name.rpartition("_")
    words = set(" ".join(_TIME_NAMES.values()).split())
    return f"{name} (in seconds)" if unit == "s" and base in _TIME_NAMES and folded(column) in words else name


def _resembled(name: str, wanted: Collection[str]) -> str | None:
    """Return the first of the wanted names that a column's folded name is almost, or contains a word of."""
    near = next((one for one in wanted if len(one) > _SHORTEST and _is_near(name, one)), None)
    return near or next(
        (one for one, words in _TELLING_WORDS.items() if one in wanted and any(word in name for word in words)), None
    )


def _is_near(name: str, known: str) -> bool:
    allowed = 1 + (len(known) >= _LONG)
    may_be = abs(len(name) - len(known)) <= allowed and len(set(name) ^ set(known)) <= 2 * allowed  # most names are not
    return may_be and _n_typos(name, known) <= allowed


def _n_typos(one: str, other: str) -> int:
    """Return how many letters are missing, added, wrong or exchanged with the next.

    >>> _n_typos("strat", "start"), _n_typos("txt", "text"), _n_typos("mood", "text")
    (1, 1, 4)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one):
        last, before, row = before, row, [i + 1]
        for j, wanted in enumerate(other):
            best = min(before[j + 1] + 1, row[j] + 1, before[j] + (letter != wanted))
            if i and j and letter == other[j - 1] and one[i - 1] == wanted:
                best = min(best, last[j - 1] + 1)
            row.append(best)
    return row[-1]
