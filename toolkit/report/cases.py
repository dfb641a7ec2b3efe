"""The browser of clips: every clip as the page's script needs it, the clips to look at first, the embedded data."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.conditions import CONDITIONS, UNIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from fmltk.toolkit.report.clips import Clips
    from fmltk.toolkit.report.document import Case

# Inside <script>: no end of the element, no comment, no line end of JavaScript's own.
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def merge_cases(cases: Iterable[Case]) -> list[Case]:
    """Return one case per clip, sorted by utterance_id."""
    merged: dict[str, Case] = {}
    for case in cases:
        if case.utterance_id in merged:
            merged[case.utterance_id].add(case)
        else:
            merged[case.utterance_id] = case
    return [merged[key] for key in sorted(merged)]


def by_interest(cases: Iterable[Case]) -> list[Case]:
    """Return the cases in the order in which clips are embedded: to look at, wrong, conflicting, the others."""
    return sorted(cases, key=lambda case: (not case.look, not case.wrong, not is_conflict(case), case.utterance_id))


def is_conflict(case: Case) -> bool:
    """Whether text, audio and silent video differ in sign, by their labels, or by predictions where there are none."""
    return len(_signs(case)) > 1


def disagreement(case: Case) -> float | None:
    """Return how far the labels of T, A and V (else their predictions) lie apart."""
    values = _unimodal(case)
    return max(values) - min(values) if len(values) == len(UNIMODAL) else None


def _signs(case: Case) -> set[int]:
    return {(value > 0) - (value < 0) for value in _unimodal(case)}


def _unimodal(case: Case) -> list[float]:
    for values in (case.truths, case.predictions):
        own = [values[name] for name in UNIMODAL if name in values] if values else []
        if own:
            return own if values is case.truths else [round(value, 1) for value in own]
    return []


def case_document(case: Case, clips: Clips | None) -> dict[str, Any]:
    """Return a case as the page's script reads it; short keys, since there may be many."""
    error = None
    if case.truths and case.predictions and "M" in case.truths and "M" in case.predictions:
        error = abs(case.truths["M"] - case.predictions["M"])
    document: dict[str, Any] = {
        "id": case.utterance_id,
        "text": case.text,
        "split": case.split,
        "status": case.status,
        "why": case.reason,
        "truth": _rounded(case.truths),
        "pred": _rounded(case.predictions),
        "class": case.classes,
        "said": case.predicted_classes,
        "wrong": None if case.wrong is None else list(case.wrong),
        "adds": _rounded(case.shares),
        "note": case.note,
        "speaker": case.speaker,
        "time": case.timeline and case.timeline.document(),
        "look": None if case.look is None else list(case.look),
        "conflict": is_conflict(case) or None,
        "error": _round(error),
        "apart": _round(disagreement(case)),
    }
    if clips is not None:
        document["clip"] = (case.utterance_id in clips.previews) or None
        document["link"] = clips.links.get(case.utterance_id)
        document["start"] = case.start_s if document["link"] else None
    return {key: value for key, value in document.items() if value not in (None, {}, "")}


def _rounded(values: Mapping[str, float] | None) -> dict[str, float] | None:
    if values is None:
        return None
    return {name: round(values[name], 3) for name in CONDITIONS if name in values and math.isfinite(values[name])}


def _round(value: float | None) -> float | None:
    return round(value, 3) if value is not None and math.isfinite(value) else None


def script_json(document: object) -> str:
    r"""Return JSON that is safe inside a script element, whatever its strings hold.

    >>> script_json({"text": "</script><script>alert(1)</script>"})
    '{"text":"\\u003c/script\\u003e\\u003cscript\\u003ealert(1)\\u003c/script\\u003e"}'
    """
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escaped in _ESCAPES.items():
        text = text.replace(character, escaped)
    return text.encode("utf-8", "backslashreplace").decode()
