"""Findings that a careful researcher would look at: reasons, and the rules that need one row of the manifest alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from fmltk.toolkit.features import doubts
from fmltk.toolkit.features.clip_row import MISSING, OK, ClipRow
from fmltk.toolkit.settings import ACOUSTIC_RATE_HZ, FRAME_RATE_HZ
from fmltk.toolkit.text.language import MAX_UNKNOWN_SHARE, unknown_tokens
from fmltk.toolkit.vision.openface.align import OTHER_FACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

SEVERAL_PEOPLE, SPEAKER_UNSURE, OTHER_FACE_FOLLOWED = "several-people", "speaker-unsure", "other-face"
LOW_COVERAGE, NO_SPEECH, UNEQUAL_LENGTHS = "low-coverage", "no-speech", "unequal-lengths"
SAME_CONTENT, MUCH_TEXT, LITTLE_TEXT = "same-content", "much-text", "little-text"
OTHER_LANGUAGE, UNKNOWN_TOKENS, OTHER_WORDS = "other-language", "unknown-tokens", "other-words"
REASONS = {  # in the order of a clip's rows, with what the summary says
    SEVERAL_PEOPLE: "several people",
    SPEAKER_UNSURE: "the speaker is not sure",
    OTHER_FACE_FOLLOWED: "OpenFace follows another face",
    LOW_COVERAGE: "the face is there too little",
    NO_SPEECH: "no speech",
    UNEQUAL_LENGTHS: "audio and video of different lengths",
    SAME_CONTENT: "the content of another clip",
    MUCH_TEXT: "too much text for the duration",
    LITTLE_TEXT: "too little text for the duration",
    OTHER_LANGUAGE: "another language than most",
    UNKNOWN_TOKENS: "words that the text model does not know",
    OTHER_WORDS: "other words than those recognised in the audio",
}

MAX_SILENCE = 0.9  # of the audio: a second of speech in ten
MIN_LEVEL_RANGE_DB = 10.0  # of the loudest and the quietest tenth: speech has 13 to 36 in seven clips, rooms 3 and 8
MAX_LENGTH_DIFFERENCE_S = 0.25  # of intact files at most 0.08

Row = dict[str, Any]  # one of the manifest, by column; columns of newer versions may be absent


@dataclass(frozen=True, slots=True)
class Finding:
    """Why to look at a clip: one of REASONS, and the evidence in words.

    severity : a number by which findings of one reason can be ordered; 0 where they have none
    """

    utterance_id: str
    reason: str
    detail: str
    severity: float = field(default=0.0, repr=False, compare=False)


def findings_of_row(row: Mapping[str, Any], *, level_range_db: float | None = None) -> list[Finding]:
    """Return what a clip's row of the manifest gives reason to look at; nothing of a clip that was left out.

    level_range_db : how far the loudest tenth of its audio lies above the quietest; None where it is not known

    >>> findings_of_row({"utterance_id": "talk$_$0", "n_faces": 3, "vision_valid": 0.9})
    [Finding(utterance_id='talk$_$0', reason='several-people', detail='3 people')]
    """
    found = (_EVIDENCE[doubt] for doubt in doubts.doubts_of(ClipRow.from_columns(row)))
    details = {reason: evidence(row) for reason, evidence in found}
    details |= {reason: detail for reason, rule in _RULES.items() if (detail := rule(row))}
    if silent := _no_speech(row, level_range_db):
        details[NO_SPEECH] = silent
    utterance = str(row["utterance_id"])
    return [Finding(utterance, reason, details[reason]) for reason in REASONS if reason in details]


def _speaker_evidence(row: Mapping[str, Any]) -> str:
    margin = row.get("speaker_margin")
    return "nobody is clearly the speaker" + ("" if margin is None else f" (margin {margin:.2f})")


def _coverage_evidence(row: Mapping[str, Any]) -> str:
    if row.get("vision_valid") is None:
        return f"the speaker's face is in {row['face_coverage']:.0%} of the frames"
    gap_s = row.get("longest_gap_s") or 0.0
    return f"visual features of {row['vision_valid']:.0%} of the frames, none for {gap_s:.1f} s at a stretch"


def _other_face(row: Mapping[str, Any]) -> str | None:
    return next((warning for warning in row.get("warnings") or () if OTHER_FACE in warning), None)


def _no_vision(row: Mapping[str, Any]) -> str | None:
    if row.get("vision_status") != MISSING:
        return None
    return str(row.get("vision_error_message") or "the clip has no visual features")


def _no_speech(row: Mapping[str, Any], level_range_db: float | None) -> str | None:
    if row.get("audio_status") == MISSING:
        return str(row.get("audio_error_message") or "the clip has no audio")
    silence = row.get("silence_share")
    if silence is not None and silence >= MAX_SILENCE:
        return f"{silence:.0%} of the audio is silent"
    if level_range_db is not None and level_range_db < MIN_LEVEL_RANGE_DB:
        return f"the level varies by {level_range_db:.0f} dB, speech does by {MIN_LEVEL_RANGE_DB:.0f} and more"
    return None


def _unequal_lengths(row: Mapping[str, Any]) -> str | None:
    n_steps, n_frames = row.get("audio_length"), row.get("n_frames")
    if row.get("audio_status") != OK or n_steps is None or n_frames is None:
        return None
    audio_s, video_s = (n_steps - 1) / ACOUSTIC_RATE_HZ, n_frames / FRAME_RATE_HZ
    late_s = row.get("video_start_s") or 0.0
    if abs(audio_s - video_s) <= MAX_LENGTH_DIFFERENCE_S and late_s <= MAX_LENGTH_DIFFERENCE_S:
        return None
    late = f", which starts at {late_s:.2f} s" if late_s > MAX_LENGTH_DIFFERENCE_S else ""
    return f"the audio ends at {audio_s:.2f} s, the video at {video_s:.2f} s{late}"


def _unknown_tokens(row: Mapping[str, Any]) -> str | None:
    share = row.get("text_unknown_share")
    return f"of the tokens, {unknown_tokens(share)}" if share is not None and share > MAX_UNKNOWN_SHARE else None


_EVIDENCE: Mapping[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {  # what the summary of extract counts too
    doubts.SEVERAL_PEOPLE: (SEVERAL_PEOPLE, lambda row: f"{row['n_faces']} people"),
    doubts.UNSURE_SPEAKER: (SPEAKER_UNSURE, _speaker_evidence),
    doubts.LOW_COVERAGE: (LOW_COVERAGE, _coverage_evidence),
}
_RULES: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
    OTHER_FACE_FOLLOWED: _other_face,
    LOW_COVERAGE: _no_vision,
    UNEQUAL_LENGTHS: _unequal_lengths,
    UNKNOWN_TOKENS: _unknown_tokens,
}
