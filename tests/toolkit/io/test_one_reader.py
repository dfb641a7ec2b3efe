"""Whoever reads a table reads it alike: the same encodings, separators and line ends; the same words for a fault."""

from __future__ import annotations

import csv
import io
import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from fmltk.annotation.importing.exports import read_export
from fmltk.annotation.importing.label_studio import FileReport
from fmltk.annotation.raters import read_rater_list
from fmltk.annotation.ratings import memory_schema, write_ratings
from fmltk.annotation.settings import ImportOptions
from fmltk.toolkit.catalog.catalog import build_catalog
from fmltk.toolkit.catalog.transcripts import read_transcripts
from fmltk.toolkit.errors import AnnotationError, ConfigError, FmltkError, OpenFaceError
from fmltk.toolkit.features.label_file import read_labels
from fmltk.toolkit.io.files import write_bytes
from fmltk.toolkit.vision.openface.table import REMEDY, read_openface

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

NAMES = ("张三在这里", "李四, 也在", "王五说：“是”")


@dataclass(frozen=True)
class Reader:
    """One kind of table: its columns, its row for each of NAMES, what reading it gives (NAMES), and what it raises."""

    columns: Sequence[str]
    row: Callable[[int, str], Sequence[str]]
    read: Callable[[Path], Sequence[str]]
    error: type[FmltkError]

    def table(self, *, separator: str = ",", newline: str = "\n") -> str:
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=separator, lineterminator=newline)
        writer.writerow(self.columns)
        writer.writerows(self.row(number, name) for number, name in enumerate(NAMES, start=1))
        return text.getvalue()


def read_ratings(path: Path) -> list[str]:
    records = read_export(path, ImportOptions(condition="AT"), FileReport("x"))
    return [record.video_id for record in records]


def excluded(path: Path) -> list[str]:
    videos = path.parent / "videos"
    videos.mkdir(exist_ok=True)
    for name in NAMES:
        (videos / f"{name}.mp4").write_bytes(name.encode())
    reasons = {clip.video_id: clip.exclude_reason for clip in build_catalog(videos, exclude=path).clips}
    return [name for name in NAMES if reasons[name] == "太暗了"]


def openface_names(path: Path) -> list[str]:
    table = read_openface(path)
    assert table.columns(["pose_Tx"])[:, 0].tolist() == [0.5] * len(NAMES)
    return [NAMES[frame - 1] for frame in table.frame.tolist()]


READERS = {
    "transcripts": Reader(
        ("video_id", "clip_id", "text"),
        lambda number, name: (f"v{number}", "1", name),
        lambda path: [str(row.text) for row in read_transcripts(path)],
        ConfigError,
    ),
    "video table": Reader(
        ("path", "text"),
        lambda number, name: (f"{number}.mp4", name),
        lambda path: [str(clip.text) for clip in build_catalog(path).clips],
        ConfigError,
    ),
    "exclude list": Reader(("utterance_id", "reason"), lambda number, name: (name, "太暗了"), excluded, ConfigError),
    "label.csv": Reader(
        ("video_id", "clip_id", "label"),
        lambda number, name: (name, "1", "0.4"),
        lambda path: read_labels(path).table["video_id"].to_pylist(),
        ConfigError,
    ),
    "ratings, long": Reader(
        ("video_id", "clip_id", "annotator", "value"),
        lambda number, name: (name, "1", "a", "1"),
        read_ratings,
        AnnotationError,
    ),
    "ratings, wide": Reader(
        ("video_id", "clip_id", "a"), lambda number, name: (name, "1", "1"), read_ratings, AnnotationError
    ),
    "Label Studio's CSV": Reader(
        ("annotation_id", "annotator", "video_id", "clip_id", "sentiment"),
        lambda number, name: (str(number), "3", name, "1", "1"),
        read_ratings,
        AnnotationError,
    ),
    "rater list": Reader(
        ("id", "rater"),
        lambda number, name: (str(number), name),
        lambda path: list(read_rater_list(path).values()),
        AnnotationError,
    ),
    "OpenFace's CSV": Reader(
        ("frame", "success", "pose_Tx", "备注是在这里"),
        lambda number, name: (str(number), "1", "0.5", name),
        openface_names,
        OpenFaceError,
    ),
}
every_reader = pytest.mark.parametrize("reader", READERS.values(), ids=READERS)


# ---- what every reader reads


@every_reader
@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-16-be with a mark", "gb18030", "gbk"]
)
def test_every_reader_finds_every_encoding(tmp_path: Path, reader: Reader, encoding: str) -> None:
    codec, _, marked = encoding.partition(" with a ")
    (tmp_path / "t.csv").write_bytes((("\ufeff" if marked else "") + reader.table()).encode(codec))
    assert sorted(reader.read(tmp_path / "t.csv")) == sorted(NAMES)


