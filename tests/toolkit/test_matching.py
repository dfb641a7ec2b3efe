"""Ids that two files write in different ways: one candidate on both sides is meant, and two never are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.catalog.catalog import Catalog, build_catalog
from fmltk.toolkit.conditions import CH_SIMS_SCALE
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.label_table import LabelTable
from fmltk.toolkit.matching import align_ids, id_form, match_names, path_form
from tests.spreadsheets import write_xlsx

if TYPE_CHECKING:
    from pathlib import Path


def catalog_of(folder: Path, videos: list[str], table: str, name: str = "t.csv") -> Catalog:
    for video in videos:
        path = folder / "videos" / video
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(video)
    (folder / name).write_text(table, encoding="utf-8")
    return build_catalog(folder / "videos", transcripts=folder / name)


def texts(catalog: Catalog) -> dict[str, str | None]:
    return {clip.utterance_id: clip.text for clip in catalog.clips}


@pytest.mark.parametrize(
    ("video", "written", "how"),
    [
        ("a.mp4", "a.mp4", "endings such as .mp4"),
        ("IMG_2041.MOV", "IMG_2041.mov", "endings such as .mp4"),
        ("a.mp4", "videos/a.mp4", "endings such as .mp4 and folders"),
        ("a.mp4", "C:\\clips\\a.MP4", "endings such as .mp4 and folders"),
        ("a.mp4", "A", "upper and lower case"),
        ("0001.mp4", "1", "numbers are compared as numbers"),
        ("0001.mp4", "1.0", "numbers are compared as numbers"),
        ("7.mp4", "007", "numbers are compared as numbers"),
        ("talk b.mp4", "talk\u00a0b\u200b ", "spaces or invisible characters"),
        (" a.mp4", "a", "spaces and invisible characters"),
    ],
)
def test_an_id_written_in_another_way_is_its_clip_and_this_is_said(
    tmp_path: Path, video: str, written: str, how: str
) -> None:
    catalog = catalog_of(tmp_path, [video, "other.mp4"], f"video_id,text\n{written},hello\n")
    stem = video.rpartition(".")[0]
    assert texts(catalog)[f"{stem}$_$0"] == "hello", "the clip keeps the id that its file gives it"
    assert any(how in note for note in catalog.notes), catalog.notes
    assert not [one for one in catalog.problems if one.kind in ("no-video", "ambiguous-id")]


@pytest.mark.parametrize(
    ("video", "ids"),
    [("v1/0001.mp4", "v1,1"), ("v1/0001.mp4", "V1,0001.mp4"), ("v1/0001.mp4", "v1 ,1.0"), ("v1_0001.mp4", "V1,0001")],
)
def test_both_ids_may_be_written_in_another_way(tmp_path: Path, video: str, ids: str) -> None:
    catalog = catalog_of(tmp_path, [video, "v2/0001.mp4"], f"video_id,clip_id,text\n{ids},hello\n")
    assert sorted(text for text in texts(catalog).values() if text) == ["hello"]
    assert len(catalog.clips) == 2


@pytest.mark.parametrize(
    ("videos", "written"),
    [(["0001.mp4", "1.0.mp4"], ["01"]), (["a.mp4", "A.mp4"], ["a.MOV"]), (["0001.mp4"], ["01", "1"])],
)
def test_where_two_may_be_meant_none_is_taken(tmp_path: Path, videos: list[str], written: list[str]) -> None:
    rows = "".join(f"{name},{name}\n" for name in written)
    catalog = catalog_of(tmp_path, [*videos, "sure.mp4"], f"video_id,text\n{rows}sure,yes\n")
    found = texts(catalog)
    assert found.pop("sure$_$0") == "yes"
    assert not [clip for clip in catalog.clips if clip.path is not None and clip.text and clip.video_id != "sure"]
    problems = [one for one in catalog.problems if one.kind == "ambiguous-id"]
    assert len(problems) == len(written)
    assert all("may be it; write the ids as the files have them" in one.message for one in problems)


def test_an_id_that_is_a_clips_own_is_never_another_rows(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, ["0001.mp4", "b.mp4"], "video_id,text\n0001,own\n1,other\n")
    assert texts(catalog)["0001$_$0"] == "own"
    assert [one.where for one in catalog.problems if one.kind == "no-video"] == ["1$_$0"]


def test_a_clip_of_a_video_is_not_a_file_of_the_clips_name(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, ["3.mp4", "talk/1.mp4"], "video_id,clip_id,text\ntalk,3,no\ntalk,1,yes\n")
    assert texts(catalog) == {"3$_$0": None, "talk$_$1": "yes", "talk$_$3": "no"}
    assert [one.where for one in catalog.problems if one.kind == "no-video"] == ["talk$_$3"]


@pytest.mark.parametrize("column", ["Filename", "file", "Path", "Clip", "Video File"])
def test_rows_may_name_files(tmp_path: Path, column: str) -> None:
    videos = ["a.mp4", "v1/0001.mp4", "v2/0001.mov", "v2/only.mp4"]
    table = f"{column},Sentence\nA.MP4,one\nclips/v1/0001.mp4,two\nD:\\x\\v2\\0001.MOV,three\nonly.mp4,four\n"
    assert texts(catalog_of(tmp_path, videos, table)) == {
        "a$_$0": "one", "v1$_$0001": "two", "v2$_$0001": "three", "v2$_$only": "four",
    }  # fmt: skip


def test_a_file_name_that_lies_in_two_folders_is_named(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, ["v1/1.mp4", "v2/1.mp4", "b.mp4"], "file,text\n1.mp4,which\nb.mp4,this\n")
    (problem,) = [one for one in catalog.problems if one.kind == "ambiguous-id"]
    assert "1.mp4 is like v1/1.mp4, v2/1.mp4, but several clips may be it" in problem.message


def test_two_paths_of_one_name_leave_the_clip_as_it_is(tmp_path: Path) -> None:
    catalog = catalog_of(tmp_path, ["a.mp4", "b.mp4"], "file,text\nx/a.mp4,one\ny/a.mp4,two\nb.mp4,three\n")
    assert texts(catalog) == {"a$_$0": None, "b$_$0": "three"}
    assert all(clip.path is not None for clip in catalog.clips)
    assert [one.kind for one in catalog.problems] == ["ambiguous-id", "ambiguous-id", "no-transcript"]


def test_parts_of_a_video_find_it_under_another_spelling(tmp_path: Path) -> None:
    table = "Video,Clip,Text,Start,End\nLONG.mp4,1,a,0,1\nLONG.mp4,2,b,0:01,0:02.5\n"
    catalog = catalog_of(tmp_path, ["long.mp4"], table)
    found = {clip.utterance_id: (clip.source, clip.start_s, clip.end_s) for clip in catalog.clips}
    assert found == {"long$_$1": ("long.mp4", 0, 1), "long$_$2": ("long.mp4", 1, 2.5)}


@pytest.mark.parametrize(
    "table",
    ["video_id,clip_id,text\nfoo,1,a\nbar,2,b\nbaz,3,c\n", "file,text\nfoo.mp4,a\nbar.mp4,b\nbaz.mp4,c\n",
     "id,text\nfoo,a\nbar,b\nbaz,c\n"],
)  # fmt: skip
def test_a_table_of_which_nothing_matches_stops_with_examples_of_both(tmp_path: Path, table: str) -> None:
    with pytest.raises(ConfigError) as stopped:
        catalog_of(tmp_path, ["a.mp4", "b.mp4", "c.mp4"], table)
    said = str(stopped.value)
    assert "none of its 3 rows names a clip" in said
    assert all(name in said for name in ("foo", "bar", "a$_$0 (a.mp4)", "b$_$0 (b.mp4)"))
    assert "baz" not in said
    assert "c.mp4" not in said


def test_excluded_clips_are_found_in_every_spelling(tmp_path: Path) -> None:
    for name in ("a.mp4", "0002.mp4", "v/1.mp4"):
        (tmp_path / "videos" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "videos" / name).write_text(name)
    table = write_xlsx(tmp_path / "out.xlsx", [["File", "Reason"], ["A.mp4", "x"], [2.0, "y"], ["v/1.mp4", "z"]])
    catalog = build_catalog(tmp_path / "videos", exclude=table)
    assert {clip.source: clip.exclude_reason for clip in catalog.clips} == {
        "a.mp4": "x", "0002.mp4": "y", "v/1.mp4": "z",
    }  # fmt: skip


def test_labels_take_the_ids_of_the_clips_that_they_mean() -> None:
    written = ["a.mp4$_$0", "v$_$1", "V2$_$3", "gone$_$1", "b$_$0"]
    columns = {"utterance_id": written, "video_id": list("abcde"), "clip_id": list("abcde"), "label_M": [0, 1, 0, 1, 0]}
    labels = LabelTable.from_columns(columns, {"M": CH_SIMS_SCALE})
    aligned, notes = labels.aligned({"a$_$0", "v$_$0001", "v2$_$3", "b$_$0", "B$_$0"})
    assert aligned.utterance_ids == ("a$_$0", "v$_$0001", "v2$_$3", "gone$_$1", "b$_$0")
    assert aligned.video_ids[:3] == ("a", "v", "v2")
    assert [note.split(" once ")[0] for note in notes] == ["labels: 1 id matches"] * 3
    assert aligned.aligned(set(aligned.utterance_ids)) == (aligned, ())


def test_the_count_and_two_examples_are_said() -> None:
    wanted = {(f"{n}.mp4",): [id_form(f"{n}.mp4", "0")] for n in range(12)}
    matches = match_names(wanted, [(str(n),) for n in range(12)])
    (note,) = matches.notes
    assert (
        note == "12 ids match once endings such as .mp4 and folders are left out: '0.mp4' is '0', '1.mp4' is '1', ..."
    )


FILMS = [("Film 3", "12"), ("Film 3", "05"), ("Film 9", "01"), ("Der Große Film", "01")]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("Film 4/12.mp4", None),  # another film's
        ("#Film 3/05.mp4", None),
        ("Film 3/12.mp4", ("Film 3", "12")),
        ("D:\\clips\\Film 3\\12.mp4", ("Film 3", "12")),
        ("FILM 3/12.MOV", ("Film 3", "12")),
        ("der große film/01.mp4", ("Der Große Film", "01")),  # there is another 01
        ("12.mp4", ("Film 3", "12")),
        ("01.mp4", None),  # of which film?
        ("12/12.mp4", None),
    ],
)
def test_a_folder_that_differs_is_another_file(written: str, meant: tuple[str, ...] | None) -> None:
    matches = match_names({(written,): [path_form(written)]}, FILMS, by_file_name=True)
    assert matches.found == ({} if meant is None else {(written,): meant})


@pytest.mark.parametrize("other", ["Film 4/12.mp4", "12.mp4", "x/y/12.mp4"])
def test_a_whole_name_is_not_in_doubt_because_of_another_row(other: str) -> None:
    wanted = {(name,): [path_form(name)] for name in ("Film 3/12.mp4", other)}
    assert match_names(wanted, FILMS, by_file_name=True).found == {("Film 3/12.mp4",): ("Film 3", "12")}


@pytest.mark.parametrize("written", ["abc", "abc$_$0", "ABC", "abc.mp4"])
def test_ids_of_one_word_join(written: str) -> None:
    """Pickles of other laboratories have such; a table writes them as the id of a video that is one clip."""
    renamed, _ = align_ids([written], ["abc", "abd"])
    assert renamed == ({} if written == "abc" else {written: "abc"})
