"""Word vectors: GloVe's text format and fastText's .vec, each word's own numbers, and files that are neither."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import tracemalloc

import numpy as np
import pytest

from fmltk.toolkit.errors import ConfigError, FeatureError, MissingModalityError
from fmltk.toolkit.extractors.contract import Transcript
from fmltk.toolkit.extractors.text_glove import extractor

WORDS = [
    "the",
    "film",
    "do",
    "n't",
    "it",
    "'s",
    "good",
    "!",
    ".",
    "well-known",
    "well",
    "-",
    "喜欢",
    "我",
    "US",
    "u.s.",
    ". . .",
]
DIMENSION = 3


def vector(place):
    return [place + 0.5, -place, place / 8]


def lines(words=WORDS):
    return "".join(f"{word} {' '.join(map(str, vector(n)))}\n" for n, word in enumerate(words))


@pytest.fixture
def write(tmp_path):
    def write(content, name="glove.840B.3d.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
        return path

    return write


def features_of(path, text):
    return pickle.loads(pickle.dumps(extractor(str(path)))).load("cpu")(Transcript(text))


FORMATS = {
    "glove": lines(),
    "fasttext": f"{len(WORDS)} {DIMENSION}\n" + lines().replace("\n", " \n"),
    "windows": lines().replace("\n", "\r\n"),
    "last line without an end": lines().rstrip("\n"),
}


@pytest.mark.parametrize("content", FORMATS.values(), ids=FORMATS)
def test_each_word_has_the_numbers_of_its_line(write, content):
    path = write(content)
    found = features_of(path, "The film isn't good")
    assert found.tokens.strings == ("the", "film", "is", "n't", "good")
    expected = [vector(0), vector(1), [0, 0, 0], vector(3), vector(6)]
    np.testing.assert_array_equal(found.values, np.array(expected, np.float32))
    assert found.values.dtype == np.float32
    assert found.tokens.ids.tolist() == [0, 1, -1, 3, 6]
    assert found.columns == {"text_tokens_cut": 0, "text_unknown_share": 0.2}
    card = extractor(str(path)).card
    assert (card.name, card.dimension, card.settings["words"]) == ("glove.840B.3d", DIMENSION, len(WORDS))
    assert card.weights["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't! It’s good.", ["do", "n't", "!", "it", "'s", "good", "."]),
        ("a well-known film", ["a", "well-known", "film"]),
        ("well-good (film)…", ["well", "-", "good", "film"]),
        ("我喜欢film!", ["我", "喜欢", "film", "!"]),
        ("他喜欢", ["他", "喜欢"]),
        ("the US and the u.s.", ["the", "US", "and", "the", "u.s."]),
        ("THE FILM OF US", ["the", "film", "of", "us"]),
        ("Film FILM it", ["film", "film", "it"]),
        ("'s", ["'s"]),
    ],
)
def test_a_text_is_cut_into_words_of_the_table(write, text, words):
    table = ["US", *(word for word in WORDS if word != "US")]
    found = features_of(write(lines(table)), text)
    assert list(found.tokens.strings) == words
    pieces = [text[start:end].replace("’", "'").lower() for start, end in found.tokens.spans]
    assert pieces == [word.lower() for word in words]


def test_a_table_of_lower_case_text_is_asked_in_lower_case(write):
    path = write(lines([word for word in WORDS if word != "US"]))
    assert not extractor(str(path)).card.settings["keep_case"]
    assert features_of(path, "US Film").tokens.strings == ("us", "film")


def test_a_word_that_stands_there_twice_has_its_first_numbers(write):
    path = write(lines() + "film 9 9 9\n")
    np.testing.assert_array_equal(features_of(path, "film").values[0], vector(1))
    assert extractor(str(path)).card.settings["repeated"] == 1


@pytest.mark.parametrize(("text", "match"), [("", "is empty"), (" \n", "is empty"), ("… ~", "holds no word")])
def test_a_text_without_words_is_missing_not_failed(write, text, match):
    with pytest.raises(MissingModalityError, match=match):
        features_of(write(lines()), text)


def test_many_unknown_words_are_a_warning(write):
    found = features_of(write(lines()), "quokkas like film")
    assert found.warnings == ("the table does not have 67% of the words, expected at most 20%",)
    assert not found.values[:2].any()


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "is empty"),
        (gzip.compress(lines().encode(), mtime=0), r"is packed \(gzip\); unpack it first"),
        (b"PK\x03\x04\x14\x00", r"is packed \(zip\)"),
        (b"3 2\x00\x01\x02", "is not text"),
        ("the film is good\n", "line 1 has no number after a space"),
        (lines() + "cut 0.1 0.2\n", rf"line {len(WORDS) + 1} has 2 numbers, expected 3 .* fetch it again"),
        (f"99 {DIMENSION}\n{lines()}", f"has {len(WORDS)} words, its first line says 99: it is cut off"),
        (f"{len(WORDS)} 5\n{lines()}", "line 2 has 3 numbers, expected 5"),
    ],
)
def test_a_file_that_is_not_such_a_table_is_refused_in_one_line(write, content, match):
    with pytest.raises(ConfigError, match=match) as refusal:
        extractor(str(write(content)))
    assert "\n" not in str(refusal.value)


def test_a_missing_file_and_none_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.txt"):
        extractor(str(tmp_path / "absent.txt"))
    with pytest.raises(ConfigError, match="glove needs a table of word vectors: write glove:FILE"):
        extractor(None)


def test_a_damaged_number_and_a_file_that_changes_fail_the_clip(write):
    path = write(lines().replace("film 1.5", "film 1,5"))
    with pytest.raises(FeatureError, match="of the word 'film'"):
        features_of(path, "film")
    function = extractor(str(path)).load("cpu")
    write(lines(WORDS[::-1]))
    with pytest.raises(FeatureError, match="has changed since the run began"):
        function(Transcript("film"))


def test_memory_does_not_grow_with_the_numbers(write):
    many = "".join(f"w{n} {'0.12345 ' * 60}\n" for n in range(20_000))  # 10 MB
    path = write(many)
    tracemalloc.start()
    try:
        function = extractor(str(path)).load("cpu")
        function(Transcript("w17 w19999"))
        assert tracemalloc.get_traced_memory()[1] < 3_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("the 0.1\nfilm 0.3 0.4\n", "line 2 has more numbers than the 1"),
        ("the 0.1 0.2\nfilm 0.3 0.4 0.5\nit 1 2\n", "line 2 has more numbers than the 2"),
        ("2 1\nthe 0.1 0.2\nfilm 0.3 0.4\n", "line 2 has more numbers than the 1"),
        ("\ufeffthe 0.1 0.2\n", "byte order mark"),
        ("\ufeff1 2\nthe 0.1 0.2\n", "byte order mark"),
        ("the  0.1  0.2\nfilm  0.3  0.4\n", "several between two numbers"),
        (" the 0.1 0.2\n film 0.3 0.4\n", "begins with a space"),
        ("the 0.1 0.2\ncaf\xe9 0.3 0.4\nna\xefve 1 2\n".encode("latin-1"), "is not UTF-8"),
        ("喜欢 0.1 0.2\n我 0.3 0.4\n".encode("gb18030"), "is not UTF-8"),
    ],
)
def test_a_table_whose_words_would_not_be_found_is_refused(write, content, said):
    with pytest.raises(ConfigError, match=said):
        extractor(str(write(content)))


@pytest.mark.parametrize("blank", ["\n", " \n", "\r\n\r\n"])
def test_blank_lines_hold_no_word(write, blank):
    table = extractor(str(write(f"the 0.5 1\n{blank}film 2 3\n{blank}"))).table
    assert (table.n_words, table.find("film")) == (2, 1)
    np.testing.assert_array_equal(features_of(table.path, "film the").values, [[2, 3], [0.5, 1]])


@pytest.mark.parametrize("word", ["model 7", "windows 3.x", "at name@domain.com"])
def test_a_word_of_several_parts_is_one_word(write, word):
    assert extractor(str(write(f"the 0.5 1\n{word} 2 3\n"))).table.find(word) == 1


@pytest.mark.parametrize("number", ["nan", "inf", "1e39"])
def test_a_number_that_is_not_finite_fails_the_clip(write, number):
    with pytest.raises(FeatureError, match="word 'the' has a number that is not finite"):
        features_of(write(f"the {number} 1\nfilm 2 3\n"), "the film")
