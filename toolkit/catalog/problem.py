"""Oddities of a run's input."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about the input that the user should know before work begins.

    kind is one of: no-transcript, no-video, ambiguous-id, duplicate-id, same-content, unknown-split, ignored-file,
    excluded-unknown, unmatched-sidecar, other-language, other-words, short-cue; and, once files are opened: unreadable,
    duration, unknown-tokens.
    """

    kind: str
    where: str
    message: str
