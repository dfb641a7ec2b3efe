"""The cascade: PNet's proposals over a pyramid, refined by RNet, decided by ONet.

The same three stages serve a whole frame and a window of it: they see one integral image and a list of windows of
pyramid levels. One picture at a time, so that a result depends on that picture alone.

Source of every rule and number: facenet-pytorch 2.5.3, detect_face, whose boxes this reproduces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from fmltk.toolkit.vision.mtcnn.pyramid import FIELD, STRIDE, CellWindow, IntegralImage
from fmltk.toolkit.vision.mtcnn.suppression import BLOCK, suppress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.vision.mtcnn.networks import Networks

PNET_MIN, RNET_MIN, ONET_MIN = 0.6, 0.7, 0.7  # probabilities below which a stage drops a candidate
LEVEL_OVERLAP, STAGE_OVERLAP = 0.5, 0.7  # suppression within a level; between levels, after RNet and after ONet
APART_PX = 2**19  # larger than any frame
CROP_BATCH = 32  # crops per pass of RNet or ONet: more than that leaves the processor's cache
BAND_CELLS = 60_000  # of a level that go through PNet at once
CANVAS_CELLS = 200 * 200  # windows that are smaller in sum go through PNet as one picture


@dataclass(frozen=True)
class Detections:
    """Faces of one frame, the largest first.

    boxes : float32, shape (n, 4): x1 y1 x2 y2 in pixels; a box may leave the frame
    probabilities : float32, shape (n,), in 0.7..1
    landmarks : float32, shape (n, 5, 2): x y in pixels of the eyes (the left one in the picture first), the nose and
        the corners of the mouth
    """

    boxes: NDArray[np.float32]
    probabilities: NDArray[np.float32]
    landmarks: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.boxes)

    def take(self, index: NDArray[np.intp] | NDArray[np.bool_]) -> Detections:
        """Return the detections at `index`."""
        return Detections(self.boxes[index], self.probabilities[index], self.landmarks[index])


NO_FACES = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros((0, 5, 2), np.float32))


def search(networks: Networks, image: IntegralImage, windows: Sequence[CellWindow]) -> Detections:
    """Return the faces that PNet proposes within `windows`, refined and decided.

    Candidates whose crop leaves the piece of the frame that `image` holds are dropped.
    """
    with torch.inference_mode():
        boxes = _propose(networks, image, windows)
        boxes = _refine(networks, image, boxes)
        return _decide(networks, image, boxes)


def judge(networks: Networks, image: IntegralImage, boxes: NDArray[np.float32]) -> Detections:
    """Return ONet's judgement of square boxes, float32 (n, 4), in their order, however improbable.

    Boxes whose crop leaves the piece of the frame that `image` holds are dropped.
    """
    with torch.inference_mode():
        return _onet(networks, image, boxes)


def best_faces(faces: Detections) -> Detections:
    """Return the faces without doubles (overlap over the smaller box above 0.7), the largest first."""
    kept = faces.take(suppress(faces.boxes, faces.probabilities, STAGE_OVERLAP, over="smaller", edge=1.0))
    areas = (kept.boxes[:, 2] - kept.boxes[:, 0]) * (kept.boxes[:, 3] - kept.boxes[:, 1])
    return kept.take(np.argsort(areas, kind="stable")[::-1])


def _propose(networks: Networks, image: IntegralImage, windows: Sequence[CellWindow]) -> NDArray[np.float32]:
    """PNet: square candidate boxes, shape (n, 4)."""
    found = [_candidates(*fields) for fields in _fields(networks, image, windows)]
    if not found:
        return NO_FACES.boxes
    kept = _suppress_within_levels([(boxes, scores) for boxes, scores, _ in found])
    boxes, scores, shifts = (np.concatenate(parts)[kept] for parts in zip(*found, strict=True))
    kept = suppress(boxes, scores, STAGE_OVERLAP)
    boxes, shifts = boxes[kept], shifts[kept]
    return squared(boxes + shifts * (boxes[:, [2, 3, 2, 3]] - boxes[:, [0, 1, 0, 1]]))


def _suppress_within_levels(levels: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]) -> NDArray[np.intp]:
    """Which of the candidates (boxes and scores by level, all in a row) stay, in any order between levels."""
    starts = np.cumsum([0, *(len(scores) for _, scores in levels)])
    if starts[-1] > BLOCK:
        kept = [suppress(boxes, scores, LEVEL_OVERLAP) for boxes, scores in levels]
        return np.concatenate([start + index for start, index in zip(starts, kept, strict=False)])
    # A few in all: side by side, so far apart that levels cannot meet, they need one comparison. Still exact: whole
    # numbers below 2**24.
    apart = [boxes + np.float32(APART_PX * i) for i, (boxes, _) in enumerate(levels)]
    return suppress(np.concatenate(apart), np.concatenate([scores for _, scores in levels]), LEVEL_OVERLAP)


def _fields(
    networks: Networks, image: IntegralImage, windows: Sequence[CellWindow]
) -> Iterator[tuple[CellWindow, NDArray[np.float32], NDArray[np.float32]]]:
    """Yield each window with PNet's probabilities (h, w) and regressions (h, w, 4) in it."""
    if not windows:
        return
    sides = [(window.bottom - window.top, window.right - window.left) for window in windows]
    # An odd side makes PNet's pooling round up, as at the border of a whole level: such a window goes alone.
    alone = any(height % 2 or width % 2 for height, width in sides)
    if alone or sum(height * width for height, width in sides) > CANVAS_CELLS:
        for window in windows:
            yield window, *_run_pnet_in_bands(networks, image, window)
        return
    corners, shape = _pack(sides)
    canvas = np.zeros((*shape, 3), np.float32)
    for window, (y, x), (height, width) in zip(windows, corners, sides, strict=True):
        canvas[y : y + height, x : x + width] = image.cells(window)
    probabilities, shifts = _run_pnet(networks, canvas)
    for window, (y, x), (height, width) in zip(windows, corners, sides, strict=True):
        rows = slice(y // STRIDE, (y + height - FIELD) // STRIDE + 1)
        columns = slice(x // STRIDE, (x + width - FIELD) // STRIDE + 1)
        yield window, probabilities[rows, columns], shifts[rows, columns]


def _pack(sides: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], tuple[int, int]]:
    """Places (top, left) of rectangles (height, width) on shelves, the tallest first, and the size of it all."""
    limit = sum(sorted((width for _, width in sides), reverse=True)[:2])
    corners = [(0, 0)] * len(sides)
    shelf = x = bottom = 0
    for i in sorted(range(len(sides)), key=lambda i: (-sides[i][0], i)):
        height, width = sides[i]
        if x + width > limit:
            shelf, x = bottom, 0
        corners[i] = (shelf, x)
        x += width
        bottom = max(bottom, shelf + height)
    return corners, (bottom, limit)


def _run_pnet_in_bands(
    networks: Networks, image: IntegralImage, window: CellWindow
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """PNet on one window, a band of rows at a time: what lies between its layers stays in the processor's cache."""
    step = max(BAND_CELLS // (window.right - window.left), FIELD) // STRIDE * STRIDE
    tops = range(window.top, max(window.bottom - FIELD + 1, window.top + 1), step)
    parts = []
    for top in tops:
        bottom = window.bottom if top == tops[-1] else top + step + FIELD - STRIDE
        parts.append(_run_pnet(networks, image.cells(replace(window, top=top, bottom=bottom))))
    probabilities, shifts = zip(*parts, strict=True)
    return np.concatenate(probabilities), np.concatenate(shifts)


def _run_pnet(networks: Networks, cells: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    probabilities, shifts = networks.pnet(_network_input(networks, cells[None]))
    return probabilities[0].cpu().numpy(), shifts[0].permute(1, 2, 0).cpu().numpy()


def _network_input(networks: Networks, pictures: NDArray[np.float32]) -> torch.Tensor:
    """Pictures (n, h, w, 3), 0..255, as the networks take them: (n, 3, h, w), about -1..1, channels last in memory."""
    pictures = (pictures - np.float32(127.5)) * np.float32(0.0078125)
    return torch.from_numpy(pictures).to(networks.device).permute(0, 3, 1, 2)


def _candidates(
    window: CellWindow, probabilities: NDArray[np.float32], shifts: NDArray[np.float32]
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Boxes (n, 4), probabilities (n,) and regressions (n, 4) of a level's fields that look like a face."""
    rows, columns = np.nonzero(probabilities >= PNET_MIN)
    scores, shifts = probabilities[rows, columns], shifts[rows, columns]
    corners = np.stack([columns * STRIDE + window.left, rows * STRIDE + window.top], axis=1).astype(np.float32)
    scale = np.float32(window.level.scale)
    boxes = np.concatenate([np.floor((corners + 1) / scale), np.floor((corners + FIELD) / scale)], axis=1)
    return boxes, scores, shifts


def _refine(networks: Networks, image: IntegralImage, boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """RNet: the candidates that remain, moved and square, shape (n, 4)."""
    boxes, (scores, shifts) = _judge(networks, networks.rnet, image, boxes, 24)
    passed = scores > RNET_MIN
    boxes, scores, shifts = boxes[passed], scores[passed], shifts[passed]
    kept = suppress(boxes, scores, STAGE_OVERLAP)
    return squared(_moved(boxes[kept], shifts[kept]))


def _decide(networks: Networks, image: IntegralImage, boxes: NDArray[np.float32]) -> Detections:
    """ONet: the faces, with landmarks."""
    judged = _onet(networks, image, boxes)
    return best_faces(judged.take(judged.probabilities > ONET_MIN))


def _onet(networks: Networks, image: IntegralImage, boxes: NDArray[np.float32]) -> Detections:
    boxes, (scores, shifts, points) = _judge(networks, networks.onet, image, boxes, 48)
    x = (boxes[:, 2] - boxes[:, 0] + 1)[:, None] * points[:, :5] + boxes[:, 0, None] - 1  # (n, 5)
    y = (boxes[:, 3] - boxes[:, 1] + 1)[:, None] * points[:, 5:] + boxes[:, 1, None] - 1  # (n, 5)
    return Detections(_moved(boxes, shifts), scores, np.stack([x, y], axis=2))


def _judge(
    networks: Networks,
    network: Callable[[torch.Tensor], tuple[torch.Tensor, ...]],
    image: IntegralImage,
    boxes: NDArray[np.float32],
    size: int,
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """Return the boxes whose crop the image holds, and the network's outputs for them."""
    corners = np.trunc(boxes).astype(np.int64)
    # The first row of a crop is y1 - 1 and the last y2 - 1, as in facenet-pytorch.
    rectangles = np.stack(
        [
            np.maximum(corners[:, 0], 1) - 1,
            np.maximum(corners[:, 1], 1) - 1,
            np.minimum(corners[:, 2], image.width),
            np.minimum(corners[:, 3], image.height),
        ],
        axis=1,
    )
    x1, y1, x2, y2 = rectangles.T
    held = (x1 >= image.left) & (y1 >= image.top) & (x2 <= image.right) & (y2 <= image.bottom) & (x2 > x1) & (y2 > y1)
    boxes, rectangles = boxes[held], rectangles[held]
    batches = [
        network(_network_input(networks, image.crops(rectangles[i : i + CROP_BATCH], size)))
        for i in range(0, max(len(rectangles), 1), CROP_BATCH)
    ]
    return boxes, [torch.cat(parts).cpu().numpy() for parts in zip(*batches, strict=True)]


def squared(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each box as a square about its centre, with its longer side."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    side = np.maximum(width, height)
    x1 = boxes[:, 0] + width * np.float32(0.5) - side * np.float32(0.5)
    y1 = boxes[:, 1] + height * np.float32(0.5) - side * np.float32(0.5)
    return np.stack([x1, y1, x1 + side, y1 + side], axis=1)


def _moved(boxes: NDArray[np.float32], shifts: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each box with its corners moved by `shifts` times its sides."""
    sides = boxes[:, [2, 3, 2, 3]] - boxes[:, [0, 1, 0, 1]] + 1
    return boxes + shifts * sides
