"""The fate of each clip before any feature is read: its steps, or why it has none."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fmltk.toolkit.alignment.transcripts import match_words, split_characters
from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.features.clip_row import OK
from fmltk.toolkit.text.bert import without_surrogates

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fmltk.toolkit.alignment.clip_words import ClipWords
    from fmltk.toolkit.alignment.settings import AlignSettings
    from fmltk.toolkit.alignment.transcripts import Step
    from fmltk.toolkit.features.clip_row import ClipRow


@dataclass
class Plan:
    """The clips of a feature folder that are to be aligned.

    Attributes
    ----------
    steps
        By utterance_id, a clip's words; with the unit "token" its tokens come from these.
    lengths
        By utterance_id, how many steps the clip will have.
    faults
        By utterance_id, why a clip cannot be aligned.
    warnings
        By utterance_id, what did not match.
    counts
        Words in all: matched, different, untimed, left out.
    """

    steps: dict[str, tuple[Step, ...]] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("words", "different", "untimed", "left_out"), 0)
    )


def plan_clips(rows: Mapping[str, ClipRow], given: ClipWords, settings: AlignSettings) -> Plan:
    """Match each clip's words with its transcript.

    rows : the clips that have features, by utterance_id
    """
    plan = Plan(faults=dict(given.faults))
    for utterance, row in rows.items():
        words = given.words.get(utterance)
        if words is None:
            continue
        text = row.modalities["text"]
        if settings.unit == "token" and text.status != OK:
            plan.faults[utterance] = f"it has no tokens to be aligned to: its text is {text.status}"
            continue
        try:
            matched = match_words(
                None if row.text is None else without_surrogates(row.text),
                split_characters(words) if settings.unit == "character" else words,
            )
        except FeatureError as error:
            plan.faults[utterance] = str(error)
            continue
        plan.steps[utterance] = matched.steps
        plan.lengths[utterance] = (text.length or 0) if settings.unit == "token" else len(matched.steps)
        plan.warnings[utterance] = [*given.warnings.get(utterance, ()), *matched.remarks()]
        for name, n in (
            ("words", len(matched.steps)),
            ("different", len(matched.different)),
            ("untimed", len(matched.untimed)),
            ("left_out", len(matched.left_out)),
        ):
            plan.counts[name] += n
    return plan
