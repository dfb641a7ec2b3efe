"""The silent share of a sound, by levels that are known."""

from __future__ import annotations

import numpy as np
import pytest

from fmltk.toolkit.audio.silence import silence_share

HOP = 512


def tone(n_samples: int, level_dbfs: float) -> np.ndarray:
    """A tone of this RMS level; 16 periods per hop."""
    wave = np.sin(2 * np.pi * np.arange(n_samples) / 32)
    return (wave * np.sqrt(2) * 10 ** (level_dbfs / 20)).astype(np.float32)


@pytest.mark.parametrize(("level_dbfs", "share"), [(-3, 0), (-49, 0), (-51, 1), (-90, 1)])
def test_a_tone_is_silent_under_fifty_decibels(level_dbfs: float, share: float) -> None:
    assert silence_share(tone(20 * HOP, level_dbfs)) == share


@pytest.mark.parametrize(("n_loud", "n_quiet", "share"), [(3, 1, 0.25), (1, 4, 0.8), (9000, 3000, 0.25)])
def test_the_share_is_of_the_time(n_loud: int, n_quiet: int, share: float) -> None:
    sound = np.concatenate([tone(n_loud * HOP, -20), tone(n_quiet * HOP, -60)])
    assert silence_share(sound) == pytest.approx(share)


def test_the_last_piece_counts_by_its_own_length() -> None:
    assert silence_share(np.concatenate([tone(HOP, -60), tone(128, -20)])) == pytest.approx(0.8)
    assert silence_share(np.zeros(1, np.float32)) == 1


def test_a_rare_click_does_not_make_noise_of_silence() -> None:
    sound = np.zeros(100 * HOP, np.float32)
    sound[50 * HOP] = 1
    assert silence_share(sound) == pytest.approx(0.99)
