"""The text modality: the hidden states of a BERT or its kin, one vector per token.

RoBERTa, XLM-R, DeBERTa, ModernBERT, ELECTRA, MPNet and others read a text as a BERT does, between two special tokens.

Source: paper, section 4.1.2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import MissingModalityError, TextModelError
from fmltk.toolkit.hf_folder import SAFE, ModelFolder, load_weights, loading, transformers_version
from fmltk.toolkit.text.folder import TEXT_MODEL, find_text_model
from fmltk.toolkit.text.language import MAX_UNKNOWN_SHARE, default_text_model, majority_language, unknown_tokens
from fmltk.toolkit.text.plain_bert import PlainBert, load_plain_bert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

_SENTENCE_PIECE_SPACE = "\N{LOWER ONE EIGHTH BLOCK}"
MAX_TOKENS = 512  # BERT's; with [CLS] and [SEP]


@dataclass(frozen=True, slots=True)
class TextSequence:
    """A text as a sequence of token vectors.

    Attributes
    ----------
    features
        float32, shape (n_tokens, d): hidden states, by default the last, first of [CLS], last of [SEP].
    ids
        int32, shape (n_tokens,): the tokens' numbers in the model's vocabulary.
    tokens
        The tokens as written in the vocabulary, n_tokens of them.
    spans
        int32, shape (n_tokens, 2): the characters of the text that each token stands for, from and up to, without white
        space around them; 0, 0 of [CLS] and [SEP]. None where the tokenizer does not say it, because it is not a fast
        one.
    n_truncated
        Tokens that were cut off at the end, because the model takes no more.
    unknown_share
        How many of the tokens, 0 to 1, the model's vocabulary does not have: [UNK]. The frame does not count.
    """

    features: NDArray[np.float32]
    ids: NDArray[np.int32]
    tokens: tuple[str, ...]
    spans: NDArray[np.int32] | None
    n_truncated: int
    unknown_share: float


class TextEncoder:
    """A BERT or its kin, loaded once; each text is one forward pass, so that its features depend on it alone.

    Parameters
    ----------
    model
        "minilm", a local folder, a hub name, or what `find_text_model` returned.
    device
        "cpu", "cuda" or another of torch's. Results are the same bytes only on one kind of device.
    states
        The features, given the model's output with all its hidden states; None: the last hidden states.
    keep_special
        Whether [CLS] and [SEP] are tokens of the result; the model reads them in any case.

    Attributes
    ----------
    dimension
        d, the length of a token's vector.
    max_tokens
        The longest sequence that the model takes, at most 512.

    Raises
    ------
    TextModelError
        If the model cannot be found or loaded; one line that says what to do instead.
    """

    def __init__(
        self,
        model: str | ModelFolder,
        *,
        device: str = "cpu",
        states: Callable[[Any], Any] | None = None,
        keep_special: bool = True,
    ) -> None:
        self._source = find_text_model(model) if isinstance(model, str) else model
        self._device, self._states, self._keep_special = device, states, keep_special
        plain = load_plain_bert(self._source.folder, device) if states is None else None
        self._model: PlainBert | _OfTransformers = plain or _OfTransformers(self._source, device, states)
        self.dimension = self._model.dimension
        self.max_tokens = min(MAX_TOKENS, self._model.max_tokens)

    @property
    def identity(self) -> dict[str, str | int | None]:
        """The identity of the features: name, hub revision, sha256 of the files, dimension, transformers' version."""
        return {
            "name": self._source.name,
            "revision": self._source.revision,
            "sha256": self._source.sha256,
            "dimension": self.dimension,
            "max_tokens": self.max_tokens,
            "transformers": transformers_version(),
        }

    def encode(self, text: str) -> TextSequence:
        """Return the hidden states of one text's tokens, [CLS] and [SEP] included where they are kept.

        Lone surrogates, which no file can hold, count as U+FFFD. Text beyond `max_tokens` is cut off and counted.

        Raises MissingModalityError where the text is blank or holds no token, for example only control characters,
        TextModelError where the tokenizer is another model's.
        """
        import torch

        ids, spans, n_truncated = self._kept_tokens(text)
        if max(ids) >= self._model.n_known:
            raise TextModelError(
                f"text model {self._source.name!r} in {self._source.folder} has vectors for {self._model.n_known} "
                f"tokens, and its tokenizer gives token {max(ids)}: they do not belong together; "
                "save both of one model there"
            )
        batch = torch.tensor([ids], device=self._device)  # (1, n_tokens)
        with torch.inference_mode():
            hidden = self._model.hidden(batch)
        kept_tokens = slice(None) if self._keep_special else slice(1, -1)
        return TextSequence(
            features=hidden[0, kept_tokens].to("cpu", torch.float32).numpy(),  # (n_tokens, d)
            ids=np.asarray(ids[kept_tokens], dtype=np.int32),
            tokens=tuple(self._model.strings(ids[kept_tokens])),
            spans=None if spans is None else spans[kept_tokens],
            n_truncated=n_truncated,
            unknown_share=self._n_unknown(ids) / (len(ids) - 2),
        )

    def token_ids(self, text: str) -> NDArray[np.int32]:
        """Return the numbers of a text's tokens, int32 (n_tokens,), as `encode` reads them.

        Raises MissingModalityError as `encode` does.
        """
        return np.asarray(self._kept_tokens(text)[0], dtype=np.int32)

    def network(self) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """Return the configuration, as config.json has it, and the weights by name, without the pooler's."""
        _, model = _load(self._source, self._device)
        weights = {name: value for name, value in model.state_dict().items() if not name.startswith("pooler.")}
        return model.config.to_dict(), weights

    def check_language(self, texts: Sequence[str]) -> None:
        """Raise TextModelError if the model does not know the language of these texts.

        That is so where more than a fifth of their tokens are unknown to it. A vocabulary of bytes knows every text.
        """
        ids = {text: self._tokens(text)[0] for text in texts}
        n_unknown = {text: self._n_unknown(ids[text]) for text in ids}
        n_tokens = sum(len(one) - 2 for one in ids.values())
        share = sum(n_unknown.values()) / max(n_tokens, 1)
        if share <= MAX_UNKNOWN_SHARE:
            return
        language = majority_language(
            text for text in ids if n_unknown[text] > MAX_UNKNOWN_SHARE * len(ids[text])
        ).language
        better = default_text_model(language)
        cure = f"give --text-model {better}, or" if better != self._source.name else "give --text-model"
        raise TextModelError(
            f"text model {self._source.name!r} does not know a language of the transcripts ({language or 'unknown'}): "
            f"of {n_tokens} tokens, {unknown_tokens(share)}; {cure} a folder of a model of that language"
        )

    def _kept_tokens(self, text: str) -> tuple[list[int], NDArray[np.int32] | None, int]:
        """Return the tokens' numbers, their spans, and how many were cut off at the end."""
        if not text.strip():  # to a vocabulary of bytes, white space is a token
            raise MissingModalityError("the transcript is empty")
        ids, spans = self._tokens(text)
        if len(ids) <= self._model.n_special:
            raise MissingModalityError("the transcript holds no word")
        n_truncated = max(len(ids) - self.max_tokens, 0)
        if n_truncated:
            kept = [*range(self.max_tokens - 1), -1]  # [SEP] stays last
            ids, spans = [ids[place] for place in kept], None if spans is None else spans[kept]
        return ids, spans, n_truncated

    def _tokens(self, text: str) -> tuple[list[int], NDArray[np.int32] | None]:
        text = without_surrogates(text)
        ids, spans = self._model.tokens(text)
        return ids, None if spans is None else _trimmed(text, self._model.strings(ids), spans)

    def _n_unknown(self, ids: Sequence[int]) -> int:
        return sum(one == self._model.unknown_id for one in ids[1:-1])


