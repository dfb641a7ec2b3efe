"""Transcript tables and the text files beside videos."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.catalog.transcripts import (
    Cue,
    Transcript,
    find_sidecar,
    read_cues,
    read_sidecar_text,
    read_transcripts,
)
from fmltk.toolkit.clip import split_utterance_id, utterance_id
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


def transcripts(path: Path, content: str, **options: str) -> list[Transcript]:
    path.write_text(content, encoding="utf-8")
    return list(read_transcripts(path, **options))


# ---- ids


# A clip_id that itself makes a separator, alone or with the last dollar of the one before it, cannot be told apart.
@given(st.text(), st.text().filter(lambda clip_id: "$_$" not in "_$" + clip_id))
def test_an_utterance_id_says_its_two_ids(video_id: str, clip_id: str) -> None:
    assert split_utterance_id(utterance_id(video_id, clip_id)) == (video_id, clip_id)


# ---- tables


def test_mmsas_label_table_works_as_it_is(tmp_path: Path) -> None:
    found = transcripts(
        tmp_path / "label.csv",
        "\ufeffvideo_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode\n"
        'video_0001,0001,"我不想嫁给李茶, 真的",-1.0,-1.0,,-0.8,Negative,train\n'
        "NA,0002,好,0.2,,,,Weakly Positive,valid\n",
    )
    first, second = found
    assert (first.video_id, first.clip_id, first.text) == ("video_0001", "0001", "我不想嫁给李茶, 真的")
    assert (first.start_s, first.end_s, first.split, first.fault) == (None, None, "train", None)
    assert (second.video_id, second.clip_id, second.split, second.where) == ("NA", "0002", "valid", "label.csv line 3")


def test_the_real_label_table_of_mosi_is_read_whole(test_data: Path) -> None:
    found = list(read_transcripts(test_data / "mosi" / "label.csv"))
    expected = pd.read_csv(test_data / "mosi" / "label.csv", dtype=str, keep_default_na=False)
    assert [(one.video_id, one.clip_id) for one in found] == list(
        expected[["video_id", "clip_id"]].itertuples(index=False, name=None)
    )
    assert [one.text for one in found] == list(expected["text"])
    assert {one.split for one in found} == {"train", "valid", "test"}


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_every_kind_of_table_gives_the_same_transcripts(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame(
        {
            "video_id": ["0001", "0001", "talk"],
            "clip_id": ["0001", "0002", "NA"],
            "text": ['she said "no", 你好', "שלום 👋", None],
            "start_s": [0.25, None, 3.0],
            "end_s": [1.5, None, 4.0],
            "language": ["en", None, "zh"],
            "split": ["train", "dev", "TEST"],
        }
    )
    path = tmp_path / f"t{kind}"
    if kind == ".parquet":
        frame.to_parquet(path)
    elif kind == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame.to_csv(path, sep="\t" if kind == ".tsv" else ",", index=False)
    found = [
        (one.video_id, one.clip_id, one.text, one.start_s, one.end_s, one.language, one.split, one.fault)
        for one in read_transcripts(path)
    ]
    assert found == [
        ("0001", "0001", 'she said "no", 你好', 0.25, 1.5, "en", "train", None),
        ("0001", "0002", "שלום 👋", None, None, None, "valid", None),
        ("talk", "NA", None, 3.0, 4.0, "zh", "test", None),
    ]


@pytest.mark.parametrize("text", ["", "   ", "\u3000\t"])
def test_a_text_of_nothing_is_no_text(tmp_path: Path, text: str) -> None:
    (found,) = transcripts(tmp_path / "t.jsonl", json.dumps({"video_id": "a", "text": text}))
    assert found.text is None


def test_a_text_keeps_its_spaces_and_a_long_one_its_length(tmp_path: Path) -> None:
    long = "word " * 5000
    found = transcripts(tmp_path / "t.jsonl", json.dumps({"video_id": "a", "text": long}))
    assert found[0].text == long


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [
        ("3", "2", r"t\.csv line 2: end_s 2 is not after start_s 3; expected seconds or hh:mm:ss on the video's"),
        ("2", "2", "end_s 2 is not after start_s 2"),
        ("", "0", "end_s 0 is not after start_s 0"),
        ("-1", "2", "'-1' is not a time"),
        ("00:61", "00:02", "'00:61' is not a time"),
        ("nan", "2", "'nan' is not a time"),
        ("0", "inf", "'inf' is not a time"),
    ],
)
def test_times_that_make_no_sense_are_the_clips_fault_not_the_runs(
    tmp_path: Path, start: str, end: str, said: str
) -> None:
    bad, good = transcripts(
        tmp_path / "t.csv", f"video_id,clip_id,text,start_s,end_s\na,1,x,{start},{end}\na,2,y,1,2.5\n"
    )
    assert bad.fault is not None
    assert bad.fault[0] == "ConfigError"
    with pytest.raises(ConfigError, match=said):
        raise ConfigError(bad.fault[1])
    assert bad.start_s is not None, "it must still be matched to the video that it is a part of"
    assert (good.start_s, good.end_s, good.fault) == (1.0, 2.5, None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", r"t\.csv is empty; expected a line with the columns' names"),
        ("video_id,clip_id,text\n", r"t\.csv holds no row; expected the columns video_id, clip_id and text"),
        ("who,text\na,b\n", r"t\.csv names no clip: its columns are 'who', 'text'; .* has video_id and clip_id"),
        ("video_id,clip_id,text\na,1,x\n,2,y\n", r"t\.csv line 3 names no clip"),
    ],
)
def test_a_table_that_names_no_clips_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        transcripts(tmp_path / "t.csv", content)


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
