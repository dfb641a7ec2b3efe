"""How much of a sound is silent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.settings import HOP_SAMPLES

if TYPE_CHECKING:
    from numpy.typing import NDArray

# In dB of full scale, RMS over a hop (23 ms). In seven public clips of speech the louder half lies above -46, pauses
# without music at -48 to -76; a room in which nobody speaks lies at -62.
SILENCE_DBFS = -50.0
_BLOCK_HOPS = 4096  # read at a time, so that a memory map stays on disk


def silence_share(samples: NDArray[np.float32]) -> float:
    """Return the share of a sound, 0 to 1, whose level is under SILENCE_DBFS.

    samples : float32, shape (n,), mono at 22,050 Hz, full scale 1, n > 0; the level is the RMS of 512 samples at a
        time, of fewer at the end

    >>> silence_share(np.concatenate([np.zeros(1024), np.ones(512)]).astype(np.float32))
    0.6666666666666666
    """
    limit = 10 ** (SILENCE_DBFS / 10)  # of the power
    n_silent = 0
    for start in range(0, len(samples), HOP_SAMPLES * _BLOCK_HOPS):
        block = np.asarray(samples[start : start + HOP_SAMPLES * _BLOCK_HOPS], np.float64) ** 2
        hops = np.arange(0, len(block), HOP_SAMPLES)
        n_samples = np.diff(np.append(hops, len(block)))
        n_silent += int(n_samples[np.add.reduceat(block, hops) / n_samples < limit].sum())
    return n_silent / len(samples)
