"""Names of columns as people write them: understood where one thing can be meant, else named with a remedy."""

from __future__ import annotations

import time

import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.columns import find_columns
from fmltk.toolkit.io.table_kinds import EXCLUDED, LABELS, RATERS, RATINGS, TRANSCRIPTS, VIDEOS, TableKind

KINDS = {"transcripts": TRANSCRIPTS, "videos": VIDEOS, "labels": LABELS, "ratings": RATINGS, "excluded": EXCLUDED,
         "raters": RATERS}  # fmt: skip


def used(kind: TableKind, names: str, **options: object) -> dict[str, str]:
    return dict(find_columns(kind, names.split(","), table="t.csv", **options).used)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_field_goes_by_its_name_however_it_is_written(kind: TableKind) -> None:
    for name in kind.fields:
        for written in (name, name.upper(), name.replace("_", " "), name.replace("_", "-").title(), f" {name}_"):
            assert list(used(kind, written).values()) == [written]


@pytest.mark.parametrize(
    ("kind", "names", "fields"),
    [
        (TRANSCRIPTS, "Filename,Transcript", {"file": "Filename", "text": "Transcript"}),
        (TRANSCRIPTS, "File Name,Utterance,Subset", {"file": "File Name", "text": "Utterance", "split": "Subset"}),
        (TRANSCRIPTS, "Video,Clip,Sentence,Set", {"video_id": "Video", "clip_id": "Clip", "text": "Sentence",
                                                  "split": "Set"}),
        (TRANSCRIPTS, "Clip,Subtitle", {"file": "Clip", "text": "Subtitle"}),
        (TRANSCRIPTS, "ID,Text", {"utterance_id": "ID", "text": "Text"}),
        (TRANSCRIPTS, "ID,Video,Text", {"video_id": "Video", "text": "Text"}),
        (TRANSCRIPTS, "text,Transcript,VIDEO_ID", {"text": "text", "video_id": "VIDEO_ID"}),
        (VIDEOS, "Video,Transcript,From,To", {"path": "Video", "text": "Transcript", "start_s": "From", "end_s": "To"}),
        (VIDEOS, "File,Video,Clip", {"path": "File", "video_id": "Video", "clip_id": "Clip"}),
        (LABELS, "Filename,Score,Split", {"file": "Filename", "label_M": "Score", "split": "Split"}),
        (LABELS, "video_id,clip_id,label,score", {"video_id": "video_id", "clip_id": "clip_id", "label_M": "label"}),
        (LABELS, "id,M,T,A,V,mode", {"utterance_id": "id", "label_M": "M", "label_T": "T", "label_A": "A",
                                     "label_V": "V", "split": "mode"}),
        (RATINGS, "Clip ID,Video ID,Rater,Score,Modality", {"clip_id": "Clip ID", "video_id": "Video ID",
                                                            "annotator": "Rater", "value": "Score",
                                                            "condition": "Modality"}),
        (EXCLUDED, "File,Reason", {"file": "File", "reason": "Reason"}),
        (RATERS, "E-mail,Name", {"id": "E-mail", "rater": "Name"}),
    ],
)  # fmt: skip
def test_names_that_people_write_are_understood(kind: TableKind, names: str, fields: dict[str, str]) -> None:
    assert used(kind, names) == fields


@pytest.mark.parametrize(
    ("start", "end", "fields"),
    [("start", "end", "start_s end_s"), ("begin", "stop", "start_s end_s"), ("Start Time", "End Time", "start_s end_s"),
     ("onset", "offset", "start_s end_s"), ("start_ms", "end_ms", "start_ms end_ms"), ("from", "to", "start_s end_s"),
     ("Start (ms)", "End [msec]", "start_ms end_ms"), ("start [s]", "duration", "start_s duration_s"),
     ("tmin", "tmax", "start_s end_s"), ("offset", "duration", "start_s duration_s"),
     ("start_seconds", "stop_seconds", "start_s end_s"), ("Start hh:mm:ss", "End hh:mm:ss", "start_s end_s"),
     ("Begin Time - hh:mm:ss.ms", "End Time - hh:mm:ss.ms", "start_s end_s"),
     ("Begin Time - msec", "End Time - msec", "start_ms end_ms")],
)  # fmt: skip
def test_times_are_known_by_their_names_and_units(start: str, end: str, fields: str) -> None:
    found = used(TRANSCRIPTS, f"video_id,text,{start},{end}")
    first, second = fields.split()
    assert (found[first], found[second]) == (start, end)


