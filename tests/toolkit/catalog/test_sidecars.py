"""The text files next to videos: whose they are, which counts, and in which encoding they are."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.catalog.catalog import Catalog, build_catalog
from fmltk.toolkit.catalog.language_tags import language_tag
from fmltk.toolkit.catalog.sidecars import match_sidecars
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

FOLDER = Path("videos")


def cue(text: str, start: int = 1, end: int = 2) -> str:
    return f"00:00:{start:02d}.000 --> 00:00:{end:02d}.000\n{text}\n"


def folder_of(path: Path, files: Mapping[str, str | bytes], *, codec: str = "utf-8") -> Path:
    """Make a folder of files; subtitles of a text alone get a cue, and no two videos have the same content."""
    for name, content in files.items():
        target = path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        is_text = isinstance(content, str) and target.suffix in (".srt", ".vtt") and "-->" not in content
        written = cue(str(content)) if is_text else content or name
        target.write_bytes(written if isinstance(written, bytes) else written.encode(codec))
    return path


def texts(catalog: Catalog) -> dict[str, str | None]:
    return {clip.utterance_id: clip.text for clip in catalog.clips}


def problems(catalog: Catalog, kind: str) -> dict[str, str]:
    return {problem.where: problem.message for problem in catalog.problems if problem.kind == kind}


# ---- whose they are


@pytest.mark.parametrize(
    ("video", "text", "tag"),
    [
        ("a.b.mp4", "a.b.txt", ""),
        ("talk.mp4", "talk.en.vtt", "en"),
        ("talk.mp4", "talk.zh-Hans.srt", "zh-hans"),
        ("talk.mp4", "talk.mp4.vtt", ""),
        ("talk.mp4", "talk.mp4.pt_BR.vtt", "pt-br"),
        ("talk.mp4", "talk.en.forced.srt", "en-forced"),
        ("talk.mp4", "Talk.English.SRT", "en"),
        ("CLIP.MP4", "CLIP.TXT", ""),
        ("Clip.mp4", "clip.TXT", ""),
        ("café.mp4", unicodedata.normalize("NFD", "café.txt"), ""),
        (unicodedata.normalize("NFD", "Müller.mov"), "müller.de.vtt", "de"),
    ],
)
def test_a_text_file_belongs_to_the_video_of_its_name(video: str, text: str, tag: str) -> None:
    owned, strays = match_sidecars([FOLDER / video, FOLDER / "other.mp4"], [FOLDER / text])
    assert strays == []
    ((owner, (sidecar,)),) = owned.items()
    assert (owner, sidecar.path, sidecar.tag) == (FOLDER / video, FOLDER / text, tag)


def test_the_longest_name_and_the_same_case_win() -> None:
    videos = [FOLDER / name for name in ("talk.mp4", "talk.en.mp4", "A.mp4", "a.mp4")]
    owned, strays = match_sidecars(videos, [FOLDER / "talk.en.vtt", FOLDER / "a.txt", FOLDER / "A.TXT"])
    assert {owner.name: [one.path.name for one in found] for owner, found in owned.items()} == {
        "talk.en.mp4": ["talk.en.vtt"], "a.mp4": ["a.txt"], "A.mp4": ["A.TXT"],
    }  # fmt: skip
    assert strays == []


@pytest.mark.parametrize("name", ["part1", "final", "old2", "x-y", "en-part", "talk"])
def test_not_every_ending_is_a_language(name: str) -> None:
    assert language_tag(name) is None


def test_a_text_file_of_no_video_is_named_with_what_to_do(tmp_path: Path) -> None:
    files = {"talk.mp4": "", "talk_en.srt": "hi", "talk.mp4.part1.vtt": "hi", "notes.txt": "x", "subs/talk.srt": "hi"}
    found = problems(build_catalog(folder_of(tmp_path / "v", files)), "unmatched-sidecar")
    none = "no video of this name lies next to it"
    assert found == {
        "talk_en.srt": f"{none}; if it is the text of talk, name it talk.en.srt",
        "talk.mp4.part1.vtt": f"{none}; if it is the text of talk, name it talk.vtt",
        "notes.txt": none,
        "subs/talk.srt": none,
    }


def test_one_video_of_a_folder_takes_its_own_text_alone(tmp_path: Path) -> None:
    files = {"talk.mp4": "", "talk.txt": "mine", "talk.en.mp4": "", "talk.en.txt": "not mine", "notes.txt": "x"}
    catalog = build_catalog(folder_of(tmp_path / "v", files) / "talk.mp4")
    assert texts(catalog) == {"talk$_$0": "mine"}
    assert catalog.problems == (), "what lies next to one video is not all of this run"
    table = tmp_path / "v" / "videos.csv"
    table.write_text("path\ntalk.mp4\n")
    assert texts(build_catalog(table)) == {"talk$_$0": "mine"}


# ---- which of several counts


def test_the_only_language_counts_and_a_file_without_one_wins(tmp_path: Path) -> None:
    files = {
        "a.mp4": "", "a.en.vtt": "english", "b.mp4": "", "b.vtt": "plain", "b.en.vtt": "english", "b.de.vtt": "deutsch",
        "c.mp4": "", "c.de.srt": "deutsch",
    }  # fmt: skip
    catalog = build_catalog(folder_of(tmp_path / "v", files))
    assert texts(catalog) == {"a$_$0": "english", "b$_$0": "plain", "c$_$0": "deutsch"}
    assert catalog.notes == ("text files taken, by the language that they name: en 1, none 1, de 1",)
    assert [clip.language for clip in catalog.clips] == ["en", None, "de"]


def test_the_one_language_that_all_clips_have_counts(tmp_path: Path) -> None:
    files = {"a.mp4": "", "a.en.vtt": "a", "a.zh-Hans.vtt": "甲", "b.mp4": "", "b.en.vtt": "b", "b.fr.vtt": "b!"}
    catalog = build_catalog(folder_of(tmp_path / "v", files))
    assert texts(catalog) == {"a$_$0": "a", "b$_$0": "b"}
    assert catalog.notes == ("text files taken, by the language that they name: en 2",)


@pytest.mark.parametrize(
    ("files", "found"),
    [
        (("a.en.vtt", "a.zh.vtt", "b.en.vtt", "b.zh.vtt"), "en 2, zh 2"),
        (("a.en.vtt", "a.zh.vtt", "b.de.vtt"), "de 1, en 1, zh 1"),
        (("a.zh-Hans.srt", "a.zh-Hant.srt", "b.zh-Hans.srt", "b.zh-Hant.srt"), "zh-hans 2, zh-hant 2"),
    ],
)
def test_several_languages_stop_the_run_with_their_counts(tmp_path: Path, files: tuple[str, ...], found: str) -> None:
    folder = folder_of(tmp_path / "v", {"a.mp4": "", "b.mp4": "", **dict.fromkeys(files, "text")})
    with pytest.raises(ConfigError, match=rf"several languages \({found}\); choose one: --language \w+"):
        build_catalog(folder)


@pytest.mark.parametrize(
    ("language", "said"),
    [("en", ["e", "p"]), ("zh", ["h", "p"]), ("zh-Hans", ["h", "p"]), ("Chinese", ["h", "p"]), ("de", [None, "p"])],
)
def test_a_language_that_is_asked_for_counts(tmp_path: Path, language: str, said: list[str | None]) -> None:
    files = {"a.mp4": "", "a.en.vtt": "e", "a.zh-Hans.vtt": "h", "b.mp4": "", "b.vtt": "p"}
    catalog = build_catalog(folder_of(tmp_path / "v", files), language=language)
    assert list(texts(catalog).values()) == said
    wanted = {"a$_$0": "its text files are in en, zh-hans, not in de"} if language == "de" else {}
    assert problems(catalog, "other-language") == wanted


def test_a_language_that_is_none_or_not_clear_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "v", {"a.mp4": "", "a.zh-Hans.vtt": "h", "a.zh-Hant.vtt": "t"})
    with pytest.raises(ConfigError, match="--language klingon is not a language; expected one such as en"):
        build_catalog(folder, language="klingon")
    with pytest.raises(ConfigError, match=r"a\.mp4 has text files in zh-hans and zh-hant; choose one: --language zh-h"):
        build_catalog(folder, language="zh")
    with pytest.raises(ConfigError, match="--language klingon is not a language"):
        build_catalog(folder_of(tmp_path / "silent", {"a.mp4": ""}), language="klingon")


@pytest.mark.parametrize(
    ("files", "counts", "differs"),
    [
        ({"a.txt": "Hello there.", "a.srt": "Hello\nthere."}, "Hello there.", False),
        ({"a.txt": "Hello there.", "a.srt": "Good bye."}, "Hello there.", True),
        ({"a.srt": "one", "a.vtt": "two"}, "one", True),
        ({"a.en.srt": "one", "a.mp4.en.srt": "two"}, "one", True),
    ],
)
def test_two_files_that_differ_are_named(tmp_path: Path, files: dict[str, str], counts: str, differs: bool) -> None:
    catalog = build_catalog(folder_of(tmp_path / "v", {"a.mp4": "", **files}))
    first, second = files
    assert texts(catalog) == {"a$_$0": counts}
    message = f"{first} counts; the words of {second} differ"
    assert problems(catalog, "other-words") == ({"a$_$0": message} if differs else {})


# ---- cuts


def test_a_cue_of_a_few_milliseconds_makes_no_clip(tmp_path: Path) -> None:
    content = cue("one") + "\n00:00:02.000 --> 00:00:02.010\nflash\n\n" + cue("two", 3, 4)
    catalog = build_catalog(folder_of(tmp_path / "v", {"a.mp4": "", "a.vtt": content}), cut_subtitles=True)
    assert texts(catalog) == {"a$_$0001": "one", "a$_$0003": "two"}
    assert problems(catalog, "short-cue") == {"a$_$0002": "cue 2 at 2 s lasts 10 ms: no clip of it"}


# ---- encodings, judged together

KOREAN = ("정말 좋아요", "별로", "연기가 훌륭해요", "또 보고 싶어요", "지루했어요", "음악이 좋다")
JAPANESE = ("よかった", "面白い", "つまらない映画", "もう一度見たい", "音楽がいい")
RUSSIAN = ("Отлично", "Скучно", "Хороший фильм", "Музыка понравилась", "Не очень", "Советую всем")
GERMAN = ("Schön", "Für Kinder nichts", "Größe", "Etwas zäh", "Überraschend gut", "Die Musik gefällt mir")


@pytest.mark.parametrize(
    ("codec", "said"),
    [("euc_kr", KOREAN), ("euc_jp", JAPANESE), ("cp932", JAPANESE), ("cp1251", RUSSIAN), ("cp1252", GERMAN)],
)
def test_short_files_tell_each_others_encoding(tmp_path: Path, codec: str, said: tuple[str, ...]) -> None:
    files = {f"{n}{kind}": "" if kind == ".mp4" else text for n, text in enumerate(said) for kind in (".mp4", ".txt")}
    catalog = build_catalog(folder_of(tmp_path / "v", files, codec=codec))
    assert list(texts(catalog).values()) == list(said)
    (note,) = catalog.notes
    assert note.startswith(f"{len(said)} text files, such as 0.txt, are read as ")


@pytest.mark.parametrize(
    ("name", "options", "codec", "text"),
    [
        ("a.ko.txt", {}, "euc_kr", "좋다"),
        ("a.txt", {"language": "ko"}, "euc_kr", "좋다"),
        ("a.txt", {"encoding": "euc_kr"}, "euc_kr", "좋다"),
        ("a.zh-CN.txt", {}, "gb18030", "好看"),
        ("a.txt", {"language": "zh-TW"}, "big5", "好看"),
        ("a.ru.txt", {}, "cp1251", "привет"),
    ],
)
def test_a_short_text_is_read_where_something_settles_it(
    tmp_path: Path, name: str, options: dict[str, str], codec: str, text: str
) -> None:
    folder = folder_of(tmp_path / "v", {"a.mp4": "", name: text.encode(codec)})
    assert texts(build_catalog(folder, **options)) == {"a$_$0": text}


def test_a_short_text_that_nothing_settles_is_the_clips_fault(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "v", {"a.mp4": "", "a.txt": "好看".encode("gb18030"), "b.mp4": "", "b.txt": "fine"})
    failed, good = build_catalog(folder).clips
    assert failed.fault is not None
    assert failed.fault[1].startswith("the encoding of a.txt is not clear: it could be ")
    assert good.text == "fine"


def test_two_encodings_in_one_folder_do_not_spoil_each_other(tmp_path: Path) -> None:
    files: dict[str, str | bytes] = {"k.mp4": "", "k.txt": (KOREAN[0] + ". " + KOREAN[2]).encode("euc_kr")}
    files |= {"j.mp4": "", "j.txt": "とても面白い映画でした".encode("cp932"), "u.mp4": "", "u.txt": "很好看"}
    assert texts(build_catalog(folder_of(tmp_path / "v", files))) == {
        "j$_$0": "とても面白い映画でした", "k$_$0": "정말 좋아요. 연기가 훌륭해요", "u$_$0": "很好看",
    }  # fmt: skip


def test_the_encoding_of_a_table_is_said(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "v", {"a.mp4": ""})
    table = tmp_path / "label.csv"
    table.write_bytes("video_id;text\na;Très déçu, la fin est bâclée\n".encode("cp1252"))
    catalog = build_catalog(folder, transcripts=table)
    assert texts(catalog) == {"a$_$0": "Très déçu, la fin est bâclée"}
    said = "label.csv is read as cp1252 (Western European); if that is wrong, give --encoding"
    assert said in catalog.notes
    assert said not in build_catalog(folder, transcripts=table, encoding="cp1252").notes
