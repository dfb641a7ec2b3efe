"""Words of a source and of a transcript: which is which, and what does not match."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.alignment.transcripts import match_words, split_characters
from fmltk.toolkit.alignment.words import TimedWord
from fmltk.toolkit.errors import FeatureError


def spoken(text: str) -> list[TimedWord]:
    """Words of one second each, in order; one in brackets has no time."""
    return [
        TimedWord(one.strip("[]"), None, None) if one.startswith("[") else TimedWord(one, float(n), n + 1.0)
        for n, one in enumerate(text.split())
    ]


def steps(transcript: str | None, source: str) -> list[tuple[str, float | None, float | None]]:
    return [(one.text, one.start_s, one.end_s) for one in match_words(transcript, spoken(source)).steps]


@pytest.mark.parametrize(
    ("transcript", "source", "expected"),
    [
        ("Set white, with P -- two?!", "set white with p two", ["Set", "white", "with", "P", "two"]),
        ("Café déjà vu", "cafe\u0301 deja VU", ["Café", "déjà", "vu"]),
        ("long-term plans", "long term plans", ["long", "term", "plans"]),
        ("long term plans", "long-term plans", ["long term", "plans"]),
        ("我很喜欢这部电影，不好看。", "我 很 喜欢 这部 电影 不好看", ["我", "很", "喜欢", "这部", "电影", "不好看"]),
        ("我很喜欢", "我 很 喜 欢", ["我", "很", "喜", "欢"]),
        ("A股 is up", "A 股 is up", ["A", "股", "is", "up"]),
        ("नमस्ते दुनिया", "नमस्ते दुनिया", ["नमस्ते", "दुनिया"]),
        ("1,000 dollars", "1,000 dollars", ["1,000", "dollars"]),
    ],
)
def test_words_match_whatever_their_case_accents_and_punctuation(
    transcript: str, source: str, expected: list[str]
) -> None:
    matched = match_words(transcript, spoken(source))
    assert [(one.text, one.start_s) for one in matched.steps] == [(text, float(n)) for n, text in enumerate(expected)]
    assert [transcript[slice(*one.span)] for one in matched.steps if one.span] == expected
    assert matched.remarks() == []


def test_a_word_that_the_source_cuts_in_two_has_the_time_of_both() -> None:
    assert steps("Don't go", "do n't go") == [("Don't", 0.0, 2.0), ("go", 2.0, 3.0)]
    assert steps("I dont go", "I do n't go") == [("I", 0.0, 1.0), ("dont", 1.0, 3.0), ("go", 3.0, 4.0)]


def test_another_word_between_matched_ones_is_taken_for_it_and_named() -> None:
    matched = match_words("its okay now", spoken("its ok now"))
    assert [(one.text, one.start_s) for one in matched.steps] == [("its", 0.0), ("okay", 1.0), ("now", 2.0)]
    assert matched.different == (("okay", "ok"),)
    assert matched.remarks() == ["words that are others in the source, whose times they have (1): 'okay' is 'ok'"]


def test_words_of_one_side_alone_are_counted_and_named() -> None:
    matched = match_words("in twenty fourteen we won it", spoken("uh in 2014 we won it"))
    assert [one.start_s for one in matched.steps] == [1.0, None, None, 3.0, 4.0, 5.0]
    assert (matched.untimed, matched.left_out) == (("twenty", "fourteen"), ("uh", "2014"))
    assert len(matched.remarks()) == 2


def test_a_word_without_a_time_in_the_source_keeps_its_text() -> None:
    matched = match_words("in 2014 we won", spoken("in [2014] we won"))
    assert [(one.text, one.start_s) for one in matched.steps] == [
        ("in", 0.0),
        ("2014", None),
        ("we", 2.0),
        ("won", 3.0),
    ]
    assert (matched.untimed, matched.left_out) == (("2014",), ())


@pytest.mark.parametrize("transcript", [None, "", " ?! "])
def test_without_a_transcript_the_steps_are_the_sources_words(transcript: str | None) -> None:
    matched = match_words(transcript, spoken("set white"))
    assert [(one.text, one.span) for one in matched.steps] == [("set", None), ("white", None)]


def test_words_of_another_clip_are_refused() -> None:
    with pytest.raises(FeatureError, match="of the 5 words of its transcript, 1 are among the 4 of the source"):
        match_words("set white with p two", spoken("place blue at two"))


def test_characters_share_the_time_of_their_word_equally() -> None:
    words = [TimedWord("好看的", 1.0, 2.5), TimedWord("ok", 3.0, 4.0), TimedWord("很好", None, None)]
    assert [(one.text, one.start_s, one.end_s) for one in split_characters(words)] == [
        ("好", 1.0, 1.5), ("看", 1.5, 2.0), ("的", 2.0, 2.5), ("ok", 3.0, 4.0), ("很", None, None), ("好", None, None)
    ]  # fmt: skip


@given(st.lists(st.sampled_from(["a", "b", "no", "don't", "我", "很好", "x-y", "2,014", "é"]), min_size=1, max_size=20))
def test_a_source_that_says_what_the_transcript_says_matches_whole(words: list[str]) -> None:
    matched = match_words(" ".join(words), spoken(" ".join(words)))
    assert [one.start_s for one in matched.steps] == [float(n) for n in range(len(words))]
    assert matched.remarks() == []


@given(st.text(max_size=40), st.lists(st.text(min_size=1, max_size=6), max_size=10))
def test_spans_are_in_order_and_within_the_transcript(transcript: str, words: list[str]) -> None:
    try:
        found = match_words(transcript, [TimedWord(one, float(n), n + 1.0) for n, one in enumerate(words)])
    except FeatureError:
        return
    spans = [one.span for one in found.steps if one.span is not None]
    ends = [place for span in spans for place in span]
    assert ends == sorted(ends)
    assert all(0 <= start < end <= len(transcript) for start, end in spans)
