"""Text in an encoding of before Unicode: which one it is, judged by what the text says when it is read by each.

Every encoding can be read as several others. So the same bytes are given a probability by each pair of a codec and a
language: how often its prose has these characters, next to each other. The pair that makes them likeliest is taken
where it is ahead of every other reading, and of no reading at all, by a clear margin; else nothing is.
"""

from __future__ import annotations

import functools
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.io import letters

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

MARGIN = 10.0  # natural log of how much likelier the best reading must be than the next; calibrated by tests
FAVOUR = 8.0  # what it is worth that the language of the set, or the files next to this one, speak for a codec
_ASCII_LOG = math.log(1 / 30)  # of an ASCII character: the same in every language, since it says nothing
_ACCENTS = 0.06  # how many characters of a text in Latin letters are not ASCII; in Vietnamese more
_NOTHING_LOG = math.log(0.5 / 128)  # of a byte of a text that is in none of these encodings; among ASCII letters
_NOTHING_LATIN_LOG = math.log(_ACCENTS / 128)
_NOTHING_PRIOR = -10.0  # such texts are rare
_FOREIGN_SHARE = 0.05  # of letters beyond ASCII that are of another language with the same encodings
_RARE = 1e-7  # of a character that a language does not have
_ASCII, _HIGH = re.compile(r"[\x00-\x7f]+"), re.compile(rb"[\x80-\xff]+")
_BEYOND_ASCII = "".join(letter for letter in map(chr, range(0x80, 0x500)) if letter.isalpha())
_LOWER, _UPPER = ("".join(filter(test, _BEYOND_ASCII)) for test in (str.islower, str.isupper))
_MARKS = r"\u05b0-\u05c7\u064b-\u0652\u0e31-\u0e4e"  # vowels and tones of Hebrew, Arabic and Thai
_LETTER = rf"(?:[^\W\d_]|[{_MARKS}])"
_OTHER_LETTER = rf"(?:(?![A-Za-z]){_LETTER})"
# Pairs that prose hardly ever has between neighbours, and the log-probability of it: a capital after a small letter, a
# symbol within a word, two scripts in one word.
_WORD_ODD = (
    (re.compile(f"[a-z{_LOWER}](?=[{_UPPER}])|[{_LOWER}](?=[A-Z])"), -6.0),
    (re.compile(f"[{_UPPER}](?=[{_UPPER}])"), 2.5),  # the first capital is rare, those after it are not
    (re.compile(rf"(?<={_LETTER})[^\w\s\x00-\x7f’‘–—…·«»“”{_MARKS}](?={_LETTER})"), -8.0),
)
_LATIN_ODD = (
    *_WORD_ODD,
    (re.compile(rf"{_OTHER_LETTER}(?={_OTHER_LETTER})"), -2.0),
    (re.compile(rf"{_OTHER_LETTER}(?={_OTHER_LETTER}{{2}})"), -4.0),
    (re.compile("“[^“”]{1,300}”|„[^„“”]{1,300}“|«[^«»]{1,300}»"), 4.0),  # marks in pairs
)
_ELISIONS = {"en": re.compile(r"[a-z]’(?:s|t|re|ll|ve|d|m)\b"), "fr": re.compile(r"\b(?:[cdjlmnst]|qu)’(?=\w)")}
_OTHER_ODD = (*_WORD_ODD, (re.compile(rf"[A-Za-z](?={_OTHER_LETTER})|{_OTHER_LETTER}(?=[A-Za-z])"), -8.0))
_ASIAN_ODD = (
    (re.compile(rf"[A-Za-z](?={_OTHER_LETTER})|{_OTHER_LETTER}(?=[A-Za-z])"), -1.0),
    (re.compile(rf"[a-z](?={_OTHER_LETTER}[a-z])"), -7.0),
)
_WORD_LOG = 1.2  # of a short word that the language is full of: how much likelier it is there than elsewhere


@dataclass(frozen=True, slots=True)
class Verdict:
    """The codec of a text, None where none is sure; and what it could be, likeliest first."""

    codec: str | None
    candidates: tuple[str, ...]


@dataclass(frozen=True)
class _Language:
    """The look of its prose: log-probabilities of characters, and of what is odd between neighbours."""

    name: str
    codecs: tuple[str, ...]
    log: Callable[[str], float]
    odd: tuple[tuple[re.Pattern[str], float], ...]
    words: re.Pattern[str] | None = None
    prior: float = 0.0


