"""Training, validation and test split, 6:2:2, drawn by a seed: whole videos together, or clips by class.

Whole videos are the default, since clips of one video share speaker, room and camera: a model that has seen the
others recognises them. The official CH-SIMS split is not grouped: all of its 60 videos occur in all three parts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.clip import SPLITS
from fmltk.toolkit.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SHARES = (6, 2, 2)  # paper, section 3
N_DRAWS = 100  # of which the one is taken whose labels are spread most like all clips'
_NAMED = 5  # videos in a remark
_LEVELS = np.linspace(0, 1, 21)  # quantiles that two sets of labels are compared by


def split_by_video(
    video_ids: Sequence[str],
    labels: NDArray[np.float64],
    *,
    seed: int,
    valid_share: float = SHARES[1] / sum(SHARES),
    test_share: float = SHARES[2] / sum(SHARES),
    n_classes: int = 0,
) -> NDArray[np.str_]:
    """Return the split of each clip, shape (n_clips,), so that each video is in one split only.

    Test is held out of all clips, then validation of what is left; see `hold_out`. The order of the clips does not
    matter.

    Parameters
    ----------
    video_ids : n ids
    labels : float64 (n,), NaN where there is none
    valid_share, test_share : of all clips
    n_classes : of labels that are the numbers of classes; 0: of labels on a scale

    Raises ConfigError if there are fewer than three videos, or the shares leave nothing to train on.

    >>> labels = np.array([-1.0, 0.0, 1.0, -1.0, 0.0])
    >>> sorted(split_by_video(["a", "b", "c", "d", "e"], labels, seed=0).tolist())
    ['test', 'train', 'train', 'train', 'valid']
    """
    if valid_share + test_share >= 1:
        raise ConfigError(
            f"validation takes {valid_share:g} and test {test_share:g} of the clips: nothing is left to train on"
        )
    splits = np.full(len(video_ids), "train", dtype="<U5")
    test = hold_out(video_ids, labels, share=test_share, seed=seed, n_left=2, n_classes=n_classes)
    splits[test] = "test"
    rest = np.flatnonzero(splits == "train")
    left = [video_ids[row] for row in rest]
    share = valid_share / (1 - test_share)
    splits[rest[hold_out(left, labels[rest], share=share, seed=seed, n_classes=n_classes)]] = "valid"
    return splits


def hold_out(
    video_ids: Sequence[str],
    labels: NDArray[np.float64],
    *,
    share: float,
    seed: int,
    n_left: int = 1,
    n_classes: int = 0,
) -> NDArray[np.bool_]:
    """Return which clips are held out, bool (n_clips,): whole videos that hold about `share` of all clips.

    Videos are taken in an order drawn by `seed` until they hold the share. Among 100 draws the one is taken whose
    labels are spread most like all clips', for a few videos by chance hold mostly negative or mostly positive clips.
    Draws that miss the share by more than a video of mean size count only where every draw does; then the nearest is
    taken.

    Parameters
    ----------
    video_ids : n ids; the order of the clips does not matter
    labels : float64 (n,), NaN where there is none
    n_left : at least so many videos are not taken
    n_classes : of labels that are the numbers of classes, whose shares are compared; 0: of labels on a scale, whose
        quantiles are

    Raises ConfigError if there are not more than `n_left` videos.
    """
    names, video, sizes = np.unique(np.array(video_ids, dtype=np.str_), return_inverse=True, return_counts=True)
    if len(names) <= n_left:
        raise ConfigError(
            f"{len(names)} videos cannot be divided into {n_left + 1} splits by video: name every clip's split in the "
            "labels, or draw clips with fmltk annotation aggregate --split stratified"
        )
    labelled = np.flatnonzero(np.isfinite(labels))
    labelled = labelled[np.argsort(labels[labelled])]
    video_of_label, known = video[labelled], labels[labelled]  # from the smallest label to the largest
    wanted, tolerance = share * len(video), len(video) / len(names)
    generator = np.random.default_rng(seed)
    best: NDArray[np.bool_] = np.zeros(len(names), bool)
    best_key = (np.inf, np.inf)
    for _ in range(N_DRAWS):
        order = generator.permutation(len(names))
        filled = np.cumsum(sizes[order[: len(names) - n_left]])
        n_taken = min(int(np.searchsorted(filled, wanted)), len(filled) - 1) + 1
        taken = np.zeros(len(names), bool)
        taken[order[:n_taken]] = True
        missed = abs(float(filled[n_taken - 1]) - wanted)
        some = known[taken[video_of_label]]
        distance = _class_distance(some, known, n_classes) if n_classes else _distance(some, known)
        key = (missed if missed > tolerance else 0.0, distance)
        if key < best_key:
            best, best_key = taken, key
    return best[video]


def video_folds(video_ids: Sequence[str], n_folds: int, *, seed: int | None) -> NDArray[np.int64]:
    """Return the fold of each clip, int64 (n_clips,), 0 to n_folds - 1, so that each video is in one fold.

    Videos are taken from the one with most clips to the one with fewest, those of one size in an order drawn by `seed`
    (None: by name), and each goes to the fold that has fewest clips so far. The order of the clips does not matter.

    Raises ConfigError if there are fewer videos than folds, or fewer than two folds.

    >>> video_folds(["a", "a", "b", "c", "d"], 2, seed=0).tolist()
    [0, 0, 1, 1, 0]
    """
    names, video, sizes = np.unique(np.array(video_ids, dtype=np.str_), return_inverse=True, return_counts=True)
    if not 2 <= n_folds <= len(names):
        raise ConfigError(f"{len(names)} videos cannot be divided into {n_folds} folds: give 2 to {len(names)}")
    order = np.arange(len(names)) if seed is None else np.random.default_rng(seed).permutation(len(names))
    order = order[np.argsort(-sizes[order], kind="stable")]
    fold_of, filled = np.empty(len(names), np.int64), np.zeros(n_folds, np.int64)
    for one in order:
        fold_of[one] = np.argmin(filled)
        filled[fold_of[one]] += sizes[one]
    return fold_of[video]


def _distance(some: NDArray[np.float64], every: NDArray[np.float64]) -> float:
    """Return the mean distance of the quantiles of two sorted sets of labels; infinite where one is empty."""
    if not some.size or not every.size:
        return math.inf
    return float(np.abs(_quantiles(some) - _quantiles(every)).mean())


def _class_distance(some: NDArray[np.float64], every: NDArray[np.float64], n_classes: int) -> float:
    """Return the mean distance of the shares of the classes; infinite where one side is empty."""
    if not some.size or not every.size:
        return math.inf
    shares = [np.bincount(part.astype(np.int64), minlength=n_classes) / len(part) for part in (some, every)]
    return float(np.abs(shares[0] - shares[1]).mean())


def _quantiles(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the quantiles that `np.quantile` gives at every twentieth, of numbers that are sorted already."""
    places = _LEVELS * (len(ordered) - 1)
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, len(ordered) - 1)
    quantiles: NDArray[np.float64] = ordered[below] + (ordered[above] - ordered[below]) * (places - below)
    return quantiles


