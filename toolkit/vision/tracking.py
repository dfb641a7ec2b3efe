"""Faces over a whole clip: found in every frame and linked into tracks.

Each shot is worked on in stretches of a fixed number of frames, each beginning and ending with a full detection. What
is found in a stretch depends on it alone: no search for a face reaches over a cut.
"""

from __future__ import annotations

from itertools import chain, groupby, islice
from operator import attrgetter
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.vision.following import follow_faces
from fmltk.toolkit.vision.mtcnn.detector import check_frame
from fmltk.toolkit.vision.shots import Shots, numbered_frames
from fmltk.toolkit.vision.tracks import link_faces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fmltk.toolkit.media.pictures import Frame
    from fmltk.toolkit.vision.mtcnn.cascade import Detections
    from fmltk.toolkit.vision.mtcnn.detector import FaceDetector
    from fmltk.toolkit.vision.tracks import FaceTracks

STRETCH_FRAMES = 1800  # a minute at 30 Hz: its two extra full detections are few compared with its 30 others


def track_faces(
    frames: Iterable[Frame], detector: FaceDetector, *, tracking: bool = True, every: int = 1
) -> FaceTracks:
    """Find the shots and the faces of every frame, and link the faces into tracks; see `link_faces` for the rule.

    Parameters
    ----------
    frames : uint8, all of one shape (H, W, 3), RGB, or `Picture`, at 30 Hz; at most 240 MB of them are held at a time
    detector : finds the faces
    tracking : search most frames only where a face was before, at about a fifth of the cost; without it, every
        frame is searched wholly, and its boxes are those of facenet-pytorch
    every : 2 to search every second frame only, and look between; see `following.faces_between`

    Raises FeatureError without frames, where a frame is not an RGB picture, or where their shapes differ.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        raise FeatureError("no frame was given to find faces in; expected at least one RGB image")
    check_frame(first)
    height, width = first.shape[:2]
    checked = _checked(chain([first], iterator), first.shape)
    found: list[Detections] = []
    starts = []
    for _, numbered in groupby(numbered_frames(checked), key=attrgetter("shot")):
        starts.append(len(found))
        of_shot = (one.frame for one in numbered)
        while stretch := find_faces(islice(of_shot, STRETCH_FRAMES), detector, tracking=tracking, every=every):
            found += stretch
    shots = Shots(np.array(starts, np.int32), len(found))
    return link_faces(found, width=width, height=height, shots=shots)


def find_faces(
    frames: Iterable[Frame], detector: FaceDetector, *, tracking: bool = True, every: int = 1
) -> list[Detections]:
    """Return the faces of each frame of one stretch, the largest first; see `track_faces`."""
    return list(follow_faces(frames, detector, every=every)) if tracking else detector.detect(frames)


def _checked(frames: Iterable[Frame], shape: tuple[int, ...]) -> Iterator[Frame]:
    for k, frame in enumerate(frames):
        check_frame(frame)
        if frame.shape != shape:
            raise FeatureError(f"frame {k} has the shape {frame.shape}, the first {shape}; expected one size per clip")
        yield frame
