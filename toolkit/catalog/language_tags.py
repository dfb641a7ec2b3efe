"""Languages as file names have them: talk.en.vtt, talk.zh-Hans.srt, talk.English.srt."""

from __future__ import annotations

import re

_CODES = frozenset(
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en "  # noqa: SIM905
    "eo es et eu fa ff fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv "
    "ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne "
    "ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st "
    "su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu yue iw".split()
)
_LONGER = {  # three letters (ISO 639-2) and English names, as subtitle sites have them
    "eng": "en", "chi": "zh", "zho": "zh", "cmn": "zh", "jpn": "ja", "kor": "ko", "ger": "de", "deu": "de", "fre": "fr",
    "fra": "fr", "spa": "es", "ita": "it", "por": "pt", "rus": "ru", "ara": "ar", "hin": "hi", "tur": "tr", "pol": "pl",
    "dut": "nl", "nld": "nl", "swe": "sv", "dan": "da", "fin": "fi", "vie": "vi", "tha": "th", "heb": "he", "gre": "el",
    "ell": "el", "hun": "hu", "cze": "cs", "ces": "cs", "rum": "ro", "ron": "ro", "ukr": "uk", "ind": "id",
    "und": "und",
    "english": "en", "chinese": "zh", "japanese": "ja", "korean": "ko", "german": "de", "french": "fr", "spanish": "es",
    "italian": "it", "portuguese": "pt", "russian": "ru", "arabic": "ar", "hindi": "hi", "turkish": "tr",
    "polish": "pl", "dutch": "nl", "vietnamese": "vi", "thai": "th",
}  # fmt: skip
# Possible suffixes: a script, a country, where the text comes from, and whom it is for.
_FURTHER = re.compile(r"hans|hant|latn|cyrl|[a-z]{2}|\d{3}|orig|auto|asr|forced|sdh|cc|default|full")


def language_tag(text: str) -> str | None:
    """Return a language as it is compared, in small letters with hyphens; None where it is not a language.

    >>> language_tag("zh-Hans"), language_tag("pt_BR"), language_tag("English"), language_tag("en.forced")
    ('zh-hans', 'pt-br', 'en', 'en-forced')
    >>> language_tag("part1") is None
    True
    """
    first, *further = re.split(r"[-_.]", text.lower())
    code = _LONGER.get(first, first if first in _CODES else None)
    if code is None or not all(_FURTHER.fullmatch(one) for one in further):
        return None
    return "-".join((code, *further))


def language_of_tag(tag: str) -> str | None:
    """Return the language of a tag without script and country; None where the tag is empty or says nothing.

    >>> language_of_tag("zh-hans")
    'zh'
    """
    code = tag.partition("-")[0]
    return code if code and code != "und" else None


def is_within(tag: str, wanted: str) -> bool:
    """Whether a tag is the wanted one or a kind of it (RFC 4647, basic filtering).

    >>> is_within("zh-hans", "zh"), is_within("zh", "zh-hans")
    (True, False)
    """
    return tag == wanted or tag.startswith(f"{wanted}-")