def split_stratified(classes: Mapping[str, str | None], *, seed: int) -> dict[str, str]:
    """Return the split of each clip so that each class, and the clips without one, is divided 6:2:2.

    Parameters
    ----------
    classes : utterance_id -> class; its order does not matter

    Raises ConfigError if there are fewer than three clips.
    """
    if len(classes) < len(SPLITS):
        raise ConfigError(f"{len(classes)} clips cannot be divided into {len(SPLITS)} splits")
    generator = np.random.default_rng(seed)
    result = {}
    carried: NDArray[np.float64] = np.zeros(len(SPLITS))  # what rounding owes each split so far
    for name in sorted({word or "" for word in classes.values()}):
        members = sorted(utterance for utterance, word in classes.items() if (word or "") == name)
        members = [members[i] for i in generator.permutation(len(members))]
        sizes, carried = _apportion(len(members), carried)
        for split, size in zip(SPLITS, sizes, strict=True):
            result.update(dict.fromkeys(members[:size], split))
            members = members[size:]
    return result


def _apportion(n: int, carried: NDArray[np.float64]) -> tuple[list[int], NDArray[np.float64]]:
    """Divide n by the shares in whole numbers, what rounding took from a split in earlier classes coming first."""
    wanted = np.array(SHARES) * n / sum(SHARES) + carried
    sizes = [max(math.floor(value + 1e-9), 0) for value in wanted]
    while sum(sizes) > n:
        sizes[int(np.argmax(np.array(sizes) - wanted))] -= 1
    while sum(sizes) < n:
        sizes[int(np.argmax(wanted - np.array(sizes)))] += 1
    return sizes, wanted - np.array(sizes)


def shared_videos_remarks(videos: Sequence[str], splits: Sequence[str]) -> tuple[str, ...]:
    """Return what is to be said where a video is in more than one split; "": in none.

    >>> len(shared_videos_remarks(["film", "film", "talk"], ["train", "test", "test"]))
    1
    """
    of_video: dict[str, set[str]] = {}
    for video, split in zip(videos, splits, strict=True):
        if split and video:
            of_video.setdefault(video, set()).add(split)
    shared = sorted(video for video, found in of_video.items() if len(found) > 1)
    if not shared:
        return ()
    one = len(shared) == 1
    named = ", ".join(shared[:_NAMED]) + (", ..." if len(shared) > _NAMED else "")
    return (
        f"{len(shared)} of {len(of_video)} videos {'is' if one else 'are'} in more than one split: "
        f"{'its' if one else 'their'} speakers and rooms are known from training, which flatters scores ({named})",
    )


def lone_clips_remarks(videos: Sequence[str]) -> tuple[str, ...]:
    """Return what is to be said where splits go by video and each clip is a video of its own.

    >>> lone_clips_remarks(["film", "film", "talk"])
    ()
    """
    if len(set(videos)) < len(videos):
        return ()
    return (
        "each clip is a video of its own: clips that are cut from one film, or show one person, may stand in several "
        "splits; give them one video_id, in folders <video_id>/<clip_id>.mp4 or in the table",
    )
