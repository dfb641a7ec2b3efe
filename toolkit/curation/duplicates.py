"""The same content under two ids, by fingerprints: also encoded again, made smaller, trimmed, or without its sound.

Words that two clips share at some time name a candidate; the words around it, then all that lie over each other at that
offset, decide. Work and memory grow with the number of words, not of pairs of clips: 20,000 clips of 4 s took 2.7 CPU-s
and 240 MB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

# Two clips are the same where at most this share of the bits differs that lie over each other: encoded again it was
# 0.02 to 0.20, of different clips at their most similar offset 0.32 and more. A short overlap is similar by chance more
# often (0.32 of 40 steps was the least of 20,000 offsets), so that it may differ less: 0.5 - 2 / sqrt(steps).
MAX_DIFFERENCE = 0.25
CHANCE = 2.0
MIN_OVERLAP_S = 1.0
MIN_OVERLAP_SHARE = 0.5  # of the shorter clip
MIN_WORDS = 8  # different ones in the overlap: a tone or a still picture is not content
# A key is made of some bits of words some steps apart: (bits, steps from one word to the next, words). Three kinds, for
# a bit that another encoding changes spoils the keys that it is in.
_KEYS = ((range(4, 16), 10, 2), (range(0, 16, 2), 12, 3), (range(12), 30, 2))
_LINKED = 4  # of the places that share a key, each is compared with the next four
_AROUND = np.arange(-16, 17, 2)  # the words around a shared key that are compared first
_CHUNK = 1 << 18  # candidates compared at a time
_N_BITS = 16
_ONES = np.array([bin(word).count("1") for word in range(1 << _N_BITS)], np.uint8)


@dataclass(frozen=True, slots=True)
class Match:
    """Two clips of the same content: their numbers, first < second.

    Attributes
    ----------
    offset
        At which step of the first clip the second one begins; below 0 where the second begins earlier.
    n_steps
        How many steps of both lie over each other.
    difference
        The share of their bits that differs, 0 to MAX_DIFFERENCE.
    """

    first: int
    second: int
    offset: int
    n_steps: int
    difference: float


def find_matches(clips: Sequence[NDArray[np.uint16]], *, rate_hz: float) -> list[Match]:
    """Return the pairs of clips with the same content, each at its best offset, sorted by clip.

    clips : of each clip its words, uint16 (n,), empty where it has none; rate_hz : words per second

    >>> noise = np.random.default_rng(0).integers(1, 1 << 16, 200).astype(np.uint16)
    >>> find_matches([noise, noise[::-1], noise[60:150]], rate_hz=30.0)
    [Match(first=0, second=2, offset=60, n_steps=90, difference=0.0)]
    """
    starts = np.concatenate([[0], np.cumsum([len(words) for words in clips])]).astype(np.int64)
    words = np.concatenate([np.zeros(0, np.uint16), *clips])
    owner = np.repeat(np.arange(len(clips)), np.diff(starts))
    best: dict[tuple[int, int], Match] = {}
    for first, second, offset in _candidates(words, starts, owner):
        match = _compare(clips, first, second, offset, rate_hz)
        held = best.get((first, second))
        if match is not None and (held is None or match.difference < held.difference):
            best[first, second] = match
    return [best[pair] for pair in sorted(best)]


def _candidates(
    words: NDArray[np.uint16], starts: NDArray[np.int64], owner: NDArray[np.int64]
) -> Iterator[tuple[int, int, int]]:
    """Yield pairs of clips with the offsets at which they share a key and are alike around it, each once."""
    seen: set[tuple[int, int, int]] = set()
    for bits, apart, n_words in _KEYS:
        keys, places = _keys(words, owner, bits, apart, n_words)
        by_key = np.argsort(keys, kind="stable")
        keys, places = keys[by_key], places[by_key]
        for step in range(1, _LINKED + 1):
            shared = np.flatnonzero(keys[:-step] == keys[step:])
            for start in range(0, len(shared), _CHUNK):
                rows = shared[start : start + _CHUNK]
                a, b = places[rows], places[rows + step]  # places grow within a key: a lies before b
                near = (owner[a] != owner[b]) & _alike(words, starts, owner, a, b)
                a, b = a[near], b[near]
                offsets = (a - starts[owner[a]]) - (b - starts[owner[b]])
                found = np.unique(np.stack([owner[a], owner[b], offsets], axis=1), axis=0)
                fresh = [one for one in map(tuple, found.tolist()) if one not in seen]
                seen.update(fresh)
                yield from fresh


def _keys(
    words: NDArray[np.uint16], owner: NDArray[np.int64], bits: range, apart: int, n_words: int
) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the keys of all places that have one, uint32, and these places; none where a word says nothing."""
    picked = np.zeros(len(words), np.uint32)
    for k, bit in enumerate(bits):
        picked |= ((words >> bit) & 1).astype(np.uint32) << np.uint32(k)
    n = max(len(words) - apart * (n_words - 1), 0)
    keys, usable = np.zeros(n, np.uint32), np.ones(n, np.bool_)
    for number in range(n_words):
        there = slice(number * apart, number * apart + n)
        keys |= picked[there] << np.uint32(number * len(bits))
        usable &= (words[there] != 0) & (owner[there] == owner[:n])
    places = np.flatnonzero(usable)
    return keys[places], places


def _alike(
    words: NDArray[np.uint16],
    starts: NDArray[np.int64],
    owner: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
) -> NDArray[np.bool_]:
    """Return which places a and b, (m,), are alike in the words around them, as far as both clips have them."""
    around_a, around_b = a[:, None] + _AROUND, b[:, None] + _AROUND  # (m, 17)
    inside = np.ones(around_a.shape, np.bool_)
    for places, own in ((around_a, owner[a]), (around_b, owner[b])):
        inside &= (places >= starts[own][:, None]) & (places < starts[own + 1][:, None])
    differing = _ONES[words[around_a.clip(0, len(words) - 1)] ^ words[around_b.clip(0, len(words) - 1)]]
    alike: NDArray[np.bool_] = (differing * inside).sum(axis=1) <= MAX_DIFFERENCE * _N_BITS * inside.sum(axis=1)
    return alike


def _compare(clips: Sequence[NDArray[np.uint16]], first: int, second: int, offset: int, rate_hz: float) -> Match | None:
    """Return the match of two clips at an offset; None where they differ, or too little lies over each other."""
    a, b = clips[first], clips[second]
    start, end = max(offset, 0), min(len(a), len(b) + offset)
    if end - start < max(MIN_OVERLAP_S * rate_hz, MIN_OVERLAP_SHARE * min(len(a), len(b))):
        return None
    a, b = a[start:end], b[start - offset : end - offset]
    telling = (a != 0) | (b != 0)
    n_steps = int(telling.sum())
    if n_steps < MIN_OVERLAP_S * rate_hz or len(np.unique(a[telling])) < MIN_WORDS:
        return None
    difference = float(_ONES[a[telling] ^ b[telling]].mean()) / _N_BITS
    if difference > min(MAX_DIFFERENCE, 0.5 - CHANCE / np.sqrt(n_steps)):
        return None
    return Match(first, second, offset, end - start, difference)
