"""docs/data-format.md: it names every column there is, and its examples run on a feature folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fmltk.toolkit.catalog.problem import Problem
from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.faces import FaceRows
from fmltk.toolkit.features.shards import ClipResult, ClipSequence, ShardFolder
from fmltk.toolkit.io.parquet import decode_metadata
from fmltk.toolkit.run.assemble import Entry, assemble
from fmltk.toolkit.run.problems import PROBLEM_TITLES
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings
from tests.entries import HeldEntries

DOCUMENT = Path(__file__).parents[2] / "docs" / "data-format.md"
pytestmark = pytest.mark.skipif(not DOCUMENT.is_file(), reason="not in a checkout of the source tree")
DIMENSIONS = {"text": 384, "audio": 33, "vision": 33}


def text() -> str:
    return DOCUMENT.read_text(encoding="utf-8")


def section(title: str) -> str:
    """The part of the document under a heading, up to the next of its level."""
    found = re.search(rf"^## {re.escape(title)}$(.*?)(?=^## |\Z)", text(), re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def first_column(part: str) -> set[str]:
    """The code words of the first column of the tables of a section."""
    cells = re.findall(r"^\| (.*?) \|", part, re.MULTILINE)
    return {word for cell in cells for word in re.findall(r"`([^`]+)`", cell)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `features/`: three clips from random sequences, one of them without sound, one failed."""
    parent = tmp_path_factory.mktemp("work")
    shards = ShardFolder(parent / "features" / "shards")
    chance = np.random.default_rng(0)
    entries = []
    for number, length in enumerate((20, 30, 40)):
        utterance = f"v$_${number}"
        row: dict[str, Any] = {
            "utterance_id": utterance, "video_id": "v", "clip_id": str(number), "status": "ok", "warnings": [],
            "duration_s": length / 30,
        }  # fmt: skip
        sequences = {}
        for name in MODALITIES:
            status = "failed" if number == 2 else "missing" if (name, number) == ("audio", 1) else "ok"
            row[f"{name}_status"] = status
            if status == "ok":
                values = chance.normal(size=(length, DIMENSIONS[name])).astype(np.float32)
                sequences[name] = ClipSequence(values, np.ones(length, bool) if name == "vision" else None)
                row[f"{name}_length"] = length
        if number == 2:
            row |= {"status": "failed", "error_class": "MediaError", "error_message": "the file is empty"}
        faces = FaceRows(
            np.arange(length, dtype=np.int32), *np.zeros((2, length), np.int32), np.ones(length, bool),
            np.ones((length, 4), np.float32), np.ones(length, np.float32), np.ones((length, 10), np.float32),
        )  # fmt: skip
        ok = number < 2
        result = ClipResult(
            ClipRow.from_columns(row),
            sequences,
            np.arange(3, dtype=np.int32) if ok else None,
            ("[CLS]", "hi", "[SEP]") if ok else (),
            faces if ok else None,
            token_spans=np.array([[0, 0], [0, 2], [0, 0]], np.int32) if ok else None,
            shot_starts=np.array([0, 2], np.int32) if ok else None,
        )
        entries.append(Entry(result.row, shards.write(result, "0" * 16)))
    run = {"settings": ExtractSettings().document(), "versions": {}, "text_model": {"name": "minilm"}}
    assemble(parent / "features", shards, HeldEntries(entries), padding=PaddingSettings(), run=run)
    return parent


def schema(folder: Path, name: str) -> pa.Schema:
    return pq.read_schema(folder / "features" / f"{name}.parquet")


def test_every_column_of_the_manifest_is_described_and_no_other(folder: Path) -> None:
    assert first_column(section("manifest.parquet")) == {
        *schema(folder, "manifest").names,
        "ok",
        "missing",
        "failed",
        "skipped",
    }


def test_every_column_and_key_of_the_modalities_is_described_and_no_other(folder: Path) -> None:
    expected: set[str] = set()
    for name in MODALITIES:
        expected |= {*schema(folder, name).names, *decode_metadata(schema(folder, name), name=name)}
    assert first_column(section("text.parquet, audio.parquet, vision.parquet")) == expected
    for name, keys in (("manifest", {"padding", "text_model"}), ("faces/faces", {"rate_hz", "unit"})):
        document = decode_metadata(schema(folder, name), name=name)
        assert keys <= set(document)
        assert all(f"`{key}`" in section("text.parquet, audio.parquet, vision.parquet") for key in keys)


def test_every_column_of_faces_and_shards_is_described_and_no_other(folder: Path) -> None:
    for name in ("faces/faces", "faces/shots"):
        assert first_column(section(f"{name}.parquet")) == set(schema(folder, name).names)
    found: set[str] = set()
    for path in (folder / "features" / "shards").glob("*/*.arrow"):
        found |= set(pa.ipc.open_file(path).schema.names)
    assert first_column(section("shards/")) == found


def test_every_kind_of_problem_is_described_and_no_other() -> None:
    part = section("run.json and problems.csv")
    assert first_column(part) == set(PROBLEM_TITLES)
    assert all(f"`{name}`" in part for name in Problem.__slots__)


def examples() -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text(), re.MULTILINE | re.DOTALL) if DOCUMENT.is_file() else []


def test_there_are_examples_for_every_reader() -> None:
    joined = "".join(examples())
    assert all(f"import {name}" in joined for name in ("pandas", "polars", "duckdb", "json"))
    assert "from datasets import" in joined
    assert "from fmltk" in joined


def test_the_examples_run_and_show_something(folder: Path, tmp_path: Path) -> None:
    # All in one process, for libraries take their time to be imported; each with names of its own.
    script = "import sys\n" + "".join(
        f"print('--', {number}, flush=True)\nexec({code!r}, {{}})\n" for number, code in enumerate(examples())
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shown = re.split(r"^-- \d+$", done.stdout, flags=re.MULTILINE)[1:]
    assert len(shown) == len(examples()) > 5
    assert all(one.strip() for one in shown)
    assert "Array(Float32, shape=(20, 33))" in done.stdout
