"""Subtitles: what is said and when, each word once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.catalog.subtitles import Cue, read_cues
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

SRT = """1
00:00:01,000 --> 00:00:02,500
<i>Hello</i> there,
my friend.

2
00:00:03,000 --> 00:00:04,000
Goodbye &amp; good luck 👋
"""
VTT = """WEBVTT - a talk

STYLE
::cue { color: red }

NOTE
Nobody says this.

first
00:01.000 --> 00:02.500 align:start
<v Bob>Hello &amp; <b>welcome</b>,<00:01.500> friend

NOTE nor this

00:03.000 --> 00:04.000
再见
"""


def spoken(path: Path) -> str:
    return " ".join(cue.text for cue in read_cues(path))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030"])
def test_subtitles_are_read_in_every_usual_encoding(tmp_path: Path, encoding: str) -> None:
    content = SRT.replace("&amp;", "再见了我的朋友").replace("👋", "")
    (tmp_path / "a.srt").write_text(content, encoding=encoding)
    assert read_cues(tmp_path / "a.srt") == [
        Cue(1.0, 2.5, "Hello there, my friend."),
        Cue(3.0, 4.0, "Goodbye 再见了我的朋友 good luck"),
    ]
    assert spoken(tmp_path / "a.srt") == "Hello there, my friend. Goodbye 再见了我的朋友 good luck"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_webvtt_is_what_is_said_and_nothing_else(tmp_path: Path, newline: str) -> None:
    (tmp_path / "a.vtt").write_text(VTT, encoding="utf-8", newline=newline)
    words = (("Hello", 1.0), ("&", 1.0), ("welcome,", 1.0), ("friend", 1.5))
    assert read_cues(tmp_path / "a.vtt") == [Cue(1.0, 2.5, "Hello & welcome, friend", words), Cue(3.0, 4.0, "再见")]


def test_cues_are_in_order_of_time_and_empty_ones_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(
        "1\n00:00:05,000 --> 00:00:06,000\nlater\n\n2\n00:00:01,000 --> 00:00:02,000\n\n3\n"
        "00:00:02,000 --> 00:00:03,000\nfirst\n"
    )
    assert [cue.text for cue in read_cues(tmp_path / "a.srt")] == ["first", "later"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.srt", ""), ("a.vtt", "WEBVTT\n"), ("a.vtt", "WEBVTT - title\n\nNOTE nothing\n"),
     ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n\n")],
)  # fmt: skip
def test_a_file_that_says_nothing_gives_no_text(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_cues(tmp_path / name) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.srt", "just some words\n", r"a\.srt holds no subtitle cue; expected times such as 00:00:01,000 -->"),
        ("a.vtt", "just some words\n", r"a\.vtt holds no subtitle cue"),
    ],
)
def test_subtitles_that_cannot_be_used_are_named(tmp_path: Path, name: str, content: str, said: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=said):
        read_cues(tmp_path / name)


# ---- mark-up and words that look like it


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        ("a < b and b > c", "a < b and b > c"),
        ("I <3 you, <laughs> really", "I <3 you, <laughs> really"),
        ("x<y and if (a<b) {b}", "x<y and if (a<b) {b}"),
        ("<i>slow</i> <c.colorE5E5E5>and</c> <v Bob>quiet</v>", "slow and quiet"),
        ("{\\an8}top<br/>line <FONT color='#fff'>white</FONT>", "top line white"),
        ("fish &amp; chips &amp;lt; &#39;n&#x27; AT&T R&D", "fish & chips &lt; 'n' AT&T R&D"),
        ("one\\Ntwo &nbsp; three", "one two three"),
    ],
)
@pytest.mark.parametrize("name", ["a.srt", "a.vtt"])
def test_mark_up_goes_and_words_stay(tmp_path: Path, name: str, payload: str, text: str) -> None:
    (tmp_path / name).write_text(f"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\n{payload}\n", encoding="utf-8")
    assert [cue.text for cue in read_cues(tmp_path / name)] == [text]


@pytest.mark.parametrize(
    ("content", "texts"),
    [
        ("1\n00:00:01,000 --> 00:00:02,000\nHow many?\n5\n\n2\n00:00:02,000 --> 00:00:03,000\nSix.\n\n3\n",
         ["How many? 5", "Six."]),
        ("1\n00:00:01,000 --> 00:00:02,000\none\n2\n00:00:02,000 --> 00:00:03,000\ntwo\n", ["one", "two"]),
        ("00:01.0 --> 00:02.5\n\nfirst\n\nstill\n\n00:03.0 --> 00:04.0 X1:40\nnext", ["first still", "next"]),
    ],
)  # fmt: skip
def test_numbers_of_cues_are_no_words(tmp_path: Path, content: str, texts: list[str]) -> None:
    (tmp_path / "a.srt").write_text(content)
    assert [cue.text for cue in read_cues(tmp_path / "a.srt")] == texts


# ---- captions that roll

ROLLING = """WEBVTT
Kind: captions
Language: en

