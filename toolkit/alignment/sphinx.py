"""PocketSphinx as an aligner: English, offline, with the acoustic model and the dictionary inside its package."""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.alignment.words import TimedWord
from fmltk.toolkit.errors import ConfigError, FeatureError
from fmltk.toolkit.text.pieces import words_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FRAMES_PER_S = 100  # its default
_NAMED = 5


class PocketSphinx:
    """PocketSphinx's own alignment of a text. A clip's times depend on that clip alone.

    Raises ConfigError where the package is not installed.
    """

    rate_hz = 16_000

    def __init__(self) -> None:
        try:
            self._package: Any = importlib.import_module("pocketsphinx")
        except ImportError as error:
            raise ConfigError("pocketsphinx is not installed: pip install 'fmltk[align]'") from error
        self.name = f"pocketsphinx {importlib.metadata.version('pocketsphinx')}"
        self._decoder: Any = None

    def words(self, samples: NDArray[np.float32], text: str, language: str | None) -> list[TimedWord]:
        """Return when each word is spoken (see `forced.Aligner`).

        Raises FeatureError if the text is not English, has words that the dictionary lacks, or is not what is heard.
        """
        if language not in (None, "en"):
            raise FeatureError(f"pocketsphinx aligns English, and the transcript's language is {language!r}")
        decoder = self._decoder or self._package.Decoder(
            samprate=self.rate_hz, loglevel="FATAL", bestpath=False, lm=None, cmn="batch"
        )
        self._decoder = None  # one that fails is not used again
        words = _known_words(decoder, text)
        sound = (np.clip(samples, -1.0, 1.0) * np.float32(32767)).round().astype("<i2").tobytes()
        try:
            decoder.set_align_text(" ".join(words))
            decoder.start_utt()
            decoder.process_raw(sound, full_utt=True)
            decoder.end_utt()
            segments = list(decoder.seg() or ())
        except (RuntimeError, ValueError, IndexError) as error:
            raise FeatureError(f"pocketsphinx failed on this clip ({error})") from error
        found = [
            TimedWord(
                segment.word.partition("(")[0],  # "with(2)" is its second pronunciation
                segment.start_frame / _FRAMES_PER_S,
                (segment.end_frame + 1) / _FRAMES_PER_S,
            )
            for segment in segments
            if segment.word[0] not in "<["
        ]
        self._decoder = decoder
        if [word.text for word in found] != words:
            raise FeatureError(
                f"pocketsphinx does not hear the {len(words)} words of the transcript in this clip of "
                f"{len(samples) / self.rate_hz:.2f} s"
            )
        return found


def _known_words(decoder: Any, text: str) -> list[str]:
    """Return a text's words as the dictionary has them. Raises FeatureError where it has not."""
    found: list[str] = []
    unknown: list[str] = []
    for whole in words_of(text.replace("\N{RIGHT SINGLE QUOTATION MARK}", "'").casefold()):
        parts = "".join(one if one.isalnum() or one == "'" else " " for one in whole).split()
        for word in [whole] if decoder.lookup_word(whole) else parts:
            (found if decoder.lookup_word(word) else unknown).append(word)
    if unknown or not found:
        named = ", ".join(map(repr, unknown[:_NAMED])) + (", ..." if len(unknown) > _NAMED else "")
        raise FeatureError(
            f"pocketsphinx's dictionary lacks {len(unknown)} words of the transcript ({named}); give their times with "
            "--words, or write them as they are spoken"
        )
    return found
