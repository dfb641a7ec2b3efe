"""From what lies in a folder to clips: nothing is guessed, nothing is lost, everything odd is named."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.catalog.catalog import Catalog, build_catalog
from fmltk.toolkit.clip import composed
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmltk.toolkit.clip import Clip

SRT = "1\n00:00:01,000 --> 00:00:02,500\nHello.\n\n2\n00:00:03,000 --> 00:00:04,000\nBye.\n"


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    return folder


def touch(path: Path, content: str | bytes | None = None) -> Path:
    """Make a file that no other equals, or one of a given content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = os.fspath(path) if content is None else content
    path.write_bytes(content if isinstance(content, bytes) else os.fsencode(content))
    return path


def by_id(catalog: Catalog) -> dict[str, Clip]:
    found = {clip.utterance_id: clip for clip in catalog.clips}
    assert len(found) == len(catalog.clips), "an id is listed twice"
    return found


def kinds(catalog: Catalog) -> list[str]:
    return sorted(problem.kind for problem in catalog.problems if problem.kind != "no-transcript")


def problem(catalog: Catalog, kind: str) -> str:
    (found,) = [one for one in catalog.problems if one.kind == kind]
    return f"{found.where}: {found.message}"


# ---- what VIDEOS may be


def test_one_video_is_one_clip(videos: Path) -> None:
    path = touch(videos / "talk.one.MOV")
    (clip,) = build_catalog(path).clips
    assert (clip.video_id, clip.clip_id, clip.path, clip.source) == ("talk.one", "0", path, "talk.one.MOV")
    assert (clip.start_s, clip.end_s, clip.text, clip.fault) == (0.0, None, None, None)


def test_a_flat_folder_gives_each_file_its_stem_as_id(videos: Path) -> None:
    for name in ("0001.mp4", "NA.mkv", "b.webm", "notes.docx", ".hidden.mp4", "noext"):
        touch(videos / name)
    catalog = build_catalog(videos)
    assert list(by_id(catalog)) == ["0001$_$0", "NA$_$0", "b$_$0"]
    assert [(one.kind, one.where) for one in catalog.problems if one.kind != "no-transcript"] == [
        ("ignored-file", "noext"),
        ("ignored-file", "notes.docx"),
    ]


def test_folders_give_both_ids_also_below_raw(videos: Path) -> None:
    touch(videos / "0001" / "0002.mp4")
    touch(videos / "Raw" / "video_0001" / "0001.mp4")
    touch(videos / "flat.avi")
    found = by_id(build_catalog(videos))
    assert {key: clip.source for key, clip in found.items()} == {
        "0001$_$0002": "0001/0002.mp4",
        "flat$_$0": "flat.avi",
        "video_0001$_$0001": "Raw/video_0001/0001.mp4",
    }
    assert list(by_id(build_catalog(videos / "Raw"))) == ["video_0001$_$0001"]


def test_a_deeper_folder_is_named_and_not_guessed_at(videos: Path) -> None:
    touch(videos / "a" / "1.mp4")
    touch(videos / "a" / "old" / "1.mp4")
    catalog = build_catalog(videos)
    assert list(by_id(catalog)) == ["a$_$1"]
    assert problem(catalog, "ignored-file") == "a/old: is deeper than <video_id>/<clip_id>.mp4: not read"


def test_features_made_among_the_videos_are_no_videos(videos: Path) -> None:
    touch(videos / "a.mp4")
    for name in ("run.json", "shards/3f/3f.parquet", "faces/crops/a/0.mp4"):
        touch(videos / "features" / name)
    catalog = build_catalog(videos)
    assert list(by_id(catalog)) == ["a$_$0"]
    assert kinds(catalog) == []
    touch(videos / "b" / "run.json")
    touch(videos / "b" / "1.mp4")
    assert list(by_id(build_catalog(videos))) == ["a$_$0", "b$_$1"], "run.json alone may be anybody's"


