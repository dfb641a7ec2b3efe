"""From contributions to one HTML file that needs nothing else: no network, no server, no other file."""

from __future__ import annotations

import base64
import hashlib
import itertools
import re
from importlib import metadata, resources
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.report.cases import by_interest, case_document, merge_cases, script_json
from fmltk.toolkit.report.clips import gather_clips
from fmltk.toolkit.report.document import SECTION_GROUP, Contribution, ReportRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.report.clips import Clips
    from fmltk.toolkit.report.document import Block, Case, Chart, Section

_NUMBER = r"[+-]?\d[\d,.]*"
NUMERIC = re.compile(rf"{_NUMBER}( %)?( (±|–|to) {_NUMBER}| \({_NUMBER} to {_NUMBER}\))?|–|nan \(constant\)")


def write_report(
    paths: Sequence[Path],
    out: Path,
    *,
    title: str,
    videos: Path | None,
    embed_bytes: int,
    reporter: Reporter,
) -> dict[str, Any]:
    """Write a report of what `paths` hold and return what is in it, as JSON can hold it.

    Raises ConfigError if a path does not exist or is none that a report can show, StoreError if it cannot be written.
    """
    from fmltk.toolkit.io.files import write_bytes

    for path in paths:
        if not path.exists():
            raise ConfigError(f"{path} does not exist; name feature folders, ratings, labels or runs")
    contributions = _gather(ReportRequest(list(dict.fromkeys(paths)), reporter, videos))
    sections = sorted((one for part in contributions for one in part.sections), key=lambda one: one.rank)
    # A run knows best which split a clip was in, then labels, then features.
    cases = merge_cases(case for part in reversed(contributions) for case in part.cases)
    sizes = [len({case.utterance_id for case in part.cases}) for part in contributions if part.cases]
    if len(sizes) > 1 and sum(sizes) == len(cases):
        reporter.warn("no clip is in two of what is shown: their utterance ids differ; do they belong together?")
    clips = None
    if videos is not None:
        clips = gather_clips(by_interest(cases), videos, out, limit_bytes=embed_bytes, reporter=reporter)
    elif any(case.source for case in cases):
        reporter.say("To watch the clips in the report, give the folder of videos: --videos videos/")
    data = render(title, sections, cases, clips).encode("utf-8", "backslashreplace")
    write_bytes(out, data)
    return {
        "output": str(out),
        "bytes": len(data),
        "sections": [section.title for section in sections],
        "clips": len(cases),
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


def render(title: str, sections: Sequence[Section], cases: Sequence[Case], clips: Clips | None) -> str:
    """Return the report's HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.BaseLoader(), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["cell"] = _cell
    environment.filters["anchor"] = anchor
    environment.tests["numeric"] = _is_numeric
    script = _asset("cases.js") if cases else _asset("theme.js")
    if cases:
        script = _asset("theme.js") + script
    return environment.from_string(_asset("report.html.j2")).render(
        title=title,
        version=metadata.version("fmltk"),
        sections=[(section, _runs(section.blocks)) for section in sections],
        n_cases=len(cases),
        cases_json=_safe(script_json([case_document(case, clips) for case in cases])),
        previews=clips.previews if clips else {},
        style=_safe(_asset("style.css")),
        script=_safe(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        safe=_safe,
    )


def _runs(blocks: Sequence[Block]) -> list[tuple[str, list[Block]]]:
    """Return the blocks in groups of one kind, so that neighbouring tiles and charts share a row."""
    return [(kind, list(group)) for kind, group in itertools.groupby(blocks, key=lambda block: block.kind)]


def _safe(text: str) -> Any:
    """Return text that is HTML already: the package's own files, charts, and JSON made by `script_json`."""
    from markupsafe import Markup

    return Markup(text)  # noqa: S704 - never called with what users wrote


def _asset(name: str) -> str:
    return resources.files("fmltk.toolkit.report").joinpath("templates", name).read_text(encoding="utf-8")


def standalone_svg(chart: Chart) -> str:
    """Return a chart as an SVG file of its own, in the colours of the light page: other programs know no variables."""
    colours: dict[str, str] = {}
    for name, value in re.findall(r"--([\w-]+): (#[0-9a-f]{6})", _asset("style.css")):
        colours.setdefault(name, value)  # those of the light page are the first
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