00:00:00.080 --> 00:00:01.190 align:start position:0%
 \nthe<00:00:00.240><c> river</c><00:00:00.560><c> was</c><00:00:00.800><c> high</c>

00:00:01.190 --> 00:00:01.200 align:start position:0%
the river was high
 \n
00:00:01.200 --> 00:00:02.390 align:start position:0%
the river was high
and<00:00:01.500><c> we</c><00:00:01.800><c> walked</c>
""".replace("\\n", "\n")


def timed(*windows: str, hold_s: float = 0.01, suffix: str = ".srt") -> str:
    """Return subtitles of one window a second, lines separated by |; `hold_s`: of a hold cue after each, if not 0."""
    cues = []
    for second, window in enumerate(windows):
        end_s = second + 1 - hold_s
        cues.append((second, end_s, window.replace("|", "\n")))
        if hold_s:
            cues.append((end_s, second + 1, window.split("|")[-1]))
    written = [
        f"{number}\n{clock(start)} --> {clock(end)}\n{text}\n" for number, (start, end, text) in enumerate(cues, 1)
    ]
    return ("WEBVTT\n\n" if suffix == ".vtt" else "") + "\n".join(written)


def clock(seconds: float) -> str:
    return f"00:00:{int(seconds):02d},{round(seconds % 1 * 1000):03d}"


def test_rolling_captions_give_each_word_once_with_its_time(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(ROLLING)
    first, second = read_cues(tmp_path / "a.vtt")
    assert (first.start_s, first.end_s, first.text) == (0.08, 1.19, "the river was high")
    assert (second.start_s, second.end_s, second.text) == (1.2, 2.39, "and we walked")
    assert first.words == (("the", 0.08), ("river", 0.24), ("was", 0.56), ("high", 0.8))
    assert second.words == (("and", 1.2), ("we", 1.5), ("walked", 1.8))


def test_words_without_spaces_keep_their_times_and_no_space_comes_between(tmp_path: Path) -> None:
    (tmp_path / "a.vtt").write_text(
        "WEBVTT\n\n00:01.000 --> 00:02.000\n河水<00:01.300>很<00:09.000>高\n", encoding="utf-8"
    )
    (cue,) = read_cues(tmp_path / "a.vtt")
    assert (cue.text, cue.words) == ("河水很高", (("河水", 1.0), ("很", 1.3), ("高", None))), (
        "a time outside the cue is not one"
    )


@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
@pytest.mark.parametrize("hold_s", [0.0, 0.01])
@pytest.mark.parametrize(
    ("windows", "said"),
    [
        (("the river was high", "the river was high|and we walked", "and we walked|home", "home|late"),
         "the river was high and we walked home late"),
        (("a b", "a b|c", "a b|c|d", "c|d|e", "d|e|f"), "a b c d e f"),
        (("no.", "no.|no.", "no.|no.", "no.|I said", "I said|never", "never|no."), "no. no. no. I said never no."),
        (("so long",), "so long"),
        (("so", "so|long", "long|so", "so|long", "long|friend"), "so long so long friend"),
    ],
)  # fmt: skip
def test_windows_of_lines_give_each_line_as_often_as_it_is_said(
    tmp_path: Path, windows: tuple[str, ...], said: str, hold_s: float, suffix: str
) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text(timed(*windows, hold_s=hold_s, suffix=suffix))
    assert spoken(path) == said


def test_a_line_that_grows_is_one_cue(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(timed("we", "we went", "we went home", "it", "it was", "it was late", hold_s=0.0))
    assert read_cues(tmp_path / "a.srt") == [Cue(0.0, 3.0, "we went home"), Cue(3.0, 6.0, "it was late")]


@pytest.mark.parametrize(
    "windows",
    [
        ("no.", "no.", "no."),
        ("No.", "No.|I said no.", "Then go.", "I will."),
        ("Come here.", "Why?", "Why?", "Because|I say so.", "I say so.", "Fine.", "Fine.|Now what?"),
        ("- Yes.|- No.", "- Yes.|- No.", "Stop it."),
    ],
)
def test_ordinary_subtitles_keep_what_is_said_twice(tmp_path: Path, windows: tuple[str, ...]) -> None:
    (tmp_path / "a.srt").write_text(timed(*windows, hold_s=0.0))
    assert spoken(tmp_path / "a.srt") == " ".join(windows).replace("|", " ")
