"""6:2:2, whole videos together or clips by class, drawn by a seed."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmltk.annotation.splits import split_by_video, split_stratified
from fmltk.toolkit.errors import AnnotationError


@given(st.lists(st.integers(1, 60), min_size=3, max_size=80), st.integers(0, 5))
@settings(deadline=None)
def test_a_video_is_in_one_part_and_the_parts_are_near_6_2_2(sizes, seed):
    videos = {f"{video}$_${clip}": f"v{video}" for video, size in enumerate(sizes) for clip in range(size)}
    splits = split_by_video(videos, seed=seed)
    parts = {}
    for utterance, part in splits.items():
        assert parts.setdefault(videos[utterance], part) == part
    counts = Counter(splits.values())
    for part, share in (("train", 0.6), ("valid", 0.2), ("test", 0.2)):
        assert abs(counts[part] - share * len(videos)) <= max(sizes)
        assert counts[part]
    assert split_by_video(dict(reversed(videos.items())), seed=seed) == splits


def test_three_videos_fill_three_parts_though_two_would_be_as_near():
    videos = {"a1": "a", "a2": "a", "b1": "b", "b2": "b", "c1": "c"}
    assert Counter(split_by_video(videos, seed=0).values()) == {"train": 2, "valid": 2, "test": 1}


def test_sixty_videos_of_ch_sims_size_split_within_a_clip_or_two(test_data):
    import csv

    with (test_data / "ch-sims" / "chsims_v1_label_recovered_notext.csv").open() as file:
        videos = {f"{row['video_id']}/{row['clip_id']}": row["video_id"] for row in csv.DictReader(file)}
    counts = Counter(split_by_video(videos, seed=0).values())
    assert len(videos) == 2281
    for part, size in (("train", 1368), ("valid", 456), ("test", 457)):
        assert abs(counts[part] - size) <= 3


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
    videos = {f"{video}$_${clip}": f"v{video}" for video in range(20) for clip in range(5)}
    assert split_by_video(videos, seed=0) != split_by_video(videos, seed=1)
    classes = dict.fromkeys(videos, "NU")
    assert split_stratified(classes, seed=0) != split_stratified(classes, seed=1)


def test_too_few_to_split():
    with pytest.raises(AnnotationError, match=r"2 videos cannot be split.*stratified"):
        split_by_video({"a": "v", "b": "w"}, seed=0)
    with pytest.raises(AnnotationError, match="2 clips cannot be split"):
        split_stratified({"a": "NU", "b": None}, seed=0)
