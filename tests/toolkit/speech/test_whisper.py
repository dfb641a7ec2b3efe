"""A tiny Whisper against transformers' own generate, and folders that are none."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.hf_folder import loading, quiet_transformers
from fmltk.toolkit.speech.model import WHISPER, find_speech_model
from fmltk.toolkit.speech.whisper import Whisper

from .whisper_folder import write_whisper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray


def noise(seconds: float, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(scale=0.1, size=round(16_000 * seconds)).astype(np.float32)


def by_transformers(folder: Path, samples: NDArray[np.float32], language: str | None) -> tuple[list[int], list[float]]:
    """What transformers' own call gives for the same sound: tokens with the end of the text, and their times."""
    with loading(find_speech_model(f"hf:{folder}").source, WHISPER):
        import torch
        from transformers import AutoFeatureExtractor, WhisperForConditionalGeneration

        extractors: Any = AutoFeatureExtractor
        extractor = extractors.from_pretrained(folder)
        model = WhisperForConditionalGeneration.from_pretrained(folder, attn_implementation="eager")
    inputs = extractor(samples, sampling_rate=16_000, return_tensors="pt", return_attention_mask=True)
    with torch.inference_mode(), quiet_transformers():
        out = model.generate(
            **inputs,
            language=language,
            task="transcribe",
            return_timestamps=True,
            return_token_timestamps=True,
            return_dict_in_generate=True,
            force_unique_generate_call=True,
        )
    return out["sequences"][0].tolist(), out["token_timestamps"][0].tolist()


@pytest.mark.parametrize(
    ("seconds", "seed", "language"), [(1.0, 0, "en"), (0.4, 1, "zh"), (0.7, 2, None), (0.05, 3, "de")]
)
def test_tokens_and_times_are_those_of_transformers(
    whisper: Whisper, whisper_folder: Path, seconds: float, seed: int, language: str | None
) -> None:
    samples = noise(seconds, seed)
    tokens, times = by_transformers(whisper_folder, samples, language)
    heard = whisper.hear(samples, language)
    prompt = 3  # where the text begins, the language, the task
    assert list(heard.tokens) == tokens[prompt : prompt + len(heard.tokens)]
    assert len(tokens) - prompt - len(heard.tokens) in (0, 1)  # the end of the text
    assert list(heard.times_s[: len(heard.tokens)]) == times[prompt : prompt + len(heard.tokens)]
    assert len(heard.times_s) == len(heard.tokens) + 1
    assert language in (None, heard.language)
    assert all(one <= 0 for one in heard.log_probs)
    assert 0 <= heard.no_speech <= 1


def test_the_same_sound_gives_the_same_tokens_whatever_was_heard_before(whisper: Whisper) -> None:
    first = whisper.hear(noise(0.6, 5), None)
    whisper.hear(noise(0.3, 6), "zh")
    assert whisper.hear(noise(0.6, 5), None) == first


def test_without_heads_there_are_tokens_and_no_times(tmp_path: Path, whisper: Whisper) -> None:
    folder = write_whisper(tmp_path / "headless", heads=False)
    model = find_speech_model(f"hf:{folder}")
    assert not model.has_word_times
    heard, other = Whisper(model).hear(noise(0.5, 0), "en"), whisper.hear(noise(0.5, 0), "en")
    assert heard.tokens == other.tokens
    assert heard.times_s == ()


def test_a_whisper_of_english_alone_has_no_languages(tmp_path: Path) -> None:
    model = find_speech_model(f"hf:{write_whisper(tmp_path / 'tiny.en', multilingual=False)}")
    assert model.languages == ()
    assert Whisper(model).hear(noise(0.5, 0), None).language is None


def without(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def said(name: str, **changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        document = json.loads((folder / name).read_text())
        changed = {**document, **changes}
        (folder / name).write_text(json.dumps({key: one for key, one in changed.items() if one is not None}))

    return change


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (without("config.json"), "config.json"),
        (without("model.safetensors"), "has no weights"),
        (without("tokenizer.json"), "has no tokenizer"),
        (without("preprocessor_config.json"), "how audio is prepared"),
        (without("generation_config.json"), "does not say no_timestamps_token_id"),
        (said("generation_config.json", lang_to_id=None), "lang_to_id"),
        (said("config.json", model_type="bert"), "is a bert, not a Whisper"),
        (said("config.json", model_type=None), "model of unknown kind, not a Whisper"),
        (said("config.json", auto_map={"AutoModel": "mine.Model"}), "its own Python code"),
        (lambda folder: (folder / "config.json").write_text("{") and None, "not JSON"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused_before_torch_is_loaded(
    whisper_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], match: str
) -> None:
    folder = shutil.copytree(whisper_folder, tmp_path / "spoilt")
    spoil(folder)
    with pytest.raises(ConfigError, match=match):
        find_speech_model(f"hf:{folder}")


@pytest.mark.parametrize("named", ["openai/whisper-tiny", "hf:", "tiny", "hf:no such folder"])
def test_what_names_no_model_is_refused(named: str) -> None:
    with pytest.raises(ConfigError, match=r"hf:NAME or hf:FOLDER|neither a folder"):
        find_speech_model(named)


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (said("config.json", decoder_layers=3), "lacks .* of its weights"),
        (
            said("preprocessor_config.json", chunk_length=2, n_samples=32_000, nb_max_frames=200),
            "do not belong together",
        ),
        (said("preprocessor_config.json", sampling_rate=8000), "at 8000 Hz"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"\0" * 64) and None, "cannot be loaded"),
        (lambda folder: (folder / "tokenizer.json").write_text("{}") and None, "cannot be loaded"),
    ],
)
def test_files_that_do_not_fit_each_other_are_refused_when_they_are_loaded(
    whisper_folder: Path, tmp_path: Path, spoil: Callable[[Path], None], match: str
) -> None:
    folder = shutil.copytree(whisper_folder, tmp_path / "spoilt")
    spoil(folder)
    model = find_speech_model(f"hf:{folder}")
    with pytest.raises(ConfigError, match=match):
        Whisper(model)


def test_the_identity_is_of_the_files_and_not_of_the_folder(whisper_folder: Path, tmp_path: Path) -> None:
    first = find_speech_model(f"hf:{whisper_folder}").source
    copy = find_speech_model(f"hf:{shutil.copytree(whisper_folder, tmp_path / 'copy')}").source
    said("generation_config.json", max_length=31)(tmp_path / "copy")
    assert copy.sha256 == first.sha256
    assert find_speech_model(f"hf:{tmp_path / 'copy'}").source.sha256 != first.sha256


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_a_model_that_is_too_large_for_a_worker_says_what_to_do(
    whisper_folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr("fmltk.toolkit.speech.whisper.load_weights", fail)
    with pytest.raises(ConfigError, match="needs more memory than a worker may take; allow more with --worker-memory"):
        Whisper(find_speech_model(f"hf:{whisper_folder}"))
