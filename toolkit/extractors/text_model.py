"""The text set of `--text-model`: the last hidden states of a BERT, one vector per token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fmltk.toolkit.errors import TextModelError
from fmltk.toolkit.extractors.contract import Card, Features, Reads, Tokens, Transcript
from fmltk.toolkit.text.language import MAX_UNKNOWN_SHARE, unknown_tokens

if TYPE_CHECKING:
    from fmltk.toolkit.hf_folder import ModelFolder
    from fmltk.toolkit.text.bert import TextEncoder, TextSequence


@dataclass(frozen=True, slots=True)
class TextModelSet:
    """A text model whose files the run has found; None where no clip has a transcript."""

    model: ModelFolder | None

    @property
    def card(self) -> Card:
        """The set's card."""
        model = self.model
        weights = {} if model is None else {"name": model.name, "sha256": model.sha256}
        return Card(name="model", modality="text", reads=Reads.TEXT, weights=weights)

    def load(self, device: str) -> TokenVectors:
        """Return the function of one transcript. Raises TextModelError if the model cannot be loaded."""
        from fmltk.toolkit.text.bert import TextEncoder

        if self.model is None:
            raise TextModelError("the run has no text model, for no clip had a transcript; run the same command again")
        return TokenVectors(TextEncoder(_on_this_machine(self.model), device=device))


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """The function of one transcript, and the encoder behind it."""

    encoder: TextEncoder

    def __call__(self, transcript: Transcript) -> Features:
        """Return a text's token vectors float32 (n_tokens, d), its tokens, and what is odd about it."""
        return token_features(self.encoder.encode(transcript.text))


def token_features(encoded: TextSequence) -> Features:
    """Return an encoded text as features float32 (n_tokens, d), with what is odd about it."""
    warnings = []
    if encoded.n_truncated:
        warnings.append(f"{encoded.n_truncated} tokens beyond the model's longest input were cut off")
    if encoded.unknown_share > MAX_UNKNOWN_SHARE:
        warnings.append(f"of the tokens, {unknown_tokens(encoded.unknown_share)}")
    return Features(
        encoded.features,
        warnings=tuple(warnings),
        columns={"text_tokens_cut": encoded.n_truncated, "text_unknown_share": encoded.unknown_share},
        tokens=Tokens(encoded.ids, encoded.tokens, encoded.spans),
    )


def _on_this_machine(model: ModelFolder) -> ModelFolder:
    """Return the text model's files; on another machine than the run's they may lie elsewhere.

    Raises TextModelError if this machine has no such model, or another one of that name.
    """
    from fmltk.toolkit.text.folder import find_text_model

    if model.folder.is_dir():
        return model
    found = find_text_model(model.name)
    if found.sha256 != model.sha256:
        raise TextModelError(
            f"text model {model.name!r} on the machine of this worker is another one than the run's; install the same "
            "version on both"
        )
    return found
