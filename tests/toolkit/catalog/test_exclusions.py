"""Clips that the user leaves out: plain tables, and decisions as people fill them in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.catalog.catalog import build_catalog
from fmltk.toolkit.catalog.exclusions import Exclusions, exclusions_of, read_exclusions
from fmltk.toolkit.clip import Clip, split_utterance_id
from fmltk.toolkit.clip_list import ClipList
from fmltk.toolkit.errors import ConfigError
from tests.spreadsheets import write_xlsx

if TYPE_CHECKING:
    from pathlib import Path

IDS = ("v1$_$0001", "v1$_$0002", "v2$_$0001", "-abc$_$0")
HEADER = "utterance_id,video_id,clip_id,reason,detail,decision\n"


def read(path: Path, text: str, ids: tuple[str, ...] = IDS) -> Exclusions:
    path.write_text(text, encoding="utf-8")
    return read_exclusions(ClipList(Clip(*split_utterance_id(one), None, source=f"{one}.mp4") for one in ids), path)


def test_without_decisions_every_row_excludes(tmp_path: Path) -> None:
    found = read(tmp_path / "out.csv", "utterance_id,reason\nv1$_$0001,two people\nv2$_$0001,\n")
    assert found.reasons == {"v1$_$0001": "two people", "v2$_$0001": "no reason given"}
    assert (found.unknown, found.undecided) == ((), "")


@pytest.mark.parametrize("word", ["exclude", "Exclude", " EXCLUDE "])
def test_a_row_that_says_exclude_does_and_an_empty_one_does_not(tmp_path: Path, word: str) -> None:
    rows = f"v1$_$0001,v1,0001,several-people,3,{word}\nv1$_$0002,v1,0002,no-speech,,\nv2$_$0001,v2,0001,a,b,keep\n"
    assert read(tmp_path / "c.csv", HEADER + rows).reasons == {"v1$_$0001": "several-people"}


def test_one_exclude_among_a_clip_s_rows_is_enough_and_all_its_reasons_are_kept(tmp_path: Path) -> None:
    rows = "v1$_$0001,,,a,,\nv1$_$0001,,,b,,exclude\nv1$_$0001,,,c,,exclude\nv1$_$0001,,,b,,exclude\n"
    assert read(tmp_path / "c.csv", HEADER + rows).reasons == {"v1$_$0001": "b; c"}


@pytest.mark.parametrize("order", [("keep", "exclude"), ("exclude", "keep"), ("", "exclude", "keep")])
def test_a_clip_that_is_kept_and_excluded_is_refused_by_line(tmp_path: Path, order: tuple[str, ...]) -> None:
    rows = "".join(f"v1$_$0001,,,reason {k},,{word}\n" for k, word in enumerate(order))
    lines = [2 + order.index("exclude"), 2 + order.index("keep")]
    with pytest.raises(ConfigError, match=rf"line {lines[0]}\b.* excludes v1.*line {lines[1]}\b.* keeps; decide once"):
        read(tmp_path / "c.csv", HEADER + rows)


@pytest.mark.parametrize("word", ["maybe", "x", "1", "keep?", "drop"])
def test_another_word_is_refused_by_line(tmp_path: Path, word: str) -> None:
    with pytest.raises(ConfigError, match=r"line 3\b.*: the decision is .*; expected keep, exclude or an empty cell"):
        read(tmp_path / "c.csv", f"{HEADER}v1$_$0001,,,a,,keep\nv1$_$0002,,,a,,{word}\n")


@pytest.mark.parametrize("rows", ["v1$_$0001,,,a,,\n", "v1$_$0001,,,a,,\nv2$_$0001,,,a,,  \n"])
def test_an_empty_column_of_decisions_is_said(tmp_path: Path, rows: str) -> None:
    found = read(tmp_path / "c.csv", HEADER + rows)
    assert found.reasons == {}
    said = "c.csv: the column decision is empty, so no clip is left out; fill in keep or exclude"
    assert found.undecided == said
    assert found.remarks() == (said,)


def test_clips_that_do_not_exist_are_said_where_they_are_excluded(tmp_path: Path) -> None:
    found = read(tmp_path / "c.csv", f"{HEADER}x$_$9,,,a,,exclude\ny$_$9,,,a,,keep\nv2$_$0001,,,a,,exclude\n")
    assert found.unknown == ("x$_$9",)
    assert found.remarks() == (
        "left out, as c.csv says: 1 clip: v2$_$0001 (a)",
        "not among the clips, as c.csv says: 1 name: x$_$9",
    )


def test_a_spreadsheet_that_took_the_zeros_from_the_ids_still_names_the_clip(tmp_path: Path) -> None:
    table = tmp_path / "curation.xlsx"
    write_xlsx(table, [HEADER.strip().split(","), ["v1$_$0002", "v1", 2, "no-speech", "", "exclude"]])
    clips = ClipList(Clip(*split_utterance_id(one), None, source=one) for one in IDS)
    assert read_exclusions(clips, table).reasons == {"v1$_$0002": "no-speech"}


def test_the_apostrophe_that_keeps_a_spreadsheet_from_running_an_id_is_no_part_of_it(tmp_path: Path) -> None:
    assert read(tmp_path / "c.csv", f"{HEADER}'-abc$_$0,'-abc,0,a,,exclude\n").reasons == {"-abc$_$0": "a"}


def test_no_table_leaves_nothing_out(tmp_path: Path) -> None:
    assert exclusions_of(tmp_path, None).remarks() == ()


def test_extract_reads_decisions_too(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / "videos").mkdir(exist_ok=True)
        (tmp_path / "videos" / f"{name}.mp4").write_bytes(name.encode())
    table = tmp_path / "c.csv"
    table.write_text(f"{HEADER}a$_$0,a,0,no-speech,,exclude\nb$_$0,b,0,no-speech,,keep\nz$_$0,z,0,no-speech,,exclude\n")
    catalog = build_catalog(tmp_path / "videos", exclude=table)
    assert {clip.video_id: clip.exclude_reason for clip in catalog.clips} == {"a": "no-speech", "b": None, "c": None}
    (unknown,) = [one.message for one in catalog.problems if one.kind == "excluded-unknown"]
    assert unknown == "c.csv excludes z$_$0, which is not among the clips"
