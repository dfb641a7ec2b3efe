"""`--audio hf:NAME`: what a speech network of the Hugging Face library hears, one vector per step of 20 ms.

wav2vec 2.0, HuBERT, WavLM, data2vec and their kin read samples; of Whisper, which reads log-mel spectra of 30 s, the
encoder is used. Sound is at 16 kHz, brought to the level that the model's own feature extractor wants, over the whole
clip.

A clip of up to 30 s is read at once: the features are those of transformers. A longer one is read in pieces of 30 s, of
which the middle 20 s count (at the clip's ends, the end too), so that memory does not grow with it but for the samples
and the features themselves. A step stands for the same samples as in the whole clip, but attention has seen less of it.
"""

from __future__ import annotations

import importlib.metadata
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fmltk.toolkit.errors import ConfigError
from fmltk.toolkit.extractors.contract import Card, Features, Reads, Samples
from fmltk.toolkit.extractors.hf_argument import Layers, read_argument, set_name
from fmltk.toolkit.extractors.sound import check_sound, finite_features
from fmltk.toolkit.hf_folder import (
    SAFE,
    ModelFolder,
    ModelKind,
    find_model,
    load_weights,
    loading,
    transformers_version,
)
from fmltk.toolkit.settings import SPEECH_RATE_HZ

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

PIECE_S, CONTEXT_S = 30, 5  # read at once; and read on both sides of what counts
SAMPLE_MODELS = ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm")  # read samples
WHISPER = "whisper"
_WHISPER_STEP_SAMPLES = 320  # two spectra, 160 samples apart
_NORM_STEPS = 16_384  # of the first convolution, heard at once
_TINY_POWER = 1e-7  # added to the power where sound is brought to one level (transformers' feature extractor)
SPEECH_MODEL = ModelKind(
    noun="speech model",
    error=ConfigError,
    advice="give hf:FOLDER, or hf:NAME of a wav2vec 2.0, HuBERT, WavLM, data2vec or Whisper model",
    needs="feature extractor",
    needs_files=("preprocessor_config.json", "processor_config.json"),
    saved_by="feature_extractor.save_pretrained",
    small_files=("config.json", "preprocessor_config.json", "processor_config.json"),
)


def extractor(argument: str | None) -> HfSpeech:
    """Return the feature set of `hf:ARGUMENT`: a name or a folder, and which layers.

    Raises ConfigError where the model cannot be found or is of another kind, or lacks the layer.
    """
    model, options = read_argument(argument)
    layers = Layers.of(options)
    source = find_model(model, SPEECH_MODEL)
    with loading(source, SPEECH_MODEL):
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(source.folder, **SAFE)
    if config.model_type not in (*SAMPLE_MODELS, WHISPER):
        raise ConfigError(
            f"speech model {source.name!r} is a {config.model_type}; expected one of {', '.join(SAMPLE_MODELS)} or "
            f"{WHISPER}: {SPEECH_MODEL.advice}"
        )
    if getattr(config, "add_adapter", False):
        raise ConfigError(
            f"speech model {source.name!r} has an adapter, which merges steps (add_adapter in its config.json): "
            f"{SPEECH_MODEL.advice}, without one"
        )
    layers.check(config.encoder_layers if config.model_type == WHISPER else config.num_hidden_layers)
    return HfSpeech(source, layers, config.model_type, int(config.hidden_size), _step_samples(config))


def _step_samples(config: Any) -> int:
    return _WHISPER_STEP_SAMPLES if config.model_type == WHISPER else int(np.prod(config.conv_stride))


@dataclass(frozen=True, slots=True)
class HfSpeech:
    """A speech model as a feature set; see `contract.Extractor`."""

    source: ModelFolder
    layers: Layers
    model_type: str
    dimension: int
    step_samples: int

    @property
    def card(self) -> Card:
        """The set's card."""
        return Card(
            name=set_name(self.source.name, self.layers),
            modality="audio",
            reads=Reads.SAMPLES,
            dimension=self.dimension,
            rate_hz=SPEECH_RATE_HZ / self.step_samples,
            sample_rate_hz=SPEECH_RATE_HZ,
            settings={"layers": str(self.layers), "piece_s": PIECE_S, "context_s": CONTEXT_S},
            versions={"torch": importlib.metadata.version("torch"), "transformers": transformers_version()},
            weights={"name": self.source.name, "revision": self.source.revision or "", "sha256": self.source.sha256},
        )

    def load(self, device: str) -> Callable[[Samples], Features]:
        """Return the function of one clip. Raises ConfigError where the weights cannot be loaded."""
        with loading(self.source, SPEECH_MODEL):
            from transformers import AutoFeatureExtractor, AutoModel

            extractors: Any = AutoFeatureExtractor  # its method has no types
            front = extractors.from_pretrained(self.source.folder, **SAFE)
            model = load_weights(
                AutoModel, self.source, SPEECH_MODEL, device=device, unused=["*masked_spec_embed", "*decoder*"]
            )
        if front.sampling_rate != SPEECH_RATE_HZ:
            raise ConfigError(
                f"speech model {self.source.name!r} was trained at {front.sampling_rate} Hz; fmltk gives it "
                f"{SPEECH_RATE_HZ} Hz: {SPEECH_MODEL.advice}"
            )
        network = _Whisper if self.model_type == WHISPER else _SampleNetwork
        hear = network(front, model, device)
        return lambda samples: self._features(samples, hear)

    def _features(self, samples: Samples, hear: _Whisper | _SampleNetwork) -> Features:
        name, values = self.card.name, samples.values
        check_sound(samples, window_samples=hear.window_samples, name=name)
        mean, spread = hear.level(values)
        n_steps = hear.n_steps(len(values))
        pieces = list(_pieces(len(values), n_steps, self.step_samples))
        features = np.empty((n_steps, self.dimension), np.float32)
        with nullcontext() if len(pieces) == 1 else hear.whole_clip(values, mean, spread):
            for first, last, start, stop in pieces:
                output = hear.output((values[start:stop] - mean) / spread, hidden_states=self.layers.all_states)
                heard = self.layers.pick(output)[0]  # (n_steps of the piece, d)
                skipped = first - start // self.step_samples
                features[first:last] = heard[skipped : skipped + last - first].to("cpu").numpy()
        return finite_features(features, name=name)


