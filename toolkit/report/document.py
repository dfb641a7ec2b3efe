"""What a report is made of: sections of tiles, tables, figures and remarks, and one case per clip.

A part of the program that has something to show registers a function under the entry-point group
``fmltk.report_sections``. It gets the request, takes the paths that it knows, and returns a `Contribution`; see
`fmltk.toolkit.report.features` for one. This module and the renderer know nothing of features, labels or runs.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from fmltk.toolkit.console import Reporter

SECTION_GROUP = "fmltk.report_sections"


@dataclass(frozen=True, slots=True)
class Tile:
    """One number that matters, with its name; `tone` is "", "good" or "bad"."""

    name: str
    value: str
    tone: str = ""
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
    """A chart as SVG; `description` says in words what it shows, for those who do not see it. `wide`: a whole row."""

    title: str
    description: str
    svg: str
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


Block = Tile | Remark | Table | Chart | Gallery


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report under one heading; sections come by `rank`, then as they came."""

    title: str
    rank: int
    blocks: Sequence[Block]


@dataclass(slots=True)
class Case:
    """What is known of one clip. Each contribution fills in what it knows; the first one to know something counts.

    truths, predictions, classes: by condition; wrong: conditions whose predicted sign is wrong, None without a
    prediction; shares: what each modality, by letter, adds to the prediction of M; source, start_s, end_s: the clip's
    file below the folder of videos, and its part of it; duration_s: how long that is; look: reasons to look at it.
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
    wrong: Sequence[str] | None = None
    shares: Mapping[str, float] | None = None
    look: Sequence[str] | None = None

    def add(self, other: Case) -> None:
        """Take over what the other knows and this one does not."""
        for one in fields(self):
            if getattr(self, one.name) is None:
                setattr(self, one.name, getattr(other, one.name))


@dataclass(frozen=True, slots=True)
class ReportRequest:
    """What the user asked for: the paths, in the order given, where remarks go, and where the videos lie."""

    paths: Sequence[Path]
    reporter: Reporter
    videos: Path | None = None


@dataclass(slots=True)
class Contribution:
    """What one part of the program has to show, and of which paths."""

    used: list[Path] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
