"""When somebody speaks, from how loud it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.audio.silence import SILENCE_DBFS

if TYPE_CHECKING:
    from numpy.typing import NDArray

BELOW_LOUD_DB = 25.0  # the weakest syllables are so far below the loudest
LOUD_PERCENTILE = 95
BRIDGED_S = 0.2  # pauses between words are part of the speech


def speech_activity(samples: NDArray[np.float32], *, rate_hz: int, steps_hz: int, n_steps: int) -> NDArray[np.bool_]:
    """Return in which steps somebody may be speaking, bool (n_steps,): it is loud there, or within 0.2 s.

    Music and noise count, too: this says when it is quiet, not what is heard.

    samples : float32, shape (n,), full scale 1, `rate_hz` a second; silence follows where they end

    >>> tone = np.sin(np.arange(8000, dtype=np.float32))
    >>> activity = speech_activity(np.pad(tone, (8000, 8000)), rate_hz=16_000, steps_hz=4, n_steps=6)
    >>> activity.tolist()
    [False, False, True, True, False, False]
    """
    step = rate_hz // steps_hz
    padded = np.zeros(n_steps * step, np.float32)
    heard = samples[: len(padded)]
    padded[: len(heard)] = heard
    power = (padded.reshape(n_steps, step).astype(np.float64) ** 2).mean(axis=1)
    level_db = 10 * np.log10(power + 1e-12)
    if not n_steps:
        return np.zeros(0, np.bool_)
    loud = level_db > max(float(np.percentile(level_db, LOUD_PERCENTILE)) - BELOW_LOUD_DB, SILENCE_DBFS)
    reach = round(BRIDGED_S * steps_hz)
    near = np.convolve(loud, np.ones(2 * reach + 1))[reach : reach + n_steps]
    return near > 0
