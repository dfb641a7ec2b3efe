"""Small files that hold very large tables: refused at once, by limits that the environment raises."""

from __future__ import annotations

import resource
import time
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fmltk.annotation.ratings import read_ratings
from fmltk.toolkit.errors import ConfigError, FmltkError
from fmltk.toolkit.features.label_file import read_labels
from fmltk.toolkit.interchange.utterances import import_utterances
from fmltk.toolkit.io.tables import read_rows
from tests.program import fmltk_here

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

N_ROWS = 30_000_000


@pytest.fixture(scope="module")
def bomb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a table of 30 million equal rows, a few at a time; it takes less than 2 MB."""
    path = tmp_path_factory.mktemp("bomb") / "bomb.parquet"
    n = 1_000_000
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array(["v$_$1"]))
    part = pa.table({"utterance_id": words, "label": np.zeros(n, np.float32)})
    with pq.ParquetWriter(path, part.schema, compression="zstd") as writer:
        for _ in range(N_ROWS // n):
            writer.write_table(part, row_group_size=n)
    assert path.stat().st_size < 2_000_000
    assert pq.read_metadata(path).num_rows == N_ROWS
    return path


READERS: dict[str, Callable[[Path], object]] = {
    "labels": read_labels,
    "rows": lambda path: list(read_rows(path)),
    "utterances": lambda path: import_utterances(path, path.with_name("features")),
}


@pytest.mark.parametrize("reader", READERS)
def test_millions_of_equal_rows_are_refused_at_once(reader: str, bomb: Path) -> None:
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(FmltkError, match=r"30,000,000 rows, more than 5,000,000.*FMLTK_MAX_TABLE_ROWS=30000000"):
        READERS[reader](bomb)
    assert time.process_time() - started < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000, "kilobytes"


@pytest.mark.parametrize(
    "command",
    [
        "annotation aggregate --labels {} -o {}.labels.parquet",
        "annotation summary {}",
        "dataset import {} -o {}.features",
    ],
)
def test_commands_refuse_it_in_one_line(command: str, bomb: Path) -> None:
    done = fmltk_here(*command.format(bomb, bomb).split())
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "more than 5,000,000" in done.stderr


def test_ratings_have_the_same_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from fmltk.annotation.importing.import_files import import_ratings

    table = tmp_path / "AT.csv"
    table.write_text("utterance_id,condition,annotator,value\n" + "".join(f"v$_${k},AT,a,1\n" for k in range(40)))
    import_ratings([table], tmp_path / "ratings.parquet")
    monkeypatch.setenv("FMLTK_MAX_TABLE_ROWS", "39")
    with pytest.raises(FmltkError, match="40 rows, more than 39"):
        read_ratings(tmp_path / "ratings.parquet")
    monkeypatch.setenv("FMLTK_MAX_TABLE_ROWS", "40")
    assert read_ratings(tmp_path / "ratings.parquet").num_rows == 40


@pytest.mark.parametrize("kind", ["equal", "compressed"])
def test_a_long_text_in_every_row_is_refused_before_memory_is_full(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FMLTK_MAX_TABLE_MB", "50")
    path = tmp_path / "labels.parquet"
    n, text = 4_000, "x" * 100_000
    ids = [f"v$_${k}" for k in range(n)]
    texts = pa.DictionaryArray.from_arrays(pa.array(np.zeros(n, np.int32)), pa.array([text]))
    table = pa.table({"utterance_id": ids, "label": np.zeros(n), "reason_M": texts if kind == "equal" else [text] * n})
    pq.write_table(table, path, compression="zstd", use_dictionary=kind == "equal")
    assert path.stat().st_size < 500_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FmltkError, match=r"takes more than 50 MB in memory.*FMLTK_MAX_TABLE_MB="):
        read_labels(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000
    monkeypatch.setenv("FMLTK_MAX_TABLE_MB", "2000")
    assert len(read_labels(path).utterance_ids) == n


@pytest.mark.parametrize("given", ["many", "-1", "1e9", " "])
def test_a_limit_that_is_not_a_number_is_named(given: str, bomb: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FMLTK_MAX_TABLE_ROWS", given)
    with pytest.raises(ConfigError, match=r"FMLTK_MAX_TABLE_ROWS is .* in the environment; expected a whole number"):
        read_labels(bomb)


ZERO_BYTES = {
    "in a text": b"video_id,clip_id,label\nv,1,0.2\nv,2\0,1\n",
    "in the header": b"video_id,cl\0ip_id,label\nv,1,0.2\nv,2,1\n",
    "at the beginning": b"\0video_id,clip_id,label\nv,1,0.2\nv,2,1\n",
    "at the end": b"video_id,clip_id,label\nv,1,0.2\nv,2,1\n\0",
    "an even number of bytes": b"video_id,clip_id,label\nv,1,0.2\nv,22\0,1\n",
    "a zeroed block": b"video_id,clip_id,label\nv,1,0.2\n" + bytes(4096),
    "late": b"video_id,clip_id,label\n" + b"v,1,0.2\n" * 2000 + b"v,2\0,1\n",
    "next to Chinese": "video_id,clip_id,label\n视频,1,0.2\n视频,2\0,1\n".encode(),
}


@pytest.mark.parametrize("where", ZERO_BYTES)
@pytest.mark.parametrize("reader", ["labels", "rows"])
def test_a_zero_byte_is_refused_and_never_read_as_another_encoding(where: str, reader: str, tmp_path: Path) -> None:
    path = tmp_path / "label.csv"
    path.write_bytes(ZERO_BYTES[where])
    with pytest.raises(FmltkError, match=r"holds a zero byte|the encoding of .* is not one"):
        READERS[reader](path)
