"""From files to ratings.parquet: read, merge, and say what was dropped and why."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from fmltk.annotation.clip_list import read_clip_list
from fmltk.annotation.importing.clip_ids import upload_remarks
from fmltk.annotation.importing.doubles import mixed_remarks, people_remarks, zeros_remarks
from fmltk.annotation.importing.drop_lines import DropLines
from fmltk.annotation.importing.earlier import kept_remarks
from fmltk.annotation.importing.exports import read_export
from fmltk.annotation.importing.label_studio import FileReport
from fmltk.annotation.importing.merging import merge_ratings
from fmltk.annotation.importing.off_scale import off_scale
from fmltk.annotation.importing.protocol_flags import default_protocol
from fmltk.annotation.importing.records import NOT_UNDERSTOOD, REASONS, Drop, Record
from fmltk.annotation.importing.times import Clock
from fmltk.annotation.ratings import (
    RATINGS_SCHEMA,
    STATUSES,
    dimensions_of,
    flag_counts,
    memory_schema,
    part_name,
    read_protocol,
    read_ratings,
    write_ratings,
)
from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.documents import json_text
from fmltk.toolkit.io.files import atomic_path, write_bytes
from fmltk.toolkit.io.outputs import hold_file
from fmltk.toolkit.io.parquet import is_parquet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.annotation.raters import RaterNames
    from fmltk.toolkit.conditions import Scale

LONGEST_WAIT_S = 60.0  # for another import into the same ratings, which takes seconds
BATCH_ROWS = 65_536  # records held as Python objects at a time


@dataclass
class ImportReport:
    """Report of an import: what it read, and dropped and why; `as_dict` is what --json prints and the file contains."""

    files: list[FileReport] = field(default_factory=list)
    n_ratings: int = 0
    read_again: int = 0
    merged_dropped: Counter[str] = field(default_factory=Counter)
    protocol: str = ""
    flags: Counter[str] = field(default_factory=Counter)
    conditions: dict[str, dict[str, Any]] = field(default_factory=dict)
    scales: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)  # how a list of clips is understood
    remarks: list[str] = field(default_factory=list)  # on all files together
    unrated: dict[str, list[str]] = field(default_factory=dict)  # of the clips that raters were given, by condition
    unlisted: list[str] = field(default_factory=list)  # clips that were rated though raters were not given them

    @property
    def dropped(self) -> Counter[str]:
        """How many annotations are not a rating, by reason."""
        total = Counter(self.merged_dropped)
        for file in self.files:
            total.update(file.dropped)
        return total

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        return {
            "files": [file.as_dict() for file in self.files],
            "n_ratings": self.n_ratings,
            "read_again": self.read_again,
            "dropped": dict(sorted(self.dropped.items())),
            "reasons": {name: REASONS[name] for name in sorted(self.dropped)},
            "protocol": self.protocol,
            "flags": dict(sorted(self.flags.items())),
            "conditions": self.conditions,
            "scales": dict(sorted(self.scales.items())),
            "notes": self.notes,
            "remarks": self.remarks,
            "unrated": self.unrated,
            "unlisted": self.unlisted,
        }


def report_path(output: Path) -> Path:
    """Return where the report of `output` is written: ratings.report.json for ratings.parquet."""
    return output.with_name(f"{output.stem}.report.json")


def dropped_path(output: Path) -> Path:
    """Return where every dropped annotation has its line: ratings.dropped.jsonl for ratings.parquet."""
    return output.with_name(f"{output.stem}.dropped.jsonl")


def import_ratings(
    files: Sequence[Path],
    output: Path,
    options: ImportOptions | None = None,
    *,
    conditions: Mapping[Path, str] | None = None,
    pages: Mapping[Path, Mapping[str, Scale]] | None = None,
    clips: Path | None = None,
    overwrite: bool = False,
) -> ImportReport:
    """Read `files` and merge them with what `output` holds already; the same files twice give the same ratings.

    Writes `output`, its report, and one line of JSON for every dropped annotation. One row is kept for each clip,
    condition and rater: the latest rating; failing that the latest skip or empty answer; failing that a draft.

    Parameters
    ----------
    files
        Exports of Label Studio, long or wide tables, or other ratings.parquet.
    conditions
        Conditions of files whose tasks do not say theirs, instead of the options' one.
    pages
        The scales of the controls of each file's page, where the options do not say them.
    clips
        A list of the clips that raters were given, as `read_clip_list` takes it: the report says which were not rated.
    overwrite
        Write `output` from scratch instead of merging with it.

    Raises AnnotationError if a file cannot be read, gives no rating for all that it holds, or contradicts another.
    """
    options = options or ImportOptions()
    if options.names.salt_path.resolve().parent == output.resolve().parent:
        raise AnnotationError(f"the salt {options.names.salt_path} lies next to the ratings: keep it elsewhere")
    report = ImportReport()
    with (
        hold_file(output, wait_s=LONGEST_WAIT_S, error=AnnotationError),
        atomic_path(dropped_path(output), error=AnnotationError) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace") as file,
    ):
        lines = DropLines(file, options.names)
        tables = []
        is_added = output.exists() and not overwrite
        if is_added:
            tables.append(_pseudonymous(read_ratings(output), options.names))
        for path in files:
            own = replace(options, condition=(conditions or {}).get(path, options.condition))
            page = (pages or {}).get(path, {})
            if not own.page and page.keys() >= set(own.controls):
                own = replace(own, page=page)
            tables.append(_read_file(path, own, report, lines))
        lines.begin()
        ratings = pa.concat_tables(tables).unify_dictionaries()
        report.protocol = options.protocol or (read_protocol(output) if is_added else None) or default_protocol(ratings)
        merged = merge_ratings(ratings, lambda drop: lines.write(None, drop), protocol=report.protocol)
        options.check_scales([name for name in dimensions_of(merged.table) if name is not None])
        if clips is not None:
            _compare(clips, merged.table, report)
        if is_added:
            lines.copy(dropped_path(output), merged.table)
        write_ratings(merged.table, output, protocol=report.protocol)
        report.read_again, report.merged_dropped = merged.read_again, merged.dropped
        _summarise(merged.table, report)
        ids = _distinct_ids(merged.table)
        report.remarks += merged.remarks() + zeros_remarks(ids) + people_remarks(_people(merged.table))
        report.remarks += kept_remarks(tables[0], tables[1:]) if is_added else []
        report.remarks += mixed_remarks([_people(table) for table in tables])
        report.remarks += upload_remarks(ids, (file.clip_names for file in report.files))
        text = json_text(report.as_dict(), indent=2) + "\n"
        write_bytes(report_path(output), text.encode(), error=AnnotationError)
    return report


def _read_file(path: Path, options: ImportOptions, report: ImportReport, lines: DropLines) -> pa.Table:
    file_report = FileReport(path.name, clock=Clock(options.time_zone))
    report.files.append(file_report)
    lines.begin()
    if is_parquet(path, error=AnnotationError):
        table = _pseudonymous(read_ratings(path), options.names)
        file_report.format = "ratings.parquet"
        file_report.annotations = table.num_rows
        status = table.column("status").value_counts().to_pylist()
        file_report.kept = {entry["values"]: entry["counts"] for entry in status}
        return table
    collector = RecordCollector(options.names.source)
    dropped: Counter[str] = Counter()
    unknown: dict[str | None, Counter[str]] = {}  # by dimension
    examples: dict[str, tuple[str, str]] = {}  # by reason, where the first was, and what stood there
    for item in read_export(path, options, file_report):
        if isinstance(item, Drop):
            dropped[item.reason] += 1
            examples.setdefault(item.reason, (item.where, _shown(item)))
            if item.reason == "unknown label":
                unknown.setdefault(item.dimension, Counter())[item.label or ""] += 1
            lines.write(path.name, item)
        else:
            collector.add(item)
    for text in (*file_report.clock.remarks(), *file_report.verdicts.remarks(used=options.reviews)):
        file_report.remark(text)
    file_report.kept = dict(sorted(collector.kept.items()))
    file_report.dropped = dict(sorted(dropped.items()))
    if unknown and not options.drop_unknown:
        stranger = next(iter(file_report.without_rating), None) if collector.kept["rated"] else None
        hint = f"; no cell of the column {stranger!r} is a rating: remove it if it is not an annotator's"
        raise AnnotationError(f"{path}: {off_scale(unknown, collector.table(), options)}{hint if stranger else ''}")
    if not collector.n_rows and dropped:
        reason, count = dropped.most_common(1)[0]
        found = f"; found {examples[reason][1]}" if examples[reason][1] else ""
        raise AnnotationError(f"{path} gives no rating: {count} annotations dropped, for {REASONS[reason]}{found}")
    for reason in sorted(dropped.keys() & NOT_UNDERSTOOD):
        where, shown = examples[reason]
        found = f", {shown}" if shown else ""
        file_report.remark(f"dropped {dropped[reason]}, the first at {where}{found}: {REASONS[reason]}")
    n_rated, n_drafts = collector.kept["rated"], collector.kept["draft"]
    if not n_rated and n_drafts and n_drafts == collector.n_rows:
        raise AnnotationError(f"{path} gives no rating: all its {n_drafts} answers are drafts, which nobody submitted")
    return collector.table()


def _shown(item: Drop) -> str:
    """Return what stood where something was dropped: the annotator where that is why, else the answer or control."""
    return (item.annotator if item.reason == "unlisted rater" else item.label) or ""


def _pseudonymous(table: pa.Table, names: RaterNames) -> pa.Table:
    """Return ratings that an earlier import may have kept the addresses in, without them unless they are to be kept."""
    for column in () if names.keep_identities else ("annotator", "edited_by"):
        written = table.column(column).unique().to_pylist()
        if any(word and "@" in word for word in written):
            safe = {word: names.safe_name(word) if word and "@" in word else word for word in written}
            words = pa.array([safe[word] for word in table.column(column).to_pylist()], pa.string())
            index = table.schema.get_field_index(column)
            field = table.schema.field(index)
            table = table.set_column(index, field, words.dictionary_encode().cast(field.type))
    return table


class RecordCollector:
    """Gathers records into Arrow batches, so that only one batch is Python objects at a time."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.kept: Counter[str] = Counter()
        self.n_rows = 0
        self._rows: list[Record] = []
        self._tables: list[pa.Table] = []

    def add(self, record: Record) -> None:
        """Take one more."""
        self._rows.append(record)
        self.kept[record.status] += 1
        self.n_rows += 1
        if len(self._rows) >= BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        columns = dict(zip(Record._fields, zip(*self._rows, strict=True), strict=True)) if self._rows else {}
        n_rows = len(self._rows)
        constants = {"source": (self.source,) * n_rows}
        arrays = []
        for name in RATINGS_SCHEMA.names:
            plain = pa.array(columns.get(name, constants.get(name, ())), RATINGS_SCHEMA.field(name).type)
            encoded = memory_schema().field(name).type
            arrays.append(plain.dictionary_encode().cast(encoded) if pa.types.is_dictionary(encoded) else plain)
        self._tables.append(pa.table(arrays, schema=memory_schema()))
        self._rows = []

    def table(self) -> pa.Table:
        """Return all that were taken, their repeated strings as dictionaries."""
        if self._rows or not self._tables:
            self._flush()
        return pa.concat_tables(self._tables)


