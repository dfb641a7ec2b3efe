"""The reasons that a clip's own row gives, and those that its text gives next to the others'."""

from __future__ import annotations

from typing import Any

import pytest

from fmltk.toolkit.curation.findings import REASONS, findings_of_row
from fmltk.toolkit.curation.texts import text_findings, transcript_findings

GOOD: dict[str, Any] = {
    "utterance_id": "v$_$1", "n_faces": 1, "vision_status": "ok", "audio_status": "ok", "vision_valid": 0.98,
    "face_coverage": 0.99, "longest_gap_s": 0.1, "silence_share": 0.3, "audio_length": 130, "n_frames": 90,
    "video_start_s": 0.0, "text_unknown_share": 0.0, "warnings": [], "duration_s": 3.0,
}  # fmt: skip


def reasons(**changed: Any) -> dict[str, str]:
    level_range_db = changed.pop("level_range_db", 25.0)
    return {one.reason: one.detail for one in findings_of_row({**GOOD, **changed}, level_range_db=level_range_db)}


def test_a_good_clip_is_not_listed() -> None:
    assert reasons() == {}


def test_a_manifest_of_an_older_version_lists_what_it_knows() -> None:
    row = {"utterance_id": "v$_$1", "n_faces": 2, "face_coverage": 0.2, "vision_status": "ok", "audio_status": "ok"}
    assert [one.reason for one in findings_of_row(row)] == ["several-people", "low-coverage"]


@pytest.mark.parametrize(
    ("changed", "reason", "words"),
    [
        ({"n_faces": 2}, "several-people", "2 people"),
        ({"n_faces": 6}, "several-people", "6 people"),
        ({"speaker_source": "unsure"}, "speaker-unsure", "nobody is clearly the speaker"),
        ({"speaker_source": "unsure", "speaker_margin": 0.04}, "speaker-unsure", "margin 0.04"),
        (
            {
                "warnings": [
                    "vision: OpenFace follows another face than the speaker's in 4 of 9 frames, which are masked"
                ]
            },
            "other-face",
            "4 of 9 frames",
        ),
        ({"vision_valid": 0.31, "longest_gap_s": 1.5}, "low-coverage", "31% of the frames, none for 1.5 s"),
        ({"vision_valid": None, "face_coverage": 0.4}, "low-coverage", "40% of the frames"),
        ({"vision_status": "missing", "vision_error_message": "no face in 9 frames"}, "low-coverage", "no face in 9"),
        ({"audio_status": "missing", "audio_error_message": "no sound"}, "no-speech", "no sound"),
        ({"silence_share": 0.95}, "no-speech", "95% of the audio is silent"),
        ({"level_range_db": 3.0}, "no-speech", "varies by 3 dB"),
        ({"n_frames": 60}, "unequal-lengths", "audio ends at 3.00 s, the video at 2.00 s"),
        ({"n_frames": 120}, "unequal-lengths", "the video at 4.00 s"),
        ({"video_start_s": 0.4}, "unequal-lengths", "which starts at 0.40 s"),
        ({"text_unknown_share": 0.6}, "unknown-tokens", "60 % are unknown"),
    ],
)
def test_what_is_odd_about_a_clip_is_its_reason(changed: dict[str, Any], reason: str, words: str) -> None:
    found = reasons(**changed)
    assert list(found) == [reason]
    assert words in found[reason]


@pytest.mark.parametrize(
    "changed",
    [
        {"vision_valid": 0.5}, {"silence_share": 0.89}, {"n_frames": 88}, {"video_start_s": 0.1}, {"n_faces": 0},
        {"audio_status": "skipped", "audio_length": None}, {"vision_status": "skipped", "n_frames": None},
        {"audio_status": "failed", "audio_length": None}, {"text_unknown_share": None}, {"level_range_db": None},
    ],
)  # fmt: skip
def test_what_is_usual_or_not_known_is_no_reason(changed: dict[str, Any]) -> None:
    assert reasons(**changed) == {}


def test_several_reasons_come_in_their_own_order() -> None:
    found = list(reasons(n_faces=2, silence_share=1.0, vision_valid=0.1, text_unknown_share=0.9))
    assert found == sorted(found, key=list(REASONS).index)
    assert len(found) == 4


# Texts


def texts(*of: tuple[str, float], language: str = "en") -> list[dict[str, Any]]:
    return [
        {"utterance_id": f"v$_${k}", "text": text, "duration_s": seconds, "language": language}
        for k, (text, seconds) in enumerate(of)
    ]