def judge(data: bytes, *, favoured: Collection[str] = ()) -> Verdict:
    """Return which legacy encoding a text is in.

    favoured : codecs that something else speaks for, such as the language of the set (`codecs_of_language`)

    >>> judge("Вчера посмотрел новый фильм, музыка и актёры понравились".encode("cp1251")).codec
    'cp1251'
    """
    plain = _HIGH.sub(b" ", data).decode("ascii")
    words = {one.name: _WORD_LOG * len(one.words.findall(plain)) for one in _LANGUAGES if one.words}
    readings: dict[str, tuple[float, str, str]] = {}  # by the text: its best score, the codec and the language
    for codec, languages in _languages_by_codec().items():
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        prior = _PRIORS.get(codec, 0.0) + (FAVOUR if codec in favoured else 0.0)
        for one in languages:
            reading = prior + one.prior + _score(text, one) + words.get(one.name, 0.0), codec, one.name
            readings[text] = max(reading, readings.get(text, reading))
    ranked = sorted(readings.values(), reverse=True)
    n_high = sum(byte > 0x7F for byte in data)
    of_byte = _NOTHING_LATIN_LOG if 4 * n_high < len(data) else _NOTHING_LOG
    nothing = n_high * of_byte + (len(data) - n_high) * _ASCII_LOG + _NOTHING_PRIOR
    nothing += words.get(ranked[0][2], 0.0) if ranked else 0.0
    likely = tuple(codec for score, codec, _ in ranked if score > max(nothing, ranked[0][0] - MARGIN))
    return Verdict(likely[0] if len(likely) == 1 and ranked[0][0] >= nothing + MARGIN else None, likely)


def codecs_of_language(language: str | None) -> frozenset[str]:
    """Return the encodings that a language (ISO 639-1) was mostly written in before Unicode; none where it is unknown.

    >>> sorted(codecs_of_language("ko"))
    ['cp949']
    """
    codecs = (codec for one in _LANGUAGES if one.name == language for codec in one.codecs)
    return frozenset(codec for codec in codecs if _PRIORS.get(codec, 0.0) > _RARE_PRIOR)


def _score(text: str, language: _Language) -> float:
    counts = Counter(_ASCII.sub("", text))
    n_ascii = len(text) - counts.total()
    score = n_ascii * _ASCII_LOG + sum(n * language.log(letter) for letter, n in counts.items())
    return score + sum(weight * len(pattern.findall(text)) for pattern, weight in language.odd)


@functools.cache
def _languages_by_codec() -> Mapping[str, list[_Language]]:
    found: dict[str, list[_Language]] = {}
    for language in _LANGUAGES:
        for codec in language.codecs:
            found.setdefault(codec, []).append(language)
    return found


def _classes(*shares: tuple[float, str]) -> dict[str, float]:
    """Return log-probabilities: each class of characters has a share, divided evenly; the first class of one counts."""
    logs: dict[str, float] = {}
    for share, characters in shares:
        distinct = set(characters)
        logs = dict.fromkeys(distinct, math.log(share / len(distinct))) | logs
    return logs


def _ideographs(common: dict[str, float], rest: Callable[[str], float]) -> Callable[[str], float]:
    """Return the log-probability of a character: from the table, else from what set it belongs to."""
    return functools.cache(lambda letter: common[letter] if letter in common else math.log(rest(letter)))


def _chinese(codec: str, han: str) -> Callable[[str], float]:
    common = _classes((0.12, letters.HAN_PUNCTUATION), (0.42, han[:100]), (0.25, han[100:]))

    def rest(letter: str) -> float:
        code = letter.encode(codec, "ignore")
        if "\u4e00" <= letter <= "\u9fff" and len(code) == 2:
            is_common = b"\xb0" <= code[:1] <= b"\xd7" if codec == "gb2312" else code[:1] <= b"\xc6"
            return 0.17 / 4000 if is_common else 0.02 / 5000
        return 0.005 / 100 if "\uff01" <= letter <= "\uff5e" else 1e-7

    return _ideographs(common, rest)


def _japanese() -> Callable[[str], float]:
    common = _classes(
        (0.40, letters.HIRAGANA[:25]), (0.13, letters.HIRAGANA[25:]), (0.09, letters.KATAKANA),
        (0.10, letters.KANA_PUNCTUATION), (0.2, letters.KANJI),
    )  # fmt: skip

    def rest(letter: str) -> float:
        code = letter.encode("cp932", "ignore")
        if "\u4e00" <= letter <= "\u9fff" and len(code) == 2:
            return 0.07 / 2700 if b"\x88" <= code[:1] <= b"\x97" else 0.004 / 3400
        return 0.003 / 100 if "\uff01" <= letter <= "\uff5e" else 1e-7

    return _ideographs(common, rest)


def _korean() -> Callable[[str], float]:
    common = _classes(
        (0.62, letters.HANGUL[:100]), (0.27, letters.HANGUL[100:]), (0.01, letters.HANGUL_PUNCTUATION),
    )  # fmt: skip

    def rest(letter: str) -> float:
        if "\uac00" <= letter <= "\ud7a3":
            return 0.08 / 2000 if len(letter.encode("euc_kr", "ignore")) == 2 else 0.002 / 9000
        return 0.003 / 5000 if "\u4e00" <= letter <= "\u9fff" else 1e-7

    return _ideographs(common, rest)


def _zipf(characters: str, share: float) -> dict[str, float]:
    """Return probabilities of characters, the commonest first, that fall with their rank."""
    distinct = list(dict.fromkeys(characters))
    weights = [1 / (rank + 2) for rank in range(len(distinct))]
    return {one: share * weight / sum(weights) for one, weight in zip(distinct, weights, strict=True)}