def _compare(clips: Path, table: pa.Table, report: ImportReport) -> None:
    """Note which of the clips that raters were given have no rating, by condition, and which were rated besides."""
    listed = read_clip_list(clips, table.column("utterance_id").unique().to_pylist())
    report.notes += listed.notes
    report.remarks += listed.warnings()
    report.unlisted = list(listed.unlisted)
    rated = table.filter(pc.equal(table["status"], "rated")).group_by(["condition", "utterance_id"]).aggregate([])
    pairs = set(zip(*(rated.column(name).to_pylist() for name in ("condition", "utterance_id")), strict=True))
    for condition in table.column("condition").unique().to_pylist():
        unrated = sorted(name for name in listed.ids if (condition, name) not in pairs)
        if unrated:
            report.unrated[condition] = unrated
    if report.unrated:
        counts = ", ".join(f"{name} {len(unrated)}" for name, unrated in sorted(report.unrated.items()))
        report.remarks.append(
            f"clips without a rating, of the {len(listed.ids)} on the list: {counts}; give --clips to `fmltk "
            "annotation aggregate` too, so that the labels have a row for each"
        )


def _people(table: pa.Table) -> set[str]:
    return {name for name in table.column("annotator").unique().to_pylist() if name}


def _distinct_ids(table: pa.Table) -> list[tuple[str, str, str]]:
    """Return utterance_id, video_id and clip_id of every clip, in order."""
    names = ["utterance_id", "video_id", "clip_id"]
    ids = table.select(names).group_by(names).aggregate([]).to_pylist()
    return sorted((row["utterance_id"], row["video_id"], row["clip_id"]) for row in ids)


def _summarise(table: pa.Table, report: ImportReport) -> None:
    report.n_ratings = table.num_rows
    report.flags = Counter(flag_counts(table))
    keys = ["condition", "dimension"]
    people = table.group_by([*keys, "scale"]).aggregate(
        [("annotator", "count_distinct"), ("utterance_id", "count_distinct")]
    )
    for entry in people.to_pylist():
        name = part_name(entry["condition"], entry["dimension"])
        report.scales[name] = entry["scale"]
        report.conditions[name] = {
            "clips": entry["utterance_id_count_distinct"],
            "raters": entry["annotator_count_distinct"],
            **dict.fromkeys(STATUSES, 0),
        }
    for entry in table.group_by([*keys, "status"]).aggregate([([], "count_all")]).to_pylist():
        name = part_name(entry["condition"], entry["dimension"])
        report.conditions[name][entry["status"]] = entry["count_all"]
    report.conditions = dict(sorted(report.conditions.items()))
