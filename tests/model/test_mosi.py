"""FmlMSN-m on real MOSI features against ridge regression; the settings were chosen on validation (docs/model.md)."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from fmltk.model.config import load_config
from fmltk.model.options import RunOptions
from fmltk.model.run import train
from fmltk.toolkit.interchange.utterances import import_utterances

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SETTINGS = (
    "valid_fraction=0.1",
    "weight_decay=1",
    "tdrp=0.5",
    "adrp=0.7",
    "vdrp=0.7",
    "fdim=128",
    "omega_a=0.2",
    "omega_v=0.2",
)
RIDGE_MAE, RIDGE_ACC2 = 0.947, 0.778


@pytest.mark.slow
def test_fmlmsn_is_better_than_ridge_on_real_mosi(test_data: Path, tmp_path: Path, sized: Callable[[int], int]) -> None:
    """Five seeds at full size; otherwise one, which stops sooner: that costs 0.01 in MAE."""
    import_utterances(test_data / "mosi" / "mosi_utterances.parquet", tmp_path / "features")
    seeds = tuple(range(sized(5)))
    config = load_config("mosi-unaligned", settings=(*SETTINGS, *(["patience=5"] if len(seeds) == 1 else [])))
    summary = train(tmp_path / "features", out=tmp_path / "run", config=config, options=RunOptions(seeds=seeds, jobs=0))
    scores = summary["tasks"]["fusion_M"]["splits"]["test"]["metrics"]
    print({name: scores[name]["mean"] for name in ("MAE", "Acc-2 Non0", "Corr")}, file=sys.stderr)
    assert scores["MAE"]["mean"] <= 0.925 < RIDGE_MAE
    assert scores["Acc-2 Non0"]["mean"] > (RIDGE_ACC2 if len(seeds) == 5 else RIDGE_ACC2 - 0.01)