class _OfTransformers:
    """A tokenizer and a network of transformers, which reads every kind of BERT; the attributes are `PlainBert`'s."""

    def __init__(self, source: ModelFolder, device: str, states: Callable[[Any], Any] | None) -> None:
        self._tokenizer, self._model = _load(source, device)
        self._states = states
        self.dimension = int(self._model.config.hidden_size)
        self.max_tokens = min(_n_positions(self._model), int(self._tokenizer.model_max_length))
        self.n_known = int(self._model.get_input_embeddings().num_embeddings)
        self.n_special = int(self._tokenizer.num_special_tokens_to_add())

    @property
    def unknown_id(self) -> int | None:
        """The number of the token for what the vocabulary does not have; None where there is none."""
        number: int | None = self._tokenizer.unk_token_id
        return number

    def tokens(self, text: str) -> tuple[list[int], list[tuple[int, int]] | None]:
        """Return the numbers of a text's tokens, and which characters each stands for; None where that is unknown."""
        fast = self._tokenizer.is_fast
        encoded = self._tokenizer(text, verbose=False, return_offsets_mapping=fast)
        return encoded["input_ids"], encoded["offset_mapping"] if fast else None

    def strings(self, ids: Sequence[int]) -> list[str]:
        """Return tokens as the vocabulary writes them."""
        strings: list[str] = self._tokenizer.convert_ids_to_tokens(ids)
        return strings

    def hidden(self, batch: Tensor) -> Any:
        """Return what the features are, float32 (1, T, d), of token numbers int64 (1, T)."""
        import torch

        output = self._model(
            input_ids=batch, attention_mask=torch.ones_like(batch), output_hidden_states=self._states is not None
        )
        return output.last_hidden_state if self._states is None else self._states(output)


def without_surrogates(text: str) -> str:
    """Join surrogate pairs to the character they stand for, and turn lone surrogates into U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _trimmed(text: str, tokens: Sequence[str], spans: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
    """Return spans without the white space that some tokenizers count to the word after it, int32 (n, 2).

    A token that is nothing else has a span of no character, also where it was put before the text's first.
    """
    trimmed = np.array(spans, np.int32)
    for place, (start, end) in enumerate(spans):
        word = "" if tokens[place] == _SENTENCE_PIECE_SPACE else text[start:end].strip()
        first = start + text[start:end].find(word)
        trimmed[place] = first, first + len(word)
    return trimmed


def _n_positions(model: Any) -> int:
    """Return how many tokens a model can number. RoBERTa and its kin leave out as many as come up to that of padding.

    They say so by a table of positions that has a padding token.
    """
    most = int(model.config.max_position_embeddings)
    table = getattr(getattr(model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return most if padding is None else most - padding - 1


def _load(source: ModelFolder, device: str) -> tuple[Any, Any]:
    """Return (tokenizer, model)."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one text at a time: its threads would only cost
    with loading(source, TEXT_MODEL):
        from transformers import AutoModel, AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(source.folder, **SAFE)
        # The pooler follows the last hidden states, so a checkpoint without it is whole for our purpose.
        model = load_weights(AutoModel, source, TEXT_MODEL, device=device, unused=["pooler.*"])
    framed = tokenizer("")["input_ids"] == [tokenizer.cls_token_id, tokenizer.sep_token_id]
    if model.config.is_encoder_decoder or not framed or not hasattr(model.config, "max_position_embeddings"):
        raise TextModelError(
            f"text model {source.name!r} ({model.config.model_type}) is not a BERT or its kin, which read a text at "
            f"once between [CLS] and [SEP]; {TEXT_MODEL.advice}"
        )
    return tokenizer, model
