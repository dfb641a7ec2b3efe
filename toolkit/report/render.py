"""From contributions to one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import base64
import datetime
import hashlib
import itertools
import os
import re
from dataclasses import dataclass, field
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.tables import csv_text
from fmltk.toolkit.report.cases import by_interest, case_document, merge_cases, script_json
from fmltk.toolkit.report.clips import gather_clips
from fmltk.toolkit.report.document import (
    CHECK,
    KNOW,
    SECTION_GROUP,
    SPOILS,
    Contribution,
    Heading,
    ReportRequest,
    Tile,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.report.clips import Clips
    from fmltk.toolkit.report.document import Block, Chart, Finding, Section, Source, Table

_NUMBER = r"[+-]?\d[\d,.]*"
NUMERIC = re.compile(rf"{_NUMBER}( %)?( (±|–|to) {_NUMBER}| \({_NUMBER} to {_NUMBER}\))?|–|nan \(constant\)")
IN_ROW = 3  # charts next to each other
MAX_FINDINGS = 10
WEIGHTS = {SPOILS: "spoils results", CHECK: "to check", KNOW: "good to know"}


def write_report(
    paths: Sequence[Path],
    out: Path,
    *,
    title: str,
    videos: Path | None,
    scale: str | None = None,
    embed_bytes: int,
    reporter: Reporter,
) -> dict[str, Any]:
    """Write a report of what `paths` hold and return what is in it, as JSON can hold it.

    scale : of labels that do not state it

    Raises ConfigError if a path does not exist or is none that a report can show, StoreError if it cannot be written.
    """
    from fmltk.toolkit.io.files import write_bytes

    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist; name feature folders, ratings, labels or runs")
    parts = _gather(ReportRequest(list(dict.fromkeys(paths)), reporter, videos, scale))
    whole = Contribution()
    for part in parts:
        whole.add(part)
    # A run knows best which split a clip was in, then labels, then features.
    whole.cases = merge_cases(case for part in reversed(parts) for case in part.cases)
    sizes = [len({case.utterance_id for case in part.cases}) for part in parts if part.cases]
    if len(sizes) > 1 and sum(sizes) == len(whole.cases):
        reporter.warn("no clip is in two of the inputs: their utterance ids differ; do they belong together?")
    clips = None
    if videos is not None:
        clips = gather_clips(by_interest(whole.cases), videos, out, limit_bytes=embed_bytes, reporter=reporter)
    elif any(case.source for case in whole.cases):
        reporter.say("To watch the clips in the report, give the folder of videos: --videos videos/")
    data = render(title, whole, clips).encode("utf-8", "backslashreplace")
    write_bytes(out, data)
    return {
        "output": str(out),
        "bytes": len(data),
        "sections": [section.title for section in _sorted(whole.sections)],
        "findings": [finding.text for finding in _worst(whole.findings)],
        "clips": len(whole.cases),
        "clips_embedded": len(clips.previews) if clips else 0,
        "clips_linked": len(clips.links) if clips else 0,
    }


def _gather(request: ReportRequest) -> list[Contribution]:
    contributions: list[Contribution] = []
    points = sorted(metadata.entry_points(group=SECTION_GROUP), key=lambda point: point.name)
    for point in points:
        contribution = point.load()(request)
        assert isinstance(contribution, Contribution)  # noqa: S101 - our own entry points, not input
        contributions.append(contribution)
    used = {path for one in contributions for path in one.used}
    unknown = [str(path) for path in request.paths if path not in used]
    if unknown:
        raise ConfigError(
            f"{', '.join(unknown)}: neither a feature folder, ratings.parquet, labels.parquet, curation.csv, a run "
            "folder nor a benchmark; see `fmltk report --help`"
        )
    return contributions


def _sorted(sections: Sequence[Section]) -> list[Section]:
    return sorted(sections, key=lambda section: section.rank)


def _worst(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that the report begins with, the worst first."""
    return sorted(findings, key=lambda finding: -finding.weight)[:MAX_FINDINGS]