def test_clips_are_listed_in_one_order_whatever_the_folders(videos: Path) -> None:
    for name in ("b/2.mp4", "a.mp4", "b/10.mp4", "Z.mp4", "中/1.mp4"):
        touch(videos / name)
    keys = [clip.utterance_id for clip in build_catalog(videos).clips]
    assert keys == sorted(keys)
    assert len(keys) == 5


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_a_table_with_a_path_column_gives_clips_texts_and_cuts(tmp_path: Path, kind: str) -> None:
    touch(tmp_path / "in" / "long.mp4")
    touch(tmp_path / "in" / "short one.mp4")
    frame = pd.DataFrame(
        {
            "path": ["in/long.mp4", "in/long.mp4", "in/short one.mp4"],
            "video_id": ["0001", "0001", None],
            "clip_id": ["01", "02", None],
            "text": ["first", "second", None],
            "start_s": [0.0, 2.5, None],
            "end_s": [2.5, 4.0, None],
        }
    )
    table = tmp_path / f"clips{kind}"
    if kind == ".parquet":
        frame.to_parquet(table)
    elif kind == ".jsonl":
        frame.to_json(table, orient="records", lines=True)
    else:
        frame.to_csv(table, sep="\t" if kind == ".tsv" else ",", index=False)
    found = {
        key: (clip.path, clip.start_s, clip.end_s, clip.text, clip.source)
        for key, clip in by_id(build_catalog(table)).items()
    }
    long, short = tmp_path / "in" / "long.mp4", tmp_path / "in" / "short one.mp4"
    assert found == {
        "0001$_$01": (long, 0.0, 2.5, "first", "in/long.mp4"),
        "0001$_$02": (long, 2.5, 4.0, "second", "in/long.mp4"),
        "short one$_$0": (short, 0.0, None, None, "in/short one.mp4"),
    }


def test_a_table_may_name_its_clips_by_utterance_id(tmp_path: Path) -> None:
    touch(tmp_path / "x.mp4")
    table = touch(tmp_path / "clips.csv", "path,utterance_id\nx.mp4,video_0001$_$0007\n")
    assert list(by_id(build_catalog(table))) == ["video_0001$_$0007"]


def test_a_tables_cut_stays_where_transcripts_give_the_text_alone(tmp_path: Path) -> None:
    touch(tmp_path / "x.mp4")
    table = touch(tmp_path / "clips.csv", "path,video_id,clip_id,start_s,end_s\nx.mp4,x,1,2,3\n")
    texts = touch(tmp_path / "texts.csv", "video_id,clip_id,text\nx,1,hello\n")
    (clip,) = build_catalog(table, transcripts=texts).clips
    assert (clip.start_s, clip.end_s, clip.text) == (2.0, 3.0, "hello")


