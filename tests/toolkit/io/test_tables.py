"""Tables as people write them: kinds of file, encodings, and values that stay as written."""

from __future__ import annotations

import csv
import io
import json
import math
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.io.encodings import read_text
from fmltk.toolkit.io.paths import RemotePath
from fmltk.toolkit.io.tables import guarded, open_rows, read_rows
from fmltk.toolkit.run.problems import write_problems
from tests.spreadsheets import write_ods, write_xlsx

if TYPE_CHECKING:
    from pathlib import Path

CHINESE = "我觉得这个电影很好看，真的。"
# What a transcript may hold beside letters: emoji outside the basic plane, right-to-left marks, combining accents.
ODD = "👩‍🎓 שלום \u200fעולם مرحبا e\u0301 \u2028 “quoted”, 'single'"
# No lone halves of characters, which no encoding holds, and no zero characters, which are no text.
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def rows(path: Path, **options: str) -> list[dict[str, str]]:
    return [row for _, row in read_rows(path, **options)]


class InMemory(RemotePath):
    """A file as the readers see it: its name and its bytes."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__("memory", name)
        self.data = data

    def __str__(self) -> str:
        return self.key

    def is_file(self) -> bool:
        return True

    def open(self, mode: str = "rb") -> io.BytesIO:
        assert mode == "rb"
        return io.BytesIO(self.data)


def decode_text(data: bytes, *, name: str, encoding: str | None = None) -> str:
    return read_text(InMemory(data, name), encoding=encoding)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# ---- kinds of table


def test_csv_values_stay_as_written(tmp_path: Path) -> None:
    table = write(tmp_path / "t.csv", 'video_id, clip_id ,text\n0001,NA,"a, ""b""\nc"\n1e5,nan,  spaces  \n')
    assert rows(table) == [
        {"video_id": "0001", "clip_id": "NA", "text": 'a, "b"\nc'},
        {"video_id": "1e5", "clip_id": "nan", "text": "  spaces  "},
    ]
    assert [where for where, _ in read_rows(table)] == ["t.csv line 3", "t.csv line 4"]


@pytest.mark.parametrize(
    "content",
    [
        "sep=;\nid;text\n1;a, b\n",
        '"sep=;"\r\nid;text\r\n1;a, b\r\n',
        "\ufeffSEP=|\n\nid|text\n1|a, b\n",
        "sep=\t\nid\ttext\n1\ta, b\n",
        'sep=,\nid,text\n1,"a, b"\n',
        'id;text;;\n1;"a, b";;\n;;;\n',
        'id,text,,\n1,"a, b",,\n',
        'id,text\n1,"a, b",,\n\n\n',
        '"id"," text\n"\n1,"a, b"\n',
        " id \t\ufefftext\t\n1\ta, b\t \n",
    ],
)
def test_what_spreadsheets_add_to_a_csv_is_no_part_of_it(tmp_path: Path, content: str) -> None:
    assert rows(write(tmp_path / "t.csv", content)) == [{"id": "1", "text": "a, b"}]


def test_a_line_that_says_the_separator_counts_as_a_line(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "sep=;\n\nid;text\n1;a\n2;b;c\n")
    with pytest.raises(ConfigError, match=r"t\.csv line 5 has 3 columns, its header has 2"):
        rows(path)
    assert next(read_rows(path))[0] == "t.csv line 4"


def test_cells_beyond_the_header_that_hold_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 2 has 4 columns, its header has 2"):
        rows(write(tmp_path / "t.csv", "id,text,,\n1,a,,b\n"))


def test_a_txt_is_a_table_where_it_is_named_as_one(tmp_path: Path) -> None:
    for content in ("id\ttext\n1\ta\n", "id;text\n1;a\n"):
        assert rows(write(tmp_path / "t.txt", content)) == [{"id": "1", "text": "a"}]


@pytest.mark.parametrize("kind", [".csv", ".tsv", ".xlsx", ".ods", ".jsonl", ".parquet"])
def test_the_columns_of_every_kind_are_known_before_its_rows(tmp_path: Path, kind: str) -> None:
    frame = pd.DataFrame({"id": ["a", "b"], "text": ["x", "y"]})
    path = tmp_path / f"t{kind}"
    cells = [list(frame.columns), *frame.to_numpy().tolist()]
    {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".xlsx": lambda: write_xlsx(path, cells),
        ".ods": lambda: write_ods(path, cells),
        ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        ".parquet": lambda: frame.to_parquet(path),
    }[kind]()
    with open_rows(path) as table:
        assert (table.name, table.header, table.sheet) == (f"t{kind}", ("id", "text"), "")
        assert table.separator == {".csv": ",", ".tsv": "\t"}.get(kind, "")
        assert [row for _, row in table.rows] == frame.to_dict("records")


@given(st.lists(st.tuples(TEXT, TEXT), max_size=5), st.sampled_from([".csv", ".tsv"]))
def test_what_the_csv_module_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, values: list, kind: str
) -> None:
    # A row of nothing but white space is taken for an empty line.
    values = [pair for pair in values if pair[0].strip() or pair[1].strip()]
    text = io.StringIO(newline="")
    csv.writer(text, delimiter="\t" if kind == ".tsv" else ",").writerows([("a", "b"), *values])
    table = tmp_path_factory.mktemp("table") / f"t{kind}"
    table.write_bytes(text.getvalue().encode("utf-8"))
    assert [tuple(row.values()) for row in rows(table)] == values


@given(st.lists(st.dictionaries(st.sampled_from(["id", "text", "x"]), TEXT), max_size=5), st.booleans())
def test_what_json_writes_is_read_back(tmp_path_factory: pytest.TempPathFactory, values: list, is_ascii: bool) -> None:
    table = tmp_path_factory.mktemp("table") / "t.jsonl"
    table.write_text("".join(json.dumps(one, ensure_ascii=is_ascii) + "\n" for one in values), encoding="utf-8")
    assert rows(table) == values


def test_parquet_from_pandas_is_read_as_text(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "video_id": ["0001", "NA"],
            "clip_id": [1, 2],
            "text": ["x", None],
            "start_s": [0.5, math.nan],
            "ok": [True, False],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    assert rows(tmp_path / "t.parquet") == [
        {"video_id": "0001", "clip_id": "1", "text": "x", "start_s": "0.5", "ok": "true"},
        {"video_id": "NA", "clip_id": "2", "ok": "false"},
    ]


def test_numbers_and_null_of_jsonl(tmp_path: Path) -> None:
    table = write(tmp_path / "t.jsonl", '\n{"clip_id": 7, "start_s": 1.50, "text": null, "tags": ["a"]}\r\n\n')
    assert list(read_rows(table)) == [("t.jsonl line 2", {"clip_id": "7", "start_s": "1.5", "tags": '["a"]'})]


def test_half_a_character_in_jsonl_becomes_the_replacement_character(tmp_path: Path) -> None:
    table = write(tmp_path / "t.jsonl", '{"text": "a\\ud83dz", "whole": "\\ud83d\\ude00"}')
    (row,) = rows(table)
    assert row["whole"] == "😀"
    assert row["text"].strip("az") == "\ufffd" * 3
    row["text"].encode("utf-8")  # any file can hold it


def test_a_text_may_be_longer_than_csvs_default_limit(tmp_path: Path) -> None:
    long = "word " * 100_000
    assert rows(write(tmp_path / "t.csv", f'id,text\n1,"{long}"\n')) == [{"id": "1", "text": long}]


def test_right_to_left_and_emoji_survive(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    pd.DataFrame({"id": ["a"], "text": [ODD]}).to_csv(table, index=False)
    assert rows(table) == [{"id": "a", "text": ODD}]


def test_empty_lines_and_rows_of_empty_cells_are_no_rows(tmp_path: Path) -> None:
    assert rows(write(tmp_path / "t.csv", "a,b\r\n\r\n1,2\r\n,\r\n , \r\n")) == [{"a": "1", "b": "2"}]


def test_a_table_without_rows_is_empty(tmp_path: Path) -> None:
    for name, content in (("t.csv", "a,b\n"), ("t.tsv", "a"), ("t.jsonl", ""), ("t.jsonl", "\n")):
        assert rows(write(tmp_path / name, content)) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", "id,text\n1,a, b\n", r"t\.csv line 2 has 3 columns, its header has 2: .* not in double quotes"),
        ("t.csv", "id,text\n1\n", r"t\.csv line 2 has 1 columns, its header has 2: the file is cut off"),
        ("t.csv", "id,id\n1,2\n", r"has two columns named 'id'; rename one"),
        ("t.csv", "", r"t\.csv is empty; expected a line with the columns' names"),
        ("t.tsv", "\n \n", r"t\.tsv is empty"),
        ("t.csv", "id,text\n" + "1,a\n" * 2000 + "2,\0\n", r"t\.csv line 2002 holds a zero byte"),
        # a quote that is never closed would swallow the rows that follow, without a word
        (
            "t.csv",
            'id,text\n1,"so what\n2,b\n3,c\n',
            r"lines 2 to 4: unexpected end of data; a text that holds a double quote",
        ),
        ("t.csv", 'id,text\n1,"so" what\n', r"t\.csv line 2: .* the quote in it written twice"),
        ("t.jsonl", '{"id": 1}\n{"id": \n', r"t\.jsonl line 2 is not JSON"),
        ("t.jsonl", "[1, 2]\n", r"t\.jsonl line 1 is not a JSON object"),
        ("t.jsonl", "[" * 100_000, r"t\.jsonl line 1 holds lists and objects more than 64 deep"),
        ("t.parquet", "id,text\n", r"t\.parquet is damaged or not a Parquet file"),
        ("t.xlsx", "PK", r"t\.xlsx is damaged or not a spreadsheet"),
        ("t.doc", "id,text\n", r"t\.doc is not a table; expected one of \.csv, \.tsv, \.xlsx"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, name: str, content: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        rows(write(tmp_path / name, content))


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_table_that_is_not_there_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=rf"cannot read .*{name}.*No such file"):
        rows(tmp_path / name)


def test_half_a_parquet_file_is_refused(tmp_path: Path) -> None:
    table = tmp_path / "t.parquet"
    pq.write_table(pa.table({"id": [str(n) for n in range(1000)]}), table)
    table.write_bytes(table.read_bytes()[:-50])
    with pytest.raises(ConfigError, match=r"t\.parquet is damaged or not a Parquet file"):
        rows(table)


# ---- encodings


@pytest.mark.parametrize(
    "encoding",
    ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-16-be-bom", "gb18030", "gbk", "gb2312"],
)
@pytest.mark.parametrize(
    "content", [f"video_id,clip_id,text\n0001,0001,{CHINESE}\n", "嗯，对。\n", f"{CHINESE}\n" * 40]
)
def test_chinese_in_every_usual_encoding_is_recognised(encoding: str, content: str) -> None:
    data = content.encode(encoding) if encoding != "utf-16-be-bom" else b"\xfe\xff" + content.encode("utf-16-be")
    assert decode_text(data, name="a.csv") == content


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("content", ["video_id,text\na,b\n", "一个人", f"{ODD}\n", "Привет, мир\n", "你好\n"])
def test_utf_16_without_a_mark_is_recognised_in_both_orders(encoding: str, content: str) -> None:
    assert decode_text(content.encode(encoding), name="a.txt") == content


@given(TEXT)
def test_any_text_in_utf_8_is_read_back(content: str) -> None:
    if not content.startswith("\ufeff"):
        assert decode_text(content.encode(), name="a.txt") == content
    assert decode_text(content.encode("utf-8-sig"), name="a.txt") == content


@given(TEXT)
def test_any_text_in_utf_16_with_a_mark_is_read_back(content: str) -> None:
    assert decode_text(content.encode("utf-16"), name="a.txt") == content


@pytest.mark.parametrize(
    ("encoding", "content"),
    [
        ("cp1252", "“so”, she said – naïve"),
        ("cp1251", "привет"),
        ("gb18030", "好看"),
        ("utf-32", "hello"),
        ("utf-32-le", "hello"),
    ],
)
def test_an_encoding_that_is_not_clear_is_refused_with_a_way_out(encoding: str, content: str) -> None:
    data = content.encode(encoding)
    with pytest.raises(ConfigError) as refused:
        decode_text(data, name="talks/a.txt")
    assert "the encoding of talks/a.txt is not " in str(refused.value)
    assert "where the command has --encoding, name it (for example --encoding cp" in str(refused.value)
    assert decode_text(data, name="talks/a.txt", encoding=encoding) == content


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    archive = b"PK\x03\x04\x14\x00\x06\x00\x08\x00\x00\x00!\x00" * 20
    for data in (archive, b"video_id,text\n" + b"a,b\n" * 50 + b"\0", bytes(range(256))):
        with pytest.raises(ConfigError, match=r"--encoding|zero byte"):
            decode_text(data, name="t.csv")


def test_a_given_encoding_counts_and_its_mark_is_no_letter() -> None:
    assert decode_text("\ufeffid,text\n".encode(), name="t.csv", encoding="utf-8") == "id,text\n"
    assert decode_text("\ufeffid".encode("utf-16-be"), name="t.csv", encoding="utf-16-be") == "id"
    with pytest.raises(ConfigError, match=r"t\.csv is not ascii text \('ascii' codec can't decode"):
        decode_text("é".encode(), name="t.csv", encoding="ascii")
    with pytest.raises(ConfigError, match=r"t\.csv is not klingon text \(unknown encoding: klingon\)"):
        decode_text(b"id", name="t.csv", encoding="klingon")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
        read_text(tmp_path)


@pytest.mark.parametrize("cell", ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_is_guarded_and_a_number_or_word_is_not(cell: str) -> None:
    assert guarded(cell) == f"'{cell}"
    assert [guarded(word) for word in ("-0.5", "+1", "", "a=b", "0001", "'=1")] == [
        "-0.5", "+1", "", "a=b", "0001", "'=1",
    ]  # fmt: skip


def test_no_csv_for_people_holds_a_formula(tmp_path: Path) -> None:
    write_problems(tmp_path, [Problem("ignored-file", '=HYPERLINK("http://a.example")', "-1+2: not read")])
    rows = list(csv.reader((tmp_path / "problems.csv").open(newline="")))
    assert rows[1] == ["ignored-file", '\'=HYPERLINK("http://a.example")', "'-1+2: not read"]


@pytest.mark.parametrize("n_after", [1, 2, 30])
def test_a_quote_that_is_never_closed_is_named_by_the_row_that_opens_it(n_after: int, tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('id,text\na,so\n\nb,"so\n' + "c,no\n" * n_after)
    with pytest.raises(ConfigError, match=rf"t\.csv lines 4 to {4 + n_after}: unexpected end of data"):
        list(read_rows(path))
