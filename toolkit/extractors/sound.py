"""Every feature set of sound refuses sound that it cannot do, and masks steps that are not finite, in the same way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.audio.blocks import check_samples
from fmltk.toolkit.errors import FeatureError
from fmltk.toolkit.extractors.contract import Features, Samples

if TYPE_CHECKING:
    from numpy.typing import NDArray


def check_sound(samples: Samples, *, window_samples: int, name: str) -> None:
    """Refuse sound that is damaged, or too short for a set: MissingModalityError without a sample, else FeatureError.

    window_samples : the fewest that the set can do
    name : the set's, for the message
    """
    check_samples(samples.values, rate_hz=samples.rate_hz)
    if len(samples.values) < window_samples:
        raise FeatureError(
            f"the audio is {len(samples.values) / samples.rate_hz:.4f} s long, and {name} needs "
            f"{window_samples / samples.rate_hz:.4f} s: leave the clip out, or cut it longer"
        )


def finite_features(values: NDArray[np.float32], *, name: str) -> Features:
    """Return features whose steps with a value that is not finite are masked, with a warning, and 0.

    values : float32 (n_steps, d)

    Raises FeatureError where no step is finite.

    >>> finite_features(np.array([[1.0], [np.nan]], np.float32), name="f").warnings
    ('1 of 2 steps of f has a value that is not finite and is masked',)
    """
    valid: NDArray[np.bool_] = np.asarray(np.isfinite(values).all(axis=1))
    n_bad = int((~valid).sum())
    if not n_bad:
        return Features(values)
    if n_bad == len(values):
        raise FeatureError(
            f"{name} is not finite in any of the {n_bad} steps of this audio, so the clip has no features"
        )
    verbs = "has a value that is not finite and is" if n_bad == 1 else "have values that are not finite and are"
    warning = f"{n_bad} of {len(values)} steps of {name} {verbs} masked"
    return Features(np.where(valid[:, None], values, np.float32(0)), valid, (warning,))
