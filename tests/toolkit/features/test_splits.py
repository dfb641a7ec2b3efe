"""6:2:2, whole videos together or clips by class, drawn by a seed."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.features.splits import hold_out, split_by_video, split_stratified


@given(st.lists(st.integers(1, 60), min_size=3, max_size=80), st.integers(0, 5))
@settings(deadline=None, max_examples=40)
def test_a_video_is_in_one_split_and_the_splits_are_near_6_2_2(sizes, seed):
    videos = np.repeat([f"v{number}" for number in range(len(sizes))], sizes)
    labels = np.linspace(-1, 1, len(videos))
    splits = split_by_video(videos.tolist(), labels, seed=seed)
    of_video = {}
    for video, split in zip(videos, splits, strict=True):
        assert of_video.setdefault(video, split) == split
    for split, share in (("valid", 0.2), ("test", 0.2)):
        assert np.sum(splits == split)
        assert abs(np.sum(splits == split) - share * len(videos)) <= max(sizes)
    assert np.sum(splits == "train")
    backwards = split_by_video(videos[::-1].tolist(), labels[::-1], seed=seed)
    assert backwards[::-1].tolist() == splits.tolist()


def test_one_video_that_holds_nearly_all_clips_stays_in_training():
    videos = ["a"] * 60 + ["b", "c"]
    for seed in range(10):
        splits = split_by_video(videos, np.linspace(-1, 1, 62), seed=seed)
        assert (splits[0], set(splits[60:])) == ("train", {"valid", "test"})


def test_sixty_videos_of_ch_sims_size_split_within_a_video_of_mean_size(test_data):
    with (test_data / "ch-sims" / "chsims_v1_label_recovered_notext.csv").open() as file:
        rows = list(csv.DictReader(file))
    labels = np.array([float(row["label"]) for row in rows])
    splits = split_by_video([row["video_id"] for row in rows], labels, seed=0)
    for split, size in (("train", 1368), ("valid", 456), ("test", 457)):
        assert abs(np.sum(splits == split) - size) <= 2281 / 60
        assert abs(labels[splits == split].mean() - labels.mean()) < 0.05


def test_splits_have_labels_like_the_rest():
    """Half of the videos are negative, half positive: a split of few videos still has both."""
    videos = [f"v{k // 5:02d}" for k in range(200)]
    labels = np.where(np.arange(200) // 5 < 20, -0.8, 0.8)
    for seed in range(5):
        assert abs(labels[hold_out(videos, labels, share=0.1, seed=seed)].mean()) < 0.01
        splits = split_by_video(videos, labels, seed=seed)
        assert max(abs(labels[splits == split].mean()) for split in SPLITS) < 0.01


def test_splits_have_the_classes_in_the_shares_of_all_clips():
    """Three classes, one of them in a sixth of the videos: quantiles of their numbers would not see it."""
    videos = [f"v{k // 5:02d}" for k in range(300)]
    labels = np.array([1.0 if k // 5 % 6 == 0 else 2.0 * (k // 5 % 2) for k in range(300)])
    for seed in range(5):
        splits = split_by_video(videos, labels, seed=seed, n_classes=3)
        for split in SPLITS:
            shares = np.bincount(labels[splits == split].astype(int), minlength=3) / np.sum(splits == split)
            assert np.abs(shares - np.bincount(labels.astype(int)) / 300).max() < 0.05


def test_clips_without_labels_are_split_too():
    videos = [f"v{k // 5:02d}" for k in range(100)]
    splits = split_by_video(videos, np.full(100, np.nan), seed=0)
    assert {split: int(np.sum(splits == split)) for split in SPLITS} == {"train": 60, "valid": 20, "test": 20}


@given(st.dictionaries(st.text("ab", min_size=1), st.sampled_from(["NG", "NU", None]), min_size=3), st.integers(0, 5))
@settings(deadline=None)
def test_each_class_is_divided_6_2_2(classes, seed):
    splits = split_stratified(classes, seed=seed)
    assert split_stratified(dict(reversed(classes.items())), seed=seed) == splits
    assert splits.keys() == classes.keys()
    for name in set(classes.values()):
        members = [utterance for utterance, own in classes.items() if own == name]
        counts = Counter(splits[utterance] for utterance in members)
        for part, share in (("train", 0.6), ("valid", 0.2), ("test", 0.2)):
            assert abs(counts[part] - share * len(members)) < 2
    whole = Counter(splits.values())
    for part, share in (("train", 0.6), ("valid", 0.2), ("test", 0.2)):
        assert abs(whole[part] - share * len(classes)) < 1.01


def test_another_seed_draws_another_split():
    videos = [f"v{video}" for video in range(20) for _ in range(5)]
    labels = np.tile(np.linspace(-1, 1, 5), 20)
    assert split_by_video(videos, labels, seed=0).tolist() != split_by_video(videos, labels, seed=1).tolist()
    classes = {f"{video}$_${k}": "NU" for k, video in enumerate(videos)}
    assert split_stratified(classes, seed=0) != split_stratified(classes, seed=1)


def test_videos_of_all_sizes_are_drawn_by_the_seed():
    """Videos were once taken by size, so that the seed decided among equal ones only."""
    videos = np.repeat([f"v{number:02d}" for number in range(30)], np.arange(1, 31)).tolist()
    drawn = {tuple(split_by_video(videos, np.zeros(len(videos)), seed=seed).tolist()) for seed in range(5)}
    assert len(drawn) == 5


def test_what_cannot_be_split():
    labels = np.zeros(4)
    with pytest.raises(ConfigError, match=r"2 videos cannot be divided into 3 splits by video.*stratified"):
        split_by_video(["v", "w", "w", "w"], labels, seed=0)
    with pytest.raises(ConfigError, match="nothing is left to train on"):
        split_by_video(list("abcd"), labels, seed=0, valid_share=0.5, test_share=0.5)
    with pytest.raises(ConfigError, match="2 clips cannot be divided"):
        split_stratified({"a": "NU", "b": None}, seed=0)
