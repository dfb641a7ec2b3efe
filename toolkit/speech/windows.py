"""A window's tokens as segments: which words stand between which time stamps, and where the next window begins.

Source: Whisper's paper, section 3.8: a window that ends within a segment is heard again from where that segment began.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

STAMP_S = 0.02  # from one time stamp of the vocabulary to the next
LEAST_ADVANCE_S = 1.0  # a model that stamps the same time again and again would never reach the end


@dataclass(frozen=True, slots=True)
class Segment:
    """Tokens `first` up to `last` of a window, spoken from `start_s` to `end_s` after the window's beginning."""

    first: int
    last: int
    start_s: float
    end_s: float


def split_tokens(tokens: Sequence[int], *, first_stamp: int, window_s: float) -> tuple[list[Segment], float]:
    """Return a window's segments, and after how many seconds the next window begins.

    tokens : what was generated, without what began and ended it; two time stamps in a row end a segment and begin one
    first_stamp : the token that stands for 0 s; those above it are the later ones
    window_s : how much of the window is sound

    >>> split_tokens([100, 5, 6, 120, 120, 7], first_stamp=100, window_s=30.0)
    ([Segment(first=1, last=3, start_s=0.0, end_s=0.4)], 1.0)
    """
    is_stamp = [token >= first_stamp for token in tokens]
    pairs = [at for at in range(1, len(tokens)) if is_stamp[at - 1] and is_stamp[at]]
    closed = bool(tokens) and is_stamp[-1] and not (len(tokens) > 1 and is_stamp[-2])

    def seconds(at: int) -> float:
        return min((tokens[at] - first_stamp) * STAMP_S, window_s)

    if not pairs:
        first = 1 if tokens and is_stamp[0] else 0
        last = len(tokens) - closed
        start_s = seconds(0) if first else 0.0
        end_s = max(seconds(-1), start_s) if closed and last > first else window_s
        return ([Segment(first, last, start_s, end_s)] if last > first else []), window_s
    segments, begun = [], 0
    for end in [*pairs, *([len(tokens)] if closed else [])]:
        first, last = begun + is_stamp[begun], end - 1
        start_s = seconds(begun) if is_stamp[begun] else 0.0
        if last > first:
            segments.append(Segment(first, last, start_s, max(seconds(last), start_s)))
        begun = end
    if closed:
        return segments, window_s
    return segments, min(max(seconds(pairs[-1] - 1), LEAST_ADVANCE_S), window_s)
