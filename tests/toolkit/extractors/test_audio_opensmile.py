"""openSMILE's sets: equal to its own Python interface, with its names and rates."""

from __future__ import annotations

import json
import pickle
import sys

import numpy as np
import pytest

from fmltk.toolkit.errors import ConfigError, FeatureError, MissingModalityError
from fmltk.toolkit.extractors import audio_opensmile
from fmltk.toolkit.extractors.audio_opensmile import extractor
from fmltk.toolkit.extractors.contract import Reads, Samples

RATE_HZ = 16_000
SETS = {
    "eGeMAPSv02": ("egemaps", 25, 100),
    "eGeMAPSv02/functionals": ("egemaps-functionals", 88, None),
    "ComParE_2016": ("compare", 65, 100),
    "ComParE_2016/functionals": ("compare-functionals", 6373, None),
    "emobase": ("emobase", 26, 100),
}


def speech_like(seconds: float) -> Samples:
    """A gliding tone with overtones, in syllables, and a little noise."""
    rng = np.random.default_rng(0)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * (120 * t + 20 * t**2)
    voiced = sum(np.sin(k * phase) / k for k in range(1, 9)) * (np.sin(2 * np.pi * 3 * t) > 0)
    return Samples((0.2 * voiced + 0.003 * rng.standard_normal(len(t))).astype(np.float32), RATE_HZ)


@pytest.mark.parametrize("argument", SETS)
def test_the_numbers_are_opensmiles_own(argument):
    import opensmile

    name, dimension, rate_hz = SETS[argument]
    samples = speech_like(2.37)
    feature_set, _, level = argument.partition("/")
    levels = opensmile.FeatureLevel
    own = opensmile.Smile(
        opensmile.FeatureSet[feature_set], levels.Functionals if level else levels.LowLevelDescriptors
    )
    expected = own.process_signal(samples.values, RATE_HZ)
    one = extractor(argument)
    features = one.load("cpu")(samples)
    assert features.values.dtype == np.float32
    assert np.array_equal(features.values, expected.to_numpy())
    assert features.valid is None
    card = one.card
    assert (card.name, card.dimension, card.rate_hz) == (name, dimension, rate_hz)
    assert (card.reads, card.sample_rate_hz) == (Reads.SAMPLES, RATE_HZ)
    assert [feature for feature, _ in card.features] == list(expected.columns)
    if rate_hz:
        starts = expected.index.get_level_values("start").total_seconds()[:-1]
        assert np.allclose(starts, np.arange(len(starts)) / rate_hz)
    json.dumps([card.settings, card.versions])
    assert pickle.loads(pickle.dumps(one)).card == card


@pytest.mark.parametrize(
    ("alias", "argument"),
    [("egemaps", "eGeMAPSv02"), ("egemaps_functionals", "eGeMAPSv02/functionals"), ("compare", "ComParE_2016")],
)
def test_short_names_are_the_same_sets(alias, argument):
    make = getattr(audio_opensmile, alias)
    assert make(None) == extractor(argument)
    with pytest.raises(ConfigError, match=f"takes no argument; it is opensmile:{argument}"):
        make("something")


def test_units_are_those_of_the_names():
    units = dict(extractor("eGeMAPSv02/functionals").card.features) | dict(extractor("ComParE_2016").card.features)
    assert units["F0semitoneFrom27.5Hz_sma3nz_amean"] == "semitones above 27.5 Hz"
    assert units["F0semitoneFrom27.5Hz_sma3nz_meanRisingSlope"] == "semitones/s"
    assert units["F0semitoneFrom27.5Hz_sma3nz_stddevNorm"] == "relative to the mean"
    assert units["F2bandwidth_sma3nz_amean"] == "Hz"
    assert units["shimmerLocaldB_sma3nz_amean"] == "dB"
    assert units["VoicedSegmentsPerSec"] == "1/s"
    assert units["F0final_sma"] == "Hz"
    assert units["mfcc_sma[1]"] == ""


def test_the_licence_is_said():
    assert "non-commercial use only" in extractor("eGeMAPSv02").card.licence


@pytest.mark.parametrize(
    "argument", ["eGeMAPSv02", "eGeMAPSv02/functionals", "ComParE_2016", "ComParE_2016/functionals"]
)
def test_silence_has_finite_features(argument):
    features = extractor(argument).load("cpu")(Samples(np.zeros(RATE_HZ, np.float32), RATE_HZ))
    assert np.isfinite(features.values).all()
    assert features.valid is None


def test_sound_beyond_full_scale_is_clipped_and_does_not_wrap_around():
    samples = speech_like(1)
    loud = Samples(np.clip(samples.values * 20, -1.2, 1.2).astype(np.float32), RATE_HZ)
    hear = extractor("eGeMAPSv02").load("cpu")
    clipped = Samples(np.clip(loud.values, -1, 32767 / 32768).astype(np.float32), RATE_HZ)
    assert np.array_equal(hear(loud).values, hear(clipped).values)
    import opensmile

    levels, sets = opensmile.FeatureLevel, opensmile.FeatureSet
    own = opensmile.Smile(sets.eGeMAPSv02, levels.LowLevelDescriptors).process_signal(loud.values, RATE_HZ)
    assert not np.allclose(own.to_numpy(), hear(loud).values)  # as its own function does


@pytest.mark.parametrize("argument", ["eGeMAPSv02", "ComParE_2016/functionals"])
def test_sound_that_is_too_short_or_damaged_is_said(argument):
    hear = extractor(argument).load("cpu")
    assert np.isfinite(hear(speech_like(0.1)).values).all()
    for n_samples in (1, 160, 320):
        with pytest.raises(FeatureError, match=r"long, which is too short for"):
            hear(Samples(np.full(n_samples, 0.1, np.float32), RATE_HZ))
    with pytest.raises(MissingModalityError, match="no samples"):
        hear(Samples(np.zeros(0, np.float32), RATE_HZ))
    with pytest.raises(FeatureError, match=r"sample 3 .* is inf"):
        hear(Samples(np.array([0, 0, 0, np.inf], np.float32), RATE_HZ))


@pytest.mark.parametrize("argument", [None, "", "eGeMAPS2", "egemapsv02", "eGeMAPSv02/lld", "eGeMAPSv02/functionals/x"])
def test_an_unknown_set_is_refused_with_those_that_there_are(argument):
    with pytest.raises(ConfigError, match=r"is not a feature set; .* one of ComParE_2016, .*eGeMAPSv02") as caught:
        extractor(argument)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_said_with_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)
    with pytest.raises(ConfigError, match=r"pip install 'fmltk\[opensmile\]'") as caught:
        audio_opensmile.egemaps(None)
    assert "\n" not in str(caught.value)
