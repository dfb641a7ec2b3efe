"""From one annotation, as an export holds it, to one rating, or to the reason why it is none."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from fmltk.annotation.importing.clip_ids import CONTROL_CHARACTERS, clip_ids, without_upload_prefixes
from fmltk.annotation.option_texts import DIMENSION
from fmltk.toolkit.conditions import CONDITIONS, Scale, canonical_condition
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.io.printable import short_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fmltk.annotation.importing.clip_ids import ClipNames
    from fmltk.annotation.settings import ImportOptions

# Why something in an export is not a rating; every count in a report is one of these.
REASONS = {
    "no clip": "the task or row has no utterance_id, nor video_id and clip_id (name a field by --id-field; fill merged "
    "cells of a spreadsheet down)",
    "ids disagree": "utterance_id is not video_id and clip_id joined (a spreadsheet removes leading zeros: export the "
    "file again)",
    "unusable id": "an id holds control characters or is empty",
    "no condition": "the task does not say its condition (give it by --condition)",
    "unknown condition": f"the condition is not one of {', '.join(CONDITIONS)}",
    "no rater": "the annotation does not say who made it (name the annotator by --rater)",
    "unlisted rater": "the annotator is not on the list given by --raters",
    "wrong control": "the answer was given to another control than the rating (name it by --control)",
    "unsupported control": "the control is of a kind that is not read (choices, ratings, numbers, a flat taxonomy are)",
    "two choices": "more than one value was chosen",
    "unknown label": "the value is not on the scale (say it by --scale, or map words by --label WORD=VALUE)",
    "unusable dimension": "the dimension's name is longer than 40 characters, or not of letters, digits, - and _",
    "not an annotation": "the export holds something else where an annotation belongs",
    "draft by id": "a snapshot lists a draft by its number alone, without its annotator or answer",
    "unfinished change": "a draft of a change to a submitted answer; the answer stands",
    "same annotation": "an older state of an annotation that was read again",
    "repeated": "an earlier rating of the clip by the same annotator; the latest stands",
    "skipped too": "the annotator skipped or left the clip, or was rejected, and also rated it; the rating stands",
    "superseded": "an earlier skip, empty or rejected answer or draft by the same annotator",
}
# Reasons that a table or project was understood in part: a file that drops some for these needs a look.
NOT_UNDERSTOOD = {
    *("no clip", "ids disagree", "unusable id", "no condition", "unknown condition", "no rater", "unlisted rater"),
    *("wrong control", "unsupported control"),
}
_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,4}(\.0+)?", re.ASCII)
_NUMBER = re.compile(r"[+-]?([0-9]{1,15}(\.[0-9]{0,20})?|\.[0-9]{1,20})(e[+-]?[0-9]{1,3})?", re.ASCII | re.IGNORECASE)
_MAX_WORD_CHARS = 80  # of an answer on a nominal scale; a longer one is a text


class Record(NamedTuple):
    """One rating, skip, empty answer or draft, in the order of ratings.parquet's columns."""

    utterance_id: str
    video_id: str
    clip_id: str
    condition: str
    annotator: str
    value: float | None
    scale: str
    status: str
    lead_time_s: float | None
    created_at: datetime | None
    updated_at: datetime | None
    annotation_id: str | None
    edited_by: str | None
    flags: str
    dimension: str | None
    word: str | None


class Drop(NamedTuple):
    """Something that is not a rating, and why: one line of the report's file of dropped annotations."""

    where: str
    reason: str
    utterance_id: str | None = None
    condition: str | None = None
    annotator: str | None = None
    annotation_id: str | None = None
    label: str | None = None
    dimension: str | None = None


class Rated(NamedTuple):
    """The clip, condition, scale and dimension that an annotation is about."""

    utterance_id: str
    video_id: str
    clip_id: str
    condition: str
    scale: Scale
    dimension: str | None = None


def condition_of_title(title: str) -> str | None:
    """Return the condition that a project's title ends in, such as "films AT", or None.

    Only the last word counts, in capitals: "look at" names no condition.

    >>> condition_of_title("films AT"), condition_of_title("look at")
    ('AT', None)
    """
    last = re.split(r"[\s_\-/]+", title.strip())[-1]
    return last if last in CONDITIONS else None


def parse_value(label: object, scale: Scale, label_values: Mapping[str, int]) -> float | str | None:
    """Return the rating that a label stands for, on a nominal scale its word; None if it is not on the scale.

    >>> parse_value("+1", Scale(-1, 1), {}), parse_value("1.0", Scale(-1, 1), {}), parse_value("2", Scale(-1, 1), {})
    (1, 1, None)
    >>> parse_value("0.25", Scale.parse("0..1:continuous"), {}), parse_value("Sad", Scale.parse("happy|sad"), {})
    (0.25, 'sad')
    """
    if isinstance(label, bool) or not isinstance(label, str | int | float):
        return None
    text = str(label).strip()
    if scale.kind == "nominal":
        if scale.names:
            return next((name for name in scale.names if name.casefold() == text.casefold()), None)
        return None if not text or CONTROL_CHARACTERS.search(text) or len(text) > _MAX_WORD_CHARS else text
    if text in label_values:
        number: float = label_values[text]
    else:
        text = text.replace("\N{MINUS SIGN}", "-")
        if not (_NUMBER if scale.kind == "continuous" else _WHOLE_NUMBER).fullmatch(text):
            return None
        number = float(text) if scale.kind == "continuous" else int(float(text))
    return number if scale.contains(number) else None


def rated_of(
    data: Mapping[str, Any], options: ImportOptions, where: str, names: ClipNames, *, dimension: str | None = None
) -> Rated | Drop:
    """Return what a task is about, from its data, and the dimension that is rated.

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
    if dimension is not None and not DIMENSION.fullmatch(dimension):
        return Drop(where, "unusable dimension", ids[0], condition, label=short_text(dimension))
    return Rated(*ids, condition, _scale_of(data, condition, dimension, options, where), dimension)


def _scale_of(
    data: Mapping[str, Any], condition: str, dimension: str | None, options: ImportOptions, where: str
) -> Scale:
    given = data.get("scale")
    asked = options.asked_scale(condition, dimension)
    if not isinstance(given, str) or not given:
        return asked or options.page_scale or options.default_scale
    try:
        scale = Scale.parse(given)
    except ConfigError as error:
        raise AnnotationError(f"{where}: {error}") from error
    if asked is not None and asked != scale:
        raise AnnotationError(f"{where} was rated on {scale}, --scale says {condition}={asked}: drop the option")
    return scale
