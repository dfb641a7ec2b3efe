"""Who answered and when, and what becomes of the answer: a row of ratings.parquet, or the reason why it is none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fmltk.annotation.importing.clip_ids import CONTROL_CHARACTERS
from fmltk.annotation.importing.records import (
    Drop,
    Record,
    parse_value,
)
from fmltk.toolkit.io.printable import short_text

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from fmltk.annotation.importing.records import Rated
    from fmltk.annotation.importing.times import Clock
    from fmltk.annotation.settings import ImportOptions


def rater_of(identity: str | None, options: ImportOptions) -> str | None:
    """Return the rater's name; None if there is none, or the list of raters lacks it."""
    if identity is None:
        identity = options.rater
    if identity is None or CONTROL_CHARACTERS.search(identity):
        return None
    return options.names.name(identity)


def refused_rater(identity: str | None, options: ImportOptions) -> tuple[str, str | None]:
    """Return why `rater_of` gave no name, and what may be shown of the rater."""
    if identity is None and options.rater is None:
        return "no rater", None
    identity = identity or options.rater or ""
    if CONTROL_CHARACTERS.search(identity):
        return "unusable id", None
    return "unlisted rater", options.names.safe_name(identity)


@dataclass(frozen=True, slots=True)
class Answer:
    """Who answered which question, where it is written and when, before the answer itself is looked at."""

    about: Rated
    where: str
    options: ImportOptions
    identity: str | None
    annotation_id: str | None = None
    lead_time_s: float | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    edited_by: str | None = None
    flags: str = ""

    @classmethod
    def of(
        cls,
        entry: Mapping[str, Any],
        about: Rated,
        where: str,
        options: ImportOptions,
        *,
        clock: Clock,
        lead_time: object,
        **known: Any,
    ) -> Answer:
        """Return an answer with the times of `entry`, as `clock` reads them; `known` are further fields."""
        created, updated = clock.of_answer(entry.get("created_at"), entry.get("updated_at"))
        return cls(
            about,
            where,
            options,
            lead_time_s=clock.seconds(lead_time),
            created_at=created,
            updated_at=updated,
            **known,
        )

    def record(self, status: str, value: float | str | None = None, *, label: object = None) -> Record | Drop:
        """Return the row of ratings.parquet, or why there is none; `label` is what an unnamed rater answered."""
        rater = rater_of(self.identity, self.options)
        if rater is None:
            return self.drop(refused_rater(self.identity, self.options)[0], label)
        return Record(
            self.about.utterance_id,
            self.about.video_id,
            self.about.clip_id,
            self.about.condition,
            rater,
            None if isinstance(value, str) else value,
            str(self.about.scale),
            status,
            self.lead_time_s,
            self.created_at,
            self.updated_at,
            self.annotation_id,
            self.edited_by,
            self.flags,
            self.about.dimension,
            value if isinstance(value, str) else None,
        )

    def rating(self, label: object) -> Record | Drop:
        """Return the rating that a label stands for, or why it is none."""
        value = parse_value(label, self.about.scale, self.options.label_values)
        if value is None and rater_of(self.identity, self.options) is not None:
            return self.drop("unknown label", label)
        return self.record("rated", value, label=label)

    def drop(self, reason: str, label: object = None) -> Drop:
        """Return why the answer is not a rating."""
        name = rater_of(self.identity, self.options) or refused_rater(self.identity, self.options)[1]
        return Drop(
            self.where,
            reason,
            self.about.utterance_id,
            self.about.condition,
            name,
            self.annotation_id,
            short_text(label),
            self.about.dimension,
        )
