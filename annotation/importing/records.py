"""From one annotation, as an export holds it, to one rating, or to the reason why it is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fmltk.annotation.importing.clip_ids import clip_ids, without_upload_prefixes
from fmltk.toolkit.conditions import CONDITIONS, Scale, canonical_condition
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.io.printable import short_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fmltk.annotation.importing.clip_ids import ClipNames
    from fmltk.annotation.settings import ImportOptions

# Why something in an export is no rating; every count in a report is one of these.
REASONS = {
    "no clip": "the task has no utterance_id, nor video_id and clip_id (name a field by --id-field)",
    "ids disagree": "utterance_id is not video_id and clip_id joined",
    "unusable id": "an id holds control characters or is empty",
    "no condition": "the task does not say its condition (give it by --condition)",
    "unknown condition": f"the condition is none of {', '.join(CONDITIONS)}",
    "no rater": "the annotation does not say who made it (name the rater by --rater)",
    "unlisted rater": "the rater is not on the list given by --raters",
    "wrong control": "the answer was given to another control than the rating (name it by --control)",
    "unsupported control": "the control is of a kind that is not read (choices, ratings, numbers, a flat taxonomy are)",
    "two choices": "more than one value was chosen",
    "unknown label": "the value is not on the scale (say it by --scale, or map words by --label WORD=VALUE)",
    "not an annotation": "the export holds something else where an annotation belongs",
    "draft by id": "a snapshot lists a draft by its number alone, without its rater or answer",
    "unfinished change": "a draft of a change to a submitted answer; the answer stands",
    "same annotation": "an older state of an annotation that was read again",
    "repeated": "an earlier rating of the clip by the same rater; the latest stands",
    "skipped too": "the rater skipped or left the clip, or was rejected, and also rated it; the rating stands",
    "superseded": "an earlier skip, empty or rejected answer or draft by the same rater",
}
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,4}(\.0+)?", re.ASCII)


class Record(NamedTuple):
    """One rating, skip, empty answer or draft, in the order of ratings.parquet's columns."""

    utterance_id: str
    video_id: str
    clip_id: str
    condition: str
    annotator: str
    value: int | None
    scale: str
    status: str
    lead_time_s: float | None
    created_at: datetime | None
    updated_at: datetime | None
    annotation_id: str | None
    edited_by: str | None
    flags: str


class Drop(NamedTuple):
    """Something that is no rating, and why: one line of the report's file of dropped annotations."""

    where: str
    reason: str
    utterance_id: str | None = None
    condition: str | None = None
    annotator: str | None = None
    annotation_id: str | None = None
    label: str | None = None


class Rated(NamedTuple):
    """The clip, condition and scale that an annotation is about."""

    utterance_id: str
    video_id: str
    clip_id: str
    condition: str
    scale: Scale


def condition_of_title(title: str) -> str | None:
    """Return the condition that a project's title ends in, such as "films AT", or None.

    Only the last word counts, in capitals: "look at" names no condition.

    >>> condition_of_title("films AT"), condition_of_title("look at")
    ('AT', None)
    """
    last = re.split(r"[\s_\-/]+", title.strip())[-1]
    return last if last in CONDITIONS else None


def parse_seconds(value: object) -> float | None:
    """Return a duration in seconds; None if it is not a finite number of 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if 0 <= seconds < float("inf") else None


def parse_value(label: object, scale: Scale, label_values: Mapping[str, int]) -> int | None:
    """Return the rating that a label stands for; None if it is not on the scale.

    >>> parse_value("+1", Scale(-1, 1), {}), parse_value("1.0", Scale(-1, 1), {}), parse_value("2", Scale(-1, 1), {})
    (1, 1, None)
    """
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        return None
    text = str(label).strip()
    if text in label_values:
        number = label_values[text]
    else:
        text = text.replace("\N{MINUS SIGN}", "-")
        if not _WHOLE_NUMBER.fullmatch(text):
            return None
        number = int(float(text))
    return number if scale.low <= number <= scale.high else None


def rated_of(data: Mapping[str, Any], options: ImportOptions, where: str, names: ClipNames) -> Rated | Drop:
    """Return what a task is about, from its data.

    Raises AnnotationError if the task's condition or scale contradicts the options, or its id is another clip's.
    """
    written = clip_ids(data, options)
    if isinstance(written, str):
        return Drop(where, written, utterance_id=short_text(data.get("utterance_id")))
    ids = without_upload_prefixes(written) if options.cut_uploads else written
    given = data.get("condition")
    if given in (None, ""):
        if options.condition is None:
            return Drop(where, "no condition", utterance_id=ids[0])
        condition = options.condition
    else:
        found = canonical_condition(str(given))
        if found is None:
            return Drop(where, "unknown condition", utterance_id=ids[0], condition=short_text(given))
        if options.condition is not None and found != options.condition:
            raise AnnotationError(f"{where} says condition {found}, --condition says {options.condition}: drop one")
        condition = found
    if options.id_field is not None:
        names.check(ids[0], condition, str(data.get(options.id_field)), where)
    elif ids != written:
        names.check(ids[0], condition, written[0], where)
    if ids != written:
        names.note_upload(ids[0], condition, written[0])
    return Rated(*ids, condition, _scale_of(data, condition, options, where))


def _scale_of(data: Mapping[str, Any], condition: str, options: ImportOptions, where: str) -> Scale:
    given = data.get("scale")
    if not isinstance(given, str) or not given:
        return options.scale(condition)
    try:
        scale = Scale.parse(given)
    except ConfigError as error:
        raise AnnotationError(f"{where}: {error}") from error
    asked = options.scales.get(condition, scale)
    if asked != scale:
        raise AnnotationError(f"{where} was rated on {scale}, --scale says {condition}={asked}: drop the option")
    return scale
