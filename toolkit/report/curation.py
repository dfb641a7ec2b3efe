"""The report's gallery of the clips to look at: pictures, reasons and decisions, from the table of `fmltk curate`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from fmltk.toolkit.catalog.exclusions import EXCLUDE, KEEP
from fmltk.toolkit.catalog.sources import find_source, video_root
from fmltk.toolkit.curation.findings import REASONS
from fmltk.toolkit.curation.table import is_curation, read_curation
from fmltk.toolkit.features.layout import MANIFEST_FILE
from fmltk.toolkit.report.clips import picture_strip
from fmltk.toolkit.report.document import (
    CHECK,
    Case,
    Contribution,
    Finding,
    Gallery,
    Picture,
    Remark,
    Section,
    Source,
    Table,
    Tile,
    contribute,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.toolkit.report.document import Block, ReportRequest

RANK = 9  # before the data: who gives the table wants to look at the clips
MAX_PICTURES = 120  # some 15 kB each


def curation_sections(request: ReportRequest) -> Contribution:
    """Return a gallery of every table of `fmltk curate` among the paths, and its clips as cases."""
    cases = _cases(request.paths) if any(map(is_curation, request.paths)) else {}
    return contribute(request, is_curation, lambda path: _contribution(path, cases, request))


def _contribution(path: Path, cases: Mapping[str, Case], request: ReportRequest) -> Contribution:
    by_clip: dict[str, list[Mapping[str, str]]] = {}
    for row in read_curation(path):
        by_clip.setdefault(row["utterance_id"], []).append(row)
    blocks = _blocks(by_clip, cases, request)
    n_open = sum(not _decision(rows) for rows in by_clip.values())
    gallery = next(block for block in blocks if isinstance(block, Gallery))
    return Contribution(
        sources=[Source(path, "clips to look at", path, {"clips": f"{len(by_clip):,}"})],
        findings=[Finding(f"{n_open:,} clips of {path.name} wait for a decision.", CHECK, gallery)] if n_open else [],
        sections=[Section(f"To look at: {path.name}", RANK, blocks)],
        cases=[Case(utterance, look=[row["reason"] for row in own]) for utterance, own in by_clip.items()],
    )


def _cases(paths: Sequence[Path]) -> dict[str, Case]:
    """Return where the clips of the feature folders among the paths lie."""
    found = {}
    from fmltk.toolkit.curation.curate import read_rows  # which compares clips too

    for path in paths:
        if (path / MANIFEST_FILE).is_file():
            for row in read_rows(path):
                case = Case(row["utterance_id"], source=row["source"], start_s=row["start_s"], end_s=row["end_s"])
                case.duration_s = row["duration_s"]
                found[case.utterance_id] = case
    return found


def _blocks(
    by_clip: Mapping[str, Sequence[Mapping[str, str]]], cases: Mapping[str, Case], request: ReportRequest
) -> list[Block]:
    counts = Counter(row["reason"] for rows in by_clip.values() for row in rows)
    decisions = Counter(_decision(rows) for rows in by_clip.values())
    names = [reason for reason in REASONS if counts[reason]] + sorted(set(counts) - set(REASONS))
    blocks: list[Block] = [
        Tile("clips to look at", f"{len(by_clip):,}"),
        *(Tile(f"decided: {name}", f"{decisions[name]:,}") for name in (KEEP, EXCLUDE) if decisions[name]),
        Table("Reasons", ("reason", "what it means", "clips"), [(one, REASONS.get(one), counts[one]) for one in names]),
    ]
    if request.videos is None:
        blocks.append(
            Remark("To show video frames, give the feature folder and the folder of videos: --videos videos/")
        )
    shown = list(by_clip.items())[:MAX_PICTURES]
    with request.reporter.progress("Pictures", len(shown)) as progress:
        pictures = []
        for utterance, rows in shown:
            pictures.append(_picture(utterance, rows, cases.get(utterance), request.videos))
            progress.advance()
    n_more = len(by_clip) - len(shown)
    note = f"{n_more:,} more clips are in the table." if n_more else ""
    return [*blocks, Gallery("Three video frames of each clip, and its reasons", pictures, note)]


def _picture(utterance: str, rows: Sequence[Mapping[str, str]], case: Case | None, videos: Path | None) -> Picture:
    path = None if case is None or videos is None else find_source(case.source, video_root(videos))
    image = None if case is None or path is None else picture_strip(case, path)
    lines = [f"{row['reason']}: {row['detail']}" for row in rows]
    return Picture(utterance, lines, image or "", _decision(rows))


def _decision(rows: Sequence[Mapping[str, str]]) -> str:
    """Return what was decided of a clip: exclude where one of its rows says so, else keep where one does."""
    said = {row["decision"].casefold() for row in rows}
    return next((word for word in (EXCLUDE, KEEP) if word in said), "")
