"""Training without the clips that the user left out: they are counted, named, and on record with their reasons."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import pytest

from fmltk.model.config import Config
from fmltk.model.data import read_clip_features
from fmltk.model.dataset import join
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.label_file import read_labels
from tests.model.folders import planted, small_settings, write_clips
from tests.program import fmltk_here

if TYPE_CHECKING:
    from pathlib import Path


def test_excluded_clips_are_in_no_split_and_in_no_other_remark(tmp_path: Path) -> None:
    clips = planted(30, n_videos=10)
    folder = write_clips(clips, tmp_path / "features")
    left_out = {clips.ids[0], clips.ids[7]}
    dataset = join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config(), excluded=left_out)
    assert set(dataset.utterance_ids) == set(clips.ids) - left_out
    assert len(dataset.splits) == 28
    assert not [remark for remark in dataset.remarks if "left out" in remark]


def test_a_set_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    clips = planted(10, n_videos=5)
    folder = write_clips(clips, tmp_path / "features")
    with pytest.raises(ConfigError, match="no clip of the features has a label"):
        join(read_clip_features(folder), read_labels(folder / "labels.parquet"), Config(), excluded=set(clips.ids))


@pytest.mark.parametrize("with_decisions", [True, False])
def test_a_run_says_which_clips_it_left_out_and_why(tmp_path: Path, with_decisions: bool) -> None:
    clips = planted(40, n_videos=10)
    folder = write_clips(clips, tmp_path / "features")
    table, out = tmp_path / "c.csv", tmp_path / "run"
    rows = [f"{clips.ids[1]},several-people,exclude", f"{clips.ids[2]},no-speech,keep", "x$_$1,no-speech,exclude"]
    if not with_decisions:
        rows = [row.rpartition(",")[0] for row in rows[::2]]
    table.write_text("\n".join(["utterance_id,reason" + ",decision" * with_decisions, *rows]) + "\n")
    settings = [part for one in small_settings("max_epochs=1") for part in ("--set", one)]
    done = fmltk_here("train", folder, "-o", out, "--model", "late-fusion", "-j", 0, "--exclude", table, *settings)
    assert done.returncode == 0, done.stderr
    assert f"left out, as c.csv says: 1 clip: {clips.ids[1]} (several-people)" in done.stderr
    assert "not among the clips, as c.csv says: 1 name: x$_$1" in done.stderr
    assert json.loads((out / "training.json").read_text())["excluded"] == {clips.ids[1]: "several-people"}
    (predictions,) = out.glob("seed_*/predictions.parquet")
    predicted = set(pq.read_table(predictions)["utterance_id"].to_pylist())
    assert predicted == set(clips.ids) - {clips.ids[1]}


def test_a_contradiction_stops_the_command_before_anything_is_written(tmp_path: Path) -> None:
    clips = planted(20, n_videos=5)
    folder = write_clips(clips, tmp_path / "features")
    rows = "".join(f"{clips.ids[1]},r,{word}\n" for word in ("keep", "exclude"))
    (tmp_path / "c.csv").write_text(f"utterance_id,reason,decision\n{rows}")
    done = fmltk_here("train", folder, "-o", tmp_path / "run", "--exclude", tmp_path / "c.csv")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "line 3" in done.stderr
    assert not (tmp_path / "run").exists()


def test_an_export_leaves_excluded_clips_out_with_a_word(tmp_path: Path) -> None:
    clips = planted(30, n_videos=10)
    folder = write_clips(clips, tmp_path / "features")
    (tmp_path / "c.csv").write_text(f"utterance_id,reason,decision\n{clips.ids[3]},two people,exclude\n")
    done = fmltk_here(
        "dataset", "export", folder, "-o", tmp_path / "out.pkl", "--exclude", tmp_path / "c.csv", "--json"
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["excluded"] == {clips.ids[3]: "two people"}
    assert sum(summary["splits"].values()) == int(np.isfinite(clips.labels["M"]).sum()) - 1
    assert "left out, as c.csv says: 1 clip" in done.stderr
