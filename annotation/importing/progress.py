"""Breaches of the protocol in a server's exports while annotators work; nothing is written, and nothing stops it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from fmltk.annotation.importing.exports import read_export
from fmltk.annotation.importing.import_files import RecordCollector
from fmltk.annotation.importing.label_studio import FileReport
from fmltk.annotation.importing.merging import merge_ratings
from fmltk.annotation.importing.records import Record
from fmltk.annotation.protocols import OUT_OF_PROTOCOL
from fmltk.annotation.raters import RaterNames
from fmltk.annotation.settings import ImportOptions

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def protocol_breaks(exports: Mapping[Path, str], *, protocol: str | None = None) -> list[dict[str, Any]]:
    """Return how many ratings do not follow the protocol: entries of flag, condition, rater and ratings, in this order.

    exports : of all conditions of a server, each with its condition
    protocol : a key of PROTOCOLS; by default that of the scale

    Raises AnnotationError if an export cannot be read.
    """
    options = ImportOptions(names=RaterNames(keep_identities=True))  # the server's own numbers
    collector = RecordCollector(options.names.source)
    for path, condition in exports.items():
        for item in read_export(path, replace(options, condition=condition), FileReport(path.name)):
            if isinstance(item, Record):
                collector.add(item)
    table = merge_ratings(collector.table(), lambda drop: None, protocol=protocol).table
    found: Counter[tuple[str, str, str]] = Counter()
    for row in table.group_by(["condition", "annotator", "flags"]).aggregate([([], "count_all")]).to_pylist():
        for flag in set(row["flags"].split()).intersection(OUT_OF_PROTOCOL):
            found[flag, row["condition"], row["annotator"]] += row["count_all"]
    names = ("flag", "condition", "rater")
    return [{**dict(zip(names, key, strict=True)), "ratings": count} for key, count in sorted(found.items())]
