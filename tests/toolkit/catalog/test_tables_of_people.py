"""Tables as people type them: what stands in other lines and columns than expected is not lost without a word."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.catalog.catalog import build_catalog
from fmltk.toolkit.catalog.transcripts import read_transcripts
from fmltk.toolkit.errors import AnnotationError, ConfigError
from fmltk.toolkit.features.label_file import read_labels
from tests.spreadsheets import write_ods, write_xlsx

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

MINUTE = dt.timedelta(minutes=1)


def table(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def clip_files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


@pytest.mark.parametrize(
    ("above", "names"),
    [
        ("Clip;;Rating;Set", "File name;Transcript;Sentiment;Set"),
        ("Video;Answers;;-", "Datei;Text;Score;Gruppe"),
        ("id;x;y;z", "Clip ID;Utterance;Rating;Split"),
    ],
)
def test_a_line_of_groups_above_the_names_is_refused(above: str, names: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", above, names, "a.mp4;so;1;train", "b.mp4;no;-1;test")
    said = r"t\.csv line 2 holds names of columns \(.*\); remove what is above that line"
    with pytest.raises(ConfigError, match=said):
        list(read_transcripts(path))
    with pytest.raises(AnnotationError, match=said if "Rating" in above else "no column of labels"):
        read_labels(path)


@pytest.mark.parametrize("title", ["Clips of our study", "# exported on 3 May", "Wave 2;;", "\n Wave 2 \n"])
def test_a_title_above_the_names_is_answered_by_what_to_remove(title: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", title, "File;Text;Score", "a.mp4;so;1")
    with pytest.raises(ConfigError, match=r"names no clip: its columns are .* and nothing above these names"):
        list(read_transcripts(path))
    with pytest.raises(AnnotationError, match=r"no column of labels; .* and nothing above these names"):
        read_labels(path)


@pytest.mark.parametrize("repeated", [2, 3, 4])
def test_names_that_files_copied_together_repeat_are_not_clips(repeated: int, tmp_path: Path) -> None:
    lines = ["File,Text,Score", "a.mp4,so,1", "b.mp4,no,-1", "c.mp4,well,0"]
    lines.insert(repeated, " File,Text ,Score")
    notes: list[str] = []
    path = table(tmp_path / "t.csv", *lines)
    rows = list(read_transcripts(path, note=notes.append))
    assert [row.file for row in rows] == ["a.mp4", "b.mp4", "c.mp4"]
    said = "t.csv: rows that repeat the columns' names are left out (1)"
    assert said in notes
    labels = read_labels(path)
    assert labels.values("M").tolist() == [1, -1, 0]
    assert said in labels.notes


@pytest.mark.parametrize(
    ("name", "cells"),
    [("Gruppe", ("train", "valid", "test")), ("Use", ("Train", "TEST", "train")), ("Teil", ("train", "dev", ""))],
)
def test_a_column_of_splits_under_another_name_is_not_drawn_again(
    name: str, cells: Sequence[str], tmp_path: Path
) -> None:
    clips = [f"{k}.mp4,so,{k},{cell}" for k, cell in enumerate(cells)]
    path = table(tmp_path / "t.csv", f"File,Text,Score,{name}", *clips)
    with pytest.raises(
        ConfigError, match=f"the column '{name}' holds .*name it split, or use --ignore-columns '{name}'"
    ):
        list(read_transcripts(path, ignored=()))
    with pytest.raises(AnnotationError, match=f"the column '{name}' holds .*name it split, or remove the column"):
        read_labels(path)
    clip_files(tmp_path, "0.mp4", "1.mp4", "2.mp4")
    with pytest.raises(ConfigError, match=f"the column '{name}' holds"):
        build_catalog(path)
    assert len(list(read_transcripts(path, ignored=(name,)))) == 3


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("File,Text,Score,Split,Gruppe", ("train,train", "test,valid", "valid,test")),
        ("File,Text,Score,Answer", ("train", "bus", "test")),
        ("File,Text,Score,Done", ("test", "test", "test")),
        ("File,Text,Score,Vehicle", ("train", "train", "")),
    ],
)
def test_other_columns_are_left_out_as_before(header: str, cells: Sequence[str], tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", header, *(f"{k}.mp4,so,{k},{cell}" for k, cell in enumerate(cells)))
    assert len(list(read_transcripts(path, ignored=()))) == 3
    assert len(read_labels(path).utterance_ids) == 3


@pytest.mark.parametrize(
    "times",
    [
        [(0 * MINUTE, MINUTE), (MINUTE, 2 * MINUTE)],
        [(5 * MINUTE, 83 * MINUTE), (83 * MINUTE, 100 * MINUTE)],
        [("PT00H01M00S", "PT00H03M00S"), ("PT01H23M00S", "PT01H25M00S")],
        [(1 * MINUTE, None), (2 * MINUTE, None), (7 * MINUTE, None)],
    ],
)
@pytest.mark.parametrize("kind", [".xlsx", ".ods"])
def test_minutes_and_seconds_that_a_sheet_takes_for_hours_are_refused(
    times: Sequence[tuple[object, object]], kind: str, tmp_path: Path
) -> None:
    if kind == ".ods" and isinstance(times[0][0], dt.timedelta):
        times = [
            tuple(None if t is None else f"PT{t // MINUTE // 60:02d}H{t // MINUTE % 60:02d}M00S" for t in row)
            for row in times
        ]
    rows = [["file", "start", "end", "text"], *(["a.mp4", *row, "so"] for row in times)]
    path = (write_ods if kind == ".ods" else write_xlsx)(tmp_path / f"t{kind}", rows)
    with pytest.raises(ConfigError, match=r"all of its times are whole minutes.* Type 0:01:23 for 1 min 23 s"):
        list(read_transcripts(path))


@pytest.mark.parametrize(
    "times",
    [
        [(MINUTE, 2 * MINUTE), (2 * MINUTE, dt.timedelta(seconds=125))],
        [(60, 120), (120, 180)],
        [("1:00", "2:00"), ("2:00", "3:00")],
        [(0 * MINUTE, MINUTE)],
    ],
)
def test_other_times_of_sheets_are_read(times: Sequence[tuple[object, object]], tmp_path: Path) -> None:
    rows = [["file", "start", "end", "text"], *(["a.mp4", *row, "so"] for row in times)]
    read = list(read_transcripts(write_xlsx(tmp_path / "t.xlsx", rows)))
    ends = [row.end_s for row in read]
    assert ends == [
        t.total_seconds() if isinstance(t, dt.timedelta) else {"2:00": 120, "3:00": 180}.get(t, t) for _, t in times
    ]


@pytest.mark.parametrize(
    ("files", "rows", "ids"),
    [
        (
            ("film 1/1.mp4", "film 1/2.MP4", "talk/01.mov"),
            ("film 1;1.mp4", "film 1;2.mp4", "talk;01.mov"),
            {"film 1$_$1", "film 1$_$2", "talk$_$01"},
        ),
        (
            ("IMG_0001.MOV", "IMG_0002.MOV", "VID-1.mp4"),
            ("Müller;IMG_0001.MOV", "Müller;IMG_0002", "Kunz;clips/VID-1.mp4"),
            {"Müller$_$IMG_0001", "Müller$_$IMG_0002", "Kunz$_$VID-1"},
        ),
        (
            ("film.mp4", "film_2.mp4", "talk.mp4"),
            ("film;film.mp4", "film;film_2.mp4", "talk;talk.mp4"),
            {"film$_$0", "film$_$film_2", "talk$_$0"},
        ),
        (
            ("a.mp4", "b.mp4", "c.mp4"),
            ("P01;a.mp4", "P02;b.mp4", "P03;c.mp4"),
            {"P01$_$0", "P02$_$0", "P03$_$0"},
        ),
    ],
)
def test_files_of_one_video_are_its_clips(
    files: Sequence[str], rows: Sequence[str], ids: set[str], tmp_path: Path
) -> None:
    videos = clip_files(tmp_path / "videos", *files)
    path = table(
        tmp_path / "t.csv", "Video ID;File name;Text;Score", *(f"{row};so {k};{k}" for k, row in enumerate(rows))
    )
    catalog = build_catalog(videos, transcripts=path)
    assert {clip.utterance_id for clip in catalog.clips} == ids
    assert all(clip.text and clip.path and not clip.fault for clip in catalog.clips)
    assert {clip.path.stem for clip in catalog.clips} == {name.rpartition("/")[2].partition(".")[0] for name in files}
    labels, _ = read_labels(path).aligned(ids)
    assert set(labels.utterance_ids) == ids


@pytest.mark.parametrize(
    ("rows", "clips", "n_found"),
    [
        (("1.mp4", "2.mp4"), ("film$_$1", "talk$_$2"), 2),
        (("IMG_1.MOV", "clips\\IMG_2"), ("a$_$IMG_1", "b$_$IMG_2"), 1),  # of another folder
        (("01.mp4", "x.mp4"), ("film$_$1", "film$_$x"), 2),
        (("1.mp4", "2.mp4"), ("film$_$1", "talk$_$1", "talk$_$2"), 1),
    ],
)
def test_labels_of_files_find_clips_that_lie_in_folders(
    rows: Sequence[str], clips: Sequence[str], n_found: int, tmp_path: Path
) -> None:
    path = table(tmp_path / "t.csv", "File;Score", *(f"{row};{k}" for k, row in enumerate(rows)))
    labels, _ = read_labels(path).aligned(clips)
    assert len(set(labels.utterance_ids) & set(clips)) == n_found
    of_ids = table(
        tmp_path / "u.csv", "video_id;label", *(f"{row.partition('.')[0]};{k}" for k, row in enumerate(rows))
    )
    labels, _ = read_labels(of_ids).aligned(clips)
    assert not set(labels.utterance_ids) & set(clips)  # a video is not a clip of another one


@pytest.mark.parametrize(
    "header",
    ["Datei;Text;Bewertung;Aufteilung;von;bis", "Dateiname;Transkript;Sentiment;Split;Beginn;Ende",
     "Video-Datei;Äußerung;Stimmung;Set;Anfang;Ende"],
)  # fmt: skip
def test_german_names_of_columns_are_read(header: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", header, "a.mp4;so;1,5;train;0:01;0:02,5", "b.mp4;nein;-1;test;1,5;2")
    rows = list(read_transcripts(path))
    assert [(row.file, row.text, row.split, row.start_s, row.end_s) for row in rows] == [
        ("a.mp4", "so", "train", 1, 2.5),
        ("b.mp4", "nein", "test", 1.5, 2),
    ]
    labels = read_labels(path)
    assert (labels.values("M").tolist(), labels.splits) == ([1.5, -1], ("train", "test"))


@pytest.mark.parametrize(
    ("text", "encoding", "said"),
    [
        ("Ich fand es schön", "cp1252", "'schÃ¶n' for 'schön'"),
        ("C’était très bien", "cp1252", "'Câ€™Ã©tait' for 'C’était'"),
        ("à voir", "latin-1", "for 'à'"),
        ("我很高兴", "latin-1", "for '我很高兴'"),
    ],
)
def test_texts_that_an_earlier_program_damaged_are_said(text: str, encoding: str, said: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "file,text", f"a.mp4,{text.encode().decode(encoding)}", "b.mp4,schön und gut")
    notes: list[str] = []
    list(read_transcripts(path, note=notes.append))
    (note,) = [note for note in notes if "damaged" in note]
    assert "read as Western European (1), such as " in note
    assert said in note


@pytest.mark.parametrize(
    "text", ["schön, Größe, déjà vu", "Ã ist ein Buchstabe", "naïve café £5", "我很高兴", "so – so"]
)
def test_texts_with_accents_are_not_called_damaged(text: str, tmp_path: Path) -> None:
    notes: list[str] = []
    list(read_transcripts(table(tmp_path / "t.csv", "file,text", f'a.mp4,"{text}"'), note=notes.append))
    assert not [note for note in notes if "damaged" in note]


@pytest.mark.parametrize(
    "row",
    ["clip_a;Hello;video;sentence", "Recording;Text;so it was;x", "clip;text;5;1", "set;mode;a;b", "name;so;id;key"],
)
def test_a_first_row_of_short_words_is_not_taken_for_names(row: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", "File;Text;Kind;Level", row, "b;no;y;z")
    assert [one.file for one in read_transcripts(path)] == [row.partition(";")[0], "b"]


MARKS = ("n/a", "-", "NaN", "k. A.", "#NV", "#WERT!")


@pytest.mark.parametrize(
    ("cell", "text"), [*((mark, None) for mark in MARKS), ("None", "None"), ("na", "na"), ("-5", "-5")]
)
def test_marks_of_a_missing_text_are_not_words(cell: str, text: str | None, tmp_path: Path) -> None:
    videos = clip_files(tmp_path / "videos", "a.mp4", "b.mp4")
    path = table(tmp_path / "t.csv", "File;Text", "a.mp4;so", f"b.mp4;{cell}")
    catalog = build_catalog(videos, transcripts=path)
    assert {clip.video_id: clip.text for clip in catalog.clips} == {"a": "so", "b": text}
    assert any("are read as empty (1)" in note for note in catalog.notes) == (text is None)


@pytest.mark.parametrize("cells", [("-", "-"), ("n/a", "n/a"), ("?", ""), ("", "none")])
def test_marks_instead_of_times_do_not_mean_the_whole_video(cells: tuple[str, str], tmp_path: Path) -> None:
    videos = clip_files(tmp_path / "videos", "talk.mp4")
    rows = ("talk;1;0;2.5;one", f"talk;2;{cells[0]};{cells[1]};two")
    catalog = build_catalog(videos, transcripts=table(tmp_path / "t.csv", "Video;Clip;von;bis;Text", *rows))
    faults = {clip.clip_id: clip.fault for clip in catalog.clips}
    assert faults["1"] is None
    assert faults["2"] is not None
