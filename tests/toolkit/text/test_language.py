"""The language of transcripts, and the model chosen from it."""

from __future__ import annotations

import pytest

from fmltk.toolkit.text.language import default_text_model, detect_language, majority_language


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("这部电影真的太好看了", "zh"),
        ("他說：「我不喜歡這個。」", "zh"),
        ("我用 WhatsApp 和 Instagram", "zh"),
        ("OK 好", "zh"),
        ("𠮷野家", "zh"),
        ("Great", "en"),
        ("This is a film that I would not recommend to anyone because it is boring", "en"),
        ("I went to 北京 with my friends and we had a really good time there", "en"),
        ("Das ist ein Film, den ich niemandem empfehlen würde, weil er langweilig ist", None),
        ("Es una película que no le recomiendo a nadie porque es muy aburrida", None),
        ("C'est un film que je ne recommande à personne parce qu'il est très ennuyeux", None),
        ("Dit is een film die ik niemand zou aanraden omdat het saai is en te lang", None),
        ("この映画は本当に面白い", "ja"),
        ("이 영화는 정말 재미있다", "ko"),
        ("هذا الفيلم جيد جدا", "ar"),
        ("הסרט הזה טוב", "he"),
        ("Этот фильм очень хорош", "ru"),
        ("Αυτή η ταινία είναι καλή", "el"),
        ("यह फिल्म अच्छी है", "hi"),
        ("หนังเรื่องนี้ดีมาก", "th"),
        ("😀 123 ?!", None),
        ("", None),
        (None, None),
        ("\ud800", None),
    ],
)
def test_the_script_tells_the_language(text, language):
    assert detect_language(text) == language


def test_the_majority_names_the_run_and_blank_texts_do_not_count():
    found = majority_language(["很好", "不好", "I like it", "", "  ", None])
    assert (found.language, found.counts, found.mixed) == ("zh", {"zh": 2, "en": 1}, True)


def test_one_stray_text_does_not_make_a_run_mixed():
    assert not majority_language(["很好"] * 30 + ["OK"]).mixed
    assert majority_language(["很好"] * 30 + ["OK"] * 2).mixed


def test_ties_are_broken_by_the_alphabet_whatever_the_order():
    assert majority_language(["很好", "OK"]).language == majority_language(["OK", "很好"]).language == "en"


def test_no_text_has_no_language():
    found = majority_language([None, ""])
    assert (found.language, found.counts, found.mixed) == (None, {}, False)


def test_texts_of_unknown_language_never_outvote_a_known_one_but_count_as_mixed():
    found = majority_language(["123", "456", "很好"])
    assert (found.language, found.mixed) == ("zh", True)


@pytest.mark.parametrize(
    ("language", "model"),
    [
        ("zh", "bert-base-chinese"),
        ("en", "bert-base-uncased"),
        ("ko", "bert-base-multilingual-cased"),
        (None, "bert-base-multilingual-cased"),
    ],
)
def test_each_language_has_its_default_model(language, model):
    assert default_text_model(language) == model