def render(title: str, report: Contribution, clips: Clips | None) -> str:
    """Return the report's HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.BaseLoader(), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    page = _Page(_sorted(report.sections))
    environment.filters |= {
        "cell": _cell,
        "anchor": anchor,
        "csv_url": _csv_url,
        "in_rows": _in_rows,
        "html_id": page.html_id,
    }
    environment.tests["numeric"] = _is_numeric
    script = _asset("page.js") + (_asset("cases.js") if report.cases else "")
    return environment.from_string(_asset("report.html.j2")).render(
        title=title,
        version=metadata.version("fmltk"),
        date=_today(),
        sources=[(source, _written(source)) for source in report.sources],
        findings=[(finding, page.link(finding)) for finding in _worst(report.findings)],
        weights=WEIGHTS,
        sections=page.views(),
        n_cases=len(report.cases),
        cases_json=_safe(script_json([case_document(case, clips) for case in report.cases])),
        previews=clips.previews if clips else {},
        style=_safe(_asset("style.css")),
        script=_safe(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        safe=_safe,
    )


def _today() -> str:
    """Return the date; that of SOURCE_DATE_EPOCH where it is set, as reproducible builds have it."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    moment = int(given) if given.isdecimal() else datetime.datetime.now(datetime.UTC).timestamp()
    return datetime.datetime.fromtimestamp(moment, datetime.UTC).strftime("%Y-%m-%d")


def _written(source: Source) -> str:
    """Return the day on which a source's file was written: a run again on that day gives the same page."""
    changed = datetime.datetime.fromtimestamp(source.file.stat().st_mtime, datetime.UTC)
    return changed.strftime("%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class _View:
    """A section as the template shows it: neighbours of one kind share a group."""

    id: str
    title: str
    headings: Sequence[Block]
    groups: Sequence[tuple[str, list[Block]]]


@dataclass(slots=True)
class _Page:
    """The sections of a page, and the ids of its blocks: no two are the same."""

    sections: Sequence[Section]
    ids: dict[int, str] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        blocks: Iterator[Block] = itertools.chain.from_iterable(section.blocks for section in self.sections)
        for number, block in enumerate(blocks):
            if not isinstance(block, Tile):
                self.ids[id(block)] = f"{anchor(getattr(block, 'title', block.kind))[:60]}-b{number}"

    def html_id(self, block: Block) -> str:
        return self.ids[id(block)]

    def link(self, finding: Finding) -> str:
        """Return where a finding's evidence is, as the end of a URL; "" without one."""
        if finding.clips:
            return f"cases={finding.clips}"
        return "" if finding.evidence is None else self.ids[id(finding.evidence)]

    def views(self) -> list[_View]:
        return [
            _View(
                f"{anchor(section.title)}-{number}",
                section.title,
                [block for block in section.blocks if isinstance(block, Heading)],
                [(kind, list(group)) for kind, group in itertools.groupby(section.blocks, key=lambda one: one.kind)],
            )
            for number, section in enumerate(self.sections, 1)
        ]


def _in_rows(charts: Sequence[Chart]) -> list[tuple[Chart, int]]:
    """Return each chart with the number of charts in its row, so that every row is full; a wide one has its own."""
    placed = []
    for wide, group in itertools.groupby(charts, key=lambda chart: chart.wide):
        own = list(group)
        n_rows = len(own) if wide else -(-len(own) // IN_ROW)
        least, more = divmod(len(own), n_rows)
        sizes = [least + (row < more) for row in range(n_rows)]
        placed += list(zip(own, [size for size in sizes for _ in range(size)], strict=True))
    return placed


def _csv_url(block: Chart | Table) -> str:
    """Return the numbers of a chart or a table as a URL that holds them, so that no other file is needed."""
    data = csv_text(block.columns, block.rows).encode("utf-8", "backslashreplace")
    return f"data:text/csv;charset=utf-8,{quote(data, safe=',.-:;()/+=|')}"


def _safe(text: str) -> Any:
    """Return text that is HTML already: the package's own files, charts, and JSON made by `script_json`."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - never called with what users wrote


def _asset(name: str) -> str:
    return resources.files("fmltk.toolkit.report").joinpath("templates", name).read_text(encoding="utf-8")


def standalone_svg(chart: Chart) -> str:
    """Return a chart as an SVG file of its own, in the colours of the light page: other programs know no variables."""
    colours = dict(re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}),", _asset("style.css")))
    svg = re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], chart.svg)
    return svg.replace("<svg ", '<svg font-family="sans-serif" ', 1) + "\n"


def anchor(text: str) -> str:
    """Return an id for a heading.

    >>> anchor("Data: features/")
    'data-features'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "section"


def _is_numeric(value: object) -> bool:
    """Whether a cell is a number, also one with its deviation or interval as text: "0.41 (0.30 to 0.52)"."""
    if isinstance(value, str):
        return NUMERIC.fullmatch(value) is not None
    return value is None or isinstance(value, int | float)


def _cell(value: object) -> str:
    """Return a table's cell: numbers with four digits, None and NaN as a dash."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124 - NaN is not itself
        return "–"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value)
