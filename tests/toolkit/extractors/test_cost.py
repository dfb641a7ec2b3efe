"""What a set costs is measured on input of its kind."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from fmltk.toolkit.extractors.contract import Card, Features, Reads
from fmltk.toolkit.extractors.cost import cpu_seconds


@dataclass
class Busy:
    """A set that takes a time of its own for each second or transcript, and ten times that for its first clip."""

    reads: Reads
    cost_s: float = 0.02
    n_clips: int = 0

    @property
    def card(self) -> Card:
        crop_px = 24 if self.reads is Reads.CROPS else None
        return Card("busy", "audio", self.reads, sample_rate_hz=8000, crop_px=crop_px)

    def load(self, device: str):
        return self.features

    def features(self, given: Any) -> Features:
        if self.reads is Reads.SAMPLES:
            amount = len(given.values) / given.rate_hz
        elif self.reads is Reads.TEXT:
            amount = len(given.text.split()) / 18
        else:
            batches = list(given.batches)
            assert {pictures.dtype for _, pictures in batches} == {np.dtype(np.uint8)}
            assert {pictures.shape[1:] for _, pictures in batches} == {
                (24, 24, 3) if self.reads is Reads.CROPS else (720, 1280, 3)
            }
            amount = sum(len(numbers) for numbers, _ in batches) / 30
            assert amount == given.n_frames / 30
        until = time.process_time() + amount * self.cost_s * (1 if self.n_clips else 10)
        self.n_clips += 1
        while time.process_time() < until:
            pass
        return Features(np.zeros((1, 1), np.float32))


@pytest.mark.parametrize("reads", [Reads.SAMPLES, Reads.TEXT, Reads.CROPS, Reads.FRAMES])
def test_the_second_clip_counts_per_second_or_transcript(reads):
    assert cpu_seconds(Busy(reads)) == pytest.approx(0.02, rel=0.5)


def test_a_set_that_finds_its_own_input_has_no_estimate():
    assert cpu_seconds(Busy(Reads.CLIP)) is None
