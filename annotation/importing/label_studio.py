"""The files of Label Studio: tasks with their annotations and drafts, and the flat rows of JSON_MIN, CSV and TSV.

The server checks neither labels nor roles, so nothing here is taken on trust. Text is text: nothing is executed,
and no HTML is interpreted.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from fmltk.annotation.importing.answers import Answer, rater_of
from fmltk.annotation.importing.clip_ids import TASK_ID, ClipNames
from fmltk.annotation.importing.records import Drop, Rated, Record, rated_of
from fmltk.annotation.importing.reviews import Verdict, VerdictCount
from fmltk.annotation.importing.times import Clock
from fmltk.annotation.raters import read_identity, text_id
from fmltk.toolkit.errors import AnnotationError
from fmltk.toolkit.io.documents import parse_json_value
from fmltk.toolkit.io.printable import short_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fmltk.annotation.settings import ImportOptions

SERVER_FIELDS = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time")
RATING_KEYS = ("choices", "rating", "number")  # where the value of Choices, Rating and Number holds the answer
LACKS = {
    "JSON": (),
    "JSON before 1.0": ("changes by another than the rater",),
    **dict.fromkeys(
        ("JSON_MIN", "CSV", "TSV"),
        ("skipped annotations", "drafts", "changes by another than the rater"),
    ),
    "long table": ("skipped annotations unless there is a column status", "drafts"),
    "wide table": ("skipped annotations", "drafts", "times"),
    "ratings.parquet": (),
}


@dataclass
class FileReport:
    """The contents of one file."""

    file: str
    format: str = ""
    tasks: int = 0
    tasks_without_annotation: int = 0
    annotations: int = 0
    predictions: int = 0
    kept: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    columns: str = ""  # how the columns of a plain table are understood
    without_rating: list[str] = field(default_factory=list, repr=False)  # columns taken for annotators'
    clip_names: ClipNames = field(default_factory=ClipNames, repr=False)
    clock: Clock = field(default_factory=Clock, repr=False)
    verdicts: VerdictCount = field(default_factory=VerdictCount, repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON can hold it."""
        names = [one.name for one in fields(self) if one.repr]
        return {**{name: getattr(self, name) for name in names}, "lacks": list(self.lacks)}

    @property
    def lacks(self) -> tuple[str, ...]:
        """The parts that this kind of file cannot hold."""
        return LACKS.get(self.format, ())

    def remark(self, text: str) -> None:
        """Note something once."""
        if text not in self.remarks:
            self.remarks.append(text)


