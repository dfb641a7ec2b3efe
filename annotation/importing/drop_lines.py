"""The file of dropped annotations next to a table of ratings: one line of JSON for each."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import AnnotationError, advised
from fmltk.toolkit.io.documents import json_text, read_json_lines

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from typing import TextIO

    import pyarrow as pa

    from fmltk.annotation.importing.records import Drop
    from fmltk.annotation.raters import RaterNames

ADDRESS = re.compile(r"[^\s@,;:'\"<>()\[\]{}]+@[^\s@,;:'\"<>()\[\]{}]+")
_ANSWER = ("utterance_id", "condition", "annotator", "dimension")


def _answer_of(entry: Mapping[str, Any]) -> tuple[object, ...]:
    return tuple(entry.get(name) for name in _ANSWER)


class DropLines:
    """The file of dropped annotations: each once, however often the same export is imported.

    Repetitions in one file, such as two annotations without an id, are several lines. No line shows an address, unless
    addresses are to be kept.
    """

    def __init__(self, file: TextIO, names: RaterNames) -> None:
        self._file = file
        self._names = names
        self._written: Counter[int] = Counter()
        self._now: Counter[int] = Counter()

    def begin(self) -> None:
        """Go on to the next file."""
        self._now = Counter()

    def copy(self, path: Path, ratings: pa.Table) -> None:
        """Take over the lines of an earlier import into the same ratings, but of answers that are ratings by now."""
        if not path.exists():
            return
        remedy = "delete that line, or import everything again with --overwrite"
        entries = [entry for _, entry in read_json_lines(path, error=advised(AnnotationError, remedy))]
        unread = {_answer_of(entry) for entry in entries if entry.get("reason") == "unknown label"}
        kept: set[tuple[object, ...]] = set()
        if unread:
            columns = [ratings.column(name).to_pylist() for name in _ANSWER]
            kept = unread.intersection(zip(*columns, strict=True))
        self.begin()
        for entry in entries:
            if entry.get("reason") != "unknown label" or _answer_of(entry) not in kept:
                self._write(entry)

    def write(self, file: str | None, drop: Drop) -> None:
        """Write the line of something that was dropped; `file` is where it was read, None for what merging dropped."""
        self._write({"file": file, **drop._asdict()})

    def _write(self, entry: dict[str, Any]) -> None:
        known = {key: value for key, value in entry.items() if value is not None}
        if not self._names.keep_identities:
            for key in known.keys() & {"annotator", "label"}:
                known[key] = ADDRESS.sub(lambda found: self._names.safe_name(found.group()), known[key])
        line = json_text(known) + "\n"
        self._now[hash(line)] += 1
        if self._now[hash(line)] > self._written[hash(line)]:
            self._written[hash(line)] += 1
            self._file.write(line)
