"""Transcript tables and the text files beside videos."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.catalog.transcripts import Transcript, read_transcripts
from fmltk.toolkit.clip import split_utterance_id, utterance_id
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


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
