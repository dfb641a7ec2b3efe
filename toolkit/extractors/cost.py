"""How long a feature set takes, measured on a little input of its kind before a long run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.extractors.contract import Crops, Reads, Samples, Transcript
from fmltk.toolkit.settings import FRAME_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable

    from fmltk.toolkit.extractors.contract import Card, Extractor, Features

_SOUND_S = 10
_FRAME_PX = (720, 1280)
_SENTENCE = "I did not expect to like this film as much as I did, and I would see it again."


def cpu_seconds(
    extractor: Extractor, device: str = "cpu", *, measure: Callable[[Any], Features] | None = None
) -> float | None:
    """Return the CPU-seconds that a set takes per second of sound or picture, or per transcript of twenty words.

    It is loaded, warmed up and measured once, on noise; to be called in a process of its own, as models are large.
    None where it reads what nothing can be made up for, such as a file of its own.

    measure : its function of one clip, where it is loaded already

    Raises what loading it raises: a model that is damaged is said before the first clip.

    >>> from fmltk.toolkit.extractors.catalog import find_extractor
    >>> 0 < cpu_seconds(find_extractor("audio", "fmltk33").extractor) < 10
    True
    """
    measure = measure or extractor.load(device)
    made = _input(extractor.card)
    if made is None:
        return None
    make, n_units = made
    measure(make())  # the first call also pays for what is done once
    one = make()
    started = time.process_time()
    measure(one)
    return (time.process_time() - started) / n_units


def _input(card: Card) -> tuple[Callable[[], object], float] | None:
    """Return what makes an input for a set, and how many seconds or transcripts it is."""
    noise = np.random.default_rng(0)
    if card.reads is Reads.SAMPLES:
        rate_hz = card.sample_rate_hz or 0
        sound = noise.uniform(-0.5, 0.5, _SOUND_S * rate_hz).astype(np.float32)
        return lambda: Samples(sound, rate_hz), _SOUND_S
    if card.reads is Reads.TEXT:
        return lambda: Transcript(_SENTENCE, "en"), 1
    if card.reads not in (Reads.CROPS, Reads.FRAMES):
        return None
    height, width = _FRAME_PX if card.crop_px is None else (card.crop_px, card.crop_px)
    pictures = noise.integers(0, 256, (FRAME_RATE_HZ, height, width, 3), np.uint8)
    return lambda: Crops(iter([(np.arange(len(pictures)), pictures)]), len(pictures)), 1
