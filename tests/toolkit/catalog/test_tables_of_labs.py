"""Tables as laboratories have them: what each column becomes, what is said of it, and what stops before work begins."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest

from fmltk.toolkit.catalog.catalog import Catalog, build_catalog
from fmltk.toolkit.catalog.transcripts import read_transcripts
from fmltk.toolkit.errors import ConfigError
from tests.program import fmltk_here
from tests.spreadsheets import write_ods, write_xlsx

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path


def write_text(separator: str, *, quote: bool = True) -> Callable[[Path, Sequence[Sequence[object]]], Path]:
    """Return a writer of delimited text with decimal commas, as a German Excel has them."""

    def cell(value: object) -> str:
        text = "" if value is None else str(value)
        if isinstance(value, float):
            text = f"{value}".replace(".", ",")
        return f'"{text}"' if quote and (separator in text or "\n" in text or '"' in text) else text

    def write(path: Path, rows: Sequence[Sequence[object]]) -> Path:
        path.write_bytes("".join(separator.join(map(cell, row)) + "\r\n" for row in rows).encode("utf-8-sig"))
        return path

    return write


WRITERS: dict[str, Callable[[Path, Sequence[Sequence[object]]], Path]] = {
    "t.csv": write_text(","), "semicolon.csv": write_text(";"), "t.tsv": write_text("\t"), "t.txt": write_text("\t"),
    "t.xlsx": write_xlsx, "t.ods": write_ods,
}  # fmt: skip
every_writer = pytest.mark.parametrize("name", WRITERS)


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    for name in ("long.mp4", "0001.mp4", "b.MOV"):
        path = tmp_path / "videos" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return path.parent


def parts(catalog: Catalog) -> dict[str, tuple[float, float | None, str | None, str | None]]:
    return {clip.utterance_id: (clip.start_s, clip.end_s, clip.text, clip.split) for clip in catalog.clips}


@every_writer
def test_every_kind_of_table_cuts_and_names_clips(videos: Path, name: str) -> None:
    rows = [
        ["Video File", "Clip", "Sentence", "Begin", "End", "Partition", "Speaker"],
        ["LONG.mp4", 1, "so, yes\nand no", 0.5, 1.5, "Train", "x"],
        ["LONG.mp4 ", 2, "二", "00:01.5", "0:00:02,5", "dev", "y"],
        ["b.mov", None, "whole", None, None, "test", "z"],
        [None, None, None, None, None, None, None],
    ]
    catalog = build_catalog(videos, transcripts=WRITERS[name](videos.parent / name, rows))
    assert parts(catalog) == {
        "0001$_$0": (0, None, None, None),
        "b$_$0": (0, None, "whole", "test"),
        "long$_$1": (0.5, 1.5, "so, yes\nand no", "train"),
        "long$_$2": (1.5, 2.5, "二", "valid"),
    }
    assert "not read: 'Speaker'" in catalog.notes[0]
    assert "'Begin' as start_s (in seconds)" in catalog.notes[0]


@pytest.mark.parametrize("name", [name for name in WRITERS if not name.endswith(".txt")])
def test_every_kind_of_table_names_videos(videos: Path, name: str) -> None:
    rows = [["Filename", "clip id", "Utterance", "start_ms", "end_ms"], ["videos/long.mp4", 1, "a", 0, 1500],
            ["videos\\long.mp4", 2, "b", "1500 ms", 2000]]  # fmt: skip
    found = build_catalog(WRITERS[name](videos.parent / name, rows))
    assert parts(found) == {"long$_$1": (0, 1.5, "a", None), "long$_$2": (1.5, 2, "b", None)}
    assert {clip.path for clip in found.clips} == {videos / "long.mp4"}


@pytest.mark.parametrize("write", [write_xlsx, write_ods])
def test_times_of_spreadsheets_are_times(videos: Path, write: Callable[..., Path]) -> None:
    rows = [["video_id", "clip_id", "start", "end"],
            ["long", 1, dt.timedelta(seconds=1.5), dt.timedelta(seconds=2.25)],
            ["long", 2, dt.timedelta(seconds=3), 4.5]]  # fmt: skip
    path = write(videos.parent / f"t{'.ods' if write is write_ods else '.xlsx'}", rows)
    found = parts(build_catalog(videos, transcripts=path))
    assert [found[f"long$_${n}"][:2] for n in (1, 2)] == [(1.5, 2.25), (3, 4.5)]


@pytest.mark.parametrize(
    ("start", "end", "said"),
    [("n/a", "2", "'n/a' is not a time"), ("#N/A", "2", "'#N/A' is not a time"), ("1", "-", "'-' is not a time"),
     ("0:00:01:12", "0:00:02:00", "counts frames after its last colon"), ("2", "1,5", "end_s 1.5 is not after"),
     ("1,500", "2,500", "may be 1500 or 1.500")],
)  # fmt: skip
def test_times_that_are_not_understood_cost_their_clip_alone(videos: Path, start: str, end: str, said: str) -> None:
    table = videos.parent / "t.tsv"
    table.write_text(f"video_id\tclip_id\ttext\tstart\tend\nlong\t1\ta\t{start}\t{end}\nlong\t2\tb\t1\t2\n")
    bad, good = (clip for clip in build_catalog(videos, transcripts=table).clips if clip.video_id == "long")
    assert bad.fault is not None
    assert said in bad.fault[1]
    assert (good.fault, good.start_s, good.end_s) == (None, 1, 2)


@pytest.mark.parametrize("empty", ["", "n/a", "#N/A", "-"])
def test_a_clip_without_times_is_the_whole_file(videos: Path, empty: str) -> None:
    table = videos.parent / "t.csv"
    table.write_text(f"video_id,text,start,end\nb,hello,{empty},{empty}\n")
    assert parts(build_catalog(videos, transcripts=table))["b$_$0"] == (0, None, "hello", None)


def test_a_duration_ends_a_clip_that_has_a_start_and_no_end(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"audio_filepath": "a.wav", "offset": 1.5, "duration": 2, "text": "x"}\n{"audio_filepath": "b.wav"}\n'
    )
    first, second = read_transcripts(path)
    assert (first.video_id, first.start_s, first.end_s) == ("a", 1.5, 3.5)
    assert (second.start_s, second.end_s) == (None, None)


@pytest.mark.parametrize("where", ["transcripts", "videos", "exclude"])
def test_a_column_that_resembles_another_stops_unless_it_is_left_out(videos: Path, where: str) -> None:
    table = videos / ("../t.csv" if where != "videos" else "t.csv")
    table.write_text("file,cilp_id,strat_s,txt,resaon\nb.MOV,1,0,hello,x\n")
    columns = {"transcripts": "strat_s", "videos": "strat_s", "exclude": "resaon"}
    given = {"videos": videos} | {where: table}
    with pytest.raises(
        ConfigError, match=rf"the column '{columns[where]}' is not read, but resembles .*--ignore-columns"
    ):
        build_catalog(**given, ignore_columns=["cilp_id"])
    catalog = build_catalog(**given, ignore_columns=["cilp_id", "strat_s", "TXT", "resaon"])
    assert "b$_$0" in parts(catalog)
    assert all(name in catalog.notes[0] for name in ("cilp_id", "strat_s", "txt", "resaon"))


def test_what_is_taken_out_of_cells_is_counted(videos: Path) -> None:
    table = videos.parent / "t.csv"
    table.write_text("video_id,text\n\u00a0b ,hello\nlong\u200b,#N/A\n0001,#REF!\n", encoding="utf-8")
    catalog = build_catalog(videos, transcripts=table)
    assert [clip.text for clip in catalog.clips] == [None, "hello", None]
    assert catalog.notes[1:] == (
        "t.csv: spaces or invisible characters are taken out of ids (2)",
        "t.csv: cells with an error such as #N/A are read as empty (2)",
    )


def test_the_sheet_that_is_read_is_said(videos: Path) -> None:
    sheets = {"Cover": [], "Clips": [["video_id", "text"], ["b", "hello"]], "Old": [["x"], [1]]}
    catalog = build_catalog(videos, transcripts=write_xlsx(videos.parent / "t.xlsx", sheets))
    assert catalog.notes == ("t.xlsx: read video_id, text (sheet 'Clips', one of 3)",)


def test_another_sheet_than_the_tables_is_named(videos: Path) -> None:
    sheets = {"Read me": [["Project X"], ["by Ann"]], "Clips": [["video_id", "text"], ["b", "hello"]]}
    with pytest.raises(
        ConfigError, match=r"columns are 'Project X' \(sheet 'Read me', one of 2: the table's own must be"
    ):
        build_catalog(videos, transcripts=write_xlsx(videos.parent / "t.xlsx", sheets))
    rows = [["My study"], [None], ["video_id", "text"], ["b", "hello"]]
    with pytest.raises(
        ConfigError, match=r"t\.xlsx row 3 .* without a name; name it, or remove what is above the names"
    ):
        build_catalog(videos, transcripts=write_xlsx(videos.parent / "t.xlsx", rows))


def test_a_table_without_names_of_clips_lists_its_columns(videos: Path) -> None:
    for content in ("who,text\na,b\n", "Speaker;Sentence\na;b\n"):
        (videos.parent / "t.csv").write_text(content)
        with pytest.raises(
            ConfigError, match=r"names no clip: its columns are '(who|Speaker)', .*has video_id and clip_id"
        ):
            build_catalog(videos, transcripts=videos.parent / "t.csv")


def test_the_command_says_how_it_understands_a_table_and_stops_before_work(videos: Path) -> None:
    out = videos.parent / "features"
    table = write_xlsx(videos.parent / "t.xlsx", [["Filename", "Transcript", "txt2"], ["nobody.mp4", "x", 1]])
    arguments = ("extract", videos, "-o", out, "--transcripts", table, "--modalities", "text", "--text-model", "minilm")
    done = fmltk_here(*arguments)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "t.xlsx: none of its 1 rows names a clip. Its rows name nobody.mp4; the clips are" in done.stderr
    assert not out.exists()
