"""Faces in pictures: MTCNN's boxes, probabilities and five landmarks.

The numbers are those of ``facenet_pytorch.MTCNN(keep_all=True).detect`` on the same frames: boxes and landmarks to
0.01 px, in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.media.pictures import Picture
from fmltk.toolkit.settings import DEFAULT_MIN_FACE_PX, MIN_FACE_PX, TORCH
from fmltk.toolkit.vision.mtcnn.cascade import judge, search
from fmltk.toolkit.vision.mtcnn.networks import load_networks
from fmltk.toolkit.vision.mtcnn.pyramid import CellWindow, IntegralImage, Level, pyramid_levels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from fmltk.toolkit.media.pictures import Frame
    from fmltk.toolkit.vision.mtcnn.cascade import Detections

PROBE_STEP = 32  # every 32nd row is compared first: two different pictures are distinguished after 3 % of them


class FaceDetector:
    """MTCNN's cascade with facenet-pytorch's weights.

    Parameters
    ----------
    device : where the networks run, e.g. "cpu" or "cuda"
    min_face_px : the smallest face searched for, in pixels, at least 12
    networks : who runs the networks, "torch", or "openvino" on the processor: in 0.9 of the time, to 0.001 px

    Raises FeatureError where the weights are missing, the device or OpenVINO is not usable, or `min_face_px` is below
    12.
    """

    def __init__(self, *, device: str = "cpu", min_face_px: int = DEFAULT_MIN_FACE_PX, networks: str = TORCH) -> None:
        if min_face_px < MIN_FACE_PX:
            raise FeatureError(f"a smallest face of {min_face_px} px is not possible: PNet judges fields of 12x12 px")
        self.min_face_px = min_face_px
        self._networks = load_networks(device, runtime=networks)

    def detect(self, frames: Iterable[Frame]) -> list[Detections]:
        """Return the faces of each frame, the largest first.

        frames : uint8, each of shape (H, W, 3), RGB. A frame equal to the one before it is not computed again.

        Raises FeatureError where a frame is not such an array.
        """
        found: list[Detections] = []
        previous = None
        for frame in frames:
            if previous is not None and same_picture(previous, frame):
                found.append(found[-1])
            else:
                found.append(self.detect_frame(frame))
            previous = frame
        return found

    def detect_frame(self, frame: Frame) -> Detections:
        """Return the faces of one frame, the largest first. See `detect`."""
        check_frame(frame)
        levels = self.levels(frame)
        return self.search(
            IntegralImage(frame), [CellWindow(level, 0, level.rows, 0, level.columns) for level in levels]
        )

    def search(self, image: IntegralImage, windows: Sequence[CellWindow]) -> Detections:
        """Return the faces proposed within windows of a frame's pyramid; see `cascade.search`."""
        return search(self._networks, image, windows)

    def judge(self, image: IntegralImage, boxes: NDArray[np.float32]) -> Detections:
        """Return what the last network says of square boxes; see `cascade.judge`."""
        return judge(self._networks, image, boxes)

    def levels(self, frame: Frame) -> list[Level]:
        """Return the levels of the frame's pyramid."""
        return pyramid_levels(*frame.shape[:2], min_face_px=self.min_face_px)


def check_frame(frame: Frame) -> None:
    """Raise FeatureError unless `frame` is uint8 of shape (H, W, 3) with H and W above 0."""
    if isinstance(frame, Picture):
        return
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3:
        got = f"{frame.dtype} of shape {frame.shape}" if isinstance(frame, np.ndarray) else type(frame).__name__
        raise FeatureError(f"a frame is {got}; expected an RGB image, uint8 of shape (height, width, 3)")
    if 0 in frame.shape:
        raise FeatureError(f"a frame of shape {frame.shape} has no pixels")


def same_picture(first: Frame, second: Frame) -> bool:
    """Return whether two frames are equal byte by byte."""
    if first is second:
        return True
    if first.shape != second.shape or isinstance(first, Picture) != isinstance(second, Picture):
        return False
    a, b = (one.rows if isinstance(one, Picture) else one for one in (first, second))
    return np.array_equal(a[::PROBE_STEP], b[::PROBE_STEP]) and np.array_equal(a, b)
