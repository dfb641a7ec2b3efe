"""librosa's functions as a set: equal to direct calls, and what a file may ask for."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING

import librosa
import numpy as np
import pytest

from fmltk.toolkit.audio.acoustic import acoustic_sequence
from fmltk.toolkit.errors import ConfigError, FeatureError, MissingModalityError
from fmltk.toolkit.extractors import audio_librosa
from fmltk.toolkit.extractors.audio_librosa import extractor
from fmltk.toolkit.extractors.contract import Samples
from fmltk.toolkit.extractors.librosa_file import FUNCTIONS

if TYPE_CHECKING:
    from pathlib import Path

ALL = "".join(f'[[features]]\nfunction = "{name}"\n' for name in FUNCTIONS if name != "chroma_vqt")


def tone(seconds: float, rate_hz: int = 22_050) -> Samples:
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    sound = 0.3 * np.sin(2 * np.pi * (220 * t + 60 * t**2)) + 0.01 * rng.standard_normal(len(t))
    return Samples(sound.astype(np.float32), rate_hz)


def write(folder: Path, text: str, name: str = "my.toml") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_every_function_is_librosas_own(tmp_path):
    samples = tone(1.5)
    one = extractor(write(tmp_path, f'{ALL}[[features]]\nfunction = "chroma_vqt"\nintervals = "ji5"\n'))
    features = one.load("cpu")(samples).values
    expected = []
    for name in [name for name in FUNCTIONS if name != "chroma_vqt"]:
        rate = {} if name in ("rms", "spectral_flatness", "zero_crossing_rate") else {"sr": 22_050}
        expected.append(getattr(librosa.feature, name)(y=samples.values, hop_length=512, **rate))
    expected.append(librosa.feature.chroma_vqt(y=samples.values, sr=22_050, intervals="ji5"))
    assert np.array_equal(features, np.concatenate(expected).T.astype(np.float32))
    assert one.card.dimension == features.shape[1] == len(one.card.features) == len(dict(one.card.features))
    json.dumps([one.card.settings, one.card.versions])
    assert pickle.loads(pickle.dumps(one)).card == one.card


def test_rate_hop_arguments_and_differences_are_those_of_the_file(tmp_path):
    text = """sample_rate_hz = 16000
