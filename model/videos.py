"""Videos as what is trained on: which clips are one another's context, and in which order they are said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from fmltk.toolkit.clip import reading_order

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Videos:
    """The videos of n clips. The clips that a video has in one split know nothing of those that it has in another.

    Attributes
    ----------
    numbers : int64 (n,), which video, or part of a video in one split, each clip is of
    positions : int64 (n,), rising from clip to clip of a video
    """

    numbers: NDArray[np.int64]
    positions: NDArray[np.int64]

    @classmethod
    def of(
        cls, video_ids: Sequence[str] | NDArray[np.str_], positions: NDArray[np.int64], splits: NDArray[np.str_] | None
    ) -> Self:
        """Return the videos of n clips; without splits, all clips of a video belong together."""
        parts = splits if splits is not None else [""] * len(video_ids)
        at: dict[tuple[str, str], int] = {}
        numbers = [at.setdefault((str(v), str(s)), len(at)) for v, s in zip(video_ids, parts, strict=True)]
        return cls(np.array(numbers, np.int64), positions)

    def divide(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Return the rows of each video, in the order in which its clips are said.

        >>> videos = Videos.of(["a", "b", "a"], np.array([2, 0, 1]), None)
        >>> [video.tolist() for video in videos.divide(np.arange(3))]
        [[2, 0], [1]]
        """
        ordered = rows[np.lexsort((self.positions[rows], self.numbers[rows]))]
        return np.split(ordered, np.flatnonzero(np.diff(self.numbers[ordered])) + 1) if len(rows) else []

    def lengths(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return how many clips each video has, int64 (n_videos,); `rows` are videos one after the other."""
        starts = np.flatnonzero(np.diff(self.numbers[rows], prepend=-1))
        return np.diff(starts, append=len(rows)).astype(np.int64)


def clip_positions(
    video_ids: Sequence[str], clip_ids: Sequence[str], starts_s: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return numbers that rise from clip to clip of a video, int64 (n,), in the order in which they are said.

    Clips of one video are ordered by where they start in it; where that is not known of each of them, or the same,
    by their clip_id, whose numbers count as numbers.

    starts_s : float64 (n,), NaN where it is not known

    >>> clip_positions(["a", "a", "a"], ["10", "9", "1"], np.array([np.nan, 4.0, 2.0])).tolist()
    [2, 1, 0]
    >>> clip_positions(["a", "a"], ["1", "2"], np.array([4.0, 2.0])).tolist()
    [1, 0]
    """
    untimed = {video for video, start in zip(video_ids, starts_s, strict=True) if not np.isfinite(start)}
    keys = [
        (video, 0.0 if video in untimed else float(start), reading_order(clip), clip)
        for video, clip, start in zip(video_ids, clip_ids, starts_s, strict=True)
    ]
    positions = np.empty(len(keys), np.int64)
    positions[sorted(range(len(keys)), key=keys.__getitem__)] = np.arange(len(keys))
    return positions


def split_videos(video_ids: Sequence[str], splits: NDArray[np.str_]) -> list[str]:
    """Return the videos that have clips in more than one split, in order of their first clip.

    >>> split_videos(["a", "b", "a", "b"], np.array(["train", "train", "test", "train"]))
    ['a']
    """
    found: dict[str, set[str]] = {}
    for video, split in zip(video_ids, splits.tolist(), strict=True):
        found.setdefault(video, set()).add(split)
    return [video for video, parts in found.items() if len(parts) > 1]
