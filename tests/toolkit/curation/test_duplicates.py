"""The same content under two ids: on words that are known, and on real clips encoded again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from fmltk.toolkit.audio.acoustic import acoustic_sequence
from fmltk.toolkit.audio.fingerprint import sound_signs
from fmltk.toolkit.curation.duplicates import find_matches
from fmltk.toolkit.features.fingerprints import FINGERPRINT_RATES_HZ, pack_words
from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.media.frames import read_frames
from fmltk.toolkit.media.probe import probe_media
from fmltk.toolkit.vision.fingerprint import PictureSigns
from tests.ffmpeg import run_ffmpeg

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 30.0
CLIPS = ("WDA_AOC", "grid_bbaf2n", "grid_id2_swwp2s", "latentsync_demo1", "lp_d11", "retalking_1", "retalking_4")
# As people change a clip before they put it into a set twice; seconds that are cut off at the start: pictures, sound.
CHANGES = {
    "smaller": (
        0.0,
        (
            "-c:v",
            "libx264",
            "-preset",
            "ultrafast",
            "-crf",
            30,
            "-vf",
            "scale=-2:180",
            "-c:a",
            "aac",
            "-af",
            "volume=0.3",
        ),
    ),
    "trimmed": (0.57, ("-t", 2, "-c:v", "mpeg4", "-q:v", 5, "-c:a", "libmp3lame", "-b:a", "96k", "-ar", 32000)),
    "mute": (0.0, ("-c:v", "libx264", "-preset", "ultrafast", "-crf", 28, "-r", 24, "-an")),
}


def content(n: int, seed: int) -> np.ndarray:
    """Words that change as those of a real clip do: each bit keeps its value for a few steps."""
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(rng.normal(size=(n + 6, 16)), axis=0)
    return pack_words(smooth[6:] > smooth[:-6])


def encoded_again(words: np.ndarray, share: float, seed: int = 9) -> np.ndarray:
    """The words with this share of their bits changed."""
    flips = np.random.default_rng(seed).random((len(words), 16)) < share
    return words ^ pack_words(flips)


def pairs(clips: list[np.ndarray]) -> list[tuple[int, int, int]]:
    return [(one.first, one.second, one.offset) for one in find_matches(clips, rate_hz=RATE_HZ)]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.12])
@pytest.mark.parametrize(("start", "end"), [(0, 120), (17, 120), (0, 70), (33, 95)])
def test_a_copy_is_found_where_it_begins(share: float, start: int, end: int) -> None:
    original, other = content(120, 0), content(120, 1)
    assert pairs([original, other, encoded_again(original[start:end], share)]) == [(0, 2, start)]


def test_a_longer_copy_begins_before_its_original() -> None:
    original = content(200, 0)
    assert pairs([original[50:150], original]) == [(0, 1, -50)]


def test_many_different_clips_have_nothing_in_common() -> None:
    assert pairs([content(90, seed) for seed in range(300)]) == []


def test_every_copy_among_many_is_found() -> None:
    original = content(90, 0)
    clips = [content(90, seed) for seed in range(1, 40)]
    for place in range(0, 40, 10):
        clips.insert(place, encoded_again(original, 0.03, seed=place))
    found = pairs(clips)
    assert {clip for pair in found for clip in pair[:2]} == {0, 10, 20, 30}


@pytest.mark.parametrize("n_shared", [20, 40, 59])
def test_a_jingle_that_two_clips_share_is_not_their_content(n_shared: int) -> None:
    jingle = content(n_shared, 0)
    clips = [np.concatenate([jingle, content(120, seed)]) for seed in (1, 2)]
    assert pairs(clips) == []


@pytest.mark.parametrize("word", [0, 1, 0xFFFF])
def test_clips_in_which_nothing_happens_are_not_alike(word: int) -> None:
    assert pairs([np.full(120, word, np.uint16)] * 3) == []


def test_clips_without_words_or_with_few_are_left_alone() -> None:
    original = content(25, 0)
    assert pairs([]) == []
    assert pairs([original, original, np.zeros(0, np.uint16), original[:1]]) == []  # less than a second


@pytest.fixture(scope="module")
def fingerprints(test_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, np.ndarray]]:
    """The words of the audio and the video of every shared clip, and of changed copies of three of them."""
    folder = tmp_path_factory.mktemp("changed")
    files = {name: next((test_data / "videos").glob(f"{name}.*")) for name in CLIPS}
    for name in ("WDA_AOC", "retalking_4", "lp_d11"):
        for change, (start_s, options) in CHANGES.items():
            files[f"{name} {change}"] = folder / f"{name}_{change}.mkv"
            run_ffmpeg("-ss", start_s, "-i", files[name], "-threads", 1, *options, files[f"{name} {change}"])
    found: dict[str, dict[str, np.ndarray]] = {"audio": {}, "vision": {}}
    for name, path in files.items():
        info = probe_media(path)
        if info.has_audio:
            found["audio"][name] = pack_words(sound_signs(acoustic_sequence(read_audio(path, info=info).samples)))
        picture = PictureSigns()
        for _ in picture.watch(read_frames(path, info=info)):
            pass
        found["vision"][name] = pack_words(picture.signs())
    return found


@pytest.mark.parametrize("kind", ["audio", "vision"])
def test_real_clips_match_their_changed_copies_and_nothing_else(
    fingerprints: dict[str, dict[str, np.ndarray]], kind: str
) -> None:
    words = fingerprints[kind]
    names = sorted(words)
    matches = find_matches([words[name] for name in names], rate_hz=FINGERPRINT_RATES_HZ[kind])
    for match in matches:
        first, second = names[match.first], names[match.second]
        assert first.split()[0] == second.split()[0], f"{first} is not {second}"
        if first in CLIPS:
            start_s = CHANGES[second.split()[1]][0]
            assert match.offset / FINGERPRINT_RATES_HZ[kind] == pytest.approx(start_s, abs=0.1)
    with_original = {names[match.second] for match in matches if names[match.first] in CLIPS}
    assert with_original == set(names) - set(CLIPS)
