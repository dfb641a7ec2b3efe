"""Fine-grained labels against multimodal labels alone, where the modalities are known to disagree (table 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.model.compare import compare
from fmltk.model.config import load_config
from fmltk.model.options import RunOptions
from fmltk.model.run import train
from tests.model.folders import planted, small_settings, write_clips

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = (0, 1, 2, 3, 4)


def test_fine_grained_labels_beat_multimodal_labels_alone(tmp_path: Path) -> None:
    """Over five seeds, significantly, in error and in sign: table 6's direction."""
    folder = write_clips(planted(300, seed=1, noise=1.0), tmp_path / "features")
    settings = small_settings("max_epochs=20", "lr=0.01")
    for name, more in (("fine", []), ("multimodal", ["unimodal=multimodal", "bimodal=multimodal"])):
        config = load_config("ch-sims", settings=[*settings, *more])
        train(folder, out=tmp_path / name, config=config, options=RunOptions(seeds=SEEDS, jobs=0))
    result = compare([tmp_path / "fine", tmp_path / "multimodal"], "test")
    fine, multimodal = (system["metrics"] for system in result["systems"])
    test = result["tests"][0]["over_seeds"]
    assert fine["MAE"]["mean"] < multimodal["MAE"]["mean"]
    assert test["MAE"]["p"] < 0.05
    assert test["MAE"]["high"] < 0
    assert fine["Acc-2"]["mean"] > multimodal["Acc-2"]["mean"]
    assert np.isfinite(test["Acc-2"]["p"])
