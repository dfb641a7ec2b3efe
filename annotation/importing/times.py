"""Points in time as exports and tables write them, with or without a zone."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING

from fmltk.toolkit.io.cells import is_missing, parse_time
from fmltk.toolkit.io.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

_UNIX_TIME = re.compile(r"[0-9]{9,13}(\.[0-9]*)?", re.ASCII)
_UNIX_MS_FROM = 1e11  # seconds reach this in the year 5138, milliseconds did in 1973
_SHOWN_CHARS = 40


# Remarks on times that leave something open, after how many there are.
_OPEN = {
    "twice": "occur twice in {zone}, where clocks were set back: the first is taken",
    "never": "do not occur in {zone}, where clocks were set forward: they are read as if they had not been",
    "seconds": "are not a number of seconds per answer and count as unknown; expected such as 2.5 or 00:00:02.5",
    "unread": "cannot be read and count as unknown; expected such as 2026-11-22T19:17:51+08:00 or unix seconds",
}


@dataclass
class Clock:
    """Reads the times of one file and counts those that leave something open.

    zone : of times that do not say theirs
    separator : what separates the columns of its table, for numbers with a comma
    """

    zone: tzinfo = UTC
    separator: str = ""
    n_naive: int = 0  # answers, of which one or both times do not say their zone
    _open: Counter[str] = field(default_factory=Counter)
    _examples: dict[str, str] = field(default_factory=dict)

    def of_answer(self, created: object, updated: object) -> tuple[datetime | None, datetime | None]:
        """Return when an answer was made and last changed, in UTC; None where that is not known.

        >>> Clock().of_answer("2026-11-22 19:17:51", None)[0].isoformat()
        '2026-11-22T19:17:51+00:00'
        """
        written = [(value, parse_moment(value)) for value in (created, updated)]
        self.n_naive += any(moment is not None and moment.tzinfo is None for _, moment in written)
        made, changed = (self._in_utc(value, moment) for value, moment in written)
        return made, changed or made

    def seconds(self, written: object) -> float | None:
        """Return how long an answer took, in seconds; None where that is not known.

        >>> Clock().seconds("2,5"), Clock().seconds(0.5), Clock().seconds("soon")
        (2.5, 0.5, None)
        """
        if written is None or (isinstance(written, str) and is_missing(written)):
            return None
        try:
            if isinstance(written, str):
                return parse_time(written, separator=self.separator)
            if isinstance(written, int | float) and not isinstance(written, bool) and 0 <= written < float("inf"):
                return float(written)
        except (ValueError, OverflowError):  # a number of 400 digits is not one of seconds
            pass
        self._note("seconds", str(written))
        return None

    def _in_utc(self, value: object, moment: datetime | None) -> datetime | None:
        try:
            if moment is not None:
                return moment.astimezone(UTC) if moment.tzinfo else self._placed(moment).astimezone(UTC)
        except OverflowError:  # within a day of the year 1 or 9999
            pass
        if value not in (None, ""):
            self._note("unread", str(value))
        return None

    def _placed(self, moment: datetime) -> datetime:
        """Return a time in the zone, and note one that its clocks showed twice or never, when they were changed."""
        placed = moment.replace(tzinfo=self.zone)
        if placed.utcoffset() != placed.replace(fold=1).utcoffset():
            shown = placed.astimezone(UTC).astimezone(self.zone).replace(tzinfo=None)
            self._note("twice" if shown == moment else "never", str(moment))
        return placed

    def _note(self, case: str, written: str) -> None:
        self._open[case] += 1
        self._examples.setdefault(case, printable(written)[:_SHOWN_CHARS])

    def remarks(self) -> Iterator[str]:
        """Yield what is to be said of the times that were read."""
        if self.n_naive:
            yield (
                f"times that do not say their zone are taken as {self.zone} (answers: {self.n_naive}); if it is "
                "another, give it by --time-zone, such as Asia/Shanghai"
            )
        for case, text in _OPEN.items():
            if self._open[case]:
                yield f"times such as {self._examples[case]!r} ({self._open[case]}) {text.format(zone=self.zone)}"


def parse_moment(value: object) -> datetime | None:
    """Return a point in time from ISO 8601 text or unix seconds (or milliseconds); None if it is neither.

    It has a zone only where the value says one; unix times are in UTC.

    >>> parse_moment("2026-11-22T19:17:51.930600Z") == parse_moment(1795375071.9306)
    True
    """
    try:
        if isinstance(value, str) and not _UNIX_TIME.fullmatch(value):
            return datetime.fromisoformat(value)
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            seconds = float(value)
            return datetime.fromtimestamp(seconds / 1000 if seconds >= _UNIX_MS_FROM else seconds, tz=UTC)
    except (ValueError, OverflowError, OSError):
        pass
    return None
