"""A CTC model of the Hugging Face library as an aligner: wav2vec 2.0, HuBERT and their kin, of any language.

The model's files come from a folder, or by name from the hub; no code of theirs is run. Long sound is heard in pieces
that overlap, so that memory is bounded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.alignment.viterbi import token_frames
from fmltk.toolkit.alignment.words import TimedWord
from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.hf_folder import SAFE, ModelFolder, ModelKind, find_model, load_weights, loading
from fmltk.toolkit.text.language import is_unspaced
from fmltk.toolkit.text.pieces import words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

PIECE_S, CONTEXT_S = 30, 2  # of sound heard at a time, and heard on both sides of it but not used
_VOCABULARIES = ("vocab.json", "tokenizer.json")
CTC_MODEL = ModelKind(
    noun="aligner",
    error=ConfigError,
    advice="give hf:FOLDER, or hf:NAME of a CTC model that writes letters, such as a wav2vec 2.0",
    needs="vocabulary",
    needs_files=_VOCABULARIES,
    saved_by="tokenizer.save_pretrained",
    small_files=(
        "config.json", "preprocessor_config.json", "processor_config.json", "tokenizer_config.json",
        "special_tokens_map.json", "added_tokens.json", *_VOCABULARIES,
    ),
)  # fmt: skip
_DIGITS = 12


class CtcAligner:
    """The letters of a transcript, found in what a CTC model hears. A clip's times depend on that clip alone.

    model : a folder, or a name on the hub

    Raises ConfigError if it cannot be found or loaded, or is not a CTC model of letters.
    """

    def __init__(self, model: str) -> None:
        source = find_model(model, CTC_MODEL)
        self._model, self._extractor, tokenizer = _load(source)
        self._vocabulary: dict[str, int] = tokenizer.get_vocab()
        self._blank = int(self._model.config.pad_token_id)
        self._delimiter = self._vocabulary.get(getattr(tokenizer, "word_delimiter_token", None) or "|")
        self.rate_hz = int(self._extractor.sampling_rate)
        self._samples_per_frame = int(self._model.config.inputs_to_logits_ratio)
        self.name = f"hf:{source.name} {source.sha256[:_DIGITS]}"

    def words(self, samples: NDArray[np.float32], text: str, language: str | None) -> list[TimedWord]:
        """Return when each word is spoken (see `forced.Aligner`); one of which the model knows no letter has no time.

        Raises FeatureError if the model knows no letter of the text, or the sound is too short for it.
        """
        words = words_of(text)
        letters: list[int] = []
        places: list[tuple[int, int]] = []  # of each word among the letters
        for word in words:
            own = [number for one in word if (number := self._number(one)) is not None]
            if own and letters and self._delimiter is not None and not is_unspaced(word[0]):
                letters.append(self._delimiter)
            places.append((len(letters), len(letters) + len(own)))
            letters += own
        if not letters:
            raise FeatureError(f"the aligner knows no letter of the transcript {text[:40]!r}; is it of this language?")
        frames = token_frames(self._log_probs(samples), letters, blank=self._blank)
        frame_s = self._samples_per_frame / self.rate_hz
        return [
            TimedWord(word, None, None)
            if first == last
            else TimedWord(word, round(frames[first][0] * frame_s, 6), round(frames[last - 1][1] * frame_s, 6))
            for word, (first, last) in zip(words, places, strict=True)
        ]

    def _number(self, letter: str) -> int | None:
        forms = (letter, letter.lower(), letter.upper())
        return next((self._vocabulary[one] for one in forms if one in self._vocabulary), None)

    def _log_probs(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the logarithms of the model's probabilities, float32 (n_frames, n_tokens)."""
        import torch

        heard = self._extractor(samples, sampling_rate=self.rate_hz, return_tensors="np")["input_values"][0]
        per_frame = self._samples_per_frame
        piece, context = (seconds * self.rate_hz // per_frame for seconds in (PIECE_S, CONTEXT_S))  # in frames
        parts = []
        for start in range(0, max(len(heard) // per_frame, 1), piece):
            first = max(start - context, 0)
            batch = torch.from_numpy(heard[None, first * per_frame : (start + piece + context) * per_frame])
            with torch.inference_mode():
                logits = self._model(batch).logits[0]  # (n_frames, n_tokens)
            parts.append(torch.log_softmax(logits.float(), dim=-1)[start - first :][:piece].numpy())
        return np.concatenate(parts)


def _load(source: ModelFolder) -> tuple[Any, Any, Any]:
    """Return (model, feature extractor, tokenizer)."""
    with loading(source, CTC_MODEL):
        from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer

        model = load_weights(AutoModelForCTC, source, CTC_MODEL, unused=["*masked_spec_embed"])
        extractors: Any = AutoFeatureExtractor  # its method has no types
        extractor = extractors.from_pretrained(source.folder, **SAFE)
        tokenizer = AutoTokenizer.from_pretrained(source.folder, **SAFE)
    if not hasattr(model.config, "inputs_to_logits_ratio") or model.config.pad_token_id is None:
        raise ConfigError(
            f"aligner {source.name!r} ({model.config.model_type}) is not a CTC model of audio samples; "
            f"{CTC_MODEL.advice}"
        )
    return model, extractor, tokenizer