@every_reader
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_every_reader_takes_every_separator_and_line_end(
    tmp_path: Path, reader: Reader, separator: str, newline: str, mark: str
) -> None:
    (tmp_path / "t.csv").write_bytes((mark + reader.table(separator=separator, newline=newline)).encode())
    assert sorted(reader.read(tmp_path / "t.csv")) == sorted(NAMES)


@every_reader
def test_every_reader_leaves_out_blank_lines_and_rows_of_empty_cells(tmp_path: Path, reader: Reader) -> None:
    header, *rows = reader.table(newline="\r\n").splitlines(keepends=True)
    blank = "," * (len(reader.columns) - 1) + "\r\n" if reader.error is not OpenFaceError else "\r\n"
    (tmp_path / "t.csv").write_bytes("".join(["\r\n", "\r\n", header, "\r\n", *rows, blank, "\r\n"]).encode())
    assert sorted(reader.read(tmp_path / "t.csv")) == sorted(NAMES)


# ---- what every reader refuses, in the same words


def refusal(reader: Reader, path: Path) -> str:
    """What the reader says of a file, where it is the error that it should raise."""
    with pytest.raises(FmltkError) as caught:
        reader.read(path)
    assert type(caught.value) is reader.error
    return str(caught.value).removesuffix(f"; {REMEDY}")


@every_reader
def test_every_reader_refuses_another_encoding_in_the_same_words(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(reader.table().replace("1", "при", 1).encode("cp1251", "ignore"))
    said = refusal(reader, path)
    assert said.startswith(f"the encoding of {path} is not clear: it could be ")
    assert "; save it as UTF-8 or, where the command has --encoding, name it (for example --encoding " in said


@every_reader
def test_every_reader_names_the_line_of_a_fault_in_the_same_words(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "t.csv"
    lines = reader.table().splitlines(keepends=True)
    n_columns = len(reader.columns)

    path.write_text("".join(lines[:-1]) + "1," * n_columns + "1\n", encoding="utf-8")
    assert refusal(reader, path).startswith(
        f"{path} line {len(lines)} has {n_columns + 1} columns, its header has {n_columns}: the file is cut off, a"
    )
    path.write_text("".join(lines[:-1]) + "1\n", encoding="utf-8")
    assert refusal(reader, path).startswith(f"{path} line {len(lines)} has 1 columns, its header has {n_columns}: ")


@every_reader
def test_every_reader_refuses_a_quote_that_is_never_closed(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "t.csv"
    path.write_text(reader.table() + '"' + reader.table(), encoding="utf-8")
    said = refusal(reader, path)
    assert said.startswith(str(path))
    if reader.error is not OpenFaceError:  # pyarrow's parser has words of its own for it
        assert "a text that holds a double quote must be in double quotes" in said


@every_reader
def test_every_reader_refuses_a_zero_byte(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(reader.table().encode() + b"1,\0" + b"1," * (len(reader.columns) - 2) + b"1\n")
    assert str(path) in refusal(reader, path)


@every_reader
def test_every_reader_names_a_file_that_cannot_be_read_in_the_same_words(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "t.csv"
    if reader is not READERS["video table"]:  # a folder or a missing name there is something else than a table
        assert refusal(reader, path) == f"cannot read {path}: No such file or directory"
    path.write_bytes(b"")
    empty = f"{path} is empty; expected a line with the columns' names, then a line for each row"
    assert refusal(reader, path) == empty
    path.write_bytes(b"\xef\xbb\xbf\r\n \n")
    assert refusal(reader, path) == empty


# ---- writing


def test_a_written_file_has_the_rights_that_the_umask_leaves(tmp_path: Path) -> None:
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom fmltk.toolkit.io.files import write_bytes\n"
        "os.umask(int(sys.argv[1], 8))\nwrite_bytes(Path(sys.argv[2]), b'1')"
    )
    for umask, rights in (("022", 0o644), ("077", 0o600), ("002", 0o664), ("0", 0o666)):
        path = tmp_path / umask
        subprocess.run([sys.executable, "-c", code, umask, str(path)], check=True, timeout=60)
        assert stat.S_IMODE(path.stat().st_mode) == rights


def in_threads(write: Callable[[int], None]) -> None:
    """Run write(0) to write(7) at once."""
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, range(8)))


def test_the_umask_stays_what_it_is_while_many_threads_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = []
    change = os.umask
    monkeypatch.setattr(os, "umask", lambda mask: (changes.append(mask), change(mask))[1])

    def write(number: int) -> None:
        for turn in range(5):
            write_bytes(tmp_path / str(number) / str(turn), b"1")
            write_ratings(memory_schema().empty_table(), tmp_path / str(number) / "ratings.parquet")

    in_threads(write)
    assert changes == []
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 8 * 6, "and nothing temporary is left"


def test_threads_that_write_one_file_leave_one_whole_content(tmp_path: Path) -> None:
    contents = [bytes([65 + number]) * 100_000 for number in range(8)]

    def write(number: int) -> None:
        for _ in range(10):
            write_bytes(tmp_path / "file", contents[number])

    in_threads(write)
    assert (tmp_path / "file").read_bytes() in contents
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
