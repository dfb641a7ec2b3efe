"""Further feature sets of a modality, and sets of other rates, averaged over words like the first ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

from fmltk.toolkit.extractors.contract import Tokens
from fmltk.toolkit.features.clip_row import ModalityStatus
from fmltk.toolkit.features.feature_set import read_features
from fmltk.toolkit.features.shards import ClipSequence, ShardFolder
from fmltk.toolkit.run.assemble import Entry, assemble
from fmltk.toolkit.settings import ExtractSettings, PaddingSettings
from tests.entries import HeldEntries
from tests.program import fmltk_here

from .folders import Made, write_ctm

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "so good"
TIMES = [("so", 0.2, 0.4), ("good", 1.0, 1.5)]
CLIP = "talk$_$0"


def steps(values: list[float]) -> ClipSequence:
    return ClipSequence(np.array(values, np.float32)[:, None])


def write_sets(folder: Path, rates: dict[str, float | None], sets: dict[str, ClipSequence], **parts: Any) -> None:
    """Write a folder of one clip of 2 s with these sets in addition to, or in the place of, its own."""
    result = Made("talk", TEXT).result()
    row = result.row
    for key, one in sets.items():
        row = row.with_modality(key, ModalityStatus("ok", len(one.features)))
    result = replace(result, row=row, sequences={**result.sequences, **sets}, **parts)
    shards = ShardFolder(folder / "features" / "shards")
    entries = {CLIP: Entry(row, shards.write(result, "0" * 16))}
    made = {
        key: {"name": f"made-{key}", "feature_names": ["a"], "feature_units": [""], "rate_hz": rate}
        for key, rate in rates.items()
    }
    model = {"name": "made", "sha256": "0"}
    run = {"settings": ExtractSettings().document(), "versions": {}, "text_model": model, "sets": made}
    assemble(folder / "features", shards, HeldEntries(entries.values()), padding=PaddingSettings(), run=run)
    write_ctm(folder / "words.ctm", {"talk": TIMES})


def aligned(folder: Path, key: str, *options: str) -> tuple[list[float], list[bool]]:
    out = folder / "aligned"
    done = fmltk_here("align", folder / "features", "--words", folder / "words.ctm", "-o", out, *options)
    assert done.returncode == 0, done.stderr
    ((_, values, valid),) = read_features(out)[key].sequences()
    return values[:, 0].round(4).tolist(), valid.tolist()


@pytest.mark.parametrize(
    ("key", "rate_hz", "n_steps", "expected"),
    [
        ("audio.slow", 10.0, 20, [2.5, 12.0]),  # steps 2 and 3; 10 to 14
        ("audio.fast", 100.0, 200, [29.5, 124.5]),  # steps 20 to 39; 100 to 149
        ("vision.slow", 5.0, 10, [1.0, 6.0]),  # step 1; 5 to 7
        ("audio", 50.0, 100, [14.5, 62.0]),  # the first set, which is not the 43 Hz of the default; 10 to 19; 50 to 74
        ("vision", 25.0, 50, [7.0, 31.0]),  # 5 to 9; 25 to 37
        ("audio.whole", None, 1, [0.0, 0.0]),  # one step stands for the whole clip
    ],
)
def test_a_set_is_averaged_at_its_own_rate(
    tmp_path: Path, key: str, rate_hz: float | None, n_steps: int, expected: list[float]
) -> None:
    write_sets(tmp_path, {key: rate_hz}, {key: steps([float(one) for one in range(n_steps)])})
    assert aligned(tmp_path, key) == (expected, [True, True])
    manifest = pd.read_parquet(tmp_path / "aligned" / "manifest.parquet")
    assert manifest.loc[0, f"{key}_status"] == "ok"
    assert manifest.loc[0, f"{key}_length"] == 2


def test_steps_without_a_rate_belong_to_no_word(tmp_path: Path) -> None:
    write_sets(tmp_path, {"audio.odd": None}, {"audio.odd": steps([1.0, 2.0, 3.0])})
    done = fmltk_here("align", tmp_path / "features", "--words", tmp_path / "words.ctm", "-o", tmp_path / "aligned")
    assert done.returncode == 0, done.stderr
    manifest = pd.read_parquet(tmp_path / "aligned" / "manifest.parquet")
    assert manifest.loc[0, "audio.odd_status"] == "missing"
    assert not (tmp_path / "aligned" / "audio.odd.parquet").exists()


def test_a_further_text_set_whose_tokens_have_no_place_is_left_out_and_said(tmp_path: Path) -> None:
    tokens = Tokens(np.arange(2, dtype=np.int32), ("so", "good"), None)
    write_sets(tmp_path, {"text.b": None}, {"text.b": steps([0.0, 1.0])}, further_tokens={"text.b": tokens})
    assert aligned(tmp_path, "text") == ([1.0, 2.0], [True, True])
    row = pd.read_parquet(tmp_path / "aligned" / "manifest.parquet").loc[0]
    assert (row["text.b_status"], row["status"]) == ("missing", "ok")
    assert "the tokens of text.b" in row["text.b_error_message"]
    assert not (tmp_path / "aligned" / "text.b.parquet").exists()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), [1.5, 3.0]),
        (("--text", "first"), [1.0, 3.0]),
        (("--unit", "token"), [0.0, 1.5, 3.0, 0.0]),  # of the first set: [CLS] so good [SEP]
    ],
)
def test_a_further_text_set_has_tokens_of_its_own(
    tmp_path: Path, options: tuple[str, ...], expected: list[float]
) -> None:
    spans = np.array([[0, 0], [0, 1], [1, 2], [3, 7]], np.int32)  # "s", "o", "good"
    tokens = Tokens(np.arange(4, dtype=np.int32), ("<s>", "s", "o", "good"), spans)
    write_sets(tmp_path, {"text.b": None}, {"text.b": steps([0.0, 1, 2, 3])}, further_tokens={"text.b": tokens})
    values, _ = aligned(tmp_path, "text.b", *options)
    assert values == expected
