"""A Whisper, loaded once: from a window of sound to tokens, as transformers generates them, greedily."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.hf_folder import SAFE, load_weights, loading, quiet_transformers
from fmltk.toolkit.settings import SPEECH_RATE_HZ
from fmltk.toolkit.speech.model import WHISPER, SpeechModel, here

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Heard:
    """The generated tokens of a window.

    Attributes
    ----------
    tokens
        Words and time stamps; without what begins and ends the text.
    times_s
        When each token begins, seconds after the window's beginning, and when the last one ends; empty where the model
        does not say it.
    log_probs
        Log-probability of each token, and of the end of the text where it was generated.
    no_speech
        The probability that nobody speaks.
    language
        A code; None where the model knows English alone.
    """

    tokens: tuple[int, ...]
    times_s: tuple[float, ...]
    log_probs: tuple[float, ...]
    no_speech: float
    language: str | None


class Whisper:
    """Recognises what is said in up to `window_s` seconds; the same sound gives the same tokens.

    Raises ConfigError if the model cannot be loaded, or its parts do not fit each other.
    """

    def __init__(self, model: SpeechModel, *, device: str = "cpu") -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        source = here(model).source
        with loading(source, WHISPER):
            from transformers import AutoFeatureExtractor, AutoTokenizer, WhisperForConditionalGeneration

            extractors: Any = AutoFeatureExtractor  # its method has no types
            self._extractor = extractors.from_pretrained(source.folder, **SAFE)
            self._tokenizer: Any = AutoTokenizer.from_pretrained(source.folder, **SAFE)
            self._model = load_weights(WhisperForConditionalGeneration, source, WHISPER, device=device)
            # Word times read the attention, which the faster ways to compute it do not give: one way for every clip.
            self._model.set_attn_implementation("eager")
        self._device, self.has_word_times = device, model.has_word_times
        said = self._model.generation_config
        self.first_stamp = int(said.no_timestamps_token_id) + 1
        self._no_speech = int(said.no_timestamps_token_id) - 1
        self._languages = {
            int(number): token.strip("<|>") for token, number in (said.lang_to_id if model.languages else {}).items()
        }
        config = self._model.config
        self.window_samples = int(self._extractor.n_samples)
        n_frames = 2 * config.max_source_positions  # of the spectrum, two of which the encoder joins
        fits = (
            self._extractor.sampling_rate == SPEECH_RATE_HZ
            and self._extractor.feature_size == config.num_mel_bins
            and self._extractor.nb_max_frames == n_frames
            and self.first_stamp + config.max_source_positions < config.vocab_size
        )
        if not fits:
            raise ConfigError(
                f"Whisper {source.name!r}: its network takes {n_frames} frames of {config.num_mel_bins} bands and "
                f"{config.vocab_size} tokens, and its other files prepare {self._extractor.nb_max_frames} frames of "
                f"{self._extractor.feature_size} bands at {self._extractor.sampling_rate} Hz, time stamps from token "
                f"{self.first_stamp} on; they do not belong together"
            )

    @property
    def window_s(self) -> float:
        """How much sound the model hears at a time: 30 s of every published one."""
        return self.window_samples / SPEECH_RATE_HZ

    def decode(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without time stamps."""
        words = [token for token in tokens if token < self.first_stamp]
        return str(self._tokenizer.decode(words, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def hear(self, samples: NDArray[np.float32], language: str | None, **limits: int) -> Heard:
        """Return what is said in a window, float32 (n_samples,), at most `window_samples` of 16,000 a second.

        language : a code; None: the likeliest one
        limits : what transformers' generate takes, such as max_new_tokens
        """
        import torch

        prepared = self._extractor(
            np.asarray(samples, np.float32),
            sampling_rate=SPEECH_RATE_HZ,
            return_tensors="pt",
            return_attention_mask=True,
        ).to(self._device)
        with torch.inference_mode(), quiet_transformers():
            encoded = self._model.model.encoder(prepared["input_features"])
            no_speech, likeliest = self._first_look(encoded)
            language = (language or likeliest) if self._languages else None
            asked = {"language": language, "task": "transcribe"} if language else {}
            found = self._model.generate(
                encoder_outputs=encoded,
                attention_mask=prepared["attention_mask"],
                return_timestamps=True,
                return_token_timestamps=self.has_word_times,
                return_dict_in_generate=True,
                output_scores=True,
                force_unique_generate_call=True,
                do_sample=False,
                num_beams=1,
                **asked,
                **limits,
            )
            log_probs = [float(one.log_softmax(-1)[0, token]) for one, token in _chosen(found)]
        tokens = found["sequences"][0].tolist()
        first = len(tokens) - len(log_probs)
        ended = tokens[-1] == self._model.generation_config.eos_token_id
        times = found["token_timestamps"][0, first:].tolist() if self.has_word_times else []
        own = tuple(tokens[first : len(tokens) - ended])
        if times and not ended:
            times.append(len(samples) / SPEECH_RATE_HZ)
        return Heard(own, tuple(times), tuple(log_probs), no_speech, language)

    def _first_look(self, encoded: Any) -> tuple[float, str | None]:
        """Return the probability that nobody speaks, and the likeliest language, by the first token's scores."""
        import torch

        start = torch.tensor([[self._model.generation_config.decoder_start_token_id]], device=self._device)
        scores = self._model(encoder_outputs=encoded, decoder_input_ids=start).logits[0, 0].float()
        no_speech = float(scores.softmax(-1)[self._no_speech])
        numbers = sorted(self._languages)
        return no_speech, self._languages[numbers[int(scores[numbers].argmax())]] if numbers else None


def _chosen(found: Any) -> list[tuple[Any, int]]:
    """Return each step's scores and the token that was chosen by them."""
    scores = found["scores"]
    return list(zip((one.float() for one in scores), found["sequences"][0, -len(scores) :].tolist(), strict=True))
