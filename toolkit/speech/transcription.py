"""Everything that recognised text depends on, and the worker's part: one clip to what is said in it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.media.audio import read_audio
from fmltk.toolkit.settings import SPEECH_RATE_HZ
from fmltk.toolkit.speech.listening import listen
from fmltk.toolkit.speech.whisper import Whisper

if TYPE_CHECKING:
    from fmltk.toolkit.clip import Clip
    from fmltk.toolkit.media.probe import MediaInfo
    from fmltk.toolkit.speech.model import SpeechModel
    from fmltk.toolkit.speech.recognition import Recognition
    from fmltk.toolkit.speech.settings import TranscriptionSettings

_TIMED_TOKENS, _TOKENS_PER_S = 20, 3.3  # generated to see how fast that is; people speak about so many


@dataclass(frozen=True, slots=True)
class Transcription:
    """The Whisper of a run, its settings, and what hears where somebody may be speaking: "silero" or "energy"."""

    model: SpeechModel
    settings: TranscriptionSettings
    speech: str

    def document(self) -> dict[str, Any]:
        """Return what recognised text depends on, as JSON holds it."""
        source = self.model.source
        identity = {"model": source.name, "revision": source.revision, "sha256": source.sha256}
        return {**identity, **self.settings.document(), "speech": self.speech}


class Listener:
    """Recognises what is said in clips, one after the other, with a model that is loaded once."""

    def __init__(self, transcription: Transcription, *, device: str) -> None:
        self._transcription = transcription
        self._whisper = Whisper(transcription.model, device=device)

    def listen(self, clip: Clip, info: MediaInfo) -> Recognition:
        """Return what is said in a clip whose file is on this machine. Raises as `read_audio` does."""
        sound = read_audio(clip.file, info=info, start_s=clip.start_s, end_s=clip.end_s, rate_hz=SPEECH_RATE_HZ)
        how = self._transcription
        return listen(sound.samples, self._whisper, how.settings, speech=how.speech)

    def cost(self) -> float:
        """Return how many CPU-seconds a second of speech takes here, about: noise is heard, few tokens are written."""
        noise = np.random.default_rng(0).normal(scale=0.1, size=self._whisper.window_samples).astype(np.float32)
        spent = [self._spent(noise, n_tokens) for n_tokens in (1, 1, 1 + _TIMED_TOKENS)][1:]  # the first one warms up
        per_token = max(spent[1] - spent[0], 0.0) / _TIMED_TOKENS
        return spent[0] / self._whisper.window_s + per_token * _TOKENS_PER_S

    def _spent(self, samples: Any, n_tokens: int) -> float:
        started = time.process_time()
        self._whisper.hear(samples, None, min_new_tokens=n_tokens, max_new_tokens=n_tokens)
        return time.process_time() - started
