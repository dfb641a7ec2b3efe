"""The most probable path of a text through the emissions of a CTC model.

Source: Graves et al. (2006), Connectionist temporal classification: between tokens, before and after them a blank may
stand; a token lasts one frame or more, and two equal tokens in a row have a blank between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import FeatureError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def token_frames(log_probs: NDArray[np.float32], tokens: Sequence[int], *, blank: int) -> list[tuple[int, int]]:
    """Return the first frame of each token and the one after its last, on the most probable path.

    log_probs : float32 (n_frames, n_tokens_of_the_model), logarithms of probabilities; tokens : at least one

    From two paths that are as probable, the one that stays longer where it is counts.

    Raises FeatureError if there are too few frames for the tokens.

    >>> likely = np.log(np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.1, 0.1, 0.8]], np.float32))
    >>> token_frames(likely, [1, 2], blank=0)
    [(1, 2), (2, 4)]
    """
    n_frames, n_states = len(log_probs), 2 * len(tokens) + 1
    labels = np.full(n_states, blank)
    labels[1::2] = tokens
    may_skip = np.zeros(n_states, bool)  # from the token before, over the blank between
    may_skip[3::2] = labels[3::2] != labels[1:-2:2]
    n_needed = len(tokens) + int((~may_skip[3::2]).sum())
    if n_frames < n_needed:
        raise FeatureError(f"the clip has {n_frames} frames of audio, too few for {n_needed} letters of its transcript")
    scores = np.full(n_states, -np.inf)
    scores[:2] = log_probs[0, labels[:2]]
    moves = np.zeros((n_frames, n_states), np.uint8)  # by how many states the best path to here moved on
    for frame in range(1, n_frames):
        before = np.full((3, n_states), -np.inf)
        before[0] = scores
        before[1, 1:] = scores[:-1]
        before[2, 2:] = np.where(may_skip[2:], scores[:-2], -np.inf)
        moves[frame] = before.argmax(axis=0)
        scores = before.max(axis=0) + log_probs[frame, labels]
    state = n_states - 1 if scores[-1] >= scores[-2] else n_states - 2
    frames = [(0, 0)] * len(tokens)
    for frame in range(n_frames - 1, -1, -1):
        if state % 2:
            last = frames[state // 2][1] or frame + 1
            frames[state // 2] = (frame, last)
        state -= int(moves[frame, state])
    return frames
