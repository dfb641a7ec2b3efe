"""The score of talking for each frame of a face, as the authors of LR-ASD take it from their network.

A face's stretch is judged in pieces of 1 s, of 2 s, and so on to 6 s, and the six scores of a frame are averaged, then
smoothed. The visual encoder, which is nearly all of the cost, sees REACH_FRAMES to each side: the end of a piece
changes only the frames so near to it. So two encodings, of the whole stretch and of its seconds, hold all pieces'.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fmltk.toolkit.vision.active_speaker.network import FACE_SIDE_PX, PIXEL_MEAN, STEPS_PER_FRAME, VIDEO_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fmltk.toolkit.vision.active_speaker.network import ActiveSpeakerNetwork, VisualEncoder

DURATIONS_S = range(1, 7)
REACH_FRAMES = 9  # three blocks with convolutions over 5 and 3 frames: 2 + 1 each
SMOOTHED_FRAMES = 5
DARK = 40.0  # mean grey level; faces in ordinary light have 80 and more
MOST_GAIN = 8.0
ENCODED_FRAMES = 200  # at a time: 80 MB for the largest layer


def talking_scores(
    network: ActiveSpeakerNetwork, faces: NDArray[np.uint8], coefficients: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return the score of talking for each frame, float32 (n,): above 0 the face talks.

    faces : uint8 (n, 112, 112), grey, 25 a second; coefficients : float32 (4 n, 13), of the same time
    """
    assert faces.shape[1:] == (FACE_SIDE_PX, FACE_SIDE_PX)  # noqa: S101 - as `cut_face` gives them
    n_frames = len(faces)
    if not n_frames:
        return np.zeros(0, np.float32)
    device = next(network.parameters()).device
    with torch.inference_mode():
        heard = torch.from_numpy(coefficients).to(device)
        pictures = torch.from_numpy(brightened(faces)).to(device)
        seen = _encoded(network.model.visualEncoder, pictures)
        seen_by_second = seen
        if n_frames > VIDEO_RATE_HZ:
            seen_by_second = _encoded_by_second(network.model.visualEncoder, pictures)
        total = torch.zeros(n_frames, device=device)
        for duration_s in DURATIONS_S:
            piece = duration_s * VIDEO_RATE_HZ
            mixed = _with_ends(seen, seen_by_second, piece)
            for first in range(0, n_frames, piece):
                last = min(first + piece, n_frames)
                total[first:last] += network.judge(
                    mixed[None, first:last], heard[None, first * STEPS_PER_FRAME : last * STEPS_PER_FRAME]
                )[0]
    return running_mean(total.cpu().numpy() / len(DURATIONS_S), SMOOTHED_FRAMES)


def brightened(faces: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return dark faces as bright as those that the network was trained on; others as they are.

    Two talking faces at an eighth of their light had scores of 0.8 and 0.0 instead of 2.8 and 3.0; so they have 2.6 and
    2.9.
    """
    mean = float(faces.mean())
    if mean >= DARK:
        return faces
    gain = min(PIXEL_MEAN * 255 / max(mean, 1.0), MOST_GAIN)
    brighter: NDArray[np.uint8] = np.minimum(faces * gain, 255).astype(np.uint8)
    return brighter


def _encoded(encoder: VisualEncoder, faces: Tensor) -> Tensor:
    """Return what the encoder sees in the whole stretch, (n, 128); a stretch at a time with what it sees around it."""
    parts = []
    for first in range(0, len(faces), ENCODED_FRAMES):
        before = max(first - REACH_FRAMES, 0)
        wide = faces[before : first + ENCODED_FRAMES + REACH_FRAMES]
        seen = encoder(wide.float()[None])[0]
        parts.append(seen[first - before :][:ENCODED_FRAMES])
    return torch.cat(parts)


def _encoded_by_second(encoder: VisualEncoder, faces: Tensor) -> Tensor:
    """Return what the encoder sees in each second by itself, (n, 128)."""
    seconds = range(0, len(faces), VIDEO_RATE_HZ)
    return torch.cat([encoder(faces[k : k + VIDEO_RATE_HZ].float()[None])[0] for k in seconds])


def _with_ends(seen: Tensor, seen_by_second: Tensor, piece: int) -> Tensor:
    """Return what the encoder sees in pieces of whole seconds: near their ends, what it sees in single seconds."""
    mixed = seen.clone()
    for cut in range(piece, len(seen), piece):
        near = slice(cut - REACH_FRAMES, cut + REACH_FRAMES)
        mixed[near] = seen_by_second[near]
    return mixed


def running_mean(values: NDArray[np.floating[Any]], n_frames: int) -> NDArray[np.float32]:
    """Return the mean over an odd number of frames around each, of those that there are at the ends.

    >>> running_mean(np.array([0, 0, 5, 0, 0, 0]), 5).tolist()
    [1.6666666269302368, 1.25, 1.0, 1.0, 1.25, 0.0]
    """
    reach = n_frames // 2
    sums = np.cumsum(np.pad(values.astype(np.float64), (1, 0)))
    frames = np.arange(len(values))
    first, last = np.maximum(frames - reach, 0), np.minimum(frames + reach + 1, len(values))
    mean: NDArray[np.float32] = ((sums[last] - sums[first]) / (last - first)).astype(np.float32)
    return mean
