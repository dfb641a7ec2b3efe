"""Speech networks as feature sets: equal to transformers on tiny random models, one per family."""

from __future__ import annotations

import json
import pickle
import resource
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
import transformers

from fmltk.toolkit.errors import ConfigError, FeatureError, MissingModalityError
from fmltk.toolkit.extractors.audio_hf import PIECE_S, extractor
from fmltk.toolkit.extractors.contract import Reads, Samples

if TYPE_CHECKING:
    from pathlib import Path

RATE_HZ = 16_000
SMALL = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}
FAMILIES = {
    "wav2vec2": "Wav2Vec2",
    "hubert": "Hubert",
    "wavlm": "WavLM",
    "data2vec-audio": "Data2VecAudio",
    "unispeech": "UniSpeech",
    "unispeech-sat": "UniSpeechSat",
}
WHISPER = {
    "d_model": 24,
    "encoder_layers": 3,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_mel_bins": 16,
    "vocab_size": 60,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
}


def save(folder: Path, family: str, *, do_normalize: bool = True, **settings) -> Path:
    torch.manual_seed(0)
    if family == "whisper":
        transformers.WhisperModel(transformers.WhisperConfig(**{**WHISPER, **settings})).save_pretrained(folder)
        transformers.WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)
        return folder
    config = getattr(transformers, f"{FAMILIES[family]}Config")(**{**SMALL, **settings})
    getattr(transformers, f"{FAMILIES[family]}Model")(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(folder)
    return folder


def noise(seconds: float, seed: int = 0) -> Samples:
    rng = np.random.default_rng(seed)
    n_samples = round(seconds * RATE_HZ)
    tone = np.sin(np.arange(n_samples) * 0.05) * np.linspace(0, 0.2, n_samples)
    return Samples((rng.standard_normal(n_samples) * 0.05 + tone).astype(np.float32), RATE_HZ)


def by_transformers(folder: Path, samples: Samples) -> list[np.ndarray]:
    """Return all hidden states of the whole clip, and the last one once more."""
    front, model = (
        transformers.AutoFeatureExtractor.from_pretrained(folder),
        transformers.AutoModel.from_pretrained(folder).eval(),
    )
    heard = front(samples.values, sampling_rate=RATE_HZ, return_tensors="pt")
    network = model.encoder if model.config.model_type == "whisper" else model
    with torch.inference_mode():
        output = network(**heard, output_hidden_states=True)
    return [state[0].numpy() for state in (*output.hidden_states, output.last_hidden_state)]


@pytest.mark.parametrize("family", [*FAMILIES, "whisper"])
def test_each_family_equals_transformers(tmp_path, family):
    folder = save(tmp_path / family, family)
    samples = noise(1.3)
    states = by_transformers(folder, samples)
    for argument, expected in {
        f"{folder}": states[-1],
        f"{folder},layer=last": states[-1],
        f"{folder},layer=2": states[2],
        f"{folder},layers=mean": np.mean(states[1:4], axis=0),
        f"{folder},layers=0-1": np.mean(states[:2], axis=0),
    }.items():
        features = extractor(argument).load("cpu")(samples)
        assert features.values.dtype == np.float32
        assert features.valid is None
        assert features.values.shape == (65 if family == "whisper" else len(expected), 24)
        assert features.values == pytest.approx(expected[: len(features.values)], abs=1e-5)


@pytest.mark.parametrize(
    ("family", "settings"),
    [
        ("wav2vec2", {"do_stable_layer_norm": True, "feat_extract_norm": "layer", "do_normalize": False}),
        ("hubert", {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}),
        ("wavlm", {"conv_stride": (5, 2, 2, 2, 2, 2, 1), "do_normalize": False}),
    ],
)
def test_large_layouts_and_sound_that_is_not_levelled_equal_transformers(tmp_path, family, settings):
    folder = save(tmp_path / "model", family, **settings)
    samples = noise(0.7)
    one = extractor(str(folder))
    assert one.card.rate_hz == (100 if "conv_stride" in settings else 50)
    assert one.load("cpu")(samples).values == pytest.approx(by_transformers(folder, samples)[-1], abs=1e-5)


def test_a_model_with_a_head_gives_the_features_below_it(tmp_path):
    torch.manual_seed(0)
    transformers.Wav2Vec2ForCTC(transformers.Wav2Vec2Config(**SMALL, vocab_size=30)).save_pretrained(tmp_path / "ctc")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "ctc")
    torch.manual_seed(0)
    transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(**WHISPER)).save_pretrained(
        tmp_path / "asr"
    )
    transformers.WhisperFeatureExtractor(feature_size=16).save_pretrained(tmp_path / "asr")
    for name in ("ctc", "asr"):
        expected = by_transformers(tmp_path / name, noise(1))[-1]
        features = extractor(str(tmp_path / name)).load("cpu")(noise(1)).values
        assert features == pytest.approx(expected[: len(features)], abs=1e-5)


