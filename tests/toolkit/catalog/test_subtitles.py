"""Subtitles and other text files next to videos."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.catalog.sidecars import find_sidecar, read_sidecar_text
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


# ---- files beside videos


def test_the_file_beside_a_video_has_its_stem(tmp_path: Path) -> None:
    video = tmp_path / "a.b.mp4"
    assert find_sidecar(video) is None
    for suffix in (".vtt", ".srt", ".txt"):  # a .txt counts before subtitles, .srt before .vtt
        path = tmp_path / f"a.b{suffix}"
        path.write_text("x")
        assert find_sidecar(video) == path
    assert find_sidecar(video, suffixes=(".srt",)) == tmp_path / "a.b.srt"


@pytest.mark.parametrize("name", ["x" * 252 + ".ts", "..", "a\0.mp4"])
def test_a_name_that_no_text_file_can_have_has_none(tmp_path: Path, name: str) -> None:
    assert find_sidecar(tmp_path / name) is None


def test_a_folder_named_like_a_text_file_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    assert find_sidecar(tmp_path / "a.mp4") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "gb18030"])
def test_subtitles_are_read_in_every_usual_encoding(tmp_path: Path, encoding: str) -> None:
    content = SRT.replace("&amp;", "再见").replace("👋", "")
    (tmp_path / "a.srt").write_text(content, encoding=encoding)
    assert read_cues(tmp_path / "a.srt") == [
        Cue(1.0, 2.5, "Hello there, my friend."),
        Cue(3.0, 4.0, "Goodbye 再见 good luck"),
    ]
    assert read_sidecar_text(tmp_path / "a.srt") == "Hello there, my friend. Goodbye 再见 good luck"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_webvtt_is_what_is_said_and_nothing_else(tmp_path: Path, newline: str) -> None:
    (tmp_path / "a.vtt").write_text(VTT, encoding="utf-8", newline=newline)
    assert read_cues(tmp_path / "a.vtt") == [Cue(1.0, 2.5, "Hello & welcome, friend"), Cue(3.0, 4.0, "再见")]


def test_cues_are_in_order_of_time_and_empty_ones_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.srt").write_text(
        "1\n00:00:05,000 --> 00:00:06,000\nlater\n\n2\n00:00:01,000 --> 00:00:02,000\n\n3\n"
        "00:00:02,000 --> 00:00:03,000\nfirst\n"
    )
    assert [cue.text for cue in read_cues(tmp_path / "a.srt")] == ["first", "later"]


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.srt", ""), ("a.vtt", "WEBVTT\n"), ("a.vtt", "WEBVTT - title\n\nNOTE nothing\n"), ("a.txt", " \n"),
     ("a.srt", "1\n00:00:01,000 --> 00:00:02,000\n\n")],
)  # fmt: skip
def test_a_file_that_says_nothing_gives_no_text(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_sidecar_text(tmp_path / name) is None


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


def test_a_text_file_in_another_encoding_is_named_and_read_when_told(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("un café, déjà vu\n".encode("cp1252"))
    with pytest.raises(ConfigError, match=r"the encoding of .*a\.txt is none of .*--encoding cp1252"):
        read_sidecar_text(tmp_path / "a.txt")
    assert read_sidecar_text(tmp_path / "a.txt", encoding="cp1252") == "un café, déjà vu"