def read_task(task: dict[str, Any], where: str, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    """Yield the annotations and drafts of a task of a JSON export, a snapshot, or an export before 1.0."""
    report.tasks += 1
    data = task.get("data")
    data = data if isinstance(data, dict) else {}
    for name in (*SERVER_FIELDS, *(own.control for _, own in options.by_dimension)):
        if name in data:
            report.remark(f"the tasks have a data field {name!r}: in CSV and JSON_MIN it poses as the server's own")
    annotations = _listed(task.get("completions" if "completions" in task else "annotations"))
    drafts = _listed(task.get("drafts"))
    report.predictions += len(_listed(task.get("predictions")))
    if not annotations and not drafts:
        report.tasks_without_annotation += 1
        return
    number = {} if TASK_ID in data else {TASK_ID: task.get("id")}
    data = {**data, **_own_id(number, options, report)}
    for verdict in (Verdict.of(annotation) for annotation in annotations if isinstance(annotation, dict)):
        report.verdicts.add(verdict)
    for dimension, own in options.by_dimension:
        about = rated_of(data, own, where, report.clip_names, dimension=dimension)
        for annotation in annotations:
            report.annotations += 1
            yield _read_annotation(annotation, about, where, own, report)
        for draft in drafts:
            report.annotations += 1
            yield _read_draft(draft, about, where, own, report.clock)


def _own_id(task: dict[str, Any], options: ImportOptions, report: FileReport) -> dict[str, str]:
    """Return the task's own number as a field that may name the clip, with its source where that has a name."""
    number = text_id(task.get(TASK_ID)) if options.id_field == TASK_ID else None
    if number is None:
        return {}
    report.remark("the tasks' own numbers name the clips: tasks of several projects are several clips")
    return {TASK_ID: options.names.of_source(number)}


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _read_annotation(
    annotation: object, about: Rated | Drop, where: str, options: ImportOptions, report: FileReport
) -> Record | Drop:
    if not isinstance(annotation, dict):
        return Drop(where, "not an annotation", label=short_text(annotation))
    annotation_id = short_text(annotation.get("id"))
    if isinstance(about, Drop):
        return about._replace(annotation_id=annotation_id)
    verdict = Verdict.of(annotation)
    identity = read_identity(annotation.get("completed_by"))
    is_fixed = options.reviews and verdict.word == "fixed"
    last = read_identity(verdict.reviewer if is_fixed else annotation.get("updated_by"))
    edited_by = None
    if last is not None and identity is not None and last != identity:
        edited_by = rater_of(last, options) or options.names.safe_name(str(short_text(last)))
    known = {"identity": identity, "annotation_id": annotation_id, "edited_by": edited_by, "flags": verdict.flags}
    answer = Answer.of(
        annotation, about, where, options, clock=report.clock, lead_time=annotation.get("lead_time"), **known
    )
    if _is_yes(annotation.get("was_cancelled")) or _is_yes(annotation.get("skipped")):
        return answer.record("skipped")
    if options.reviews and verdict.word == "rejected":
        return answer.record("rejected")
    result = verdict.fix if is_fixed else annotation.get("result")
    chosen = _chosen(result, options.control)
    is_answer = chosen is not None and not isinstance(chosen, Drop)
    if is_answer and answer.about.scale.low < 0 and _has_stars(result, options.control):
        return answer.drop("unknown label", chosen)  # stars count from 1: the scale cannot be theirs
    return _rating(answer, chosen)


def _is_yes(value: object) -> bool:
    """Whether a field of an export says yes, also where a program has written it as a text.

    >>> [_is_yes(value) for value in (True, "true", "false", "", 0, None)]
    [True, True, False, False, False, False]
    """
    return (
        value.strip().lower() not in ("", "false", "no", "0", "null", "none") if isinstance(value, str) else bool(value)
    )


def _has_stars(result: object, control: str) -> bool:
    of_control = (one for one in _listed(result) if isinstance(one, dict) and one.get("from_name") == control)
    return any(one.get("type") == "rating" for one in of_control)


def _rating(answer: Answer, chosen: object | Drop) -> Record | Drop:
    """Return the rating of a chosen label, an empty answer where nothing was chosen, or why it has no single one."""
    if isinstance(chosen, Drop):
        return answer.drop(chosen.reason, chosen.label)
    return answer.record("empty") if chosen is None or chosen == "" else answer.rating(chosen)


def _read_draft(draft: object, about: Rated | Drop, where: str, options: ImportOptions, clock: Clock) -> Record | Drop:
    if not isinstance(draft, dict):
        clip = about if isinstance(about, Drop) else Drop(where, "", about.utterance_id, about.condition)
        reason = "draft by id" if isinstance(draft, int) else "not an annotation"
        return clip._replace(reason=reason, label=short_text(draft))
    draft_id = f"draft-{short_text(draft.get('id'))}"
    if isinstance(about, Drop):
        return about._replace(annotation_id=draft_id)
    known = {"identity": read_identity({"created_username": None, **draft}), "annotation_id": draft_id}
    answer = Answer.of(draft, about, where, options, clock=clock, lead_time=draft.get("lead_time"), **known)
    if draft.get("annotation") is not None:
        return answer.drop("unfinished change")
    return answer.record("draft")


def _chosen(result: object, control: str) -> object | Drop:
    """Return the chosen label, None if nothing was chosen, or why it has no single one."""
    regions = _listed(result)
    choices: list[object] = []
    reason, other = "", None
    for region in regions:
        of_control = isinstance(region, dict) and region.get("from_name") == control
        found = _labels_of(region.get("value")) if of_control else None
        if found is not None:
            choices.extend(found)
        elif of_control or not reason:
            reason, other = "unsupported control" if of_control else "wrong control", region
    if not choices:
        return Drop("", reason, label=_described(other)) if reason else None
    return _only(choices)


def _described(region: object) -> str | None:
    """Return what is shown of a region that holds no rating: its control and kind."""
    if isinstance(region, dict) and region.get("from_name"):
        return short_text(f"{region['from_name']} ({region.get('type')})")
    return short_text(region)


def _labels_of(value: object) -> list[object] | None:
    """Return what was chosen of a control's value; None if it is of a kind that holds no rating, such as a text."""
    for key in RATING_KEYS:
        if isinstance(value, dict) and key in value:
            found = value[key]
            return found if isinstance(found, list) else [found]
    if isinstance(value, dict) and isinstance(value.get("taxonomy"), list):
        paths = value["taxonomy"]
        if all(isinstance(path, list) and len(path) == 1 for path in paths):  # one level: a list of choices
            return [path[0] for path in paths]
    return None


def _only(labels: list[object]) -> object | Drop:
    return labels[0] if len(labels) == 1 else Drop("", "two choices", label=short_text(labels))


def read_row(row: dict[str, Any], where: str, options: ImportOptions, report: FileReport) -> Iterator[Record | Drop]:
    """Read one row of JSON_MIN, CSV or TSV: one annotation, its task's data in the same row."""
    report.tasks += 1
    annotation_id = short_text(text_id(row.get("annotation_id")))
    identity = read_identity(row.get("annotator"))
    if (
        annotation_id is None
        and identity is None
        and all(row.get(own.control) in (None, "") for _, own in options.by_dimension)
    ):
        report.tasks_without_annotation += 1
        return
    report.annotations += 1
    data = {**row, **_own_id(row, options, report)}
    for dimension, own in options.by_dimension:
        about = rated_of(data, own, where, report.clip_names, dimension=dimension)
        if isinstance(about, Drop):
            yield about._replace(annotation_id=annotation_id)
            continue
        known = {"identity": identity, "annotation_id": annotation_id}
        answer = Answer.of(row, about, where, own, clock=report.clock, lead_time=row.get("lead_time"), **known)
        yield _rating(answer, _row_choice(row.get(own.control)))


def _row_choice(cell: object) -> object | Drop:
    """Return the label of a cell, None if it has none, or why it has no single one.

    Several choices, and answers to other controls than choices, are written as a list or object of JSON.
    """
    if isinstance(cell, str) and cell[:1] in ("[", "{"):
        try:
            cell = parse_json_value(cell, name="the answer", error=AnnotationError)
        except AnnotationError:
            return cell
    labels: list[object] = []
    for part in cell if isinstance(cell, list) else [cell]:
        found: list[object] | None = part if isinstance(part, list) else [part]
        if isinstance(part, dict):
            found = _labels_of(part)
        if found is None:
            return Drop("", "unsupported control", label=short_text(part))
        labels.extend(found)
    return _only(labels) if labels else None