def test_parts_of_one_video_do_not_take_the_whole_videos_text(tmp_path: Path) -> None:
    touch(tmp_path / "x.mp4")
    touch(tmp_path / "x.txt", "all that is said in an hour")
    table = touch(tmp_path / "clips.csv", "path,clip_id,start_s,end_s\nx.mp4,1,2,3\nx.mp4,2,4,\nx.mp4,3,,\n")
    assert [clip.text for clip in build_catalog(table).clips] == [None, None, "all that is said in an hour"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("video_id,clip_id\na,1\n", r"clips\.csv names no clip: its columns are 'video_id', 'clip_id'; .* has path"),
        ("path,clip_id\n,1\n", r"clips\.csv line 2 has no path; .* names a file in each row"),
        ("path\n", r"no video in .*clips\.csv; expected files such as clip\.mp4"),
    ],
)
def test_a_table_without_paths_is_refused(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        build_catalog(touch(tmp_path / "clips.csv", content))


def test_a_folder_without_videos_and_a_missing_one_are_refused(videos: Path) -> None:
    touch(videos / "notes.txt")
    with pytest.raises(ConfigError, match=r"no video in .*; expected files such as clip\.mp4, or <video_id>/"):
        build_catalog(videos)
    with pytest.raises(ConfigError, match=r"nowhere does not exist; give a video, a folder of videos or a table"):
        build_catalog(videos / "nowhere")
    with pytest.raises(ConfigError, match=r"notes\.txt does not end as a video does"):
        build_catalog(videos / "notes.txt")


# ---- transcripts


def test_rows_find_their_files_by_both_ids_by_joined_name_or_by_whole_video(videos: Path, tmp_path: Path) -> None:
    touch(videos / "a" / "1.mp4")
    touch(videos / "b_2.mp4")
    touch(videos / "long.mp4")
    touch(videos / "talk.mp4")
    table = touch(
        tmp_path / "t.csv",
        "video_id,clip_id,text,start_s,end_s,mode\na,1,one,,,train\nb,2,two,,,valid\nlong,1,three,0,2,test\n"
        "long,2,four,2,3.5,test\ntalk,,five,,,\n",
    )
    catalog = build_catalog(videos, transcripts=table)
    found = {
        key: (clip.source, clip.start_s, clip.end_s, clip.text, clip.split) for key, clip in by_id(catalog).items()
    }
    assert found == {
        "a$_$1": ("a/1.mp4", 0.0, None, "one", "train"),
        "b$_$2": ("b_2.mp4", 0.0, None, "two", "valid"),
        "long$_$1": ("long.mp4", 0.0, 2.0, "three", "test"),
        "long$_$2": ("long.mp4", 2.0, 3.5, "four", "test"),
        "talk$_$0": ("talk.mp4", 0.0, None, "five", None),
    }
    assert catalog.problems == ()


def test_clips_without_text_and_texts_without_clip_are_all_named(videos: Path, tmp_path: Path) -> None:
    touch(videos / "a.mp4")
    touch(videos / "b.mp4")
    table = touch(tmp_path / "t.csv", "video_id,clip_id,text\na,0,\nc,1,words\nd,2,more words\n")
    catalog = build_catalog(videos, transcripts=table)
    found = by_id(catalog)
    assert {key: (clip.path is None, clip.text) for key, clip in found.items()} == {
        "a$_$0": (False, None), "b$_$0": (False, None), "c$_$1": (True, "words"), "d$_$2": (True, "more words"),
    }  # fmt: skip
    assert [(one.kind, one.where) for one in catalog.problems] == [
        ("no-video", "c$_$1"), ("no-video", "d$_$2"), ("no-transcript", "a$_$0"), ("no-transcript", "b$_$0"),
    ]  # fmt: skip
    assert catalog.problems[0].message == ("t.csv line 3: no video for c$_$1; expected c/1.mp4 or another container")


def test_ids_are_never_taken_for_numbers(videos: Path, tmp_path: Path) -> None:
    for name in ("0001/0001.mp4", "1/1.mp4", "NA/nan.mp4", "1e3/0x10.mp4"):
        touch(videos / name)
    table = touch(tmp_path / "t.csv", "video_id,clip_id,text\n0001,0001,a\n1,1,b\nNA,nan,c\n1e3,0x10,d\n")
    catalog = build_catalog(videos, transcripts=table)
    assert {key: clip.text for key, clip in by_id(catalog).items()} == {
        "0001$_$0001": "a", "1$_$1": "b", "NA$_$nan": "c", "1e3$_$0x10": "d",
    }  # fmt: skip
    assert catalog.problems == ()


def test_decomposed_file_names_and_composed_ids_are_the_same(videos: Path, tmp_path: Path) -> None:
    touch(videos / "Cafe\u0301" / "u\u0308ber.mp4")
    touch(videos / "Zo\u00eb.mp4")
    table = touch(tmp_path / "t.csv", "video_id,clip_id,text\nCaf\u00e9,\u00fcber,a\nZoe\u0308,0,b\n".encode())
    catalog = build_catalog(videos, transcripts=table)
    assert {key: (clip.text, clip.source) for key, clip in by_id(catalog).items()} == {
        "Caf\u00e9$_$\u00fcber": ("a", "Cafe\u0301/u\u0308ber.mp4"), "Zo\u00eb$_$0": ("b", "Zo\u00eb.mp4"),
    }  # fmt: skip
    assert catalog.problems == ()


def test_a_row_with_bad_times_costs_its_clip_and_not_its_video(videos: Path, tmp_path: Path) -> None:
    touch(videos / "long.mp4")
    table = touch(tmp_path / "t.csv", "video_id,clip_id,text,start_s,end_s\nlong,1,a,soon,0:02\nlong,2,b,4,3\n")
    catalog = build_catalog(videos, transcripts=table)
    assert sorted(by_id(catalog)) == ["long$_$1", "long$_$2"], "the whole video is no clip of its own"
    assert all(clip.fault is not None and clip.path is not None for clip in catalog.clips)
    assert kinds(catalog) == []


def test_texts_beside_videos_are_found(videos: Path) -> None:
    contents = {
        "a.txt": "你好\n", "b.srt": SRT, "c.vtt": "WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n", "d.txt": "",
    }  # fmt: skip
    for name, content in contents.items():
        touch((videos / name).with_suffix(".mp4"))
        touch(videos / name, content.encode())
    assert [clip.text for clip in build_catalog(videos).clips] == ["你好", "Hello. Bye.", "Hi", None]


def test_a_text_file_that_cannot_be_read_costs_its_clip_alone(videos: Path) -> None:
    touch(videos / "a.mp4")
    touch(videos / "a.txt", "привет".encode("cp1251"))
    touch(videos / "b.mp4")
    touch(videos / "b.txt", "fine")
    found = by_id(build_catalog(videos))
    fault = found["a$_$0"].fault
    assert fault is not None
    assert fault[0] == "ConfigError"
    assert "a.txt" in fault[1]
    assert "--encoding" in fault[1]
    assert (found["b$_$0"].text, found["b$_$0"].fault) == ("fine", None)
    assert by_id(build_catalog(videos, encoding="cp1251"))["a$_$0"].text == "привет"


def test_subtitles_cut_a_video_into_clips(videos: Path) -> None:
    touch(videos / "talk.mp4")
    touch(videos / "talk.srt", SRT)
    touch(videos / "talk.txt", "the cues count where cuts are asked for")
    touch(videos / "show" / "3.mp4")
    touch(videos / "show" / "3.vtt", "WEBVTT\n\n00:01.000 --> 00:02.000\nHi\n")
    touch(videos / "plain.mp4")
    touch(videos / "plain.txt", "no times")
    found = {
        key: (clip.source, clip.start_s, clip.end_s, clip.text)
        for key, clip in by_id(build_catalog(videos, cut_subtitles=True)).items()
    }
    assert found == {
        "talk$_$0001": ("talk.mp4", 1.0, 2.5, "Hello."),
        "talk$_$0002": ("talk.mp4", 3.0, 4.0, "Bye."),
        "show_3$_$0001": ("show/3.mp4", 1.0, 2.0, "Hi"),
        "plain$_$0": ("plain.mp4", 0.0, None, "no times"),
    }


def test_cuts_by_subtitles_and_a_table_of_transcripts_exclude_each_other(videos: Path, tmp_path: Path) -> None:
    touch(videos / "talk.mp4")
    table = touch(tmp_path / "t.csv", "video_id,text\ntalk,hi\n")
    with pytest.raises(ConfigError, match=r"--cut subtitles takes texts and times from .*leave out --transcripts"):
        build_catalog(videos, transcripts=table, cut_subtitles=True)


# ---- ids and contents that occur twice


def test_two_files_of_one_id_fail_as_one_clip(videos: Path) -> None:
    touch(videos / "a" / "1.mp4")
    touch(videos / "a" / "1.mov")
    touch(videos / "b.mp4")
    catalog = build_catalog(videos)
    found = by_id(catalog)
    message = "several files claim the id a$_$1: a/1.mov, a/1.mp4; rename all but one"
    assert found["a$_$1"].fault == ("ConfigError", message)
    assert found["b$_$0"].fault is None
    assert problem(catalog, "duplicate-id") == f"a$_$1: {message}"


def test_ids_that_are_the_same_only_when_joined_are_one_id(videos: Path) -> None:
    touch(videos / "a$_$b" / "c.mp4")
    touch(videos / "a" / "b$_$c.mp4")
    catalog = build_catalog(videos)
    assert [clip.utterance_id for clip in catalog.clips] == ["a$_$b$_$c"]
    assert catalog.clips[0].fault is not None


def test_a_cue_that_takes_the_id_of_a_file_fails_as_one_clip(videos: Path) -> None:
    touch(videos / "a.mp4")
    touch(videos / "a.srt", SRT)
    touch(videos / "a" / "0001.mp4")
    catalog = build_catalog(videos, cut_subtitles=True)
    found = by_id(catalog)
    assert found["a$_$0001"].fault is not None
    assert found["a$_$0002"].fault is None
    assert "several files claim the id a$_$0001" in problem(catalog, "duplicate-id")


def test_two_rows_for_one_clip_of_a_table_of_videos_fail_as_one_clip(tmp_path: Path) -> None:
    touch(tmp_path / "x.mp4")
    table = touch(tmp_path / "clips.csv", "path,start_s,end_s\nx.mp4,0,1\nx.mp4,1,2\n")
    (clip,) = build_catalog(table).clips
    assert clip.fault == ("ConfigError", "2 clips of x.mp4 claim the id x$_$0; give each a clip_id of its own")


def test_a_repeated_row_is_named_and_a_contradicting_one_fails_its_clip(videos: Path, tmp_path: Path) -> None:
    touch(videos / "a.mp4")
    touch(videos / "b.mp4")
    table = touch(tmp_path / "t.csv", "video_id,text\na,same\nb,one\na,same\nb,other\n")
    catalog = build_catalog(videos, transcripts=table)
    found = by_id(catalog)
    assert (found["a$_$0"].text, found["a$_$0"].fault) == ("same", None)
    message = "t.csv line 5 repeats the id b$_$0 of t.csv line 3 with another content; keep one of the two"
    assert found["b$_$0"].fault == ("ConfigError", message)
    assert [one.message for one in catalog.problems] == ["t.csv line 4 repeats the id a$_$0 of t.csv line 2", message]


def test_the_same_content_under_two_ids_is_named_once_per_copy(videos: Path) -> None:
    big = os.urandom(200_000)
    touch(videos / "a.mp4", big)
    touch(videos / "b.mp4", big)
    touch(videos / "c.mp4", big)
    touch(videos / "begins_alike.mp4", big[:-1] + bytes([big[-1] ^ 1]))
    touch(videos / "same_size.mp4", os.urandom(200_000))
    touch(videos / "empty1.mp4", b"")
    touch(videos / "empty2.mp4", b"")
    found = [(one.where, one.message) for one in build_catalog(videos).problems if one.kind == "same-content"]
    assert found == [
        ("b$_$0", "b.mp4 has the same content as a.mp4"),
        ("c$_$0", "c.mp4 has the same content as a.mp4"),
    ]


def test_parts_of_one_file_are_no_copies_of_each_other(tmp_path: Path) -> None:
    touch(tmp_path / "x.mp4")
    table = touch(tmp_path / "clips.csv", "path,clip_id,start_s,end_s\nx.mp4,1,0,1\nx.mp4,2,1,2\n")
    assert kinds(build_catalog(table)) == []


# ---- clips left out


def test_excluded_clips_keep_their_reason(videos: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "b/1.mp4", "b/2.mp4", "c.mp4"):
        touch(videos / name, b"the same bytes" if name in ("a.mp4", "c.mp4") else None)
    table = touch(tmp_path / "out.csv", "video_id,clip_id,reason\na,,two people\nb,1,\nnobody,7,typing error\n")
    catalog = build_catalog(videos, exclude=table)
    assert {key: clip.exclude_reason for key, clip in by_id(catalog).items()} == {
        "a$_$0": "two people", "b$_$1": "no reason given", "b$_$2": None, "c$_$0": None,
    }  # fmt: skip
    assert (
        problem(catalog, "excluded-unknown") == "nobody$_$7: out.csv excludes nobody$_$7, which is not among the clips"
    )
    named = [one.where for one in catalog.problems if one.kind == "no-transcript"]
    assert named == ["b$_$2", "c$_$0"], "what is left out needs no transcript"
    assert "same-content" not in kinds(catalog), "a copy that is left out is no copy any more"


@pytest.mark.parametrize("column", ["id", "utterance_id"])
@pytest.mark.parametrize("name", ["a$_$0", "a"])
def test_excluded_clips_may_be_named_by_one_id(videos: Path, tmp_path: Path, column: str, name: str) -> None:
    touch(videos / "a.mp4")
    table = touch(tmp_path / "out.csv", f"{column},reason\n{name},blurred\n")
    (clip,) = build_catalog(videos, exclude=table).clips
    assert clip.exclude_reason == "blurred"


def test_a_table_that_excludes_nobody_by_name_is_refused(videos: Path, tmp_path: Path) -> None:
    touch(videos / "a.mp4")
    with pytest.raises(ConfigError, match=r"out\.csv names no clip: its columns are 'who', 'reason'; .* has video_id"):
        build_catalog(videos, exclude=touch(tmp_path / "out.csv", "who,reason\na.mp4,x\n"))


# ---- what file systems hold


def test_a_link_back_to_a_folder_is_not_followed_again(videos: Path) -> None:
    touch(videos / "a" / "1.mp4")
    (videos / "loop").symlink_to(videos, target_is_directory=True)
    (videos / "z").symlink_to(videos / "a", target_is_directory=True)
    catalog = build_catalog(videos)
    assert list(by_id(catalog)) == ["a$_$1"]
    assert [(one.where, one.message) for one in catalog.problems if one.kind == "ignored-file"] == [
        ("loop", "links to a folder that is read already: not read again"),
        ("z", "links to a folder that is read already: not read again"),
    ]


def test_a_link_to_another_folder_is_followed(videos: Path, tmp_path: Path) -> None:
    touch(tmp_path / "elsewhere" / "1.mp4")
    (videos / "a").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert list(by_id(build_catalog(videos))) == ["a$_$1"]


def test_links_that_lead_nowhere_are_clips_that_cannot_be_read(videos: Path) -> None:
    (videos / "self.mp4").symlink_to(videos / "self.mp4")
    (videos / "gone.mp4").symlink_to(videos / "nothing")
    (videos / "loop").symlink_to(videos / "loop")
    with pytest.raises(OSError, match="symbolic links"):  # the fault is in force
        (videos / "self.mp4").stat()
    catalog = build_catalog(videos)
    assert sorted(by_id(catalog)) == ["gone$_$0", "self$_$0"]
    assert [(one.kind, one.where) for one in catalog.problems if one.kind != "no-transcript"] == [
        ("ignored-file", "loop")
    ]


@pytest.mark.parametrize(
    "name",
    ["with space", 'it\'s "quoted"', "two\nlines", "你好", "-dash", "--out", "\u00e9\U0001f600", "$HOME `x`", "a,b;c"],
)
def test_any_name_is_an_id(videos: Path, name: str) -> None:
    touch(videos / f"{name}.mp4")
    touch(videos / name / f"{name}.mp4")
    catalog = build_catalog(videos)
    assert [(clip.video_id, clip.clip_id) for clip in catalog.clips] == sorted([(name, "0"), (name, name)])
    assert [clip.source for clip in catalog.clips if clip.clip_id == "0"] == [f"{name}.mp4"]


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20), max_size=4))
def test_every_visible_file_is_one_clip(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    folder = tmp_path_factory.mktemp("names")
    expected = {name for name in names if not name.startswith(".")}
    for name in expected:
        touch(folder / f"{name}.mp4")
    if not expected:
        return
    assert {clip.video_id for clip in build_catalog(folder).clips} == set(map(composed, expected))


def test_a_name_that_is_no_utf_8_shows_its_bytes(videos: Path) -> None:
    Path(os.fsdecode(os.fsencode(videos) + b"/caf\xe9.mp4")).write_bytes(b"x")
    folder = Path(os.fsdecode(os.fsencode(videos) + b"/\xff"))
    folder.mkdir()
    (folder / "1.mp4").write_bytes(b"y")
    catalog = build_catalog(videos)
    assert [(clip.video_id, clip.clip_id, clip.source) for clip in catalog.clips] == [
        ("\\xff", "1", "\\xff/1.mp4"),
        ("caf\\xe9", "0", "caf\\xe9.mp4"),
    ]
    for clip in catalog.clips:
        clip.utterance_id.encode("utf-8")
        assert clip.path is not None
        assert clip.path.exists()


def test_a_path_that_no_file_can_have_is_a_clip_that_cannot_be_read(tmp_path: Path) -> None:
    table = touch(tmp_path / "clips.csv", f"path\n..\n{'x' * 300}.mp4\n../gone/a.mp4\n")
    assert [clip.video_id for clip in build_catalog(table).clips] == ["..", "a", "x" * 300]


def test_a_path_with_a_zero_character_is_refused(tmp_path: Path) -> None:
    table = touch(tmp_path / "clips.jsonl", '{"path": "a\\u0000.mp4"}\n')
    with pytest.raises(ConfigError, match=r"clips\.jsonl line 1: 'a\\x00\.mp4' is not a path"):
        build_catalog(table)


def test_a_folder_that_may_not_be_listed_is_named_and_the_others_are_read(
    open_folder: Path, without_rights: Callable[[str], str]
) -> None:
    touch(open_folder / "videos" / "open" / "1.mp4")
    touch(open_folder / "videos" / "closed" / "1.mp4")
    touch(open_folder / "videos" / "unsearchable" / "1.mp4")
    (open_folder / "videos" / "closed").chmod(0o311)
    (open_folder / "videos" / "unsearchable").chmod(0o644)
    said = without_rights(
        """
        try:
            os.listdir("videos/closed")
        except PermissionError:
            print("the fault is in force")
        catalog = build_catalog("videos")
        print([clip.utterance_id for clip in catalog.clips])
        for one in catalog.problems:
            if one.kind == "ignored-file":
                print(f"{one.where}: {one.message}")
        """
    )
    assert said.splitlines() == [
        "the fault is in force",
        "['open$_$1']",
        "closed: cannot be listed: Permission denied",
        "unsearchable: cannot be listed: Permission denied",
    ]


def test_input_that_may_not_be_looked_at_is_refused_in_one_line(
    open_folder: Path, without_rights: Callable[[str], str]
) -> None:
    touch(open_folder / "closed" / "videos" / "1.mp4")
    touch(open_folder / "closed" / "clips.csv", "path\nx.mp4\n")
    touch(open_folder / "unlistable" / "1.mp4")
    touch(open_folder / "videos" / "1.mp4")
    touch(open_folder / "secret.csv", "video_id,text\n1,x\n").chmod(0o600)
    (open_folder / "closed").chmod(0o600)
    (open_folder / "unlistable").chmod(0o311)
    said = without_rights(
        """
        for arguments in (["closed/videos"], ["closed/clips.csv"], ["unlistable"], ["videos", "secret.csv"]):
            try:
                build_catalog(arguments[0], transcripts=arguments[1] if arguments[1:] else None)
            except ConfigError as error:
                print(error)
        """
    )
    assert said.splitlines() == [
        "cannot look at closed/videos: Permission denied",
        "cannot look at closed/clips.csv: Permission denied",
        "cannot list unlistable: Permission denied",
        "cannot read secret.csv: Permission denied",
    ]


def test_a_split_of_no_known_name_is_said(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    table = tmp_path / "t.csv"
    table.write_text("video_id,clip_id,text,mode\na,0,hello,trian\nb,0,hello,dev\n")
    catalog = build_catalog(tmp_path, transcripts=table)
    (problem,) = [one for one in catalog.problems if one.kind == "unknown-split"]
    assert problem.where == "a$_$0"
    assert "'trian'" in problem.message
    assert [clip.split for clip in catalog.clips] == [None, "valid"]
