"""Reasons in a clip's text to look at it, next to the texts of the other clips."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.curation.findings import LITTLE_TEXT, MUCH_TEXT, OTHER_LANGUAGE, OTHER_WORDS, Finding
from fmltk.toolkit.features.clip_row import OK
from fmltk.toolkit.text.error_rate import error_rate

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

# A modified z-score beyond 3.5 is an outlier: Iglewicz and Hoaglin, "How to detect and handle outliers", 1993.
OUTLIER, CONSISTENCY = 3.5, 0.6745
MIN_FACTOR = 2.0  # and it is twice or half the median at least: of texts read at one pace each would be an outlier
MIN_CLIPS = 8  # of a language, to have a median to speak of
MAX_ERROR_RATE = 0.5  # of a transcript against the recognised text, whose own errors are fewer in clear speech
SHOWN = 80  # characters of a recognised text
MIN_SHARE = 0.5  # of the texts, for a language to be that of the set


def text_findings(rows: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """Return which clips have too much or too little text for their duration, or text in another language than most.

    rows : of the manifest, by column
    """
    written = [row for row in rows if (row.get("text") or "").strip()]
    return [*_other_languages(written), *_unusual_rates(written)]


def transcript_findings(rows: Sequence[Mapping[str, Any]], heard: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
    """Return which clips have a transcript that is far from what was recognised in their sound, the farthest first.

    heard : rows of transcribed.parquet by utterance_id; a clip whose text is from there is not compared
    """
    found = []
    for row in rows:
        own = heard.get(row["utterance_id"])
        if own is None or own["status"] != OK or own["used"]:
            continue
        far = error_rate(row.get("text") or "", own["text"] or "")
        if far is not None and far.rate > MAX_ERROR_RATE:
            said = f"recognised is {_shortened(own['text'])!r}" if own["text"] else "no text is recognised in the audio"
            detail = f"{far.unit} error rate {far.rate:.2f}: {said}"
            found.append(Finding(str(row["utterance_id"]), OTHER_WORDS, detail, severity=far.rate))
    return sorted(found, key=lambda one: -one.severity)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else text[: SHOWN - 3] + "..."


def _other_languages(rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    counts = Counter(row["language"] for row in rows if row.get("language"))
    if not counts:
        return
    usual, n_usual = min(counts.items(), key=lambda item: (-item[1], item[0]))
    if n_usual < MIN_SHARE * counts.total():
        return
    for row in rows:
        if row.get("language") not in (None, usual):
            detail = f"the text is {row['language']}, of {n_usual} of {counts.total()} clips it is {usual}"
            yield Finding(str(row["utterance_id"]), OTHER_LANGUAGE, detail)


def _unusual_rates(rows: Sequence[Mapping[str, Any]]) -> Iterator[Finding]:
    by_language: defaultdict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        if row.get("duration_s"):
            by_language[row.get("language") or ""].append(row)
    for group in by_language.values():
        if len(group) < MIN_CLIPS:
            continue
        rates = np.array([_n_characters(row["text"]) / row["duration_s"] for row in group])
        usual = float(np.median(rates))
        logs = np.log(np.maximum(rates, 1e-3))
        distances = logs - np.log(max(usual, 1e-3))
        limit = max(OUTLIER / CONSISTENCY * float(np.median(np.abs(distances))), np.log(MIN_FACTOR))
        for row, rate, distance in zip(group, rates, distances, strict=True):
            if abs(distance) > limit:
                detail = (
                    f"{_n_characters(row['text'])} letters in {row['duration_s']:.1f} s are {rate:.1f} a second; the "
                    f"median of {len(group)} clips is {usual:.1f}"
                )
                yield Finding(str(row["utterance_id"]), MUCH_TEXT if distance > 0 else LITTLE_TEXT, detail)


def _n_characters(text: str) -> int:
    """Return how many letters, digits and ideographs a text has: spaces and marks are not spoken.

    >>> _n_characters("That's great, 真的!")
    12
    """
    return sum(character.isalnum() for character in text)
