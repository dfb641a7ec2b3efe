"""Encodings of before Unicode: read right, or refused with what they could be; never read as another language."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import encoding_remark, find_encoding, read_text
from fmltk.toolkit.io.legacy import codecs_of_language, judge
from tests.toolkit.io.prose import ENCODINGS, LENGTHS, samples

if TYPE_CHECKING:
    from pathlib import Path

CASES = [(language, codec) for language, encodings in ENCODINGS.items() for codec in encodings]
EVERY = 4  # samples that a test takes; docs/reliability.md has the counts over all
ASIAN = ("ko", "ja", "zh", "zh-tw")


def outcomes(language: str, codec: str, length: int, favoured: frozenset[str] = frozenset()) -> list[bool | None]:
    """Return for each sample whether it is read right; None where it is refused."""
    found: list[bool | None] = []
    for text in samples(language, length)[::EVERY]:
        data = text.encode(codec)
        verdict = judge(data, favoured=favoured).codec
        found.append(None if verdict is None else data.decode(verdict) == text)
    return found


@pytest.mark.parametrize(("language", "codec"), CASES)
def test_no_prose_is_read_wrongly_and_long_prose_is_read(language: str, codec: str) -> None:
    by_length = {length: outcomes(language, codec, length) for length in LENGTHS}
    assert not any(False in found for found in by_length.values()), by_length
    assert all(by_length[LENGTHS[-1]]), "200 characters are enough in every encoding"
    if language in ASIAN:
        assert all(by_length[20])


@pytest.mark.parametrize(("language", "codec"), CASES)
def test_the_language_of_the_set_settles_short_texts(language: str, codec: str) -> None:
    favoured = codecs_of_language(language.partition("-")[0])
    alone, helped = outcomes(language, codec, 10), outcomes(language, codec, 10, favoured)
    assert False not in helped
    assert sum(map(bool, helped)) >= sum(map(bool, alone))
    if codec in ("euc_kr", "cp932", "gb18030", "big5", "cp1251", "cp1252"):
        assert sum(map(bool, helped)) > 0.3 * len(helped)


@pytest.mark.parametrize("language", ["ko", "ja", "ru", "pl"])
@pytest.mark.parametrize("favoured", ["zh", "ko", "ja", "de"])
def test_a_wrong_language_of_the_set_does_not_win_over_the_text(language: str, favoured: str) -> None:
    codec = ENCODINGS[language][0]
    for length in (20, 50):
        assert False not in outcomes(language, codec, length, codecs_of_language(favoured))


@pytest.mark.parametrize(
    ("codec", "content"),
    [
        ("cp1252", "video_id;text;label\r\n1;C'était génial;1,5\r\n2;Très déçu, trop cher (12 €);-2\r\n"),
        ("cp1252", "id,text\n1,It’s “great” – really\n2,I can’t wait\n3,café\n"),
        ("cp1252", "video_id;text;label\r\n1;Schöner Film;1\r\n2;Für Kinder nicht geeignet;-1\r\n"),
        ("cp1252", "id,text\n1,A situação é boa\n2,Não gostei nada do começo\n"),
        ("mac_roman", "id;texte\r1;Très déçu, la fin est bâclée\r2;J’ai adoré, une réussite\r"),
    ],
)
def test_what_excel_saves_is_read(codec: str, content: str) -> None:
    found = find_encoding(io.BytesIO(content.encode(codec)))
    assert found.codec is not None
    assert content.encode(codec).decode(found.codec) == content


@pytest.mark.parametrize("text", ["정말 좋았어요.", "面白い映画でした", "很好看的电影", "非常好看"])
def test_a_short_text_of_asia_is_never_another_language(text: str) -> None:
    for codec in ("euc_kr", "euc_jp", "cp932", "gb18030"):
        with contextlib.suppress(UnicodeEncodeError):
            data = text.encode(codec)
            verdict = judge(data).codec
            assert verdict is None or data.decode(verdict) == text


def test_a_refusal_names_what_the_text_could_be(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("좋다".encode("euc_kr"))
    with pytest.raises(ConfigError, match=r"a\.txt is not clear: it could be cp949 \(Korean\) or .*--encoding cp949\)"):
        read_text(tmp_path / "a.txt")
    assert read_text(tmp_path / "a.txt", favoured=codecs_of_language("ko")) == "좋다"


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ("Größe über alles, schön und süß\nein Fu\0\nnoch öfter für dich\n", "2"),
        ("很好\n看\0电影\n也\0好\n最好看的电影就是这个了真的\n", "2, 3"),
        ("".join(f"ligne {n} très déçu\0\n" for n in range(7)) + "é" * 30, "1, 2, 3, 4, 5 and 2 more"),
    ],
)
def test_damaged_bytes_of_utf_8_are_named_by_line(tmp_path: Path, content: str, lines: str) -> None:
    (tmp_path / "a.csv").write_bytes(content.encode().replace(b"\0", b"\xff"))
    with pytest.raises(ConfigError, match=rf"a\.csv is UTF-8, but damaged in line {lines}; write"):
        read_text(tmp_path / "a.csv")


def test_a_recognised_encoding_is_said_and_unicode_is_not(tmp_path: Path) -> None:
    for codec in ("utf-8", "utf-16-le"):
        (tmp_path / "a.txt").write_bytes("とても良い映画でした".encode(codec))
        assert encoding_remark(tmp_path / "a.txt") is None
    (tmp_path / "a.txt").write_bytes("とても良い映画でした".encode("cp932"))
    said = encoding_remark(tmp_path / "a.txt")
    assert said == "a.txt is read as cp932 (Japanese); if that is wrong, give --encoding"
    assert encoding_remark(tmp_path / "nowhere.txt") is None


def test_a_long_line_is_judged_by_a_part_that_ends_between_characters() -> None:
    for codec, text in (
        ("gb18030", "昨天看的电影很好看,"),
        ("cp932", "とても良い映画でした。\n"),
        ("cp949", "정말 좋은 영화였어요 "),
    ):
        found = find_encoding(io.BytesIO((text * 5000).encode(codec)))
        assert found.codec == codec
