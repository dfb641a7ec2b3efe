"""The settings of the commands of `fmltk annotation`: scales, panels, splits, stimuli, projects, ways to read."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from datetime import UTC, tzinfo
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fmltk.annotation.option_texts import (
    parse_condition,
    parse_conditions,
    parse_dimensions,
    parse_label_values,
    parse_panel,
    parse_replacements,
    parse_scales,
    parse_time_zone,
)
from fmltk.annotation.pages import read_page
from fmltk.annotation.protocols import PROTOCOLS
from fmltk.annotation.raters import RaterNames
from fmltk.toolkit.command_options import Words, check_choices, option
from fmltk.toolkit.conditions import BIMODAL, CH_SIMS_SCALE, CONDITIONS, MOSI_SCALE, Scale
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

N_BOOTSTRAP = 1000  # resamples for an interval of agreement
PANEL_SIZE = 5  # paper, section 3: each group has five students
CONTROL = "sentiment"  # the name of the choices in the projects that `push` makes
TIMEOUT_S = 600.0  # to wait for an answer of the server
LANGUAGES = ("en", "zh", "both")
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@dataclass(frozen=True, kw_only=True)
class ScaleOptions:
    """The scale of each condition: `scales` by condition, `default_scale` for the others."""

    default_scale: Scale = field(
        default=CH_SIMS_SCALE,
        metadata=option(
            "--preset",
            type=Words({"ch-sims": CH_SIMS_SCALE, "mosi": MOSI_SCALE}),
            help="Scale of every condition: ch-sims -1..1 (three choices), mosi -3..3 (seven).",
        ),
    )
    scales: Mapping[str, Scale] = field(
        default_factory=dict,
        metadata=option(
            "--scale",
            multiple=True,
            metavar="[CONDITION=]SCALE",
            parse=parse_scales,
            help="Answers to choose from, such as AT=-1..1; overrides the preset. 0..100:continuous for decimals and "
            "sliders, 'happy|sad|angry' for words without order. Repeatable.",
        ),
    )

    def __post_init__(self) -> None:
        self._check_names(CONDITIONS)

    def _check_names(self, known: Collection[str]) -> None:
        """Raise ConfigError if a scale is given for something else."""
        unknown = next((name for name in self.scales if name not in known), None)
        if unknown is not None:
            raise ConfigError(
                f"--scale {unknown}={self.scales[unknown]} names no condition; expected one of {', '.join(known)}, as "
                "AT=-1..1"
            )

    def scale(self, condition: str) -> Scale:
        """Return the scale of a condition."""
        return self.scales.get(condition, self.default_scale)

    @property
    def by_condition(self) -> dict[str, Scale]:
        """The scale of every condition."""
        return {condition: self.scale(condition) for condition in CONDITIONS}


@dataclass(frozen=True, kw_only=True)
class ImportOptions(ScaleOptions):
    """How exports are read: what they do not say, and the names of raters."""

    condition: str | None = field(
        default=None,
        metadata=option(
            parse=parse_condition, help="Condition of tasks that do not say theirs: M, T, A, V, AT, VT or AV."
        ),
    )
    id_field: str | None = field(
        default=None,
        metadata=option(
            help="The task's data field that names the clip, where it is not utterance_id; id: the task's own number."
        ),
    )
    id_parts: int = field(
        default=1,
        metadata=option(
            type=click.IntRange(1, 2),
            help="If --id-field holds a path: 1, the file's name is the clip; 2, its folder is the video_id too.",
        ),
    )
    cut_uploads: bool = field(
        default=False,
        metadata=option(help="Cut the 8 digits and dash before names of uploads: uploads of one name are one clip."),
    )
    encoding: str | None = field(
        default=None, metadata=option(help="Encoding of CSV and TSV files; recognised where it is clear.")
    )
    protocol: str | None = field(
        default=None,
        metadata=option(
            type=click.Choice(list(PROTOCOLS)),
            help="Flag what the paper does not have: ch-sims, one person in two bimodal conditions of a clip, or not "
            "in the order text, audio, silent video; mosi, also other people for one of these three. Default: that of "
            "the earlier import, else mosi where these three have the scale -3..3.",
        ),
    )
    time_zone: tzinfo = field(
        default=UTC,
        metadata=option(
            default="UTC", parse=parse_time_zone, help="Zone of times that do not say theirs, such as Asia/Shanghai."
        ),
    )
    rater: str | None = field(
        default=None, metadata=option(help="The annotator of annotations that name none (exports before 1.0).")
    )
    control: str = field(default=CONTROL, metadata=option(help="Name of the control that holds the rating."))
    label_values: Mapping[str, int] = field(
        default_factory=dict,
        metadata=option(
            "--label",
            multiple=True,
            metavar="WORD=VALUE",
            parse=parse_label_values,
            help="A label that is a word. Repeatable.",
        ),
    )
    drop_unknown: bool = field(
        default=False,
        metadata=option(help="Leave out and count answers that are not on the scale; without it they stop the import."),
    )
    reviews: bool = field(
        default=False,
        metadata=option(
            help="Use the export's reviews: a rejected answer is not a rating, a fixed one is the reviewer's. Without "
            "it they are counted."
        ),
    )
    names: RaterNames = field(default_factory=RaterNames)
    dimensions: Mapping[str, str] = field(
        default_factory=dict,
        metadata=option(
            "--dimension",
            multiple=True,
            metavar="NAME[=COLUMN]",
            parse=parse_dimensions,
            help="A dimension that is rated, such as valence, and its column of a long table or control of a page. "
            "--scale NAME=SCALE gives its scale. Repeatable.",
        ),
    )
    page: Mapping[str, Scale] = field(  # by control
        default_factory=dict,
        metadata=option(
            "--label-config",
            type=FILE,
            parse=read_page,
            help="The page's labelling configuration (XML), which says the scale where --scale does not.",
        ),
    )

    def __post_init__(self) -> None:
        if self.dimensions:
            self._check_names((*CONDITIONS, *self.dimensions))
        lacking = [name for name in self.controls if self.page and name not in self.page]
        if lacking:
            raise ConfigError(
                f"the page of --label-config has no control {lacking[0]!r} that says its scale; it has "
                f"{', '.join(self.page)}: name one by --control or --dimension NAME=CONTROL, or give --scale instead"
            )

    @property
    def controls(self) -> tuple[str, ...]:
        """The controls, or columns, that hold the ratings."""
        return tuple(self.dimensions.values()) or (self.control,)

    @cached_property
    def by_dimension(self) -> tuple[tuple[str | None, ImportOptions], ...]:
        """Each dimension, with the options that name its control; None without dimensions."""
        own = ((name, replace(self, control=control, dimensions={})) for name, control in self.dimensions.items())
        return tuple(own) or ((None, self),)

    def asked_scale(self, condition: str, dimension: str | None) -> Scale | None:
        """Return the scale that --scale gives: that of the dimension before that of the condition."""
        return self.scales.get(dimension or condition) or self.scales.get(condition)

    @property
    def page_scale(self) -> Scale | None:
        """The scale of the control as the page says it; None of words that --label makes numbers."""
        scale = self.page.get(self.control)
        return None if scale and scale.names and self.label_values.keys() >= set(scale.names) else scale

    def check_scales(self, dimensions: Collection[str]) -> None:
        """Raise ConfigError if a scale is given for something that is neither a condition nor one of the dimensions."""
        self._check_names((*CONDITIONS, *dimensions))


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Which panels give a label: how many ratings a panel has, and what fewer or more of them give."""

    at_least: int | None = field(  # None is strict: exactly `panel`
        default=None,
        metadata=option(
            "--panel",
            default="strict",
            show_default=True,
            parse=parse_panel,
            help="strict: exactly the panel; at-least-N: N or more.",
        ),
    )
    panel: int = field(
        default=PANEL_SIZE,
        metadata=option("--panel-size", type=click.IntRange(1), help="Ratings of a whole panel."),
    )
    more: str = field(  # first: by time of creation
        default="null",
        metadata=option(
            type=click.Choice(["null", "first", "all"]),
            help="With more ratings than a panel: no label, the mean of the first, or the mean of all.",
        ),
    )
    nearest: bool = field(
        default=True,
        metadata=option(
            "--between",
            type=Words({"nearest": True, "null": False}),
            help="Class of a mean between the paper's eleven values: that of its interval, or none.",
        ),
    )

    protocol_strict: bool = field(
        default=False,
        metadata=option(
            help="Leave out ratings that import flagged as not following the protocol (see --protocol there)."
        ),
    )

    adjudicators: tuple[str, ...] = field(
        default=(),
        metadata=option(
            "--adjudicator",
            multiple=True,
            metavar="ANNOTATOR",
            help="A supervisor: this annotator's value is the label if there is one, and never one of the panel. If "
            "several are given, the first counts. Repeatable.",
        ),
    )
    ground_truth: bool = field(
        default=False, metadata=option(help="The value of an answer that is marked as ground truth is the label.")
    )
    replacements: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata=option(
            "--replacement",
            multiple=True,
            metavar="OLD=NEW",
            parse=parse_replacements,
            help="NEW replaced the annotator OLD: if both rated a clip, OLD's rating counts. Repeatable.",
        ),
    )

    def __post_init__(self) -> None:
        check_choices(self)
        if not 1 <= self.fewest <= self.panel:
            raise ConfigError(f"at least {self.fewest} ratings of a panel of {self.panel} cannot be; see --panel-size")

    @classmethod
    def stored(cls, values: Mapping[str, Any]) -> Policy:
        """Return the policy that a table of labels holds, as JSON has it."""
        known = {one.name: values[one.name] for one in fields(cls) if one.name in values}
        known["adjudicators"] = tuple(values.get("adjudicators") or ())
        known["replacements"] = tuple((old, new) for old, new in values.get("replacements") or ())
        return cls(**known)

    @property
    def fewest(self) -> int:
        """The fewest ratings that give a label."""
        return self.panel if self.at_least is None else self.at_least


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedOptions:
    """The labels that a data set ships, and whether they count where raters gave labels too."""

    path: Path | None = field(
        default=None,
        metadata=option("--labels", type=FILE, help="Labels or splits that a data set ships, as in MMSA's label.csv."),
    )
    encoding: str | None = field(
        default=None, metadata=option(help="Encoding of a text file of labels; recognised where it is not given.")
    )
    prefer: str | None = field(
        default=None,
        metadata=option(
            type=click.Choice(["ratings", "shipped"]),
            help="Which of them counts if a clip has both for one condition.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitOptions:
    """How clips are divided into training, validation and test."""

    how: str | None = field(
        default=None,
        metadata=option(
            "--split",
            type=click.Choice(["given", "video", "stratified", "none"]),
            help="given: that of --labels (default where it has one); video: 6:2:2, whole videos together (default "
            "otherwise); stratified: 6:2:2 by class of the first labelled condition, M before the others.",
        ),
    )
    seed: int = field(default=0, metadata=option(type=click.IntRange(0), help="Draws the split."))


@dataclass(frozen=True, slots=True, kw_only=True)
class AgreementOptions:
    """How agreement is measured: resamples for its intervals, and how many disputed clips are listed."""

    n_items: int = field(
        default=20, metadata=option("--items", type=click.IntRange(0), help="Disputed clips per condition.")
    )
    n_bootstrap: int = field(
        default=N_BOOTSTRAP, metadata=option("--bootstrap", type=click.IntRange(1), help="Resamples.")
    )
    seed: int = field(default=0, metadata=option(type=click.IntRange(0), help="Draws the resamples."))


_CONDITION_LIST = option(default=",".join(BIMODAL), parse=parse_conditions, help=f"Some of {','.join(CONDITIONS)}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class StimuliOptions:
    """How stimuli are made; `seed` draws their names."""

    conditions: tuple[str, ...] = field(default=BIMODAL, metadata=_CONDITION_LIST)
    seed: int = field(default=0, metadata=option(type=click.IntRange(0), help="Draws the files' names."))
    max_height: int = field(
        default=720, metadata=option(type=click.IntRange(2), help="Higher video frames are scaled down.")
    )
    n_workers: int | None = field(
        default=None,
        metadata=option(
            "--workers",
            type=click.IntRange(1),
            help="Clips made at the same time; default: the number of cores.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """A Label Studio server, and which of its projects are meant: one per condition, called PREFIX CONDITION."""

    url: str = field(metadata=option(help="Address of the server, such as http://localhost:8080."))
    prefix: str = field(
        default="fmltk", metadata=option("--project-prefix", help="Projects are called PREFIX CONDITION.")
    )
    conditions: tuple[str, ...] = field(default=BIMODAL, metadata=_CONDITION_LIST)
    timeout_s: float = field(
        default=TIMEOUT_S,
        metadata=option(
            "--timeout", type=click.FloatRange(0, min_open=True), help="Seconds that one call to the server may take."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaCheck:
    """Which media of a project's tasks are asked for, to see whether they load."""

    n_most: int = field(
        default=100,  # 7 s, at 0.07 s each
        metadata=option(
            "--check-media",
            type=click.IntRange(0),
            help="Media of each project to ask for; of more, so many are taken, evenly spread. 0: none.",
        ),
    )
    media_url: str | None = field(  # a server may write any address into its tasks
        default=None,
        metadata=option(help="Ask this host for media too, such as https://host/media/, if tasks have them there."),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProjectOptions:
    """How projects are made: raters per clip, where browsers get the files, language, order of the clips."""

    n_annotators: int = field(
        default=PANEL_SIZE, metadata=option("--annotators", type=click.IntRange(1), help="Annotators per clip.")
    )
    document_root: Path | None = field(
        default=None,
        metadata=option(
            type=click.Path(path_type=Path),
            envvar="LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT",
            help="The folder above STIMULI that the server serves (LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT).",
        ),
    )
    media_url: str | None = field(
        default=None,
        metadata=option(help="Address from which browsers get STIMULI/media instead, such as https://host/media/."),
    )
    update_addresses: bool = field(
        default=False,
        metadata=option(help="Give the tasks that are there the media addresses of this push; their answers stay."),
    )
    unproven: bool = field(
        default=False,
        metadata=option(
            help="Do not fetch media first: for media that annotators' browsers reach and this machine does not."
        ),
    )
    language: str = field(
        default="both", metadata=option(type=click.Choice(LANGUAGES), help="Language of the captions.")
    )
    seed: int = field(
        default=0, metadata=option(type=click.IntRange(0), help="Draws the order of the clips in each project.")
    )