def test_a_feature_extractor_that_was_saved_with_its_processor_is_found(tmp_path):
    folder = save(tmp_path / "model", "wav2vec2")
    expected = extractor(str(folder)).load("cpu")(noise(1)).values
    own = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    (folder / "processor_config.json").write_text(
        json.dumps({"feature_extractor": own, "processor_class": "Wav2Vec2Processor"})
    )
    assert np.array_equal(extractor(str(folder)).load("cpu")(noise(1)).values, expected)


def test_pickled_weights_are_read_too(tmp_path):
    folder = save(tmp_path / "model", "hubert")
    expected = extractor(str(folder)).load("cpu")(noise(1)).values
    torch.save(transformers.HubertModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert np.array_equal(extractor(str(folder)).load("cpu")(noise(1)).values, expected)


def test_the_card_says_what_the_numbers_depend_on(tmp_path):
    folder = save(tmp_path / "my speech model", "wavlm")
    one = extractor(f"{folder},layer=2")
    card = one.card
    assert (card.name, card.modality, card.reads) == ("my-speech-model-layer-2", "audio", Reads.SAMPLES)
    assert (card.dimension, card.rate_hz, card.sample_rate_hz) == (24, 50, RATE_HZ)
    assert card.settings["layers"] == "2"
    assert card.weights["name"] == "my speech model"
    assert len(card.weights["sha256"]) == 64
    assert {"torch", "transformers"} == set(card.versions)
    assert pickle.loads(pickle.dumps(one)).card == card
    json.dumps([card.settings, card.versions, card.weights])
    other = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").write_text(json.dumps({**other, "do_normalize": False}))
    assert extractor(f"{folder},layer=2").card.weights != card.weights


@pytest.mark.parametrize("family", ["wav2vec2", "wavlm", "data2vec-audio"])
def test_pieces_of_a_long_clip_differ_only_by_what_attention_has_seen(tmp_path, family):
    folder, samples = save(tmp_path / family, family), noise(73.21)  # which gets louder all the time
    states = by_transformers(folder, samples)
    convolved = extractor(f"{folder},layer=0").load("cpu")(samples).values
    assert convolved == pytest.approx(states[0], abs=5e-5)
    features = extractor(str(folder)).load("cpu")(samples).values
    assert features.shape == states[-1].shape
    difference = np.abs(features - states[-1])
    assert 0 < difference.mean() < 0.002 * states[-1].std()


def test_pieces_of_whisper_are_its_windows(tmp_path):
    samples = noise(73.21)
    hear = extractor(str(save(tmp_path / "whisper", "whisper"))).load("cpu")
    features = hear(samples).values
    assert len(features) == -(-len(samples.values) // 320)
    for start_s, first_s, last_s in ((0, 0, 25), (20, 25, 45), (40, 45, 65), (60, 65, 74)):
        window = samples.values[start_s * RATE_HZ : (start_s + PIECE_S) * RATE_HZ]
        heard = hear(Samples(window, RATE_HZ)).values[(first_s - start_s) * 50 : (last_s - start_s) * 50]
        assert np.array_equal(features[first_s * 50 : last_s * 50], heard)


def test_a_clip_of_exactly_a_piece_is_read_at_once(tmp_path):
    folder = save(tmp_path / "model", "hubert")
    samples = noise(PIECE_S)
    features = extractor(str(folder)).load("cpu")(samples).values
    assert features == pytest.approx(by_transformers(folder, samples)[-1], abs=1e-5)


@pytest.mark.parametrize("family", ["hubert", "whisper"])
def test_memory_does_not_grow_with_the_clip(tmp_path, family):
    hear = extractor(str(save(tmp_path / family, family))).load("cpu")
    hear(noise(60))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    features = hear(noise(300)).values
    grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    made_mib = 300 * RATE_HZ * (8 + 8 + 8 + 4) / 2**20 + features.nbytes / 2**20  # the test's own sound
    assert grown_mib < made_mib + 100


@pytest.mark.parametrize("family", ["wav2vec2", "whisper"])
def test_digital_silence_has_finite_features(tmp_path, family):
    features = extractor(str(save(tmp_path / family, family))).load("cpu")(
        Samples(np.zeros(RATE_HZ, np.float32), RATE_HZ)
    )
    assert np.isfinite(features.values).all()
    assert features.valid is None


def test_sound_that_is_too_short_or_damaged_is_said(tmp_path):
    hear = extractor(str(save(tmp_path / "a", "wav2vec2"))).load("cpu")
    assert len(hear(Samples(np.ones(400, np.float32), RATE_HZ)).values) == 1
    with pytest.raises(FeatureError, match=r"0\.0249 s long, and a needs 0\.0250 s"):
        hear(Samples(np.ones(399, np.float32), RATE_HZ))
    with pytest.raises(MissingModalityError, match="no samples"):
        hear(Samples(np.zeros(0, np.float32), RATE_HZ))
    broken = np.zeros(RATE_HZ, np.float32)
    broken[8000] = np.nan
    with pytest.raises(FeatureError, match=r"sample 8000 \(0\.500 s\)"):
        hear(Samples(broken, RATE_HZ))
    whisper = extractor(str(save(tmp_path / "w", "whisper"))).load("cpu")
    assert len(whisper(Samples(np.ones(1, np.float32), RATE_HZ)).values) == 1


def test_a_model_that_cannot_be_used_is_refused_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    transformers.BertModel(
        transformers.BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8)
    ).save_pretrained(tmp_path / "bert")
    transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "bert")
    for argument, match in {
        None: "hf needs a model",
        str(tmp_path / "missing"): "neither a folder that exists nor a hub name",
        str(tmp_path / "bert"): "is a bert; expected one of data2vec-audio, hubert",
        str(save(tmp_path / "adapted", "wav2vec2", add_adapter=True)): "has an adapter, which merges steps",
        f"{save(tmp_path / 'a', 'hubert')},layer=4": "the model has layers 0 to 3",
        f"{save(tmp_path / 'w', 'whisper')},layers=2-7": "the model has layers 0 to 3",
    }.items():
        with pytest.raises(ConfigError, match=match) as caught:
            extractor(argument)
        assert "\n" not in str(caught.value)


