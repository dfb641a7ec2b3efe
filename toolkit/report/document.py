"""The parts of a report: findings, sections of tiles, tables, charts and remarks, and one case per clip.

A part of the program that has something to show registers a function under the entry-point group
``fmltk.report_sections``. It gets the request, takes the paths that it knows, and returns a `Contribution`, mostly by
`contribute`; see `fmltk.toolkit.report.features` for one. This module and the renderer know nothing of features, labels
or runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from fmltk.toolkit.console import Reporter
    from fmltk.toolkit.report.timeline import Timeline

SECTION_GROUP = "fmltk.report_sections"
SPOILS, CHECK, KNOW = 3, 2, 1  # weights of findings: results cannot be trusted; look at it; good to know


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading within a section; it is in the contents, too."""

    title: str
    kind: str = "heading"


@dataclass(frozen=True, slots=True)
class Tile:
    """One number that matters, with its name; `tone` is "", "good" or "bad"; `note` is what to know of the number."""

    name: str
    value: str
    tone: str = ""
    note: str = ""
    kind: str = "tile"


@dataclass(frozen=True, slots=True)
class Remark:
    """A sentence; `tone` is "" or "bad"."""

    text: str
    tone: str = ""
    kind: str = "remark"


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts and numbers; None is shown as a dash. A `folded` one is opened by the reader."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str = ""
    folded: bool = False
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart as SVG. `wide`: it takes a whole row.

    description : in words what it shows, for those who do not see it
    reading : a sentence below the chart that says how to read it
    columns, rows : the numbers that are drawn, which readers can save as CSV
    """

    title: str
    description: str
    svg: str
    reading: str
    columns: Sequence[str]
    rows: Sequence[Sequence[object]]
    wide: bool = False
    kind: str = "chart"


@dataclass(frozen=True, slots=True)
class Picture:
    """A clip in pictures: its id, what there is to say, a JPEG in base64 ("" without one), and a tag."""

    name: str
    lines: Sequence[str]
    image: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True)
class Gallery:
    """Pictures next to each other."""

    title: str
    pictures: Sequence[Picture]
    note: str = ""
    kind: str = "gallery"


Block = Heading | Tile | Remark | Table | Chart | Gallery


@dataclass(frozen=True, slots=True)
class Finding:
    """A sentence for the top of the report.

    weight : SPOILS, CHECK or KNOW; the worst come first
    evidence : the block of the section that shows it
    clips : instead of a block, the group of the clips at the end that it is about, as their field Show names it
    """

    text: str
    weight: int
    evidence: Block | None = None
    clips: str = ""


@dataclass(frozen=True, slots=True)
class Source:
    """The contents of a path: the `file` whose time of change is its date, and facts such as versions and settings."""

    path: Path
    what: str
    file: Path
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report under one heading; sections come by `rank`, then as they came."""

    title: str
    rank: int
    blocks: Sequence[Block]


@dataclass(slots=True)
class Case:
    """All known facts of one clip. Each contribution fills in what it knows; the first one to know something counts.

    truths, predictions, classes, predicted_classes: by condition; wrong: conditions whose predicted sign is wrong, None
    without a prediction; note: what to know of that; shares: what each modality, by letter, adds to the prediction of
    M; source, start_s, end_s: the clip's file below the folder of videos, and its part of it; duration_s: how long that
    is; look: reasons to look at it; speaker: how the speaker was found; timeline: what happens when.
    """

    utterance_id: str
    text: str | None = None
    split: str | None = None
    status: str | None = None
    reason: str | None = None
    source: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    duration_s: float | None = None
    truths: Mapping[str, float] | None = None
    predictions: Mapping[str, float] | None = None
    classes: Mapping[str, str] | None = None
    predicted_classes: Mapping[str, str] | None = None
    wrong: Sequence[str] | None = None
    note: str | None = None
    shares: Mapping[str, float] | None = None
    look: Sequence[str] | None = None
    speaker: str | None = None
    timeline: Timeline | None = None

    def add(self, other: Case) -> None:
        """Take over what the other knows and this one does not."""
        for one in fields(self):
            if getattr(self, one.name) is None:
                setattr(self, one.name, getattr(other, one.name))


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """The user's request: the paths, in the order given, where remarks go, where the videos lie, what labels mean."""

    paths: Sequence[Path]
    reporter: Reporter
    videos: Path | None = None
    scale: str | None = None  # of labels that do not state it


@dataclass(slots=True)
class Contribution:
    """One part of the program's contribution, and the paths that it reads."""

    used: list[Path] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)

    def add(self, other: Contribution) -> None:
        """Append what the other has to show."""
        for one in fields(self):
            getattr(self, one.name).extend(getattr(other, one.name))


def contribute(
    request: ReportRequest, knows: Callable[[Path], bool], show: Callable[[Path], Contribution]
) -> Contribution:
    """Return what `show` says of every path of the request that `knows` accepts."""
    contribution = Contribution()
    for path in request.paths:
        if knows(path):
            contribution.used.append(path)
            contribution.add(show(path))
    return contribution