def usual(n: int = 12) -> list[tuple[str, float]]:
    """Sentences of 11 to 15 letters a second."""
    return [("she really liked the second half of it" + " a lot" * (k % 3), 2.0 + 0.4 * (k % 3)) for k in range(n)]


@pytest.mark.parametrize(("text", "seconds", "reason"), [
    ("word " * 60, 2.0, "much-text"), ("yes", 9.0, "little-text"), ("...", 3.0, "little-text"),
    ("the text of quite another clip, which is far too long to be said so fast", 0.8, "much-text"),
])  # fmt: skip
def test_a_text_that_does_not_fit_its_duration_is_found(text: str, seconds: float, reason: str) -> None:
    (found,) = text_findings(texts(*usual(), (text, seconds)))
    assert (found.utterance_id, found.reason) == ("v$_$12", reason)
    assert "the median of 13 clips is" in found.detail


def test_texts_read_at_one_pace_have_no_outlier_among_small_differences() -> None:
    same = [("exactly the same words", 2.0)] * 10
    assert text_findings(texts(*same, ("exactly the same words again", 2.0), ("exactly the same", 2.0))) == []


def test_few_texts_have_no_median_to_speak_of() -> None:
    assert text_findings(texts(*usual(6), ("word " * 90, 1.0))) == []


def test_each_language_has_a_pace_of_its_own() -> None:
    chinese = texts(*[("这部电影真的非常好看", 2.0)] * 9, language="zh")
    for number, row in enumerate(chinese):
        row["utterance_id"] = f"z$_${number}"
    found = text_findings([*texts(*usual(30)), *chinese])
    assert {one.reason for one in found} == {"other-language"}  # five ideographs a second are no little text
    assert len(found) == 9


def test_another_language_is_found_and_an_unknown_one_is_not() -> None:
    rows = texts(*usual(5))
    rows[2]["language"], rows[3]["language"] = "de", None
    (found,) = text_findings(rows)
    assert (found.utterance_id, found.reason) == ("v$_$2", "other-language")
    assert found.detail == "the text is de, of 3 of 4 clips it is en"


def test_a_set_of_many_languages_has_no_language_of_its_own() -> None:
    rows = texts(*usual(9))
    for number, row in enumerate(rows):
        row["language"] = ("en", "de", "fr")[number % 3]
    assert text_findings(rows) == []


def heard(text: str | None, **changed: Any) -> dict[str, Any]:
    return {"status": "ok", "used": False, "text": text, **changed}


@pytest.mark.parametrize(
    ("given", "recognised", "detail"),
    [
        ("I like it a lot", heard("you never know"), "word error rate 1.00: recognised is 'you never know'"),
        ("我很喜欢这个", heard("我不要"), "character error rate 0.83: recognised is '我不要'"),
        ("So good!", heard(None), "word error rate 1.00: no text is recognised in the audio"),
        ("Yes.", heard("yes I think that it is so " * 9), "word error rate 62.00: recognised is 'yes I think"),
        ("I don't like it.", heard("i dont like that it"), None),
        ("我很喜欢这个", heard("我很喜欢那个。"), None),
        ("SO, GOOD!", heard("so good"), None),
        ("I like it a lot", heard("you never know", used=True), None),  # the text is the recognised one itself
        ("I like it a lot", heard(None, status="failed"), None),
        ("I like it a lot", heard(None, status="missing"), None),
        ("?!", heard("you never know"), None),
        (None, heard("you never know"), None),
    ],
)
def test_a_transcript_far_from_the_recognised_text_is_listed(
    given: str | None, recognised: dict[str, Any], detail: str | None
) -> None:
    found = transcript_findings([{**GOOD, "text": given}], {GOOD["utterance_id"]: recognised})
    assert [one.reason for one in found] == (["other-words"] if detail else [])
    assert all(one.detail.startswith(str(detail)) for one in found)


def test_the_transcripts_that_are_farthest_come_first() -> None:
    texts = {"a": "no no no", "b": "so good", "c": "yes yes yes yes"}
    rows = [{**GOOD, "utterance_id": name, "text": "so good it is"} for name in texts]
    found = transcript_findings(rows, {name: heard(text) for name, text in texts.items()})
    assert [one.utterance_id for one in found] == ["a", "c"]
    assert [one.severity for one in found] == sorted((one.severity for one in found), reverse=True)
