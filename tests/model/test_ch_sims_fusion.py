"""The fusion head on real unimodal predictions of CH-SIMS, fitted without the test split."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from fmltk.model.config import load_config
from fmltk.model.fusion import FusionNet
from fmltk.model.inputs import StageInputs, predict_stage
from fmltk.model.registry import StageSpec
from fmltk.model.stages import folds_of
from fmltk.model.training import StageData, train_stage

if TYPE_CHECKING:
    from pathlib import Path

INPUTS = ("H_T", "H_A", "H_V")
HEAD = StageSpec("head", INPUTS, ("M",), lambda dims, config: FusionNet(INPUTS, dims, config.fdim, config.fdrp))


@pytest.mark.parametrize("seed", [0, 1])
def test_the_fusion_head_beats_a_linear_stack_on_held_out_clips(test_data: Path, seed: int) -> None:
    """0.327 is a linear stack fitted on the validation split; 0.320 the aim.

    The unimodal predictions fit their own training clips too well, so the head learns from the validation split: five
    networks of preset ch-sims, each stopped by the fifth of the videos that it does not learn from, and their mean.
    """
    import pandas as pd

    folder = test_data / "ch-sims"
    text = {"clip_id": str, "video_id": str}
    labels = pd.read_csv(folder / "chsims_v1_label_recovered_notext.csv", dtype=text)
    given = pd.read_csv(folder / "chsims_v2s_labels_and_unimodal_preds.csv", dtype=text)
    for table in (labels, given):
        table["clip_id"] = table["clip_id"].str.zfill(4)
    columns = ["video_id", "clip_id", "pred_t", "pred_a", "pred_v"]
    table = labels.merge(given[columns], on=["video_id", "clip_id"]).dropna(subset=columns).reset_index(drop=True)
    assert len(table) == 2277
    valid, test = (np.flatnonzero(table["mode"] == mode) for mode in ("valid", "test"))
    truth = table["label"].to_numpy(np.float32)
    hidden = truth.copy()
    hidden[test] = np.nan  # the test labels are out of reach while the head is fitted
    vectors = {
        name: torch.from_numpy(table[[f"pred_{name[-1].lower()}"]].to_numpy(np.float32, copy=True)) for name in INPUTS
    }
    inputs = StageInputs(vectors, None, np.zeros(1, np.int64))
    predictions = []
    for k, fold in enumerate(folds_of(table["video_id"].to_numpy(str)[valid], 5)):
        rows = {"train": valid[~fold], "valid": valid[fold]}
        learned = {"M": torch.from_numpy(hidden)}
        trained = train_stage(HEAD, load_config("ch-sims"), StageData(inputs, learned, **rows), seed=10 * seed + k)
        predictions.append(predict_stage(trained.net, HEAD, inputs, test)[0]["M"].numpy())
    error = np.abs(np.mean(predictions, axis=0) - truth[test]).mean()
    assert error < 0.320
