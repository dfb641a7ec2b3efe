"""Non-maximum suppression: of boxes that overlap, the best-scored one stays.

Vectorised: a block of candidates is compared at once with all boxes kept so far and with itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 256  # candidates compared at once: a matrix of 256 x 256 floats stays in the processor's cache
LATER = np.triu(np.ones((BLOCK, BLOCK), np.bool_), k=1)  # [i, j]: j comes after i


def overlap_matrix(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    *,
    over: Literal["union", "smaller"] = "union",
    edge: float = 0.0,
) -> NDArray[np.float32]:
    """Return intersection over union (or over the smaller box) of every pair, float32, shape (n, m).

    first, second : float32, shapes (n, 4) and (m, 4): x1 y1 x2 y2 in pixels
    edge : added to widths and heights: 1 where x2 is the last pixel inside the box

    >>> a = np.array([[0, 0, 2, 2]], np.float32)
    >>> overlap_matrix(a, np.array([[1, 0, 3, 2], [0, 0, 1, 1]], np.float32)).round(3).tolist()
    [[0.3330000042915344, 0.25]]
    """
    width = np.minimum(first[:, None, 2], second[None, :, 2]) - np.maximum(first[:, None, 0], second[None, :, 0])
    height = np.minimum(first[:, None, 3], second[None, :, 3]) - np.maximum(first[:, None, 1], second[None, :, 1])
    shared = np.maximum(width + np.float32(edge), 0) * np.maximum(height + np.float32(edge), 0)  # (n, m)
    area_1 = ((first[:, 2] - first[:, 0] + np.float32(edge)) * (first[:, 3] - first[:, 1] + np.float32(edge)))[:, None]
    area_2 = ((second[:, 2] - second[:, 0] + np.float32(edge)) * (second[:, 3] - second[:, 1] + np.float32(edge)))[None]
    whole = area_1 + area_2 - shared if over == "union" else np.minimum(area_1, area_2)
    np.divide(shared, whole, out=shared, where=whole > 0)
    result: NDArray[np.float32] = shared
    return result


def suppress(
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    threshold: float,
    *,
    over: Literal["union", "smaller"] = "union",
    edge: float = 0.0,
) -> NDArray[np.intp]:
    """Return the indices of the boxes that stay, best score first (ties: lower index first).

    boxes : float32, shape (n, 4); scores : float32, shape (n,)
    A box goes where its overlap with a better one that stays is above `threshold`.

    >>> boxes = np.array([[0, 0, 9, 9], [1, 0, 10, 9], [20, 0, 29, 9]], np.float32)
    >>> suppress(boxes, np.array([0.8, 0.9, 0.7], np.float32), 0.5).tolist()
    [1, 2]
    """
    ranked = np.argsort(-scores, kind="stable")
    if len(ranked) <= BLOCK:
        return ranked[_survivors(boxes[ranked], threshold, over, edge)]
    kept = ranked[:0]
    for start in range(0, len(ranked), BLOCK):
        block = ranked[start : start + BLOCK]
        if len(kept):
            beaten = overlap_matrix(boxes[block], boxes[kept], over=over, edge=edge) > threshold
            block = block[~beaten.any(axis=1)]
        kept = np.concatenate([kept, block[_survivors(boxes[block], threshold, over, edge)]])
    return kept


def _survivors(
    boxes: NDArray[np.float32], threshold: float, over: Literal["union", "smaller"], edge: float
) -> NDArray[np.bool_]:
    """Which of boxes sorted by score stay: repeat "stays unless a better one that stays covers it" until stable.

    The k-th box is right after k rounds at the latest, so this ends with the greedy result; a few rounds are usual.
    """
    covers = overlap_matrix(boxes, boxes, over=over, edge=edge) > threshold
    covers &= LATER[: len(boxes), : len(boxes)]  # [i, j]: i beats j
    stays = np.ones(len(boxes), dtype=bool)
    while True:
        renewed = ~covers[stays].any(axis=0)
        if np.array_equal(renewed, stays):
            return stays
        stays = renewed
