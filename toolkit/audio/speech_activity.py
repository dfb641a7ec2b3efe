"""When somebody speaks: as silero-vad hears it where it is installed, else from how loud it is."""

from __future__ import annotations

import functools
import importlib.util
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.audio.silence import SILENCE_DBFS
from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.settings import ENERGY, SILERO, SPEECH_RATE_HZ

if TYPE_CHECKING:
    from numpy.typing import NDArray

BELOW_LOUD_DB = 25.0  # the weakest syllables are so far below the loudest
LOUD_PERCENTILE = 95
BRIDGED_S = 0.2  # pauses between words are part of the speech
SILERO_SAMPLES = 512  # heard at a time
SILERO_SPEECH = 0.5  # probability, its authors' default
_PACKAGE = "silero_vad"


def resolve_speech(method: str) -> str:
    """Return how speech is found on this machine: "auto" is "silero" where it is installed, else "energy".

    Raises ConfigError if silero-vad is asked for and not installed.
    """
    installed = _silero_file() is not None
    if method == SILERO and not installed:
        raise ConfigError(
            "--speech silero: silero-vad is not installed; pip install 'fmltk[speech]', or --speech energy"
        )
    return method if method in (ENERGY, SILERO) else SILERO if installed else ENERGY


def speech_activity(samples: NDArray[np.float32], *, steps_hz: int, n_steps: int, method: str) -> NDArray[np.bool_]:
    """Return in which steps somebody may be speaking, bool (n_steps,), with 0.2 s before and after.

    samples : float32, shape (n,), full scale 1, 16,000 a second; silence follows where they end
    method : "silero" tells speech from music and noise; "energy" only says when it is quiet

    >>> tone = np.sin(np.arange(8000, dtype=np.float32))
    >>> speech_activity(np.pad(tone, (8000, 8000)), steps_hz=4, n_steps=6, method="energy").tolist()
    [False, True, True, True, True, False]
    """
    if not n_steps:
        return np.zeros(0, np.bool_)
    heard = np.zeros(n_steps * SPEECH_RATE_HZ // steps_hz, np.float32)
    heard[: len(samples)] = samples[: len(heard)]
    found = _silero(heard, n_steps) if method == SILERO else _loud(heard, n_steps)
    reach = round(BRIDGED_S * steps_hz)
    near = np.convolve(found, np.ones(2 * reach + 1))[reach : reach + n_steps]
    return near > 0


def _loud(heard: NDArray[np.float32], n_steps: int) -> NDArray[np.bool_]:
    starts = np.arange(n_steps) * len(heard) // n_steps
    power = np.add.reduceat(heard * heard, starts, dtype=np.float64) / np.diff(np.append(starts, len(heard)))
    level_db = 10 * np.log10(power + 1e-12)
    loud: NDArray[np.bool_] = level_db > max(
        float(np.percentile(level_db, LOUD_PERCENTILE)) - BELOW_LOUD_DB, SILENCE_DBFS
    )
    return loud


def _silero(heard: NDArray[np.float32], n_steps: int) -> NDArray[np.bool_]:
    import torch

    model = _silero_model()
    model.reset_states()
    padded = np.pad(heard, (0, -len(heard) % SILERO_SAMPLES)).reshape(-1, SILERO_SAMPLES)
    with torch.inference_mode():
        speech = [model(torch.from_numpy(block), SPEECH_RATE_HZ).item() >= SILERO_SPEECH for block in padded]
    middles = (np.arange(n_steps) + 0.5) * len(heard) / n_steps
    return np.array(speech, np.bool_)[(middles / SILERO_SAMPLES).astype(np.intp)]


def _silero_file() -> Path | None:
    """Return the network inside the package, which is found and not imported: its audio readers are not needed."""
    spec = importlib.util.find_spec(_PACKAGE)
    file = None if spec is None or spec.origin is None else Path(spec.origin).parent / "data" / "silero_vad.jit"
    return file if file is not None and file.is_file() else None


@functools.lru_cache(maxsize=1)
def _silero_model() -> Any:
    import torch

    file = _silero_file()
    if file is None:
        raise ConfigError("silero-vad is not installed on the machine of this worker; pip install 'fmltk[speech]'")
    with warnings.catch_warnings(action="ignore"):  # torch would rather load another format than the package has
        return torch.jit.load(file).eval()  # type: ignore[no-untyped-call]
