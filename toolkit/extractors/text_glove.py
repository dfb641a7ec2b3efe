"""`--text glove:FILE`: word vectors of a table in GloVe's text format or fastText's .vec, one per word."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmltk.toolkit.errors import MissingModalityError
from fmltk.toolkit.extractors.contract import Card, Features, Reads, Tokens, Transcript
from fmltk.toolkit.extractors.hf_argument import Layers, read_argument, set_name
from fmltk.toolkit.text.language import MAX_UNKNOWN_SHARE
from fmltk.toolkit.text.vector_words import words_of
from fmltk.toolkit.text.word_vectors import WordVectors, read_word_vectors

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_ENDING = re.compile(r"\.(txt|vec)$", re.IGNORECASE)


def extractor(argument: str | None) -> GloveText:
    """Return the feature set of `glove:FILE`. Raises ConfigError where the file is not a table of word vectors."""
    place, _ = read_argument(argument, (), of="glove", needs="a table of word vectors: write glove:FILE")
    return GloveText(read_word_vectors(Path(place).expanduser().absolute()))


@dataclass(frozen=True)
class GloveText:
    """A table of word vectors as a feature set; see `contract.Extractor`."""

    table: WordVectors

    @property
    def card(self) -> Card:
        """The set's card."""
        table = self.table
        return Card(
            name=set_name(_ENDING.sub("", table.path.name), Layers()),
            modality="text",
            reads=Reads.TEXT,
            dimension=table.dimension,
            settings={"words": table.n_words, "repeated": table.n_repeated, "keep_case": table.is_cased},
            weights={"name": table.path.name, "sha256": table.sha256},
        )

    def load(self, device: str) -> Callable[[Transcript], Features]:
        """Return the function of one clip; words that were met are kept."""
        del device
        read = self.table.reader()
        return lambda transcript: self._features(transcript.text, read)

    def _features(self, text: str, read: Callable[[str], NDArray[np.float32]]) -> Features:
        """Return a text's word vectors float32 (n_words, d), zeros of words that the table does not have."""
        words = words_of(text, self.table.find, keep_case=self.table.is_cased)
        if not words:
            raise MissingModalityError("the transcript holds no word" if text.strip() else "the transcript is empty")
        values = np.zeros((len(words), self.table.dimension), np.float32)
        for place, word in enumerate(words):
            if word.row >= 0:
                values[place] = read(word.written)
        unknown = sum(word.row < 0 for word in words) / len(words)
        warning = f"the table does not have {unknown:.0%} of the words, expected at most {MAX_UNKNOWN_SHARE:.0%}"
        return Features(
            values,
            warnings=(warning,) if unknown > MAX_UNKNOWN_SHARE else (),
            columns={"text_tokens_cut": 0, "text_unknown_share": unknown},
            tokens=Tokens(
                np.array([word.row for word in words], np.int32),
                tuple(word.written for word in words),
                np.array([(word.start, word.end) for word in words], np.int32),
            ),
        )