def test_an_incomplete_or_foreign_folder_is_refused_in_one_line(tmp_path):
    folder = save(tmp_path / "model", "wav2vec2")
    front = (folder / "preprocessor_config.json").read_text()
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ConfigError, match=r"has no feature extractor: expected one of preprocessor_config\.json"):
        extractor(str(folder))
    (folder / "preprocessor_config.json").write_text(json.dumps({**json.loads(front), "auto_map": {"A": "evil.A"}}))
    with pytest.raises(ConfigError, match="brings its own Python code"):
        extractor(str(folder))
    (folder / "preprocessor_config.json").write_text(front.replace("16000", "8000"))
    with pytest.raises(ConfigError, match="was trained at 8000 Hz"):
        extractor(str(folder)).load("cpu")
    (folder / "preprocessor_config.json").write_text(front)
    (folder / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ConfigError, match="cannot be loaded") as caught:
        extractor(str(folder)).load("cpu")
    assert "\n" not in str(caught.value)


def test_weights_of_another_model_are_refused(tmp_path):
    folder, deeper = save(tmp_path / "model", "hubert"), save(tmp_path / "deeper", "hubert", num_hidden_layers=5)
    (folder / "config.json").write_bytes((deeper / "config.json").read_bytes())
    with pytest.raises(ConfigError, match=r"lacks \d+ of its weights, first encoder"):
        extractor(str(folder)).load("cpu")
