"""The map of H in a run's report."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from sklearn.decomposition import PCA

from fmltk.model.hidden_map import hidden_blocks, principal_plane
from fmltk.model.run_folder import best_seed, read_hidden, read_predictions
from fmltk.toolkit.conditions import CH_SIMS_SCALE, Scale
from fmltk.toolkit.errors import StoreError
from fmltk.toolkit.io.parquet import write_table

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.mark.parametrize(("seed", "n", "d"), [(0, 50, 6), (1, 5, 20), (2, 200, 2)])
def test_the_plane_is_scikit_learns(seed: int, n: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    train, values = rng.normal(3, 1, (n, d)) * np.arange(1, d + 1), rng.normal(size=(7, d))
    points, shares = principal_plane(train, values)
    pca = PCA(2).fit(train)
    np.testing.assert_allclose(np.abs(points), np.abs(pca.transform(values)), atol=1e-8)
    assert shares == pytest.approx(pca.explained_variance_ratio_)
    again, _ = principal_plane(train[::-1], values)
    np.testing.assert_allclose(again, points, atol=1e-8)


def written(folder: Path, hidden: dict[str, NDArray[np.float64] | list[list[float]]], splits: list[str]) -> Path:
    columns: dict[str, Any] = {"utterance_id": [f"c{k}" for k in range(len(splits))], "split": splits}
    columns |= {name: [list(row) for row in rows] for name, rows in hidden.items()}
    (folder / "seed_0").mkdir(parents=True)
    write_table(pa.table(columns), folder / "seed_0" / "bimodal.parquet")
    return folder


def predictions(truth: list[Any], predicted: list[Any], first: int) -> pd.DataFrame:
    clips = [f"c{first + k}" for k in range(len(truth))]
    return pd.DataFrame({"utterance_id": clips, "truth_M": truth, "pred_M": predicted})


@pytest.mark.parametrize(
    ("family", "scale", "truth", "predicted", "words"),
    [
        (
            "ch-sims",
            CH_SIMS_SCALE,
            [-0.8, -0.4, 0.9],
            [0.2, -0.1, 0.5],
            ["NG: 1 clip, 1 wrong sign", "PS: 1 clip, 0"],
        ),
        ("mosi", Scale(-5, 5), [-4.0, 0.0, 3.0], [-1.0, -2.0, 2.0], ["zero: 1 clip, 1 wrong", "positive: 1 clip, 0"]),
        (
            "nominal",
            Scale.nominal(["sad", "glad"]),
            ["sad", "glad", "glad"],
            ["sad", "sad", "glad"],
            ["glad: 2 clips, 1"],
        ),
    ],
)
def test_the_colours_are_classes_and_the_crosses_wrong(
    tmp_path: Path, family: Any, scale: Scale, truth: list[Any], predicted: list[Any], words: list[str]
) -> None:
    rng = np.random.default_rng(0)
    run = written(
        tmp_path, {"H_AV": rng.normal(size=(9, 4)), "H_AT": rng.normal(size=(9, 3))}, ["train"] * 6 + ["test"] * 3
    )
    (chart,) = hidden_blocks(run, 0, predictions(truth, predicted, 6), family, scale)
    assert "Each clip's 7 numbers" in chart.reading
    assert "6 training clips" in chart.reading
    assert "left out" not in chart.reading
    assert all(word in chart.description for word in words), chart.description


@pytest.mark.parametrize(
    ("truth", "predicted", "h"),
    [([None, 0.5], [0.1, 0.5], 0), ([0.2, 0.5], [np.nan, 0.5], 0), ([0.2, 0.5], [0.1, 0.5], np.nan)],
)
def test_clips_that_cannot_be_shown_are_counted(
    tmp_path: Path, truth: list[Any], predicted: list[Any], h: float
) -> None:
    values = np.random.default_rng(0).normal(size=(6, 4))
    values[4] += h
    run = written(tmp_path, {"H_AV": values}, ["train"] * 4 + ["test"] * 2)
    (chart,) = hidden_blocks(run, 0, predictions(truth, predicted, 4), "ch-sims", CH_SIMS_SCALE)
    assert "Left out: 1 clip without H, label or prediction" in chart.reading
    assert "WP: 1 clip," in chart.description


def test_stages_that_learned_nothing_are_said(tmp_path: Path) -> None:
    run = written(tmp_path, {"H_AV": np.zeros((6, 4))}, ["train"] * 4 + ["test"] * 2)
    (remark,) = hidden_blocks(run, 0, predictions([0.2, 0.5], [0.1, 0.5], 4), "ch-sims", CH_SIMS_SCALE)
    assert "the same for every training clip" in remark.text


def test_a_model_without_h_has_no_map(tmp_path: Path) -> None:
    assert hidden_blocks(tmp_path, 0, predictions([0.2], [0.1], 0), "ch-sims", CH_SIMS_SCALE) == []
    few = written(tmp_path / "few", {"H_AV": np.ones((3, 4))}, ["train", "test", "test"])
    assert hidden_blocks(few, 0, predictions([0.2], [0.1], 1), "ch-sims", CH_SIMS_SCALE) == []


@pytest.mark.parametrize(
    "hidden", [{}, {"H_AV": [[1.0, 2.0], [1.0], [2.0, 3.0]]}, {"H_AV": [[], [1.0], [2.0, 3.0]]}, "fewer"]
)
def test_a_damaged_table_is_one_line(tmp_path: Path, hidden: Any) -> None:
    run = written(tmp_path, {"H_AV": np.ones((3, 2))} if hidden == "fewer" else hidden, ["train", "train", "test"])
    part = predictions([0.2, 0.1], [0.1, 0.3], 2) if hidden == "fewer" else predictions([0.2], [0.1], 2)
    with pytest.raises(StoreError, match=r"bimodal\.parquet is damaged.*run the same `fmltk train` again"):
        hidden_blocks(run, 0, part, "ch-sims", CH_SIMS_SCALE)


def test_the_map_of_a_trained_run_is_of_what_the_fusion_reads(run: Path) -> None:
    seed = best_seed(run)
    hidden, frame = read_hidden(run, seed), read_predictions(run, seed)
    assert hidden is not None
    part = frame[frame["split"] == "test"]
    (chart,) = hidden_blocks(run, seed, part, "ch-sims", CH_SIMS_SCALE)
    width = sum(len(hidden[f"H_{stage}"][0]) for stage in ("AV", "AT", "VT"))
    assert f"Each clip's {width} numbers" in chart.reading
    both = part[part["truth_M"].notna() & part["pred_M"].notna()]
    counted = [
        int(words.split(": ")[1].split(" clips")[0]) for words in chart.description.split(". ", 1)[1].split("; ")
    ]
    assert sum(counted) == len(both)
