"""The 33 acoustic features against direct librosa calls on the whole clip."""

from __future__ import annotations

import subprocess
import sys
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmltk.toolkit.audio import acoustic
from fmltk.toolkit.audio.acoustic import ACOUSTIC_FEATURES, acoustic_sequence
from fmltk.toolkit.audio.blocks import BLOCK_FRAMES
from fmltk.toolkit.audio.chroma import chroma
from fmltk.toolkit.audio.reference import librosa_sequence
from fmltk.toolkit.audio.spectrum import magnitude_blocks, mel_filters, pitch_offsets
from fmltk.toolkit.errors import ConfigError, FeatureError, MissingModalityError
from fmltk.toolkit.settings import AUDIO_RATE_HZ, HOP_SAMPLES

# One process compiles librosa's functions, for twenty CPU-seconds.
pytestmark = [pytest.mark.numeric, pytest.mark.xdist_group("librosa")]

TOLERANCE = 1e-5  # relative above 1, absolute below: what docs/features.md promises on every processor
GROUPS = {"zcr": slice(0, 1), "mfcc": slice(1, 21), "chroma": slice(21, 33)}


def voice_like(n_samples: int, seed: int = 0) -> np.ndarray:
    """A gated tone, a vibrato and noise: float32, shape (n_samples,)."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_samples) / AUDIO_RATE_HZ
    gated = 0.3 * np.sin(2 * np.pi * (225 + 7 * seed) * t) * (np.sin(2 * np.pi * 1.3 * t) > 0)
    vibrato = 0.2 * np.sin(2 * np.pi * 451 * t + 3 * np.sin(5 * t))
    return (gated + vibrato + rng.normal(size=n_samples) * 0.02).astype(np.float32)


def assert_close(ours: np.ndarray, theirs: np.ndarray, name: str = "") -> None:
    np.testing.assert_allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE, err_msg=name)


def assert_equals_librosa(samples: np.ndarray) -> None:
    ours, theirs = acoustic_sequence(samples), librosa_sequence(samples)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (1 + len(samples) // HOP_SAMPLES, 33)
    for name, columns in GROUPS.items():
        assert_close(ours[:, columns], theirs[:, columns], name)


@pytest.mark.parametrize("n_samples", [1, 2, 100, 511, 512, 513, 1025, 2205, 22050, 5 * 22050 + 77])
def test_short_clips_have_librosas_numbers(n_samples):
    assert_equals_librosa(voice_like(n_samples))


@settings(max_examples=25, deadline=None)
@given(n_samples=st.integers(1, 30_000), seed=st.integers(0, 1000), gain=st.sampled_from([1e-6, 1e-3, 1.0]))
def test_any_short_sound_has_librosas_numbers(n_samples, seed, gain):
    assert_equals_librosa(voice_like(n_samples, seed) * np.float32(gain))


@pytest.mark.parametrize("name", ["grid_bbaf2n", "grid_id2_swwp2s", "WDA_AOC", "retalking_1"])
def test_real_speech_has_librosas_numbers(test_data, name):
    import av

    (path,) = (test_data / "videos").glob(f"{name}.*")
    with av.open(str(path)) as container:
        resampler = av.AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE_HZ)
        pieces = [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampler.resample(f)]
    samples = np.concatenate(pieces)
    assert len(samples) > 2 * AUDIO_RATE_HZ
    assert_equals_librosa(samples)


def test_slaney_scale_is_librosas_default():
    samples = voice_like(22050)
    ours = acoustic_sequence(samples, mfcc_scale="slaney")
    assert_close(ours, librosa_sequence(samples, mfcc_scale="slaney"))
    assert not np.allclose(ours[:, GROUPS["mfcc"]], acoustic_sequence(samples)[:, GROUPS["mfcc"]])


def test_long_clips_equal_librosa_on_the_whole_clip():
    # Two kinds of trouble: digital silence amid sound, where chroma scales rounding noise up to 1, and a loud start
    # that alone decides the floor of the mel energies of the quiet rest.
    samples = voice_like(70 * AUDIO_RATE_HZ + 37)
    samples[400_000:600_000] = 0
    samples[900_000:] *= 1e-4
    assert 1 + len(samples) // HOP_SAMPLES > 5 * BLOCK_FRAMES
    assert_equals_librosa(samples)


@pytest.mark.parametrize("offset", [-1, 0, 1, 511, 512, 513])
def test_clips_that_end_near_a_block_lose_no_frame(offset):
    assert_equals_librosa(voice_like(BLOCK_FRAMES * HOP_SAMPLES + offset))


@pytest.mark.filterwarnings("ignore:n_fft=1024 is too large")
@pytest.mark.parametrize("tuning", [-0.5, -0.37, 0.0, 0.01, 0.26, 0.49])
def test_chroma_follows_the_tuning(tuning):
    import librosa

    samples = voice_like(22050)
    theirs = librosa.feature.chroma_cqt(y=samples, sr=22050, tuning=tuning).T
    assert_close(chroma(samples, tuning=tuning), theirs)


@pytest.mark.parametrize("seed", range(8))
def test_tuning_is_librosas(seed):
    import librosa

    samples = voice_like(3 * 22050, seed)
    theirs = librosa.estimate_tuning(y=samples, sr=22050, bins_per_octave=36)
    assert tuning_of(samples) == pytest.approx(theirs, abs=1e-9)


def tuning_of(samples):
    return acoustic.pooled_tuning([pitch_offsets(magnitude) for magnitude in magnitude_blocks(samples)])


def test_every_group_is_a_function_of_its_own():
    samples = voice_like(22050)
    whole = acoustic_sequence(samples)
    np.testing.assert_array_equal(acoustic.zero_crossing_rate(samples), whole[:, GROUPS["zcr"]])
    tuning = tuning_of(samples)
    np.testing.assert_array_equal(chroma(samples, tuning=tuning), whole[:, GROUPS["chroma"]])


def test_a_known_tone_has_its_crossings_and_its_pitch_class():
    t = np.arange(2 * AUDIO_RATE_HZ) / AUDIO_RATE_HZ
    sequence = acoustic_sequence(np.sin(2 * np.pi * 440 * t).astype(np.float32))[5:-5]
    assert np.allclose(sequence[:, 0], 2 * 440 / AUDIO_RATE_HZ, atol=1 / 2048)
    names = [name for name, _, _ in ACOUSTIC_FEATURES]
    assert {names[21 + k] for k in sequence[:, GROUPS["chroma"]].argmax(axis=1)} == {"chroma_A"}


def test_feature_names_are_distinct_and_one_per_column():
    assert len({name for name, _, _ in ACOUSTIC_FEATURES}) == len(ACOUSTIC_FEATURES) == 33
    assert all(unit and description for _, unit, description in ACOUSTIC_FEATURES)


def test_digital_silence_follows_the_written_rule():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sequence = acoustic_sequence(np.zeros(30_000, np.float32))
    assert_close(sequence, librosa_sequence(np.zeros(30_000, np.float32)))
    assert (sequence[:, GROUPS["zcr"]] == 0).all()
    assert (sequence[:, GROUPS["chroma"]] == 0).all()
    np.testing.assert_allclose(sequence[:, 1], -100 * np.sqrt(128), rtol=1e-6)  # -100 dB in all 128 bands
    np.testing.assert_allclose(sequence[:, 2:21], 0, atol=1e-3)


def test_constant_sound_equals_librosa():
    assert_equals_librosa(np.full(30_000, 0.5, np.float32))


def test_no_sample_means_no_sound():
    with pytest.raises(MissingModalityError, match="no samples"):
        acoustic_sequence(np.zeros(0, np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("position", [0, 22050, 700_000])
def test_samples_that_are_not_sound_are_named_not_replaced(value, position):
    samples = voice_like(position + 1000)
    samples[position] = value
    with pytest.raises(FeatureError, match=rf"sample {position} \({position / 22050:.3f} s\) of the audio is "):
        acoustic_sequence(samples)


def test_two_channels_and_other_types_are_refused():
    with pytest.raises(FeatureError, match=r"shape \(2, 100\)"):
        acoustic_sequence(np.zeros((2, 100), np.float32))
    with pytest.raises(FeatureError, match="type int16"):
        acoustic_sequence(np.zeros(100, np.int16))


def test_an_unknown_scale_is_refused():
    with pytest.raises(ConfigError, match="'bark' is unknown; expected one of htk, slaney"):
        acoustic_sequence(np.zeros(100, np.float32), mfcc_scale="bark")


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_mel_filters_are_librosas(scale):
    import librosa

    theirs = librosa.filters.mel(sr=22050, n_fft=2048, htk=scale == "htk")
    np.testing.assert_allclose(mel_filters(scale), theirs, rtol=1e-6, atol=0)


def test_the_sound_is_left_as_it_was_and_results_repeat():
    samples = voice_like(22050)
    before = samples.copy()
    first, second = acoustic_sequence(samples), acoustic_sequence(samples)
    np.testing.assert_array_equal(samples, before)
    assert first.tobytes() == second.tobytes()


MEMORY_PROBE = """
import sys, threading, time
import numpy as np
from fmltk.toolkit.audio.acoustic import acoustic_sequence