def _pieces(n_samples: int, n_steps: int, step_samples: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield (first step, step after the last, first sample, sample after the last) of each piece of a clip."""
    if n_samples <= PIECE_S * SPEECH_RATE_HZ:
        yield 0, n_steps, 0, n_samples
        return
    piece, context = (seconds * SPEECH_RATE_HZ // step_samples for seconds in (PIECE_S, CONTEXT_S))  # in steps
    first = 0
    while first < n_steps:
        start = max(first - context, 0)
        is_last = (start + piece) * step_samples >= n_samples
        last = n_steps if is_last else start + piece - context
        yield first, last, start * step_samples, min((start + piece) * step_samples, n_samples)
        first = last


class _SampleNetwork:
    """A network that reads samples: convolutions, then a transformer."""

    def __init__(self, front: Any, model: Any, device: str) -> None:
        self._model, self._device, self._is_levelled = model, device, bool(front.do_normalize)
        kernels, strides = model.config.conv_kernel, model.config.conv_stride
        self._convolutions = list(zip(kernels, strides, strict=True))
        self.window_samples = 1
        for kernel, stride in reversed(self._convolutions):
            self.window_samples = (self.window_samples - 1) * stride + kernel

    def n_steps(self, n_samples: int) -> int:
        for kernel, stride in self._convolutions:
            n_samples = (n_samples - kernel) // stride + 1
        return n_samples

    def level(self, values: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
        """Return what is taken from the samples, and what they are then divided by: mean 0, power 1."""
        if not self._is_levelled:
            return np.float32(0), np.float32(1)
        return np.mean(values), np.sqrt(np.var(values) + np.float32(_TINY_POWER))

    @contextmanager
    def whole_clip(self, values: NDArray[np.float32], mean: np.float32, spread: np.float32) -> Iterator[None]:
        """Within this, a network that normalises its first convolution over time does it over the whole clip.

        Otherwise every piece would be normalised by itself, and there would be seams between loud and quiet ones.
        """
        import torch

        first = self._model.feature_extractor.conv_layers[0]
        if not isinstance(getattr(first, "layer_norm", None), torch.nn.GroupNorm):  # each step by itself
            yield
            return
        kernel, stride = self._convolutions[0]
        n_steps = (len(values) - kernel) // stride + 1
        total: Any = 0
        squares: Any = 0
        for start in range(0, n_steps, _NORM_STEPS):
            stop = min(start + _NORM_STEPS, n_steps)
            block = (values[start * stride : (stop - 1) * stride + kernel] - mean) / spread
            with torch.inference_mode():
                heard = first.conv(torch.from_numpy(block[None, None]).to(self._device))[0]  # (d, n_steps of the block)
            total = total + heard.sum(1, dtype=torch.float64)
            squares = squares + heard.square().sum(1, dtype=torch.float64)
        norm = first.layer_norm
        average = total / n_steps
        scale = norm.weight / torch.sqrt(squares / n_steps - average.square() + norm.eps)
        shift = norm.bias - average * scale
        scale, shift = scale.float()[:, None], shift.float()[:, None]
        hook = norm.register_forward_hook(lambda _module, inputs, _output: inputs[0] * scale + shift)
        try:
            yield
        finally:
            hook.remove()

    def output(self, piece: NDArray[np.float32], *, hidden_states: bool) -> Any:
        import torch

        batch = torch.from_numpy(piece[None]).to(self._device)  # (1, n_samples)
        with torch.inference_mode():
            return self._model(batch, output_hidden_states=hidden_states)


class _Whisper:
    """Whisper's encoder, which reads log-mel spectra of 30 s, silence at their end."""

    window_samples = 1

    def __init__(self, front: Any, model: Any, device: str) -> None:
        self._front, self._encoder, self._device = front, model.encoder, device
        n_steps = front.n_samples // _WHISPER_STEP_SAMPLES
        if n_steps != PIECE_S * SPEECH_RATE_HZ // _WHISPER_STEP_SAMPLES or n_steps != model.config.max_source_positions:
            raise ConfigError(
                f"speech model is a Whisper of {model.config.max_source_positions} steps, its feature extractor of "
                f"{n_steps}; expected 1500, which is {PIECE_S} s: {SPEECH_MODEL.advice}"
            )

    def n_steps(self, n_samples: int) -> int:
        """Return how many steps begin within the sound; the others are of the silence after it."""
        return -(-n_samples // _WHISPER_STEP_SAMPLES)

    def level(self, values: NDArray[np.float32]) -> tuple[np.float32, np.float32]:
        return np.float32(0), np.float32(1)  # the feature extractor does it

    def whole_clip(
        self, values: NDArray[np.float32], mean: np.float32, spread: np.float32
    ) -> AbstractContextManager[None]:
        return nullcontext()

    def output(self, piece: NDArray[np.float32], *, hidden_states: bool) -> Any:
        import torch

        spectra = self._front(piece, sampling_rate=SPEECH_RATE_HZ, return_tensors="pt")["input_features"]
        with torch.inference_mode():
            return self._encoder(spectra.to(self._device), output_hidden_states=hidden_states)