def test_a_time_without_a_unit_is_said_to_be_in_seconds() -> None:
    note = find_columns(TRANSCRIPTS, ["video_id", "start", "End (ms)", "Mood"], table="t.csv").note()
    assert note == "t.csv: read video_id, 'start' as start_s (in seconds), 'End (ms)' as end_ms; not read: 'Mood'"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ("file,strat_s", "'strat_s' is not read, but resembles .*start_s.*; name it start_s"),
        ("file,start_s,edn_s", "'edn_s' is not read, but resembles .*end_s"),
        ("file,txt", "'txt' is not read, but resembles text; name it text"),
        ("file,Sentance", r"'Sentance' is not read, but resembles sentence \(text\)"),
        ("file,clpi_id,text", "'clpi_id' is not read, but resembles .*clip_id"),
        ("video_id,clpi_id,text", "'clpi_id' is not read, but resembles .*clip_id"),
        ("file,text,spilt", "'spilt' is not read, but resembles split"),
        ("file,start_frame,end_frame", "'start_frame' counts video frames"),
        ("file,Frame Start", "'Frame Start' counts video frames"),
        ("file,start_min", "'start_min' has a unit that is neither seconds nor milliseconds"),
        ("file,start_s,End (us)", r"'End \(us\)' has a unit that is neither"),
        ("file,offset", "'offset' may be where clips start or end; name it start_s or end_s"),
        ("file,Timestamp", "'Timestamp' may say when clips start and end"),
        ("file,Transcript,Sentence", "columns 'Transcript' and 'Sentence' both may be text; name one of them text"),
        ("file,text,begin,onset", "columns 'begin' and 'onset' both may be start_s"),
        ("Path,text,Video File", "columns 'Path' and 'Video File' both may be file"),
    ],
)
def test_a_doubtful_column_stops_and_can_be_left_out(names: str, said: str) -> None:
    header = names.split(",")
    with pytest.raises(ConfigError, match=rf"t\.csv: .*{said}") as caught:
        find_columns(TRANSCRIPTS, header, table="t.csv", ignored=())
    assert "or use --ignore-columns" in str(caught.value)
    doubtful = [name for name in header if name not in ("file", "video_id", "text", "start_s", "Path")]
    columns = find_columns(TRANSCRIPTS, header, table="t.csv", ignored=[name.upper() for name in doubtful])
    assert set(doubtful) <= set(columns.unused)
    with pytest.raises(ConfigError, match="or remove the column"):
        find_columns(TRANSCRIPTS, header, table="t.csv")


def test_thousands_of_columns_cost_no_time() -> None:
    header = ["video_id", *(f"begi{number}" for number in range(1000, 2000)), "a" * 100_000]
    started = time.process_time()
    assert len(find_columns(TRANSCRIPTS, header, table="t.csv").unused) == 1001
    assert time.process_time() - started < 20


@pytest.mark.parametrize(
    "names",
    ["video_id,clip_id,text,label,label_T,label_A,label_V,annotation,mode", "file,text,Speaker,Emotion,Gender,Age",
     "file,text,start_s,end_s,start_frame,end_frame,duration", "file,text,duration", "file,text,Model,Stars,Notes"],
)  # fmt: skip
def test_harmless_columns_are_listed_and_do_not_stop(names: str) -> None:
    columns = find_columns(TRANSCRIPTS, names.split(","), table="t.csv")
    assert set(columns.unused) | set(columns.used.values()) == set(names.split(",")), "no column is lost"
    assert all(repr(name) in columns.note().partition("not read: ")[2] for name in columns.unused)


@pytest.mark.parametrize("name", ["Spoken Text", "utterance (cleaned)", "EnglishTranscript", "subtitle_line"])
def test_a_name_that_contains_a_word_of_a_missing_field_stops(name: str) -> None:
    with pytest.raises(ConfigError, match=r"is not read, but resembles text; name it text"):
        find_columns(TRANSCRIPTS, ["file", name], table="t.csv")
    assert find_columns(TRANSCRIPTS, ["file", "text", name], table="t.csv").unused == (name,)


def test_times_with_other_words_stop() -> None:
    for name in ("Start of clip", "clip begin", "speech onset"):
        with pytest.raises(ConfigError, match="is not read, but resembles"):
            find_columns(TRANSCRIPTS, ["file", "text", name], table="t.csv")


def test_chinese_names_are_read() -> None:
    found = find_columns(TRANSCRIPTS, ["文件名", "文本", "开始时间", "结束时间"], table="t.csv")
    assert found.used == {"file": "文件名", "text": "文本", "start_s": "开始时间", "end_s": "结束时间"}
