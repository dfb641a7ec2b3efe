"""The language of a transcript, from its script and, for Latin script, its commonest words.

It chooses the default text model of a run, no more; a model named by the user always wins.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Scripts written without spaces are counted by character, the others by word, so that one borrowed Latin name does not
# outweigh a Chinese sentence. A script stands for the language that is written in it most.
_SCRIPTS = {
    "han": re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]"),
    "kana": re.compile(r"[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]"),
    "th": re.compile(r"[\u0e01-\u0e3a]"),
    "ko": re.compile(r"[\u1100-\u11ff\uac00-\ud7a3]+"),
    "ar": re.compile(r"[\u0620-\u06ff\u0750-\u077f\ufb50-\ufdff\ufe70-\ufefc]+"),
    "he": re.compile(r"[\u05d0-\u05ea\ufb1d-\ufb4f]+"),
    "ru": re.compile(r"[\u0400-\u052f]+"),
    "el": re.compile(r"[\u0370-\u03ff\u1f00-\u1fff]+"),
    "hi": re.compile(r"[\u0900-\u097f]+"),
    "latin": re.compile(r"[A-Za-z\u00c0-\u024f\u1e00-\u1eff]+"),
}
# Frequent in English and rare in other languages of the Latin script: not "in" or "me", which are German and Spanish.
_ENGLISH_WORDS = frozenset(
    "the and to of i it is that you this with she they are be have not but my at if just there all like about out from "  # noqa: SIM905
    "been had has would will your his her their them what don didn really very".split()
)
_FEW_WORDS = 8  # below this, a Latin text is too short to tell English from its neighbours
_ENGLISH_SHARE = 0.15  # of the words; running English has about twice as many, other languages about half
_MIXED_SHARE = 0.05
_KANA_SHARE = 0.1  # of the characters: Japanese always has kana, Chinese has none but in names

MAX_UNKNOWN_SHARE = 0.2  # of a text's tokens; where a model knows fewer of them, its vectors say little of the words
DEFAULT_TEXT_MODELS = {"zh": "bert-base-chinese", "en": "bert-base-uncased"}
MULTILINGUAL_TEXT_MODEL = "bert-base-multilingual-cased"


def detect_language(text: str | None) -> str | None:
    """Return the ISO 639-1 code of a text's language, by its script; None where it is not clear.

    "zh" for Han characters, "ja" where kana are among them, "en" for Latin script in English or too short to tell, None
    for other Latin script and for text without letters; "ko", "ar", "he", "ru", "el", "hi" and "th" by script.

    >>> detect_language("我今天非常 happy"), detect_language("I am happy today"), detect_language("?!")
    ('zh', 'en', None)
    """
    if not text or text.isascii():  # then no other script is in it
        return _language_of_latin(text) if text and _SCRIPTS["latin"].search(text) else None
    counts = {name: len(pattern.findall(text)) for name, pattern in _SCRIPTS.items()}
    east_asian = counts.pop("han") + counts["kana"]
    kana = counts.pop("kana")
    # First, so that it wins a tie: Chinese texts borrow Latin words more often than the reverse.
    counts = {"ja" if kana > _KANA_SHARE * east_asian else "zh": east_asian, **counts}
    language = max(counts, key=lambda name: counts[name])
    if counts[language] == 0:
        return None
    return _language_of_latin(text) if language == "latin" else language


def _language_of_latin(text: str) -> str | None:
    words = [word.lower() for word in _SCRIPTS["latin"].findall(text)]
    english = sum(word in _ENGLISH_WORDS for word in words)
    return "en" if len(words) < _FEW_WORDS or english >= _ENGLISH_SHARE * len(words) else None


@dataclass(frozen=True, slots=True)
class LanguageCount:
    """The languages of a run's transcripts.

    Attributes
    ----------
    language
        The commonest; of equally common ones the first in the alphabet; None where no text has a known language.
    counts
        Texts per language, the commonest first; None is the key of texts whose language is unknown.
    """

    language: str | None
    counts: dict[str | None, int]

    @property
    def mixed(self) -> bool:
        """Whether more than one text in twenty is not in the commonest language."""
        total = sum(self.counts.values())
        return total - self.counts.get(self.language, 0) > _MIXED_SHARE * total


def is_unspaced(letter: str) -> bool:
    """Whether a character is of a script that is written without spaces: Han, kana, Thai.

    >>> is_unspaced("我"), is_unspaced("a")
    (True, False)
    """
    return any(_SCRIPTS[script].match(letter) for script in ("han", "kana", "th"))


def majority_language(texts: Iterable[str | None]) -> LanguageCount:
    """Count the languages of transcripts; those that are missing or blank do not count.

    >>> majority_language(["很好", "我不喜欢", "I like it", None]).language
    'zh'
    """
    found = Counter(detect_language(text) for text in texts if text and text.strip())
    counts = dict(sorted(found.items(), key=lambda item: (-item[1], item[0] is None, item[0] or "")))
    return LanguageCount(language=next((name for name in counts if name is not None), None), counts=counts)


def default_text_model(language: str | None) -> str:
    """Return the BERT for a language: the Chinese one, the English one, or the multilingual one.

    >>> default_text_model("zh"), default_text_model("de")
    ('bert-base-chinese', 'bert-base-multilingual-cased')
    """
    return DEFAULT_TEXT_MODELS.get(language or "", MULTILINGUAL_TEXT_MODEL)


def unknown_tokens(share: float) -> str:
    """Return what to say of tokens of which the text model knows too few.

    >>> unknown_tokens(9 / 14)
    '64 % are unknown to the text model, expected at most 20 %'
    """
    return f"{share * 100:.0f} % are unknown to the text model, expected at most {MAX_UNKNOWN_SHARE * 100:.0f} %"
