"""The files open in any Parquet reader: pandas, polars, DuckDB and datasets, with their shapes and numbers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from fmltk.toolkit.clip import MODALITIES
from fmltk.toolkit.features.clip_row import ClipRow
from fmltk.toolkit.features.manifest import ManifestWriter
from fmltk.toolkit.features.sequences import ModalitySpec, ModalityWriter
from fmltk.toolkit.io.parquet import METADATA_KEY

if TYPE_CHECKING:
    from pathlib import Path

N_CLIPS = 5
SHAPES = {"text": (7, 384), "audio": (60, 33), "vision": (41, 709)}  # L, d
LENGTHS = {name: [1 + (37 * n) % (2 * length) for n in range(N_CLIPS)] for name, (length, _) in SHAPES.items()}
IDS = [f"video_0001$_${n:04d}" for n in range(N_CLIPS)]


def sequence(modality: str, number: int) -> np.ndarray:
    chance = np.random.default_rng([MODALITIES.index(modality), number])
    return chance.normal(size=(LENGTHS[modality][number], SHAPES[modality][1])).astype(np.float32)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A feature folder of five clips, the last without sound and text, in row groups of two clips."""
    folder = tmp_path_factory.mktemp("features")
    with (
        pytest.MonkeyPatch.context() as patch,
        ManifestWriter(folder / "manifest.parquet", {"settings": {}}) as manifest,
    ):
        patch.setattr("fmltk.toolkit.features.sequences.MAX_ROWS_PER_GROUP", 2)
        for number, utterance in enumerate(IDS):
            manifest.append(
                ClipRow.from_columns({
                    "utterance_id": utterance, "video_id": "video_0001", "clip_id": f"{number:04d}", "status": "ok",
                    "text": "你好 👋 שלום", "n_frames": 30 + number, "duration_s": 1.5, "warnings": ["two faces"],
                    "audio_status": "ok" if number < N_CLIPS - 1 else "missing",
                })
            )  # fmt: skip
        for name, (length, dimension) in SHAPES.items():
            spec = ModalitySpec(name, dimension, length, name == "vision", {"feature_names": ["x"]})
            with ModalityWriter(folder / f"{name}.parquet", spec) as writer:
                for number in range(n_clips(name)):
                    values = sequence(name, number)
                    writer.append(IDS[number], values, np.arange(len(values)) % 3 > 0 if spec.has_mask else None)
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local files are read; no hub is asked."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def n_clips(modality: str) -> int:
    return N_CLIPS if modality == "vision" else N_CLIPS - 1


def padded(modality: str) -> np.ndarray:
    """What the file must hold, made without the code under test."""
    length, dimension = SHAPES[modality]
    expected = np.zeros((n_clips(modality), length, dimension), np.float32)
    for number in range(n_clips(modality)):
        kept = sequence(modality, number)[:length]
        expected[number, : len(kept)] = kept
    return expected


def mask() -> np.ndarray:
    length = SHAPES["vision"][0]
    steps = np.arange(length)
    return np.array([(steps < n) & (steps % 3 > 0) for n in LENGTHS["vision"]])


def assert_ids_and_lengths(modality: str, ids: list[str], lengths: list[int], truncated: list[int]) -> None:
    expected = LENGTHS[modality][: n_clips(modality)]
    assert ids == IDS[: n_clips(modality)]
    assert lengths == expected
    assert truncated == [max(n - SHAPES[modality][0], 0) for n in expected]
    assert max(truncated) > 0, "some clip of the test must be longer than L"


@pytest.mark.parametrize("modality", MODALITIES)
def test_pandas_reads_a_modality(features: Path, modality: str) -> None:
    frame = pd.read_parquet(features / f"{modality}.parquet")
    assert_ids_and_lengths(modality, *(list(frame[name]) for name in ("utterance_id", "length", "truncated")))
    values = np.stack([np.stack(one) for one in frame["features"]])
    assert values.dtype == np.float32
    np.testing.assert_array_equal(values, padded(modality))
    if modality == "vision":
        np.testing.assert_array_equal(np.stack(frame["mask"]), mask())


@pytest.mark.parametrize("modality", MODALITIES)
def test_polars_reads_a_modality(features: Path, modality: str) -> None:
    import polars as pl

    frame = pl.read_parquet(features / f"{modality}.parquet")
    length, dimension = SHAPES[modality]
    assert frame.schema["features"] == pl.Array(pl.Float32, (length, dimension))
    assert_ids_and_lengths(modality, *(frame[name].to_list() for name in ("utterance_id", "length", "truncated")))
    np.testing.assert_array_equal(frame["features"].to_numpy(), padded(modality))
    if modality == "vision":
        np.testing.assert_array_equal(frame["mask"].to_numpy(), mask())


@pytest.mark.parametrize("modality", MODALITIES)
def test_duckdb_reads_a_modality(features: Path, modality: str) -> None:
    import duckdb

    with duckdb.connect() as connection:
        rows = connection.sql(f"SELECT * FROM '{features / modality}.parquet' ORDER BY utterance_id").fetchall()
    assert_ids_and_lengths(modality, *(list(column) for column in zip(*(row[:3] for row in rows), strict=True)))
    np.testing.assert_array_equal(np.array([row[3] for row in rows], np.float32), padded(modality))
    if modality == "vision":
        np.testing.assert_array_equal(np.array([row[4] for row in rows]), mask())


@pytest.mark.parametrize("modality", MODALITIES)
def test_datasets_reads_a_modality(features: Path, modality: str, tmp_path: Path) -> None:
    from datasets import load_dataset

    data = load_dataset(
        "parquet", data_files=str(features / f"{modality}.parquet"), split="train", cache_dir=str(tmp_path)
    )
    assert_ids_and_lengths(modality, *(list(data[name]) for name in ("utterance_id", "length", "truncated")))
    values = data.with_format("numpy")[:]["features"]
    assert values.shape == padded(modality).shape
    np.testing.assert_array_equal(values, padded(modality))


def test_every_reader_reads_the_manifest(features: Path, tmp_path: Path) -> None:
    import duckdb
    import polars as pl
    from datasets import load_dataset

    path = features / "manifest.parquet"
    names = ["utterance_id", "video_id", "clip_id", "text", "n_frames", "duration_s", "fps", "warnings", "audio_status"]
    expected = [
        (
            utterance,
            "video_0001",
            f"{n:04d}",
            "你好 👋 שלום",
            30 + n,
            1.5,
            None,
            ["two faces"],
            "ok" if n < 4 else "missing",
        )
        for n, utterance in enumerate(IDS)
    ]
    with duckdb.connect() as connection:
        assert connection.sql(f"SELECT {', '.join(names)} FROM '{path}'").fetchall() == expected
    assert pl.read_parquet(path, columns=names).rows() == expected
    data = load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(tmp_path))
    assert [tuple(row[name] for name in names) for row in data] == expected
    frame = pd.read_parquet(path)
    assert list(frame["clip_id"]) == ["0000", "0001", "0002", "0003", "0004"], "ids stay text"
    assert list(frame["n_frames"]) == [30, 31, 32, 33, 34]
    assert frame["fps"].isna().all()


def test_the_metadata_is_read_without_fmltk(features: Path) -> None:
    document = json.loads(pq.read_schema(features / "audio.parquet").metadata[METADATA_KEY])
    assert (document["length"], document["dimension"], document["modality"]) == (60, 33, "audio")
