"""How much a mouth moves by itself: the built-in way to see who talks, without LR-ASD's weights.

From one face to the next, everything but the mouth is fitted by a shift, a turn, a zoom and a change of light. What
that leaves of the mouth's change, less half of what it leaves elsewhere, is the mouth's own motion; its unit is the
face's contrast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.vision.active_speaker.network import FACE_SIDE_PX, VIDEO_RATE_HZ
from fmltk.toolkit.vision.active_speaker.scoring import running_mean

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIDE_PX = FACE_SIDE_PX // 2  # faces are halved: a codec changes single pixels, and that is not motion
BLUR_PX = 1.0
MOUTH_ROWS, MOUTH_COLUMNS = slice(24, 46), slice(14, 42)  # of the halved face
RIDGE = 1e-6  # a picture without any edge has one solution, too
LEAST_CONTRAST = 3.0  # grey levels: a face in the dark still counts
SMOOTHED_FRAMES = VIDEO_RATE_HZ  # a second: lips rest between syllables
ELSEWHERE_SHARE = 0.5  # of what the fit leaves elsewhere: a face turns and its shadows move, too
FAST = 0.3  # the fit leaves so much elsewhere where the head moves too fast to see what the mouth does
# On composed clips (docs/features.md) mouths that talk move by 0.040 and more on average, others by 0.011 at most.
TALKING_MOTION = 0.02


def mouth_motion(faces: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how much the mouth moves, averaged over a second, float32 (n,), 0 and more; a still face has 0.

    faces : uint8 (n, 112, 112), grey, as `cut_face` gives them, 25 a second
    """
    halved = _halved(faces)
    moved = np.zeros(len(faces))
    for k in range(1, len(faces)):
        moved[k] = _own_motion(halved[k - 1], halved[k])
    if len(moved) > 1:
        moved[0] = moved[1]
    return running_mean(moved, SMOOTHED_FRAMES)


def _halved(faces: NDArray[np.uint8]) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter

    halved = faces.reshape(len(faces), SIDE_PX, 2, SIDE_PX, 2).mean(axis=(2, 4))
    blurred: NDArray[np.float64] = gaussian_filter(halved, (0, BLUR_PX, BLUR_PX))
    return blurred


def _own_motion(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Return how much more the mouth changes than the head's motion explains: in units of the face's contrast."""
    change = after - before
    if not change.any():
        return 0.0
    mean = (before + after) / 2
    down, aside = np.gradient(mean)
    motions = np.stack(
        [aside, down, aside * _X + down * _Y, down * _X - aside * _Y, np.ones_like(mean), mean], axis=-1
    )  # (side, side, 6): shift in x and y, zoom, turn, light, contrast
    known = motions[_REST]  # (m, 6)
    fitted = np.linalg.solve(known.T @ known + RIDGE * np.eye(known.shape[1]), known.T @ change[_REST])
    unexplained = (change - motions @ fitted) / (before.std() + LEAST_CONTRAST)
    mouth, elsewhere = (
        float(np.sqrt((part**2).mean())) for part in (unexplained[MOUTH_ROWS, MOUTH_COLUMNS], unexplained[_REST])
    )
    return 0.0 if elsewhere > FAST else max(mouth - ELSEWHERE_SHARE * elsewhere, 0.0)


_Y, _X = (np.indices((SIDE_PX, SIDE_PX)) - (SIDE_PX - 1) / 2) / (SIDE_PX / 2)  # -1 to 1
_REST = np.ones((SIDE_PX, SIDE_PX), np.bool_)
_REST[MOUTH_ROWS, MOUTH_COLUMNS] = False
