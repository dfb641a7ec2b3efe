"""Features that know the labels are found, honest ones are not, and neither is a clip taken for another."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.interchange.leaks import knows_training_labels, same_in_two_splits
from tests.program import fmltk_here

if TYPE_CHECKING:
    from pathlib import Path

N = 300


def data(
    *, knowledge: float, seed: int = 0
) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, str], dict[str, str]]:
    """Features with a weak signal of the labels; `knowledge` is how much more the training clips' have of theirs."""
    rng = np.random.default_rng(seed)
    ids = [f"v{k % 60:02d}$_${k}" for k in range(N)]
    labels = {one: float(value) for one, value in zip(ids, rng.uniform(-3, 3, N), strict=True)}
    videos = {one: one.split("$_$")[0] for one in ids}
    splits = {one: "train" if int(videos[one][1:]) < 40 else "test" for one in ids}
    direction = rng.normal(0, 1, 20)
    means = {}
    for one in ids:
        strength = 0.2 + (knowledge if splits[one] == "train" else 0.0)
        means[one] = strength * labels[one] * direction + rng.normal(0, 1, 20)
    return means, labels, splits, videos


@pytest.mark.parametrize("seed", range(5))
def test_fitted_features_are_found_and_honest_ones_are_not(seed: int) -> None:
    found = knows_training_labels(*data(knowledge=0.8, seed=seed))
    assert found is not None
    inside, outside = found
    assert inside < 0.75 * outside
    assert knows_training_labels(*data(knowledge=0.0, seed=seed)) is None


def test_few_clips_say_nothing() -> None:
    means, labels, splits, videos = data(knowledge=0.8)
    few = dict(list(means.items())[:60])
    assert knows_training_labels(few, labels, splits, videos) is None


def test_one_recording_in_two_splits_is_found_by_sound_and_picture_together() -> None:
    one, other = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    audio = {"a": one, "b": one, "c": one, "d": other}
    vision = {"a": other, "b": other, "c": one, "d": one}
    splits = {"a": "train", "b": "test", "c": "test", "d": "train"}
    assert same_in_two_splits([audio, vision], splits) == [("a", "b")]
    assert same_in_two_splits([audio, vision], {**splits, "b": "train"}) == []
    assert same_in_two_splits([], splits) == []


def test_the_features_of_mosi_know_their_training_labels(tmp_path: Path, test_data: Path) -> None:
    """The shared MOSI features were trained by their makers on the labels of its training videos."""
    out = tmp_path / "features"
    done = fmltk_here("dataset", "import", test_data / "mosi" / "mosi_utterances.parquet", "-o", out)
    assert done.returncode == 0, done.stderr
    done = fmltk_here("dataset", "check", out)
    assert "fitted to the training labels" in " ".join(
        (done.stdout + done.stderr).split()
    )  # a table may fold its cells