def _alphabet(characters: str, share: float, foreign: str = "") -> Callable[[str], float]:
    """Return the log-probability of a letter or a mark.

    share : of the letters among all characters; foreign : letters that names from other languages bring
    """
    table = _zipf(letters.WESTERN_PUNCTUATION, 0.02)
    strange = set(foreign) - set(characters)
    lower = dict.fromkeys(strange, _FOREIGN_SHARE * share / max(len(strange), 1)) | _zipf(characters, share)
    table |= {one.upper(): 0.04 * p for one, p in lower.items() if len(one.upper()) == 1 and one.upper() not in lower}
    logs = {one: math.log(p) for one, p in (table | lower).items()}
    rare = math.log(_RARE)
    return lambda letter: logs.get(letter, rare)


_RARE_PRIOR = -4.5  # of encodings of old DOS and Mac, which a language alone does not speak for
# How much rarer files in an encoding are than in the one that Windows had for the language, as a natural logarithm.
_PRIORS = {
    "iso8859_15": -1.0, "iso8859_2": -1.0, "iso8859_5": -5.0, "mac_roman": -4.0, "mac_latin2": -10.0,
    "mac_cyrillic": -10.0,
    "cp850": -5.0, "cp852": -5.0, "cp866": -5.0, "koi8_u": -4.0, "cp1257": -2.0, "cp1255": -2.0, "cp1256": -2.0,
    "cp874": -2.0, "cp1253": -2.0, "cp1254": -1.0, "cp1250": -2.0, "cp1258": -4.0,
}  # fmt: skip
_WESTERN_CODECS = ("cp1252", "iso8859_15", "mac_roman", "cp850")
_CENTRAL_CODECS = ("cp1250", "iso8859_2", "cp852", "mac_latin2")
_LATIN_CODECS = {
    **dict.fromkeys(("pl", "cs", "sk", "hu", "ro", "hr"), _CENTRAL_CODECS),
    "tr": ("cp1254",),
    **dict.fromkeys(("lt", "lv"), ("cp1257",)),
    "et": ("cp1257", "cp1252", "iso8859_15"),
    "eo": ("iso8859_3",),
    "vi": ("cp1258",),
}


def _neighbours(language: str) -> str:
    """Return the letters of the languages in Latin script that have the same encodings."""
    codecs = _LATIN_CODECS.get(language, _WESTERN_CODECS)
    return "".join(one for name, one in letters.LATIN.items() if _LATIN_CODECS.get(name, _WESTERN_CODECS) == codecs)


_CYRILLIC_CODECS = ("cp1251", "koi8_u", "cp866", "iso8859_5", "mac_cyrillic")
_LANGUAGES = (
    _Language("zh", ("gb18030",), _chinese("gb2312", letters.HAN_SIMPLIFIED), _ASIAN_ODD),
    _Language("zh", ("big5hkscs",), _chinese("big5", letters.HAN_TRADITIONAL), _ASIAN_ODD),
    _Language("ja", ("cp932", "euc_jp"), _japanese(), _ASIAN_ODD),
    # GB18030 has kana too, where EUC-JP has them.
    _Language("ja in Chinese", ("gb18030",), _japanese(), _ASIAN_ODD, prior=-6.0),
    _Language("ko", ("cp949",), _korean(), _ASIAN_ODD),
    _Language("ru", _CYRILLIC_CODECS, _alphabet(letters.RUSSIAN, 0.93), _OTHER_ODD),
    _Language("uk", _CYRILLIC_CODECS, _alphabet(letters.UKRAINIAN, 0.93), _OTHER_ODD),
    _Language("bg", _CYRILLIC_CODECS, _alphabet(letters.BULGARIAN, 0.93), _OTHER_ODD),
    _Language("sr", _CYRILLIC_CODECS, _alphabet(letters.SERBIAN, 0.93), _OTHER_ODD),
    _Language("mk", _CYRILLIC_CODECS, _alphabet(letters.MACEDONIAN, 0.93), _OTHER_ODD),
    _Language("be", _CYRILLIC_CODECS, _alphabet(letters.BELARUSIAN, 0.93), _OTHER_ODD),
    _Language("el", ("cp1253",), _alphabet(letters.GREEK, 0.93), _OTHER_ODD),
    _Language("he", ("cp1255",), _alphabet(letters.HEBREW, 0.93), _OTHER_ODD),
    _Language("ar", ("cp1256",), _alphabet(letters.ARABIC, 0.93), _OTHER_ODD),
    _Language("fa", ("cp1256",), _alphabet(letters.PERSIAN, 0.93), _OTHER_ODD),
    _Language("th", ("cp874",), _alphabet(letters.THAI, 0.93), _OTHER_ODD),
    *(
        _Language(
            name,
            _LATIN_CODECS.get(name, _WESTERN_CODECS),
            _alphabet(characters, 0.25 if name == "vi" else _ACCENTS, _neighbours(name)),
            (*_LATIN_ODD, *((pattern, 2.5) for pattern in [_ELISIONS.get(name)] if pattern)),
            re.compile(rf"\b(?:{'|'.join(letters.WORDS[name].split())})\b", re.IGNORECASE),
        )
        for name, characters in letters.LATIN.items()
    ),
)
