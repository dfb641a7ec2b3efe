"""Training, validation and test split, 6:2:2, drawn by a seed: whole videos together, or clips by class.

Whole videos are the default, since clips of one video share speaker, room and camera: a model that has seen the
others recognises them. The official CH-SIMS split is not grouped: all of its 60 videos occur in all three parts.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import AnnotationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

SPLITS = ("train", "valid", "test")
SHARES = (6, 2, 2)  # paper, section 3


def split_by_video(videos: Mapping[str, str], *, seed: int) -> dict[str, str]:
    """Return the split of each clip so that each video is in one part only, the parts' sizes as near 6:2:2 as can be.

    Videos are taken in an order drawn by `seed`; each goes to the part that is furthest below its share of clips. No
    part is left empty: the last videos go to parts without any.

    Parameters
    ----------
    videos : utterance_id -> video_id; its order does not matter

    Raises AnnotationError if there are fewer than three videos.
    """
    sizes: dict[str, int] = {}
    for video in videos.values():
        sizes[video] = sizes.get(video, 0) + 1
    if len(sizes) < len(SPLITS):
        raise AnnotationError(
            f"{len(sizes)} videos cannot be split into {len(SPLITS)} parts by video: draw clips with --split stratified"
        )
    names = sorted(sizes)
    shuffled = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    # Larger videos first: the small ones then even the parts out. The sort is stable, so the seed decides among equals.
    shuffled.sort(key=lambda name: -sizes[name])
    filled = [0, 0, 0]
    part_of = {}
    for left, video in zip(range(len(shuffled), 0, -1), shuffled, strict=True):
        lacking = [share * len(videos) - sum(SHARES) * n for share, n in zip(SHARES, filled, strict=True)]
        empty = [part for part, n in enumerate(filled) if n == 0]
        part = max(empty if len(empty) == left else range(len(SPLITS)), key=lacking.__getitem__)
        part_of[video] = SPLITS[part]
        filled[part] += sizes[video]
    return {utterance: part_of[video] for utterance, video in videos.items()}


def split_stratified(classes: Mapping[str, str | None], *, seed: int) -> dict[str, str]:
    """Return the split of each clip so that each class, and the clips without one, is divided 6:2:2.

    Parameters
    ----------
    classes : utterance_id -> class; its order does not matter

    Raises AnnotationError if there are fewer than three clips.
    """
    if len(classes) < len(SPLITS):
        raise AnnotationError(f"{len(classes)} clips cannot be split into {len(SPLITS)} parts")
    generator = np.random.default_rng(seed)
    result = {}
    carried: NDArray[np.float64] = np.zeros(len(SPLITS))  # what rounding owes each part so far
    for name in sorted({word or "" for word in classes.values()}):
        members = sorted(utterance for utterance, word in classes.items() if (word or "") == name)
        members = [members[i] for i in generator.permutation(len(members))]
        sizes, carried = _apportion(len(members), carried)
        for part, size in zip(SPLITS, sizes, strict=True):
            result.update(dict.fromkeys(members[:size], part))
            members = members[size:]
    return result


def _apportion(n: int, carried: NDArray[np.float64]) -> tuple[list[int], NDArray[np.float64]]:
    """Divide n by the shares in whole numbers, what rounding took from a part in earlier classes coming first."""
    wanted = np.array(SHARES) * n / sum(SHARES) + carried
    sizes = [max(math.floor(value + 1e-9), 0) for value in wanted]
    while sum(sizes) > n:
        sizes[int(np.argmax(np.array(sizes) - wanted))] -= 1
    while sum(sizes) < n:
        sizes[int(np.argmax(wanted - np.array(sizes)))] += 1
    return sizes, wanted - np.array(sizes)