def anonymous_mb():
    line = next(line for line in open("/proc/self/status") if line.startswith("RssAnon"))
    return int(line.split()[1]) / 1024

sound = np.memmap(sys.argv[1], dtype=np.float32, mode="r", shape=(int(sys.argv[2]),))
acoustic_sequence(np.zeros(512, np.float32))  # the imports, and the mel filters
before, peak, done = anonymous_mb(), 0.0, threading.Event()
def watch():
    global peak
    while not done.wait(0.005):
        peak = max(peak, anonymous_mb())
watcher = threading.Thread(target=watch)
watcher.start()
sequence = acoustic_sequence(sound)
done.set(); watcher.join()
print(len(sequence), peak - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_flat_with_the_length_of_the_clip(tmp_path):
    seconds = 6 * 60
    path = tmp_path / "long.f32"
    minute = voice_like(60 * AUDIO_RATE_HZ)
    with path.open("wb") as file:
        for _ in range(seconds // 60):
            minute.tofile(file)
    growth = {}
    for duration_s in (10, seconds):
        command = [sys.executable, "-c", MEMORY_PROBE, str(path), str(duration_s * AUDIO_RATE_HZ)]
        answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(answer[0]) == 1 + duration_s * AUDIO_RATE_HZ // HOP_SAMPLES
        growth[duration_s] = float(answer[1])
    # What is kept per minute is the result and its mel energies, 2.6 MB; librosa needs 95 MB per minute.
    assert growth[seconds] - growth[10] < 50, growth


def test_workers_need_no_numba_code():
    probe = (
        "import sys, numpy as np; from fmltk.toolkit.audio.acoustic import acoustic_sequence; "
        "acoustic_sequence(np.zeros(512, np.float32)); "
        "print([name for name in ('librosa', 'numba', 'scipy.signal') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