hop_length = 160
[[features]]
function = "mfcc"
n_mfcc = 3
n_fft = 400
n_mels = 40
htk = true
fmax = 7000.0
deltas = 2
[[features]]
function = "spectral_rolloff"
name = "low"
roll_percent = 0.25
n_fft = 400
[[features]]
function = "spectral_rolloff"
n_fft = 400
"""
    one, samples = extractor(write(tmp_path, text, "lab.v2.toml")), tone(1, 16_000)
    card, y = one.card, samples.values
    assert (card.name, card.rate_hz, card.sample_rate_hz) == ("lab.v2", 100, 16_000)
    names = [f"{prefix}mfcc_{k}" for prefix in ("", "delta_", "delta2_") for k in range(3)]
    assert [name for name, _ in card.features] == [*names, "low", "spectral_rolloff"]
    units = dict(card.features)
    assert (units["mfcc_1"], units["delta2_mfcc_1"], units["low"]) == ("dB", "dB per step", "Hz")
    own = {"sr": 16_000, "hop_length": 160, "n_fft": 400}
    mfcc = librosa.feature.mfcc(y=y, n_mfcc=3, n_mels=40, htk=True, fmax=7000.0, **own)
    expected = [mfcc, librosa.feature.delta(mfcc), librosa.feature.delta(mfcc, order=2)]
    expected += [librosa.feature.spectral_rolloff(y=y, roll_percent=share, **own) for share in (0.25, 0.85)]
    assert np.array_equal(one.load("cpu")(samples).values, np.concatenate(expected).T.astype(np.float32))


def test_the_published_33_are_those_of_fmltk33():
    samples = tone(3)
    one = extractor("ch-sims-33")
    features = one.load("cpu")(samples).values
    expected = acoustic_sequence(samples.values)
    assert features.shape == expected.shape == (130, 33)
    assert np.abs(features - expected).max() <= 1e-5 * max(1, np.abs(expected).max())
    assert one.card.name == "ch-sims-33"


def test_the_other_shipped_set_has_the_24_features_of_its_example():
    card = extractor("fet-24").card
    assert card.dimension == 24
    assert [name for name, _ in card.features][-4:] == [
        "rms",
        "zero_crossing_rate",
        "spectral_rolloff",
        "spectral_centroid",
    ]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "names no function"),
        ("features = []", "names no function"),
        ("[features]\nfunction = 'mfcc'", "names no function"),
        ("[[features]]\nfunction = 'mfc'", "has the function 'mfc'; there are chroma_cens, .*mfcc"),
        ("[[features]]\nn_mfcc = 3", "has the function None; there are"),
        ("[[features]]\nfunction = 'tempo'", "has the function 'tempo'"),
        ("[[features]]\nfunction = '__class__'", "has the function '__class__'"),
        ("[[features]]\nfunction = 'inverse.mfcc_to_audio'", "has the function"),
        ("[[features]]\nfunction = ['mfcc']", "has the function"),
        ("[[features]]\nfunction = 'mfcc'\nn_mfc = 3", "mfcc has no 'n_mfc'; there are .*n_mfcc.*n_mels.*htk"),
        ("[[features]]\nfunction = 'rms'\nn_fft = 512", "rms has no 'n_fft'; there are .*frame_length"),
        ("[[features]]\nfunction = 'mfcc'\nhop_length = 256", "hop_length and sample_rate_hz stand once"),
        ("[[features]]\nfunction = 'mfcc'\nS = [1.0]", "mfcc has no 'S'"),
        ("[[features]]\nfunction = 'mfcc'\nn_mfcc = 1979-05-27", "n_mfcc is a date; expected a number"),
        ("[[features]]\nfunction = 'mfcc'\nn_fft = 10000000000", "n_fft is 10000000000; expected 65536 at most"),
        ("[[features]]\nfunction = 'mfcc'\nn_fft = 'wide'", "librosa refuses the arguments of mfcc"),
        ("[[features]]\nfunction = 'mfcc'\ndct_type = 9", "librosa refuses the arguments of mfcc"),
        ("[[features]]\nfunction = 'chroma_vqt'", "librosa refuses the arguments of chroma_vqt .*intervals"),
        ("[[features]]\nfunction = 'mfcc'\ndeltas = 3", "deltas is 3; expected a whole number from 0 to 2"),
        ("[[features]]\nfunction = 'rms'\n[[features]]\nfunction = 'rms'", "has rms twice; give each a name"),
        ("hop_length = 0\n[[features]]\nfunction = 'rms'", "hop_length is 0; expected a whole number from 1"),
        ("sample_rate_hz = 22050.5\n[[features]]\nfunction = 'rms'", "sample_rate_hz is 22050.5; expected"),
        ("sr = 16000\n[[features]]\nfunction = 'rms'", "has no 'sr'; there are sample_rate_hz"),
        (
            "[[features]]\nfunction = 'rms'\ncenter = false\n[[features]]\nfunction = 'mfcc'",
            r"different numbers of steps for 2 s of audio \(rms 83, mfcc 87\)",
        ),
        ("[[features]", "is not TOML"),
    ],
)
def test_what_a_file_may_not_ask_for_is_refused_in_one_line(tmp_path, text, match):
    with pytest.raises(ConfigError, match=match) as caught:
        extractor(write(tmp_path, text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("argument", [None, "missing.toml", "/no/such/file.toml"])
def test_a_missing_file_is_said_with_those_that_are_shipped(argument):
    with pytest.raises(ConfigError, match=r"write librosa:FILE.toml, or one that comes with fmltk: ch-sims-33, fet-24"):
        extractor(argument)


def test_silence_has_finite_features(tmp_path):
    one = extractor(write(tmp_path, ALL))
    features = one.load("cpu")(Samples(np.zeros(22_050, np.float32), 22_050))
    assert np.isfinite(features.values).all()


def test_sound_that_is_short_or_damaged_is_said(tmp_path):
    hear = extractor("fet-24").load("cpu")
    assert np.isfinite(hear(Samples(np.full(100, 0.1, np.float32), 22_050)).values).all()
    with pytest.raises(MissingModalityError, match="no samples"):
        hear(Samples(np.zeros(0, np.float32), 22_050))
    with pytest.raises(FeatureError, match=r"sample 1 .* is nan"):
        hear(Samples(np.array([0, np.nan], np.float32), 22_050))
    differences = extractor(write(tmp_path, "[[features]]\nfunction = 'rms'\ndeltas = 1")).load("cpu")
    with pytest.raises(FeatureError, match="librosa's rms refuses this audio") as caught:
        differences(tone(0.1))
    assert "\n" not in str(caught.value)


def test_a_clip_that_needs_too_much_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(audio_librosa, "MAX_VALUES", 2**16)
    hear = extractor("fet-24").load("cpu")
    assert len(hear(tone(1.4)).values) == 61
    with pytest.raises(
        FeatureError, match="is 2 s long, and librosa, which reads it whole, gets 1 s of fet-24 at most"
    ):
        hear(tone(1.6))
    fine = extractor(write(tmp_path, "hop_length = 256\n[[features]]\nfunction = 'mfcc'\nn_fft = 8192")).load("cpu")
    with pytest.raises(FeatureError, match="cut the clip, or raise hop_length"):
        fine(tone(0.4))


@pytest.mark.parametrize("n_mfcc", [-3, 0, 129])
def test_as_many_mfcc_as_asked_for_or_none(tmp_path, n_mfcc):
    text = f'[[features]]\nfunction = "mfcc"\ndeltas = 1\nn_mfcc = {n_mfcc}\n'
    with pytest.raises(ConfigError, match=f"n_mfcc of mfcc is {n_mfcc}; expected 1 to 128"):
        extractor(write(tmp_path, text))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("fmin = 9000\nfmax = 100", "fmin is the lower one"),
        ("fmin = 30000", "the same numbers in every step"),
        ("fmax = nan", "no finite numbers"),
        ("power = nan", "no finite numbers"),
    ],
)
def test_arguments_that_leave_no_sound_are_refused(tmp_path, arguments, said):
    with pytest.raises(ConfigError, match=said):
        extractor(write(tmp_path, f'[[features]]\nfunction = "melspectrogram"\n{arguments}\n'))


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [("a", "a_0", "a_0"), ("a", "delta_a_1", "delta_a_1"), ("zcr", "zcr", "zcr")],
)
def test_two_features_of_one_name_are_refused(tmp_path, first, second, name):
    functions = ('"mfcc"\ndeltas = 1', '"rms"') if first == "a" else ('"rms"', '"zero_crossing_rate"')
    calls = zip(functions, (first, second), strict=True)
    text = "".join(f'[[features]]\nfunction = {function}\nname = "{one}"\n' for function, one in calls)
    with pytest.raises(ConfigError, match=f"my has {name} twice"):
        extractor(write(tmp_path, text))
